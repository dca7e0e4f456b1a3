"""Generation from options by name: `generate` gives whole continuations, `stream` one as it grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from ..artefact import describe_invalid
from ..errors import ConfigError
from ..schemas import GenerationConfig
from ._loop import decode, decode_steps
from ._results import Step

__all__ = ["generate", "make_config", "stream"]


def make_config(options: Mapping[str, Any]) -> GenerationConfig:
    """A GenerationConfig from options by name; `config=` gives one to start from. ConfigError names a wrong field."""
    fields = dict(options)
    base = fields.pop("config", None)
    try:
        return GenerationConfig.model_validate({**(base.model_dump() if base is not None else {}), **fields})
    except ValidationError as problem:
        raise ConfigError(f"generation: {describe_invalid(problem)}") from None


def generate(network: Any, ids: Sequence[Sequence[int]] | Tensor, **options: Any) -> list[list[int]]:
    """New ids of each continuation, `<eos>` included where it was written; `num_return_sequences` of them per prompt.

    `ids` are prompts of any lengths; `options` the fields of GenerationConfig. `stop` needs text: see LanguageModel.
    """
    prompts = ids.tolist() if isinstance(ids, Tensor) else ids
    config = _without_text(make_config(options))
    return [hypothesis.ids for found in decode(network, prompts, config) for hypothesis in found]


def stream(network: Any, ids: Sequence[int] | Tensor, **options: Any) -> Iterator[int]:
    """New ids of one continuation as they are settled (beam methods: once every beam that can win agrees)."""
    prompt = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    config = _without_text(make_config({**options, "num_return_sequences": 1}))
    for step in decode_steps(network, [prompt], config):
        if isinstance(step, Step):
            yield from step.ids


def _without_text(config: GenerationConfig) -> GenerationConfig:
    if config.stop:
        raise ConfigError("generation: `stop` holds texts, which a network does not know; use LanguageModel, or stop_ids.")
    return config
