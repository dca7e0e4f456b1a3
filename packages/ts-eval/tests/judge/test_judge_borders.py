"""What comes into the judge from elsewhere: stores of earlier versions, files, arguments, pages. Trouble is said in one sentence."""

from __future__ import annotations

import copy
import http.client
import json
import pickle
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ts_eval.calibration import calibrate, optimise_prompt
from ts_eval.cli import main
from ts_eval.errors import ArtefactError, ConfigError, TsEvalError
from ts_eval.judge import (
    FeatureJudge,
    RatingServer,
    RatingSession,
    Story,
    judge_stories,
    read_ratings,
    read_stories,
)
from ts_eval.judge.backends.base import Reply, Token, lone_surrogate, without_surrogates
from ts_eval.judge.backends.parse import UnparsedError, parse_reply
from ts_eval.judge.features.model import packaged
from ts_eval.judge.store import Store
from ts_eval.schemas import CATEGORIES, JudgeConfig
from ts_eval.testing import FakeServer

STORIES = [f"Once upon a time there was a cat with {n} friends. She was happy and they all played." for n in "abcd"]
RATINGS = dict(zip(CATEGORIES, [8, 10, 5, 4, 3, 1], strict=True))
FAKE = JudgeConfig(backend="fake", anchors=False, probe="off")


def settings(server: FakeServer, **changes: Any) -> JudgeConfig:
    endpoint = {"base_url": server.url, "concurrency": 2}
    return JudgeConfig.model_validate(
        {"model": "m", "endpoints": [endpoint], "backoff": 0.01, "anchors": False, "probe": "off", **changes}
    )


def command(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `ts-eval`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ts-eval", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
    code = stop.value.code
    return int(code or 0), *capsys.readouterr()


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


def stories_file(folder: Path, rows: list[Any] | None = None) -> Path:
    path = folder / "stories.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows or [{"story": s} for s in STORIES]) + "\n")
    return path


# --- the store ---------------------------------------------------------------------------------

FIRST_VERSION = """
CREATE TABLE replies (
  key TEXT NOT NULL, attempt INTEGER NOT NULL, call TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
  story_sha256 TEXT NOT NULL, repeat INTEGER NOT NULL, anchor TEXT, seed INTEGER NOT NULL, nonce TEXT NOT NULL,
  text TEXT NOT NULL, tokens TEXT, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, fingerprint TEXT,
  unparsed TEXT, PRIMARY KEY (key, attempt)
) WITHOUT ROWID
"""


def as_first_version(path: Path, changes: dict[str, Any], *, version: int = 1) -> None:
    """The store as the first version of the format had it, with some columns of all rows changed."""
    with sqlite3.connect(path) as db:
        names = "key, attempt, call, endpoint, model, prompt, story_sha256, repeat, anchor, seed, nonce, text, tokens, prompt_tokens, completion_tokens, fingerprint, unparsed"
        db.execute("ALTER TABLE replies RENAME TO newer")
        db.execute(FIRST_VERSION)
        db.execute(f"INSERT INTO replies SELECT {names} FROM newer")
        db.execute("DROP TABLE newer")
        for name, value in changes.items():
            db.execute(f"UPDATE replies SET {name} = ?", [value])
        db.execute(f"PRAGMA user_version={version}")
    db.close()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prompt_tokens": -5},
        {"completion_tokens": 0.25},
        {"prompt_tokens": "many"},
        {"completion_tokens": b"\xff"},
        {"prompt_tokens": 2**62},
        {"fingerprint": 7},
        {"fingerprint": b"\xff\xfe"},
        {"tokens": "{not json"},
        {"tokens": "[[1]]"},
        {"unparsed": b"\xff"},
    ],
    ids=str,
)
def test_a_store_of_the_first_version_is_read_whatever_stands_in_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    with FakeServer() as server:
        before = judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl")
        as_first_version(tmp_path / "judge.sqlite", changes)
        after = judge_stories(STORIES, settings(server, budget=10**7), out=tmp_path / "r.jsonl")
        again = judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl")
    unread = "tokens" in changes  # log-probabilities that cannot be read: the reply is asked for again
    assert server.calls == (8 if unread else 4)
    assert after.summary.rated == again.summary.rated == 4
    assert unread or [r.scores for r in after.ratings] == [r.scores for r in before.ratings]
    assert min(after.summary.prompt_tokens, after.summary.completion_tokens) >= 0


