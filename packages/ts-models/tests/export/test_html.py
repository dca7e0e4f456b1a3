"""One HTML file that writes stories: its weights, its tokenizer, and in a real Chromium the same stories as `lm.write`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ts_models
from ts_models import LanguageModel
from ts_models.errors import ConfigError
from ts_models.export import export
from ts_models.export.to_html import read_html, to_javascript
from ts_models.export.to_int8 import write_int8

ts_tokenizer = pytest.importorskip("ts_tokenizer", reason="needs the extra text")

STORIES = [
    'Once upon a time there was a dog. The dog said, "Hi, Tom!" Tom didn\'t run. He was happy.',
    "One day Tom saw a big red ball. Tom and the dog ran and ran. It was fun... Then they went home.",
    "A bird sat in a tree. \"I can't fly,\" said the bird. Tom's dog helped. The end.",
    "Mum made soup and cake for Lily, Ben, Sue, Max and Anna. Little cats like warm milk but not cold rain, so they slept.",
]
TEXTS = [
    *STORIES, "  Tom — the dog", "“Hi,” said Tom’s dog…  and ran", "Dr. Smith didn't go at 10a.m. :-) U.S. isn't", "", "<unk> <bos>",
    "I can't won't y'all e.g. hello!!! (yes) o'clock 3.50 well-known http://example.com foo@bar.com 'cause cannot", "café naïve 😀 C++ İ",
]  # fmt: skip
GREEDY = {
    "method": "greedy", "temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 1,
    "max_new_tokens": 24, "min_new_tokens": 0, "repetition_penalty": 1, "no_repeat_ngram_size": 0,
}  # fmt: skip
SAMPLE: list[dict[str, Any]] = [
    {"method": "sample", "seed": 7},
    {"method": "sample", "seed": -3, "temperature": 1.7, "top_k": 9},
    {"method": "sample", "seed": 123456789012345, "top_p": 0.6, "min_new_tokens": 20},
    {"method": "sample", "min_p": 0.2, "repetition_penalty": 1.5},
    {"no_repeat_ngram_size": 2, "max_new_tokens": 300},
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return ts_tokenizer.WordTokenizer.train(STORIES * 5, vocab_size=64)


def _export(network: Any, tokenizer: Any, folder: Path) -> LanguageModel:
    """Write page.html; returns the model as the page has it."""
    (folder / "text.txt").write_text(STORIES[0], encoding="utf-8")
    result = export(LanguageModel(network, tokenizer), folder / "page.html", format="html", text=folder / "text.txt")
    assert result["bytes"] == (folder / "page.html").stat().st_size
    rounded = copy.deepcopy(network)
    rounded.load_state_dict(read_html(folder / "page.html"), strict=False)
    return LanguageModel(rounded, tokenizer)


def test_the_weights_are_those_of_int8(networks: Any, tokenizer: Any, tmp_path: Path) -> None:
    for name, network in networks.items():
        _export(network, tokenizer, tmp_path)
        write_int8(LanguageModel(network, tokenizer), tmp_path / "int8")
        ours, theirs = read_html(tmp_path / "page.html"), ts_models.load(tmp_path / "int8").model.state_dict()
        assert set(ours) == set(theirs), name
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def test_refused(lm: LanguageModel, small: Any, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a tokenizer of ts-tokenizer"):
        export(lm, tmp_path / "a.html", format="html")
    keep = ts_tokenizer.WordTokenizer.train(STORIES * 5, vocab_size=64, casing="keep")
    with pytest.raises(ConfigError, match='casing="lower"'):
        export(LanguageModel(small, keep), tmp_path / "a.html", format="html")
    (tmp_path / "a.html").write_text("<p>my page</p>")
    with pytest.raises(ConfigError, match="earlier export to html"):
        export(LanguageModel(small, tokenizer), tmp_path / "a.html", format="html")
    assert (tmp_path / "a.html").read_text() == "<p>my page</p>"


def test_patterns_in_javascript() -> None:
    assert to_javascript(r"(?u)^\!|\.\.+|[\w\-\']\d\-\u00a1\U0001F600") == r"^!|\.\.+|[\p{L}\p{N}_\-'][\p{Nd}]-\u{a1}\u{1f600}"
    assert to_javascript(r"[a[^]x\]]") == r"[a\[^]x\]]"


@pytest.mark.browser
def test_the_page_equals_the_model(networks: Any, tokenizer: Any, browser: Any, tmp_path: Path) -> None:
    ids = torch.randint(0, 60, (1, 40), generator=torch.Generator().manual_seed(1))
    for name, network in networks.items():
        lm = _export(network, tokenizer, tmp_path)
        browser.get((tmp_path / "page.html").as_uri())
        run = browser.execute_script
        logits = run("const n = makeNetwork(config, tensors); return arguments[0].map((id) => [...n.step(id)])", ids[0].tolist())
        with torch.inference_mode():
            assert np.abs(np.array(logits) - lm.model(ids)[0].numpy()).max() < 1e-4, name
        for options in (GREEDY, *(GREEDY | some for some in SAMPLE)):
            story = run("return tell(arguments[0], arguments[1])", "The dog said, ", options)
            unread = ("temperature", "top_k", "top_p", "min_p") if options["method"] == "greedy" else ()
            ours = lm.write("The dog said, ", **{key: value for key, value in options.items() if key not in unread})[0]
            assert (story["ids"], story["full"], story["finish"]) == (ours.ids, ours.full_text, ours.finish), (name, options)
        assert not browser.get_log("browser"), name


@pytest.mark.browser
def test_the_tokenizer_equals_ours(browser: Any, tmp_path: Path) -> None:
    demo = ts_models.load("demo")
    (tmp_path / "text.txt").write_text(STORIES[0], encoding="utf-8")
    export(demo, tmp_path / "demo.html", format="html", text=tmp_path / "text.txt")
    browser.get((tmp_path / "demo.html").as_uri())
    run, words = browser.execute_script, demo.text_tokenizer()
    assert run("return arguments[0].map((text) => words.encode(text).ids)", TEXTS) == [
        words.encode_prompt(text) for text in TEXTS
    ]  # type: ignore[attr-defined]
    random = np.random.default_rng(1)
    rows = [*(words.encode(text) for text in TEXTS), *random.integers(0, 2048, (30, 60)).tolist()]
    assert run("return arguments[0].map((ids) => words.pieces(ids).join(''))", rows) == [words.decode(ids) for ids in rows]
    _use_the_page(browser, demo)


def _use_the_page(browser: Any, demo: LanguageModel) -> None:
    """Write a story by the form, point at a word, look at it on a phone."""
    run = browser.execute_script
    run("for (const [id, value] of Object.entries(arguments[0])) $(id).value = value; $('form').dispatchEvent(new Event('input'))", {
        "prompt": "Once upon a time, <b>Zorblax</b>", "max_new_tokens": 24, "seed": 5,
    })  # fmt: skip
    text = run("return write().then(() => document.querySelector('.story').textContent)")
    expected = demo.generate("Once upon a time, <b>Zorblax</b>", method="sample", temperature=0.7, seed=5, max_new_tokens=24)
    assert text == expected
    status = run("return document.querySelector('.status').textContent")
    assert "24 tokens" in status
    assert "seed 5. Not in its vocabulary: " in status
    assert "zorblax" in status
    tip = run(
        "document.querySelectorAll('.token')[3].focus(); return [$('tip').hidden, $('tip').textContent, $('tip').querySelectorAll('meter').length]"
    )
    assert tip[0] is False
    assert "%" in tip[1]
    assert tip[2] == 5
    for width in (1280, 390):
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # The page hears of its new width with its next frame.
        assert run("return new Promise(done => requestAnimationFrame(() => done(document.documentElement.scrollWidth)))") <= width
    long = "the dog ran. " * 100
    assert run("return tell(arguments[0], {}).catch((problem) => problem.message)", long).startswith(
        "This beginning has 401 tokens"
    )
    assert run("return performance.getEntriesByType('resource').length") == 0
    assert not browser.get_log("browser")


@pytest.mark.browser
@pytest.mark.slow
def test_twenty_greedy_stories_of_the_demo_model(browser: Any, tmp_path: Path) -> None:
    demo = ts_models.load("demo")
    (tmp_path / "text.txt").write_text(STORIES[0], encoding="utf-8")
    export(demo, tmp_path / "demo.html", format="html", text=tmp_path / "text.txt")
    browser.set_script_timeout(600)
    browser.get((tmp_path / "demo.html").as_uri())
    names = ("Lily", "Tom", "Max", "Anna", "the cat")
    starts = ("Once upon a time, {}", "One day, {} wanted to play with", '"Look!" said {}. "I found a', "{} was sad because")
    prompts = [start.format(name) for start in starts for name in names]
    options = GREEDY | {"max_new_tokens": 200, "min_new_tokens": 200}
    told = [browser.execute_script("return tell(arguments[0], arguments[1])", prompt, options) for prompt in prompts]
    ours = demo.write(prompts, method="greedy", max_new_tokens=200, min_new_tokens=200)
    assert [story["ids"] for story in told] == [story.ids for story in ours]
    assert [story["full"] for story in told] == [story.full_text for story in ours]
