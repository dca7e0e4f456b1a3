"""Artefacts on disk: locked, written aside, flushed, renamed; hashed; peeked at before they are trusted.

Standard library and pydantic only. It knows no artefact of its own: a schema comes in as an argument.
This module stands twice, in ts_data and in ts_models, equal to the byte (a test holds it), because
neither may import the other; every other package imports one of the two.
"""

import contextlib
import difflib
import errno
import fnmatch
import hashlib
import json
import math
import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ArtefactError

StrPath = str | os.PathLike[str]
"""A path as callers give it."""
Model = TypeVar("Model", bound=BaseModel)
Migration = Callable[[dict[str, Any]], dict[str, Any]]

_OURS = re.compile(r"\..+\.ts-(lock|partial|old|work)")
"""See `beside`."""

WAIT = 10.0
"""Seconds that a short write waits for another writer of the same place."""


# --- places ------------------------------------------------------------------------------------


def resolve_target(path: StrPath) -> Path:
    """Where a write to `path` lands: behind a symbolic link, so that the link stays one. Refuses the root of a disk."""
    target = Path(path)
    if target.is_symlink() or target.name in ("", ".."):
        target = Path(os.path.realpath(target))
        if target.is_symlink():
            raise OSError(errno.ELOOP, "too many symbolic links", str(path))
    if not target.name:
        raise ArtefactError(f"{path}: is the root of a disk. Name a file or folder in it.")
    return target


def beside(path: StrPath, purpose: Literal["lock", "partial", "old", "work"]) -> Path:
    """The hidden name beside `path` for a lock, for what is being written or replaced, or for intermediate files.

    `.<name>.ts-<purpose>`: no file of a user is named so.
    """
    target = resolve_target(path)
    return target.with_name(f".{target.name}.ts-{purpose}")


def keep_apart(out: StrPath, inputs: Iterable[StrPath], *, option: str = "--out", error: type[Exception] = ArtefactError) -> None:
    """Refuse a place to write that is, holds, or lies in one of the inputs. Links are followed."""
    target = Path(os.path.realpath(out))
    for item in inputs:
        source = Path(os.path.realpath(item))
        if _same_place(target, source):
            relation = "is an input as well"
        elif any(_same_place(parent, target) for parent in source.parents):
            relation = f"holds the input {item}"
        elif any(_same_place(parent, source) for parent in target.parents):
            relation = f"lies in the input {item}"
        else:
            continue
        raise error(f"{out}: {relation}, which would be overwritten. Choose another {option}.")


def check_file(
    path: StrPath, kind: str, recognise: Callable[[bytes], bool], *, option: str = "--out", error: type[Exception] = ArtefactError
) -> None:
    """Refuse to put a file where something else stands.

    What is there may be replaced if it is empty, or if `recognise` takes its first 64 KiB for an earlier one of this `kind`.
    """
    given = Path(path)  # not resolved: the link /dev/stdout leads to a name that is no path
    if given.exists() and not given.is_file():
        there = "a folder" if given.is_dir() else "a device or pipe"
        raise error(f"{path}: is {there}, where a file is to be written. Name a file.")
    target = resolve_target(path)
    if not next(parent for parent in target.parents if parent.exists()).is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if target.exists():
        with target.open("rb") as handle:
            start = handle.read(1 << 16)
        if start and not recognise(start):
            raise error(f"{path}: is there and is not {kind}; it is left alone. Choose another {option}.")


def _same_place(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)  # a disk may take "A" for "a"
    except OSError:
        return False


# --- locks -------------------------------------------------------------------------------------

_held: set[tuple[int, int, str]] = set()
"""Locks of this process: (process, thread, lock file)."""


@contextlib.contextmanager
def lock(
    path: StrPath, *, wait: float = 0.0, reenter: bool = False, option: str = "--out", error: type[Exception] = ArtefactError
) -> Iterator[None]:
    """Hold the only right to write `path`, a file or folder that need not exist.

    Every writer of every package takes this lock. The lock of a process that died is free.

    Args:
        path: what is written; a symbolic link is followed.
        wait: seconds to wait for another process or thread that holds it; then `error` is raised.
        reenter: accept a lock that this thread holds already, as `write_file` and `write_folder` do.
        option: the option that `error` advises to change.
    """
    target = resolve_target(path)
    file = Path(os.path.realpath(beside(target, "lock")))
    key = (os.getpid(), threading.get_ident(), str(file))
    if reenter and key in _held:
        yield
        return
    made = [folder for folder in file.parents if not folder.exists()]
    try:
        handle, owner = _acquire(file, time.monotonic() + wait)
    except OSError as problem:  # its text names the target, not the lock file
        raise OSError(problem.errno, problem.strerror, str(path)) from None
    if handle is None:
        raise error(f"{path}: {owner} is writing here. Wait until it has finished, or choose another {option}.")
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        _release(file, handle)
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for folder in made:
                folder.rmdir()


