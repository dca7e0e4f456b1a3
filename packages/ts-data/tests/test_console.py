"""What every command shares: one-line errors and exit codes, settings, progress. (ts_models has the same module, to the byte.)"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ts_data import console
from ts_data.artefact import write_file
from ts_data.errors import ConfigError, TsDataError


def raising(problem: BaseException) -> list[str]:
    """A program whose command raises `problem`."""
    filename = getattr(problem, "filename", None)
    arguments = [*problem.args, *([filename] if filename else [])]
    code = f"""
from ts_data.console import make_app, run
from ts_data.errors import TsDataError
app = make_app("x", "Tries.", "1.2.3")
@app.command()
def fail(n: int = 1) -> None:
    raise {type(problem).__name__}(*{arguments!r})
@app.command()
def count() -> None:
    for n in range(100_000):
        print(n)
run(app)
"""
    return [sys.executable, "-c", code]


def outcome(problem: BaseException, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([*raising(problem), *(arguments or ("fail",))], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (TsDataError("raw.txt: is empty."), 2, "error: raw.txt: is empty."),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"), 2, "error: a.txt: No such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "error: /root/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 2, "error: out: no space left on the disk. Free some"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_expected_failure_is_one_line_and_an_exit_code(problem: BaseException, code: int, line: str) -> None:
    found, out, err = outcome(problem)
    assert (found, out) == (code, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def of_library(module: str, name: str, *bases: type[Exception]) -> type[Exception]:
    return type(name, bases or (Exception,), {"__module__": module})


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (OSError(errno.EROFS, "Read-only file system", "x/a"), "x/a: Read-only file system. Choose a place that can be written."),
        (OSError(errno.ENOSPC, "No space left on device", "x/.a.ts-partial/b"), "x/a/b: no space left on the disk. Free some"),
        (OSError(errno.ENOSPC, "No space left on device", "source", None, "copy"), "copy: no space left on the disk. Free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a"), "a: no space left on the disk."),
        (OSError(errno.EFBIG, "File too large", "a"), "a: no space left on the disk."),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "a: File name too long. Choose a shorter one."),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", ".b.ts-lock"), "b: Not a directory. A file is in the way"),
        (OSError(errno.ESPIPE, "Illegal seek"), "Illegal seek."),
        (OSError(errno.EIO, "Input/output error", b"a"), "a: Input/output error. The disk or connection fails"),
        (OSError("Truncated file"), "Truncated file."),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "network: [Errno 111] Connection refused. Check"),
        (TimeoutError("timed out"), "network: timed out. Check the connection"),
        (ImportError("Using SOCKS proxy, but the 'socksio' package is not installed."), "network: Using SOCKS proxy"),
        (ValueError("Unknown scheme for proxy URL URL('ftp://x')"), "network: Unknown scheme for proxy"),
        (
            of_library("httpx", "ConnectError")("[Errno -2] Name or service not known\nmore"),
            "network: [Errno -2] Name or service",
        ),
        (of_library("huggingface_hub.errors", "X", FileNotFoundError)("no copy"), "network: no copy. Check"),
        (of_library("requests.exceptions", "X", OSError)("no route"), "network: no route. Check"),
        (of_library("safetensors_rust", "SafetensorError")("I/O error: No space left on device"), "disk: no space left"),
        (
            of_library("safetensors_rust", "SafetensorError")("header too large"),
            "a file cannot be read or written: header too large.",
        ),
        (
            of_library("pyarrow.lib", "ArrowInvalid", ValueError)("Column 'text' twice"),
            "a file cannot be read or written: Column",
        ),
        (
            of_library("sqlite3", "OperationalError")("attempt to write a readonly database"),
            "a file cannot be read or written: att",
        ),
        (of_library("torch", "OutOfMemoryError", RuntimeError)("CUDA out of memory"), "out of memory (CUDA out of memory). Ask"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory (DefaultCPUAllocator"),
        (MemoryError(), "out of memory (MemoryError). Ask for less"),
        (
            ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot"),
            "the package matplotlib is not installed.",
        ),
        (RecursionError("maximum recursion depth exceeded"), "an input is nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "a text is not UTF-8 ('utf-8' codec"),
        (
            UnicodeEncodeError("utf-8", "caf\udce9.txt", 3, 4, "surrogates not allowed"),
            r"'caf\udce9.txt': a name or text that is not",
        ),
        (
            UnicodeEncodeError("utf-8", "x" * 150 + "/.caf\udce9.ts-partial/b" + "x" * 150, 154, 155, "surrogates not allowed"),
            f"'{'x' * 96}/caf\\udce9/b{'x' * 86}': a name or text that is not",
        ),
        (EOFError("Compressed file ended"), "a file cannot be read or written: Compressed file ended."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_disk_network_memory_or_a_missing_package_cause_is_a_sentence(problem: Exception, sentence: str) -> None:
    found = console.explain(problem)
    assert found is not None
    assert found.startswith(sentence)
    assert "\n" not in found


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours() -> None:
    assert console.explain(ModuleNotFoundError("No module named 'ts_data.x'", name="ts_data.x")) is None


TELL = """
import sys
from pathlib import Path
from typing import Literal
from typing import Annotated
import typer
from ts_data.console import emit, make_app, run
app = make_app("x", "Tries.", "1.2.3")
@app.command()
def tell(text: str = "", out: Annotated[Path, typer.Option("--out")] = Path("p")) -> None:
    emit({"text": text, "out": str(out), "number": float("nan"), "sign": "\u2014\U0001f600"}, f"{text} {out} \u2014")
