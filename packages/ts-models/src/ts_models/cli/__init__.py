"""The command line of ts_models: commands by what they do, each a thin layer over one Python call."""

from ..__about__ import __version__
from ..console import make_app, run
from . import _ahead
from .inside import look, neighbours, neurons
from .models import export, list_, show
from .writing import generate, play, prompts

app = make_app(
    "ts-models", "Small story language models: Transformers and recurrent networks, generation, saving and loading.", __version__
)
app.command("list")(list_)
app.command("generate", schema="ts_models.schemas:GenerationConfig")(generate)
for _command in (show, export, neighbours, look, neurons, prompts, play):
    app.command()(_command)


def main() -> None:
    """The console script."""
    _ahead.own_process = True
    run(app)
