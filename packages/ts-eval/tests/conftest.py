"""Stories to test on: made-up ones for everybody, real ones where they lie beside the checkout, and a tiny trained-on-nothing model."""

from __future__ import annotations

import base64
import csv
import importlib.util
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

# Set, even to nothing: no command leaves the kernels to another process, which would compile them beside the tests.
os.environ.setdefault("TS_MODELS_KERNELS", "")

NAMES = ("Lily", "Tom", "Ben", "Mia", "Sue", "Max")
THINGS = ("ball", "cake", "dog", "tree", "boat", "hat", "bird", "kite", "shoe", "drum")
WORDS = ("big", "red", "small", "happy", "sad", "funny", "old", "shiny", "blue", "soft")


def story(seed: int) -> str:
    """A story of a few sentences from a seed: alike enough to collide, different enough to tell apart."""
    rng = random.Random(seed)
    name, friend = rng.sample(NAMES, 2)
    lines = [f"One day, {name} saw a {rng.choice(WORDS)} {rng.choice(THINGS)} in the park."]
    for _ in range(rng.randint(3, 9)):
        kinds = (
            f'"I like the {rng.choice(WORDS)} {rng.choice(THINGS)}," said {friend}.',
            f"Then {name} took the {rng.choice(THINGS)} and ran to {friend}.",
            f"The {rng.choice(THINGS)} was very {rng.choice(WORDS)} and {rng.choice(WORDS)}.",
            f"{friend} and {name} played with the {rng.choice(THINGS)} until it was dark.",
        )
        lines += [rng.choice(kinds)]
    return " ".join([*lines, f"{name} was {rng.choice(WORDS)}. The end."])


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return [story(seed) for seed in range(400)]


@pytest.fixture(scope="session")
def real_stories() -> list[str]:
    for folder in Path(__file__).resolve().parents:
        file = folder / "shared" / "data" / "tinystories-real-sample.txt"
        if file.is_file():
            return [s.strip() for s in file.read_text(encoding="utf-8").split("<|endoftext|>") if s.strip()]
    pytest.skip("the real stories (shared/data beside the checkout) are not here")


@pytest.fixture(scope="session")
def splits(tmp_path_factory, stories) -> Path:
    import ts_data

    folder = tmp_path_factory.mktemp("data")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=40))
    return folder / "splits"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, splits) -> Path:
    import torch

    import ts_data
    import ts_models
    import ts_tokenizer

    folder = tmp_path_factory.mktemp("model")
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(splits, "train"), vocab_size=80)
    tokenizer.save(folder / "word_tokenizer.json")
    torch.manual_seed(1)
    config = ts_models.TransformerConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=64, d_model=16, n_heads=2, n_layers=1, d_ff=32
    )
    points = [{"step": i, "tokens": 100 * i, "seconds": i, "train_loss": 4 / i, "validation_loss": 5 / i} for i in range(1, 5)]
    training = ts_models.TrainingSummary(parameters=1, steps=4, tokens=400, seconds=4, curve=points)
    ts_models.save(ts_models.build(config), folder / "tiny", tokenizer=folder / "word_tokenizer.json", training=training)
    return folder / "tiny"


@pytest.fixture(scope="session")
def plain_kernels():
    """A context manager inside which searches and ROUGE run on the plain kernels of `plain_kernels.py` instead of Numba's."""
    from ts_eval import fast

    spec = importlib.util.spec_from_file_location("plain_kernels", Path(__file__).with_name("plain_kernels.py"))
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)

    @contextmanager
    def use() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast, "load_kernels", lambda: oracle)
            yield

    return use


@pytest.fixture(params=["compiled", "plain"])
def kernels(request, plain_kernels) -> Iterator[str]:
    """Runs a test twice: on the compiled kernels and on their oracle."""
    with plain_kernels() if request.param == "plain" else nullcontext():
        yield request.param


@pytest.fixture(scope="session")
def eval_config():
    from ts_eval.schemas import EvalConfig

    return EvalConfig(stories=8, perplexity_stories=12, resamples=100, decoding={"max_new_tokens": 24}, shown=4)


@pytest.fixture(scope="session")
def made(model_folder, splits, eval_config, tmp_path_factory):
    """A report of the tiny model twice, the folder it was written to, and how far each stage of its making got."""
    import ts_eval

    out = tmp_path_factory.mktemp("report")
    seen: dict[str, tuple[int, int | None]] = {}
    report = ts_eval.evaluate(
        [model_folder, model_folder],
        splits,
        eval_config,
        out=out,
        progress=lambda stage, done, total=None: seen.update({stage: (done, total)}),
    )
    return report, out, seen


@pytest.fixture(scope="session")
def saved_tables() -> Callable[[str], dict[str, list[list[str]]]]:
    """Reads the tables that a page offers as files: name → rows of cells."""

    def read(page: str) -> dict[str, list[list[str]]]:
        found = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)
        return {name: list(csv.reader(base64.b64decode(data).decode().splitlines())) for name, data in found}

    return read


CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def _chromium() -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromedriver = shutil.which("chromedriver")
    if chromedriver is None:
        pytest.skip("no chromedriver on this machine")
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in [*CHROMIUM, f"--user-data-dir={profile}"]:
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture
def chromium(_chromium: Any) -> Iterator[Any]:
    """A tab of its own: what a test emulates (a phone, touch, paper, dark colours) ends with it."""
    first = _chromium.current_window_handle
    _chromium.switch_to.new_window("tab")
    _chromium.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    yield _chromium
    _chromium.close()
    _chromium.switch_to.window(first)
