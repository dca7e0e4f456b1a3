"""Commands that write stories: `generate`, `prompts` and `play`."""

import os
import secrets
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Config, Set, asked, emit, merge, warn
from ..registry import METHODS
from ._shared import Model, alternatives, warn_unasked, warn_unknown

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
        str | None, typer.Option(help="A smaller model with the same vocabulary, to guess tokens: the same story, sooner.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, int8 or int4: the weights are rounded while writing, which a large model does faster.")
    ] = "float32",
    config: Config = None,
    set_: Set = None,
) -> None:
    """Write stories. Every field of GenerationConfig can be set with --set.

    Example: ts-models generate demo --prompt "Once upon a time" --n 3 --seed 1
    """
    from ..generation.options import make_config, split_list
    from ..io.loading import load
    from ._ahead import at_first_start, first_use, warn_unkept

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
    repeated = asked.as_json or "seed" in given or settings.method != "sample" or precision != "float32"
    first = few and not repeated and at_first_start()
    lm = load(model).speculate(None if draft is None else load(draft)).quantise(precision)
    if first and not asked.quiet:
        warn("the fast kernels are being compiled in the background, once for this machine; until then PyTorch writes.")
    if not asked.quiet:
        warn_unkept()
    wanted, shown = split_list(words), split_list(features)
    prompts = prompt or ["" if wanted or shown else "Once upon a time"]
    if not asked.quiet:
        if not wanted and not shown:
            warn_unasked(lm, prompts)
        for text in (*prompts, *wanted):
            warn_unknown(lm.unknown_words(text))
    with hints(show=False), first_use(precision):
        stories = lm.write(prompts, words=wanted, features=shown, config=settings)
    payload = {
        "model": model,
        "config": settings.model_dump(mode="json"),
        "stories": [{**asdict(story), "full_text": story.full_text} for story in stories],
    }
    # In a file or pipe as ts-data and ts-eval read several stories.
    between = "\n\n---\n\n" if sys.stdout.isatty() else "\n<|endoftext|>\n"
    emit(payload, lambda: between.join(story.full_text for story in stories), written=False)


def prompts(
    models: Annotated[list[str], typer.Argument(help="Model folders, Hub ids, or `demo`.")],
    method: Annotated[str, typer.Option(help=f"{alternatives(METHODS)}.")] = "greedy",
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Completions per prompt and model.")] = 1,
    temperature: Annotated[float | None, typer.Option(help="For the sampling methods.", show_default="0.7")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same completions.")] = 1,
    table: Annotated[str | None, typer.Option(help="One table only: factual, reasoning or context.", show_default="all")] = None,
) -> None:
    """Complete nine beginnings that test what a model knows, infers and keeps in mind; each up to its first sentence.

    Example: ts-models prompts run-1m/model run-5m/model
    """
    from ..io.loading import load
    from ..prompts import complete_tables, show_tables

    options: dict[str, Any] = {"method": method, "num_return_sequences": n, "seed": seed}
    options |= {} if temperature is None else {"temperature": temperature}
    options |= enough_beams(method, n)
    loaded = [(name, load(name)) for name in models]
    for _, lm in loaded:
        warn_unasked(lm)
    with hints():
        found = complete_tables(loaded, only=table, **options)
    emit({"models": models, "tables": found}, lambda: show_tables(found), written=False)


def play(
    models: Annotated[list[str] | None, typer.Argument(help="Model folders, Hub ids, or `demo`.", show_default="demo")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is reached from this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 7860,
) -> None:
    """Open a page: type a beginning, watch the story come, compare two models, see each word's probability.

    Example: ts-models play demo run/model
    """
    from ..io.loading import load
    from ..play import LOOPBACK, serve
    from . import _ahead

    paths = models or ["demo"]
    loaded = {}
    for path in paths:
        lm = load(path)
        lm.write("Once", max_new_tokens=2)  # compiles the kernels now, not under the first story
        parts = Path(path).resolve().parts if Path(path).exists() else (path,)
        longest = range(2 if parts[-1] == "model" else 1, len(parts) + 1)
        loaded[next(name for count in longest if (name := "/".join(parts[-count:])) not in loaded or count == len(parts))] = lm
    if not asked.quiet and host not in LOOPBACK:
        warn(f"everyone who can reach {host} can use this page.")

    warming = threading.Thread(target=_ahead.write_a_little, args=(loaded.values(),), daemon=True)

    def ready(url: str) -> None:
        emit({"url": url, "models": list(loaded)}, f"Playing with {', '.join(loaded)} at {url}  (Ctrl-C ends it)")
        typer.get_text_stream("stdout").flush()
        warming.start()  # the first story finds its kernels

    serve(loaded, host=host, port=port, ready=ready)
    if warming.is_alive() and _ahead.own_process:
        os._exit(0)  # the end of Python would abort a thread inside of torch, and the process with it


@contextmanager
def hints(*, show: bool = True) -> Iterator[None]:
    """Print UserWarnings of the block as `warning: …` on stderr, each once; `show=False` where they were printed before."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for sentence in dict.fromkeys(str(item.message) for item in found if item.category is UserWarning):
        if show:
            warn(sentence)


def enough_beams(method: Any, stories: Any) -> dict[str, int]:
    """`num_beams` for so many stories of a prompt; empty for a method without beams."""
    from ..schemas import GenerationConfig

    if method not in METHODS or not METHODS[method].beams or not isinstance(stories, int):
        return {}
    return {"num_beams": max(GenerationConfig.model_fields["num_beams"].default, stories)}
