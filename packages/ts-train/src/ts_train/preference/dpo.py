"""Direct preference optimisation (Rafailov et al. 2023) on pairs of stories, against the frozen model that it starts from."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ts_models import LanguageModel, artefact, load, read_train_stories, save
from ts_models.console import Progress
from ts_models.errors import TsModelsError
from ts_models.io.model_folder import KIND, TOKENIZER, resolve

from ..data.batches import IGNORED
from ..errors import ArtefactError, ConfigError, DataError, DivergedError
from ..schemas import PreferenceConfig, PreferenceReport

REPORT = "preference.json"


@dataclass(frozen=True)
class _Pair:
    chosen: list[int]
    rejected: list[int]
    shared: int
    """Tokens that both begin with, among them the prompt: equally likely in both, so they are left out."""


def prefer(
    model: artefact.StrPath,
    pairs: artefact.StrPath,
    out: artefact.StrPath,
    config: PreferenceConfig | None = None,
    *,
    progress: Progress | None = None,
) -> PreferenceReport:
    """Tune a model folder on pairs of stories and write the new model, with preference.json, to `out`.

    The loss of a pair is -log sigmoid(beta · (margin of the model - margin of the start)); the margin is log p(chosen) - log p(rejected)
    over the stories' tokens, without what both begin with. A share of the pairs is held out and judged before and after.

    Args:
        pairs: JSON lines with `story`, `rejected` and `prompt` ("" where the model begins), as `ts-eval best` writes them.

    Raises:
        ConfigError, DataError, ArtefactError: invalid settings, pairs or files.
    """
    config, source, out = config or PreferenceConfig(), resolve(model), Path(out)
    artefact.keep_apart(out, [source, pairs])
    artefact.check_target(out, *KIND)
    if not (source / TOKENIZER).exists():
        raise ConfigError(f"{model}: has no {TOKENIZER}; stories are tuned with the model's own word tokenizer.")
    lm = load(source)
    every = _read_pairs(Path(pairs), lm)
    order = np.random.default_rng(config.seed).permutation(len(every)).tolist()
    aside = min(max(1, round(config.held_out * len(every))), max(1, len(every) - 1))
    held_out, train = [every[i] for i in order[:aside]], [every[i] for i in order[aside:]]
    if not train:
        raise DataError(f"{pairs}: holds {len(every)} pairs of two different stories; tuning needs at least 2.")
    with artefact.lock(out, error=ArtefactError):
        network = lm.model.float().eval()  # no dropout: both margins are of the same function
        starts = _margins(network, train, config)
        held_out_starts = _margins(network, held_out, config)
        steps = _tune(network, train, starts, config, progress)
        gain = config.beta * (_margins(network, held_out, config) - held_out_starts)
        report = PreferenceReport(
            config=config, pairs=len(train), held_out=len(held_out), pairs_sha256=artefact.sha256_file(pairs), steps=steps,
            loss=float(-F.logsigmoid(gain).mean()), accuracy=float((gain > 0).double().mean()),
        )  # fmt: skip
        training = lm.training
        if training is not None:  # these figures are of the model before
            training = training.model_copy(update={"best_validation_loss": None, "validation_bits_per_byte": None, "curve": []})
        stories = read_train_stories(source)
        save(network, out, tokenizer=source / TOKENIZER, training=training, train_stories=stories)
        artefact.write_model(out / REPORT, report)
    return report


def _read_pairs(path: Path, lm: LanguageModel) -> list[_Pair]:
    """Pairs of different stories, cut to the model's context."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise ArtefactError(f"{path}: cannot be read ({getattr(problem, 'strerror', None) or problem}).") from None
    most = (lm.config.context_limit or 1 << 30) + 1
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            texts = [row[name] for name in ("story", "rejected", "prompt")]
        except (ValueError, KeyError, TypeError, RecursionError):
            texts = []
        if len(texts) != 3 or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{path}, line {number}: no `story`, `rejected` and `prompt` with strings; `ts-eval best` writes such a file."
            )
        try:
            chosen, rejected = (lm.encode_story(text)[:most] for text in texts[:2])
        except TsModelsError as problem:  # half a character
            raise DataError(f"{path}, line {number}: {problem}") from None
        if chosen != rejected:
            shared = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(chosen, rejected, strict=False)))
            pairs.append(_Pair(chosen, rejected, max(1, shared)))
    return pairs


def _margin(network: nn.Module, pairs: Sequence[_Pair]) -> Tensor:
    """log p(chosen) - log p(rejected) of each pair, without what both begin with: `[pairs]`."""
    rows = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    targets = torch.full_like(ids, IGNORED)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        first = pairs[number % len(pairs)].shared
        targets[number, first : len(row)] = ids[number, first : len(row)]
    losses = F.cross_entropy(
        network(ids[:, :-1]).float().flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED, reduction="none"
    )
    scores = -losses.view(len(rows), -1).sum(dim=1)
    return scores[: len(pairs)] - scores[len(pairs) :]


@torch.no_grad()
def _margins(network: nn.Module, pairs: Sequence[_Pair], config: PreferenceConfig) -> Tensor:
    return torch.cat([_margin(network, pairs[at : at + config.batch_size]) for at in range(0, len(pairs), config.batch_size)])


def _tune(network: nn.Module, pairs: Sequence[_Pair], starts: Tensor, config: PreferenceConfig, progress: Progress | None) -> int:
    """AdamW without decay, the rate falling linearly to zero. Returns the number of steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, betas=(0.9, 0.95), weight_decay=0.0)
    per_epoch = -(-len(pairs) // config.batch_size)
    total, dice = config.epochs * per_epoch, np.random.default_rng([config.seed, 1])
    for step in range(total):
        if step % per_epoch == 0:
            order = dice.permutation(len(pairs))
        chosen = order[step % per_epoch * config.batch_size :][: config.batch_size].tolist()
        gain = config.beta * (_margin(network, [pairs[i] for i in chosen]) - starts[chosen])
        loss = -F.logsigmoid(gain).mean()
        if not torch.isfinite(loss):
            raise DivergedError(f"step {step}: the loss is not finite; lower the learning rate (--set lr=…).")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - step / total)
        optimizer.step()
        if progress is not None:
            progress("prefer", step + 1, total)
    return total
