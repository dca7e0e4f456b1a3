"""The pages of `ts-models look` and `neurons` in a real Chromium: every control answers; no request and no error."""

from __future__ import annotations

import pytest

import ts_models

pytest.importorskip("selenium", reason="selenium is not installed")

pytestmark = pytest.mark.browser


def test_the_page_works(lm, browser, tmp_path):
    found = ts_models.look(lm, "w1 w2 w3 w1 w2 w4 w1", tmp_path / "look.html")
    browser.get((tmp_path / "look.html").as_uri())
    run = browser.execute_script

    def text(selector):
        return run(f"return document.querySelector({selector!r}).textContent")

    assert run("return document.querySelectorAll('#attention .grid button').length") == 8
    run("document.querySelectorAll('#attention .grid button')[6].click()")
    assert text("#attention h3").startswith("Layer 1, head 2: ")
    run("document.querySelectorAll('#attention .chosen .text span')[3].click()")
    assert "“w3” reads" in text("#attention .chosen .detail")
    shades = run(
        "return [...document.querySelectorAll('#attention .chosen .text span')].map(s => +s.style.getPropertyValue('--a'))"
    )
    assert max(shades[:4]) == pytest.approx(0.8)
    assert shades[4:] == [0, 0, 0, 0]  # later words cannot be read
    pixels = "const c = document.querySelector('#attention .chosen canvas'); return [...c.getContext('2d').getImageData(0, 0, 8, 8).data]"
    alpha = run(pixels)[3::4]
    assert all((alpha[8 * row + column] == 0) for row in range(8) for column in range(row + 1, 8))
    assert alpha[0] == 255
    run("document.querySelectorAll('#surprise .text span')[2].click()")
    assert f"({found['surprise'][1]['bits']:.1f} bits)" in text("#surprise .detail")
    run("document.querySelector('#lens tbody td').click()")
    assert "After “<bos>”, layer 0 would say" in text("#lens .detail")
    assert run("return document.querySelectorAll('#neurons .card').length") == len(found["neurons"])
    run("document.querySelector('#map g').dispatchEvent(new Event('click'))")
    assert "Nearest to “w1”" in text("#map .detail")
    shown = {point["word"] for point in found["map"]["points"]}
    close = run("return [...document.querySelectorAll('#map g.close text')].map(t => t.textContent)")
    assert set(close) == shown & {word for word, _ in found["map"]["near"]["w1"]} != set()
    run("[...document.querySelectorAll('#map g')].at(-1).dispatchEvent(new Event('click'))")  # a neighbour has neighbours as well
    assert f"Nearest to “{found['map']['points'][-1]['word']}”" in text("#map .detail")
    for width in (1280, 390):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        )
        # The page hears of its new width with its next frame.
        assert run("return new Promise(done => requestAnimationFrame(() => done(document.documentElement.scrollWidth)))") <= width
    assert not browser.get_log("browser")
    assert run("return performance.getEntriesByType('resource').length") == 0

    gru = ts_models.build("talk-5m-gru", vocab_size=64, d_model=8, d_hidden=12)
    ts_models.look(ts_models.LanguageModel(gru, lm.tokenizer), "w1 w2 w3", tmp_path / "look.html")
    browser.get((tmp_path / "look.html").as_uri())
    assert run("return [...document.querySelectorAll('section')].map(s => s.id)") == ["surprise", "lens", "neurons", "map"]
    assert not browser.get_log("browser")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_neurons_works(lm, browser, tmp_path, width):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    layers = ts_models.neurons(lm, [[61, *range(40), 60], [61, *range(20, 60), 60]], tmp_path / "n.html", passages=2)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((tmp_path / "n.html").as_uri())
    run = browser.execute_script

    def choose(name, value):
        run(f"const f = document.querySelector('form'); f.{name}.value = {value!r}; f.dispatchEvent(new Event('input'))")
        return run("return [...document.querySelectorAll('.card')].map(card => card.textContent)")

    def likelier(neuron):
        return (layers[1].raised if layers[1].activation[neuron, 0] > 0 else layers[1].lowered)[neuron]

    assert len(choose("order", "strong")) == 20
    run("document.getElementById('more').click()")
    assert run("return document.querySelectorAll('.card').length") == 40
    choose("order", "number")
    first = choose("layer", "1")[0]
    words, passage = lm.vocabulary(), layers[1].ids[0, 0]
    assert first.startswith("Layer 1, neuron 0")
    assert "▲ " + ", ".join(words[i] for i in likelier(0)) in first
    assert " ".join(words[i] for i in passage if i >= 0) in first
    assert run("return document.querySelector('.card .text .on').textContent") == words[passage[16]]
    fires = {neuron for neuron in range(40) if 7 in layers[1].ids[neuron, :, 16] or 7 in likelier(neuron)}
    cards = choose("word", "w7")
    assert fires
    assert len(cards) == min(len(fires), 20)
    assert not choose("word", "qwertz")
    assert "lacks “qwertz”" in run("return document.getElementById('count').textContent")
    assert run("return document.documentElement.scrollWidth") <= width
    assert not browser.get_log("browser")
    assert run("return performance.getEntriesByType('resource').length") == 0
