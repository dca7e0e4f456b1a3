"""Operations on logits before a method chooses: bans and penalties (processors), temperature and filters (warpers), the draw.

Processors change logits `[rows, vocab]` in place; warpers return logits in which a token that is filtered out is -inf.
"""

import hashlib
import math
import secrets
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import NonFiniteError
from ..schemas import GenerationConfig

_RUN = 32
_MORE = 256
_BELOW_ONE = 1 - 1e-12
_COLD, _LEAST = 1e-4, 1e-30
"""Below `_COLD` the largest logit is taken off first, so that nothing overflows; float32 holds no factor beyond 1 / `_LEAST`."""


class History:
    """The tokens of each row so far, prompt included: ids `[rows, longest or more]`, -1 for places still empty."""

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.ids = torch.full((len(prompts), max(map(len, prompts)) + _MORE), -1, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            self.ids[row, : len(prompt)] = torch.as_tensor(list(prompt), dtype=torch.long)

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order."""
        self.ids, self.lengths = self.ids[rows], self.lengths[rows]

    def append(self, tokens: Tensor) -> None:
        """Add one token to every row."""
        if int(self.lengths.max()) == self.ids.shape[1]:
            self.ids = F.pad(self.ids, (0, _MORE), value=-1)
        self.ids.scatter_(1, self.lengths[:, None], tokens[:, None])
        self.lengths = self.lengths + 1


def penalise_repetition(logits: Tensor, history: History, penalty: float) -> None:
    """Divide positive and multiply negative logits of every token that is in the row (Keskar et al. 2019, CTRL)."""
    wide = F.pad(logits, (0, 1))  # the last column is for places still empty
    ids = torch.where(history.ids < 0, logits.shape[1], history.ids)
    values = wide.gather(1, ids)
    wide.scatter_(1, ids, torch.where(values > 0, values / penalty, values * penalty))
    logits.copy_(wide[:, :-1])


def ban_repeated_ngrams(logits: Tensor, history: History, size: int) -> None:
    """Ban every token that would repeat an n-gram of `size` tokens in the row (Paulus et al. 2017)."""
    ids, lengths = history.ids, history.lengths
    starts = ids.shape[1] - size + 1
    if starts < 1:
        return
    match = (lengths >= size)[:, None].expand(-1, starts).clone()
    for offset in range(size - 1):
        place = (lengths - size + 1 + offset).clamp(min=0)
        match &= ids[:, offset : offset + starts] == ids.gather(1, place[:, None])
    following = torch.where(match, ids[:, size - 1 : size - 1 + starts], -1)
    logits.masked_fill_(_present(following, logits.shape[1]), -torch.inf)


def _present(ids: Tensor, vocab_size: int) -> Tensor:
    """[rows, vocab] bool: the tokens in each row of ids [rows, any], -1 for none."""
    found = torch.zeros(len(ids), vocab_size + 1, dtype=torch.bool, device=ids.device)
    return found.scatter_(1, torch.where(ids < 0, vocab_size, ids), True)[:, :vocab_size]


class Processors:
    """The rules that a configuration asks for, applied in transformers' order."""

    def __init__(
        self,
        config: GenerationConfig,
        prompts: Sequence[Sequence[int]],
        *,
        banned: Sequence[int],
        ends: Sequence[int],
        device: torch.device,
    ) -> None:
        self.config = config
        wanted = config.repetition_penalty != 1 or config.no_repeat_ngram_size > 0
        self.history = History(prompts, device) if wanted else None
        self.banned = torch.tensor(list(banned), dtype=torch.long, device=device)
        self.empty = False
        """Whether the last call left some row without a token to choose."""
        self.early = torch.tensor(sorted({*banned, *ends}), dtype=torch.long, device=device)

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order."""
        if self.history is not None:
            self.history.select(rows)

    def append(self, tokens: Tensor) -> None:
        """Append one token to each row's history."""
        if self.history is not None:
            self.history.append(tokens)

    def __call__(self, logits: Tensor, step: int) -> Tensor:
        """Change `logits` `[rows, vocab]` in place; `step` counts new tokens written so far."""
        if self.history is not None:
            if self.config.repetition_penalty != 1:
                penalise_repetition(logits, self.history, self.config.repetition_penalty)
            if self.config.no_repeat_ngram_size:
                ban_repeated_ngrams(logits, self.history, self.config.no_repeat_ngram_size)
        banned = self.early if step < self.config.min_new_tokens else self.banned
        if len(banned):
            logits.index_fill_(1, banned, -torch.inf)
        self.empty = self._check(logits, step)
        return logits

    def _check(self, logits: Tensor, step: int) -> bool:
        """Whether all tokens of some row are banned. Raises NonFiniteError for logits that are no numbers: all methods pass here."""
        here = logits.device.type == "cpu" and logits.dtype == torch.float32  # numpy's takes a tenth of the time
        largest = (logits.numpy().max(axis=1) if here else logits.amax(dim=1).float()).tolist()
        if all(math.isfinite(value) for value in largest):
            return False
        if any(math.isnan(value) or value == math.inf for value in largest):
            raise NonFiniteError(
                f"generation: the logits are not finite numbers at step {step + 1}: the model's weights are damaged, or a penalty is too "
                "extreme. Take an earlier checkpoint, or train again at a lower learning rate."
            )
        return True


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens (Fan et al. 2018); of equals at the border, all."""
    size = logits.shape[-1]
    if k >= size:
        return logits
    if logits.device.type == "cpu":  # numpy selects and sorts floats by vector instructions: five to ten times as fast
        threshold = torch.from_numpy(np.partition(logits.numpy(), size - k, axis=-1)[:, size - k, None])
    else:
        threshold = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens that together reach probability p, at least one (Holtzman et al. 2020); of equals at the border, all."""
    chances = logits.softmax(dim=-1)
    if chances.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(chances.numpy(), axis=-1)).flip(-1)
    else:
        ordered = chances.sort(dim=-1, descending=True).values
    kept = (ordered.cumsum(dim=-1) - ordered < p).sum(dim=-1, keepdim=True).clamp(min=1)
    return logits.masked_fill(chances < ordered.gather(1, kept - 1), -torch.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest (Nguyen et al. 2024)."""
    chances = logits.softmax(dim=-1)
    return logits.masked_fill(chances < p * chances.amax(dim=-1, keepdim=True), -torch.inf)


def warp(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Temperature, then top-k, top-p, min-p: transformers' order."""
    if config.temperature < _COLD:
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / max(config.temperature, _LEAST)
    elif config.temperature != 1:
        logits = logits / min(config.temperature, 1 / _LEAST)
    if config.top_k:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p > 0:
        logits = keep_min_p(logits, config.min_p)
    return logits


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One token per row by inversion: the first whose cumulative probability passes the row's number in [0, 1).

    Shapes: logits `[rows, vocab]`, uniforms `[rows]` float64 → ids `[rows]`. A token of probability 0 is never drawn.
    First the run of 32 tokens is found in which that happens, then the token: a sum in order over all would take the longest.
    """
    chances = logits.softmax(dim=-1)
    runs = F.pad(chances, (0, -chances.shape[1] % _RUN)).view(len(chances), -1, _RUN)
    ends = runs.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = uniforms[:, None] * _BELOW_ONE * ends[:, -1:]
    run = torch.searchsorted(ends, target, right=True)
    inside = runs[torch.arange(len(runs), device=runs.device), run[:, 0]].double().cumsum(dim=-1)
    rest = inside[:, -1:] - (ends.gather(1, run) - target)
    place = torch.searchsorted(inside, torch.minimum(rest.clamp(min=0), inside[:, -1:] * _BELOW_ONE), right=True)
    return (run * _RUN + place)[:, 0]


def gumbel(streams: Sequence[np.random.Generator], size: int) -> Tensor:
    """Gumbel noise `[streams, size]` float64: the largest of log-probability + noise are a draw without replacement (Kool et al. 2019)."""
    uniforms = torch.from_numpy(np.stack([stream.random(size) for stream in streams]))
    return -(-uniforms.clamp(min=1e-300).log()).log()


def generators(prompts: Sequence[Sequence[int]], copies: int, seed: int | None) -> list[np.random.Generator]:
    """One generator per prompt and copy (prompt-major). Its stream depends on the seed, the prompt's ids and how many
    sequences of the same prompt precede it, not on other prompts or its index in the batch.
    """
    root = secrets.randbits(63) if seed is None else seed
    seen: Counter[bytes] = Counter()
    streams = []
    for prompt in prompts:
        digest = hashlib.sha256(np.asarray(prompt, dtype="<i8").tobytes()).digest()
        for _ in range(copies):
            key = [abs(root), int(root < 0), seen[digest], *np.frombuffer(digest, dtype="<u4").tolist()]
            streams.append(np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))))
            seen[digest] += 1
    return streams
