"""What people see and what TensorBoard gets, from one tiny run."""

from __future__ import annotations

import io
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from ts_train import BaseCallback, StepMetrics, StopTraining, TrainConfig, plot, train
from ts_train.callbacks import RunInfo
from ts_train.errors import ArtefactError
from ts_train.runtime.live_line import LiveLine, _clock, describe_run
from ts_train.testing import FakeEncoded


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_the_live_line_tells_loss_speed_and_time(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "80")
    train(config(), data, tmp_path / "run", progress=None if terminal else True)  # None: shown on a terminal
    shown = stream.getvalue()
    for part in (
        "parameters, adamw-fused, on cpu",
        "fp32: asked for",
        "step 8/8",
        "tok/s",
        "MFU",
        "left",
        "padding",
        "lr ",
        "validation loss",
    ):
        assert part in shown
    told = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)) if not line.startswith("  »")]
    assert max(map(len, told)) <= 80, "a line is wider than a terminal of 80 columns"
    train(config(), data, tmp_path / "run", progress=True)
    assert "this run is complete" in stream.getvalue()


@pytest.mark.parametrize(("mfu", "shown"), [(0.27, "MFU 27%"), (21.28, None)])
def test_a_share_above_the_peak_is_not_shown(capsys: pytest.CaptureFixture[str], mfu: float, shown: str | None) -> None:
    """A peak that was measured while other programs ran says nothing."""
    metrics = StepMetrics(
        step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=9, seconds=1.0, tokens_per_second=9.0, mfu=mfu, padding=0.03,
        skipped=False, total_steps=1,
    )  # fmt: skip
    live = LiveLine()
    live._begun = time.monotonic()
    live.on_step(metrics)
    line = capsys.readouterr().err
    assert "padding 3%" in line
    assert ("MFU" in line) == (shown is not None)
    assert (shown or "") in line


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_a_validation_shows_how_far_it_is(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    class Hears(BaseCallback):
        seen: ClassVar[list[tuple[int, int]]] = []

        def on_validating(self, done: int, total: int) -> None:
            self.seen.append((done, total))

    class Older:  # of the time before `on_validating`
        on_start = on_step = on_validation = on_end = lambda *_: None

    monkeypatch.setattr(LiveLine, "_show", lambda self, line, **_: print(line, file=sys.stderr))  # not every ten seconds
    monkeypatch.setattr(sys, "stderr", stream := Terminal() if terminal else io.StringIO())
    train(config(max_steps=4), data, tmp_path / "run", progress=True, callbacks=[Hears(), Older()])
    total = Hears.seen[0][1]
    assert Hears.seen == [(done, total) for done in range(1, total + 1)]
    assert "validating: 100%" in stream.getvalue()
    Hears.seen.clear()


def test_the_plan_of_a_run_fits_into_80_columns(tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig]) -> None:
    class Keeps(BaseCallback):
        def on_start(self, run: RunInfo) -> None:
            self.run = run

        def on_step(self, metrics: StepMetrics) -> None:
            raise StopTraining("enough")

    keeps = Keeps()
    train(config(max_steps=None, max_minutes=1), data, tmp_path / "run", callbacks=[keeps])
    manifest = keeps.run.manifest.model_copy(update={"precision_reason": "this CPU gains little over fp32 " * 6})
    told = describe_run(replace(keeps.run, manifest=manifest))
    assert " in 1 minute\n" in told
    assert max(map(len, told.split("\n"))) <= 80


def test_python_shows_nothing_in_a_pipe_or_where_told_so(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, stream, progress in (("pipe", io.StringIO(), None), ("terminal", Terminal(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        train(config(), data, tmp_path / name, progress=progress)
        assert stream.getvalue() == ""


def test_tensorboard_gets_every_step(tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config(sinks=("tensorboard",)), data, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "run"))
    events.Reload()
    assert "_hparams_/session_start_info" in events.summary_metadata
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 9))
    assert [e.step for e in events.Scalars("validation/loss")] == [4, 8]


def test_plot_draws_several_runs_and_refuses_an_empty_one(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig]
) -> None:
    runs = [tmp_path / name / "run" for name in ("a", "b")]
    for run in runs:
        train(config(), data, run)
    picture = plot(runs, tmp_path / "new" / "loss.svg")
    text = picture.read_text()
    for label in ("Training of a/run, b/run", "Loss by tokens", "minutes of training", "FLOPs", "Learning rate"):
        assert label in text
    (runs[0] / "metrics.jsonl").write_text("")
    with pytest.raises(ArtefactError, match="holds no step"):
        plot(runs[:1], tmp_path / "loss.png")


def test_plot_shows_names_as_they_are(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig], recwarn: pytest.WarningsRecorder
) -> None:
    """matplotlib reads a formula between two `$`, and leaves a name with a leading `_` out of the legend."""
    train(config(), data, tmp_path / "$5_vs_$6")
    for name in ("_under", "💥"):
        shutil.copytree(tmp_path / "$5_vs_$6", tmp_path / name)
    text = plot([tmp_path / "$5_vs_$6", tmp_path / "_under", tmp_path / "💥"], tmp_path / "loss.svg").read_text()
    assert "<!-- Training of $5_vs_$6,  _under, 💥 -->" in text
    assert "<!--  _under -->" in text
    assert not [w for w in recwarn if "Glyph" in str(w.message) or "legend" in str(w.message)]


def test_clock() -> None:
    assert (_clock(59.9), _clock(61), _clock(3723)) == ("0:59", "1:01", "1:02:03")
