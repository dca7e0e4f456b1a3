"""Three of our folder names belong to strangers on the package index: no page and no message may tell anyone to install those."""

import ast
import re
from pathlib import Path

import pytest
from tools.workspace import ROOT, packages

INSTALLED = re.compile(r"pip install\b([^#\n]*)")
NAME = re.compile(r"(?<![\w./-])(ts-\w+)(?![\w-])")
TEXT = {".md", ".py", ".toml", ".html", ".txt", ".sh", ".yml", ".yaml", ""}
FOLDERS = ("docs", "packages", "recipes", "bench", "tools", ".ci")


def strangers() -> set[str]:
    return {folder for folder, package in packages().items() if package.distribution != folder}


def texts() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix in TEXT]
    return [*found, *ROOT.glob("*.md"), *ROOT.glob("*.py")]


def offers_of_strangers(text: str) -> list[str]:
    """The names, in the order in which some `pip install` names them; a path or a longer name is none."""
    return [name for what in INSTALLED.findall(text) for name in NAME.findall(what) if name in strangers()]


@pytest.mark.parametrize(
    "line", ['pip install "ts-data[ray]" "ts-tokenizer[ray]"', "pip install -U ts-eval", "uv pip install ts-train"]
)
def test_a_strangers_name_is_seen(line: str) -> None:
    assert offers_of_strangers(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install ./packages/ts-train",
        "pip install tinystories-eval  # not ts-eval",
        "pip install -e packages/ts-eval",
        "pip install ts-models",
    ],
)
def test_our_own_names_and_paths_are_not(line: str) -> None:
    assert not offers_of_strangers(line)


def test_nothing_tells_to_install_a_stranger() -> None:
    assert strangers() == {"ts-tokenizer", "ts-train", "ts-eval"}
    found = {path: path.read_text(encoding="utf-8", errors="replace") for path in texts()}
    assert sum("pip install" in text for text in found.values()) >= 20, "the walk finds too little to prove anything"
    assert {str(path): offers for path, text in found.items() if (offers := offers_of_strangers(text))} == {}


def test_no_line_to_type_asks_the_index_for_what_is_not_there() -> None:
    """The how-to page says that none of the five is on PyPI: until then each block installs from a path or from git."""
    names = "|".join(sorted({name for package in packages().values() for name in (package.folder, package.distribution)}))
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("packages/*/README.md")]:
        for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for given in INSTALLED.findall(block.replace("\\\n", " ")):
                assert not re.findall(rf"(?<![\w./-])(?:{names})(?![\w-]| @)", given), f"{path}: {given}"


def test_who_must_upgrade_is_named_as_the_index_names_it(package) -> None:
    """`read_model(…, package=NAME)` becomes "pip install -U NAME" in a message: this distribution, or a sibling that owns the schema."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (package.path / "src").rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    readers = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] in {"read_model", "parse_model"}]
    named = [k.value.value for call in readers for k in call.keywords if k.arg == "package" and isinstance(k.value, ast.Constant)]
    assert package.distribution in named
    assert set(named) <= {sibling.distribution for sibling in packages().values()}
