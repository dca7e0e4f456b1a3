"""Whatever is deprecated says in its warning what to use instead and which version removes it, and that version has not come yet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from packaging.version import Version

PROMISE = re.compile(r"[Uu]se .+ instead\. It goes away in (?P<folder>ts-[a-z]+) (?P<version>\d+\.\d+)\.$")


def messages(source: str) -> Iterator[tuple[int, str | None]]:
    """Line and text of every `@deprecated("…")` and `warnings.warn("…", DeprecationWarning)`; None where it is no plain text."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        kinds = [ast.unparse(a) for a in [*node.args[1:], *(k.value for k in node.keywords)]]
        if called == "deprecated" or (called == "warn" and any("DeprecationWarning" in kind for kind in kinds)):
            text = node.args[0] if node.args else None
            yield node.lineno, str(text.value) if isinstance(text, ast.Constant) else None


def problem(text: str | None, folder: str, version: str) -> str | None:
    """What is wrong with the text of a deprecation in this version of a package."""
    promise = PROMISE.search(text or "")
    if promise is None:
        return 'its text must be literal and end: "use … instead. It goes away in ts-… X.Y."'
    if promise["folder"] != folder:
        return f"it names {promise['folder']}"
    if Version(promise["version"]) <= Version(version):
        return f"{folder} is at {version}: remove it"
    return None


def test_deprecations_keep_their_promise(package):
    files = sorted((package.path / "src").rglob("*.py"))
    assert files
    for path in files:
        for line, text in messages(path.read_text(encoding="utf-8")):
            assert problem(text, package.folder, package.version) is None, f"{path}:{line}: {text!r}"


GOOD = "ts_data.old is deprecated; use ts_data.new instead. It goes away in ts-data 0.3."


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"@deprecated({GOOD!r})\ndef old(): ...", None),
        (f"import warnings\nwarnings.warn({GOOD!r}, DeprecationWarning, stacklevel=2)", None),
        (f"warnings.warn({GOOD!r}, category=DeprecationWarning)", None),
        (f"@deprecated({GOOD.replace('0.3', '0.2')!r})\ndef old(): ...", "remove it"),
        (f"@deprecated({GOOD.replace('ts-data', 'ts-eval')!r})\ndef old(): ...", "names ts-eval"),
        ("@typing_extensions.deprecated('old; use new')\ndef old(): ...", "must be literal"),
        ("warnings.warn(f'{name} is old', DeprecationWarning)", "must be literal"),
    ],
)
def test_the_rule_itself(source, expected):
    found = [problem(text, "ts-data", "0.2.1") for _, text in messages(source)]
    assert len(found) == 1
    assert found[0] is None if expected is None else expected in str(found[0])
