"""`ts-models generate`: write stories that begin with a prompt."""

from __future__ import annotations

import secrets
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ..console import Config, Json, Quiet, Set, emit, merge, warn
from ..registry import METHODS
from ._shared import Model, alternatives, enough_beams, hints, warn_unknown

_FEW = 4
"""Stories up to which the first start writes without the kernels."""


def generate(
    model: Model,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="How a story begins. May be repeated.")] = None,
    words: Annotated[
        str | None, typer.Option(help="Words to ask the model for: dragon,run,shiny. Needs a model trained on prompts.")
    ] = None,
    features: Annotated[str | None, typer.Option(help="Features to ask the model for: dialogue,bad ending.")] = None,
    method: Annotated[str | None, typer.Option(help=f"{alternatives(METHODS)}.", show_default="sample")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="Stories per prompt.", show_default="1")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same stories.", show_default="a new one each time, in --json")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Most tokens of a story.", show_default="256")] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1: safer; above: wilder.", show_default="0.7")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.", show_default="all")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that reach this probability.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="A word that each story must hold; run|ran: either form. May be repeated.")
    ] = None,
    num_beams: Annotated[int | None, typer.Option(help="Beams of the beam methods.", show_default="4")] = None,
    draft: Annotated[
        str | None,
        typer.Option(help="A smaller model with the same vocabulary, to guess tokens: the same story, sooner."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, int8 or int4: the weights are rounded while writing, which a large model does faster.")
    ] = "float32",
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write stories. Every field of GenerationConfig can be set with --set.

    Example: ts-models generate demo --prompt "Once upon a time" --n 3 --seed 1
    """
    from ..generation.options import make_config, split_list
    from ..io.loading import load
    from ._ahead import at_first_start

    flags = {
        "method": method, "num_return_sequences": n, "seed": seed, "max_new_tokens": max_new_tokens,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "num_beams": num_beams,
        "require": require,
    }  # fmt: skip
    given = merge(config, set_, flags)
    beams = enough_beams(given.get("method"), given.get("num_return_sequences", 1))
    with hints():
        settings = make_config({"seed": secrets.randbits(32)} | beams | given)
    few = (len(prompt) if prompt else 1) * settings.num_return_sequences <= _FEW
    # The kernels' logits differ from PyTorch's in the last bits: what may be repeated is written with them.
    repeated = as_json or "seed" in given or settings.method != "sample" or precision != "float32"
    first = few and not repeated and at_first_start()
    lm = load(model).speculate(None if draft is None else load(draft)).quantise(precision)
    if first and not quiet:
        warn("the fast kernels are being compiled in the background, once for this machine; until then PyTorch writes.")
    wanted, shown = split_list(words), split_list(features)
    prompts = prompt or ["" if wanted or shown else "Once upon a time"]
    for text in (*prompts, *wanted):
        if not quiet:
            warn_unknown(lm.unknown_words(text))
    with hints(show=False):
        stories = lm.write(prompts, words=wanted, features=shown, config=settings)
    payload = {
        "model": model,
        "config": settings.model_dump(mode="json"),
        "stories": [{**asdict(story), "full_text": story.full_text} for story in stories],
    }
    # In a file or pipe as ts-data and ts-eval read several stories.
    between = "\n\n---\n\n" if sys.stdout.isatty() else "\n<|endoftext|>\n"
    emit(payload, lambda: between.join(story.full_text for story in stories), as_json=as_json)
