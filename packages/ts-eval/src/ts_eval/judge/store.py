"""The append-only store of replies: one SQLite file, written at each reply, keyed by everything that matters.

It never updates or deletes a row, and it holds no key of any account.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ts_data.artefact import lock

from ..errors import ArtefactError, ConfigError
from .backends.base import Reply, Token

__all__ = ["Store", "Stored"]

_VERSION = 2
_COLUMNS = ("key", "attempt", "call", "endpoint", "model", "prompt", "story_sha256", "repeat", "anchor", "seed", "nonce")
_ALL = [
    *_COLUMNS,
    "text",
    "tokens",
    "prompt_tokens",
    "completion_tokens",
    "fingerprint",
    "unparsed",
    "fault",
    "refused",
    "estimated",
]
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
  key TEXT NOT NULL, attempt INTEGER NOT NULL, call TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
  story_sha256 TEXT NOT NULL, repeat INTEGER NOT NULL, anchor TEXT, seed INTEGER NOT NULL, nonce TEXT NOT NULL,
  text TEXT NOT NULL, tokens TEXT, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, fingerprint TEXT,
  unparsed TEXT, fault TEXT, refused INTEGER NOT NULL DEFAULT 0, estimated INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (key, attempt)
) WITHOUT ROWID
"""
_MIGRATION = (
    "ALTER TABLE replies ADD COLUMN fault TEXT",
    "ALTER TABLE replies ADD COLUMN refused INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE replies ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0",
)
"""Lifts version 1: why a reply is no whole one, and whether its tokens are an estimate."""
_FIRST = 17
"""Columns of version 1."""


@dataclass(frozen=True)
class Stored:
    """A reply with what it answers. `key` is the same for all attempts; `call` describes endpoint, model and parameters."""

    key: str
    attempt: int
    call: str
    endpoint: str
    model: str
    prompt: str
    story_sha256: str
    repeat: int
    anchor: str | None
    seed: int
    nonce: str
    reply: Reply
    unparsed: str | None


class Store:
    """One open store; one process at a time (a second one is refused, or both would pay for the same story)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = _only_one(self.path)
        except OSError as problem:
            raise ConfigError(f"{self.path}: cannot be written ({problem.strerror}). Name another file with --store.") from None
        try:
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._db.text_factory = _text
            self._open()
        except sqlite3.OperationalError as problem:
            self.close()
            raise ConfigError(f"{self.path}: cannot be used as the store ({problem}). Name another file with --store.") from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
            self.close()
            raise ArtefactError(f"{self.path}: not a judge's store ({problem}). Name another file with --store.") from None
        except ArtefactError:
            self.close()
            raise

    def _open(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise ArtefactError(f"{self.path}: written by a newer version (store {version}). pip install -U tinystories-eval")
        columns = [row[1] for row in self._db.execute("PRAGMA table_info(replies)")]
        if columns not in ([], _ALL[:_FIRST], _ALL) or (not columns and self._tables()):
            raise ArtefactError(f"{self.path}: not a judge's store but another database. Name another file with --store.")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a paid reply survives a power cut too
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_TABLE)
        for statement in _MIGRATION if columns == _ALL[:_FIRST] else ():
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version={_VERSION}")
        self._db.execute("COMMIT")

    def _tables(self) -> bool:
        found = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return found.fetchone() is not None

    def __reduce__(self) -> Any:
        raise TypeError("a Store is an open file and cannot be pickled; open it again by its path")

    def add(self, row: Stored) -> None:
        """Keep one reply; when this returns it is on disk."""
        reply = row.reply
        tokens = json.dumps([asdict(t) for t in reply.tokens]) if reply.tokens is not None else None
        values = (
            row.key, row.attempt, row.call, row.endpoint, row.model, row.prompt, row.story_sha256, row.repeat, row.anchor, row.seed, row.nonce,
            reply.text, tokens, reply.prompt_tokens or 0, reply.completion_tokens or 0, reply.fingerprint, row.unparsed,
            reply.fault, int(reply.refused), int(reply.estimated),
        )  # fmt: skip
        try:
            with self._lock:
                self._db.execute(f"INSERT INTO replies VALUES ({','.join('?' * len(values))})", values)
        except sqlite3.Error as problem:
            raise ArtefactError(f"{self.path}: a reply could not be kept ({problem}). What was kept before is safe.") from None

    def attempts(self, keys: list[str]) -> list[Stored]:
        """All replies under any of these keys (one per endpoint that may have answered), oldest attempt first."""
        marks = ",".join("?" * len(keys))
        return self._rows(f"SELECT * FROM replies WHERE key IN ({marks}) ORDER BY attempt", keys)

    def anchors(self, model: str, prompt: str) -> list[Stored]:
        """Usable replies to anchor stories of a judge and prompt, all days."""
        query = "SELECT * FROM replies WHERE anchor IS NOT NULL AND model = ? AND prompt = ? AND unparsed IS NULL ORDER BY anchor"
        return self._rows(query, [model, prompt])

    def _rows(self, query: str, values: list[str]) -> list[Stored]:
        try:
            with self._lock:
                return [_stored(row) for row in self._db.execute(query, values).fetchall()]
        except sqlite3.DatabaseError as problem:
            raise ArtefactError(
                f"{self.path}: damaged ({problem}). Put a copy in its place, or name another with --store."
            ) from None

    def close(self) -> None:
        """Close the file and let others at it."""
        if hasattr(self, "_db"):
            self._db.close()
        self._guard.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(raw: bytes) -> str:
    """A column's text. A byte that is none spoils one reply, not the store."""
    return raw.decode("utf-8", "replace")


def _stored(row: tuple[Any, ...]) -> Stored:
    tokens, fault = _tokens(row[12])
    reply = Reply(
        text=row[11], tokens=tokens, prompt_tokens=row[13], completion_tokens=row[14], fingerprint=row[15],
        fault=row[17] if row[17] is not None else fault, refused=row[18], estimated=row[19],
    )  # fmt: skip
    names: dict[str, Any] = dict(zip(_COLUMNS, row[:11], strict=True))
    return Stored(**names, reply=reply, unparsed=row[16])


def _tokens(column: Any) -> tuple[list[Token] | None, str | None]:
    """Log-probabilities as they were stored, or why there are none."""
    if not column:
        return None, None
    try:
        return [
            Token(str(t["text"]), float(t["logprob"]), {str(k): float(p) for k, p in t["others"].items()})
            for t in json.loads(column)
        ], None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, "its log-probabilities are damaged in the store"


def _only_one(path: Path) -> contextlib.ExitStack:
    """The lock of the store, which the process loses however it ends."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    stack = contextlib.ExitStack()
    stack.enter_context(lock(path, option="--store", error=ConfigError))
    return stack


@contextlib.contextmanager
def open_store(path: str | os.PathLike[str] | None) -> Iterator[Store]:
    """The store at `path`, or one in memory's place that is gone afterwards."""
    if path is not None:
        with Store(path) as store:
            yield store
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ts-eval-judge-") as folder, Store(Path(folder) / "judge.sqlite") as store:
        yield store