@app.command()
def read() -> None:
    print(len(sys.stdin.read()), open("/dev/null").fileno() > 2)
run(app)
"""


def tell(*arguments: str | bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", TELL, *arguments], capture_output=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_home_is_expanded_at_the_start_of_any_path_and_nowhere_else() -> None:
    home = {**os.environ, "HOME": "/home/me"}
    for given, meant in (
        ("~/x", "/home/me/x"), ("$HOME/x", "/home/me/x"), ("${HOME}", "/home/me"), ("~", "/home/me"),
        ("~x/y", "~x/y"), ("a~/x", "a~/x"), ("$HOMES/x", "$HOMES/x"), ("$OTHER", "$OTHER"),
    ):  # fmt: skip
        done = tell("tell", f"--out={given}", "--json", env=home)
        assert json.loads(done.stdout)["out"] == meant, given


def test_an_argument_that_is_no_utf8_is_refused_unless_a_file_is_named_so(tmp_path: Path) -> None:
    done = tell("tell", "--text", b"caf\xe9")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: text: not UTF-8 at character 4 (byte 0xe9). Set the terminal to UTF-8.\n"
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    done = tell("tell", "--text", b"caf\xe9", "--out", b"caf\xe9", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == b"caf\\udce9 caf\\udce9 \xe2\x80\x94\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_of_few_letters_gets_escapes(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = tell("tell", "--text", "\u4e16", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    done = tell("tell", "--text", "\u4e16", "--json", env=environment)
    assert json.loads(done.stdout.decode(encoding)) == {"text": "\u4e16", "out": "p", "number": None, "sign": "\u2014\U0001f600"}
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full")
def test_a_full_disk_behind_stdout_is_a_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", TELL, "tell"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"error: disk: no space left on the disk. Free some, then run the same command again.\n"


@pytest.mark.skipif(os.name != "posix", reason="closed streams")
def test_closed_streams_are_empty_ones() -> None:
    done = subprocess.run(["/bin/bash", "-c", '"$0" -c "$1" read <&-', sys.executable, TELL], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0 True\n", b"")
    for closed in (">&-", ">&- 2>&- <&-"):
        done = subprocess.run(
            ["/bin/bash", "-c", f'"$0" -c "$1" tell {closed}', sys.executable, TELL], capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("place", ["typer.main.get_command", "ts_data.console._Commands.parse_args"])
def test_ctrl_c_before_the_command_begins_is_one_line(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, press)
    app = console.make_app("x", "X.", "1")
    with pytest.raises(SystemExit) as ended:
        console.run(app, ["fail"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"


def test_debug_shows_the_traceback_too() -> None:
    code, _, err = outcome(TsDataError("raw.txt: is empty."), "fail", "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.endswith("error: raw.txt: is empty.\n")


def test_a_fault_of_ours_keeps_its_traceback_and_its_exit_code() -> None:
    for fault in (ZeroDivisionError("fault"), ValueError("fault")):
        code, _, err = outcome(fault)
        assert code == 1
        assert err.startswith("Traceback")
        assert console.explain(fault) is None


@pytest.mark.skipif(os.name != "posix", reason="a pipe that closes")
def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen([*raising(KeyError()), "count"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


def test_version_and_misspelled_options_and_commands() -> None:
    assert outcome(KeyError(), "--version") == (0, "x 1.2.3\n", "")
    code, out, err = outcome(KeyError(), "fail", "--m", "2")
    assert (code, out) == (2, "")
    assert "No such option" in err  # how it goes on depends on the version of click
    assert "--m" in err
    code, _, err = outcome(KeyError(), "fial")
    assert code == 2
    assert "fail" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("folder", "is a folder, a TOML file was expected"),
        (b"x = '\xff'", "not UTF-8 at byte 5; a TOML file was expected"),
        (b"x = \n", "not valid TOML"),
    ],
)
def test_a_config_file_that_cannot_be_read_is_named(content: bytes | str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(ConfigError, match=message) as problem:
        console.merge(path, None, {})
    assert str(problem.value).startswith(str(path))


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63), 10**30])
def test_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    assert console._checked((1 << 63) - 1, "most") == (1 << 63) - 1
    with pytest.raises(ConfigError, match=rf"^--max-steps: {number} is too large; give at most 9223372036854775807\.$"):
        console._checked(number, "max_steps")


def test_an_invalid_setting_names_the_file_that_it_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbfnumber = 1\n")  # as Windows writes it
    assert console.merge(path, None, {}) == {"number": 1}
    path.write_text("number = 'many'\n", encoding="utf-8")

    class Schema(BaseModel, extra="forbid"):
        number: int = 1
        parts: tuple[str, ...] = ()

    def message(settings: list[str], **flags: Any) -> str:
        with pytest.raises(ConfigError) as found:
            console.validate(Schema, console.merge(path, settings, flags))
        return str(found.value)

    assert message([]).startswith(f"{path}: field `number`: should be a whole number (it is 'many')")
    assert message(["number=few"]).startswith("settings: field `number`")
    assert message([], number="few").startswith("settings: field `number`")
    assert message(["number=2", "parts=3"]) == "settings: field `parts`: should be a list (it is 3)"
    merged = console.merge(path, None, {})
    with pytest.raises(ConfigError, match=r"c\.toml: field `number`"):
        console.validate(Schema, {"parts": [], **merged}, asked=merged)


def test_settings_are_read_as_toml_and_later_ones_win(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("seed = 1\n[near]\nngram = 3\n", encoding="utf-8")
    settings = ["near.ngram=4", "steps=['stars']", "name=plain words", "on=true"]
    assert console.merge(path, settings, {"seed": 7, "absent": None}) == {
        "seed": 7,
        "near": {"ngram": 4},
        "steps": ["stars"],
        "name": "plain words",
        "on": True,
    }
    with pytest.raises(ConfigError, match=r"write it as dotted\.name=value"):
        console.merge(None, ["seed"], {})
    with pytest.raises(ConfigError, match="`seed` already has a value that holds no fields"):
        console.merge(path, ["seed.deep=1"], {})


def test_progress_in_a_pipe_is_a_line_per_stage_and_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.show_progress(in_bytes=["read"]) as report:
        for done in (0, 1, 1000):
            report("clean", done, 1000)
        report("clean", 1000, 1000)
        report("read", 0, 13_394_172)
        now = 6.0
        report("read", 2_400_000, 13_394_172)
        now = 75.0
        report("read", 13_394_172, 13_394_172)
        report("write", 5)
        report("check", 1, 1)
    told = "clean: 1,000, 0 s\nread: 2.4 MB of 13 MB, 6 s\nread: 13 MB, 1 min 15 s\ncheck: 0 s\n"
    assert capsys.readouterr().err == told
    with console.show_progress(quiet=True) as report:
        report("clean", 1, 2)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.show_progress(in_bytes=["clean"]) as report:
        report("clean", 5_000_000, 10_000_000)
        report("clean", 10_000_000, 10_000_000)
    assert "clean" in (err := capsys.readouterr().err)
    assert "10 MB, 0 s" in err


def test_an_example_in_the_help_can_be_copied(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    app = console.make_app("tool", "A tool.", "1")

    @app.command()
    def work(data: int = 1) -> None:
        """Work hard.

        Example: tool work --preset story-1m --data encoded/ --out out/ --max-minutes 5
        Example: tool work --prompt "Once upon a time" --prompt "There was a little dog named Max" --n 3
        """

    @app.command()
    def rest() -> None: ...

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    with pytest.raises(SystemExit):
        console.run(app, ["work", "--help"])
    shown = capsys.readouterr().out
    assert "--out out/ \\\n      --max-minutes 5\n\n  Example: " in shown
    assert ' \\\n      --prompt "There was a little dog named Max" --n 3\n' in shown


def test_a_table_is_text_with_numbers_to_the_right() -> None:
    rows = [("train", 12), ("validation", 3)]
    assert console.table(rows, ("split", "stories")) == (
        "split       stories\n----------  -------\ntrain            12\nvalidation        3"
    )
    assert console.table([], ("split", "stories")) == "split  stories\n-----  -------"


def test_a_wide_table_breaks_its_text_at_blanks_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [("a name of several words", "0.758 [0.748, 0.767]", "and a remark that is long")]
    lines = console.table(rows, ("what", "value with its interval", "remark")).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("0.758 [0.748, 0.767]" in line for line in lines) == 1
    assert " ".join("\n".join(lines).split()).count("remark") == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, text: str, **options: object) -> str:
    out = _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    console.emit({}, text, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_a_terminal_gets_colors_and_lines_that_end_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = "name  n\n----  -\na     1"
    assert shown(monkeypatch, text) == "\x1b[1mname  n\n\x1b[0m----  -\na     1\n"
    assert "\x1b[36mNext: ls\x1b[0m" in shown(monkeypatch, text, then="ls")
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(monkeypatch, text, then="ls") == f"{text}\nNext: ls\n"
    assert shown(monkeypatch, "a story of many words is wrapped") == "a story of many\nwords is wrapped\n"


def test_quiet_leaves_the_line_that_says_what_was_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.asked, "quiet", True)
    console.emit({}, "a table\n\nwrote x", then="ls x")
    assert capsys.readouterr().out == "wrote x\n"
    console.emit({}, "a\ntable", written=False, then="ls x")
    assert capsys.readouterr().out == "a\ntable\n"


class _Muon(BaseModel):
    name: Literal["muon"] = "muon"
    lr: float = 0.02
    """Peak learning
    rate."""


class _AdamW(BaseModel):
    name: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seed: int | None = None
    order: Literal["random", "length"] = "random"
    optimizer: _Muon | _AdamW = Field(default_factory=_Muon, discriminator="name")


def test_settings_are_listed_with_type_default_and_meaning() -> None:
    assert console.describe_settings(f"{__name__}:_Settings").splitlines() == [
        "seed  int, default none",
        "order  random | length, default random",
        "optimizer.name  muon | adamw, default muon",
        "optimizer.lr  float, default 0.02, with optimizer.name=muon",
        "    Peak learning rate.",
        "optimizer.betas  list[float], default [0.9, 0.95], with optimizer.name=adamw",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 1}, r"field `lr`: is not a known field. Did you mean optimizer\.lr\?"),
        ({"sead": 1}, "field `sead`: is not a known field. Did you mean seed"),
        ({"xyzzy": 1}, "--help-settings lists the fields"),
    ],
)
def test_a_wrong_setting_gets_the_name_that_was_meant(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        console.validate(_Settings, settings)


def command(work: Callable[[], None]) -> Any:
    app = console.make_app("x", "X.", "1")
    app.command()(work)
    return app


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_signal_unwinds_the_work(
    name: str, code: int, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe has no bar that would handle signals, and a file written aside must not stay there either."""
    number = getattr(signal, name)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")

    def work() -> None:
        with console.show_progress() as report, write_file(tmp_path / "out") as aside:
            report("clean", 1, 2)
            aside.write_text("half", encoding="utf-8")
            os.kill(os.getpid(), number)
            time.sleep(5)

    handler = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, handler)
    try:
        with pytest.raises(SystemExit) as stop:
            console.run(command(work), ["work"])
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert stop.value.code == code
    assert list(tmp_path.iterdir()) == []
    shown = capsys.readouterr().err
    assert shown.endswith("interrupted; run the same command again to go on\n")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == terminal, "the cursor is back"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_that_a_library_swallowed_explains_what_fails_then(capsys: pytest.CaptureFixture[str]) -> None:
    """torch takes Ctrl-C within its import of NumPy for a missing NumPy; the half of NumPy that is there fails later."""

    def work() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        raise AttributeError("module 'numpy' has no attribute 'matrix'")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as stop:
            console.run(command(work), ["work"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"


def test_a_signal_that_is_ignored_or_handled_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Any] = []

    def look() -> None:
        found.append(signal.getsignal(signal.SIGTERM))

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as stop:
            console.run(command(look), ["look"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (stop.value.code, found) == (0, [signal.SIG_IGN]), capsys.readouterr().err


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ({}, 'pip install "ts-models[text]"'),
        ({"dir_info": {}}, 'pip install "{packages}/ts-models[text]" "{packages}/ts-tokenizer" "{packages}/ts-data"'),
        (
            {"url": "https://example.org/ts.git", "vcs_info": {"vcs": "git"}, "subdirectory": "packages/ts-models"},
            'pip install "ts-models[text] @ git+https://example.org/ts.git#subdirectory=packages/ts-models"',
        ),
    ],
    ids=["index", "checkout", "git"],
)
def test_a_hint_installs_from_where_the_package_came(
    origin: dict[str, object], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = Path(__file__).resolve().parents[2]
    if "dir_info" in origin:
        origin = {**origin, "url": f"{packages.as_uri()}/ts-models"}
    stored = type("Distribution", (), {"read_text": lambda self, name: json.dumps(origin)})()
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: stored)
    message = console.explain(TsDataError('it needs more. Run: pip install "ts-models[text]"'))
    assert message == f"it needs more. Run: {hint.replace('{packages}', str(packages))}"


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("7", "7")])
def test_threads_that_wait_do_not_spin_for_long(given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", given or "")
    if given is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    app, seen = console.make_app("x", "X.", "1"), []
    app.command("look")(lambda: seen.append(os.environ["GOMP_SPINCOUNT"]))
    with pytest.raises(SystemExit):
        console.run(app, ["look"])
    assert seen == [expected]
