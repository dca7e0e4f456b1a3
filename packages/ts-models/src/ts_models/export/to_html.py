"""Export to one HTML file that writes stories: weights in int8, tokenizer, page. Opened by double click, it needs no server.

The network, the sampling and the tokenizer are plain JavaScript in `page/`. Weights, sampled random numbers and
decoding are those of `load` and `generate` on the rounded model.
"""

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..artefact import write_text
from ..console import Progress
from ..errors import ConfigError
from ..io.model_folder import clean_names, load_weights
from ..language_model import LanguageModel
from ..layers.positions import rope_angles, sinusoidal_rates
from ..schemas import ModelConfig, RecurrentConfig, TransformerConfig
from ..sizes import count_parameters
from .to_int8 import measure_cost, quantise_rows

_MARK = '<meta name="generator" content="ts-models export">'
_PAGE = Path(__file__).parent / "page"
_PLAY = Path(__file__).parents[1] / "play" / "static"
_SCRIPTS = (_PLAY / "tokens.js", *(_PAGE / f"{name}.js" for name in ("words", "network", "sampling", "page")))
_STYLES = (_PLAY / "play.css", _PAGE / "page.css")
_SHAPES = ("sinusoidal", "learned", "rope", "rope-embedding", "none")
"""The position encodings that `page/network.js` computes."""


def export_html(
    lm: LanguageModel, out: Path, *, stories: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the page, read its weights back, and measure what rounding costs in loss (nats per token)."""
    index, weights = _pack(_tensors(lm))
    content = {
        "name": lm.name,
        "facts": _facts(lm),
        "config": lm.config.model_dump(mode="json"),
        "tokenizer": _tokenizer(lm),
        "tensors": index,
    }
    write_text(out, _render(content, weights))
    rounded = copy.deepcopy(lm.model)
    load_weights(rounded, read_html(out), source=str(out))
    return {"bytes": out.stat().st_size, **measure_cost(lm, rounded, stories, progress)}


def read_html(path: Path) -> dict[str, Tensor]:
    """The weights in a page, as the page unpacks them."""
    page = path.read_text(encoding="utf-8")
    found = dict(re.findall(r'<script type="[^"]+" id="(model|weights)">(.*?)</script>', page, re.DOTALL))
    data = bytearray(base64.b64decode(found["weights"]))
    tensors = {}
    for name, (rows, columns, floats, whole) in json.loads(found["model"])["tensors"].items():
        if whole is None:
            values = torch.frombuffer(data, dtype=torch.float32, count=rows * columns, offset=floats)
            tensors[name] = values.view(rows, columns) if name == "positions.weight" else values
            continue
        scales = torch.frombuffer(data, dtype=torch.float32, count=rows, offset=floats)
        matrix = torch.frombuffer(data, dtype=torch.int8, count=rows * columns, offset=whole).view(rows, columns)
        tensors[name] = matrix * scales[:, None]
    tensors.pop("rates", None)
    return tensors


def _tensors(lm: LanguageModel) -> dict[str, Tensor]:
    """The weights by name, and the rates of positions (angle per token), as PyTorch computes them."""
    config: ModelConfig = lm.config
    if not isinstance(config, TransformerConfig | RecurrentConfig):
        raise ConfigError(f"html holds Transformers and recurrent networks; this model is of the kind {config.kind!r}.")
    tensors = {name: tensor.detach().cpu().float() for name, tensor in clean_names(lm.model.state_dict()).items()}
    if not isinstance(config, TransformerConfig):
        return tensors
    if config.positions not in _SHAPES:
        raise ConfigError(f"html holds the positions {', '.join(_SHAPES)}; this model has {config.positions!r}.")
    if config.positions in {"rope", "rope-embedding"}:
        tensors["rates"] = rope_angles(torch.ones(1), config.head_size, config.rope_theta)[0]
    if config.positions == "sinusoidal":
        tensors["rates"] = sinusoidal_rates(config.d_model)
    return tensors


def _pack(tensors: dict[str, Tensor]) -> tuple[dict[str, list[int | None]], bytes]:
    """Tensors as bytes, and by name [rows, columns, byte of the floats, byte of the int8 values or None].

    Matrices are int8 with one factor per row, as in an export to int8; all else is float32, and comes first.
    """
    floats, whole = bytearray(), bytearray()
    index: dict[str, list[int | None]] = {}
    for name, tensor in tensors.items():
        rows, columns = tensor.shape if tensor.dim() == 2 else (1, tensor.numel())
        exact = tensor.dim() != 2 or name == "positions.weight"
        index[name] = [rows, columns, len(floats), None if exact else len(whole)]
        matrix, scales = (None, tensor) if exact else quantise_rows(tensor)
        floats += scales.contiguous().numpy().tobytes()
        if matrix is not None:
            whole += matrix.numpy().tobytes()
    for entry in index.values():
        entry[3] = None if entry[3] is None else entry[3] + len(floats)
    return index, bytes(floats + whole)


def _facts(lm: LanguageModel) -> list[str]:
    loss = None if lm.training is None else lm.training.best_validation_loss
    facts = [lm.config.kind, f"{count_parameters(lm.config) / 1e6:.1f} M parameters", f"{lm.config.vocab_size:,} words"]
    if lm.config.context_limit:
        facts.append(f"{lm.config.context_limit} tokens of context")
    return facts if loss is None else [*facts, f"validation loss {loss:.2f}"]


# --- the tokenizer -------------------------------------------------------------------------------


def _tokenizer(lm: LanguageModel) -> dict[str, Any]:
    """What `page/words.js` needs of a word_tokenizer.json, with its patterns in JavaScript's spelling."""
    spec = getattr(lm.tokenizer, "spec", None)
    content = {} if spec is None else spec.model_dump(mode="json")
    if content.get("format") != "ts-tokenizer/word":
        raise ConfigError("html needs a tokenizer of ts-tokenizer, which this model does not have.")
    if content["casing"] != "lower" or content["rules"]["token_match"]:
        raise ConfigError('html holds tokenizers with casing="lower" and without a token_match pattern; this one is another.')
    rules = content["rules"]
    return {
        "vocab": content["vocab"],
        "rules": {
            "exceptions": rules["exceptions"],
            "url": to_javascript(rules["url_match"] or "(?!)"),
            **{name: to_javascript(rules[name] or "(?!)") for name in ("prefix", "suffix", "infix")},
        },
        "decoder": content["decoder"],
        "cleaning": content["trained_on"]["cleaning"] or [],
    }


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)|\(\?u\)|\[\^?|\]", re.DOTALL)
_CLASSES = {"\\w": r"\p{L}\p{N}_", "\\d": r"\p{Nd}"}


