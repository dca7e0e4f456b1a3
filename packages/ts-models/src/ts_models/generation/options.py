"""Generation options by name → GenerationConfig: hints for names of other libraries, warnings for options without effect."""

import difflib
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..artefact import describe_invalid
from ..errors import ConfigError
from ..registry import METHODS, Method
from ..schemas import GenerationConfig

_READ_BY: dict[str, Callable[[Method], bool]] = {
    **dict.fromkeys(("temperature", "top_k", "top_p", "min_p"), lambda method: method.draws),
    **dict.fromkeys(("num_beams", "length_penalty"), lambda method: method.beams),
    "num_return_sequences": lambda method: method.draws or method.beams,
}
"""Whether a method reads an option; options that are not here are read by all."""


def make_config(options: Mapping[str, Any]) -> GenerationConfig:
    """A GenerationConfig from options by name; `config=` gives one to start from. ConfigError names a wrong field.

    Warns of options that the method does not read. A temperature of 0 turns sampling into greedy decoding.
    """
    config, sentences = resolve(options)
    for sentence in sentences:
        warnings.warn(f"generation: {sentence}", UserWarning, stacklevel=3)
    return config


def resolve(options: Mapping[str, Any]) -> tuple[GenerationConfig, list[str]]:
    """What `make_config` returns, and the sentences that it warns with."""
    fields = dict(options)
    base = fields.pop("config", None)
    if base is not None and not isinstance(base, GenerationConfig):
        raise ConfigError(
            f"generation: config is a {type(base).__name__}; give a ts_models.GenerationConfig, or options by name."
        )
    _check_names(fields)
    given = {**(base.model_dump(exclude_unset=True) if base is not None else {}), **fields}
    sentences = []
    temperature = given.get("temperature")
    if not isinstance(temperature, bool) and temperature == 0:
        given.pop("temperature")
        method = METHODS.get(given.setdefault("method", "greedy"))
        if method is not None and method.cold is not None:
            given["method"] = method.cold
            sentences.append(f"temperature is 0, which is {method.cold} decoding: method is {method.cold!r} now.")
    try:
        config = GenerationConfig.model_validate(given)
    except ValidationError as problem:
        raise ConfigError(f"generation: {describe_invalid(problem)}") from None
    return config, sentences + without_effect(config)


def with_effect(config: GenerationConfig) -> dict[str, Any]:
    """The options that were set and that the method reads; `make_config` does not warn of them."""
    method = METHODS[config.method]
    read = {name for name in config.model_fields_set if name not in _READ_BY or _READ_BY[name](method)}
    return config.model_dump(include={*read, "method"})


def without_effect(config: GenerationConfig) -> list[str]:
    """A sentence for each option that was set to something, but that the method does not read."""
    sentences = []
    for name, reads in _READ_BY.items():
        value = getattr(config, name)
        if reads(METHODS[config.method]) or name not in config.model_fields_set:
            continue
        if value != GenerationConfig.model_fields[name].default:
            readers = " or ".join(repr(method) for method in sorted(METHODS) if reads(METHODS[method]))
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
        elsewhere = tomllib.loads(Path(__file__).with_name("elsewhere.toml").read_text(encoding="utf-8"))
        if name in elsewhere:
            raise ConfigError(f"generation: there is no option `{name}`; use {elsewhere[name]}.")
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else f" There are: {', '.join(known)}."
        raise ConfigError(f"generation: there is no option `{name}`.{hint}")
