"""Generation from options by name: `generate` gives whole continuations, `stream` one as it grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from ..errors import ConfigError
from ..schemas import GenerationConfig
from ._loop import decode, decode_steps
from ._options import make_config
from ._results import Step

__all__ = ["generate", "stream"]


def generate(network: Any, ids: Sequence[Sequence[int]] | Tensor, **options: Any) -> list[list[int]]:
    """New ids of each continuation, `<eos>` included where it was written; `num_return_sequences` of them per prompt.

    `ids` are prompts of any lengths; `options` the fields of GenerationConfig. `stop` needs text: see LanguageModel.
    """
    config = _without_text(make_config(options))
    return [hypothesis.ids for found in decode(network, ids, config) for hypothesis in found]


def stream(network: Any, ids: Sequence[int] | Tensor, **options: Any) -> Iterator[int]:
    """New ids of one continuation as they are settled (beam methods: once every beam that can win agrees)."""
    config = _without_text(make_config({**options, "num_return_sequences": 1}))
    for step in decode_steps(network, [ids], config):
        if isinstance(step, Step):
            yield from step.ids


def _without_text(config: GenerationConfig) -> GenerationConfig:
    if config.stop:
        raise ConfigError("generation: `stop` holds texts, which a network does not know; use LanguageModel, or stop_ids.")
    return config
