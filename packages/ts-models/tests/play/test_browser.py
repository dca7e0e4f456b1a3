"""The page in a real Chromium: a story is written, two models side by side, probabilities on hover."""

import threading
import time

import pytest

pytest.importorskip("starlette", reason="the extra `play` is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

from ts_models import LanguageModel, TrainingSummary
from ts_models.play import serve

pytestmark = pytest.mark.browser


@pytest.fixture
def address(lm):
    told = []
    threading.Thread(target=serve, args=({"one": lm, "two": lm},), kwargs={"port": 0, "ready": told.append}, daemon=True).start()
    until(lambda: told)
    return told[0]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)
    return found


def texts(browser, selector):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def test_words_and_features_are_asked_where_the_model_knows_prompts(browser, lm):
    prompts = {"parts": {"words": "w3 {}", "features": "w5 {}"}, "features": ["twist", "moral"], "end": "w7"}
    lm.training = TrainingSummary.model_validate({"parameters": 1, "steps": 1, "tokens": 1, "seconds": 1, "prompts": prompts})
    told = []
    models = {"asked": lm, "plain": LanguageModel(lm.model, lm.tokenizer)}
    threading.Thread(target=serve, args=(models,), kwargs={"port": 0, "ready": told.append}, daemon=True).start()
    until(lambda: told)
    browser.get(told[0])
    until(lambda: texts(browser, "#features label"))
    assert texts(browser, "#features label") == ["twist", "moral"]
    browser.find_element(By.ID, "words").send_keys("w9, w11")
    browser.find_elements(By.CSS_SELECTOR, "#features input")[1].click()
    browser.execute_script("document.getElementById('prompt').value = ''; document.getElementById('method').value = 'greedy'")
    browser.find_element(By.ID, "write").click()
    until(lambda: any(" tokens, " in text for text in texts(browser, ".status")))
    until(lambda: "writing" not in browser.find_element(By.CSS_SELECTOR, ".panel").get_attribute("class"))
    (story,) = texts(browser, ".story")
    expected = lm.generate(words=["w9", "w11"], features=["moral"], method="greedy", max_new_tokens=256)
    assert story == expected
    assert story != lm.generate(words=["w9"], features=["moral"], method="greedy", max_new_tokens=256)
    browser.execute_script(
        "const e = document.querySelector('.model'); e.value = 'plain'; e.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert not browser.find_element(By.ID, "asked").is_displayed()


def test_play(browser, address, lm):
    browser.get(address)
    until(lambda: texts(browser, ".panel .facts"))
    assert "transformer" in texts(browser, ".panel .facts")[0]

    def write(**values):
        for name, value in values.items():
            browser.execute_script(
                "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
                "e.dispatchEvent(new Event('input', {bubbles: true}))",
                name,
                value,
            )
        browser.find_element(By.ID, "write").click()
        until(lambda: all(" tokens, " in text and "writing" not in panel for text, panel in zip(
            texts(browser, ".status"), [p.get_attribute("class") for p in browser.find_elements(By.CSS_SELECTOR, ".panel")], strict=True
        )))  # fmt: skip
        return [story.removeprefix("w1 <b>") for story in texts(browser, ".story")]

    options = {"method": "sample", "seed": 3, "temperature": 0.7, "max_new_tokens": 16}
    expected = lm.generate("w1 <b>", return_full_text=False, **options)
    assert write(prompt="w1 <b>", seed="3", max_new_tokens="16") == [expected]  # markup in a prompt stays text
    assert "Not in its vocabulary: <b>" in texts(browser, ".status")[0]

    token = browser.find_elements(By.CSS_SELECTOR, ".token")[2]
    ActionChains(browser).move_to_element(token).perform()
    until(lambda: browser.find_element(By.ID, "tip").is_displayed())
    assert token.text in browser.find_element(By.ID, "tip").text
    assert "%" in browser.find_element(By.ID, "tip").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tip meter")) == 5

    browser.find_element(By.ID, "compare").click()
    assert len(until(lambda: texts(browser, ".panel .facts"))) == 2
    assert write() == [expected, expected]
    beam = write(method="beam", num_beams="3")
    assert beam[0] == lm.generate("w1 <b>", method="beam", num_beams=3, max_new_tokens=16, return_full_text=False)

    browser.set_window_size(400, 800)
    script = (
        "return new Promise(done => requestAnimationFrame(() => done([document.documentElement.scrollWidth, window.innerWidth])))"
    )
    width = browser.execute_script(script)  # the page hears of its new width with its next frame
    assert width[0] <= width[1]  # nothing sticks out on a narrow screen
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
