"""The page of `ts-models look` in a real Chromium: heads, words, lens, map; no request and no error."""

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
    for width in (1280, 390):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        )
        assert run("return document.documentElement.scrollWidth") <= width
    assert not browser.get_log("browser")
    assert run("return performance.getEntriesByType('resource').length") == 0

    gru = ts_models.build("talk-5m-gru", vocab_size=64, d_model=8, d_hidden=12)
    ts_models.look(ts_models.LanguageModel(gru, lm.tokenizer), "w1 w2 w3", tmp_path / "look.html")
    browser.get((tmp_path / "look.html").as_uri())
    assert run("return [...document.querySelectorAll('section')].map(s => s.id)") == ["surprise", "lens", "neurons", "map"]
    assert not browser.get_log("browser")
