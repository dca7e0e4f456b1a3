"""Ablations of tiny networks: the table, resuming without running a finished cell again, variants that diverge or do not hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import ts_train.run as train_module
from ts_models import artefact
from ts_train import ablate, ladder
from ts_train.errors import ArtefactError, ConfigError, DivergedError, Interrupted
from ts_train.recipes import study_file, study_names
from ts_train.studies.ablation import ablation, mean_interval
from ts_train.studies.schemas import AblationConfig, LadderConfig
from ts_train.studies.trial import folder_name, settings_for
from ts_train.testing import FakeEncoded

WIDE = {"model": {"d_ff": 40}}


@pytest.fixture
def spec(base: dict[str, Any]) -> AblationConfig:
    return AblationConfig(question="Width?", seeds=(1, 2), base=base, variants={"narrow": {}, "wide, 40": WIDE})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were trained in, in order."""
    seen: list[str] = []
    train = train_module.train

    def spying(config: Any, data: Any, out: Path, **options: Any) -> Any:
        seen.append(out.parent.name)
        return train(config, data, out, **options)

    monkeypatch.setattr(train_module, "train", spying)
    return seen


def test_the_interval_of_a_loss_starts_at_0() -> None:
    low, high = mean_interval([3.0, 4.0], least=0.0) or (None, None)
    assert (low, high) == (0.0, pytest.approx(9.853, abs=1e-3))
    assert (mean_interval([3.0, 4.0]) or (0.0,))[0] < 0


def test_table_plot_and_no_second_run(spec: AblationConfig, data: FakeEncoded, tmp_path: Path, trained: list[str]) -> None:
    spec = spec.model_copy(update={"base": {**spec.base, "epochs": 7}})
    warnings: list[str] = []
    report = ablate(spec, data, tmp_path, warn=warnings.append)
    assert warnings == ["epochs = 7 does nothing: max_steps is the limit."], "once for all runs"
    assert trained == [folder_name(n, s) for s in (1, 2) for n in ("narrow", "wide, 40")]
    narrow, wide = report.rows
    assert (narrow.name, narrow.runs, narrow.diverged, wide.against) == ("narrow", 2, 0, "narrow")
    assert wide.parameters > narrow.parameters
    losses = {(c.name, c.seed): c.loss or 0.0 for c in report.cells}
    assert wide.loss == pytest.approx((losses["wide, 40", 1] + losses["wide, 40", 2]) / 2)
    pairs = [losses["wide, 40", seed] - losses["narrow", seed] for seed in (1, 2)]
    assert wide.difference == pytest.approx(sum(pairs) / 2)
    assert wide.difference_interval is not None
    assert wide.difference_interval[0] < wide.difference < wide.difference_interval[1]
    assert narrow.difference == 0.0
    assert (tmp_path / "plot.png").stat().st_size > 5000
    assert not list(tmp_path.rglob("checkpoints"))
    assert len(list(tmp_path.rglob("model.safetensors"))) == 4

    written = json.loads((tmp_path / "results.json").read_text())
    assert written == report.model_dump(mode="json")
    assert ablate(spec, data, tmp_path) == report
    assert len(trained) == 4  # nothing was run again
    more = ablate(spec.model_copy(update={"seeds": (1, 2, 3)}), data, tmp_path)
    assert trained[4:] == [folder_name(n, 3) for n in ("narrow", "wide, 40")]
    assert more.cells[:4] == report.cells


