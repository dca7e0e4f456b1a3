"""What the commands share: options, progress on stderr, `--json` on stdout, one-line errors, exit codes.

It computes nothing and knows no package. This module stands twice, in ts_data and in ts_models, equal to
the byte (a test holds it), because neither may import the other; the other packages import one of the two.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import functools
import importlib
import inspect
import io
import json
import os
import re
import shutil
import sys
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from .errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")
Command = TypeVar("Command", bound=Callable[..., Any])

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; of a result that is written, one line only.")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with the settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting: dotted.name=value. May be repeated.")]


class Progress(Protocol):
    """How long work tells how far it is: a stage's name, units done and, where known, units in all."""

    def __call__(self, stage: str, done: int, total: int | None = None) -> None: ...


# --- the app -----------------------------------------------------------------------------------


class _EndError(Exception):
    """Ctrl-C, or a reader of our stdout that has gone."""


class _Command(TyperCommand):
    """One command, with colors in its help."""

    def get_help(self, ctx: Any) -> str:
        described, width = self.help, ctx.make_formatter().width
        shown = re.sub(r"(?m)^Example: .*", lambda example: _copyable(example[0], width), described or "")
        self.help = shown.replace("-", _HYPHEN)  # a line would end within --max-minutes
        try:
            return _help_text(super().get_help(ctx))
        finally:
            self.help = described


class _Commands(TyperGroup):
    """The commands of an app. Typer itself would end at Ctrl-C without a word, and with 1 at a pipe that closes."""

    def get_help(self, ctx: Any) -> str:
        return _help_text(super().get_help(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):  # Typer's own list ends each line with "…" at the terminal's width
            formatter.write_dl([(name, (command.help or "").partition("\n\n")[0]) for name, command in self.commands.items()])

    def make_context(self, *args: Any, **options: Any) -> Any:
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt as end:
            raise _EndError from end

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk behind stdout is an error of the command
        except (KeyboardInterrupt, BrokenPipeError) as end:
            raise _EndError from end
        return result


class _App(typer.Typer):
    """A Typer app whose commands have --json and --quiet (see `asked`) and checked arguments (see `_checked`)."""

    def command(self, *args: Any, schema: str | None = None, **options: Any) -> Callable[[Command], Command]:
        """Register a command; `schema` ("module:Class" of its settings) gives it --help-settings."""
        add = super().command(*args, cls=_Command, epilog="With --debug, an error shows its traceback.", **options)
        added = {"as_json": Json, "quiet": Quiet} | ({} if schema is None else {"help_settings": _settings_help(schema)})

        def register(function: Command) -> Command:
            @functools.wraps(function)
            def checked(**values: Any) -> Any:
                asked.as_json, asked.quiet, *_ = (values.pop(name) for name in added)
                try:
                    return function(**{name: _checked(value, name) for name, value in values.items()})
                finally:
                    asked.as_json = asked.quiet = False

            _take(checked, added)
            add(checked)
            return function

        return register


class Asked:
    """Which of the options that every command has the running one was given. `emit` and `show_progress` heed them."""

    as_json = quiet = False


asked = Asked()
_HYPHEN = "\u2011"
"""A hyphen at which no line ends."""


def _take(command: Any, options: Mapping[str, Any]) -> None:
    """Give a command flags: parameter → annotation."""
    signature = inspect.signature(command, eval_str=True)
    flags = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=options[name]) for name in options]
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *flags])
    command.__annotations__ = {**command.__annotations__, **options}


