"""What every command of every package has: `--json`, `--quiet`, an example, and a help that fits 80 columns."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from itertools import pairwise
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner


def commands(package) -> dict[str, Any]:
    app: Any = get_command(importlib.import_module(f"{package.module}.cli").app)
    assert app.commands
    return dict(app.commands)


def test_every_command_takes_json_and_quiet(package):
    for name, command in commands(package).items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options, f"{package.folder} {name}"


def test_every_help_shows_an_example_and_fits_80_columns(package):
    app = importlib.import_module(f"{package.module}.cli").app
    for name in commands(package):
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
        examples = re.findall(r"(?m)^  Example: ((?:.+\\\n)*.+)", shown)
        assert examples, f"{package.folder} {name}"
        assert len(examples) == shown.count("Example"), f"{package.folder} {name}: each in lines of its own"
        assert max(map(len, shown.splitlines())) <= 80, f"{package.folder} {name}"
        for example in examples:
            check_as_typed(example, package, name)


def check_as_typed(example: str, package, name: str) -> None:
    """What is copied from the help is this command in bash and in zsh, to the last line, with options that exist."""
    words = shlex.split(example.replace("\\\n", " "))
    module = ["-m", package.module, name]
    start = [package.folder, name] if words[0] == package.folder else module
    assert start == (words[:2] if start is not module else words[words.index("-m") :][:3]), example
    known = {option for parameter in commands(package)[name].params for option in parameter.opts}
    given = words[words.index(name) + 1 :]
    assert {word.partition("=")[0] for word in given if word.startswith("-")} <= known, example
    assert not re.search(r"[][*?~…<>|&;]", re.sub(r"'[^']*'|\"[^\"]*\"", "", example)), f"{example}: a shell reads this otherwise"


def test_every_setting_is_listed_with_its_meaning(package):
    app = importlib.import_module(f"{package.module}.cli").app
    for name, command in commands(package).items():
        if "--help-settings" in {option for parameter in command.params for option in parameter.opts}:
            lines = CliRunner().invoke(app, [name, "--help-settings"]).output.splitlines()
            named = [pair for pair in pairwise([*lines, ""]) if not re.match(r" |\S+\.name  |$", pair[0])]
            assert named, f"{package.folder} {name}"
            assert [line for line, following in named if not following.startswith("    ")] == [], f"{package.folder} {name}"


def test_the_shell_completes_commands_and_options(package):
    """What the script asks that `--install-completion` leaves in the shell."""
    app = importlib.import_module(f"{package.module}.cli").app
    names = list(commands(package))
    for words, expected in ((f"{package.folder} ", names), (f"{package.folder} {names[0]} --", ["--json", "--quiet", "--help"])):
        variable = f"_{package.module.upper()}_COMPLETE"
        asked = {variable: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = CliRunner().invoke(app, [], env=asked, prog_name=package.folder)
        assert done.exit_code == 0
        assert set(expected) <= set(done.output.split())


def test_a_misspelled_command_is_answered_with_the_right_one(package):
    app = importlib.import_module(f"{package.module}.cli").app
    name = next(iter(commands(package)))
    done = CliRunner().invoke(app, [name[:-1] + "q"])
    assert done.exit_code == 2
    assert f"'{name}'" in done.output


def test_what_follows_names_the_given_paths_as_a_shell_takes_them(package):
    files = [path for path in (package.path / "src").rglob("*.py") if "cli" in {path.stem, path.parent.name}]
    assert files
    for path in files:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                given = {argument.arg for argument in function.args.args}
                for text in (node for node in ast.walk(function) if isinstance(node, ast.JoinedStr)):
                    if ast.unparse(text)[2:].startswith("ts-"):
                        shown = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
                        bare = [ast.unparse(v) for v in shown if not isinstance(v, ast.Call)]
                        assert not [name for name in bare if name.partition("[")[0] in given], f"{path}: {ast.unparse(text)}"


def test_every_command_that_writes_says_what_follows(package):
    for name, command in commands(package).items():
        source = inspect.getsource(inspect.unwrap(command.callback))
        if any(option == "--out" for parameter in command.params for option in parameter.opts) and "written=False" not in source:
            assert re.search(r"then=|in a browser|server\.serve|print_run", source), f"{package.folder} {name}"
