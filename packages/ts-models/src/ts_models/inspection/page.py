"""The self-contained HTML pages of `look` and `neurons`, and the Parquet table of `neurons`. No server, no network."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..artefact import StrPath, check_file, lock, write_file, write_text
from ..console import Progress
from ..errors import ConfigError, MissingExtraError
from ..export.to_html import fill, read_parts, script_data
from ..io.loading import load
from ..language_model import LanguageModel
from .analysis import analyse
from .neurons import BEFORE, LayerNeurons, find_passages

_STATIC = Path(__file__).parent / "static"


def look(model: StrPath | LanguageModel, text: str, out: StrPath, *, max_new_tokens: int = 0) -> dict[str, Any]:
    """Write a page on what a model does with a text to `out`, and return its numbers (see `analysis.analyse`).

    The page shows the surprise at each token, the attention of each head, the logit lens, the most active neurons and the embeddings.
    max_new_tokens: let the model continue the text greedily first, and show that as well.
    Raises ConfigError where `out` is a file that is no such page, ContextError for a text longer than the model's context.
    """
    _check_page(out, "look")
    lm = model if isinstance(model, LanguageModel) else load(model)
    found = analyse(lm, text, max_new_tokens=max_new_tokens)
    _write_page(out, "look", found)
    return found


def _check_page(out: StrPath, name: str) -> None:
    """Raise ConfigError where `out` is a file that is no earlier page of this name."""
    check_file(out, "an earlier page", lambda start: _mark(name).encode() in start, error=ConfigError)


def _write_page(out: StrPath, name: str, found: dict[str, Any]) -> None:
    """Write the page with its data, style and script inside."""
    parts = {
        "<!--generator-->": _mark(name),
        "/*style*/": read_parts(_STATIC / "page.css"),
        "/*script*/": read_parts(_STATIC / "page.js", _STATIC / f"{name}.js"),
        "/*data*/": script_data(found),
    }
    write_text(out, fill(read_parts(_STATIC / f"{name}.html"), parts))


def _mark(name: str) -> str:
    return f'<meta name="generator" content="ts-models {name}">'


# --- neurons -------------------------------------------------------------------------------------


def neurons(
    model: StrPath | LanguageModel,
    stories: Iterable[ArrayLike],
    out: StrPath,
    *,
    passages: int = 8,
    exact: bool = False,
    progress: Progress | None = None,
) -> list[LayerNeurons]:
    """Read a corpus, and write the passages that activate each neuron most to the page `out` and to a Parquet file beside it.

    stories: ids `<bos> … <eos>` of each story, such as a split of `ts_tokenizer.open_encoded`. They are streamed.
    passages: how many to keep for a neuron. exact: see `find_passages`, whose layers are returned.
    Raises ConfigError where `out` is a file that is no such page, MissingExtraError without pyarrow.
    """
    _check_page(out, "neurons")
    table = Path(out).with_suffix(".parquet")
    check_file(table, "the table of an earlier page", lambda start: Path(out).exists(), error=ConfigError)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError('the table of neurons needs pyarrow. Run: pip install "ts-models[text]"') from None
    lm = model if isinstance(model, LanguageModel) else load(model)
    vocabulary = lm.vocabulary()
    with lock(out, error=ConfigError):
        layers = find_passages(lm, stories, passages=passages, exact=exact, progress=progress)
        _write_page(out, "neurons", _page(lm, layers, vocabulary))
        with write_file(table) as partial, partial.open("wb") as handle:  # pyarrow takes no name that is not UTF-8
            columns = [pa.Table.from_pylist(list(_rows(number, layer, vocabulary))) for number, layer in enumerate(layers)]
            pq.write_table(pa.concat_tables(columns, promote_options="permissive"), handle)
    return layers


def _rows(number: int, layer: LayerNeurons, vocabulary: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each passage of a layer."""
    words = np.array(vocabulary, dtype=object)
    for neuron, mean in enumerate(layer.mean.tolist()):
        known = {"layer": number, "neuron": neuron, "mean": mean}
        if len(layer.raised):
            for name, ids, by in (("raises", layer.raised, layer.raised_by), ("lowers", layer.lowered, layer.lowered_by)):
                known |= {name: words[ids[neuron]].tolist(), f"{name}_by": by[neuron].tolist()}
        for rank, activation in enumerate(layer.activation[neuron].tolist()):
            shown = layer.ids[neuron, rank] >= 0
            if activation:
                yield known | {
                    "rank": rank, "activation": activation, "word": words[layer.ids[neuron, rank, BEFORE]],
                    "story": int(layer.story[neuron, rank]), "token": int(layer.token[neuron, rank]),
                    "words": words[layer.ids[neuron, rank, shown]].tolist(), "values": layer.values[neuron, rank, shown].tolist(),
                }  # fmt: skip


def _page(lm: LanguageModel, layers: list[LayerNeurons], vocabulary: list[str]) -> dict[str, Any]:
    """The page's data: neurons that reach a hundredth of their layer's peak, their passages as base64 of ids and of bytes, 127 for a neuron's peak."""
    wide = np.uint16 if len(vocabulary) < 1 << 16 else np.uint32
    return {
        "model": repr(lm).strip("<>"),
        "vocabulary": vocabulary,
        "before": BEFORE,
        "ids": "Uint16Array" if wide is np.uint16 else "Uint32Array",
        "layers": [_page_layer(layer, wide) for layer in layers],
    }


def _page_layer(layer: LayerNeurons, wide: type[np.unsignedinteger[Any]]) -> dict[str, Any]:
    strongest = np.abs(layer.activation[:, 0])
    alive = np.flatnonzero(strongest > strongest.max() / 100)
    peak = layer.activation[alive, :1, None]
    return {
        "size": len(layer.mean),
        "neurons": alive.tolist(),
        "mean": [float(f"{mean:.3g}") for mean in layer.mean[alive].tolist()],
        "activations": np.round(layer.activation[alive], 2).tolist(),
        "stories": layer.story[alive].tolist(),
        "ids": _bytes(layer.ids[alive].astype(wide)),
        "values": _bytes(np.round(layer.values[alive] / np.abs(peak) * 127).astype(np.int8)),
        "raises": layer.raised[alive].tolist() if len(layer.raised) else [],
        "lowers": layer.lowered[alive].tolist() if len(layer.lowered) else [],
    }


def _bytes(array: NDArray[Any]) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")
