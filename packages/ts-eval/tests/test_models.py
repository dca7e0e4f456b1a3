"""What can be evaluated: ours, a stranger's object, files, a server, transformers; and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import struct
import threading
import types
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

import ts_eval
from ts_eval.errors import ArtefactError, ConfigError, UnavailableError
from ts_eval.models import open_models
from ts_eval.schemas import EvalConfig


def test_our_folder_generates_scores_and_has_neighbours(model_folder, stories):
    model = ts_eval.open_model(model_folder)
    assert (model.name, model.kind) == ("tiny", "ts-models")
    options = {"method": "sample", "temperature": 0.7, "max_new_tokens": 8, "seed": 3}
    texts = model.generate(["One day, Tom", "The dog"], **options)
    assert len(texts) == 2
    assert texts == model.generate(["One day, Tom", "The dog"], **options)
    scored = model.score(stories[:3])
    assert [len(lp) for lp in scored.logprobs] == [len(i) - 1 for i in scored.ids]
    assert scored.bits.shape == (3, 2)
    assert len(model.neighbours("dog", 3)) == 3
    assert model.neighbours("unheard") is None


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"kind": "step", "step": 1, "loss": 5, "tokens": 1' + "0" * 400 + "}", "[1]"]
)
def test_a_curve_that_cannot_be_read_is_left_out(tmp_path, model_folder, content):
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "metrics.jsonl").write_text(content, encoding="utf-8")
    assert ts_eval.open_model(tmp_path / "model").curve == ts_eval.open_model(model_folder).curve


def test_no_two_models_share_a_name(tmp_path):
    (tmp_path / "a.txt").write_text("One day.", encoding="utf-8")
    adapters = open_models([tmp_path / "a.txt"] * 4, names=["a", "a (2)", "a", "a"])
    assert [adapter.name for adapter in adapters] == ["a", "a (2)", "a (3)", "a (4)"]


def test_a_prompt_longer_than_the_context_is_shortened_and_said(model_folder):
    model = ts_eval.open_model(model_folder)
    assert len(model.generate(["the dog " * 100], method="greedy", max_new_tokens=4)) == 1
    assert any("shortened" in note for note in model.notes)


def test_a_strangers_object_is_enough():
    class Parrot:
        name = "parrot"

        def generate(self, prompts, **options):
            return [prompt.upper() for prompt in prompts]

    model = ts_eval.open_model(Parrot())
    assert model.generate(["hi"], temperature=1) == ["HI"]
    assert model.score(["hi"]) is None
    with pytest.raises(ConfigError, match="neither"):
        ts_eval.open_model(3)


def test_the_folder_of_a_report_is_told_where_its_stories_are(tmp_path):
    (tmp_path / "stories.jsonl").write_text('"One."\n')
    with pytest.raises(ArtefactError, match=rf"is a folder; expected a file. Did you mean {tmp_path / 'stories.jsonl'}"):
        ts_eval.read_stories(tmp_path)


def test_files_of_stories(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n<|endoftext|>\nTwo.\n<|endoftext|>\n")
    (tmp_path / "b.jsonl").write_text('{"story": "One."}\n{"text": "Two.", "x": 1}\n')
    assert ts_eval.open_model(tmp_path / "a.txt").stories == ts_eval.open_model(tmp_path / "b.jsonl").stories == ["One.", "Two."]
    (tmp_path / "c.ndjson").write_text('"One."\n\n{"story": " "}\n{"text": "Two."}\n')
    assert ts_eval.open_model(tmp_path / "c.ndjson").stories == ["One.", "Two."]
    for name, content in (
        ("A.TXT", "One.<|endoftext|>Two."),
        ("B.JSONL", '{"story": "One."}\n"Two."'),
        ("c.json", '["One.", "Two."]'),
    ):
        for mark in ("", "\ufeff"):
            (tmp_path / name).write_text(mark + content, encoding="utf-8")
            assert ts_eval.open_model(tmp_path / name).stories == ["One.", "Two."]
    for name, content, match in (
        ("c.jsonl", "{", "line 1: not JSON"),
        ("d.jsonl", '\n{"a": 1}', "line 2"),
        ("e.txt", "\n", "no story"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(ArtefactError, match=match):
            ts_eval.open_model(tmp_path / name)
    (tmp_path / "f.zip").write_text("x")
    with pytest.raises(ConfigError, match="others are folders"):
        ts_eval.open_model(tmp_path / "f.zip")


def test_a_run_folder_is_answered_with_its_model(tmp_path, model_folder):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ArtefactError, match="Did you mean"):
        ts_eval.open_model(tmp_path)


def test_a_completions_server():
    pytest.importorskip("openai")
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append(body)
            reply = json.dumps(
                {
                    "id": "1", "object": "text_completion", "created": 0, "model": body["model"],
                    "choices": [{"index": 0, "text": f" after {body['prompt']}", "finish_reason": "stop", "logprobs": None}],
                }
            ).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        model = ts_eval.open_model(f"http://127.0.0.1:{server.server_port}/v1#some/tale")
        texts = model.generate(["a", "b"], method="sample", temperature=0.7, max_new_tokens=5, seed=1)
    finally:
        server.shutdown()
        server.server_close()
    assert texts == [" after a", " after b"]
    assert {body["max_tokens"] for body in seen} == {5}
    assert sorted(body["seed"] for body in seen) == [1, 2]
    assert model.name == "tale"
    with pytest.raises(ConfigError, match="beam"):
        model.generate(["a"], method="beam")
    with pytest.raises(ConfigError, match="name the model"):
        ts_eval.open_model("http://127.0.0.1:1/v1")


def test_a_transformers_model_scores_as_transformers_does(tmp_path):
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({**{c: i for i, c in enumerate(alphabet)}, "<|endoftext|>": len(alphabet)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    fast.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=257, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=256, eos_token_id=256
    )
    transformers.GPT2LMHeadModel(config).eval().save_pretrained(tmp_path)
    model = ts_eval.open_model(tmp_path)
    scored = model.score(["a cat — é", "the dog ran and ran and ran until it was dark"])
    assert [len(s) for s in scored.logprobs] == [len("a cat — é".encode()) + 1, 46]
    assert np.array_equal(scored.bits, np.zeros((2, 2)))
    ids = torch.tensor([[256, *fast("a cat — é")["input_ids"], 256]])
    nll = model.model(ids, labels=ids).loss.item()
    assert -scored.logprobs[0].mean() == pytest.approx(nll, abs=1e-4)
    assert len(model.generate(["the dog", "a"], method="sample", temperature=0.7, max_new_tokens=4, seed=1)) == 2


def test_a_long_prompt_leaves_the_others_of_its_batch_their_room():
    import torch

    from ts_eval.models.transformers_lm import TransformersAdapter

    class Letters(torch.nn.Module):
        config = types.SimpleNamespace(max_position_embeddings=32, eos_token_id=0)

        def generate(self, ids, max_new_tokens, **_):
            assert ids.shape[1] + max_new_tokens <= 32
            return torch.cat([ids, ids[:, -1:].repeat(1, max_new_tokens)], dim=1)

    class Bytes:
        bos_token_id, eos_token_id, sep_token_id = 0, 0, None

        def __call__(self, text, **_):
            return {"input_ids": list(text.encode())}

        def batch_decode(self, rows, **_):
            return ["".join(map(chr, row)) for row in rows.tolist()]

    model = TransformersAdapter("letters", Letters(), Bytes())
    prompts = ["x" * 90, *"abcdefghijklmnop", "y" * 20]
    assert model.generate(prompts, max_new_tokens=12) == [prompt[-1] * 12 for prompt in prompts]
    assert model.notes == ["prompts of more than half its context were shortened from the left"]


def llama2c(folder):
    """A checkpoint of random weights in the format of llama2.c (version 0), and a tokenizer of all bytes and a few pieces."""
    dim, hidden, layers, heads, kv_heads, context = 16, 24, 1, 2, 2, 64
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *[f"<0x{byte:02X}>" for byte in range(256)], " ", *"abcdehinorstuy"]
    vocabulary = len(pieces)
    rows = [struct.pack("<fi", -1.0, len(piece.encode())) + piece.encode() for piece in pieces]
    (folder / "tokenizer.bin").write_bytes(struct.pack("<i", 8) + b"".join(rows))
    count = vocabulary * dim + layers * (2 * dim + 2 * dim * dim + 2 * dim * kv_heads * (dim // heads) + 3 * dim * hidden) + dim
    weights = np.random.default_rng(1).normal(0, 0.2, count + context * (dim // heads)).astype("<f4")
    header = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocabulary, context)
    (folder / "stories.bin").write_bytes(header + weights.tobytes())
    return folder / "stories.bin"


def test_ours_and_a_llama2c_model_stand_side_by_side(model_folder, splits, tmp_path):
    config = EvalConfig(stories=5, perplexity_stories=6, resamples=100, decoding={"max_new_tokens": 12}, shown=2)
    report = ts_eval.evaluate([model_folder, llama2c(tmp_path)], splits, config, out=tmp_path / "report")
    ours, theirs = report.models
    assert theirs.name == "stories.bin"
    assert not [note for note in theirs.notes if "not measured" in note]
    for key in ("perplexity.test.bits_per_byte", "overfitting.test.max_cosine", "paper.test.max_train_rouge2"):
        assert ours.metrics[key].mean is not None, key
        assert theirs.metrics[key].mean is not None, key
    # Random weights over 273 tokens of about a byte each: near log2(273) bits per byte, whatever the words are worth.
    assert theirs.metrics["perplexity.test.bits_per_byte"].mean == pytest.approx(math.log2(273), rel=0.2)
    compared = {c.metric for c in report.comparisons}
    assert "perplexity.test.bits_per_byte" in compared
    assert "stories" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_texts_with_equal_ids_tie_on_loss_and_differ_in_bits(model_folder):
    model = ts_eval.open_model(model_folder)
    pair = ["One day, Tom saw a big ball in the park.", "One day, tom saw a big Ball in the park."]
    scored = model.score(pair)
    assert np.array_equal(scored.ids[0], scored.ids[1])
    assert np.array_equal(scored.logprobs[0], scored.logprobs[1])
    assert scored.bits[0].sum() < scored.bits[1].sum()


def test_nothing_that_a_model_cannot_do_is_passed_over(splits):
    """Each part says so, for an object that generates and for one that scores."""

    class Teller:
        name = "teller"

        def generate(self, prompts, **options):
            return [f"ran {i} miles." for i, _ in enumerate(prompts)]

    class Scorer:
        name = "scorer"

        def logprobs(self, texts):
            return [np.full(5, -1.0) for _ in texts]

    config = EvalConfig(stories=4, perplexity_stories=4, resamples=100)
    teller, scorer = ts_eval.evaluate([Teller(), Scorer()], splits, config).models
    assert " ".join(teller.notes).count("perplexity is not measured") == 1
    assert " ".join(teller.notes).count("neighbours are left out") == 1
    for words in (
        "memorisation is not measured", "procedure is not run", "overfitting is not measured", "diversity is not measured",
        "prompt tables are left out", "neighbours are left out", "n-gram models", "taken to pay for every character",
    ):  # fmt: skip
        assert " ".join(scorer.notes).count(words) == 1, words


def test_a_transformers_folder_runs_no_code_of_its_own(tmp_path):
    """Neither modules that its config names nor pickled weights."""
    transformers = pytest.importorskip("transformers")
    import pickle

    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    named = tmp_path / "named"
    named.mkdir()
    (named / "own.py").write_text(code)
    places = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", None]}
    (named / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": places}))
    pickled = tmp_path / "pickled"
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(pickled)
    (pickled / "model.safetensors").unlink()

    class Run:
        def __reduce__(self):
            return exec, (code,)

    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(Run()))
    for folder in (named, pickled):
        with pytest.raises(ArtefactError, match="transformers cannot open it"):
            ts_eval.open_model(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b'{"choices": [{"index": 0, "text": null, "finish_reason": "stop"}]}', "no choices"),
        (b'{"choices": [{"index": 0, "text": ["a"], "finish_reason": "stop"}]}', "no choices"),
        (b'{"choices": [{"index": 0, "text": "a", "finish_reason": "content_filter"}]}', "filtered"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {"0": {"text": "a"}}}', "no choices"),
        (b'{"error": "model not loaded"}', "no choices"),
        (b"[]", "no choices"),
        (b'"a"', "no choices"),
        (b"null", "no choices"),
        (b"not JSON", "http"),
        (b'{"choices": "\xff', "http"),
        (b"", "http"),
    ],
)
def test_what_is_no_completion_becomes_no_story(body, match):
    pytest.importorskip("openai")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UnavailableError, match=match):
            ts_eval.open_model(f"http://127.0.0.1:{server.server_port}/v1#m").generate(["a"])
    finally:
        server.shutdown()
        server.server_close()


def test_a_network_without_its_tokenizer_and_a_class_are_answered(model_folder):
    import ts_models

    with pytest.raises(ConfigError, match="without a tokenizer; pass what ts_models"):
        ts_eval.open_model(ts_models.load(model_folder).model)
    with pytest.raises(ConfigError, match="is a class; pass an object"):
        ts_eval.open_model(ts_models.LanguageModel)
