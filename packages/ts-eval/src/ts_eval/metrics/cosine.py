"""TF-IDF cosine of completions and true endings, with the word weights of the training stories."""

from .base import EndingMetric, described

REPORTED = {
    "cosine": EndingMetric(described("cosine"), lambda endings: endings.index.cosine(endings.completions, endings.references))
}
