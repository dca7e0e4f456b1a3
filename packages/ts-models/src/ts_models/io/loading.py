"""`load`: a path, a Hub id or the name of the embedded model → LanguageModel; third-party models are converted."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import ConfigError, MissingExtraError, TokenizerError
from ..language_model import LanguageModel
from ..protocols import Tokenizer
from .model_folder import TOKENIZER, is_foreign, load_model, read_training, resolve
from .tokenizers import load_tokenizer


def load(path_or_hub_id: str | os.PathLike[str], *, device: str = "cpu", revision: str | None = None) -> LanguageModel:
    """Open a model with ts_models alone: never torchtune, spaCy or pickle.

    Takes one of our folders; the id of a Hub repository ("name/model"); `demo`, the model in the package; a Hugging Face
    folder of a GPT-Neo, Llama or Qwen3 model; a llama2.c checkpoint (`.bin`, with `tokenizer.bin` beside it).
    Without an installed package that reads its tokenizer, the model still takes ids; text then raises TokenizerError.
    A ts-models folder keeps its saved number format (`model.bfloat16()` as bfloat16); third-party models
    become float32. Raises ArtefactError (WeightsError for weights that do not fit their config), ConfigError for a device
    that is not there.
    """
    _check_device(device)
    folder = resolve(path_or_hub_id, revision=revision)
    if is_foreign(folder):
        return _load_llama2c(folder, device) if folder.is_file() else _load_huggingface(folder, device)
    model = load_model(folder, device=device)
    tokenizer, missing = _own_tokenizer(folder)
    return LanguageModel(model, tokenizer, training=read_training(folder), path=folder, missing_tokenizer=missing)


def _own_tokenizer(folder: Path) -> tuple[Tokenizer | None, str]:
    """The tokenizer of a folder, or why there is none."""
    if not (folder / TOKENIZER).exists():
        return None, f"{folder}: has no {TOKENIZER}; it takes ids only: lm.model.generate([[1, 2, 3]])."
    try:
        return load_tokenizer(folder / TOKENIZER), ""
    except TokenizerError as problem:
        return None, str(problem)


def _load_huggingface(folder: Path, device: str) -> LanguageModel:
    from .foreign import load_huggingface
    from .foreign_tokenizers import HuggingFaceTokenizer

    model = load_huggingface(folder).to(device)
    if (folder / TOKENIZER).exists():  # our own export: the exact tokenizer lies beside
        tokenizer, missing = _own_tokenizer(folder)
        return LanguageModel(model, tokenizer, training=read_training(folder), path=folder, missing_tokenizer=missing)
    if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        return LanguageModel(model, training=read_training(folder), path=folder)
    config = model.config
    special = {"eos_id": config.eos_id, "bos_id": config.bos_id, "unk_id": config.unk_id, "pad_id": config.pad_id}
    try:
        tokenizer = HuggingFaceTokenizer(folder, vocab_size=config.vocab_size, **special)
    except MissingExtraError as problem:
        return LanguageModel(model, path=folder, missing_tokenizer=str(problem))
    return LanguageModel(model, tokenizer, path=folder)


def _load_llama2c(path: Path, device: str) -> LanguageModel:
    from .foreign import load_llama2c
    from .foreign_tokenizers import Llama2cTokenizer

    model = load_llama2c(path).to(device)
    beside = path.with_name("tokenizer.bin")
    if not beside.exists():
        return LanguageModel(
            model,
            path=path,
            missing_tokenizer=f"{path}: no tokenizer.bin lies beside it; it takes ids only: lm.model.generate([[1, 2, 3]]).",
        )
    return LanguageModel(model, Llama2cTokenizer(beside, model.config.vocab_size), path=path)


def _check_device(name: str | torch.device) -> torch.device:
    """The device of a name ("cpu", "cuda", "cuda:1", "mps"); raises ConfigError if this machine or this torch has no such device."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".") if str(problem) else type(problem).__name__
        raise ConfigError(
            f"device {str(name)!r}: is not available ({reason[:160]}). Use cpu, or cuda where torch finds a GPU."
        ) from None
    return device
