"""Generation options by name → GenerationConfig: hints for names of other libraries, warnings for options without effect."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..artefact import describe_invalid
from ..errors import ConfigError
from ..schemas import GenerationConfig

_ELSEWHERE = {
    "do_sample": "method='sample' (or 'greedy')",
    "max_length": "max_new_tokens, which does not count the prompt",
    "max_tokens": "max_new_tokens",
    "min_length": "min_new_tokens, which does not count the prompt",
    "stop_strings": "stop",
    "stop_token_ids": "stop_ids",
    "eos_token_id": "stop_ids, for ids beside the model's own <eos>",
    "n": "num_return_sequences",
    "num_samples": "num_return_sequences",
    "beam_size": "num_beams",
    "num_beam_groups": "method='beam'; groups of beams are not implemented",
    "typical_p": "top_p or min_p; typical sampling is not implemented",
    "penalty_alpha": "repetition_penalty; contrastive search is not implemented",
    "generation_config": "config",
}
"""Names of transformers, vLLM and others → what to use here instead."""

_DRAWS, _BEAMS = frozenset({"sample", "beam-sample"}), frozenset({"beam", "beam-sample"})
_READ_BY = {
    **dict.fromkeys(("temperature", "top_k", "top_p", "min_p"), _DRAWS),
    **dict.fromkeys(("num_beams", "length_penalty"), _BEAMS),
    "num_return_sequences": _DRAWS | _BEAMS,
}
"""The methods that read an option; options that are not here are read by all."""
_COLD = {"sample": "greedy", "beam-sample": "beam"}


def make_config(options: Mapping[str, Any]) -> GenerationConfig:
    """A GenerationConfig from options by name; `config=` gives one to start from. ConfigError names a wrong field.

    Warns of options that the method does not read. A temperature of 0 turns sampling into greedy decoding.
    """
    fields = dict(options)
    base = fields.pop("config", None)
    if base is not None and not isinstance(base, GenerationConfig):
        raise ConfigError(
            f"generation: config is a {type(base).__name__}; give a ts_models.GenerationConfig, or options by name."
        )
    _check_names(fields)
    given = {**(base.model_dump(exclude_unset=True) if base is not None else {}), **fields}
    temperature = given.get("temperature")
    if not isinstance(temperature, bool) and temperature == 0:
        given.pop("temperature")
        method = given.setdefault("method", "greedy")
        if method in _COLD:
            given["method"] = _COLD[method]
            _warn(f"temperature is 0, which is {_COLD[method]} decoding: method is {_COLD[method]!r} now.")
    try:
        config = GenerationConfig.model_validate(given)
    except ValidationError as problem:
        raise ConfigError(f"generation: {describe_invalid(problem)}") from None
    for sentence in without_effect(config):
        _warn(sentence)
    return config


def without_effect(config: GenerationConfig) -> list[str]:
    """A sentence for each option that was set to something, but that the method does not read."""
    sentences = []
    for name, methods in _READ_BY.items():
        value = getattr(config, name)
        if config.method in methods or name not in config.model_fields_set:
            continue
        if value != GenerationConfig.model_fields[name].default:
            readers = " or ".join(repr(method) for method in sorted(methods))
            sentences.append(f"{name}={value} has no effect with method {config.method!r}; it needs {readers}.")
    return sentences


def split_list(text: str | None) -> list[str]:
    """The parts of a text between commas, without blanks around them and without empty ones."""
    return [part for piece in (text or "").split(",") if (part := piece.strip())]


def _check_names(fields: Mapping[str, Any]) -> None:
    known = GenerationConfig.model_fields
    for name in fields:
        if name in known:
            continue
        if name in _ELSEWHERE:
            raise ConfigError(f"generation: there is no option `{name}`; use {_ELSEWHERE[name]}.")
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else f" There are: {', '.join(known)}."
        raise ConfigError(f"generation: there is no option `{name}`.{hint}")


def _warn(sentence: str) -> None:
    warnings.warn(f"generation: {sentence}", UserWarning, stacklevel=4)
