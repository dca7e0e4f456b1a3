"""What a model does with one text, as numbers: surprise, attention, logit lens, neurons, embeddings. Drawn by `page`."""

import base64
import math
from typing import Any

import torch
from torch import Tensor

from ..errors import ContextError
from ..language_model import LanguageModel
from .tracing import Points, points_of, trace

_NEURONS = 24
"""Neurons shown, of all layers together."""
_NEAR = 6
"""Neighbours of a word, and words that a neuron writes."""


@torch.inference_mode()
def analyse(lm: LanguageModel, text: str, *, max_new_tokens: int = 0) -> dict[str, Any]:
    """Read a text, continued greedily by `max_new_tokens`, and collect what the page shows. JSON values only.

    Sections that a kind of network does not have are empty. Raises ContextError for more tokens than the model was trained with.
    """
    vocabulary, config = lm.vocabulary(), lm.config
    ids = lm.encode_prompt(text)
    if max_new_tokens:
        ids = ids + lm.write(text, method="greedy", max_new_tokens=max_new_tokens)[0].ids
    if not 2 <= len(ids) <= config.max_seq_len:
        raise ContextError(f"the text has {len(ids)} tokens; from 2 to {config.max_seq_len} can be shown. Give another text.")
    points, row = points_of(lm.model), torch.tensor([ids], device=lm.model.device)
    wanted = [] if points is None else [name for name in (points.stream, points.neurons, points.patterns) if name]
    with trace(lm.model, *wanted) as t:
        logits = lm.model(row)[0].float().cpu()

    def layers(part: str) -> list[Tensor]:
        pattern: str | None = getattr(points, part, None)
        return [] if pattern is None else [t[name][0].float().cpu() for name in t.match(pattern)]

    patterns = layers("patterns")
    vectors = _directions(lm)
    return {
        "model": repr(lm).removeprefix("<LanguageModel ").rstrip(">"),
        "text": text,
        "unknown": lm.unknown_words(text),
        "words": [vocabulary[number] for number in ids],
        "given": len(lm.encode_prompt(text)),
        "surprise": _surprise(logits, ids, vocabulary),
        "attention": [_bytes(pattern) for pattern in patterns],
        "heads": [
            _describe_head(head, ids, vectors) | {"layer": layer, "head": number}
            for layer, pattern in enumerate(patterns)
            for number, head in enumerate(pattern)
        ],
        "lens": [_lens_row(lm, stream, ids, vocabulary) for stream in layers("stream")],
        "neurons": [] if points is None else _neurons(lm, points, layers("neurons"), vocabulary),
        "map": _map(vectors, ids, vocabulary, {*config.banned_ids, config.eos_id}),
    }


def _surprise(logits: Tensor, ids: list[int], vocabulary: list[str]) -> list[dict[str, Any]]:
    """For each token after the first: probability, bits, and the likeliest tokens in its place."""
    chances = logits[:-1].softmax(-1)
    found = []
    for place, number in enumerate(ids[1:]):
        chance = float(chances[place, number])
        best = chances[place].topk(min(5, len(vocabulary)))
        likely = _rounded(vocabulary, best.indices, best.values)
        bits = -float(logits[place].double().log_softmax(-1)[number]) / math.log(2)
        found.append({"p": chance, "bits": round(bits, 3), "likely": likely})
    return found


def _rounded(vocabulary: list[str], ids: Tensor, values: Tensor, digits: int = 4) -> list[list[Any]]:
    """Words, each with its value."""
    return [[vocabulary[i], round(value, digits)] for i, value in zip(ids.tolist(), values.tolist(), strict=True)]


def _bytes(pattern: Tensor) -> str:
    """[heads, time, time] as base64 of one byte a weight, 255 for 1."""
    return base64.b64encode((pattern * 255).round().to(torch.uint8).numpy().tobytes()).decode("ascii")


def _describe_head(pattern: Tensor, ids: list[int], vectors: Tensor) -> dict[str, float | str]:
    """Shares of a head's attention [time, time], averaged over all tokens but the first, which can only read itself.

    `same`: earlier occurrences of the token itself; `semantic`: how much closer in embedding the words that it reads are to the
    reading word than the words that it could read, as a difference of cosines, both without the word itself.
    """
    time, rows = len(ids), slice(1, None)
    steps, numbers = torch.arange(time), torch.tensor(ids)
    back = steps[:, None] - steps[None, :]
    same = (numbers[:, None] == numbers[None, :]) & (back > 0)
    others = (numbers[:, None] != numbers[None, :]) & (back > 0)
    cosines = vectors[numbers] @ vectors[numbers].T
    read = (pattern * others * cosines).sum(-1) / (pattern * others).sum(-1).clamp(min=1e-9)
    there = (others * cosines).sum(-1) / others.sum(-1).clamp(min=1)

    def mean(weights: Tensor) -> float:
        return float((pattern * weights).sum(-1)[rows].mean())

    found = {
        "distance": mean(back),
        "previous": mean(back == 1),
        "itself": mean(back == 0),
        "first": mean((steps == 0)[None, :] & (back > 0)),
        "same": mean(same),
        "semantic": float((read - there)[rows].mean()),
        "entropy": float(torch.special.entr(pattern).sum(-1)[rows].mean()) / math.log(2),
    }
    kinds = {"previous": "previous token", "itself": "itself", "first": "first token", "same": "same word"}
    best = max(kinds, key=lambda name: found[name])
    label = kinds[best] if found[best] >= 0.4 else "related words" if found["semantic"] >= 0.1 else "mixed"
    return {**{name: round(value, 3) for name, value in found.items()}, "label": label}


