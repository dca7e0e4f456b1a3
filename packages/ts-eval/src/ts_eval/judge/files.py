"""Reads stories and ratings, writes ratings, and checks output paths before the first paid call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ts_data.artefact import parse_model, write_file

from ..checks import each_text, need_text, sequence_of_texts
from ..errors import ArtefactError, ConfigError
from ..places import local_paths
from ..schemas import Rating, Scores


@dataclass(frozen=True)
class Story:
    """A story, its author (a model's name, `real`, or None), and ratings that its file contains."""

    text: str
    source: str | None = None
    ratings: tuple[dict[str, float], ...] = ()

    def __post_init__(self) -> None:
        need_text(self.text, "Story.text")
        if self.source is not None:
            need_text(self.source, "Story.source")


def read_stories(source: str | os.PathLike[str] | Iterable[str | Story]) -> list[Story]:
    """Stories from a file or an iterable.

    `.jsonl` has an object or string per line, `.json` a list of them, with `story` or `text` and optionally `model` or `source`;
    other files are text separated by <|endoftext|>. Raises ArtefactError that names file and line, TypeError for anything that
    is not a list of texts.
    """
    if not isinstance(source, (str, os.PathLike)):
        return [s if isinstance(s, Story) else Story(s) for s in _texts(source)]
    path = Path(source)
    text = _read(path)
    kind = path.suffix.lower()
    if kind in {".jsonl", ".ndjson", ".json"}:
        rows = [(_row(value, place), place) for place, value in (_listed if kind == ".json" else _json_lines)(text, path)]
        found = _merged(rows) if any("rater" in r for r, _ in rows) else [_story(r, where) for r, where in rows]
    else:
        found = [Story(part.strip()) for part in text.split("<|endoftext|>") if part.strip()]
    if not found:
        raise ArtefactError(f"{path}: contains no story.")
    return found


def _texts(source: Iterable[str | Story]) -> list[str | Story]:
    """The entries of a list, each checked to be a text or a Story."""
    if isinstance(source, Story):
        raise TypeError("stories: expected a list, not one Story. Pass [story].")
    entries: list[str | Story] = list(sequence_of_texts(source, "stories"))
    for _ in each_text(("" if isinstance(e, Story) else e for e in entries), "stories"):
        pass
    return entries


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = " Pass texts as a list: [text]." if " " in path.name else ""
        raise ArtefactError(f"{path}: no such file.{hint}") from None
    except IsADirectoryError:
        raise ArtefactError(f"{path}: is a folder; expected a file of stories (.jsonl or .txt).") from None
    except UnicodeDecodeError as problem:
        raise ArtefactError(f"{path}: not UTF-8 at byte {problem.start}.") from None
    except (OSError, ValueError) as problem:  # a story instead of a path: a name too long, a NUL
        reason = getattr(problem, "strerror", None) or problem
        raise ArtefactError(f"{str(path)[:60]!r}: cannot be read ({reason}). Pass texts as a list: [text].") from None


def _json_lines(text: str, source: object) -> Iterator[tuple[str, Any]]:
    """("FILE, line N", value) of each line that is not blank. Raises ArtefactError for a line that is not JSON."""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a story may contain U+2028
        if not line.strip():
            continue
        place = f"{source}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise ArtefactError(f"{place}: not JSON; the file is damaged.") from None
        yield place, value


def _listed(text: str, source: object) -> Iterator[tuple[str, Any]]:
    """("FILE, entry N", value) of a JSON list."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        raise ArtefactError(f"{source}: not JSON. A file with one object per line must be named .jsonl.") from None
    if not isinstance(rows, list):
        raise ArtefactError(f"{source}: expected a JSON list of stories, not {type(rows).__name__}.")
    yield from ((f"{source}, entry {number}", row) for number, row in enumerate(rows, 1))


def _row(row: Any, where: str) -> dict[str, Any]:
    if isinstance(row, str):
        return {"story": row}
    if not isinstance(row, dict):
        raise ArtefactError(f"{where}: expected a JSON object or string.")
    return row


def _merged(rows: list[tuple[dict[str, Any], str]]) -> list[Story]:
    """Lines of the rating page as stories: the last line of each rater about a story counts."""
    last = {(story.text, str(row.get("rater"))): story for row, where in rows for story in [_story(row, where)]}
    stories: dict[str, Story] = {}
    for (text, _), story in last.items():
        before = stories.get(text, Story(text, story.source))
        stories[text] = Story(text, story.source, before.ratings + story.ratings)
    return list(stories.values())


def _story(row: dict[str, Any], where: str) -> Story:
    text = row.get("story") if isinstance(row.get("story"), str) else row.get("text")
    if not isinstance(text, str):
        raise ArtefactError(f"{where}: no field `story` or `text` with a string.")
    source = row.get("source") or row.get("model")
    return Story(text, source if isinstance(source, str) else None, _ratings(row, where))


def _ratings(row: dict[str, Any], where: str) -> tuple[dict[str, float], ...]:
    from pydantic import ValidationError

    from ..schemas import CATEGORIES

    raw = row["ratings"] if row.get("ratings") is not None else [row["rating"]] if row.get("rating") is not None else []
    try:
        named = [dict(zip(CATEGORIES, r, strict=True)) if isinstance(r, list) else r for r in raw]
        return tuple(Scores.model_validate(r).model_dump() for r in named)
    except (ValidationError, ValueError, TypeError):
        raise ArtefactError(f"{where}: ratings must be six numbers from 1 to 10 ({', '.join(CATEGORIES)}).") from None


# --- ratings.jsonl -----------------------------------------------------------------------------


def write_ratings(path: str | os.PathLike[str], ratings: Iterable[Rating]) -> None:
    """Write ratings.jsonl, one `Rating` per line, atomically."""
    with write_file(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as handle:
        for rating in ratings:
            handle.write(json.dumps(rating.model_dump(mode="json"), ensure_ascii=False) + "\n")


def read_ratings(path: str | os.PathLike[str]) -> list[Rating]:
    """Read ratings.jsonl, or a log of Inspect (.eval). Raises ArtefactError that names file and line."""
    if str(path).endswith(".eval"):
        return _read_inspect(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file. `ts-eval judge` writes it.") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ArtefactError(f"{path}: not a ratings.jsonl.") from None
    return [_rating(content, place) for place, content in _json_lines(text, path)]


def _read_inspect(path: str | os.PathLike[str]) -> list[Rating]:
    try:
        from ..integrations.inspect_ai import read_log
    except ImportError:
        raise ConfigError(f"{path}: a log of Inspect needs a package: pip install tinystories-eval[inspect]") from None
    try:
        return read_log(path)
    except Exception as problem:  # of a library that reads a zip of JSON by many others
        raise ArtefactError(
            f"{path}: not a log of Inspect's task ts_eval/rate_stories ({type(problem).__name__}: {problem})."
        ) from None


def read_raters(path: str | os.PathLike[str]) -> list[list[Rating]]:
    """The ratings of each rater of a file that `ts-eval rate` wrote, or the one list of a judge's ratings.jsonl."""
    if str(path).endswith(".eval"):
        return [read_ratings(path)]
    lines = list(_json_lines(_read(Path(path)), path))
    if not any(isinstance(row, dict) and "rater" in row for _, row in lines):
        return [read_ratings(path)]
    last: dict[tuple[str, str], Rating | None] = {}
    for place, row in lines:
        story, rater = _story(_row(row, place), place), str(row.get("rater"))
        last[rater, story.text] = _by_hand(story, rater)
    raters: dict[str, list[Rating]] = {}
    for (rater, _), rating in last.items():
        raters.setdefault(rater, []).extend([rating] if rating is not None else [])
    return [ratings for ratings in raters.values() if ratings]


def _by_hand(story: Story, rater: str) -> Rating | None:
    """A person's rating; None for a withdrawn one."""
    if not story.ratings:
        return None
    return Rating(
        story=0, text=story.text, source=story.source, mode="sampled", scores=Scores.model_validate(story.ratings[-1]), judge=rater,
        prompt="ts-eval rate", attempts=0, key=f"{rater} {story.text}",
    )  # fmt: skip


def _rating(content: Any, place: str) -> Rating:
    if not isinstance(content, dict):
        raise ArtefactError(f"{place}: expected a JSON object.")
    return parse_model(content, Rating, source=place, package="tinystories-eval", error=ArtefactError)


# --- output paths ------------------------------------------------------------------------------


def check_output(out: str | os.PathLike[str] | None, kind: str, others: Iterable[str | os.PathLike[str] | None]) -> None:
    """Refuse an `out` that is a folder, one of `others` (inputs, the store), or an existing file of another format than `kind`."""
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; --out takes a file name.")
    if path.resolve() in local_paths(*others) or any(Path(o) == path for o in others if o is not None):
        raise ConfigError(f"{path}: is an input and would be overwritten; name another --out.")
    if path.is_file() and not _is(path, kind):
        raise ConfigError(f"{path}: exists and is not a {kind} file; it is left unchanged. Name another --out.")


def _is(path: Path, kind: str) -> bool:
    """Whether a file is empty, or its JSON (first line of JSON lines) names the format."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            return True
        content = json.loads(text.split("\n", 1)[0] if kind == "ts-eval/rating" else text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == kind