def to_javascript(pattern: str) -> str:
    """A pattern of Python's `re` for JavaScript's flag `u`: Unicode escapes and classes, no needless backslash."""
    inside = False

    def written(match: re.Match[str]) -> str:
        nonlocal inside
        text = match[0]
        if text[0] == "[":
            inside, text = True, text if not inside else text.replace("[", "\\[")
        elif text == "]":
            inside = False
        elif code := match[1] or match[2]:
            return f"\\u{{{int(code, 16):x}}}"
        elif text in _CLASSES:
            return _CLASSES[text] if inside else f"[{_CLASSES[text]}]"
        elif text == "(?u)":
            return ""
        elif text[0] == "\\" and not (text[1].isalnum() or text[1] in "^$\\.*+?()[]{}|/" or (inside and text[1] == "-")):
            return text[1]
        return text

    return _ESCAPE.sub(written, pattern)


# --- the page ------------------------------------------------------------------------------------


def _render(content: dict[str, Any], weights: bytes) -> str:
    parts = {
        "<!--generator-->": _MARK,
        "/*style*/": read_parts(*_STYLES),
        "/*model*/": script_data(content),
        "/*weights*/": base64.b64encode(weights).decode("ascii"),
        "/*script*/": read_parts(*_SCRIPTS),
    }
    return fill(read_parts(_PAGE / "page.html"), parts)


def read_parts(*files: Path) -> str:
    """The files' texts, joined."""
    return "".join(path.read_text(encoding="utf-8") for path in files)


def script_data(content: Any) -> str:
    """JSON for a script element: "<" is escaped, so that no word can end the element."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def fill(page: str, parts: dict[str, str]) -> str:
    """The page with each part in place of its mark, which it holds once; marks inside of parts stay."""
    for mark, part in parts.items():
        before, _, after = page.partition(mark)
        page = before + part + after
    return page
