"""The splits at `out` before `prepare` begins: of the same settings and sources, of others, or none."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artefact import StrPath, member, parse_model, read_json
from ..dataset import list_files
from ..errors import ArtefactError, ConfigError, SourceError
from ..schemas import DatasetManifest, PrepareConfig
from ..sources.storage import is_uri, open_file, sha256_of

Given = Sequence[tuple[str, str, str]]
"""(name, role, SHA-256) of each source, in order."""

_IGNORED = ("format", "schema_version")


class Existing:
    """The splits at `out`, by their manifest."""

    def __init__(self, out: str, manifest: DatasetManifest) -> None:
        self._out, self._manifest = out, manifest

    def check_settings(self, config: PrepareConfig, cleaner: str) -> None:
        """Raise ConfigError if the splits were made with other settings, by other cleaning code or by `instruct`."""
        if self._manifest.instruct is not None:
            self._refuse("of prompts, made by `ts-data instruct`")
        old, new = (_flat(c.model_dump(mode="json", exclude=set(_IGNORED))) for c in (self._manifest.config, config))
        names = [*new, *(name for name in old if name not in new)]
        changed = [f"{n} {_shown(old.get(n))} there, {_shown(new.get(n))} here" for n in names if old.get(n) != new.get(n)]
        if changed:
            self._refuse(f"made with other settings ({'; '.join(changed[:4])}{' …' if len(changed) > 4 else ''})")
        if self._manifest.cleaner_hash != cleaner:
            self._refuse("made by another version of the cleaning code")

    def check_sources(self, given: Given) -> None:
        """Raise ConfigError if the splits were made of other stories."""
        old = [(source.role, source.sha256) for source in self._manifest.sources]
        if old == [(role, sha256) for _, role, sha256 in given]:
            return
        known = {(source.role, source.sha256) for source in self._manifest.sources}
        names = [name for name, role, sha256 in given if (role, sha256) not in known]
        names += [
            s.name for s in self._manifest.sources if (s.role, s.sha256) not in {(role, sha256) for _, role, sha256 in given}
        ]
        what = f"; they differ in {', '.join(dict.fromkeys(names))}" if names else ", in another order"
        self._refuse(f"made of other sources{what}")

    def manifest_if_whole(self, given: Given, folder: Path) -> DatasetManifest | None:
        """The manifest if it is of exactly these sources and every file in `folder` is as it says, else None."""
        if [(source.name, source.role, source.sha256) for source in self._manifest.sources] != list(given):
            return None
        files = list_files(self._manifest)
        try:
            same = all(sha256_of(str(member(folder, file.name))) == file.sha256 for file in files)
        except (OSError, ArtefactError):
            return None
        return self._manifest if same and (folder / "README.md").is_file() else None

    def _refuse(self, what: str) -> None:
        raise ConfigError(f"{self._out}: holds splits {what}. Name a new folder, or replace them: --force")


def existing_splits(out: StrPath) -> Existing | None:
    """The splits at `out`, or None. Raises ConfigError if their manifest cannot be read."""
    name = os.fspath(out)
    try:
        path = Path(name) / "manifest.json"
        content = _remote(f"{name.rstrip('/')}/manifest.json") if is_uri(name) else read_json(path) if path.is_file() else None
        if content is None:
            return None
        return Existing(name, parse_model(content, DatasetManifest, source=f"{name}/manifest.json", package="ts-data"))
    except ArtefactError as problem:
        raise ConfigError(f"{problem} To replace it: --force") from None


def _remote(uri: str) -> dict[str, Any] | None:
    try:
        with open_file(uri) as handle:
            content = json.loads(handle.read())
    except SourceError:  # missing, or not readable: then the upload reports it
        return None
    except ValueError:
        raise ArtefactError(f"{uri}: is not JSON.") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{uri}: is not a JSON object.")
    return content


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _shown(value: object) -> str:
    text = "its default" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
