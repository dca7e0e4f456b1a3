"""The command line of ts_train: each command is a thin layer over one Python call."""

from ts_models.console import make_app
from ts_models.console import run as run_app  # `run` is the submodule here

from ..__about__ import __version__
from .run import plot, prefer, resume
from .run import run as run_command
from .studies import ablate, ladder, search

app = make_app("ts-train", "Training of small language models: exact resume, mixed precision, torchrun.", __version__)
app.command("run", schema="ts_train.schemas:TrainConfig")(run_command)
app.command("resume")(resume)
app.command("plot")(plot)
app.command("prefer", schema="ts_train.schemas:PreferenceConfig")(prefer)
app.command("search", schema="ts_train.studies.schemas:SearchConfig")(search)
app.command("ladder", schema="ts_train.studies.schemas:LadderConfig")(ladder)
app.command("ablate", schema="ts_train.studies.schemas:AblationConfig")(ablate)


def main() -> None:
    """The console script."""
    run_app(app)
