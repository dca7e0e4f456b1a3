"""The code of the documentation runs: every ```python block of every page, block after block in one namespace and one folder.

A block that cannot run here (it needs a network or a GPU) is fenced as ```python notest, and shown all the same; one that needs a heavy
package as ```python needs NAME: it runs after the others of its page in `nox -s integration`.
Shell commands are held differently: each line that begins with one of our commands must name a command and options that exist.
"""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("packages/*/README.md")),
]
COMMANDS = ("ts-data", "ts-tokenizer", "ts-models", "ts-train", "ts-eval")


def blocks(page: Path, *languages: str) -> list[str]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [match["code"] for match in found if match["info"].strip() in languages]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_python_runs(page: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name(page) in {"README.md", "docs/tutorial.md"}:  # these two make everything themselves
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
    run(page, blocks(page, "python"))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=name)
def test_a_page_says_where_its_files_come_from(page: Path) -> None:
    code = "".join(blocks(page, "bash", "python", "python notest"))
    if re.search(r"(?<![\w/-])(splits|encoded|run|report)/", code):
        assert "](../tutorial.md" in page.read_text(encoding="utf-8")
    assert "--out run/" not in code, "the tutorial's run is there: settings other than its own are refused"


def run(page: Path, pieces: list[str]) -> None:
    namespace: dict[str, object] = {"__name__": "__docs__"}
    for number, code in enumerate(pieces, 1):
        exec(compile(code, f"{name(page)}, block {number}", "exec"), namespace)


HEAVY = [
    (page, module)
    for page in PAGES
    for module in sorted(set(re.findall(r"^```python needs (\w+)$", page.read_text("utf-8"), re.MULTILINE)))
]


@pytest.mark.integration
@pytest.mark.parametrize(("page", "module"), HEAVY, ids=[f"{name(page)}-{module}" for page, module in HEAVY])
def test_python_with_a_heavy_package_runs(page: Path, module: str, folder: Path) -> None:
    pytest.importorskip(module, reason="a heavy package; run by `nox -s integration`")
    run(page, [*blocks(page, "python"), *blocks(page, f"python needs {module}")])


def shell_lines(page: Path) -> list[list[str]]:
    """The words of each line of the shell blocks, continuation lines joined, comments, pipes and variables before a command cut off."""
    lines: list[list[str]] = []
    for code in blocks(page, "bash", "sh", "console", ""):
        for line in code.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            except ValueError:  # a block without a language may hold prose or output
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            stop = next((i for i, word in enumerate(words) if word in {"|", ">", "<", "&", "&&", ";", "2>"}), len(words))
            lines.append(words[:stop])
    return lines


def command_lines(page: Path) -> list[list[str]]:
    """The lines that call one of our commands, as itself or by `-m`, and what comes after its name."""
    lines: list[list[str]] = []
    for words in shell_lines(page):
        module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
        if words and words[0] in COMMANDS:
            lines.append(words)
        elif module.replace("_", "-") in COMMANDS:
            lines.append([module.replace("_", "-"), *words[words.index("-m") + 2 :]])
    return lines


@pytest.mark.parametrize("page", [p for p in PAGES if command_lines(p)], ids=name)
def test_commands_exist_with_their_options(page: Path) -> None:
    from typer.main import get_command

    for words in command_lines(page):
        command = get_command(import_module(f"{words[0].replace('-', '_')}.cli").app)
        rest = words[1:]
        known = {"--debug", "--help", "--version", "-h"}
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        assert not hasattr(command, "commands") or not rest or rest[0] in known, f"{shlex.join(words)}: no such command"
        known |= {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"{shlex.join(words)}: no option {used - known}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash", "sh", "console", "")], ids=name)
def test_lines_to_type_are_bash_without_comments(page: Path) -> None:
    """At zsh's prompt `#` begins no comment: it is an argument, and an apostrophe behind it waits for its end."""
    for code in blocks(page, "bash", "sh", "console", ""):
        typed = [] if code.startswith("#!") else code.splitlines()
        assert not [line for line in typed if re.search(r"(^|\s)#(\s|$)", line)]
    unmarked = [line for code in blocks(page, "") for line in code.splitlines() if line.partition(" ")[0] in COMMANDS]
    assert not unmarked, "the site wraps the lines of ```bash alone"


@pytest.mark.parametrize("page", [p for p in PAGES if any("torchrun" in words[:2] for words in shell_lines(p))], ids=name)
def test_torchrun_takes_what_is_given_to_it(page: Path) -> None:
    from torch.distributed.run import parse_args

    for words in shell_lines(page):
        if "torchrun" in words[:2]:
            given = parse_args(words[words.index("torchrun") + 1 :])
            assert given.module, words
            assert given.training_script == "ts_train"
            assert given.training_script_args[0] == "run"


def test_there_is_code_to_test() -> None:
    assert len([p for p in PAGES if blocks(p, "python")]) >= 2
    assert HEAVY
    assert sum(len(command_lines(p)) for p in PAGES) >= 50
    assert sum("torchrun" in words[:2] for p in PAGES for words in shell_lines(p)) >= 3
