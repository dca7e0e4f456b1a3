"""Commands that look inside a model: `neighbours`, `look` and `neurons`."""

from pathlib import Path
from typing import Annotated

import typer

from ..console import asked, emit, show_progress, table
from ..errors import ConfigError, MissingExtraError
from ._shared import Model, warn_unknown


def neighbours(
    model: Model,
    words: Annotated[list[str], typer.Argument(help="One or more words of the vocabulary.")],
    k: Annotated[int, typer.Option("--k", "-k", "--n", min=1, help="Neighbours per word.")] = 10,
) -> None:
    """Show the nearest tokens to a word by cosine of their embeddings.

    Example: ts-models neighbours demo dog
    """
    from ..io.loading import load

    lm = load(model)
    found = {word: lm.neighbours(word, k=k) for word in words}
    payload = {
        "model": model,
        "neighbours": {word: [{"token": token, "cosine": cosine} for token, cosine in near] for word, near in found.items()},
    }

    def text() -> str:
        blocks = [table([(token, f"{cosine:.3f}") for token, cosine in near], (word, "cosine")) for word, near in found.items()]
        return "\n\n".join(blocks)

    emit(payload, text, written=False)


def look(
    model: Model,
    text: Annotated[str, typer.Argument(help="The text to read.")],
    out: Annotated[Path, typer.Option(help="The HTML page to write.")] = Path("look.html"),
    max_new_tokens: Annotated[int, typer.Option(min=0, help="First let the model continue the text by this many tokens.")] = 0,
) -> None:
    """Write an HTML page of what a model does with a text: attention, logit lens, neurons and surprise at each word.

    Example: ts-models look demo "Once upon a time there was a dog." --out look.html
    """
    from ..inspection.page import look as look_at

    found = look_at(model, text, out, max_new_tokens=max_new_tokens)
    if not asked.quiet:
        warn_unknown(found["unknown"])
    bits = [item["bits"] for item in found["surprise"]]
    heads = found["heads"]
    payload = {
        "page": str(out),
        "tokens": len(found["words"]),
        "bits_per_token": sum(bits) / len(bits),
        "surprise": [{"token": word, **item} for word, item in zip(found["words"][1:], found["surprise"], strict=True)],
        "heads": heads,
    }

    def show() -> str:
        shares = ("previous", "first", "same")
        rows = [
            [
                f"{head['layer']}.{head['head']}",
                head["label"],
                f"{head['distance']:.1f}",
                *(f"{head[name]:.2f}" for name in shares),
            ]
            for head in heads
        ]
        summary = table(rows, ["head", "reads", "distance", "previous", "first", "same word"]) + "\n\n" if heads else ""
        return f"{summary}wrote {out}: {len(bits)} tokens, {payload['bits_per_token']:.2f} bits each"

    emit(payload, show, then=f"open {out} in a browser")


def neurons(
    model: Model,
    data: Annotated[Path, typer.Option(help="Encoded stories, as `ts-tokenizer encode` writes them.")],
    out: Annotated[Path, typer.Option(help="The HTML page to write; the table is written beside it as .parquet.")] = Path(
        "neurons.html"
    ),
    split: Annotated[str, typer.Option(help="The split to read.")] = "train",
    passages: Annotated[int, typer.Option(min=1, max=1000, help="Passages of each neuron.")] = 8,
    exact: Annotated[bool, typer.Option("--exact", help="Multiply in float32, also where bfloat16 is faster.")] = False,
) -> None:
    """Find the passages of a corpus that activate each neuron most, and the words it makes likelier, as page and Parquet.

    Example: ts-models neurons run/model --data encoded --out neurons.html
    """
    from ..inspection.neurons import BEFORE
    from ..inspection.page import neurons as find
    from ..io.loading import load
    from ..registry import load_entry

    lm = load(model)
    vocabulary = lm.vocabulary()
    try:
        encoded = load_entry("ts_tokenizer:open_encoded")(data)
    except ImportError:
        raise MissingExtraError('reading encoded stories needs ts-tokenizer. Run: pip install "ts-models[text]"') from None
    if split not in encoded:
        raise ConfigError(f"{data}: has no split {split!r}. It has {', '.join(encoded)}.")
    if list(encoded.tokenizer.vocab) != vocabulary:
        raise ConfigError(f"{data}: was encoded with another tokenizer than {model} has. Encode the splits with the model's own.")
    with show_progress(quiet=asked.as_json) as progress:
        layers = find(lm, encoded[split], out, passages=passages, exact=exact, progress=progress)
    best = [
        {
            "layer": number, "neuron": neuron, "peak": float(layer.activation[neuron, 0]), "mean": float(layer.mean[neuron]),
            "word": vocabulary[layer.ids[neuron, 0, BEFORE]],
            "raises": [vocabulary[i] for i in layer.raised[neuron, :5]] if len(layer.raised) else [],
        }
        for number, layer in enumerate(layers)
        for neuron in (-abs(layer.activation[:, 0])).argsort(kind="stable")[:3].tolist()
    ]  # fmt: skip
    counts = {"stories": len(encoded[split]), "neurons": sum(len(layer.mean) for layer in layers)}
    payload = {"page": str(out), "table": str(out.with_suffix(".parquet")), **counts, "strongest": best}

    def show() -> str:
        rows = [
            [f"{n['layer']}.{n['neuron']}", f"{n['peak']:.1f}", f"{n['mean']:.2f}", n["word"], ", ".join(n["raises"])]
            for n in best
        ]
        shown = table(rows, ["neuron", "peak", "mean", "at", "raises"])
        return f"{shown}\n\nwrote {out}: {counts['neurons']:,} neurons over {counts['stories']:,} stories"

    emit(payload, show, then=f"open {out} in a browser")
