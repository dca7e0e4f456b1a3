"""The judge without a language model against the mean rating, on models not used in fitting. `--write` renews the packaged weights.

python bench/eval_feature_judge.py --ratings gpt4o-rated-stories.jsonl --reference tinystories-real-sample.txt
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from _feature_fit import fit, held_out_predictions

from ts_data.artefact import write_model
from ts_eval.calibration.recalibrate import fit_recalibration
from ts_eval.judge.backends.features import read_reference
from ts_eval.judge.features.reference import Reference
from ts_eval.judge.files import read_stories
from ts_eval.schemas import CATEGORIES

SHARED = next((p / "shared/data" for p in Path(__file__).resolve().parents if (p / "shared/data").is_dir()), Path("shared/data"))


def recalibrated(
    predicted: np.ndarray, texts: list[str], ratings: list[list[float]], families: list[str], reference: Reference | None
) -> np.ndarray:
    """The predictions for each family through monotone functions that were fitted without it: on predictions for each of the others."""
    group, changed = np.array(families), predicted.copy()
    for family in sorted(set(families)):
        others = np.flatnonzero(group != family)
        some = [[values[i] for i in others] for values in (texts, ratings, families)]
        inner, _ = held_out_predictions(*some, reference)
        for k in range(len(CATEGORIES)):
            found = fit_recalibration(inner[:, k].tolist(), [ratings[i][k] for i in others])
            if found is not None:
                held = group == family
                changed[held, k] = np.interp(predicted[held, k], found.judge, found.reference)
    return changed


def agreement(judged: np.ndarray, target: np.ndarray) -> str:
    """Pearson's r with its bootstrap interval, and the mean absolute error."""
    draw = np.random.default_rng(1)
    picks = draw.integers(0, len(target), (2000, len(target)))
    low, high = np.percentile([np.corrcoef(judged[p], target[p])[0, 1] for p in picks], [2.5, 97.5])
    return f"{np.corrcoef(judged, target)[0, 1]:5.2f} [{low:.2f}, {high:.2f}] {np.abs(judged - target).mean():5.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=Path, default=SHARED / "gpt4o-rated-stories.jsonl")
    parser.add_argument("--reference", type=Path, default=SHARED / "tinystories-real-sample.txt")
    parser.add_argument("--small", action="store_true", help="the plain features only, without a reference")
    parser.add_argument("--write", type=Path, help="folder for plain.json and reference.json")
    args = parser.parse_args()
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    stories = [s for s in read_stories(args.ratings) if s.ratings]
    ratings = [list(s.ratings[0].values()) for s in stories]
    for reference in [None] if args.small else [None, read_reference(str(args.reference))]:
        started = time.perf_counter()
        judge = fit([s.text for s in stories], ratings, [s.source or "" for s in stories], reference)
        error = judge.weights.held_out
        print(
            f"\n{judge.weights.features}: {len(stories)} stories of {judge.weights.models} models, {time.perf_counter() - started:.1f} s"
        )
        print("category      MAE  mean's MAE  ratio  squared error saved  r of model means")
        for name in CATEGORIES:
            r = error.correlation_of_model_means[name]
            print(
                f"{name:<12}{error.mae[name]:5.2f}{error.mae_of_mean[name]:12.2f}{error.mae[name] / error.mae_of_mean[name]:7.2f}"
                f"{error.squared_error_saved[name]:21.1%}{'' if r is None else f'{r:18.2f}'}"
            )
        mine, mean = (float(np.mean(list(d.values()))) for d in (error.mae, error.mae_of_mean))
        print(f"all         {mine:5.2f}{mean:12.2f}{mine / mean:7.2f}{error.squared_error_saved_in_all:21.1%}")
        texts, families = [s.text for s in stories], [(s.source or "").split("_")[0] for s in stories]
        predicted, _ = held_out_predictions(texts, ratings, families, reference)
        print(f"\nheld out by family ({', '.join(sorted(set(families)))}); r, its interval over resampled stories, MAE")
        print("category          raw                    recalibrated")
        targets = np.array(ratings, dtype=float)
        changed = recalibrated(predicted, texts, ratings, families, reference)
        for k, name in enumerate([*CATEGORIES, "mean"]):
            columns = [a.mean(axis=1) if name == "mean" else a[:, k] for a in (predicted, changed, targets)]
            print(f"{name:<12}" + "   ".join(agreement(judged, columns[2]) for judged in columns[:2]))
        if args.write:
            write_model(args.write / f"{judge.weights.features}.json", judge.weights)


if __name__ == "__main__":
    main()