def _lens_row(lm: LanguageModel, stream: Tensor, ids: list[int], vocabulary: list[str]) -> list[dict[str, Any]]:
    """What the output layer would say after this layer: the likeliest words at each token, and the chance of the real next one."""
    network: Any = lm.model
    norm = getattr(network, "norm", torch.nn.Identity())
    chances = network.logits(norm(stream.to(lm.model.device, lm.model.dtype))).float().softmax(-1).cpu()
    best = chances.topk(min(3, len(vocabulary)))
    following = [*ids[1:], None]
    return [
        {"top": _rounded(vocabulary, numbers, values), "next": None if after is None else round(float(row[after]), 4)}
        for numbers, values, row, after in zip(best.indices, best.values, chances, following, strict=True)
    ]


def _neurons(lm: LanguageModel, points: Points, layers: list[Tensor], vocabulary: list[str]) -> list[dict[str, Any]]:
    """The neurons of each layer that write most here: the largest activation × length of what the neuron adds to the stream."""
    found = []
    for layer, activations in enumerate(layers):
        outputs = points.neuron_output(layer)
        outputs = None if outputs is None else outputs.detach().float().cpu()
        strength = activations.abs().amax(0) * (1 if outputs is None else outputs.norm(dim=1))
        best = strength.topk(min(max(_NEURONS // len(layers), 3), len(strength)))
        for number, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            here = activations[:, number]
            peak = float(here[here.abs().argmax()])
            words = [] if outputs is None else _promoted(lm, outputs[number] * (1 if peak >= 0 else -1), vocabulary)
            values = [round(x, 3) for x in here.tolist()]
            found.append({"layer": layer, "neuron": number, "strength": value, "peak": peak, "values": values, "promotes": words})
    return found


def _promoted(lm: LanguageModel, direction: Tensor, vocabulary: list[str]) -> list[str]:
    """The words whose logits a direction of the stream raises most."""
    return [vocabulary[i] for i in logit_effects(lm, direction[None])[0].topk(min(_NEAR, len(vocabulary))).indices.tolist()]


def logit_effects(lm: LanguageModel, outputs: Tensor) -> Tensor:
    """What directions of the stream [n, d_model] do to the logits [n, vocab], to first order: the final norm as its weight alone.

    -inf for tokens that are never written.
    """
    network: Any = lm.model
    weight = getattr(getattr(network, "norm", None), "weight", None)
    outputs = outputs.to(network.device, network.dtype)
    outputs = outputs if weight is None else outputs * weight
    effects: Tensor = (network.logits(outputs) - network.logits(torch.zeros_like(outputs[:1]))).float().cpu()
    effects[:, list(lm.config.banned_ids)] = -torch.inf
    return effects


def _directions(lm: LanguageModel) -> Tensor:
    """Embeddings of unit length, [vocab, d_model]."""
    embedding: Any = lm.model.embedding
    return torch.nn.functional.normalize(embedding.weight.detach().float().cpu(), dim=1)


def _map(vectors: Tensor, ids: list[int], vocabulary: list[str], special: set[int]) -> dict[str, Any]:
    """The text's words and their nearest neighbours in the plane of the two largest principal components of these words."""

    def neighbours(numbers: list[int]) -> Any:
        cosines = vectors[numbers] @ vectors.T
        cosines[:, [number for number in special if number >= 0]] = -2.0
        cosines[range(len(numbers)), numbers] = -2.0
        return cosines.topk(min(_NEAR, len(vocabulary) - 1), dim=1)

    own = [number for number in dict.fromkeys(ids) if number not in special]
    if not own:
        return {"points": [], "share": 0.0, "near": {}}
    shown = list(dict.fromkeys([*own, *neighbours(own).indices[:, :2].flatten().tolist()]))
    near = neighbours(shown)
    centred = vectors[shown] - vectors[shown].mean(0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    places = places / places.abs().amax().clamp(min=1e-9)
    known = set(own)
    return {
        "points": [
            {"word": vocabulary[number], "own": number in known, "x": round(x, 4), "y": round(y, 4)}
            for number, (x, y) in zip(shown, places.tolist(), strict=True)
        ],
        "share": round(float(spread[:2].square().sum() / spread.square().sum().clamp(min=1e-9)), 3),
        "near": {
            vocabulary[number]: _rounded(vocabulary, numbers, values, digits=3)
            for number, numbers, values in zip(shown, near.indices, near.values, strict=True)
        },
    }