def test_a_store_whose_making_was_killed_before_its_version_stood_in_it(tmp_path: Path) -> None:
    with FakeServer() as server:
        judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl")
        as_first_version(tmp_path / "judge.sqlite", {}, version=0)
        assert judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl").summary.rated == 4
    assert server.calls == 4


def test_text_in_the_store_that_is_no_text_spoils_one_story(tmp_path: Path) -> None:
    with FakeServer() as server:
        first = judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl")
        with sqlite3.connect(tmp_path / "judge.sqlite") as db:
            db.execute("UPDATE replies SET text = ? WHERE key = ?", [b"\xff\xfe\x00", first.ratings[1].key])
        db.close()
        again = judge_stories(STORIES, settings(server), out=tmp_path / "r.jsonl")
    assert again.summary.rated == 4
    assert server.calls == 5


def test_old_rows_without_counts_are_estimated_for_the_budget(tmp_path: Path) -> None:
    with FakeServer() as server:
        judge_stories(STORIES[:2], settings(server), out=tmp_path / "r.jsonl")
        as_first_version(tmp_path / "judge.sqlite", {"prompt_tokens": 0, "completion_tokens": 0})
        run = judge_stories(STORIES, settings(server, budget=4000), out=tmp_path / "r.jsonl")
    assert server.calls == 2
    assert sum("budget" in (r.unscored or "") for r in run.ratings) == 2


@pytest.mark.parametrize(
    "kind", ["folder", "file in the way", "another database", "another table", "not a database", "a damaged one"]
)
def test_a_place_that_cannot_be_a_store_is_one_sentence(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "judge.sqlite"
    if kind == "folder":
        place.mkdir()
    elif kind == "file in the way":
        (tmp_path / "file").write_text("x")
        place = tmp_path / "file" / "judge.sqlite"
    elif kind.startswith("another"):
        with sqlite3.connect(place) as db:
            db.execute("CREATE TABLE recipes (name TEXT)" if kind == "another database" else "CREATE TABLE replies (name TEXT)")
        db.close()
    else:
        place.write_bytes(b"x" * 5000 if kind == "not a database" else b"SQLite format 3\0" + b"\xff" * 5000)
    before = place.read_bytes() if place.is_file() else None
    code, out, err = command(
        "judge", stories_file(tmp_path), "--backend", "fake", "--out", tmp_path / "r.jsonl", "--store", place, "-q", capsys=capsys
    )
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert str(place) in err
    assert before is None or place.read_bytes() == before, "what is not ours stays as it is"


def test_a_store_that_another_program_holds_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.1}))
    with Store(tmp_path / "judge.sqlite"):
        pass
    db = connect(tmp_path / "judge.sqlite", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TsEvalError, match=r"judge\.sqlite: .*locked.*--store"):
            judge_stories(STORIES, FAKE, store=tmp_path / "judge.sqlite")
    finally:
        db.close()


def test_a_disk_that_fills_up_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as server:
        monkeypatch.setattr(Store, "_open", _full(Store._open))
        with pytest.raises(ArtefactError, match="a reply could not be written"):
            judge_stories(STORIES, settings(server), store=tmp_path / "s.sqlite")


def _full(opened: Any) -> Any:
    def open_full(self: Any) -> None:
        opened(self)
        self._db.execute("CREATE TRIGGER full BEFORE INSERT ON replies BEGIN SELECT RAISE(ABORT, 'disk is full'); END")

    return open_full


# --- one type for replies ----------------------------------------------------------------------