def test_interrupted_it_goes_on_within_the_cell(
    spec: AblationConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ablate(spec, data, tmp_path / "whole")
    train, steps = train_module.train, []

    def interrupted(config: Any, data: Any, out: Path, *, callbacks: Any, **options: Any) -> Any:
        class Kill:
            def on_start(self, run: Any) -> None:
                steps.append(run.start_step)

            def on_step(self, metrics: Any) -> None:
                if len(steps) == 2 and metrics.step == 3:
                    raise Interrupted("stopped and saved at step 3 of 4; go on with: ts-train resume x", 15)

            def on_validation(self, metrics: Any) -> None: ...

            def on_end(self, state: Any) -> None: ...

        return train(config, data, out, callbacks=[*callbacks, Kill()], **options)

    monkeypatch.setattr(train_module, "train", interrupted)
    with pytest.raises(
        Interrupted, match=r"^wide, 40: stopped and saved at step 3 of 4; the same command goes on with the study$"
    ):
        ablate(spec, data, tmp_path / "cut")
    cut = ablate(spec, data, tmp_path / "cut")
    assert steps == [0, 0, 2, 0, 0]  # the second cell went on from its checkpoint; the first was not run again
    assert [c.loss for c in cut.cells] == [c.loss for c in whole.cells]


def test_a_diverged_run_is_counted_and_in_no_mean(
    spec: AblationConfig, data: FakeEncoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = train_module.train

    def diverging(config: Any, data: Any, out: Path, **options: Any) -> Any:
        run = train(config, data, out, **options)
        if config.model["d_ff"] == 40:
            raise DivergedError("10 steps in a row were not finite")
        return run

    monkeypatch.setattr(train_module, "train", diverging)
    wide = ablate(spec, data, tmp_path).rows[1]
    assert (wide.runs, wide.diverged, wide.loss, wide.difference, wide.loss_interval) == (2, 2, None, None, None)


def test_two_studies_in_one_folder_are_one_and_a_sentence(spec: AblationConfig, data: FakeEncoded, tmp_path: Path) -> None:
    sizes = LadderConfig(
        base={**spec.base, "max_steps": None}, sizes={str(n): {"model": {"d_ff": n}} for n in (8, 9, 10)}, tokens=(1, 2, 3)
    )
    with artefact.lock(tmp_path / "results.json"):
        for start in (lambda: ablate(spec, data, tmp_path), lambda: ladder(sizes, data, tmp_path)):
            with pytest.raises(ArtefactError, match="is writing here"):
                start()
    assert not (tmp_path / "cells").exists()


def test_other_settings_or_data_in_the_same_folder_are_refused(spec: AblationConfig, data: FakeEncoded, tmp_path: Path) -> None:
    one = spec.model_copy(update={"seeds": (1,)})
    ablate(one, data, tmp_path)
    with pytest.raises(ArtefactError, match="other settings or data"):
        ablate(one.model_copy(update={"base": {**one.base, "max_steps": 3}}), data, tmp_path)


def test_a_bad_variant_is_named_before_anything_is_trained(
    spec: AblationConfig, data: FakeEncoded, tmp_path: Path, trained: list[str]
) -> None:
    bad = spec.model_copy(update={"variants": {"narrow": {}, "odd": {"optimizer": {"lrr": 1}}}})
    with pytest.raises(ConfigError, match=r"variant 'odd'.*lrr"):
        ablate(bad, data, tmp_path)
    zoo = AblationConfig(question="?", base={"preset": "talk-1m"}, variants={"a": {}, "b": {"model": {"n_heads": 3}}})
    with pytest.raises(ConfigError, match=r"variant 'b'.*n_heads"):
        ablate(zoo, data, tmp_path)
    assert trained == []
    with pytest.raises(ValueError, match="names no variant: b"):
        AblationConfig(question="?", base={}, variants={"a": {}, "c": {}}, against={"b": "a"})


def test_the_shipped_ablations_hold() -> None:
    names = study_names("ablations")
    assert names == [
        "balance",
        "batch-size",
        "curriculum",
        "dropout",
        "heads",
        "norm",
        "positions",
        "precision",
        "recipe",
        "scheduler",
    ]
    for name in names:
        spec = ablation(name)
        assert len(spec.seeds) >= 2
        settings = {n: settings_for(spec.base, changes, where=n) for n, changes in spec.variants.items()}
        assert len({str(config) for config in settings.values()}) == len(settings), f"{name}: two variants are the same"


def test_balance_is_of_equal_size() -> None:
    from ts_models import count_parameters, preset

    spec = ablation("balance")
    sizes = [count_parameters(preset("talk-1m", **changes.get("model", {}))) for changes in spec.variants.values()]
    assert max(sizes) / min(sizes) < 1.001


def test_an_unknown_ablation_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="balance, batch-size"):
        study_file("ablations", tmp_path / "nothing.toml")


def test_ladders_and_searches_have_names_as_well(tmp_path: Path) -> None:
    """No command needs the folder of recipes, which a wheel does not unpack where the user works."""
    assert study_file("ladders", "story").name == "story.toml"
    assert study_file("searches", "learning-rates").name == "learning-rates.toml"
    with pytest.raises(ConfigError, match=r"none of the ladders has that name. There are: story"):
        study_file("ladders", "tale")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"d_model": 15}}, "variant 'b': field `model`"),
        ({"model": {"kind": "perceptron"}}, "variant 'b': .*perceptron"),
        ({"batch": {"context": 99}}, "variant 'b': field `batch.context`: 99 is more than the model's max_seq_len of 16"),
        ({"sinks": ["jsonl", "paper"]}, "variant 'b': field `sinks`: no sink is named 'paper'"),
    ],
)
def test_a_variant_that_no_run_takes_is_named_before_anything_is_trained(
    base: dict[str, Any], data: FakeEncoded, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """With a whole `model` table instead of a preset, and for what a run checks later than its fields."""
    spec = AblationConfig(question="?", seeds=(1,), base=base, variants={"a": {}, "b": changes})
    with pytest.raises(ConfigError, match=message):
        ablate(spec, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_result_says_what_to_do_and_a_killed_cleaning_is_finished(
    spec: AblationConfig, data: FakeEncoded, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"seeds": (1,)})
    report = ablate(spec, data, tmp_path)
    cell = tmp_path / "cells" / folder_name("narrow", 1)
    (cell / "run" / "checkpoints" / "step-00000008").mkdir(parents=True)  # killed between the result and the removal
    assert ablate(spec, data, tmp_path) == report
    assert not (cell / "run" / "checkpoints").exists()
    whole = (cell / "cell.json").read_text()
    (cell / "cell.json").write_text(whole[:40])
    with pytest.raises(ArtefactError, match=f"delete .*{cell.name} to train that run again"):
        ablate(spec, data, tmp_path)
    shutil.rmtree(cell)
    again = ablate(spec, data, tmp_path)
    assert [c.loss for c in again.cells] == [c.loss for c in report.cells]


def test_results_of_a_search_are_not_replaced(spec: AblationConfig, data: FakeEncoded, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": "ts-train/search-report"}')
    with pytest.raises(ArtefactError, match=r"is not the result of `ablate`.* or remove that file"):
        ablate(spec, data, tmp_path)
