"""Reads stories and ratings, and writes ratings."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ts_data.artefact import parse_model, write_file

from ..checks import StrPath, each_text, need_text, sequence_of_texts
from ..errors import ArtefactError, ConfigError
from ..schemas import CATEGORIES, Rating, Scores


@dataclass(frozen=True)
class Story:
    """A story, its author (a model's name, `real`, or None), and ratings that its file contains."""

    text: str
    source: str | None = None
    ratings: tuple[dict[str, float], ...] = ()
    raters: tuple[str, ...] = ()
    """Who gave each of the ratings, where the file says so."""

    def __post_init__(self) -> None:
        need_text(self.text, "Story.text")
        if self.source is not None:
            need_text(self.source, "Story.source")

    @property
    def reference(self) -> NDArray[Any]:
        """[6]: the mean over its raters."""
        return np.asarray(np.mean([[row[c] for c in CATEGORIES] for row in self.ratings], axis=0))


def read_stories(source: StrPath | Iterable[str | Story]) -> list[Story]:
    """Stories from a file or an iterable.

    `.jsonl` has an object or string per line, `.json` a list of them, with `story` or `text` and optionally `model` or `source`;
    both may also hold what `ts-models generate --json` prints. Other files are text separated by <|endoftext|>. Raises
    ArtefactError that names file and line, TypeError for anything that is not a list of texts.
    """
    if not isinstance(source, (str, os.PathLike)):
        return [s if isinstance(s, Story) else Story(s) for s in _texts(source)]
    path = Path(source)
    kind = path.suffix.lower()
    if kind in {".csv", ".tsv", ".parquet"} and path.is_file():
        raise ArtefactError(f"{path}: a table, which would be read as one story. Pass its texts as .jsonl, one object a line.")
    text = read_text(path)
    if kind in {".jsonl", ".ndjson", ".json"}:
        rows = [row for place, value in (_listed if kind == ".json" else _json_lines)(text, path) for row in _rows(value, place)]
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


def read_text(path: Path, made_by: str = "") -> str:
    """The text of a UTF-8 file. Raises ArtefactError that names it, and the command that writes it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = f" `{made_by}` writes it." if made_by else " Pass texts as a list: [text]." if " " in path.name else ""
        raise ArtefactError(f"{path}: no such file.{hint}") from None
    except IsADirectoryError:
        inside = path / "stories.jsonl"
        hint = f" Did you mean {inside}?" if inside.is_file() else ""
        raise ArtefactError(f"{path}: is a folder; expected a file.{hint}") from None
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
    if isinstance(rows, dict) and "stories" in rows:
        rows = [rows]
    if not isinstance(rows, list):
        raise ArtefactError(f"{source}: expected a JSON list of stories, not {type(rows).__name__}.")
    yield from ((f"{source}, entry {number}", row) for number, row in enumerate(rows, 1))


def _rows(value: Any, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """One story, or the stories that one object of `ts-models generate --json` holds, each with their model's name."""
    told = value.get("stories") if isinstance(value, dict) else None
    if not isinstance(told, list):
        yield _row(value, where), where
        return
    for number, row in enumerate(told, 1):
        place = f"{where}, story {number}"
        yield {"model": value.get("model"), **_row(row, place)}, place


def _row(row: Any, where: str) -> dict[str, Any]:
    if isinstance(row, str):
        return {"story": row}
    if not isinstance(row, dict):
        raise ArtefactError(f"{where}: expected a JSON object or string.")
    if row.get("format") == "ts-eval/rating":  # of a judge, whose repeats count as raters; a flagged story is in no mean
        rater = f"{row.get('judge')} {row.get('repeat')}"
        return {**row, "rater": rater, "rating": None if row.get("flags") else row.get("scores")}
    return row


def _merged(rows: list[tuple[dict[str, Any], str]]) -> list[Story]:
    """Lines of the rating page as stories: the last line of each rater about a story counts."""
    stories: dict[str, Story] = {}
    for (rater, text), story in _last_lines(rows).items():
        before = stories.get(text, Story(text, story.source))
        raters = before.raters + (rater,) * len(story.ratings)
        stories[text] = Story(text, story.source, before.ratings + story.ratings, raters)
    return list(stories.values())


def _last_lines(rows: list[tuple[dict[str, Any], str]]) -> dict[tuple[str, str], Story]:
    """(rater, text) → the story of the rater's last line about it."""
    return {(str(row.get("rater")), story.text): story for row, where in rows for story in [_story(row, where)]}


def _story(row: dict[str, Any], where: str) -> Story:
    text = next((row[name] for name in ("story", "full_text", "text") if isinstance(row.get(name), str)), None)
    if text is None:
        raise ArtefactError(f"{where}: no field `story` or `text` with a string.")
    source = row.get("source") or row.get("model")
    return Story(text, source if isinstance(source, str) else None, _ratings(row, where))


def _ratings(row: dict[str, Any], where: str) -> tuple[dict[str, float], ...]:
    raw = row["ratings"] if row.get("ratings") is not None else [row["rating"]] if row.get("rating") is not None else []
    try:
        named = [dict(zip(CATEGORIES, r, strict=True)) if isinstance(r, list) else r for r in raw]
        return tuple(Scores.model_validate(r).model_dump() for r in named)
    except (ValidationError, ValueError, TypeError):
        raise ArtefactError(f"{where}: ratings must be six numbers from 1 to 10 ({', '.join(CATEGORIES)}).") from None


# --- ratings.jsonl -----------------------------------------------------------------------------


def write_lines(path: StrPath, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, atomically."""
    with write_file(path) as aside, aside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_ratings(path: StrPath, ratings: Iterable[Rating]) -> None:
    """Write ratings.jsonl, one `Rating` per line, atomically."""
    write_lines(path, (rating.model_dump(mode="json") for rating in ratings))


def read_ratings(path: StrPath) -> list[Rating]:
    """Read ratings.jsonl, or a log of Inspect (.eval). Raises ArtefactError that names file and line."""
    if str(path).endswith(".eval"):
        return _read_inspect(path)
    found = []
    for place, content in _json_lines(read_text(Path(path), "ts-eval judge"), path):
        if not isinstance(content, dict):
            raise ArtefactError(f"{place}: expected a JSON object.")
        found.append(parse_model(content, Rating, source=place, package="tinystories-eval", error=ArtefactError))
    return found


def _read_inspect(path: StrPath) -> list[Rating]:
    try:
        from ..integrations.inspect_ai import read_log
    except ImportError:
        raise ConfigError(f'{path}: a log of Inspect needs Inspect. pip install "tinystories-eval[inspect]"') from None
    try:
        return read_log(path)
    except Exception as problem:  # of a library that reads a zip of JSON by many others
        raise ArtefactError(
            f"{path}: not a log of Inspect's task ts_eval/rate_stories ({type(problem).__name__}: {problem})."
        ) from None


def read_raters(path: StrPath) -> list[list[Rating]]:
    """The ratings of each rater of a file that `ts-eval rate` wrote, or the one list of a judge's ratings.jsonl."""
    if str(path).endswith(".eval"):
        return [read_ratings(path)]
    lines = list(_json_lines(read_text(Path(path)), path))
    if not any(isinstance(row, dict) and "rater" in row for _, row in lines):
        return [read_ratings(path)]
    raters: dict[str, list[Rating]] = {}
    for (rater, _), story in _last_lines([(_row(row, place), place) for place, row in lines]).items():
        if story.ratings:  # else withdrawn
            raters.setdefault(rater, []).append(
                Rating(
                    story=0, text=story.text, source=story.source, mode="sampled", scores=Scores.model_validate(story.ratings[-1]),
                    judge=rater, prompt="ts-eval rate", attempts=0, key=f"{rater} {story.text}",
                )
            )  # fmt: skip
    return list(raters.values())
