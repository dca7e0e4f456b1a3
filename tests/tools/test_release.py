"""What the release tool decides before it touches anything."""

from __future__ import annotations

import shutil
import types

import pytest
from tools import affected, bounds, release, surface
from tools.workspace import FOLDERS, Package, dependants, index_environment, packages


@pytest.mark.parametrize(("part", "expected"), [("first", "0.1.4"), ("patch", "0.1.5"), ("minor", "0.2.0"), ("major", "1.0.0")])
def test_next_version(part, expected):
    assert release.next_version("0.1.4", part) == expected


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """The packages' folders in a copy that a test may write to."""
    for package in packages().values():
        (tmp_path / package.folder).mkdir()
        shutil.copy(package.path / "pyproject.toml", tmp_path / package.folder)
    monkeypatch.setattr(Package, "path", property(lambda self: tmp_path / self.folder))
    return tmp_path


def test_a_minor_widens_the_bounds_of_the_siblings_and_notes_it(aside, capsys):
    siblings = release.widen_bounds(packages()["ts-models"], "0.2.0")
    assert [other.folder for other in siblings] == ["ts-train", "ts-eval"]
    train = (aside / "ts-train" / "pyproject.toml").read_text(encoding="utf-8")
    assert '"ts-models[fast]>=0.1,<0.3"' in train
    assert '"ts-models[torchtune]>=0.1,<0.3"' in train
    assert '"ts-models>=0.1,<0.3"' in (aside / "ts-eval" / "pyproject.toml").read_text(encoding="utf-8")
    told = capsys.readouterr().out
    assert "packages/ts-train/pyproject.toml: ts-models[fast]>=0.1,<0.3" in told
    notes = sorted(aside.glob("*/changes/*"))
    assert [path.relative_to(aside).as_posix() for path in notes] == [
        "ts-eval/changes/+ts-models-0-2.added.md",
        "ts-train/changes/+ts-models-0-2.added.md",
    ]
    assert notes[0].read_text(encoding="utf-8") == "Works with ts-models 0.2.\n"


def test_a_patch_leaves_the_bounds_alone(aside):
    before = {path: path.read_bytes() for path in aside.glob("*/pyproject.toml")}
    assert release.widen_bounds(packages()["ts-data"], "0.1.1") == []
    assert before == {path: path.read_bytes() for path in aside.glob("*/pyproject.toml")}


def test_extras_are_widened_too(aside):
    siblings = release.widen_bounds(packages()["ts-tokenizer"], "1.0.0")
    assert {other.folder for other in siblings} == {"ts-models", "ts-train", "ts-eval"}
    assert '"tinystories-tokenizer>=0.1,<2"' in (aside / "ts-models" / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["ts-data==0.1.0", "ts-data>=0.3,<0.4", "ts-data>=0.1,!=0.2.0,<0.2", "ts-data~=0.1.0"])
def test_a_bound_that_is_not_the_upper_one_stops_the_release(line):
    with pytest.raises(ValueError, match=r"no upper bound to raise keeps 0\.2\.0 out"):
        bounds.widened(line, "0.2.0")


def test_a_tag_must_agree_with_version_and_changelog(capsys, tmp_path, monkeypatch):
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-01)\n", encoding="utf-8")
    (tmp_path / "__about__.py").write_text('__version__ = "0.1.0"\n', encoding="utf-8")
    monkeypatch.setattr(Package, "path", property(lambda self: tmp_path))
    monkeypatch.setattr(Package, "about", property(lambda self: tmp_path / "__about__.py"))
    release.check_tag("ts-models-v0.1.0")
    assert "agree" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"the version is 0\.1\.0, the changelog begins with 0\.1\.0"):
        release.check_tag("ts-models-v99.0.0")
    with pytest.raises(SystemExit, match="names none of"):
        release.check_tag("numpy-v1.0.0")


def test_every_changelog_can_take_new_entries():
    for package in packages().values():
        text = (package.path / "CHANGELOG.md").read_text(encoding="utf-8")
        assert "<!-- releases -->\n" in text
        assert f"## {package.version}" in text or release.fragments(package)


def test_names_and_options_that_are_gone_are_told(tmp_path, monkeypatch):
    whole = surface.FILE.read_text(encoding="utf-8")
    gone = ["ts_data.prepare", "ts-data prepare --out"]
    (tmp_path / "public.txt").write_text("".join(f"{x}\n" for x in whole.splitlines() if x not in gone), encoding="utf-8")
    done = types.SimpleNamespace(stdout=whole)
    monkeypatch.setattr(surface.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(surface, "FILE", tmp_path / "public.txt")
    assert set(surface.removed_since("tag", packages()["ts-data"])) == {f"{x}: gone" for x in gone}
    assert surface.removed_since("tag", packages()["ts-train"]) == []


def test_affected_follows_the_line():
    assert affected.touched(["packages/ts-data/src/ts_data/x.py", "docs/index.md"]) == {"ts-data"}
    assert affected.touched(["constraints/dev.txt"]) == set(FOLDERS)
    assert affected.touched(["docs/index.md"]) == set()
    assert dependants({"ts-data"}) == list(FOLDERS)
    assert dependants({"ts-eval"}) == ["ts-eval"]
    assert dependants({"ts-train"}) == ["ts-train"]


def test_pip_settings_are_handed_to_uv_unless_uv_has_its_own():
    given = {"PIP_FIND_LINKS": "/a /b", "PIP_INDEX_URL": "https://index.example/simple", "PIP_CERT": "/c.pem"}
    assert index_environment(given) == {
        "UV_FIND_LINKS": "/a,/b",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "SSL_CERT_FILE": "/c.pem",
    }
    own = {**given, "UV_FIND_LINKS": "/own", "UV_DEFAULT_INDEX": "https://own.example", "SSL_CERT_FILE": "/own.pem"}
    assert index_environment(own) == {}
