"""What the commands share: options, progress on stderr, `--json` on stdout, one-line errors, exit codes.

It computes nothing and knows no package. This module stands twice, in ts_data and in ts_models, equal to
the byte (a test holds it), because neither may import the other; the other packages import one of the two.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer
from typer.core import TyperGroup

from .errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "Config",
    "Json",
    "Progress",
    "Quiet",
    "Set",
    "emit",
    "explain",
    "make_app",
    "merge",
    "run",
    "show_progress",
    "table",
    "validate",
    "warn",
]

Model = TypeVar("Model", bound="BaseModel")
Command = TypeVar("Command", bound=Callable[..., Any])

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with the settings.", show_default=False)]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="One setting: dotted.name=value. May be repeated.", show_default=False)
]


class Progress(Protocol):
    """How long work tells how far it is: a stage's name, units done and, where known, units in all."""

    def __call__(self, stage: str, done: int, total: int | None = None) -> None: ...


# --- the app -----------------------------------------------------------------------------------


class _EndError(Exception):
    """Ctrl-C, or a reader of our stdout that has gone."""


class _Commands(TyperGroup):
    """The commands of an app. Typer itself would end at Ctrl-C without a word, and with 1 at a pipe that closes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk behind stdout is an error of the command
        except (KeyboardInterrupt, BrokenPipeError) as end:
            raise _EndError from end
        return result


class _App(typer.Typer):
    """A Typer app whose commands get checked arguments (see `_checked`)."""

    def command(self, *args: Any, **options: Any) -> Callable[[Command], Command]:
        add = super().command(*args, **options)

        def register(function: Command) -> Command:
            @functools.wraps(function)
            def checked(**values: Any) -> Any:
                return function(**{name: _checked(value, name) for name, value in values.items()})

            add(checked)
            return function

        return register


def make_app(name: str, summary: str, version: str) -> typer.Typer:
    """A Typer app with the house's settings: plain text (fast and pipe-safe), `--version`, `--debug` explained."""
    app = _App(
        name=name,
        cls=_Commands,
        help=summary,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        epilog="Every command takes --json, --quiet and --debug (a traceback instead of one line).",
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {version}")
            raise typer.Exit

    # The option is a default, not part of the annotation: Typer evaluates annotations in module scope.
    @app.callback()
    def _root(
        _version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
    ) -> None: ...

    return app


def _checked(value: Any, name: str) -> Any:
    """An argument with a leading `~` or `$HOME` expanded, as a shell leaves them in `--out=~/x`; text must be UTF-8."""
    if isinstance(value, list | tuple):
        return type(value)(_checked(item, name) for item in value)
    if isinstance(value, Path):
        return Path(_expanded(str(value)))
    if not isinstance(value, str):
        return value
    value = _expanded(value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as problem:
        if not os.path.lexists(value):  # a file may be named so
            byte = ord(value[problem.start]) & 0xFF
            raise ConfigError(
                f"{name.strip('_')}: not UTF-8 at character {problem.start + 1} (byte 0x{byte:02x}). Set the terminal to UTF-8."
            ) from None
    return value


_HOME = re.compile(r"(~|\$HOME|\$\{HOME\})(?=/|$)")


def _expanded(text: str) -> str:
    found = _HOME.match(text)
    return text if found is None else os.path.expanduser("~") + text[found.end() :]  # noqa: PTH111 - may be no path


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> None:
    """Run an app: an expected error becomes one line and exit code 2, Ctrl-C 130; `--debug` shows the traceback.

    Expected are the errors that our packages raise on purpose (their bases carry `is_expected`), and what a disk, a
    network, a terminal, memory or a missing package causes (see `explain`). Any other error is a fault of ours.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:
        arguments.remove("--debug")
    _prepare_streams()
    try:
        app(args=arguments)
    except _EndError as end:
        if isinstance(end.__cause__, KeyboardInterrupt):
            _stop("interrupted; run the same command again to go on", 130, debug)
        _close_stdout()  # head or less has seen enough: not an error
        sys.exit(0)
    except Exception as problem:
        message = explain(problem)
        if message is None:
            raise
        _stop(message, 2, debug)


def _prepare_streams() -> None:
    """Open what the caller closed, so that no file of ours gets its number; write what a terminal cannot show as escapes."""
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _stop(message: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _close_stdout()
    line = " ".join(message.split("\n"))
    print(f"error: {line}" if code == 2 else line, file=sys.stderr)
    sys.exit(code)


def _close_stdout() -> None:
    """Send what stdout still holds nowhere: Python would try again to write it at its end."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: not a real stream, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- errors ------------------------------------------------------------------------------------

_MENDS = {
    errno.ENOENT: "Check the path.",
    errno.EACCES: "Choose a place where you may read and write.",
    errno.EPERM: "Choose a place where you may read and write.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENOSPC: "Free some, then run the same command again.",
    errno.EDQUOT: "Free some, then run the same command again.",
    errno.EFBIG: "Choose another disk, or raise the limit (ulimit -f).",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "A file is in the way; choose another path.",
    errno.EEXIST: "A file is in the way; choose another path.",
    errno.ENAMETOOLONG: "Choose a shorter one.",
    errno.ELOOP: "Remove the link that leads back to itself.",
    errno.EBUSY: "Close what uses it, or choose another path.",
    errno.EXDEV: "Choose a place on one disk.",
    errno.ESPIPE: "Save the stream to a file first, then name the file.",
    errno.ENXIO: "Save the stream to a file first, then name the file.",
    errno.ENODEV: "Name an ordinary file.",
    errno.EINVAL: "Name an ordinary file or folder.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.EIO: "The disk or connection fails; check it.",
}
_SPACE = ("no space left", "disk is full", "disk full", "quota exceeded", "file too large")
_NETWORK = frozenset(
    {
        "httpx",
        "httpcore",
        "httpx2",
        "httpcore2",
        "requests",
        "urllib3",
        "urllib",
        "huggingface_hub",
        "aiohttp",
        "socket",
        "ssl",
        "http",
        "openai",
    }
)
_FILES = frozenset(
    {"pyarrow", "safetensors", "safetensors_rust", "sqlite3", "zlib", "gzip", "lzma", "zstandard", "zipfile", "tarfile"}
)
_HIDDEN = re.compile(r"(^|/)\.([^/]+)\.ts-(?:lock|partial|old|work)(?=/|$)")


def explain(problem: BaseException) -> str | None:
    """The sentence for an error that a user can mend; None for a fault of the program."""
    if getattr(type(problem), "is_expected", False):
        return str(problem)
    origins = {kind.__module__.partition(".")[0] for kind in type(problem).__mro__}
    text = _first_line(problem)
    if any(words in text.lower() for words in _SPACE) or getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"{_place(problem) or 'disk'}: no space left on the disk. {_MENDS[errno.ENOSPC]}"
    if isinstance(problem, ConnectionError | TimeoutError) or origins & _NETWORK:
        return f"network: {text}. Check the connection and the address, then run the same command again."
    if isinstance(problem, OSError):
        place, reason = _place(problem), (problem.strerror or text).rstrip(".")
        return f"{place}: {reason}. {_MENDS.get(problem.errno or 0, 'Choose another path.')}" if place else f"{reason}."
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return f"out of memory{f' ({text})' if text else ''}. Ask for less at once, or use a machine with more memory."
    if isinstance(problem, ModuleNotFoundError) and not re.match(r"ts_\w+\.", problem.name or "ts_."):
        package = (problem.name or "").partition(".")[0]
        return f"the package {package} is not installed. Install it, or the extra that brings it."
    if isinstance(problem, RecursionError):
        return "an input is nested too deeply to be read. Check the files that were named."
    if isinstance(problem, UnicodeEncodeError) and isinstance(problem.object, str):
        return f"{problem.object[:200]!a}: a name or text that is not UTF-8. Rename the file, or convert the text."
    if isinstance(problem, UnicodeError):
        return f"a text is not UTF-8 ({text}). Convert it to UTF-8."
    if isinstance(problem, EOFError) or origins & _FILES:
        return f"a file cannot be read or written: {text.rstrip('.')}. It is damaged, or of another kind than expected."
    return None


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__)[:300].rstrip(".")


def _place(problem: BaseException) -> str:
    """The file that an error names, without our hidden names."""
    name = getattr(problem, "filename", None)
    return _HIDDEN.sub(r"\1\2", os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else ""


# --- results -----------------------------------------------------------------------------------


def emit(payload: Mapping[str, Any] | BaseModel, text: str | Callable[[], str], *, as_json: bool) -> None:
    """Print a result: the payload as one JSON object (NaN as null), or its text for people (a callable is made only if needed)."""
    if as_json:
        from .artefact import finite_json  # here, because `--help` should not wait for pydantic

        content = finite_json(payload if isinstance(payload, Mapping) else payload.model_dump(mode="json"))
        unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        typer.echo(json.dumps(content, ensure_ascii=not unicode, allow_nan=False, default=str))
    else:
        typer.echo(text if isinstance(text, str) else text())


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A plain table: the first column to the left, numbers to the right. Text, so that a pipe gets it too."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(rows) and all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()

    return "\n".join([line(cells[0]), "  ".join("-" * w for w in widths), *map(line, cells[1:])])


def _is_number(cell: str) -> bool:
    return bool(cell) and (cell[0].isdigit() or cell[:1] in "+-–±." or cell == "—")


def warn(message: str) -> None:
    """A line on stderr that people should read, also with `--json`."""
    print(f"warning: {message}", file=sys.stderr)


# --- settings ----------------------------------------------------------------------------------


def merge(config: Path | None, settings: Sequence[str] | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a TOML file, `--set` values and a command's own flags (the later wins; a flag that is None says nothing)."""
    merged: dict[str, Any] = {}
    if config is not None:
        try:
            merged = tomllib.loads(config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{config}: no such file.") from None
        except IsADirectoryError:
            raise ConfigError(f"{config}: is a folder, a TOML file was expected.") from None
        except UnicodeDecodeError as problem:
            raise ConfigError(f"{config}: not UTF-8 at byte {problem.start}; a TOML file was expected.") from None
        except tomllib.TOMLDecodeError as problem:
            raise ConfigError(f"{config}: not valid TOML: {problem}") from None
    for item in settings or ():
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {item!r}: write it as dotted.name=value, for example optimizer.lr=0.002")
        _put(merged, name.strip(), _value(value.strip()))
    for name, value in flags.items():
        if value is not None:
            _put(merged, name, value)
    return merged


def validate(schema: type[Model], values: Mapping[str, Any], source: str = "settings") -> Model:
    """Validate merged settings once; the error names each field that is wrong."""
    from pydantic import ValidationError  # here, because `--help` should not wait for pydantic

    from .artefact import describe_invalid

    try:
        return schema.model_validate(dict(values))
    except ValidationError as problem:
        raise ConfigError(f"{source}: {describe_invalid(problem)}") from None


def _put(target: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for part in path:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {dotted}: `{part}` already has a value that holds no fields.")
        target = inner
    target[last] = value


def _value(text: str) -> Any:
    """A `--set` value read as TOML would read it (numbers, true, [lists]); anything else is a string."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


# --- progress ----------------------------------------------------------------------------------


@contextlib.contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress on stderr: a live bar with an ETA on a terminal, a plain line every few seconds in a pipe."""
    if quiet:
        yield lambda stage, done, total=None: None
    elif sys.stderr.isatty():
        with _live() as report:
            yield report
    else:
        yield _plain()


def _plain(every: float = 5.0) -> Progress:
    state: dict[str, Any] = {"stage": None, "time": 0.0}

    def report(stage: str, done: int, total: int | None = None) -> None:
        now = time.monotonic()
        finished = total is not None and done >= total
        if stage == state["stage"] and not finished and now - state["time"] < every:
            return
        if finished and state.get("finished") == stage:
            return
        state.update(stage=stage, time=now, finished=stage if finished else None)
        print(f"{stage}: {done:,}" + (f" of {total:,}" if total is not None else ""), file=sys.stderr, flush=True)

    return report


@contextlib.contextmanager
def _unwound() -> Iterator[None]:
    """Let SIGTERM end the work by an exception, so that the terminal gets its cursor back; whoever handles it already goes on doing so."""
    import signal
    import threading

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with _unwound(), Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
