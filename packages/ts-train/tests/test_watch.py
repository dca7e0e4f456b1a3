"""What people see and what TensorBoard gets, from one tiny run."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ts_train import TrainConfig, plot, train
from ts_train.cli.live_line import LiveLine, _clock
from ts_train.errors import ArtefactError
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
    train(config(), data, tmp_path / "run", callbacks=[LiveLine()])
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


def test_tensorboard_gets_every_step(tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config(sinks=("tensorboard",)), data, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 9))
    assert [e.step for e in events.Scalars("validation/loss")] == [4, 8]


def test_plot_draws_several_runs_and_refuses_an_empty_one(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig]
) -> None:
    for name in ("a", "b"):
        train(config(), data, tmp_path / name)
    picture = plot([tmp_path / "a", tmp_path / "b"], tmp_path / "new" / "loss.svg")
    text = picture.read_text()
    assert all(label in text for label in ("optimizer steps", "seconds of training", "tokens", "FLOPs"))
    (tmp_path / "a" / "metrics.jsonl").write_text("")
    with pytest.raises(ArtefactError, match="holds no step"):
        plot([tmp_path / "a"], tmp_path / "loss.png")


def test_clock() -> None:
    assert (_clock(59.9), _clock(61), _clock(3723)) == ("0:59", "1:01", "1:02:03")
