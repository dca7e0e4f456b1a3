"""Jobs, the append-only SQLite store of their replies, and `Replies`: the rows of one run, each read and parsed once.

A row is written as soon as a reply arrives and never updated or deleted. API keys are not stored.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ts_data.artefact import lock

from ..checks import StrPath
from ..errors import ArtefactError, ConfigError
from .backends.base import Backend, Reply, Token
from .backends.parse import UnparsedError
from .budget import tokens_in
from .drift import control_stories

if TYPE_CHECKING:
    from ..schemas import Category, Endpoint, JudgeConfig, Scores

_VERSION = 2
_COLUMNS = ("key", "attempt", "call", "endpoint", "model", "prompt", "story_sha256", "repeat", "anchor", "seed", "nonce")
_ALL = [
    *_COLUMNS, "text", "tokens", "prompt_tokens", "completion_tokens", "fingerprint", "unparsed", "fault", "refused", "estimated",
]  # fmt: skip
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
"""From version 1 to 2: the fault of a reply, whether it is a refusal, whether its token counts are estimates."""
_COLUMNS_OF_VERSION_1 = 17
_CHUNK = 500
"""Keys of one query."""

# --- jobs --------------------------------------------------------------------------------------


@dataclass
class Job:
    """One rating to get. `keys[i]` is its key in the store when worker i answers."""

    story: int
    text: str
    repeat: int
    keys: list[str]
    anchor: str | None = None
    """The day, for a control story."""
    attempts: int = 0
    """Number of the next attempt, whoever makes it."""
    replies: Counter[str] = field(default_factory=Counter)
    """Key → replies without a rating."""
    failed: Counter[str] = field(default_factory=Counter)
    """Key → failed calls."""
    closed: dict[str, str] = field(default_factory=dict)
    """Key → why its endpoint is not asked again in this run; empty where a stored reply says so."""
    failure: str | None = None
    """Why it stays unrated, where no stored reply says so."""
    done: bool = False

    def open_to(self, worker: int, retries: int) -> bool:
        """Whether the endpoint may be asked. After `retries` bad replies each endpoint that has given none is asked once."""
        key = self.keys[worker]
        return key not in self.closed and (self.replies.total() <= retries or not self.replies[key])


@dataclass(frozen=True)
class JobKeys:
    """Makes jobs with their keys: SHA-256 over call, prompt, text, repeat and day."""

    calls: tuple[str, ...]
    """Per worker, see `call_of`."""
    prompt: str
    """SHA-256 of the prompt without the story."""

    def job(self, story: int, text: str, repeat: int, anchor: str | None = None) -> Job:
        """The job for one text."""
        digest = sha256(text)
        keys = [sha256("\0".join([call, self.prompt, digest, str(repeat), anchor or ""])) for call in self.calls]
        return Job(story, text, repeat, keys, anchor)

    def controls(self, day: str) -> list[Job]:
        """A job for each packaged control story."""
        return [self.job(i, text, 0, day) for i, text in enumerate(control_stories())]


def call_of(config: JudgeConfig, endpoint: Endpoint, backend: Backend) -> str:
    """Everything but prompt, text and repeat that a reply depends on, as canonical JSON."""
    names = ("temperature", "top_p", "max_tokens", "seed", "structured")
    content = {
        "backend": config.backend, "identity": backend.identity, "endpoint": endpoint.base_url.rstrip("/"),
        "model": endpoint.model or config.model, "mode": backend.mode, "parameters": {name: getattr(config, name) for name in names},
    }  # fmt: skip
    return json.dumps(content, sort_keys=True)


def _settings(call: str) -> str:
    """`call_of` without address and seed, by which no judge changes."""
    try:
        content = json.loads(call)
        del content["endpoint"], content["parameters"]["seed"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return call
    return json.dumps(content, sort_keys=True)


def sha256(text: str) -> str:
    """Hexadecimal SHA-256; lone surrogates are allowed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- the file ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """A row: a reply with its job. `key` is the same for all attempts; `call` is `call_of`."""

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


