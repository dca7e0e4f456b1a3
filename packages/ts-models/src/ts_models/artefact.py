"""Artefacts on disk: written aside, flushed, renamed; hashed; peeked at before they are trusted.

Standard library and pydantic only. It knows no artefact of its own: a schema comes in as an argument.
This module stands twice, in ts_data and in ts_models, equal to the byte (a test holds it), because
neither may import the other; every other package imports one of the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ArtefactError

__all__ = [
    "check_target",
    "describe_invalid",
    "member",
    "need_space",
    "parse_model",
    "read_json",
    "read_model",
    "recover",
    "sha256_bytes",
    "sha256_file",
    "sync_folder",
    "write_bytes",
    "write_file",
    "write_folder",
    "write_model",
    "write_text",
]

Model = TypeVar("Model", bound=BaseModel)
Migration = Callable[[dict[str, Any]], dict[str, Any]]


# --- writing -----------------------------------------------------------------------------------


@contextlib.contextmanager
def write_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path`; on success it is flushed to disk and renamed to `path`, on failure removed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield aside
        _sync_file(aside)
        os.replace(aside, target)
        sync_folder(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file, complete or not at all."""
    with write_file(path) as aside:
        aside.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a whole UTF-8 file, complete or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_model(path: str | os.PathLike[str], model: BaseModel) -> None:
    """Write a pydantic model as readable JSON, complete or not at all."""
    write_text(path, json.dumps(model.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def write_folder(path: str | os.PathLike[str], known_by: str, *formats: str | None) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success its files are flushed and it takes the place of `path`.

    A folder that stood there before must be one of the same kind (see `check_target`). It stays whole until the new one
    is: it is moved to `.<name>.old`, and `recover` puts it back where a kill fell between the two renames.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    recover(target)
    check_target(target, known_by, *formats)
    aside, old = _aside(target), _old(target)
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    try:
        yield aside
        for file in sorted(p for p in aside.rglob("*") if p.is_file()):
            _sync_file(file)
        sync_folder(aside)
        if target.exists():
            os.replace(target, old)
        os.replace(aside, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def check_target(
    path: str | os.PathLike[str], known_by: str, *formats: str | None, error: type[Exception] = ArtefactError
) -> None:
    """Refuse to put a folder where something else stands.

    What is there may be replaced if it is an empty folder, or one whose JSON file `known_by` has one of the formats (None:
    it names no format, as the files of other libraries).
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise error(f"{target}: is a file; it is left alone. Name a new folder.")
    if target.exists() and not _replaceable(target, known_by, formats):
        raise error(
            f"{target}: is there and is no earlier result of this kind (by its {known_by}); it is left alone. Name a new folder."
        )


def _replaceable(target: Path, known_by: str, formats: tuple[str | None, ...]) -> bool:
    if not any(target.iterdir()):
        return True
    try:
        content = json.loads((target / known_by).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") in formats


def recover(path: str | os.PathLike[str]) -> None:
    """Finish or undo a `write_folder` that was killed between its two renames."""
    target = Path(path)
    old = _old(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        os.replace(old, target)


def need_space(folder: str | os.PathLike[str], needed: int, what: str, *, error: type[Exception] = ArtefactError) -> None:
    """Raise `error` when the disk that holds `folder` has less than `needed` bytes free."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise error(
            f"{folder}: {what} needs about {needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free on that disk. "
            f"Free some space, or choose another --out."
        )


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power loss."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


# --- reading -----------------------------------------------------------------------------------


def read_json(path: str | os.PathLike[str], *, error: type[Exception] = ArtefactError) -> dict[str, Any]:
    """Read a JSON object; `error` names the file, and the line where it is not JSON."""
    path = Path(path)
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file. Check the path, or run the command that writes it first.") from None
    except IsADirectoryError:
        raise error(f"{path}: is a folder, a JSON file was expected.") from None
    except NotADirectoryError:
        raise error(f"{path.parent}: is a file, a folder with {path.name} was expected.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not UTF-8 at byte {problem.start}; it is damaged, or another kind of file.") from None
    except json.JSONDecodeError as problem:
        raise error(f"{path}, line {problem.lineno}: not JSON ({problem.msg}); it is damaged, or another kind of file.") from None
    except (RecursionError, ValueError) as problem:  # ValueError: a number of thousands of digits
        reason = "nested too deeply" if isinstance(problem, RecursionError) else "a number in it is too long"
        raise error(f"{path}: {reason} to be one of our artefacts.") from None
    if not isinstance(content, dict):
        raise error(f"{path}: holds a JSON {type(content).__name__}, an object was expected.")
    return content


def read_model(
    path: str | os.PathLike[str],
    schema: type[Model],
    *,
    package: str,
    migrations: Mapping[int, Migration] | None = None,
    error: type[Exception] = ArtefactError,
) -> Model:
    """Read an artefact's JSON file: check `format` and `schema_version`, migrate an older one, validate."""
    return parse_model(
        read_json(path, error=error), schema, source=str(path), package=package, migrations=migrations, error=error
    )


def parse_model(
    content: dict[str, Any],
    schema: type[Model],
    *,
    source: str,
    package: str,
    migrations: Mapping[int, Migration] | None = None,
    error: type[Exception] = ArtefactError,
) -> Model:
    """Like `read_model`, for a JSON object already in memory. `migrations[n]` lifts version n to n + 1."""
    expected_format = schema.model_fields["format"].default
    current = schema.model_fields["schema_version"].default
    if content.get("format") != expected_format:
        raise error(
            f"{source}: field `format` is {content.get('format')!r}, expected {expected_format!r}. This is another kind of file."
        )
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise error(f"{source}: field `schema_version` is {version!r}, expected a whole number from 1 to {current}.")
    if version > current:
        raise error(
            f"{source}: written with schema version {version}, but this {package} reads up to {current}. Upgrade it: pip install -U {package}"
        )
    while version < current:
        step = (migrations or {}).get(version)
        if step is None:
            raise error(f"{source}: schema version {version} can no longer be read by this {package}. Write the file again.")
        content = {**step(dict(content)), "schema_version": version + 1}
        version += 1
    try:
        return schema.model_validate(content)
    except ValidationError as problem:
        raise error(f"{source}: {describe_invalid(problem)}") from None


def describe_invalid(problem: ValidationError, limit: int = 5) -> str:
    """Say in one line which fields are wrong, what stands there and what was expected."""
    lines = []
    for item in problem.errors(include_url=False)[:limit]:
        field = ".".join(str(part) for part in item["loc"]) or "(the whole)"
        value = "" if item["type"] in {"missing", "extra_forbidden"} else f" (it is {_short(item['input'])})"
        message = {"missing": "is missing", "extra_forbidden": "is not a known field; remove it or check its spelling"}.get(
            item["type"], item["msg"][:1].lower() + item["msg"][1:]
        )
        lines.append(f"field `{field}`: {message}{value}")
    more = problem.error_count() - limit
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def member(folder: str | os.PathLike[str], name: str, *, error: type[Exception] = ArtefactError) -> Path:
    """The path of a file that a manifest names, refused when it would lie outside of its folder."""
    root = Path(folder).resolve()
    path = root if "\0" in name else (root / name).resolve()
    if path == root or not path.is_relative_to(root):
        raise error(f"{folder}: names the file {name!r}, which lies outside of the folder. Do not trust this artefact.")
    return path


# --- hashing -----------------------------------------------------------------------------------


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
