"""JSON lines, and JSON lists, which are converted to JSON lines entry by entry."""

import codecs
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from typing import Any

from ..arrow import strings
from ..artefact import write_file
from ..errors import SourceError
from ..schemas import PrepareConfig
from .blocks import Bad, Block, Format, Input, RawSource, Texts, no_column, pieces, stop
from .encoding import first_bytes, line_of, not_utf8
from .storage import open_file
from .text import cut_at

_READ = 1 << 22


class JsonLines(Format):
    """One story per line, as a string or as an object with the key `config.text_column`; or one JSON list of such."""

    def stage(self, raw: RawSource, config: PrepareConfig) -> Input:
        """Convert a list to lines."""
        if first_bytes(raw.path)[:1] != b"[":
            return raw.as_is()
        target = raw.place(".entries.jsonl")
        if not target.exists():
            with open_file(raw.path) as handle, write_file(target) as aside, aside.open("wb") as lines:
                for entry in entries(raw.name, lambda: handle.read(_READ)):
                    lines.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
                if not lines.tell():
                    raise SourceError(f"{raw.name}: is an empty list; there is no story in it.")
        return Input(raw.name, str(target), raw.origin, raw.kind, raw.role, unit="entry")

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        """Cut at the ends of lines."""
        return cut_at(source, b"\n")

    def read(self, block: Block, config: PrepareConfig, bad: Bad) -> Texts:
        """Blank lines are skipped."""
        for place, lines, rest in pieces(block, b"\n"):
            texts, at = [], place
            for line in [*lines, rest]:
                if line.strip():
                    try:
                        texts.append(_story_of(line, at if bad is stop else None, block.input, config))
                    except SourceError as problem:
                        bad(problem)
                at += len(line) + 1
            yield strings(texts), False


def _story_of(line: bytes, at: int | None, source: Input, config: PrepareConfig) -> bytes:
    """The story in a line that begins at byte `at`. With None an error does not name the line: to count it reads the file up to there."""

    def fault(text: str) -> SourceError:
        place = "" if at is None else f", {source.unit} {line_of(source.path, at):,}"
        return SourceError(f"{source.name}{place}: {text}")

    try:
        row = json.loads(line.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise (not_utf8(source.name, source.path) if at is not None else None) or fault("not UTF-8.") from None
    except RecursionError:
        raise fault("nested too deeply. Mend or remove the line.") from None
    except ValueError as problem:
        reason = (
            f"{problem.msg.removesuffix(' at')} at character {problem.colno}"
            if isinstance(problem, json.JSONDecodeError)
            else str(problem)
        )
        raise fault(f"not JSON ({reason}). {_ONE_PER_LINE}") from None
    if isinstance(row, str):
        row = {config.text_column: row}
    if not isinstance(row, dict):
        raise fault(f"is neither an object nor a string. {_ONE_PER_LINE}")
    story = _value(row, config)
    if story is _MISSING:
        raise fault(no_column(config.text_column, list(row)))
    if not isinstance(story, str):
        raise fault(f"the story is {_JSON_NAMES.get(type(story), 'no text')}, text was expected. Mend or remove the line.")
    try:
        return story.encode()
    except UnicodeEncodeError as problem:
        raise fault(f"holds half a character, {problem.object[problem.start]!r}. Mend or remove the line.") from None


_MISSING = object()


def _value(row: dict[str, Any], config: PrepareConfig) -> Any:
    """The value under the key for stories, also inside objects (`meta.story`); `_MISSING` if there is none."""
    for path in ([config.text_column], config.text_column.split("."), ["story"]):
        found: Any = row
        for name in path:
            found = found.get(name, _MISSING) if isinstance(found, dict) else _MISSING
        if found is not _MISSING:
            return found
    return _MISSING


_ONE_PER_LINE = 'One story per line is expected, as {"text": "…"}, or one JSON list of such.'
_JSON_NAMES = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


# --- JSON lists --------------------------------------------------------------------------------

_ENDS = tuple(", \t\r\n]")
_NUMBER = 64
"""Characters to hold after a number, or after a fault, before it counts: what completes it may be in the next piece."""

_BLANKS = re.compile(r"[ \t\r\n]*")


class _Text:
    """The text of a file, held in pieces."""

    def __init__(self, source: str, read: Callable[[], bytes]) -> None:
        self._source, self._read = source, read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.held, self.at, self.whole = "", 0, False

    def more(self) -> None:
        """Drop the text that was read and append at least as much as is left: what grows piece by piece is read over and over."""
        texts = [self.held[self.at :]]
        missing = max(len(texts[0]), 1)
        while missing > 0 and not self.whole:
            piece = self._read()
            try:
                texts.append(self._decoder.decode(piece, final=not piece))
            except UnicodeDecodeError as problem:
                raise SourceError(f"{self._source}: not UTF-8 ({problem.object[problem.start : problem.start + 4]!r}).") from None
            missing, self.whole = missing - len(texts[-1]), not piece
        self.held, self.at = "".join(texts), 0

    def next_sign(self) -> str:
        """The next character that is no blank; "" at the end of the file."""
        while True:
            blank = _BLANKS.match(self.held, self.at)
            assert blank is not None
            self.at = blank.end()
            if self.at < len(self.held) or self.whole:
                return self.held[self.at : self.at + 1]
            self.more()


def entries(source: str, read: Callable[[], bytes]) -> Iterator[Any]:
    """The entries of the JSON list in a file. `read` gives the next bytes, none at the end.

    Raises SourceError, with the number of the entry, where the file is not a JSON list.
    """
    text, number = _Text(source, read), 1
    if text.next_sign() != "[":
        raise SourceError(f"{source}: not a JSON list.")
    text.at += 1
    if text.next_sign() == "]":
        return
    while True:
        yield _entry(source, number, text)
        sign = text.next_sign()
        if sign not in (",", "]"):
            what = f"{sign!r} follows it" if sign else "the file ends after it"
            raise SourceError(f"{source}, entry {number:,}: {what}, a comma or the end of the list was expected. Mend the file.")
        text.at += 1
        if sign == "]":
            if rest := text.next_sign():
                raise SourceError(f"{source}: {rest!r} follows the end of the list after entry {number:,}. Mend the file.")
            return
        number += 1


def _entry(source: str, number: int, text: _Text) -> Any:
    decoder = json.JSONDecoder()
    text.next_sign()
    while True:
        try:
            value, end = decoder.raw_decode(text.held, text.at)
        except RecursionError:
            raise SourceError(f"{source}, entry {number:,}: nested too deeply. Remove the entry.") from None
        except ValueError as problem:
            if text.whole or not _may_go_on(problem, len(text.held)):
                reason = problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)
                raise SourceError(f"{source}, entry {number:,}: not JSON ({reason}). Mend or remove the entry.") from None
        else:
            if text.whole or text.held[end : end + 1] in _ENDS or len(text.held) - end > _NUMBER:
                text.at = end
                return value
        text.more()


def _may_go_on(problem: ValueError, held: int) -> bool:
    """Whether an entry may be right once more than `held` characters are there; Python refuses a number by its length."""
    if not isinstance(problem, json.JSONDecodeError):
        return False
    return problem.msg.startswith("Unterminated") or held - problem.pos <= _NUMBER
