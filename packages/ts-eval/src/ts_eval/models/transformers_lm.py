"""Adapter for a causal language model of Hugging Face transformers (extra `transformers`): GPT-Neo, Llama and others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ts_models.registry import METHODS

from ..errors import ArtefactError, ConfigError, UnavailableError
from .adapter import ModelAdapter, Scored, TrainedOn
from .checked import need_finite_weights
from .language_model import SHORTENED, trained_on
from .restoration import price

BATCH = 16


def open_transformers(spec: str) -> ModelAdapter:
    """Load a folder or Hub name; refuses remote code and pickled weights."""
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise UnavailableError(f'{spec}: needs transformers. pip install "tinystories-eval[transformers]"') from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(spec, trust_remote_code=False, use_safetensors=True)
    except Exception as problem:  # a damaged folder raises KeyError, RuntimeError, SafetensorError …; undocumented
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ArtefactError(f"{spec}: transformers cannot open it: {reason}") from None
    return TransformersAdapter(spec, model, tokenizer)


class TransformersAdapter(ModelAdapter):
    """A transformers model and its tokenizer."""

    def __init__(self, spec: str, model: Any, tokenizer: Any) -> None:
        super().__init__(Path(spec).name, "transformers", spec, sum(p.numel() for p in model.parameters()))
        need_finite_weights(spec, model)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.trained_on = _recorded(Path(spec))
        config = model.config
        self.end = next(i for i in (tokenizer.eos_token_id, config.eos_token_id, tokenizer.sep_token_id, 0) if isinstance(i, int))
        self.begin = tokenizer.bos_token_id if isinstance(tokenizer.bos_token_id, int) else self.end
        self.context = int(getattr(config, "max_position_embeddings", 0) or 1024)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """Completions; batches of prompts of like length, padded on the left, so that a long prompt leaves the others their room."""
        import torch

        torch.manual_seed(options.pop("seed", 0))
        settings = _settings(options)
        whole = [[self.begin, *self._ids(prompt)] for prompt in prompts]
        room = max(1, self.context // 2)  # the other half is for the completion
        if max(map(len, whole), default=0) > room and SHORTENED not in self.notes:
            self.notes.append(SHORTENED)
        order = sorted(range(len(whole)), key=lambda i: min(len(whole[i]), room))
        written = [""] * len(whole)
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            rows = [whole[i][-room:] for i in some]
            width = max(map(len, rows))
            settings["max_new_tokens"] = max(1, min(options.get("max_new_tokens", 256), self.context - width))
            ids = torch.tensor([[self.end] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            with torch.inference_mode():
                out = self.model.generate(
                    ids,
                    attention_mask=mask,
                    pad_token_id=self.end,
                    eos_token_id=self.end,
                    logits_processor=[self._need_finite],
                    **settings,
                )
            for i, text in zip(some, self.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True), strict=True):
                written[i] = text
        return written

    def _need_finite(self, _ids: Any, logits: Any) -> Any:
        """A transformers logits processor that raises ConfigError for logits from which no token can be chosen."""
        import torch

        if torch.isnan(logits).any() or (logits == torch.inf).any() or (logits == -torch.inf).all(dim=-1).any():
            raise ConfigError(f"{self.name}: its logits are not finite, so it cannot generate.")
        return logits

    def score(self, texts: Sequence[str]) -> Scored:
        """Score whole stories, their end token included, in windows of the context with half overlap."""
        rows = [[self.begin, *self._ids(text), self.end] for text in texts]
        logprobs = [self._score(row) for row in rows]
        bits, note = price(texts, [self.tokenizer.decode(row[1:-1], clean_up_tokenization_spaces=False) for row in rows])
        return Scored(logprobs, bits, None, note)

    def _score(self, row: list[int]) -> NDArray[np.float64]:
        import torch

        out = np.zeros(len(row) - 1)
        start = done = 0
        while done < len(row) - 1:
            window = torch.tensor([row[start : start + self.context]])
            with torch.inference_mode():
                logits = self.model(window).logits[0, :-1].double().log_softmax(-1)
            values = logits.gather(1, window[0, 1:, None])[:, 0].numpy()
            fresh = values[done - start :]
            out[done : done + len(fresh)] = fresh
            done += len(fresh)
            start += self.context // 2
        return out

    def neighbours(self, word: str, k: int = 8) -> list[tuple[str, float]] | None:
        """Nearest tokens by cosine of the input embeddings, where the word is one token."""
        import torch

        ids = self._ids(" " + word)
        if len(ids) != 1:
            return None
        table = torch.nn.functional.normalize(self.model.get_input_embeddings().weight.detach().float(), dim=1)
        cosines = table @ table[ids[0]]
        cosines[ids[0]] = -2
        best = cosines.topk(k)
        return [(self.tokenizer.decode([i]).strip(), c) for i, c in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def _recorded(folder: Path) -> TrainedOn:
    """The training record of a folder that `ts-models export` wrote; other folders have none."""
    from ts_models.artefact import parse_model, read_json
    from ts_models.schemas import TrainingSummary

    file = folder / "training.json"
    content = read_json(file, error=ArtefactError) if file.is_file() else {}
    if content.get("format") != TrainingSummary.model_fields["format"].default:
        return TrainedOn()
    return trained_on(folder, parse_model(content, TrainingSummary, source=str(file), package="ts-models", error=ArtefactError))


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Translate our method names into transformers' switches; the other options have transformers' names already."""
    settings = {key: value for key, value in options.items() if key not in {"method", "max_new_tokens"}}
    method = METHODS[options.get("method", "sample")]
    settings["do_sample"] = method.draws
    settings["num_beams"] = settings.get("num_beams", 4) if method.beams else 1
    settings.setdefault("top_k", 0)
    return settings
