"""Our models in lm-evaluation-harness: its numbers are ours, and one of its tasks runs through its own evaluator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval", reason="needs the extra `lm-eval`; run by `nox -s integration`")
pytestmark = pytest.mark.integration

import ts_models  # noqa: E402
from ts_models.integrations.lm_eval import StoryLM, half_ties  # noqa: E402


@pytest.fixture(scope="module")
def lm() -> Any:
    return StoryLM("demo", batch_size=4)


def _request(*args: Any) -> Any:
    return SimpleNamespace(args=args)


def test_a_continuation_scores_as_the_model_scores_it(lm: Any) -> None:
    language = ts_models.load("demo")
    pairs = [("Once upon a time", ", there was a girl"), ("", "The cat sat."), ("He", " ran")]
    found = lm.loglikelihood([_request(*pair) for pair in pairs], disable_tqdm=True)
    for (context, continuation), (score, _) in zip(pairs, found, strict=True):
        ids = language.encode_prompt(context + continuation)
        new = len(ids) - len(language.encode_prompt(context)) if context else len(ids) - 1
        with torch.inference_mode():
            scores = language.model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
        expected = scores[range(len(ids) - 1), ids[1:]][-new:].sum()
        assert score == pytest.approx(float(expected), abs=1e-4)


def test_greedy_says_whether_the_model_would_write_it(lm: Any) -> None:
    story = lm.language.generate("Once upon a time", method="greedy", max_new_tokens=6, return_full_text=False)
    likely, unlikely = lm.loglikelihood(
        [_request("Once upon a time", story), _request("Once upon a time", " cat cat cat")], disable_tqdm=True
    )
    assert likely[1] is True
    assert unlikely[1] is False
    assert likely[0] > unlikely[0]


def test_rolling_takes_texts_of_any_length(lm: Any) -> None:
    texts = ["The cat sat.", "Once upon a time there was a cat. " * 120]
    found = lm.loglikelihood_rolling([_request(text) for text in texts], disable_tqdm=True)
    for text, score in zip(texts, found, strict=True):
        expected = ts_models.load("demo").logprobs([text])[0][:-1].astype(np.float64).sum()  # without <eos>
        assert score == pytest.approx(float(expected), rel=1e-5)


def test_writing_ends_before_a_stop_text_and_keeps_the_order(lm: Any) -> None:
    wanted = {"until": ["."], "max_gen_toks": 40}
    contexts = ["Once upon a time", "The dog was", "Once upon a time"]
    texts = lm.generate_until([_request(context, dict(wanted)) for context in contexts], disable_tqdm=True)
    assert texts[0] == texts[2] != texts[1]
    assert all("." not in text for text in texts)
    assert "Once upon a time" + texts[0] == ts_models.load("demo").generate(
        "Once upon a time", stop=["."], method="greedy", max_new_tokens=40
    )


TIED = [("The qwertz was happy.", "The asdfgh was happy."), ("A qwertz ran.", "A yxcvb ran."), ("One asdf sat.", "One fdsa sat.")]
CLEAR = ("Once upon a time, there was a girl.", "Upon once time a, there girl a was.")


def _pairs_task(folder: Path, rows: list[tuple[str, str]], name: str = "pairs") -> Path:
    """A folder with blimp's kind of task, from a file, since its data lie on the Hub: the first of two sentences is right."""
    content = "".join(json.dumps({"good": good, "bad": bad}) + "\n" for good, bad in rows)
    (folder / "pairs.jsonl").write_text(content, encoding="utf-8")
    (folder / f"{name}.yaml").write_text(
        f"""task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {folder / "pairs.jsonl"}}}}}
output_type: multiple_choice
validation_split: validation
doc_to_text: ""
target_delimiter: ""
doc_to_target: 0
doc_to_choice: "{{{{[good, bad]}}}}"
metric_list: [{{metric: acc}}]
""",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return _pairs_task(tmp_path, [CLEAR, ("The dog was happy.", "The happy dog dog was was.")], "word_order")


def test_the_harness_runs_a_task(lm: Any, task: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(task))
    found = simple_evaluate(model=lm, tasks=["word_order"], task_manager=manager, bootstrap_iters=0)
    assert found["results"]["word_order"]["acc,none"] == 1.0
    assert found["n-samples"]["word_order"]["effective"] == 2


def test_ties_are_warned_of(lm: Any) -> None:
    def candidate(document: int, text: str) -> Any:
        return SimpleNamespace(args=("", text), doc_id=document, task_name="pairs")

    requests = [candidate(0, "once qwertz"), candidate(0, "once qwert"), candidate(1, "once upon"), candidate(1, "once a")]
    with pytest.warns(UserWarning, match=r"1 of 2 pairs of candidates \(50\.0%\) have equal ids"):
        found = lm.loglikelihood(requests, disable_tqdm=True)
    assert found[0][0] == found[1][0]
    assert len(found) == 4


def test_its_own_command_line_knows_our_model(task: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "ts_models.lm_eval", "--model", "ts-models", "--model_args", "path=demo", "--tasks", "word_order",
        "--include_path", str(task), "--output_path", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "word_order" in done.stdout


def test_a_tie_counts_as_half(lm: Any, tmp_path: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(_pairs_task(tmp_path, [*TIED, CLEAR])))
    found = simple_evaluate(model=lm, tasks=["pairs"], task_manager=manager, bootstrap_iters=0, log_samples=True)
    row = half_ties(found)["results"]["pairs"]
    assert row["acc,none"] == 1.0, "the harness counts the three ties as right"
    assert row["acc_half_ties,none"] == (3 / 2 + 1) / 4
    assert row["ties,none"] == 3


def test_ties_of_several_answers_and_of_groups() -> None:
    def sample(target: int, *scores: float) -> dict[str, Any]:
        return {"target": target, "acc": 1.0, "filtered_resps": [[score, False] for score in scores]}

    tasks = {"a": [sample(0, -1.0, -1.0, -1.0), sample(1, -1.0, -1.0)], "b": [sample(0, -2.0, -1.0), sample(1, -2.0, -1.0)]}
    results = {
        "results": {"a": {"acc,none": 1.0}, "b": {"acc,none": 0.5}, "both": {}, "other": {"f1,none": 1}},
        "groups": {"both": {"acc,none": 0.75}},
        "group_subtasks": {"both": ["a", "b"]},
        "samples": {**tasks, "other": [{"target": "x"}]},
    }
    found = half_ties(results)
    assert found["results"]["a"]["acc_half_ties,none"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert (found["results"]["b"]["acc_half_ties,none"], found["results"]["b"]["ties,none"]) == (0.5, 0)
    assert found["groups"]["both"]["acc_half_ties,none"] == pytest.approx((1 / 3 + 1 / 2 + 0 + 1) / 4)
    assert found["groups"]["both"]["ties,none"] == 2
    assert found["results"]["other"] == {"f1,none": 1}


def test_the_command_prints_ties_as_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import lm_eval
    import lm_eval.evaluator

    from ts_models.lm_eval import main

    for holder in (lm_eval, lm_eval.evaluator):
        monkeypatch.setattr(holder, "simple_evaluate", lm_eval.evaluator.simple_evaluate)
    folder = _pairs_task(tmp_path, [*TIED, CLEAR])
    words = [
        "--model",
        "ts-models",
        "--model_args",
        "path=demo",
        "--tasks",
        "pairs",
        "--include_path",
        str(folder),
        "--device",
        "cpu",
    ]
    monkeypatch.setattr("sys.argv", ["lm_eval", *words])
    main()
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert any("acc_half_ties" in row and "0.625" in row for row in rows)
    assert any("|ties|" in row and "|3" in row for row in rows)


def test_the_model_reads_the_text_as_the_task_gives_it(lm: Any) -> None:
    """A prompt of a person is repaired as the corpus was; a task's text is not, since its blanks and quotes may be what it asks about."""
    raw = "He said “once”  upon"
    tokenizer = lm.language.text_tokenizer()
    assert lm.tok_encode(raw) == [lm.prefix_token_id, *tokenizer.encode(raw)]
    assert lm.tok_encode(raw) != lm.language.encode_prompt(raw)
    pairs = [("", raw), ("", 'He said "once" upon')]
    found = lm.loglikelihood([_request(*pair) for pair in pairs], disable_tqdm=True)
    assert found[0][0] != found[1][0], "another text, another score"