def _settings_help(schema: str) -> Any:
    """The option --help-settings."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(_styled(describe_settings(schema), r"(?m)^\S+", "1", sys.stdout))
            raise typer.Exit

    text = "List the names for --set with type, default and meaning."
    return Annotated[bool, typer.Option("--help-settings", help=text, is_eager=True, callback=show)]


def _copyable(example: str, width: int) -> str:
    """An example that a shell takes as it stands in the help: a backslash where a line ends, and none within quotes."""
    whole = re.sub(r"\"[^\"]*\"|'[^']*'|--\S+ (?!-)", lambda together: together[0].replace(" ", "\xa0"), example)
    lines = textwrap.wrap(whole, width - 4, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n\b\n" + " \\\n".join(lines).replace("\xa0", " ")  # \b: Click wraps it no more


def _help_text(text: str) -> str:
    """Help with bold headings; a default given as text without the parentheses that Typer puts around it."""
    text = re.sub(r"\[default:(\s+)\(([^()]*)\)", r"[default:\1\2", text).replace(_HYPHEN, "-")
    return _styled(text, r"(?m)^(Usage|Arguments|Options|Commands):", "1", sys.stdout)


def make_app(name: str, summary: str, version: str) -> _App:
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
    """An argument with a leading `~` or `$HOME` expanded, as a shell leaves them in `--out=~/x`.

    Text must be UTF-8, and a whole number must fit into 64 bits.
    """
    if isinstance(value, list | tuple):
        return type(value)(_checked(item, name) for item in value)
    if isinstance(value, Path):
        return Path(_expanded(str(value)))
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ConfigError(f"--{name.strip('_').replace('_', '-')}: {value} is too large; give at most {(1 << 63) - 1}.")
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


_HOME = re.compile(rf"(~|\$HOME|\$\{{HOME\}})(?=[/{re.escape(os.sep)}]|$)")


def _expanded(text: str) -> str:
    found = _HOME.match(text)
    return text if found is None else os.path.expanduser("~") + text[found.end() :]  # noqa: PTH111 - may be no path


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> None:
    """Run an app: an expected error becomes one line and exit code 2, Ctrl-C 130, SIGTERM 143; `--debug` shows the traceback.

    Expected are the errors that our packages raise on purpose (their bases carry `is_expected`), and what a disk, a
    network, a terminal, memory or a missing package causes (see `explain`). Any other error is a fault of ours.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:
        arguments.remove("--debug")
    _prepare_streams()
    # Threads that wait for each other by spinning are scheduled against each other when the machine has other work to do:
    # on two busy cores training fell to a fortieth. A short spin costs nothing on an idle one. Read when torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    received: list[int] = []
    try:
        with _unwound(received):
            app(args=arguments)
    except (Exception, KeyboardInterrupt) as problem:
        if received or KeyboardInterrupt in (type(problem), type(problem.__cause__)):
            _stop("interrupted; run the same command again to go on", 128 + (received or [2])[0], debug)
        if isinstance(problem, _EndError):
            _close(sys.stdout)  # head or less has seen enough: not an error
            sys.exit(0)
        message = explain(problem)
        if message is None:
            raise
        _stop(message, 2, debug)


@contextlib.contextmanager
def _unwound(received: list[int]) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the work by an exception: nothing half-written stays, and the terminal gets its cursor back.

    A signal that the caller ignores, as nohup does, or handles stays as it is. `received` gets each one's number: torch takes an
    interrupt within its import of NumPy for a missing NumPy, and what fails then is no fault.
    """
    import signal
    import threading

    def end(number: int, _: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    handlers = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names if hasattr(signal, name)}
    here = threading.current_thread() is threading.main_thread()
    before = {n: found for n, found in handlers.items() if here and found in (signal.SIG_DFL, signal.default_int_handler)}
    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def _prepare_streams() -> None:
    """Open what the caller closed, so that no file of ours gets its number; write what a terminal cannot show as escapes.

    What stderr does not take, for its disk is full or its terminal has gone, ends no work.
    """
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
    with contextlib.suppress(OSError, ValueError):  # not a real stream, as in tests
        if sys.stderr.fileno() == 2 and not (sys.platform == "win32" and sys.stderr.isatty()):
            log = _Log(2, "w", closefd=False)
            log.before = sys.stderr  # it may close its file when nobody holds it
            sys.stderr = io.TextIOWrapper(io.BufferedWriter(log), sys.stderr.encoding, "backslashreplace", line_buffering=True)


class _Log(io.FileIO):
    """A file that forgets what cannot be written."""

    before: Any

    def write(self, content: Any, /) -> int:
        with contextlib.suppress(OSError):
            written = super().write(content)
            if written is not None:
                return written
        return len(content)


def _stop(message: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _close(sys.stdout)
    line = " ".join(message.split("\n"))
    print(_styled(f"error: {line}", "^error:", "1;31", sys.stderr) if code == 2 else line, file=sys.stderr)
    sys.exit(code)


def _close(stream: Any) -> None:
    """Send what a stream still holds nowhere: Python would try again to write it at its end."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: not a real stream, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
