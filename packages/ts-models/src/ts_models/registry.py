"""Tables of architectures, position encodings, decoding methods and export formats. A new one is a module and a line here. Standard library only."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

ARCHITECTURES = {
    "transformer": "ts_models.architectures.transformer:Transformer",
    "rnn": "ts_models.architectures.recurrent:Recurrent",
    "lstm": "ts_models.architectures.recurrent:Recurrent",
    "gru": "ts_models.architectures.recurrent:Recurrent",
}
"""`kind` of a config → the `StoryModel` that it configures; its `config_class` validates configs of that kind."""
POSITIONS = {
    "sinusoidal": "ts_models.layers.positions:Sinusoidal",
    "learned": "ts_models.layers.positions:Learned",
    "rope": "ts_models.layers.positions:Rope",
    "rope-embedding": "ts_models.layers.positions:RotaryEmbedding",
    "none": "ts_models.layers.positions:NoPositions",
}
"""`positions` of a Transformer's config → a `PositionEncoding`."""


@dataclass(frozen=True)
class Method:
    """A way to choose the next tokens."""

    target: str
    """"package.module:class" of a `generation.loop.Strategy`."""
    draws: bool = False
    """It draws at random: it reads temperature, top_k, top_p and min_p."""
    beams: bool = False
    """It keeps `num_beams` stories of each prompt, and reads num_beams and length_penalty."""
    cold: str | None = None
    """The method that a temperature of 0 stands for."""


METHODS = {
    "greedy": Method("ts_models.generation.sample:Greedy"),
    "sample": Method("ts_models.generation.sample:Sample", draws=True, cold="greedy"),
    "beam": Method("ts_models.generation.beam:Beam", beams=True),
    "beam-sample": Method("ts_models.generation.beam:BeamSample", draws=True, beams=True, cold="beam"),
}
"""`method` of a GenerationConfig → how it decodes."""


@dataclass(frozen=True)
class Format:
    """An export format."""

    write: str
    """"package.module:function" of (LanguageModel, path, stories, progress) → what was found."""
    is_own: Callable[[bytes], bool] | None = None
    """For a format of one file: whether a file with these first bytes is an earlier export. None for a folder."""
    then: str | None = 'ts-models generate {out} --prompt "Once upon a time"'
    """What usually follows an export to `{out}`."""


FORMATS = {
    "transformers": Format("ts_models.export.to_transformers:export_transformers"),
    "onnx": Format(
        "ts_models.export.to_onnx:export_onnx", lambda start: b"pytorch" in start or b"onnx" in start,
        "open {out} with onnxruntime.InferenceSession",
    ),
    "int8": Format("ts_models.export.to_int8:export_int8"),
    "gguf": Format(
        "ts_models.export.to_gguf:export_gguf", lambda start: start.startswith(b"GGUF"), "give {out} token ids in llama.cpp (lm.encode_prompt): it reads no text"
    ),
    "html": Format(
        "ts_models.export.to_html:export_html", lambda start: b'content="ts-models export"' in start, "open {out} in a browser"
    ),
}  # fmt: skip
"""Export formats."""


def load_entry(entry: str) -> Any:
    """The object of an entry "package.module:name"."""
    module, name = entry.split(":")
    return getattr(import_module(module), name)
