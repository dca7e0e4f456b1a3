"""Checks of output paths, before any work: an evaluation never overwrites its inputs or foreign files."""

import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ts_data import artefact

from .checks import StrPath
from .errors import ConfigError

WRITTEN = ("report.json", "report.html", "stories.jsonl")
"""The files of a report."""


def local_paths(*values: Any) -> list[Path]:
    """The resolved paths of the inputs on this disk; skips model names and objects."""
    texts = [os.fspath(value).removeprefix("hf:") for value in values if isinstance(value, (str, os.PathLike))]
    # os.path.exists returns False for a name that is too long, Path.exists raises
    return [Path(text).resolve() for text in texts if text and "\0" not in text and os.path.exists(text)]  # noqa: PTH110


def format_of(file: Path) -> object:
    """The field `format` of a JSON file; None without one."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content.get("format") if isinstance(content, dict) else None


def check_report_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Raise for a folder that is or lies in an input, is of another kind, or holds files that are not an earlier report's."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the report needs a folder of its own.")
    if (out / "manifest.json").exists():
        raise ConfigError(f"{out}: holds another artefact (see its manifest.json); the report needs a folder of its own.")
    inputs, place = list(inputs), Path(os.path.realpath(artefact.resolve_target(out)))  # also refuses a link to itself
    # A folder that holds its inputs is allowed: only the files of a report are written there.
    artefact.keep_apart(out, [path for path in inputs if not path.is_relative_to(place) or path == place], error=ConfigError)
    for name in WRITTEN:
        if Path(os.path.realpath(out / name)) in inputs:
            raise ConfigError(f"{out / name}: is read by this evaluation and would be overwritten; name another --out.")
    present = [name for name in WRITTEN if (out / name).exists()]
    if present and format_of(out / "report.json") != "ts-eval/report":
        raise ConfigError(f"{out / present[0]}: is there and is no earlier report; it is left alone. Name another --out.")


def writing(file: StrPath | None) -> AbstractContextManager[None]:
    """Lock an output file during the work for it; None locks nothing."""
    return nullcontext() if file is None else artefact.lock(file, error=ConfigError)


def check_output(out: StrPath | None, kind: str, inputs: Iterable[Any], *, store: StrPath | None = None) -> None:
    """Raise for an `out` that is a folder, an input, the store, or a file of another format than `kind`, and for a store that is an input."""
    read = local_paths(*inputs)
    if out is not None:
        if not Path(out).is_dir():
            artefact.keep_apart(out, read if store is None else [*read, store], error=ConfigError)
        artefact.check_file(out, f"an earlier {kind} file", lambda start: f'"{kind}"'.encode() in start, error=ConfigError)
    if store is not None:
        artefact.keep_apart(store, read, option="--store", error=ConfigError)


def check_pages(out: Path, name: str, inputs: Iterable[Any]) -> None:
    """Raise for a folder that is an input, or holds a `name`.json or `name`.html that is not an earlier report of this name."""
    artefact.keep_apart(out, local_paths(*inputs), error=ConfigError)
    check_output(out / f"{name}.json", f"ts-eval/{name}", ())
    if (out / f"{name}.html").exists() and not (out / f"{name}.json").exists():
        raise ConfigError(f"{out / f'{name}.html'}: is there and is no earlier {name}; it is left alone. Name another --out.")
