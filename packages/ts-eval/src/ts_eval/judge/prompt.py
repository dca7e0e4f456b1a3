"""Prompt templates: reads, reorders and renders them to messages."""

import hashlib
import json
import os
import random
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from ts_data.artefact import parse_model

from ..errors import ArtefactError, ConfigError
from ..packaged import packaged_text
from ..schemas import PromptTemplate
from .files import read_text
from .guards.delimiters import NONCE, delimited

Message = dict[str, str]
Wrap = Callable[[str, str], str]
"""(story, nonce) → the story as the prompt shows it."""


def packaged_prompts() -> list[str]:
    """Names of the packaged prompts."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in resources.files(__package__).joinpath("prompts").iterdir()
        if p.name.endswith(".toml")
    )


def load_prompt(name: str) -> PromptTemplate:
    """A packaged prompt by name, or a TOML (`.json`: JSON) file by path."""
    if name in packaged_prompts():
        text = packaged_text(__package__, f"prompts/{name}.toml")
    elif os.path.isfile(name):  # noqa: PTH113 - False for what cannot be a path, where Path.is_file raises
        text = read_text(Path(name))
    else:
        raise ConfigError(f"prompt {name!r}: neither a packaged prompt ({', '.join(packaged_prompts())}) nor a file.")
    try:
        content = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ArtefactError(f"{name}: not valid {'JSON' if name.endswith('.json') else 'TOML'}: {problem}") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{name}: a JSON object was expected.")
    return parse_model(content, PromptTemplate, source=name, package="tinystories-eval", error=ArtefactError)


def reordered(template: PromptTemplate, seed: int) -> PromptTemplate:
    """The prompt with examples and categories shuffled; seed 0 changes nothing."""
    if seed == 0:
        return template
    draw = random.Random(seed)
    categories, examples = list(template.categories), list(template.examples)
    draw.shuffle(categories)
    draw.shuffle(examples)
    name = f"{template.name}#{seed}"
    return template.model_copy(update={"name": name, "categories": tuple(categories), "examples": tuple(examples)})


def render(template: PromptTemplate, story: str, nonce: str, wrap: Wrap = delimited) -> list[Message]:
    """System and user message. Only the user message contains the story, so that servers can cache the rest.

    `nonce` must be new for each call, see `guards.delimiters`.
    """
    system, user = _parts(template)
    return [{"role": "system", "content": system}, {"role": "user", "content": user.format(story=wrap(story, nonce))}]


def prompt_key(template: PromptTemplate, wrap: Wrap = delimited) -> str:
    """SHA-256 of the prompt without the story, with a placeholder for the nonce."""
    return hashlib.sha256("\0".join([*_parts(template), wrap("", NONCE)]).encode()).hexdigest()


def label(template: PromptTemplate, wrap: Wrap = delimited) -> str:
    """Name and first digits of the hash, as in ratings."""
    return f"{template.name}@{prompt_key(template, wrap)[:12]}"


def json_schema(template: PromptTemplate) -> dict[str, object]:
    """JSON schema of the reply: integer enums, names in the prompt's order."""
    names = [c.name for c in template.categories]
    one = {"type": "integer", "enum": list(range(1, 11))}
    return {"type": "object", "properties": dict.fromkeys(names, one), "required": names, "additionalProperties": False}


def _parts(template: PromptTemplate) -> tuple[str, str]:
    """The system message, and the user message with `{story}` in it."""
    names = [c.name for c in template.categories]
    categories = "\n".join(f"- {c.name}: {c.description}" for c in template.categories)
    instructions = "\n".join(f"- {line}" for line in template.instructions)
    answer = template.answer_format.strip().replace("{skeleton}", "{" + ", ".join(f'"{n}": …' for n in names) + "}")
    blocks = [template.introduction.strip(), f"Categories:\n{categories}", f"Important instructions:\n{instructions}"]
    if template.examples:
        rated = [(e.story.strip(), e.ratings.model_dump()) for e in template.examples]
        shown = [f"Story: {story}\nRatings: {json.dumps({name: ratings[name] for name in names})}" for story, ratings in rated]
        blocks.append("Examples:\n\n" + "\n\n".join(shown))
    blocks.append(answer)
    user = "{story}\n\n" + template.reminder.strip().replace("{", "{{").replace("}", "}}")
    return "\n\n".join(blocks), user.rstrip()
