"""Our models in EleutherAI's lm-evaluation-harness (extra `lm-eval`), under the name `ts-models`.

    python -m ts_models.lm_eval --model ts-models --model_args path=model/ --tasks blimp --batch_size 64

is the harness's own command line with our model among its names. Tasks give text: words outside of the
vocabulary are read as `<unk>`, so a word-level model scores two answers that differ only in such words alike.
The harness then takes the first answer, in BLiMP the right one. `half_ties` counts such a tie as half; the command prints it.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from ..generation import generate_ids, make_config
from ..generation.text import make_story, stop_check
from ..io.loading import load
from ..scoring import count_ties, score_ids
from ..state import pad_right

Pair = tuple[tuple[str, str], list[int], list[int]]
"""(context, continuation) as text, and their ids."""


@register_model("ts-models")
class StoryLM(TemplateLM):  # type: ignore[misc]
    """`path`: what `ts_models.load` takes. `max_gen_toks`: new tokens where a task does not say."""

    def __init__(
        self, path: str, batch_size: int | str = 64, max_gen_toks: int = 128, device: str | None = None, **_: Any
    ) -> None:
        super().__init__()
        self.language = load(path)
        here = device if device and (torch.cuda.is_available() or not device.startswith("cuda")) else "cpu"
        self.language.model.to(here)  # the harness says "cuda" where nobody has said anything
        self._device = torch.device(here)
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 64
        self.max_gen_toks = max_gen_toks

    @property
    def eot_token_id(self) -> int:
        """`<eos>`."""
        return self.language.config.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The id before a text: `<bos>`, or `<eos>` in a vocabulary without it."""
        config = self.language.config
        return config.bos_id if config.bos_id >= 0 else config.eos_id

    @property
    def tokenizer_name(self) -> str:
        """For the harness's cache of requests: a name that changes with the tokenizer."""
        return str(getattr(self.language.text_tokenizer(), "sha256", self.language.name))

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of the text as the task gives it, without the repairs of `LanguageModel.encode_prompt`; `<bos>` first unless declined."""
        ids = list(self.language.text_tokenizer().encode(string))
        return ids if add_special_tokens is False or self.language.config.bos_id < 0 else [self.language.config.bos_id, *ids]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """See `_loglikelihood_tokens`. Warns of candidates with equal ids, because the harness counts a tie as right."""
        questions: dict[Any, list[str]] = defaultdict(list)
        for request in requests:
            document = getattr(request, "doc_id", None)
            if document is not None:
                questions[getattr(request, "task_name", None), document].append("".join(request.args[:2]))
        tied, pairs = count_ties(questions.values(), self.tok_encode)
        if tied:
            warnings.warn(
                f"ts-models: {tied:,} of {pairs:,} pairs of candidates ({tied / pairs:.1%}) have equal ids, because they differ in words "
                "outside of the vocabulary alone. The harness counts a tie as right: the accuracy is too high by up to that share.",
                UserWarning,
                stacklevel=2,
            )
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)  # type: ignore[no-any-return]

    def _loglikelihood_tokens(self, requests: list[Pair], disable_tqdm: bool = False, **_: Any) -> list[tuple[float, bool]]:
        """(log-probability of the continuation, whether it is what greedy decoding writes) of each pair.

        A text longer than the model's context loses its beginning.
        """
        keys = [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        order = sorted(dict.fromkeys(keys), key=lambda key: len(key[0]) + len(key[1]))  # equal ids once, so that they tie exactly
        found: dict[Any, tuple[float, bool]] = {}
        for start in tqdm(range(0, len(order), self.batch_size), desc="loglikelihood", disable=disable_tqdm):
            group = order[start : start + self.batch_size]
            scored = self._score([(list(context), list(continuation)) for context, continuation in group])
            found.update(zip(group, scored, strict=True))
        return [found[key] for key in keys]

    @torch.inference_mode()
    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> Iterator[tuple[float, bool]]:
        limit = self.language.config.max_seq_len
        rows = [(context + continuation)[-limit - 1 :] for context, continuation in pairs]
        ids, _ = pad_right([tokens[:-1] for tokens in rows])
        scores = self.language.model(ids.to(self._device)).float().log_softmax(dim=-1)
        for row, (tokens, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
            end = len(tokens) - 1
            wanted = torch.tensor(tokens[1:], device=self._device)[max(0, end - len(continuation)) :]
            there = scores[row, end - len(wanted) : end]
            greedy = bool((there.argmax(dim=-1) == wanted).all())
            yield float(there.gather(1, wanted[:, None]).double().sum()), greedy

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Log-probability of whole texts, each token once, in windows of the context with half overlap."""
        texts = [[self.prefix_token_id, *self.tok_encode(request.args[0], add_special_tokens=False)] for request in requests]
        return [float(scores.astype("float64").sum()) for scores in score_ids(self.language.model, texts)]

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """What the model writes behind each context, up to the first of the task's `until` texts."""
        alike: dict[str, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            alike[repr(sorted(request.args[1].items()))].append(number)
        found = [""] * len(requests)
        bar = tqdm(total=len(requests), desc="generate", disable=disable_tqdm)
        for numbers in alike.values():
            for start in range(0, len(numbers), self.batch_size):
                group = numbers[start : start + self.batch_size]
                texts = self._write([requests[i].args[0] for i in group], dict(requests[group[0]].args[1]))
                for i, text in zip(group, texts, strict=True):
                    found[i] = text
                bar.update(len(group))
        return found

    def _write(self, contexts: Sequence[str], wanted: dict[str, Any]) -> list[str]:
        until = wanted.get("until") or []
        stops = tuple([until] if isinstance(until, str) else until)
        limit = self.language.config.max_seq_len
        new = min(int(wanted.get("max_gen_toks", self.max_gen_toks)), limit - 1)
        options: dict[str, Any] = {"method": "greedy", "max_new_tokens": new}
        if wanted.get("do_sample") and float(wanted.get("temperature", 1.0)) > 0:
            options.update(method="sample", temperature=float(wanted.get("temperature", 1.0)), top_p=wanted.get("top_p", 1.0))
        tokenizer = self.language.text_tokenizer()
        ids = [self.tok_encode(context)[-(limit - new) :] for context in contexts]
        check = stop_check(tokenizer, ids, stops) if stops else None
        groups = generate_ids(self.language.model, ids, make_config(options), stop=check, stepper=self.language.stepper())
        return [
            make_story(tokenizer, context, beginning, group[0], stops).text
            for context, beginning, group in zip(contexts, ids, groups, strict=True)
        ]


def half_ties(results: dict[str, Any]) -> dict[str, Any]:
    """Add `acc_half_ties` and `ties` to the results of `lm_eval.simple_evaluate(…, log_samples=True)`, and return them.

    Where k answers share the largest log-probability and the right one is among them, `acc_half_ties` counts 1/k (half of a pair), where the
    harness counts 1 if the right answer is first and 0 otherwise. `ties` is the number of such questions. A group gets the mean over
    the questions of its tasks. Tasks without `acc` are left as they are.
    """
    shares: dict[str, list[float]] = {}
    for task, samples in results.get("samples", {}).items():
        shares[task] = [share for sample in samples if "acc" in sample and (share := _share(sample)) is not None]
    members = {task: [task] for task in shares} | {
        group: [task for task in tasks if task in shares] for group, tasks in results.get("group_subtasks", {}).items() if tasks
    }
    for table in (results["results"], results.get("groups", {})):
        for name, row in table.items():
            found = [share for task in members.get(name, []) for share in shares[task]]
            if found:
                row["acc_half_ties,none"] = sum(found) / len(found)
                row["ties,none"] = sum(0 < share < 1 for share in found)
    return results


def _share(sample: dict[str, Any]) -> float | None:
    """What one question counts: 1, 0, or 1/k for a tie of k; None where the right answer's number is unknown."""
    target = sample["target"]
    if not str(target).isdigit():
        return None
    scores = [float(answer[0]) for answer in sample["filtered_resps"]]
    best = [i for i, score in enumerate(scores) if score == max(scores)]
    return 1 / len(best) if int(target) in best else 0.0