_NETWORK = {
    "httpx", "httpcore", "httpx2", "httpcore2", "requests", "urllib3", "urllib", "huggingface_hub", "aiohttp", "socket", "ssl", "http",
    "openai",
}  # fmt: skip
_FILES = {"pyarrow", "safetensors", "safetensors_rust", "sqlite3", "zlib", "gzip", "lzma", "zstandard", "zipfile", "tarfile"}
_HIDDEN = re.compile(r"(^|/)\.([^/]+)\.ts-(?:lock|partial|old|work)(?=/|$)")


def explain(problem: BaseException) -> str | None:
    """The sentence for an error that a user can mend; None for a fault of the program."""
    if getattr(type(problem), "is_expected", False):
        return _OFFER.sub(lambda found: _as_installed(found[1], found[2] or "") or found.group(), str(problem))
    origins = {kind.__module__.partition(".")[0] for kind in type(problem).__mro__}
    text = _first_line(problem)
    if any(words in text.lower() for words in _SPACE) or getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"{_place(problem) or 'disk'}: no space left on the disk. {_MENDS[errno.ENOSPC]}"
    proxy = isinstance(problem, ImportError | ValueError) and "proxy" in text.lower()  # of a kind that httpx does not take
    if isinstance(problem, ConnectionError | TimeoutError) or origins & _NETWORK or proxy:
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
        near = problem.object[max(0, problem.start - 100) : problem.end + 100]
        return f"{_shown(near)!a}: a name or text that is not UTF-8. Rename the file, or convert the text."
    if isinstance(problem, UnicodeError):
        return f"a text is not UTF-8 ({text}). Convert it to UTF-8."
    if isinstance(problem, EOFError) or origins & _FILES:
        return f"a file cannot be read or written: {text.rstrip('.')}. It is damaged, or of another kind than expected."
    return None


_OFFER = re.compile(r'(?<=pip install )"?((?:ts|tinystories)-[a-z]+)(\[[a-z-]+\])?"?')


def _as_installed(name: str, extra: str) -> str | None:
    """What pip is to install where a package of ours came from a folder or from git; None where it came from an index."""
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    if "vcs_info" in origin:
        return f'"{name}{extra} @ git+{origin["url"]}#subdirectory={origin.get("subdirectory", "")}"'
    if "dir_info" not in origin:
        return None
    needed = _siblings(Path(url2pathname(urlsplit(origin["url"]).path)), extra.strip("[]"))
    (folder, _), *others = needed.items()
    return " ".join([f'"{folder}{extra}"', *(f'"{other}"' for other, _ in others)])


