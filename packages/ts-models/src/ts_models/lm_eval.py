"""The harness's own command line, with our model among its names."""

import lm_eval.models  # noqa: F401  # the harness's names; ours came with the package
from lm_eval.__main__ import cli_evaluate

if __name__ == "__main__":
    cli_evaluate()
