"""A tokenizer of made-up words and tiny networks, so that these tests need neither spaCy nor a trained model."""

from __future__ import annotations

import shutil

import pytest
import torch

from ts_models import LanguageModel, TransformerConfig
from ts_models.schemas import RecurrentConfig


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _same_numbers():
    """What a test draws does not depend on the tests before it."""
    torch.manual_seed(0)


class FakeStream:
    def __init__(self, tokenizer: FakeTokenizer) -> None:
        self.tokenizer, self.count = tokenizer, 0

    def push(self, id: int) -> str:
        text = self.tokenizer.decode([id])
        if not text:
            return ""
        self.count += 1
        return text if self.count == 1 else " " + text

    def finish(self) -> str:
        return ""


class FakeTokenizer:
    """Words w0, w1 … parted by blanks; the last four ids are eos, bos, unk, pad."""

    def __init__(self, size: int = 64) -> None:
        self.vocab = (*(f"w{i}" for i in range(size - 4)), "<eos>", "<bos>", "<unk>", "<pad>")
        self.vocab_size = size
        self.eos_id, self.bos_id, self.unk_id, self.pad_id = range(size - 4, size)

    def tokens(self, text: str) -> list[str]:
        return text.split()

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [self.vocab.index(word) if word in self.vocab else self.unk_id for word in text.split()]

    def decode(self, ids, *, skip_special_tokens: bool = True) -> str:
        hidden = {self.eos_id, self.bos_id, self.pad_id} if skip_special_tokens else set()
        return " ".join(self.vocab[i] for i in ids if i not in hidden)

    def stream_decoder(self) -> FakeStream:
        return FakeStream(self)


SMALL = {"vocab_size": 64, "max_seq_len": 48, "d_model": 32, "n_heads": 4, "d_ff": 40, "n_layers": 2}

CONFIGS = {
    "story": TransformerConfig(**SMALL, qk_norm=True),
    "talk-rope": TransformerConfig(
        **SMALL, positions="rope-embedding", norm="layernorm", norm_first=False, final_norm=False, feed_forward="gelu",
        bias=True, tie_embeddings=False,
    ),
    "sinusoidal": TransformerConfig(
        **SMALL, positions="sinusoidal", norm="layernorm", final_norm=False, feed_forward="gelu", bias=True, tie_embeddings=False
    ),
    "learned": TransformerConfig(**SMALL, positions="learned", feed_forward="relu2", norm="layernorm"),
    "local": TransformerConfig(
        **SMALL, positions="none", feed_forward="gelu-tanh", n_kv_heads=2, local_window=4, local_layers=(1,), attention_scale=1.0
    ),
    "rnn": RecurrentConfig(kind="rnn", vocab_size=64, d_model=24, d_hidden=32),
    "lstm": RecurrentConfig(kind="lstm", vocab_size=64, d_model=24, d_hidden=32),
    "gru": RecurrentConfig(kind="gru", vocab_size=64, d_model=24, d_hidden=32),
}  # fmt: skip


def make(config):
    """A network with random weights, also in its norms and biases, and logits that spread by one or two nats."""
    from ts_models.architectures import build_for_inference

    torch.manual_seed(7)
    network = build_for_inference(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "embedding" in name or "head" in name:
                parameter.normal_(std=0.3)
    return network


@pytest.fixture(params=list(CONFIGS))
def network(request):
    return make(CONFIGS[request.param])


@pytest.fixture(params=[name for name in CONFIGS if CONFIGS[name].kind == "transformer"])
def transformer(request):
    return make(CONFIGS[request.param])


@pytest.fixture(params=[name for name in CONFIGS if CONFIGS[name].kind != "transformer"])
def recurrent(request):
    return make(CONFIGS[request.param])


@pytest.fixture
def networks():
    """One of each kind, by name."""
    return {name: make(config) for name, config in CONFIGS.items()}


@pytest.fixture
def small():
    return make(CONFIGS["story"])


@pytest.fixture
def lm():
    return LanguageModel(make(CONFIGS["story"]), FakeTokenizer())


@pytest.fixture
def tiny():
    """Five ids can be written: 0, 1, 2, 3 and eos (4)."""
    return make(TransformerConfig(vocab_size=8, d_model=16, n_heads=2, n_layers=1, d_ff=16))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless Chromium; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    service = shutil.which("chromedriver")
    if not (chrome and service):
        pytest.skip("no Chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    off = ("gpu", "quic", "background-networking", "component-update", "sync")
    flags = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in off)]
    for flag in (*flags, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """A tab of its own, of the size of a desktop, and with nothing in its log."""
    first = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    chromium.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    chromium.set_window_size(1100, 900)
    chromium.get_log("browser")
    yield chromium
    chromium.close()
    chromium.switch_to.window(first)
