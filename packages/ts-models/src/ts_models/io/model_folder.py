"""model/ on disk: config.json, model.safetensors, word_tokenizer.json, training.json,
train_stories.npy, README.md. No pickle.

Reading takes a folder or the id of a Hub repository. The model card's text is made in `card`.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..architectures import StoryModel, build_for_inference
from ..artefact import StrPath, parse_model, read_json, sha256_file, write_folder, write_model
from ..errors import ArtefactError, ConfigError, NonFiniteError, WeightsError
from ..presets import PRESETS
from ..schemas import ModelConfig, TrainingSummary, config_class
from ..sizes import count_parameters
from .card import model_card
from .provenance import FILE, pack

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "word_tokenizer.json"
TRAINING, TRAIN_STORIES, CARD = "training.json", FILE, "README.md"
DEMO = Path(__file__).parents[1] / "demo"
"""The model in the package: `load("demo")`."""
EXPORTED = "ts-models/transformers"
"""`format` in the config.json of an export to transformers, which otherwise looks like any model of the Hub."""
KIND = (CONFIG, "ts-models/config", EXPORTED)
"""Marks a model folder, also in transformers' format; other folders are never replaced."""
LLAMA2C = "tokenizer.bin"
FOREIGN = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", LLAMA2C,
)  # fmt: skip
"""The files of other projects' tokenizers."""
OWNED = (CONFIG, WEIGHTS, TOKENIZER, TRAINING, CARD, TRAIN_STORIES, "generation_config.json", *FOREIGN)
"""The files of a model folder, also in transformers' format; any other file in it is the user's."""
_SCALE = ".scale"
_FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def save(
    model: StoryModel,
    path: StrPath,
    *,
    tokenizer: StrPath | None = None,
    training: TrainingSummary | None = None,
    train_stories: NDArray[np.uint64] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a model folder, complete or not at all, and return its path.

    tokenizer: a word_tokenizer.json to copy beside the weights. Its vocabulary must be the model's.
    train_stories: hashes (`ts_data.story_hashes`) of the stories that it was trained on; needs `training`.
    dtype: store the weights in this number format (float16 halves the file). Loading turns them back to the model's own.
    Raises NonFiniteError for weights that are NaN or infinite.
    """
    path = Path(path)
    network = getattr(model, "_orig_mod", model)
    if not isinstance(network, StoryModel):
        mend = (
            "Give its network, lm.model."
            if isinstance(getattr(network, "model", None), StoryModel)
            else "ts_models.build makes one."
        )
        raise TypeError(f"model: a network of ts_models is expected, not of type {type(network).__name__}. {mend}")
    config = network.config
    if dtype is not None and not dtype.is_floating_point:
        raise ConfigError(f"dtype is {dtype}; weights are stored as floats (for int8 use ts_models.export.export).")
    if tokenizer is not None:
        _check_tokenizer(Path(tokenizer), config)
    hashes, training = pack(train_stories, training)
    if training is not None:
        training = training.model_copy(update={"tokenizer_sha256": None if tokenizer is None else sha256_file(tokenizer)})
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in clean_names(network.state_dict()).items()
    }
    with write_folder(path, *KIND, owned=OWNED) as folder:
        write_model(folder / CONFIG, config)
        write_tensors(folder / WEIGHTS, tensors, dtype=str(network.dtype).removeprefix("torch."))
        if tokenizer is not None:
            shutil.copyfile(tokenizer, folder / TOKENIZER)
        if training is not None:
            write_model(folder / TRAINING, training)
        if hashes is not None:
            (folder / TRAIN_STORIES).write_bytes(hashes)
        (folder / CARD).write_bytes(model_card(config, training, _title(path.resolve())).encode(errors="backslashreplace"))
    return path


def copy_files(
    source: Path | None, target: Path, names: Sequence[str] = (TOKENIZER, TRAINING, TRAIN_STORIES, CARD, *FOREIGN)
) -> None:
    """Copy these files from one model folder to another, as far as they exist; of a llama2.c file, the tokenizer beside it."""
    if source is not None and source.is_file():
        source, names = source.parent, [name for name in names if name == LLAMA2C]
    for name in names:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _title(path: Path) -> str:
    """The folder's name; of RUN/model, which all runs have, the run's."""
    return path.parent.name if path.name == "model" else path.name


def clean_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the traces of torch.compile and DistributedDataParallel."""
    return {name.replace("_orig_mod.", "").removeprefix("module."): tensor for name, tensor in tensors.items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], **metadata: str) -> None:
    """A safetensors file. Raises NonFiniteError that names the first tensor with NaN or infinity."""
    check_finite(tensors)
    save_tensors(tensors, path, {"format": "pt", **metadata})
    _sort_metadata(path)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """`save_file` of safetensors, whose own error for a full disk becomes the OSError that it was."""
    check_utf8(path)
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as problem:
        code = re.search(r"\(os error (\d+)\)", str(problem))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None


