"""Rating session: shuffled order per rater, append-only file of ratings, undo."""

import json
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from pydantic import ValidationError

from ...checks import StrPath, need_path, need_text
from ...errors import ArtefactError
from ...packaged import packaged_toml
from ...schemas import WholeScores
from ..backends.base import without_surrogates
from ..files import Story, read_stories
from ..store import sha256

_WRITING = Lock()
"""One for all sessions, so that a session holds nothing that cannot be pickled."""


class RatingSession:
    """One rater's progress. The file is append-only; the last line about a story counts.

    A line is `{"story": …, "source": …, "ratings": [{…}], "rater": …}`, as `calibrate` reads it; undo writes a line without
    ratings.
    """

    def __init__(self, stories: Sequence[str | Story], out: StrPath, *, rater: str, seed: int = 1) -> None:
        sound = [replace(s, text=without_surrogates(s.text)) for s in read_stories(stories) if s.text.strip()]
        found = {_identifier(s.text): s for s in sound}
        self._path, self._rater = need_path(out, "out"), without_surrogates(need_text(rater, "rater"))
        order = list(found)
        random.Random(f"{seed} {self._rater}").shuffle(order)
        self._stories = {identifier: found[identifier] for identifier in order}
        self._rated = self._read()
        self._withdrawn: dict[str, dict[str, int]] = {}

    def next(self) -> dict[str, Any]:
        """The next story for this rater, without its source; `ratings` are those that `undo` withdrew."""
        progress = {"done": len(self._rated), "total": len(self._stories)}
        for identifier, story in self._stories.items():
            if identifier not in self._rated:
                found = {
                    "id": identifier,
                    "story": story.text,
                    "categories": packaged_toml(__package__, "scale.toml")["categories"],
                }
                return {**found, **progress, "ratings": self._withdrawn.get(identifier, {}), "finished": False}
        return {**progress, "finished": True}

    def rate(self, identifier: str, ratings: dict[str, Any]) -> dict[str, Any]:
        """Write a rating to disk and return the next story. Raises ValueError for anything but six integers from 1 to 10."""
        try:
            scores = WholeScores.model_validate(ratings)
        except ValidationError as problem:
            raise ValueError(f"not six whole numbers from 1 to 10 ({problem.error_count()} wrong)") from None
        with _WRITING:
            if identifier not in self._stories:
                raise ValueError("no such story")
            if identifier not in self._rated:
                self._append(identifier, [scores.model_dump()])
                self._rated[identifier] = scores.model_dump()
        return self.next()

    def undo(self) -> dict[str, Any]:
        """Withdraw the last rating."""
        with _WRITING:
            if self._rated:
                last, scores = self._rated.popitem()
                self._withdrawn[last] = scores
                self._append(last, [])
        return self.next()

    def _append(self, identifier: str, ratings: list[dict[str, int]]) -> None:
        story = self._stories[identifier]
        source = None if story.source is None else without_surrogates(story.source)
        row = {"story": story.text, "source": source, "ratings": ratings, "rater": self._rater}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def _read(self) -> dict[str, dict[str, int]]:
        """This rater's ratings by story identifier, oldest first. Removes a last line that an interrupted write left incomplete.

        Raises ArtefactError, without a change, for a file with anything but ratings.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as problem:
            raise ArtefactError(f"{self._path}: cannot be read ({problem.strerror}). Name another file with --out.") from None
        *lines, last = content.decode("utf-8", "replace").split("\n")
        whole = _is_json(last)  # complete, but without a line break
        lines = [*lines, last] if whole else lines
        rated: dict[str, dict[str, int]] = {}
        for number, line in enumerate(lines, 1):
            text, ratings, rater = self._line(line, number)
            if rater == self._rater and (identifier := _identifier(text)) in self._stories:
                rated.pop(identifier, None)
                if ratings:
                    rated[identifier] = ratings[-1]
        if whole:
            with self._path.open("ab") as handle:
                handle.write(b"\n")
        elif last:
            self._truncate(content, last, len(lines))
        return rated

    def _line(self, line: str, number: int) -> tuple[str, list[Any], str]:
        try:
            row = json.loads(line)
            text, ratings, rater = row["story"], row["ratings"], row["rater"]
            if isinstance(text, str) and isinstance(ratings, list) and isinstance(rater, str):
                return text, ratings, rater
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ArtefactError(f"{self._path}, line {number}: not a line of ratings. Name another file with --out.") from None

    def _truncate(self, content: bytes, last: str, lines: int) -> None:
        """Remove an incomplete last line, if it starts like a line of ratings."""
        if not last.startswith('{"story": "'[: len(last)]):
            self._line("", lines + 1)
        with self._path.open("r+b") as handle:
            handle.truncate(content.rfind(b"\n") + 1)


def _identifier(text: str) -> str:
    return sha256(text)[:16]


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