def _siblings(folder: Path, extra: str = "") -> dict[Path, None]:
    """A package's folder in a checkout, and those of the packages that it needs."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {folder: None}
    for requirement in [*project["dependencies"], *project.get("optional-dependencies", {}).get(extra, ())]:
        ours = re.match(r"(?:ts|tinystories)-([a-z]+)", requirement)
        if ours and (other := folder.parent / f"ts-{ours[1]}") not in needed and other.is_dir():
            needed |= _siblings(other)
    return needed


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__)[:300].rstrip(".")


def _place(problem: BaseException) -> str:
    """The file that an error names, without our hidden names; of a copy, what was to be written."""
    name = getattr(problem, "filename2", None) or getattr(problem, "filename", None)
    return _shown(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else ""


def _shown(name: str) -> str:
    return _HIDDEN.sub(r"\1\2", name)


# --- results -----------------------------------------------------------------------------------


def emit(
    payload: Mapping[str, Any] | BaseModel, text: str | Callable[[], str], *, written: bool = True, then: str | None = None
) -> None:
    """Print a result: with --json the payload as one JSON object (NaN as null), else its text for people (made only if needed).

    `then` is the command that usually follows. With --quiet, of a result that was `written` only the last line is printed, which says where.
    """
    if asked.as_json:
        from .artefact import finite_json  # here, because `--help` should not wait for pydantic

        content = finite_json(payload if isinstance(payload, Mapping) else payload.model_dump(mode="json"))
        unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        typer.echo(json.dumps(content, ensure_ascii=not unicode, allow_nan=False, default=str))
        return
    shown = text if isinstance(text, str) else text()
    if asked.quiet and written:
        shown = shown[shown.rfind("\n") + 1 :]
    elif then is not None and not asked.quiet:
        shown += f"\nNext: {then}"
    shown = _styled(shown, r"(?m)^.+\n(?=-+(  -+)*$)", "1", sys.stdout)
    typer.echo(_fitted(_styled(shown, r"(?m)^Next: .*", "36", sys.stdout)))


def _styled(text: str, pattern: str, code: str, stream: Any) -> str:
    """The text with what matches the pattern in a style of ANSI, where the stream shows colors."""
    if not shows_colors(stream):
        return text
    return re.sub(pattern, lambda found: f"\x1b[{code}m{found.group()}\x1b[0m", text)


def shows_colors(stream: Any) -> bool:
    """Whether the stream is a terminal, and NO_COLOR is not set."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _fitted(text: str) -> str:
    """The text in lines that a terminal need not cut within a word; a pipe gets it as it is."""
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or all(len(line) <= width for line in text.split("\n")):
        return text
    from rich.console import Console
    from rich.text import Text

    console = Console(width=width, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as capture:
        console.print(Text.from_ansi(text))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A plain table: the first column to the left, numbers to the right. Text, so that a pipe gets it too.

    Where it is wider than the terminal (80 columns in a pipe), headers and text break at blanks, numbers do not.
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    columns = range(len(header))
    widths = [max(len(row[i]) for row in cells) for i in columns]
    right = [bool(rows) and all(_is_number(row[i]) for row in cells[1:]) for i in columns]
    least = [
        max(len(word) for row in cells for word in ([row[i]] if _is_number(row[i]) else row[i].split() or [""])) for i in columns
    ]
    over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
    while over > 0 and widths != least:
        widest = max(columns, key=lambda i: (widths[i] > least[i], widths[i]))
        widths[widest] -= 1
        over -= 1

    def lines(row: Sequence[str]) -> Iterator[str]:
        parts = [
            textwrap.wrap(c, w, break_long_words=False, break_on_hyphens=False) if len(c) > w else [c]
            for c, w in zip(row, widths, strict=True)
        ]
        for line in zip_longest(*parts, fillvalue=""):
            yield "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()

    head, *body = ("\n".join(lines(row)) for row in cells)
    return "\n".join([head, "  ".join("-" * w for w in widths), *body])


def _is_number(cell: str) -> bool:
    return bool(cell) and (cell[0].isdigit() or cell[:1] in "+-–±." or cell == "—")


def warn(message: str) -> None:
    """A line on stderr that people should read, also with `--json`."""
    print(_styled(f"warning: {message}", "^warning:", "1;33", sys.stderr), file=sys.stderr)


# --- settings ----------------------------------------------------------------------------------


class _Merged(dict[str, Any]):
    """Settings of a file, and the top-level names that options changed."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.changed = file, set[str]()


def merge(config: Path | None, settings: Sequence[str] | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a TOML file, `--set` values and a command's own flags (the later wins; a flag that is None says nothing)."""
    merged = _Merged(config)
    if config is not None:
        try:
            merged.update(tomllib.loads(config.read_text(encoding="utf-8-sig")))  # Windows begins a text with a mark
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
        merged.changed.add(name.strip().partition(".")[0])
    for name, value in flags.items():
        if value is not None:
            _put(merged, name, value)
            merged.changed.add(name.partition(".")[0])
    return merged


def validate(
    schema: type[Model], values: Mapping[str, Any], source: str = "settings", *, asked: Mapping[str, Any] | None = None
) -> Model:
    """Validate merged settings once; the error names each field that is wrong, and their file if no option set them.

    asked: what `merge` returned, where `values` were made of it.
    """
    from pydantic import ValidationError  # here, because `--help` should not wait for pydantic

    from .artefact import describe_invalid

    try:
        return schema.model_validate(dict(values))
    except ValidationError as problem:
        known = [name for name, *_ in _fields(schema)]
        merged = values if asked is None else asked
        wrong = {str(error["loc"][0]) for error in problem.errors() if error["loc"]}
        if isinstance(merged, _Merged) and merged.file is not None and wrong <= merged.keys() - merged.changed:
            source = str(merged.file)
        raise ConfigError(f"{source}: {describe_invalid(problem, known=known)}") from None


def describe_settings(schema: str) -> str:
    """Every name for --set of a schema ("module:Class"), with type, default and meaning."""
    module, _, kind = schema.partition(":")
    fill = functools.partial(textwrap.fill, width=80, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(
        fill(f"{name}  {kind}") + (f"\n{fill(meaning, initial_indent='    ')}" if meaning else "")
        for name, kind, meaning in _fields(getattr(importlib.import_module(module), kind))
    )


def _fields(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted name, type with default, and meaning of each field of a schema and of the schemas in it."""
    from pydantic_core import PydanticUndefined

    for name, field in schema.model_fields.items():
        inner, default = list(_schemas_in(field.annotation)), field.get_default(call_default_factory=True)
        if len(inner) > 1:  # told apart by their `name`
            names = " | ".join(str(part.model_fields["name"].default) for part in inner)
            yield f"{prefix}{name}.name", f"{names}, default {getattr(default, 'name', 'none')}", ""
        for part in inner:
            case = "" if len(inner) == 1 else f", with {prefix}{name}.name={part.model_fields['name'].default}"
            yield from ((found, kind + case, meaning) for found, kind, meaning in _fields(part, f"{prefix}{name}."))
        if not inner and name not in ("format", "schema_version", "name"):
            shown = default if isinstance(default, str) else "none" if default is None else json.dumps(default, default=str)
            tail = "required" if default is PydanticUndefined else f"default {shown}"
            yield f"{prefix}{name}", f"{_type_name(field.annotation)}, {tail}", _meaning(schema, name)


def _schemas_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from _schemas_in(part)


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " | ".join(_type_name(part) for part in parts if part is not type(None))
    inner = f"[{', '.join(dict.fromkeys(_type_name(part) for part in parts if part is not ...))}]" if parts else ""
    name = getattr(origin or annotation, "__name__", str(annotation))
    return ("list" if name in ("tuple", "frozenset") else name) + inner


def _meaning(schema: type, name: str) -> str:
    """The docstring under a field, in the class that defines it."""
    owner = next(kind for kind in schema.__mro__ if name in inspect.get_annotations(kind))
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # type: ignore[attr-defined]
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and getattr(field.target, "id", "") == name and isinstance(text, ast.Expr):
            return " ".join(str(text.value.value).split()).replace("`", "")  # type: ignore[attr-defined]
    return ""


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
def show_progress(*, quiet: bool = False, in_bytes: Sequence[str] = ()) -> Iterator[Progress]:
    """Progress on stderr: a live bar with the time left on a terminal, a line per stage and every few seconds in a pipe, nothing with --quiet.

    Stages named in `in_bytes` count bytes.
    """
    if quiet or asked.quiet:
        yield lambda stage, done, total=None: None
    elif sys.stderr.isatty():
        with _live(in_bytes) as report:
            yield report
    else:
        yield _plain(in_bytes)


def _counted(done: float, total: float | None, *, in_bytes: bool) -> str:
    """How much is done: "200 of 3,000, ", "13 MB, "; the total only while it lies ahead, nothing where all is one piece."""

    def amount(number: float) -> str:
        return f"{number / 1e6:,.{0 if number >= 1e7 else 1}f} MB" if in_bytes else f"{number:,.0f}"

    if total == 1:
        return ""
    return f"{amount(done)}, " if total is None or done >= total else f"{amount(done)} of {amount(total)}, "


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _plain(in_bytes: Sequence[str] = (), every: float = 5.0) -> Progress:
    began: dict[str, float] = {}
    ended: set[str] = set()
    last = time.monotonic()

    def report(stage: str, done: int, total: int | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        began.setdefault(stage, now)
        finished = total is not None and done >= total
        if stage in ended or (not finished and now - last < every):
            return
        last = now
        ended.update([stage] if finished else [])
        line = f"{stage}: {_counted(done, total, in_bytes=stage in in_bytes)}{_clock(now - began[stage])}"
        print(line, file=sys.stderr, flush=True)

    return report


@contextlib.contextmanager
def _live(in_bytes: Sequence[str]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Counts(ProgressColumn):
        def render(self, task: Task) -> Text:
            counted = _counted(task.completed, task.total, in_bytes=task.description in in_bytes)
            left = "" if task.finished or task.time_remaining is None else f", {_clock(task.time_remaining)} left"
            return Text(f"{counted}{_clock(task.finished_time or task.elapsed or 0)}{left}", no_wrap=True)

    columns = (TextColumn("{task.description}"), BarColumn(20), Counts())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
