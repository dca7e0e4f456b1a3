"""Bits per byte of stories, comparable over vocabularies: includes the bits of `<unk>`, case and blanks (see ts_tokenizer)."""

import math

from ..schemas import MetricInfo
from .base import Ratio, ScoredStories, ScoreMetric


def _per_story(scored: ScoredStories) -> Ratio | None:
    if scored.bits is None:
        return None
    nll = [-float(story.sum(dtype="f8")) for story in scored.logprobs]
    bits = [n / math.log(2) + float(b.sum()) for n, b in zip(nll, scored.bits, strict=True)]
    return Ratio(bits, [float(len(text.encode())) for text in scored.texts], per_story=True)


REPORTED = {
    "bits_per_byte": ScoreMetric(
        MetricInfo(
            title="Bits per byte",
            unit="bits/byte",
            better="lower",
            description="Model bits over whole stories + bits to spell what <unk> hides + bits to restore case and blanks, "
            "per UTF-8 byte. Compares models of any vocabulary.",
            summary="perplexity",
        ),
        _per_story,
    )
}