def test_a_reply_is_valid_whatever_it_is_made_of() -> None:
    odd = Reply(text=7, prompt_tokens=-1, completion_tokens="9", fingerprint={"a": 1}, fault=None)  # type: ignore[arg-type]
    assert (odd.text, odd.prompt_tokens, odd.completion_tokens, odd.fingerprint) == ("", None, None, None)
    assert odd.fault == "the text of the reply is not a string"
    assert Reply("a", prompt_tokens=3.0).prompt_tokens == 3  # type: ignore[arg-type]
    assert Reply("a", prompt_tokens=True).prompt_tokens is None
    assert Reply("a", prompt_tokens=10**30).prompt_tokens is None
    assert Reply("\ud83d\ude00 \ud83d").text == "\U0001f600 \ufffd"
    assert Reply("x" * 300_000).fault == "it has 300,000 characters"


def test_lone_surrogates_are_found_and_pairs_are_joined() -> None:
    assert lone_surrogate("a\ud83db") == 1
    assert lone_surrogate("\udc00") == 0
    assert lone_surrogate("\ud83d\ude00") is None
    assert lone_surrogate("é\U0001f600") is None
    assert without_surrogates("\ud83d\ude00\ude00") == "\U0001f600\ufffd"


def test_a_back_end_that_raises_anything_spoils_its_calls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from ts_eval.judge.backends.fake import FakeBackend

    asked, ask = [], FakeBackend.ask

    def breaks(self: Any, request: Any) -> Any:
        asked.append(request)
        if len(asked) == 2:
            raise KeyError("no such thing")
        return {"text": "no reply"} if len(asked) == 3 else ask(self, request)

    monkeypatch.setattr(FakeBackend, "ask", breaks)
    run = judge_stories(STORIES, FAKE.model_copy(update={"backoff": 0.01}))
    assert run.summary.rated == 4
    monkeypatch.setattr(FakeBackend, "ask", lambda *_: 1 / 0)
    run = judge_stories(STORIES, FAKE.model_copy(update={"backoff": 0.001}))
    assert all("no endpoint left" in (r.unscored or "") and "ZeroDivisionError" in (r.unscored or "") for r in run.ratings)


# --- reasoning ---------------------------------------------------------------------------------

GOOD, DRAFT = json.dumps(RATINGS), json.dumps(dict.fromkeys(CATEGORIES, 1))
TAGS = ["think", "thinking", "THINK", "Thought", "reasoning", "seed:think", "longcat_think", "mm:think", "reflection", "scratchpad", "analysis", "inner_monologue"]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_thoughts_in_tags_are_dropped_and_unclosed_ones_leave_no_answer(tag: str) -> None:
    assert parse_reply(f"<{tag}>{DRAFT} or 10</{tag}>\n{GOOD}").model_dump() == RATINGS
    for cut in (f"<{tag}>{DRAFT}", f"<{tag}>\n{GOOD}", f"< {tag} >{DRAFT}", f"<{tag} effort='low'>{DRAFT}", f"<think>a</think><{tag}>{DRAFT}", f"<{tag}{DRAFT}", f"&lt;{tag}&gt;{DRAFT}", f"{GOOD}<{tag}>hm"):  # fmt: skip
        with pytest.raises(UnparsedError):
            parse_reply(cut)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("[THINK]", "[/THINK]"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
        ("<|thinking_start|>", "<|thinking_end|>"),
        ("◁think▷", "◁/think▷"),
        ("＜think＞", "＜/think＞"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<|channel|>commentary<|message|>", "<|channel|>final <|constrain|>json<|message|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("analysisWe need ", "assistantfinal"),
        ("Thinking...\n", "\n...done thinking.\n\n"),
        ("thought\n", "</think>"),
        ("```thinking\n", "\n```\n"),
        ("<think>a <think>b</think> ", "</think>"),
    ],
)
def test_other_spellings_of_thoughts(opening: str, closing: str) -> None:
    assert parse_reply(f"{opening}{DRAFT}{closing}{GOOD}").model_dump() == RATINGS
    with pytest.raises(UnparsedError):
        parse_reply(f"{opening}{DRAFT}")


@pytest.mark.parametrize(
    "reply", [f"<answer>{GOOD}</answer>", f"{GOOD}</s>", f"{GOOD}<|im_end|>", f"<think></think>{GOOD}", f"x</think>{GOOD}"]
)
def test_marks_around_an_answer_do_not_matter(reply: str) -> None:
    assert parse_reply(reply).model_dump() == RATINGS