def _sort_metadata(path: Path) -> None:
    """Put the file's metadata in order of their names: safetensors writes several in another order each time."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise NonFiniteError that names the first tensor with NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"tensor `{name}` holds NaN or infinity: it is not written. Take an earlier checkpoint, or "
                "train again at a lower learning rate."
            )


def _check_tokenizer(path: Path, config: ModelConfig) -> None:
    """Refuse a tokenizer whose file shows another vocabulary."""
    content = read_json(path)
    vocabulary = content.get("vocab", content.get("vocabulary"))
    size = len(vocabulary) if isinstance(vocabulary, list) else content.get("vocab_size")
    if isinstance(size, int) and size != config.vocab_size:
        raise ConfigError(
            f"{path}: holds {size} tokens, but the model's vocab_size is {config.vocab_size}. Give the one it was trained with."
        )
    for field in ("eos_id", "bos_id", "unk_id", "pad_id"):
        token, ours = f"<{field.removesuffix('_id')}>", getattr(config, field)
        if isinstance(vocabulary, list) and ours >= 0 and token in vocabulary and vocabulary.index(token) != ours:
            raise ConfigError(
                f"{path}: `{token}` has id {vocabulary.index(token)}, but the model's {field} is {ours}. Give the one it was trained with."
            )


def resolve(path_or_id: StrPath, *, revision: str | None = None) -> Path:
    """The folder of a model: a path, or the id of a Hub repository ("name/model"), which is fetched and cached."""
    path = Path(path_or_id)
    if str(path_or_id) == "demo" and not path.exists():
        path = DEMO
    if path.exists():
        inner = path / "model"
        if (inner / CONFIG).is_file() and not (path / WEIGHTS).exists():
            raise ArtefactError(f"{path}: is no model folder, but holds one. Did you mean {inner}?")
        return path
    name = str(path_or_id)
    if name in PRESETS:
        raise ArtefactError(f"{name}: is a preset, which has no weights. Train it: ts-train run --preset {name} --data … --out …")
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise ArtefactError(f"{name}: no such folder. Give a model folder, or a Hub id of the form name/model.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.md", "*.txt", "*.model", TRAIN_STORIES]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ArtefactError(f"{name}: neither a folder here nor a repository that the Hub gives out ({reason})") from None


def is_foreign(path: Path) -> bool:
    """Whether a path holds a model in another project's format: a file, or a folder whose config.json is not a config of ours.

    Raises ArtefactError that names the command to run where the folder holds no model at all.
    """
    if path.is_file():
        return True
    if not (path / CONFIG).is_file():
        raise ArtefactError(f"{path}: is no model folder, because it has no {CONFIG}. {_way_to_a_model(path)}")
    content = read_json(path / CONFIG)
    kind = content.get("format")
    if kind is not None and not str(kind).startswith("ts-models/"):
        raise ArtefactError(f"{path / CONFIG}: field `format` is {kind!r}: this is another kind of file. {_way_to_a_model(path)}")
    return kind in (None, EXPORTED)


def _way_to_a_model(path: Path) -> str:
    """The command that makes a model from what a folder holds."""
    found = set()
    for name in ("manifest.json", CONFIG):
        with contextlib.suppress(ArtefactError):
            found.add(str(read_json(path / name).get("format")))
    if "ts-data/manifest" in found:
        return (
            f"Encode these splits, then train on them: ts-tokenizer encode {path} --tokenizer word_tokenizer.json --out encoded/"
        )
    if "ts-tokenizer/encoded" in found:
        return f"Train a model on it: ts-train run --preset story-1m --data {path} --out run/"
    if found & {"ts-train/config", "ts-train/run"}:
        return f"Finish the run, which writes a model: ts-train resume {path}"
    return "Give a model folder, or train one: ts-train run --preset story-1m --data encoded/ --out run/"


def read_config(folder: Path) -> ModelConfig:
    """config.json of a model folder."""
    path = folder / CONFIG
    return parse_config(read_json(path), str(path))


def parse_config(content: dict[str, Any], source: str) -> ModelConfig:
    """A config from its JSON object."""
    schema: Any = config_class(content.get("kind"))
    config: ModelConfig = parse_model(content, schema, source=source, package="ts-models")
    return config


def read_training(folder: Path) -> TrainingSummary | None:
    """training.json of a model folder, if it has one; None where a folder of another project has a file of that name."""
    path = folder / TRAINING
    if not path.exists():
        return None
    content = read_json(path)
    if "format" not in content and is_foreign(folder):
        return None
    return parse_model(content, TrainingSummary, source=str(path), package="ts-models")


def load_model(folder: Path, *, device: str | torch.device = "cpu") -> StoryModel:
    """The network of a model folder, in evaluation mode, in the number format that it had when it was saved."""
    config, weights = read_config(folder), folder / WEIGHTS
    tensors = read_tensors(weights)
    network = build_for(config, weights.stat().st_size, str(weights))
    load_weights(network, tensors, source=str(weights))
    with safe_open(weights, framework="pt") as file:
        kept = (file.metadata() or {}).get("dtype", "")
    return network.to(device, _FORMATS.get(kept, torch.float32)).eval()


def build_for(config: ModelConfig, size: int, source: str) -> StoryModel:
    """A network for weights of `size` bytes. Raises WeightsError before a network of a billion layers is built."""
    if count_parameters(config) > size:
        raise WeightsError(f"{source}: holds too few bytes for the {count_parameters(config):,} parameters of {CONFIG}.")
    try:
        return build_for_inference(config)
    except (RuntimeError, MemoryError, OverflowError) as problem:
        raise WeightsError(f"{source}: no network of these sizes can be built here; see {CONFIG} ({problem}).") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    if not path.is_file():
        raise ArtefactError(f"{path}: no such file. A model folder holds {CONFIG} and {WEIGHTS}.")
    check_utf8(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as problem:
        raise ArtefactError(f"{path}: not a whole safetensors file ({problem}). Write or fetch it again.") from None


def check_utf8(path: Path, *, error: type[Exception] = ArtefactError) -> None:
    """Refuse a path that is not UTF-8: safetensors would write it, and open it never again."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise error(f"{path}: is not UTF-8, and safetensors opens no such path. Choose another name.") from None


