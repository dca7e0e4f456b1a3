"""The closest training stories of a generated story. Maxima: each grows with the number of training stories."""

from .base import Metric, SearchMetric, described

REPORTED: dict[str, Metric] = {
    "max_cosine": SearchMetric(
        described("max_cosine"), lambda story: story.closest.score if story.closest and story.text else None
    ),
    "max_train_rouge2": SearchMetric(described("max_train_rouge2"), lambda story: story.rouge2.score if story.rouge2 else None),
    "max_train_rouge2_other": Metric(described("max_train_rouge2_other")),
    "span_words": SearchMetric(
        described("span_words"), lambda story: float(story.span.words) if story.span and story.text else None
    ),
    "span_share": SearchMetric(described("span_share"), lambda story: story.span.share if story.span and story.text else None),
    "template_words": SearchMetric(
        described("template_words"), lambda story: float(story.template.words) if story.template and story.text else None
    ),
    "plot_cosine": SearchMetric(described("plot_cosine"), lambda story: story.plot.score if story.plot else None),
}
