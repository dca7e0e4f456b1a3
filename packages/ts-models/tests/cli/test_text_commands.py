"""The commands that need text, with a stranger's tokenizer: this package's own tests have no other."""

from __future__ import annotations

import json
import socket
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

import ts_models
from ts_models.cli import _ahead, app
from ts_models.console import run
from ts_models.io import tokenizers

WORDS = ["once", "upon", "a", "time", "dog", "cat", "ran", "sat", ".", "big", "red", "sun", "<eos>", "<bos>", "<unk>", "<pad>"]


class Words:
    """Words between blanks, lower-cased."""

    def __init__(self, path: Path) -> None:
        self.vocab = json.loads(path.read_text(encoding="utf-8"))["vocab"]
        self.vocab_size = len(self.vocab)
        self.eos_id, self.bos_id, self.unk_id, self.pad_id = range(self.vocab_size - 4, self.vocab_size)

    def tokens(self, text: str) -> list[str]:
        return text.lower().split()

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [self.vocab.index(word) if word in self.vocab else self.unk_id for word in self.tokens(text)]

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        return " ".join(self.vocab[i] for i in ids if i < self.eos_id or not skip_special_tokens)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(EntryPoint, "load", lambda self: Words)
    monkeypatch.setattr(
        tokenizers, "entry_points", lambda group: [EntryPoint("somebody/words", "somewhere:Words", tokenizers.GROUP)]
    )
    (tmp_path / "words.json").write_text(json.dumps({"format": "somebody/words", "vocab": WORDS}), encoding="utf-8")
    torch.manual_seed(2)
    network = ts_models.build(
        "story-1m", vocab_size=len(WORDS), d_model=8, n_heads=2, head_dim=4, n_layers=1, d_ff=12, max_seq_len=96
    )
    return str(ts_models.save(network, tmp_path / "m", tokenizer=tmp_path / "words.json"))


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run(app, list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_words_are_asked_of_a_model_of_prompts(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, _, error = _run(capsys, "generate", model, "--words", "dog,cat", "--features", "twist")
    assert (code, error.count("\n")) == (2, 1)
    assert "was trained on stories without prompts" in error
    lm = ts_models.load(model)
    prompts = {"parts": {"words": "big {} .", "features": "red {} ."}, "features": ["twist"], "end": "sun"}
    training = ts_models.TrainingSummary.model_validate(
        {"parameters": 1, "steps": 1, "tokens": 1, "seconds": 1, "prompts": prompts}
    )
    asked = ts_models.save(
        lm.model, Path(model).parent / "asked", tokenizer=Path(model) / "word_tokenizer.json", training=training
    )
    options = ["--method", "greedy", "--max-new-tokens", "6", "--json"]
    code, out, error = _run(capsys, "generate", str(asked), "--words", "dog, cat,zebra", "--features", "twist", *options)
    assert code == 0
    assert "the vocabulary lacks 'zebra'" in error
    assert "gets none" not in error
    for words, warned in (
        ([], True),
        (["-p", "big dog ."], True),
        (["-p", "big dog . sun"], False),
        (["--features", "twist"], False),
    ):
        error = _run(capsys, "generate", str(asked), *words, *options)[2]
        assert ("asked: was trained to write stories behind prompts, and gets none here. Ask it for" in error) is warned
    assert "asked: was trained to write stories behind prompts" in _run(capsys, "prompts", str(asked), "--table", "factual")[2]
    assert "behind prompts" not in _run(capsys, "generate", model, *options)[2]
    (story,) = json.loads(out)["stories"]
    expected = lm.generate("big dog, cat, zebra . red twist . sun", method="greedy", max_new_tokens=6, return_full_text=False)
    assert (story["full_text"], story["prompt"]) == (expected.lstrip(" "), "")
    code, _, error = _run(capsys, "generate", str(asked), "--features", "moral")
    assert (code, error) == (2, "error: there is no feature 'moral'; there are twist.\n")


def test_generate_writes_as_many_stories_as_asked_and_the_same_by_seed(capsys: pytest.CaptureFixture[str], model: str) -> None:
    asked = ("generate", model, "--prompt", "Once upon a", "--n", "2", "--seed", "3", "--max-new-tokens", "6", "--json")
    code, out, _ = _run(capsys, *asked)
    shown: dict[str, Any] = json.loads(out)
    assert code == 0
    assert shown["config"]["temperature"] == 0.7
    assert [story["full_text"].lower().startswith("once upon a") for story in shown["stories"]] == [True, True]
    assert json.loads(_run(capsys, *asked)[1]) == shown


def test_generate_divides_stories_in_a_pipe_as_their_readers_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    asked = ("generate", model, "--prompt", "once upon", "--n", "3", "--seed", "1", "--max-new-tokens", "6")
    stories = [story["full_text"] for story in json.loads(_run(capsys, *asked, "--json")[1])["stories"]]
    assert _run(capsys, *asked)[1] == "\n<|endoftext|>\n".join(stories) + "\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert _run(capsys, *asked)[1] == "\n\n---\n\n".join(stories) + "\n"


def test_command_and_python_decode_alike_and_the_drawn_seed_is_recorded(capsys: pytest.CaptureFixture[str], model: str) -> None:
    asked = ("generate", model, "--prompt", "Once upon a", "--max-new-tokens", "6", "--json")
    shown, again = (json.loads(_run(capsys, *asked)[1]) for _ in range(2))
    assert (shown["config"]["method"], shown["config"]["temperature"]) == ("sample", 0.7)
    assert shown["config"]["seed"] != again["config"]["seed"]
    story = ts_models.load(model).generate("Once upon a", max_new_tokens=6, seed=shown["config"]["seed"])
    assert story == shown["stories"][0]["full_text"]


def test_generate_with_a_draft_writes_the_same_story(capsys: pytest.CaptureFixture[str], model: str) -> None:
    asked = ("generate", model, "--prompt", "Once upon a", "--seed", "3", "--max-new-tokens", "6")
    code, drafted, _ = _run(capsys, *asked, "--draft", model)
    assert (code, drafted) == (0, _run(capsys, *asked)[1])
    code, _, err = _run(capsys, *asked, "--draft", "demo")
    assert (code, "cannot guess for" in err) == (2, True)


def test_generate_rounds_the_weights(capsys: pytest.CaptureFixture[str], model: str) -> None:
    pytest.importorskip("numba")
    asked = ("generate", model, "--prompt", "Once upon a", "--method", "greedy", "--max-new-tokens", "6")
    code, out, _ = _run(capsys, *asked, "--precision", "int4")
    assert (code, out.startswith("Once upon a")) == (0, True)
    code, _, err = _run(capsys, *asked, "--precision", "int5")
    assert (code, "there are float32, int8, int4" in err) == (2, True)


def test_generate_requires_words(capsys: pytest.CaptureFixture[str], model: str) -> None:
    words = ("--require", "dog", "--require", "ran|sat", "--require", "sun", "--max-new-tokens", "9", "--n", "3")
    code, out, _ = _run(capsys, "generate", model, "--prompt", "once", *words, "--json")
    assert code == 0
    for story in json.loads(out)["stories"]:
        assert {"dog", "sun"} < set(story["text"].split())
        assert {"ran", "sat"} & set(story["text"].split())
    code, _, err = _run(capsys, "generate", model, "--require", "zebra")
    assert code == 2
    assert "lacks the required word 'zebra'" in err


def test_generate_names_words_that_the_vocabulary_lacks(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, out, err = _run(capsys, "generate", model, "--prompt", "Once a zebra", "--method", "beam", "--max-new-tokens", "3")
    assert code == 0
    assert out.strip()
    assert "the vocabulary lacks 'zebra'" in err
    assert "zebra" not in _run(capsys, "generate", model, "--prompt", "a zebra", "--quiet", "--max-new-tokens", "3")[2]


def test_generate_refuses_a_field_that_does_not_hold(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, out, err = _run(capsys, "generate", model, "--set", "top_p=2")
    assert (code, out) == (2, "")
    assert "`top_p`" in err


def test_neighbours_are_sorted_and_a_word_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, out, _ = _run(capsys, "neighbours", model, "dog", "--k", "3", "--json")
    cosines = [near["cosine"] for near in json.loads(out)["neighbours"]["dog"]]
    assert code == 0
    assert cosines == sorted(cosines, reverse=True)
    assert len(cosines) == 3
    assert "cosine" in _run(capsys, "neighbours", model, "cat")[1]
    code, _, err = _run(capsys, "neighbours", model, "dogg")
    assert code == 2
    assert "Did you mean dog" in err


def test_prompts_are_completed_up_to_a_sentence(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, out, _ = _run(capsys, "prompts", model, "--table", "factual", "--json")
    (shown,) = json.loads(out)["tables"]
    assert code == 0
    assert len(shown["rows"]) == 3
    assert "alice" in [word.lower() for word in shown["rows"][0]["models"][model]["unknown_words"]]
    assert "not in its vocabulary" in _run(capsys, "prompts", model, "--table", "factual")[1]
    code, _, err = _run(capsys, "prompts", model, "--table", "facts")
    assert code == 2
    assert "factual, reasoning, context" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--num-beams", "8"], "num_beams=8 has no effect with method 'sample'"),
        (["--method", "greedy", "--temperature", "0.5"], "temperature=0.5 has no effect with method 'greedy'"),
        (["--method", "sample", "--temperature", "0"], "temperature is 0, which is greedy decoding"),
        (["--method", "greedy", "--n", "3"], "num_return_sequences=3 has no effect"),
    ],
)
def test_generate_names_options_that_do_nothing_once(
    capsys: pytest.CaptureFixture[str], model: str, arguments: list[str], sentence: str
) -> None:
    code, out, told = _run(capsys, "generate", model, "--prompt", "once", "--seed", "1", *arguments)
    assert code == 0
    assert out.startswith("once")
    assert told.count(sentence) == 1
    assert told.count("warning:") == 1


@pytest.mark.parametrize("method", ["sample", "beam", "greedy"])
def test_generate_is_silent_about_its_own_defaults(capsys: pytest.CaptureFixture[str], model: str, method: str) -> None:
    for command in (["generate", model, "--prompt", "once"], ["prompts", model, "--table", "factual", "--json"]):
        code, _, told = _run(capsys, *command, "--method", method, "--seed", "1")
        assert code == 0
        assert "has no effect" not in told


@pytest.mark.parametrize("prompt", ["caf\udce9", "\ud800"])
def test_a_prompt_in_another_encoding_is_one_line(capsys: pytest.CaptureFixture[str], model: str, prompt: str) -> None:
    code, _, told = _run(capsys, "generate", model, "--prompt", prompt)
    assert code == 2
    assert told.count("\n") == 1
    assert "not UTF-8" in told


@pytest.mark.parametrize("method", ["greedy", "sample", "beam", "beam-sample"])
def test_a_model_with_damaged_weights_is_one_line(
    capsys: pytest.CaptureFixture[str], model: str, method: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = Path(model) / "model.safetensors"
    tensors = load_file(weights)
    tensors["norm.weight"][:] = float("nan")
    save_file(tensors, weights)
    for command in (
        ["generate", model, "--prompt", "once", "--method", method],
        ["export", model, "--format", "int8", "--out", str(tmp_path / "o")],
    ):
        code, _, told = _run(capsys, *command)
        assert code == 2
        assert told.strip().splitlines()[-1].startswith("error: ")
        assert "Traceback" not in told
    assert not (tmp_path / "o").exists()


def test_no_thread_is_left_behind_where_the_page_cannot_be_served(
    capsys: pytest.CaptureFixture[str], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of Python aborts a process that has a thread inside of torch: "terminate called without an active exception"."""
    pytest.importorskip("uvicorn", reason="the extra `play` is not installed")
    warmed: list[object] = []
    monkeypatch.setattr(_ahead, "write_a_little", warmed.append)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, error = _run(capsys, "play", model, "--port", str(taken.getsockname()[1]))
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "cannot listen on 127.0.0.1" in error
    assert not warmed