def load_weights(network: StoryModel, tensors: dict[str, Tensor], *, source: str) -> None:
    """Put tensors into a network. Raises WeightsError that names the first tensor that differs or is not finite."""
    tensors = _dequantise(clean_names(tensors), source)
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise WeightsError(f"{source}: tensor `{name}` is missing; config.json expects shape {list(tensor.shape)}.")
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                f"{source}: tensor `{name}` has shape {list(tensors[name].shape)}, but config.json makes it {list(tensor.shape)}."
            )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise WeightsError(
                f"{source}: tensor `{name}` holds {tensor.dtype}; weights are floats, or int8 with a `{name}{_SCALE}`."
            )
        if name not in expected:
            raise WeightsError(f"{source}: tensor `{name}` has no place in the network that config.json describes.")
        if not bool(torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float()).all()):  # torch has none for float8
            raise WeightsError(
                f"{source}: tensor `{name}` holds NaN or infinity. Take an earlier checkpoint, or train again at a lower learning rate."
            )
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})


def _dequantise(tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """int8 matrices with a factor for each row (`<name>.scale`) → float32."""
    whole = {name: tensor for name, tensor in tensors.items() if not name.endswith(_SCALE)}
    for name, tensor in whole.items():
        if tensor.dtype == torch.int8 and name + _SCALE in tensors:
            scale = tensors[name + _SCALE]
            if tensor.ndim != 2 or scale.shape != tensor.shape[:1]:
                raise WeightsError(
                    f"{source}: tensor `{name}{_SCALE}` has shape {list(scale.shape)}; one factor for each row of `{name}`, whose "
                    f"shape is {list(tensor.shape)}, is expected."
                )
            whole[name] = tensor.float() * scale[:, None]
    return whole


def push_to_hub(folder: StrPath, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload a model folder to a repository of the Hub, created if it is missing. Returns the address of the commit.

    token: default, the one of `hf auth login`. Raises ArtefactError where the folder holds no model of ours.
    """
    path = Path(folder)
    read_config(path)
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo_id, folder_path=str(path), commit_message="Upload a ts-models model"))
