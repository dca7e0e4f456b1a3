"""The closest training stories of a generated story. Maxima: each grows with the number of training stories."""

from ..schemas import MetricInfo
from .base import Metric, SearchMetric

REPORTED: dict[str, Metric] = {
    "max_cosine": SearchMetric(
        MetricInfo(
            title="Closest training story (cosine)",
            better="not above real",
            description="Largest TF-IDF cosine to any training story. Grows with their number: compare with the real row.",
            summary="overfitting",
            label="Closest training story",
        ),
        lambda story: story.closest.score if story.closest and story.text else None,
    ),
    "max_train_rouge2": SearchMetric(
        MetricInfo(
            title="Largest ROUGE-2 precision in train",
            better="not above real",
            description="Share of the text's word pairs that stand in one training story, the best of all. Grows with their "
            "number: compare with the real row.",
            summary="overfitting",
            label="Max ROUGE-2 in train",
        ),
        lambda story: story.rouge2.score if story.rouge2 else None,
    ),
    "max_train_rouge2_other": Metric(
        MetricInfo(
            title="The same, without its own story",
            better="not above real",
            description="As above, the story that the prompt was taken from left out.",
        )
    ),
    "span_words": SearchMetric(
        MetricInfo(
            title="Longest exact span",
            unit="words",
            better="not above real",
            description="Longest run of words that some training story holds too; case and punctuation ignored.",
            summary="overfitting",
        ),
        lambda story: float(story.span.words) if story.span and story.text else None,
    ),
    "span_share": SearchMetric(
        MetricInfo(
            title="Share of the story in that span",
            better="not above real",
            description="Words of the longest span per word.",
            chart=False,
        ),
        lambda story: story.span.share if story.span and story.text else None,
    ),
    "template_words": SearchMetric(
        MetricInfo(
            title="Longest span under renaming",
            unit="words",
            better="not above real",
            description="Longest run in common once names and rare words are masked on both sides.",
        ),
        lambda story: float(story.template.words) if story.template and story.text else None,
    ),
    "plot_cosine": SearchMetric(
        MetricInfo(
            title="Closest plot",
            better="not above real",
            description="Largest cosine of sentence embeddings to any training story.",
        ),
        lambda story: story.plot.score if story.plot else None,
    ),
}
