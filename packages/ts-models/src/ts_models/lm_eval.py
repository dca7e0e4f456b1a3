"""`python -m ts_models.lm_eval`: the command line of the lm-evaluation-harness, with the model `ts-models` registered."""

if __name__ == "__main__":
    import lm_eval.models  # noqa: F401 - registers the harness's own models
    from lm_eval.__main__ import cli_evaluate

    import ts_models.integrations.lm_eval  # noqa: F401 - registers ours

    cli_evaluate()