def _acquire(file: Path, deadline: float) -> tuple[int | None, str]:
    """Open and lock `file`: its descriptor; or None and who holds the lock."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)  # behind links, also where nothing is there yet
        handle = os.open(file, flags, 0o666)
        if _try_lock(handle):
            if _is_open_file(file, handle):
                with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
                    os.ftruncate(handle, os.write(handle, str(os.getpid()).encode()))  # to 0 first, ext4 would flush it on close
                return handle, ""
            os.close(handle)  # the owner before removed the file after it was opened here
            continue
        owner = os.read(handle, 20).decode("ascii", "replace")
        os.close(handle)
        if time.monotonic() >= deadline:
            return None, "another writer" if owner in ("", str(os.getpid())) else f"another process ({owner})"
        time.sleep(0.02)


def _is_open_file(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read; the owner's number is before it

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

    def _release(file: Path, handle: int) -> None:
        os.close(handle)
        with contextlib.suppress(OSError):  # open elsewhere: the next owner removes it
            file.unlink()

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as problem:
            if problem.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return True  # a file system without locks
        return True

    def _release(file: Path, handle: int) -> None:
        with contextlib.suppress(OSError):
            file.unlink()  # while locked: whoever opened it before sees that it is gone and opens it again
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # also where a forked child holds the descriptor
        os.close(handle)


# --- writing -----------------------------------------------------------------------------------


@contextlib.contextmanager
def write_file(path: StrPath) -> Iterator[Path]:
    """Yield a path beside `path`; on success it is flushed to disk and renamed to `path`, on failure removed.

    A symbolic link stays one: the file behind it is replaced. A folder, device or pipe is refused.
    """
    check_file(path, "a file", lambda _: True)
    target = resolve_target(path)
    with lock(target, wait=WAIT, reenter=True):
        aside = beside(target, "partial")
        try:
            aside.unlink(missing_ok=True)
            aside.touch()
            mode = stat.S_IMODE(aside.stat().st_mode)
            aside.unlink()
            with _naming(path):
                yield aside
            if not fnmatch.fnmatchcase(target.parent.name, ".?*.ts-partial"):  # `write_folder` flushes its files itself
                _flush_file(aside, mode)
            os.replace(aside, target)
            sync_folder(target.parent)
        finally:
            aside.unlink(missing_ok=True)


def write_bytes(path: StrPath, content: bytes) -> None:
    """Write a whole file, complete or not at all."""
    with write_file(path) as aside:
        aside.write_bytes(content)


def write_text(path: StrPath, content: str) -> None:
    """Write a whole UTF-8 file, complete or not at all. Half a surrogate pair, as of a name that is no UTF-8, becomes \\udXXX."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_model(path: StrPath, model: BaseModel) -> None:
    """Write a pydantic model as readable JSON, complete or not at all. JSON has no NaN: see `finite_json`."""
    content = model.model_dump(mode="json")
    plain = finite_json(content)
    if plain != content and not _accepts(type(model), plain):
        plain = finite_json(content, spelled=True)
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite_json(value: Any, *, spelled: bool = False) -> Any:
    """The value with null for every NaN and infinity, which JSON cannot hold; `spelled`: with "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        if not spelled:
            return None
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {
            (finite_json(key, spelled=True) if isinstance(key, float) else key): finite_json(inner, spelled=spelled)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [finite_json(inner, spelled=spelled) for inner in value]
    return value


def _accepts(schema: type[BaseModel], content: Any) -> bool:
    try:
        schema.model_validate(content)
    except ValidationError:
        return False
    return True


@contextlib.contextmanager
def write_folder(path: StrPath, known_by: str, *formats: str | None, owned: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success its files are flushed and it takes the place of `path`.

    A folder that stood there before must be one of the same kind (see `check_target`). It stays whole until the new one
    is: it is moved aside, and `recover` puts it back where a kill fell between the two renames. Files in it that the new
    folder does not have and that match none of the patterns `owned` belong to the user and are kept. The files of an
    artefact that not every version of it has must therefore be named by `owned`.
    """
    target = resolve_target(path)
    with lock(target, wait=WAIT, reenter=True):
        recover(target)
        check_target(target, known_by, *formats)
        aside, old = beside(target, "partial"), beside(target, "old")
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir()
        try:
            with _naming(path):
                yield aside
            mode = stat.S_IMODE(aside.stat().st_mode) & 0o666
            for file in sorted(p for p in aside.rglob("*") if p.is_file()):
                _flush_file(file, mode)
            if target.exists():
                _keep_others(target, aside, tuple(owned))
            sync_folder(aside)
            if target.exists():
                os.replace(target, old)
            os.replace(aside, target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            with contextlib.suppress(OSError):
                recover(target)


def _keep_others(old: Path, new: Path, owned: tuple[str, ...]) -> None:
    """Put the user's files of `old` into `new` too, by hard links, so that a kill at any instant loses none."""
    for folder, names, files in os.walk(old):
        names[:] = [name for name in names if not _OURS.fullmatch(name)]
        here = Path(folder)
        there = new / here.relative_to(old)
        for name in [*files, *(name for name in names if (here / name).is_symlink())]:
            relative = (here / name).relative_to(old).as_posix()
            ours = _OURS.fullmatch(name) or any(fnmatch.fnmatchcase(relative, pattern) for pattern in owned)
            if not ours and not os.path.lexists(there / name):
                there.mkdir(parents=True, exist_ok=True)
                link_or_copy(here / name, there / name)
        if not names and not files:
            there.mkdir(parents=True, exist_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name by a hard link; copy it on a disk without hard links. A symbolic link stays one."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def check_target(path: StrPath, known_by: str, *formats: str | None, error: type[Exception] = ArtefactError) -> None:
    """Refuse to put a folder where something else stands.

    What is there may be replaced if it is an empty folder, or one whose JSON file `known_by` has one of the formats (None:
    it names no format, as the files of other libraries). A folder that cannot be renamed is refused too.
    """
    target = resolve_target(path)
    if not target.exists():
        return
    if not target.is_dir():
        raise error(f"{path}: is a file; it is left alone. Name a new folder.")
    if not _replaceable(target, known_by, formats):
        raise error(
            f"{path}: is there and is no earlier result of this kind (by its {known_by}); it is left alone. Name a new folder."
        )
    if os.path.ismount(target):
        raise error(f"{path}: is the root of a mounted disk, which cannot be replaced. Name a folder in it.")
    if _holds_working_folder(target):
        raise error(f"{path}: is, or holds, the folder that you are in, which cannot be replaced. Name a folder in it.")


def _replaceable(target: Path, known_by: str, formats: tuple[str | None, ...]) -> bool:
    if not any(target.iterdir()):
        return True
    try:
        content = json.loads((target / known_by).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") in formats


def _holds_working_folder(target: Path) -> bool:
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return False
    return any(_same_place(target, folder) for folder in (here, *here.parents))


def recover(path: StrPath) -> None:
    """Finish or undo a `write_folder` that was killed between its two renames. Waits for one that is under way."""
    target = resolve_target(path)
    old = beside(target, "old")
    if not old.exists():
        return
    with lock(target, wait=WAIT, reenter=True):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            os.replace(old, target)


def need_space(folder: StrPath, needed: int, what: str, *, error: type[Exception] = ArtefactError) -> None:
    """Raise `error` when the disk that holds `folder` has less than `needed` bytes free."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise error(
            f"{folder}: {what} needs about {math.ceil(needed / 1e6):,} MB, but only {free / 1e6:,.0f} MB are free on that disk. "
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


@contextlib.contextmanager
def _naming(path: StrPath) -> Iterator[None]:
    """Name what is written in errors of the disk that name no file, as those of a write do not."""
    try:
        yield
    except OSError as problem:
        if problem.filename is None and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            problem.filename = os.fspath(path)
        raise
    except Exception as problem:
        if "no space left" in str(problem).lower():  # as safetensors and Arrow report it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path)) from problem
        raise


def _flush_file(path: Path, mode: int) -> None:
    """Flush a file, and give it the mode that the umask asks for: some libraries write for the owner alone."""
    if stat.S_IMODE(path.stat().st_mode) & 0o666 != mode & 0o666:
        path.chmod(mode)
    with path.open("r+b" if sys.platform == "win32" else "rb") as handle:  # Windows flushes only what may be written
        os.fsync(handle.fileno())


# --- reading -----------------------------------------------------------------------------------


_MADE_BY = {
    "ts-data/manifest": "ts-data prepare raw.txt --out splits/",
    "ts-tokenizer/encoded": "ts-tokenizer encode splits/ --tokenizer word_tokenizer.json --out encoded/",
    "ts-train/run": "ts-train run --data encoded/ --out run/",
}
"""Format of an artefact → the command that makes it from the one before."""

_FOLDERS = {"ts-data/manifest": "splits/", "ts-tokenizer/encoded": "encoded/"}


def _make_it(wanted: str, folder: Path | None = None, given: object = None) -> str:
    """The command that makes a wanted artefact, from the folder that was given where that is what the command reads."""
    command = _MADE_BY.get(wanted)
    if command is None:
        return ""
    usual = _FOLDERS.get(str(given), "")
    return f" To make what is needed: {command.replace(usual, f'{folder}/') if usual else command}"


def read_json(path: StrPath, *, error: type[Exception] = ArtefactError, wanted: str = "") -> dict[str, Any]:
    """Read a JSON object; `error` names the file, and the line where it is not JSON. `wanted` is its format."""
    path = Path(path)
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        way = _make_it(wanted) or " Or run the command that writes it first."
        raise error(f"{path}: no such file. Check the path.{way}") from None
    except IsADirectoryError:
        raise error(f"{path}: is a folder, a JSON file was expected.") from None
    except NotADirectoryError:
        raise error(f"{path.parent}: is a file, a folder with {path.name} was expected.{_make_it(wanted)}") from None
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
    path: StrPath,
    schema: type[Model],
    *,
    package: str,
    migrations: Mapping[int, Migration] | None = None,
    error: type[Exception] = ArtefactError,
) -> Model:
    """Read an artefact's JSON file: check `format` and `schema_version`, migrate an older one, validate."""
    content = read_json(path, error=error, wanted=schema.model_fields["format"].default)
    return parse_model(content, schema, source=str(path), package=package, migrations=migrations, error=error)


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
        given = content.get("format")
        way = _make_it(expected_format, Path(source).parent, given)
        raise error(f"{source}: field `format` is {given!r}, expected {expected_format!r}. This is another kind of file.{way}")
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


def describe_invalid(problem: ValidationError, limit: int = 5, known: Sequence[str] = ()) -> str:
    """Say in one line which fields are wrong, what stands there and what was expected; `known` are the dotted names there are."""
    lines = []
    for item in problem.errors(include_url=False)[:limit]:
        parts = [str(part) for part in item["loc"]]
        if known:  # without the names by which pydantic tells apart what a field may hold
            parts = [p for i, p in enumerate(parts) if p == parts[-1] or any(f".{p}." in f".{name}" for name in known)]
        field = ".".join(parts) or "(the whole)"
        value = "" if item["type"] in {"missing", "extra_forbidden"} else f" (it is {_short(item['input'])})"
        unknown = f"is not a known field{_similar(field, known)}"
        said = _PLAIN.get(item["type"], "").format_map(item.get("ctx", {})) or item["msg"].removeprefix("Value error, ")
        message = unknown if item["type"] == "extra_forbidden" else said[:1].lower() + said[1:]
        lines.append(f"field `{field}`: {message}{value}")
    more = problem.error_count() - limit
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


_PLAIN = {
    "missing": "is missing",
    "too_short": "number of entries should be {min_length} or more, not {actual_length}",
    "too_long": "number of entries should be {max_length} or fewer, not {actual_length}",
    "string_too_short": "should have {min_length} or more characters",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a table of names and values",
    "model_type": "should be a table of names and values",
    "model_attributes_type": "should be a table of names and values",
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "union_tag_invalid": "has no {discriminator} called '{tag}'; there are {expected_tags}",
    "union_tag_not_found": "should be a table that names its {discriminator}",
}
"""Kind of pydantic error → what to say in place of its text; the names in braces are its context."""


def _similar(field: str, known: Sequence[str]) -> str:
    """What to do about an unknown field: the names that end alike or are spelled alike."""
    last = field.rpartition(".")[2]
    alike = [name for name in dict.fromkeys(known) if name.rpartition(".")[2] == last] or difflib.get_close_matches(
        field, known, 2
    )
    if alike:
        return f". Did you mean {' or '.join(dict.fromkeys(alike))}?"
    return ". --help-settings lists the fields" if known else "; remove it or check its spelling"


def member(folder: StrPath, name: str, *, error: type[Exception] = ArtefactError) -> Path:
    """The path of a file that a manifest names, refused when it would lie outside of its folder."""
    root = Path(os.path.realpath(folder))
    path = root if "\0" in name else Path(os.path.realpath(root / name))
    if path == root or not path.is_relative_to(root):
        raise error(f"{folder}: names the file {name!r}, which lies outside of the folder. Do not trust this artefact.")
    return path


# --- hashing -----------------------------------------------------------------------------------


def sha256_file(path: StrPath) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
