"""Prompt templates: read, reordered, rendered to messages. It sees no reply and knows no server."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ts_data.artefact import parse_model

from ..errors import ArtefactError, ConfigError
from ..schemas import PromptTemplate
from .guards.delimiters import NONCE, fenced

__all__ = ["Message", "json_schema", "label", "load_prompt", "packaged_prompts", "prompt_key", "render", "reordered"]

Message = dict[str, str]


@dataclass(frozen=True)
class _Parts:
    system: str
    user: str


def packaged_prompts() -> list[str]:
    """Names of the prompts that come with the package."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in resources.files(__package__).joinpath("prompts").iterdir()
        if p.name.endswith(".toml")
    )


def load_prompt(name: str) -> PromptTemplate:
    """A packaged prompt by name, or a TOML file (JSON where the name ends so) by path."""
    if name in packaged_prompts():
        text, source = resources.files(__package__).joinpath("prompts", f"{name}.toml").read_text(encoding="utf-8"), name
    else:
        text, source = _read(name), name
    try:
        content = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ArtefactError(f"{source}: not valid TOML (or JSON, where the name says so): {problem}") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{source}: an object was expected.")
    return parse_model(content, PromptTemplate, source=source, package="tinystories-eval", error=ArtefactError)


def _read(name: str) -> str:
    path = Path(name)
    if not os.path.isfile(name):  # noqa: PTH113 - False for what cannot be a path, where Path.is_file raises
        raise ConfigError(f"prompt {name!r}: neither a packaged prompt ({', '.join(packaged_prompts())}) nor a file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ArtefactError(f"{name}: not UTF-8.") from None
    except OSError as problem:
        raise ArtefactError(f"{name}: cannot be read ({problem.strerror}).") from None


def reordered(template: PromptTemplate, seed: int) -> PromptTemplate:
    """The same prompt with examples and categories in another order; seed 0 leaves it as it is."""
    if seed == 0:
        return template
    draw = random.Random(seed)
    categories, examples = list(template.categories), list(template.examples)
    draw.shuffle(categories)
    draw.shuffle(examples)
    name = f"{template.name}#{seed}"
    return template.model_copy(update={"name": name, "categories": tuple(categories), "examples": tuple(examples)})


def render(template: PromptTemplate, story: str, nonce: str) -> list[Message]:
    """System and user message. Only the user message holds the story, so that servers can cache the rest.

    `nonce` is drawn anew for each call: what stands in a story cannot know it, and so cannot close the fence.
    """
    parts = _parts(template)
    user = parts.user.format(story=fenced(story, nonce))
    return [{"role": "system", "content": parts.system}, {"role": "user", "content": user}]


def prompt_key(template: PromptTemplate) -> str:
    """SHA-256 of everything the judge reads but the story, with a stand-in for the nonce."""
    parts = _parts(template)
    return hashlib.sha256(f"{parts.system}\0{parts.user}\0{fenced('', NONCE)}".encode()).hexdigest()


def label(template: PromptTemplate) -> str:
    """Name and first digits of the hash, as ratings carry it."""
    return f"{template.name}@{prompt_key(template)[:12]}"


def json_schema(template: PromptTemplate) -> dict[str, object]:
    """The reply's JSON schema, names in the prompt's order, each an integer out of an enum."""
    names = [c.name for c in template.categories]
    one = {"type": "integer", "enum": list(range(1, 11))}
    return {"type": "object", "properties": dict.fromkeys(names, one), "required": names, "additionalProperties": False}


def _parts(template: PromptTemplate) -> _Parts:
    names = [c.name for c in template.categories]
    categories = "\n".join(f"- {c.name}: {c.description}" for c in template.categories)
    instructions = "\n".join(f"- {line}" for line in template.instructions)
    answer = template.answer_format.strip().replace("{skeleton}", "{" + ", ".join(f'"{n}": …' for n in names) + "}")
    blocks = [template.introduction.strip(), f"Categories:\n{categories}", f"Important instructions:\n{instructions}"]
    if template.examples:
        blocks.append("Examples:\n\n" + "\n\n".join(_example(e.story, e.ratings.model_dump(), names) for e in template.examples))
    blocks.append(answer)
    user = "{story}\n\n" + template.reminder.strip().replace("{", "{{").replace("}", "}}")
    return _Parts("\n\n".join(blocks), user.rstrip())


def _example(story: str, ratings: dict[str, int], names: Sequence[str]) -> str:
    return f"Story: {story.strip()}\nRatings: {json.dumps({name: ratings[name] for name in names})}"
