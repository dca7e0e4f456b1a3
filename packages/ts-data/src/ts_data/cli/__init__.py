"""The command line of ts_data: one module per verb, each a thin layer over one Python call."""

from __future__ import annotations

from ..__about__ import __version__
from ..console import make_app, run
from .download import download
from .instruct import instruct
from .leakage import leakage
from .prepare import prepare
from .sample import sample
from .show import show
from .stats import stats

app = make_app("ts-data", "Cleaning, de-duplication, splits and statistics for story corpora.", __version__)
_SCHEMAS = {prepare: "PrepareConfig", leakage: "NearConfig", instruct: "InstructConfig"}
for _verb in (sample, download, prepare, stats, show, leakage, instruct):
    app.command(schema=f"ts_data.schemas:{_SCHEMAS[_verb]}" if _verb in _SCHEMAS else None)(_verb)


def main() -> None:
    """The console script."""
    run(app)
