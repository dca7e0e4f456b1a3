"""Each of our five distributions was installed from this checkout, not from a stranger who holds the name on the index."""

import json
from importlib import metadata
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools import workspace


def test_was_installed_from_here(package):
    origin = metadata.distribution(package.distribution).read_text("direct_url.json")
    assert origin is not None, f"{package.distribution} came from an index"
    assert unquote(urlsplit(json.loads(origin)["url"]).path) == str(package.path)


def test_installed_version_is_the_one_written_in_about(package):
    assert metadata.version(package.distribution) == package.version


def test_bounds_between_siblings_hold_the_present_version_and_end_before_the_next_break(package):
    siblings = workspace.by_distribution()
    extras = package.pyproject["project"].get("optional-dependencies", {})
    found = [r for r in package.requirements(extras) if canonicalize_name(r.name) in siblings]
    for requirement in found:
        sibling = siblings[canonicalize_name(requirement.name)]
        operators = {clause.operator for clause in requirement.specifier}
        assert operators == {">=", "<"}, requirement
        assert requirement.specifier.contains(sibling.version), requirement


def test_no_dependency_uses_a_name_that_belongs_to_a_stranger(package):
    strangers = {"ts-tokenizer", "ts-train", "ts-eval"}
    extras = package.pyproject["project"].get("optional-dependencies", {})
    named = {canonicalize_name(r.name) for r in package.requirements(extras)}
    named |= {canonicalize_name(Requirement(line).name) for line in package.group("test")}
    assert not named & strangers


def test_an_install_names_the_whole_closure_in_one_call():
    assert list(workspace.closure({"ts-train": ()})) == ["ts-data", "ts-tokenizer", "ts-models", "ts-train"]
    assert workspace.closure({"ts-train": ()})["ts-models"] == {"fast"}
    assert workspace.closure({"ts-train": ("torchtune",)})["ts-models"] == {"fast", "torchtune"}
    assert list(workspace.closure({"ts-models": ()})) == ["ts-models"]
    assert list(workspace.closure({"ts-models": ("text",)})) == ["ts-data", "ts-tokenizer", "ts-models"]
