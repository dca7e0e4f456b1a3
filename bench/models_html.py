"""The one-file HTML page in headless Chromium on one core: size of the file, tokens per second by the clock.

    python bench/models_html.py [MODEL …] [--tokens 200] [--rounds 5]

Models are folders, presets (random weights, the words of the demo model) or `demo`. Greedy stories of a fixed length; the page's own rate,
which leaves out the reading of the prompt. Browser, driver and this program share one core. Ends with the reason where no Chromium is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import ts_models
from ts_models.export import export
from ts_models.presets import PRESETS

PROMPTS = ("Once upon a time", "Tom and Lily went to the park", "One day, a little dog")
FLAGS = ("--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def open_model(name: str) -> ts_models.LanguageModel:
    """A folder or `demo`; a preset with random weights and the demo model's tokenizer."""
    if name not in PRESETS:
        return ts_models.load(name)
    demo = ts_models.load("demo")
    special = {field: getattr(demo.config, field) for field in ("eos_id", "bos_id", "unk_id", "pad_id")}
    config = ts_models.preset(name, vocab_size=demo.config.vocab_size, **special)
    return ts_models.LanguageModel(ts_models.build(config), demo.text_tokenizer())


def start(folder: str) -> Any:
    """Headless Chromium with its driver, or SystemExit with the reason."""
    try:
        from selenium import webdriver
    except ImportError:
        raise SystemExit("skipped: selenium is not installed") from None
    chrome, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chrome and driver):
        raise SystemExit("skipped: no Chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in (*FLAGS, f"--user-data-dir={folder}/profile"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["story-1m", "talk-1m", "demo"])
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asked = {"method": "greedy", "max_new_tokens": options.tokens, "min_new_tokens": options.tokens}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        browser = start(folder)
        browser.set_script_timeout(600)
        try:
            (text := Path(folder) / "text.txt").write_text("Tom saw a dog. The dog was happy.", encoding="utf-8")
            print(f"{'model':<12}{'MB':>8}{'tokens/s':>10}   lowest to highest, of one core")
            for name in options.models:
                export(open_model(name), page := Path(folder) / "page.html", format="html", text=text)
                browser.get(page.as_uri())
                told = "return tell(arguments[0], arguments[1]).then((story) => story.rate)"
                rates = [browser.execute_script(told, prompt, asked) for _ in range(options.rounds) for prompt in PROMPTS]
                size = page.stat().st_size / 1e6
                print(f"{name:<12}{size:8.2f}{statistics.median(rates):10.0f}   {min(rates):.0f} to {max(rates):.0f}", flush=True)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
