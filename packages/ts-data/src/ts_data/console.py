"""What the commands share: options, progress on stderr, `--json` on stdout, one-line errors, exit codes.

It computes nothing and knows no package. This module stands twice, in ts_data and in ts_models, equal to
the byte (a test holds it), because neither may import the other; the other packages import one of the two.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    "make_app",
    "merge",
    "run",
    "show_progress",
    "table",
    "validate",
    "warn",
]

Model = TypeVar("Model", bound="BaseModel")

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
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as end:
            raise _EndError from end


def make_app(name: str, summary: str, version: str) -> typer.Typer:
    """A Typer app with the house's settings: plain text (fast and pipe-safe), `--version`, `--debug` explained."""
    app = typer.Typer(
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


def run(app: typer.Typer, errors: tuple[type[Exception], ...], argv: Sequence[str] | None = None) -> None:
    """Run an app: an expected error becomes one line and exit code 2, Ctrl-C 130; `--debug` shows the traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:
        arguments.remove("--debug")
    try:
        app(args=arguments)
    except _EndError as end:
        if isinstance(end.__cause__, KeyboardInterrupt):
            _stop("interrupted; run the same command again to go on", 130, debug)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # head or less has seen enough: not an error
        sys.exit(0)
    except errors as problem:
        _stop(str(problem), 2, debug)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as problem:
        _stop(f"{problem.filename}: {problem.strerror}", 2, debug)
    except OSError as problem:
        if problem.errno != 28:  # ENOSPC
            raise
        _stop(f"{problem.filename or 'disk'}: no space left on the disk. Free some, then run the same command again.", 2, debug)


def _stop(message: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    print(f"error: {message}" if code == 2 else message, file=sys.stderr)
    sys.exit(code)


# --- results -----------------------------------------------------------------------------------


def emit(payload: Mapping[str, Any] | BaseModel, text: str | Callable[[], str], *, as_json: bool) -> None:
    """Print a result: the payload as one JSON object, or its text for people (a callable is made only if needed)."""
    if as_json:
        content = payload if isinstance(payload, Mapping) else payload.model_dump(mode="json")
        typer.echo(json.dumps(content, ensure_ascii=False, default=str))
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


@contextmanager
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


@contextmanager
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


@contextmanager
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
