"""The command line of ts_eval: each verb is a thin layer over one Python call."""

from ts_data.console import make_app, run

from ..__about__ import __version__
from .judging import best, calibrate, judge, optimise_prompt, panel, rate
from .measures import extraction, instruct, probe, sweep
from .report import memorisation, overfitting, paper, perplexity, report

app = make_app("ts-eval", "Metrics, memorisation, the LLM judge and reports for small story language models.", __version__)
_EVAL, _JUDGE = "ts_eval.schemas:EvalConfig", "ts_eval.schemas:JudgeConfig"

app.command("report", schema=_EVAL)(report)
app.command("perplexity", schema=_EVAL)(perplexity)
app.command("memorisation", schema=_EVAL)(memorisation)
app.command("overfitting", schema=_EVAL)(overfitting)
app.command("paper", schema=_EVAL)(paper)
app.command("extraction")(extraction)
app.command("sweep", schema="ts_eval.schemas:SweepConfig")(sweep)
app.command("probe")(probe)
app.command("instruct", schema="ts_models.schemas:GenerationConfig")(instruct)
app.command("best", schema="ts_models.schemas:GenerationConfig")(best)
app.command("judge", schema=_JUDGE)(judge)
app.command("calibrate", schema=_JUDGE)(calibrate)
app.command("panel")(panel)
app.command("optimise-prompt", schema=_JUDGE)(optimise_prompt)
app.command("rate")(rate)


def main() -> None:
    """The console script."""
    run(app)
