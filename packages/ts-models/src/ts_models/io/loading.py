"""`load`: a path, a Hub id or the name of the embedded model → LanguageModel; third-party models are converted."""

from pathlib import Path

import torch

from ..artefact import StrPath, sha256_file
from ..errors import ConfigError, MissingExtraError, TokenizerError
from ..language_model import LanguageModel
from ..protocols import Tokenizer
from ..schemas import ModelConfig
from .foreign import load_huggingface, load_llama2c
from .model_folder import LLAMA2C, TOKENIZER, is_foreign, load_model, read_training, resolve
from .tokenizers import HuggingFaceTokenizer, Llama2cTokenizer, load_tokenizer


def load(path_or_hub_id: StrPath, *, device: str = "cpu", revision: str | None = None) -> LanguageModel:
    """Open a model with ts_models alone: never torchtune, spaCy or pickle.

    Takes one of our folders; the id of a Hub repository ("name/model"); `demo`, the model in the package; a Hugging Face
    folder of a GPT-Neo, Llama or Qwen3 model; a llama2.c checkpoint (`.bin`, with `tokenizer.bin` beside it).
    Without an installed package that reads its tokenizer, the model still takes ids; text then raises TokenizerError.
    A ts-models folder keeps its saved number format (`model.bfloat16()` as bfloat16); third-party models
    become float32. Raises ArtefactError (WeightsError for weights that do not fit their config), ConfigError for a device
    that is not there.
    """
    _check_device(device)
    place = resolve(path_or_hub_id, revision=revision)
    if is_foreign(place):
        model = (load_llama2c if place.is_file() else load_huggingface)(place).to(device)
    else:
        model = load_model(place, device=device)
    training = None if place.is_file() else read_training(place)
    tokenizer, missing = None, ""
    try:
        tokenizer = _tokenizer_of(place, model.config, None if training is None else training.tokenizer_sha256)
    except (TokenizerError, MissingExtraError) as problem:
        missing = str(problem)
    return LanguageModel(model, tokenizer, training=training, path=place, missing_tokenizer=missing)


def _tokenizer_of(place: Path, config: ModelConfig, sha256: str | None) -> Tokenizer:
    """The tokenizer of a model. Raises TokenizerError or MissingExtraError where it has none, another's, or nothing here reads it."""
    ids_only = "it takes ids only: lm.model.generate([[1, 2, 3]])."
    if (place / TOKENIZER).exists():  # in our exports to transformers too
        if sha256 not in (None, sha256_file(place / TOKENIZER)):
            raise TokenizerError(
                f"{place / TOKENIZER}: is not the tokenizer that the model was saved with (see training.json), so its ids would mean "
                "other words. Copy the whole model folder again."
            )
        return load_tokenizer(place / TOKENIZER)
    if any((place / name).exists() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        return HuggingFaceTokenizer(place, config)
    pieces = place.with_name(LLAMA2C) if place.is_file() else place / LLAMA2C
    if pieces.exists():
        return Llama2cTokenizer(pieces, config.vocab_size)
    if place.is_file():
        raise TokenizerError(f"{place}: no {LLAMA2C} lies beside it; {ids_only}")
    raise TokenizerError(
        f"this model has no tokenizer; {ids_only}" if is_foreign(place) else f"{place}: has no {TOKENIZER}; {ids_only}"
    )


def _check_device(name: str) -> None:
    """Raise ConfigError if this machine or this torch has no device of that name ("cpu", "cuda", "cuda:1", "mps")."""
    try:
        torch.empty(0, device=torch.device(name))
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".") if str(problem) else type(problem).__name__
        raise ConfigError(
            f"device {str(name)!r}: is not available ({reason[:160]}). Use cpu, or cuda where torch finds a GPU."
        ) from None
