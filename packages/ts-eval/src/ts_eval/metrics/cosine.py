"""TF-IDF cosine of completions and true endings, with the word weights of the training stories."""

from ..schemas import MetricInfo
from .base import EndingMetric

REPORTED = {
    "cosine": EndingMetric(
        MetricInfo(
            title="TF-IDF cosine",
            better="above chance",
            description="Cosine of the completion and the true ending; word weights fitted on the training stories.",
            summary="memorisation",
            label="Completion cosine",
            reference="the end of another real story",
        ),
        lambda endings: endings.index.cosine(endings.completions, endings.references),
    )
}
