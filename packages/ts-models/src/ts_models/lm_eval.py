"""`python -m ts_models.lm_eval`: the command line of the lm-evaluation-harness, with the model `ts-models` and ties as half.

The result tables get two more rows for each task with `acc`; see `ts_models.integrations.lm_eval.half_ties`.
"""

from typing import Any


def main() -> None:
    """Run the harness's command line on `sys.argv`."""
    import lm_eval
    import lm_eval.evaluator
    import lm_eval.models  # registers the harness's own models
    from lm_eval.__main__ import cli_evaluate

    from .integrations.lm_eval import half_ties

    original = lm_eval.evaluator.simple_evaluate

    def evaluate(*args: Any, **options: Any) -> Any:
        results = original(*args, **{**options, "log_samples": True})
        return results if results is None else half_ties(results)  # None on ranks other than 0

    lm_eval.simple_evaluate = lm_eval.evaluator.simple_evaluate = evaluate
    cli_evaluate()


if __name__ == "__main__":
    main()
