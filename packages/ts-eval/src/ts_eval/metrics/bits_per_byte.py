"""Bits per byte of stories, comparable over vocabularies: includes the bits of `<unk>`, case and blanks (see ts_tokenizer)."""

import math

from .base import Ratio, ScoredStories, ScoreMetric, described


def _per_story(scored: ScoredStories) -> Ratio | None:
    if scored.bits is None:
        return None
    nll = [-float(story.sum(dtype="f8")) for story in scored.logprobs]
    bits = [n / math.log(2) + float(b.sum()) for n, b in zip(nll, scored.bits, strict=True)]
    return Ratio(bits, [float(len(text.encode())) for text in scored.texts], per_story=True)


REPORTED = {"bits_per_byte": ScoreMetric(described("bits_per_byte"), _per_story)}