@pytest.mark.parametrize(
    "reply", [f"<musing>{DRAFT}", f"<musing>{DRAFT}</musing>", f"<!-- {DRAFT}", f"<details><summary>Thoughts</summary>{DRAFT}"]
)
def test_marks_that_nobody_knows_leave_no_answer(reply: str) -> None:
    with pytest.raises(UnparsedError):
        parse_reply(reply)


# --- stories -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stories", "words"),
    [
        (None, "a list of texts is expected"),
        (7, "a list of texts is expected"),
        (b"abc", "a list of texts is expected"),
        ({"story": "x"}, "a list of texts is expected"),
        ([None], r"stories\[0\]: a str is expected, this is None"),
        (["a", float("nan")], r"stories\[1\]: a str is expected, this is nan"),
        (["a", ["b"]], r"stories\[1\]"),
        (["a", b"b"], r"stories\[1\]"),
        (Story("a"), r"Pass \[story\]"),
    ],
    ids=str,
)
def test_what_is_no_list_of_stories_is_refused(stories: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        judge_stories(stories, FAKE)
    with pytest.raises(TypeError):
        RatingSession(stories, "ratings.jsonl", rater="ada")


@pytest.mark.parametrize("text", ["Once upon a time there was a cat.", "word " * 2000, "a\0b"], ids=["short", "long", "NUL"])
def test_a_story_in_place_of_a_list_is_told_apart_from_a_path(text: str) -> None:
    with pytest.raises(ArtefactError, match=r"Pass texts as a list: \[text\]"):
        judge_stories(text, FAKE)


def test_wrong_types_elsewhere() -> None:
    with pytest.raises(TypeError, match=r"Story\.text"):
        Story(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Story\.source"):
        Story("a", float("nan"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"config: a JudgeConfig is expected.*JudgeConfig\(\*\*settings\)"):
        judge_stories(STORIES, {"backend": "fake"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"references: .* Pass \[path\]"):
        calibrate("rated.jsonl", FAKE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"prompts: .* Pass \[name\]"):
        optimise_prompt("rated.jsonl", FAKE, prompts="brief")
    with pytest.raises(ConfigError, match="limit is 0"):
        calibrate([], FAKE, limit=0)
    with pytest.raises(TypeError, match="rater: a str is expected"):
        RatingSession([Story("a")], "r.jsonl", rater=None)  # type: ignore[arg-type]


def test_half_a_character_spoils_one_story(tmp_path: Path) -> None:
    rows = [{"story": STORIES[0]}, {"story": "A cat \ud83d sat."}, {"story": "A \ud83d\ude00 cat sat.", "model": "a\ud83d"}]
    for stories in (stories_file(tmp_path, rows), [Story(r["story"], r.get("model")) for r in rows]):
        run = judge_stories(stories, FAKE.model_copy(update={"probe": "all"}), out=tmp_path / "r.jsonl")
        assert [r.unscored for r in run.ratings] == [
            None,
            "the story contains a lone surrogate (at character 6), not sent",
            None,
        ]
        assert [r.text for r in run.ratings][1] == "A cat \ufffd sat."
        assert run.ratings[2].text == "A \U0001f600 cat sat."
        assert read_ratings(tmp_path / "r.jsonl") == run.ratings


def test_files_of_stories_by_their_names(tmp_path: Path) -> None:
    rows = [{"story": s, "model": "m"} for s in STORIES]
    lines = "\n".join(map(json.dumps, rows))
    for name, content in [("a.JSONL", lines), ("b.json", json.dumps(rows)), ("c.jsonl", "\ufeff" + lines), ("d.ndjson", lines)]:
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_stories(tmp_path / name) == [Story(s, "m") for s in STORIES], name
    (tmp_path / "e.txt").write_text("\ufeffOne.<|endoftext|>Two.", encoding="utf-8")
    assert [s.text for s in read_stories(tmp_path / "e.txt")] == ["One.", "Two."]
    for content, words in [
        (lines, "must be named .jsonl"),
        ('{"story": "x"}', "expected a JSON list"),
        ("[" * 10_000, "not JSON"),
        ("[3]", "entry 1"),
    ]:
        (tmp_path / "f.json").write_text(content)
        with pytest.raises(ArtefactError, match=words):
            read_stories(tmp_path / "f.json")


@pytest.mark.parametrize("name", ["stories.csv", "stories.TSV", "stories.parquet"])
def test_a_table_is_not_taken_for_one_story(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"id,text\n1,{STORIES[0]}\n2,{STORIES[1]}\n")
    with pytest.raises(ArtefactError, match="a table, which would be read as one story"):
        read_stories(tmp_path / name)


def test_what_ts_models_generates_as_json_is_read_as_stories(tmp_path: Path) -> None:
    told = [{"prompt": "One day", "text": ", a cat sat.", "full_text": "One day, a cat sat.", "logprobs": []}] * 2
    one = {"model": "run/model", "config": {"seed": 1}, "stories": told}
    stories = [Story("One day, a cat sat.", "run/model")] * 2
    for name, content in [("a.json", json.dumps(one)), ("b.jsonl", f"{json.dumps(one)}\n{json.dumps(one)}\n")]:
        (tmp_path / name).write_text(content, encoding="utf-8")
        found = read_stories(tmp_path / name)
        assert found == stories * (2 if name == "b.jsonl" else 1)
        assert [r.source for r in judge_stories(tmp_path / name, FAKE).ratings] == ["run/model"] * len(found)
    (tmp_path / "c.json").write_text(json.dumps({**one, "stories": [*told, {"prompt": "One day"}]}), encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"c\.json, entry 1, story 3: no field `story` or `text`"):
        read_stories(tmp_path / "c.json")
    (tmp_path / "d.json").write_text(json.dumps({**one, "stories": []}), encoding="utf-8")
    with pytest.raises(ArtefactError, match="contains no story"):
        read_stories(tmp_path / "d.json")


@pytest.mark.parametrize("row", [3, None, [1], {"story": None}, {"story": 3}, {"story": "a", "ratings": 5}, {"story": "a", "ratings": [{"grammar": float("nan")}]}, {"story": "a", "ratings": "8"}])  # fmt: skip
def test_a_row_of_the_wrong_shape_is_named_by_its_line(tmp_path: Path, row: Any) -> None:
    path = stories_file(tmp_path, [{"story": "fine"}, row])
    with pytest.raises(ArtefactError, match=r"stories\.jsonl, line 2"):
        read_stories(path)


def test_rated_lines_that_say_text_for_story_are_kept_apart(tmp_path: Path) -> None:
    rows = [{"text": t, "ratings": [RATINGS], "rater": "ada"} for t in STORIES[:2]]
    assert [s.text for s in read_stories(stories_file(tmp_path, rows))] == STORIES[:2]
    with pytest.raises(ArtefactError, match="line 1"):
        read_stories(stories_file(tmp_path, [{"story": None, "rater": "ada"}]))


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("link", [False, True])
def test_the_input_is_not_overwritten(tmp_path: Path, link: bool, capsys: pytest.CaptureFixture[str]) -> None:
    path = stories_file(tmp_path)
    before, out = path.read_bytes(), tmp_path / "link.jsonl" if link else path
    if link:
        out.symlink_to(path)
    for words in (("judge", path, "--backend", "fake"), ("judge", path, "--backend", "fake", "--dry-run")):
        code, _, err = command(*words, "--out", out, "-q", capsys=capsys)
        assert (code, err.count("\n")) == (2, 1)
        assert "would be overwritten" in err
    assert path.read_bytes() == before


def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    session = RatingSession([Story(s) for s in STORIES], tmp_path / "human.jsonl", rater="ada")
    session.rate(session.next()["id"], RATINGS)
    (tmp_path / "notes.md").write_text("mine")
    rated = stories_file(tmp_path, [{"story": s, "ratings": [RATINGS]} for s in STORIES])
    for out in (tmp_path / "human.jsonl", tmp_path / "notes.md", tmp_path):
        before = out.read_bytes() if out.is_file() else None
        with pytest.raises(ConfigError, match=r"left alone|is a folder"):
            judge_stories(STORIES, FAKE, out=out)
        with pytest.raises(ConfigError, match=r"left alone|is a folder"):
            calibrate([rated], FAKE, out=out)
        assert before is None or out.read_bytes() == before
    with pytest.raises(ConfigError, match="would be overwritten"):
        calibrate([rated], FAKE, out=rated)
    with pytest.raises(ConfigError, match="would be overwritten"):
        judge_stories(STORIES, FAKE, out=tmp_path / "same", store=tmp_path / "same")


@pytest.mark.parametrize("content", ["A story.<|endoftext|>Another story", '{"story": "A cat."}\n{"story": "A dog."}', "[1, 2"])
def test_the_rating_page_changes_no_file_that_is_not_its_own(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stories"
    path.write_text(content)
    with pytest.raises(ArtefactError, match="not a line of ratings"):
        RatingSession([Story("a")], path, rater="ada")
    assert path.read_text() == content


def test_the_rating_page_keeps_a_whole_last_line_without_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    session = RatingSession([Story(s) for s in STORIES], path, rater="ada")
    session.rate(session.next()["id"], RATINGS)
    path.write_text(path.read_text().rstrip("\n"))
    again = RatingSession([Story(s) for s in STORIES], path, rater="ada")
    assert again.next()["done"] == 1
    again.rate(again.next()["id"], RATINGS)
    assert [s.ratings for s in read_stories(path)] == [(RATINGS,)] * 2


@pytest.mark.parametrize("row", [{"story": ["a"], "ratings": [], "rater": "ada"}, {"story": "a", "ratings": 3, "rater": "ada"}, {"story": "a", "ratings": [], "rater": {}}, [], 3])  # fmt: skip
def test_a_line_of_the_wrong_types_is_named(tmp_path: Path, row: Any) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ArtefactError, match="line 1: not a line of ratings"):
        RatingSession([Story("a")], tmp_path / "r.jsonl", rater="ada")


def test_half_characters_can_be_rated_by_people(tmp_path: Path) -> None:
    session = RatingSession(["A cat \ud83d sat."], tmp_path / "r.jsonl", rater="a\ud83d")
    session.rate(session.next()["id"], RATINGS)
    assert read_stories(tmp_path / "r.jsonl")[0].text == "A cat \ufffd sat."


def test_a_rating_that_cannot_be_written_is_said_to_the_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = RatingServer(RatingSession([Story("a")], tmp_path / "file" / "r.jsonl", rater="ada"))
    (tmp_path / "file").write_text("in the way")
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    body = json.dumps({"id": server.session.next()["id"], "ratings": RATINGS})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("POST", "/rate", body=body, headers={"X-Rating-Token": server.token})
    response = connection.getresponse()
    assert (response.status, b"could not be written" in response.read()) == (500, True)
    server.stop()
    thread.join(5)
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = command("rate", stories_file(tmp_path), "--port", port, "--out", tmp_path / "r.jsonl", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert f"port {port} cannot be used" in err


# --- no endpoint -------------------------------------------------------------------------------


@pytest.mark.parametrize("json_", [[], ["--json"]], ids=["text", "json"])
def test_nothing_rated_because_no_server_answers_is_exit_1(
    tmp_path: Path, json_: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    words = ("--base-url", url, "--model", "m", "--set", "backoff=0.001", "-q", *json_)
    code, out, err = command("judge", stories_file(tmp_path), *words, "--out", tmp_path / "r.jsonl", capsys=capsys)
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: nothing was rated: no endpoint left (http://127.0.0.1")
    assert "no connection (ConnectionRefusedError" in last
    assert "Traceback" not in err
    assert not json_ or json.loads(out)["rated"] == 0
    assert len(read_ratings(tmp_path / "r.jsonl")) == 4
    rated = stories_file(tmp_path, [{"story": s, "ratings": [RATINGS]} for s in [*STORIES, *(s + "!" for s in STORIES)]])
    code, _, err = command("calibrate", rated, *words, "--out", tmp_path / "c.json", "--no-damage", capsys=capsys)
    assert (code, "nothing was rated" in err) == (1, True)
    code, _, err = command("optimise-prompt", rated, *words, "--out", tmp_path / "o.json", capsys=capsys)
    assert (code, "no endpoint left" in err) == (2, True)


@pytest.mark.parametrize("reply", ["I like it.", ""], ids=["no ratings", "no text"])
def test_nothing_rated_because_no_reply_holds_ratings_is_exit_1(
    tmp_path: Path, reply: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeServer(lambda _: reply) as server:
        words = ("--base-url", server.url, "--model", "m", "--set", "backoff=0.001", "--set", "anchors=false", "-q")
        code, _, err = command("judge", stories_file(tmp_path), *words, "--out", tmp_path / "r.jsonl", capsys=capsys)
        assert (code, err.splitlines()[-1].startswith("error: nothing was rated: the reply ")) == (1, True)
        assert err.endswith("Check the judge, then ask it again with another --store.\n"), "the same command would ask nobody"
        rated = stories_file(tmp_path, [{"story": s, "ratings": [RATINGS]} for s in STORIES])
        code, _, err = command("calibrate", rated, *words, "--out", tmp_path / "c.json", "--no-damage", capsys=capsys)
        assert (code, "error: nothing was rated: no reply holds ratings." in err) == (1, True)


def test_a_spent_budget_is_mended_by_a_larger_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.txt").write_text(STORIES[0])
    words = ("--backend", "fake", "--budget", 9, "--out", tmp_path / "r.jsonl")
    code, _, err = command("judge", tmp_path / "s.txt", *words, capsys=capsys)
    assert (code, err.splitlines()[-1]) == (1, "error: nothing was rated: the budget of 9 tokens is used up. Raise --budget, then run the same command again.")  # fmt: skip


def test_tls_to_a_plain_port_says_which_address_to_name() -> None:
    with FakeServer() as server:
        config = JudgeConfig(
            endpoints=[{"base_url": server.url.replace("http:", "https:")}], anchors=False, dead_after=1, backoff=0.01
        )
        (rating,) = judge_stories(STORIES[:1], config).ratings
    assert "the server speaks no TLS; name it with http://" in str(rating.unscored)


def test_some_rated_is_exit_0_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(die_after=2) as server:
        code, out, err = command(
            "judge", stories_file(tmp_path), "--set", f'endpoints=[{{base_url="{server.url}", concurrency=1}}]', "--out", tmp_path / "r.jsonl",
            "--set", "backoff=0.01", "--set", "anchors=false", "--set", 'probe="off"', capsys=capsys,
        )  # fmt: skip
    assert code == 0
    assert "no endpoint left" in out
    assert "was given up" in err


@pytest.mark.parametrize(
    "url", ["localhost:11434/v1", "ftp://h/v1", "http:///v1", "http://h:99999/v1", "http://[::1/v1", "judge"]
)
def test_an_address_that_is_none_is_found_before_the_first_call(url: str) -> None:
    config = JudgeConfig.model_validate({"endpoints": [{"base_url": url}]})
    with pytest.raises(ConfigError, match=r"not a server address|no key"):
        judge_stories(STORIES, config)


def test_a_key_that_no_header_can_carry_is_found_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", "sk-é\n")
    config = JudgeConfig.model_validate({"endpoints": [{"base_url": "http://127.0.0.1:1/v1", "api_key_env": "ODD_KEY"}]})
    with pytest.raises(ConfigError, match="ODD_KEY contains characters") as caught:
        judge_stories(STORIES, config)
    assert "sk-" not in str(caught.value)


def test_a_key_with_a_line_break_at_its_end_is_taken_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILE_KEY", "sk-abc\n")
    with FakeServer() as server:
        run = judge_stories(STORIES, settings(server, endpoints=[{"base_url": server.url, "api_key_env": "FILE_KEY"}]))
    assert run.summary.rated == 4
    assert server.headers[0]["authorization"] == "Bearer sk-abc"


# --- a page ------------------------------------------------------------------------------------


class Browser:
    """A driver whose page answers as it is told."""

    def __init__(self, answer: Any) -> None:
        self._answer, self._sent = answer, False

    def get(self, url: str) -> None:
        self._sent = False

    def find_elements(self, by: str, selector: str) -> list[Any]:
        return ([self] if self._sent and self._answer is not None else []) if selector == ".answer" else [self]

    def find_element(self, by: str, selector: str) -> Any:
        return self

    def execute_script(self, script: str, *arguments: Any) -> None: ...

    def click(self) -> None:
        self._sent = True

    @property
    def text(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def quit(self) -> None:
        raise ConnectionError("the driver is gone")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GOOD, None),
        ("Here \ud83d it is: " + GOOD, None),
        ("\n".join(f"{k}: {v}" for k, v in RATINGS.items()), "the answer may be incomplete"),
        ("x" * 300_000, "characters"),
        (OSError("the pipe broke"), "the browser failed"),
        (IndexError("no answer any more"), "the browser failed"),
        (None, "no answer on the page"),
        (7, "the answer may be incomplete"),
    ],
    ids=["good", "surrogate", "lines", "long", "gone", "vanished", "silent", "number"],
)
def test_a_page_is_taken_no_more_at_its_word_than_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str | None) -> None:  # fmt: skip
    pytest.importorskip("selenium")
    from ts_eval.judge.backends.selenium import SeleniumBackend

    def started(self: Any) -> Browser:
        self._driver = Browser(answer)
        return self._driver

    monkeypatch.setattr(SeleniumBackend, "_started", started)
    page = tmp_path / "chat.toml"
    page.write_text('url = "http://127.0.0.1/"\ninput = "#box"\nsend = "#send"\nanswer = ".answer"\nsettle = 0.2\n')
    config = FAKE.model_copy(
        update={"backend": "selenium", "page": str(page), "retries": 0, "timeout": 0.5, "dead_after": 1, "backoff": 0.01}
    )
    run = judge_stories(STORIES[:1], config)
    assert run.ratings[0].scores is not None if reason is None else reason in (run.ratings[0].unscored or "")
    assert reason is not None or run.ratings[0].prompt_tokens > 0, "estimated"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"url = [", b"url = 3", b"a." * 5000])
def test_a_page_file_that_is_none_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("selenium")
    (tmp_path / "chat.toml").write_bytes(content)
    for place in (tmp_path / "chat.toml", tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match=str(place)):
            judge_stories(STORIES, FAKE.model_copy(update={"backend": "selenium", "page": str(place)}))


@pytest.mark.parametrize("name", ["no such prompt", "a\0b", "x" * 5000])
def test_a_prompt_that_is_none_is_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match="neither a packaged prompt"):
        judge_stories(STORIES, FAKE.model_copy(update={"prompt": name}))


# --- pickles -----------------------------------------------------------------------------------


def test_what_a_user_holds_pickles(tmp_path: Path, stories: list[str]) -> None:
    from ts_eval.judge.features.reference import Reference

    run = judge_stories(STORIES, FAKE)
    assert through_pickle(run) == copy.deepcopy(run) == run
    judge = packaged(Reference(stories))
    same: FeatureJudge = through_pickle(judge)
    assert same.identity == judge.identity
    assert same.estimate(STORIES[0]) == copy.deepcopy(judge).estimate(STORIES[0]) == judge.estimate(STORIES[0])
    session = RatingSession([Story(s) for s in STORIES], tmp_path / "r.jsonl", rater="ada")
    again: RatingSession = through_pickle(session)
    assert again.next() == copy.deepcopy(session).next() == session.next()
    assert again.rate(again.next()["id"], RATINGS)["done"] == 1
    assert through_pickle(Token("a", -1.0, {})) == Token("a", -1.0, {})


def test_what_holds_a_port_or_a_file_says_why_it_does_not_pickle(tmp_path: Path) -> None:
    server = RatingServer(RatingSession([Story("a")], tmp_path / "r.jsonl", rater="ada"))
    server._http.server_close()
    with Store(tmp_path / "s.sqlite") as store, FakeServer() as fake:
        for held in (server, store, fake):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(held)