class Store(contextlib.ExitStack):
    """An open store, until `close`. Locked: two processes on one store would pay twice for the same story.

    `durable`: a paid reply survives a power cut; each reply waits for the disk.
    """

    def __init__(self, path: StrPath, *, durable: bool = True) -> None:
        super().__init__()
        self.path, self._durable = Path(path), durable
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self.enter_context(lock(self.path, option="--store", error=ConfigError))
        except OSError as problem:
            raise ConfigError(f"{self.path}: cannot be written ({problem.strerror}). Name another file with --store.") from None
        try:
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self.callback(self._db.close)
            self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # wrong bytes damage one reply, not the store
            self._open()
        except sqlite3.OperationalError as problem:
            self.close()
            raise ConfigError(
                f"{self.path}: cannot be used as the store ({problem}). Free some space, or name another file with --store."
            ) from None
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
        tables = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        if columns not in ([], _ALL[:_COLUMNS_OF_VERSION_1], _ALL) or (not columns and tables):
            raise ArtefactError(f"{self.path}: not a judge's store but another database. Name another file with --store.")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_TABLE)
        for statement in _MIGRATION if columns == _ALL[:_COLUMNS_OF_VERSION_1] else ():
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version={_VERSION}")
        self._db.execute("COMMIT")

    def __reduce__(self) -> Any:
        raise TypeError("a Store is an open file and cannot be pickled; open it again by its path")

    def add(self, row: Stored) -> None:
        """Write one reply; it is on disk when this returns."""
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
            raise ArtefactError(f"{self.path}: a reply could not be written ({problem}). Earlier replies are safe.") from None

    def rows(self, keys: Sequence[str]) -> list[Stored]:
        """All replies under any of the keys, oldest attempt first."""
        found: list[Stored] = []
        for at in range(0, len(keys), _CHUNK):
            some = keys[at : at + _CHUNK]
            found += self._rows(f"SELECT * FROM replies WHERE key IN ({','.join('?' * len(some))}) ORDER BY attempt", some)
        return found

    def controls(self, model: str, prompt: str) -> list[Stored]:
        """Parsed replies to control stories by a model and prompt, of all days."""
        query = "SELECT * FROM replies WHERE anchor IS NOT NULL AND model = ? AND prompt = ? AND unparsed IS NULL ORDER BY anchor"
        return self._rows(query, [model, prompt])

    def spent(self) -> int:
        """Tokens of all replies."""
        counts = self._read("SELECT prompt_tokens, completion_tokens FROM replies")
        return sum(Reply("", prompt_tokens=asked, completion_tokens=given).total for asked, given in counts)

    def _rows(self, query: str, values: Sequence[str]) -> list[Stored]:
        return [_stored(row) for row in self._read(query, values)]

    def _read(self, query: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as problem:
            raise ArtefactError(f"{self.path}: damaged ({problem}). Restore a copy, or name another file with --store.") from None


def _stored(row: tuple[Any, ...]) -> Stored:
    tokens, fault = _tokens(row[12])
    reply = Reply(
        text=row[11], tokens=tokens, prompt_tokens=row[13], completion_tokens=row[14], fingerprint=row[15],
        fault=row[17] if row[17] is not None else fault, refused=row[18], estimated=row[19],
    )  # fmt: skip
    names: dict[str, Any] = dict(zip(_COLUMNS, row[:11], strict=True))
    return Stored(**names, reply=reply, unparsed=row[16])


def _tokens(column: Any) -> tuple[list[Token] | None, str | None]:
    """Stored log-probabilities, or the reason why there are none."""
    if not column:
        return None, None
    try:
        return [
            Token(str(t["text"]), float(t["logprob"]), {str(k): float(p) for k, p in t["others"].items()})
            for t in json.loads(column)
        ], None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, "its log-probabilities are damaged in the store"


@contextlib.contextmanager
def open_store(path: StrPath | None) -> Iterator[Store]:
    """The store at `path`, or a temporary one."""
    if path is not None:
        with Store(path) as store:
            yield store
        return
    import tempfile

    with (
        tempfile.TemporaryDirectory(prefix="ts-eval-judge-") as folder,
        Store(Path(folder) / "judge.sqlite", durable=False) as store,
    ):
        yield store


# --- the rows of a run -------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A row after parsing. The reply's text and log-probabilities are dropped: they may be large."""

    row: Stored
    scores: Scores | None
    lost_mass: dict[Category, float] | None = None
    problem: str | None = None
    """Why there are no scores."""
    text_tokens: int = 0
    """Estimated tokens of the text."""


class Replies:
    """The answers to a run's jobs. Each row is read from the store and parsed once."""

    def __init__(self, store: Store, backend: Backend, retries: int) -> None:
        self._store, self._backend, self._retries = store, backend, retries
        self._answers: dict[str, list[Answer]] = defaultdict(list)

    def load(self, jobs: Iterable[Job]) -> None:
        """Read the rows of jobs that are not loaded yet."""
        keys = list(dict.fromkeys(key for job in jobs for key in job.keys if key not in self._answers))
        self._answers.update((key, []) for key in keys)
        for row in self._store.rows(keys):
            self._answers[row.key].append(self._parsed(row))

    def add(self, row: Stored) -> Answer:
        """Store a reply and parse it."""
        answer = self._parsed(row)
        self._store.add(replace(row, unparsed=answer.problem))
        self._answers[row.key].append(answer)
        return answer

    def of(self, job: Job) -> list[Answer]:
        """The answers to a job by any endpoint, oldest attempt first."""
        found = [answer for key in job.keys for answer in self._answers[key]]
        return sorted(found, key=lambda answer: (answer.row.attempt, answer.row.key)) if len(found) > 1 else found

    def scores(self, job: Job) -> Scores | None:
        """The scores of the first answer that has some."""
        return next((answer.scores for answer in self.of(job) if answer.scores is not None), None)

    def settled(self, job: Job) -> bool:
        """Whether no further call is due: rated, or every endpoint has refused it or is out of retries. Sets the job's counts."""
        found = self.of(job)
        job.attempts = max((answer.row.attempt + 1 for answer in found), default=0)
        job.replies = Counter(answer.row.key for answer in found)
        job.closed = {answer.row.key: "" for answer in found if answer.row.reply.refused}
        rated = any(answer.scores is not None for answer in found)
        return rated or not any(job.open_to(i, self._retries) for i in range(len(job.keys)))

    def controls(self, models: Iterable[str], keys: JobKeys) -> list[Answer]:
        """Answers to control stories under the same settings, of all days."""
        settings = set(map(_settings, keys.calls))
        rows = [row for model in models for row in self._store.controls(model, keys.prompt)]
        return [self._parsed(row) for row in rows if _settings(row.call) in settings]

    def spent(self) -> int:
        """Tokens of all replies in the store, also those of other runs."""
        return self._store.spent()

    def _parsed(self, row: Stored) -> Answer:
        reply, size = row.reply, tokens_in(row.reply.text)
        kept = replace(row, reply=replace(reply, text="", tokens=None))
        try:
            scores, lost_mass = self._backend.read(reply)
        except UnparsedError as problem:
            return Answer(kept, None, problem=str(problem), text_tokens=size)
        return Answer(kept, scores, lost_mass, text_tokens=size)
