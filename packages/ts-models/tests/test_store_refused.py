"""What saving and loading refuse, in one sentence, and what they keep: number formats, file modes, two writers at once."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ts_models
from ts_models.cli import app
from ts_models.errors import ArtefactError, ConfigError, NonFiniteError, TokenizerError, TsModelsError, WeightsError
from ts_models.export import export

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "d_model": 8,
    "n_heads": 2,
    "head_dim": 4,
    "n_layers": 1,
    "d_ff": 12,
    "max_seq_len": 16,
}
RECURRENT: dict[str, Any] = {"vocab_size": 20, "d_model": 8, "d_hidden": 6}
IDS = torch.tensor([[17, 3, 5, 7]])


def one_sentence(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return ts_models.save(ts_models.build("story-1m", **SIZES), tmp_path / "model")


def test_a_disk_that_fills_up_is_an_error_of_the_system(tmp_path: Path) -> None:
    """safetensors has an error of its own for it, which the commands would show as a fault of the program."""
    resource = pytest.importorskip("resource", reason="no limits here")
    model = ts_models.build("story-1m", **{**SIZES, "d_ff": 4000})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as found:
            ts_models.save(model, tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_in_eight_bits_are_read(folder: Path, dtype: torch.dtype) -> None:
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    state = ts_models.load(folder).model.state_dict()
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in weights.items())
    weights["norm.weight"] = torch.full((8,), math.nan).to(dtype)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"norm\.weight` holds NaN"):
        ts_models.load(folder)


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path, value: float) -> None:
    model = ts_models.build("story-1m", **SIZES)
    with torch.no_grad():
        model.blocks[0].attention.out.weight[0, 0] = value  # type: ignore[index, union-attr]
    with pytest.raises(NonFiniteError, match=r"blocks\.0\.attention\.out\.weight") as found:
        ts_models.save(model, tmp_path / "m")
    one_sentence(found.value)
    assert not (tmp_path / "m").exists()
    for format in ("transformers", "onnx", "int8", "gguf"):
        with pytest.raises(NonFiniteError, match=r"blocks\.0\.attention\.out\.weight"):
            export(ts_models.LanguageModel(model), tmp_path / "out", format=format)
        assert not (tmp_path / "out").exists()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["story-1m", "talk-10m", "talk-5m-gru", "talk-5m-lstm", "talk-5m-rnn"])
def test_a_model_comes_back_in_its_number_format(tmp_path: Path, dtype: torch.dtype, name: str) -> None:
    model = ts_models.build(name, **(SIZES if name in {"story-1m", "talk-10m"} else RECURRENT)).eval().to(dtype)
    lm = ts_models.load(ts_models.save(model, tmp_path / "m"))
    assert lm.model.dtype == dtype
    assert torch.equal(lm.model(IDS), model(IDS))
    assert lm.model.generate(IDS, method="greedy", max_new_tokens=3) == model.generate(IDS, method="greedy", max_new_tokens=3)


@pytest.mark.parametrize("format", ["int8", "transformers", "onnx", "gguf"])
def test_a_bfloat16_model_can_be_exported_and_stays_one(tmp_path: Path, format: str) -> None:
    for package in {"transformers": ["transformers"], "onnx": ["onnx", "onnxruntime"], "gguf": ["gguf"]}.get(format, []):
        pytest.importorskip(package, reason=f"needs the extra {format}")
    model = ts_models.build("story-1m", **SIZES).eval().bfloat16()
    lm = ts_models.load(ts_models.save(model, tmp_path / "m"))
    export(lm, tmp_path / "out", format=format)
    assert lm.model.dtype == torch.bfloat16
    if format in {"int8", "transformers"}:
        again = ts_models.load(tmp_path / "out").model
        assert (again(IDS) - model(IDS).float()).abs().max() < 0.1


def test_a_smaller_file_of_a_float32_model_comes_back_as_float32(tmp_path: Path) -> None:
    model = ts_models.build("story-1m", **SIZES)
    folder = ts_models.save(model, tmp_path / "m", dtype=torch.float16)
    assert load_file(folder / "model.safetensors")["norm.weight"].dtype == torch.float16
    assert ts_models.load(folder).model.dtype == torch.float32
    with pytest.raises(ConfigError, match="stored as floats"):
        ts_models.save(model, tmp_path / "n", dtype=torch.int64)


def test_integer_weights_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "norm.weight": tensors["norm.weight"].to(torch.int64)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"`norm\.weight` holds torch\.int64") as found:
        ts_models.load(folder)
    one_sentence(found.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("line", ["look FOLDER Once", "neurons FOLDER --data none", "neighbours FOLDER the", "generate FOLDER"])
def test_weights_that_are_not_finite_are_refused_by_every_reader(folder: Path, line: str, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"][1] = value
    save_file(tensors, folder / "model.safetensors")
    found = CliRunner().invoke(app, [str(folder) if word == "FOLDER" else word for word in line.split()])
    assert isinstance(found.exception, WeightsError)
    assert f"{folder / 'model.safetensors'}: tensor `norm.weight` holds NaN or infinity" in str(found.exception)
    one_sentence(found.exception)


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["int8", "transformers", "onnx"])
@pytest.mark.parametrize("place", [".", "model.safetensors", ".."])
def test_an_export_into_its_own_model_is_refused(folder: Path, format: str, place: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TsModelsError) as found:
        export(folder, folder / place, format=format)
    one_sentence(found.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_follow_the_umask(tmp_path: Path, mask: int) -> None:
    model, before = ts_models.build("story-1m", **SIZES), os.umask(mask)
    try:
        folder = ts_models.save(model, tmp_path / "m")
        export(folder, tmp_path / "t", format="transformers")
        export(folder, tmp_path / "q", format="int8")
    finally:
        os.umask(before)
    for path in (*folder.iterdir(), *(tmp_path / "t").iterdir(), *(tmp_path / "q").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path


def _write(target: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = ts_models.build("story-1m", **SIZES)
    for _ in range(5):
        ts_models.save(model, target)


def test_two_writers_at_once_leave_a_whole_model(tmp_path: Path) -> None:
    target, fork = tmp_path / "m", multiprocessing.get_context("fork")
    both = [fork.Process(target=_write, args=(target, seed)) for seed in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0]
    ts_models.load(target)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


# --- files of others in a model folder -----------------------------------------------------------


def _foreign(tmp_path: Path, **changes: Any) -> Path:
    folder = tmp_path / "foreign"
    export(ts_models.LanguageModel(ts_models.build("story-1m", **SIZES)), folder, format="transformers")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": ["qwen3"]},
        {"model_type": None},
        {"vocab_size": "many"},
        {"rope_parameters": [1]},
        {"rope_parameters": {"rope_type": ["default"]}},
        {"num_attention_heads": 0, "head_dim": None, "model_type": "llama"},
        {"hidden_size": None, "head_dim": None, "model_type": "llama"},
        {"model_type": "gpt_neo", "attention_types": [[["global"], "x"]], "num_layers": 1, "num_heads": 2},
        {"model_type": "gpt_neo", "attention_types": 3},
        {"model_type": "gpt_neo", "attention_types": [[["global"], 10**15]], "num_layers": 10**15, "num_heads": 2},
        {"model_type": "gpt_neo", "attention_types": [[["global"], 10**15]], "num_layers": 1, "num_heads": 2},
        {"hidden_size": 10**9, "intermediate_size": 10**9},
        {"model_type": "ts_models", "ts_models": ["no"]},
        {"model_type": "ts_models", "ts_models": {"format": "ts-models/config", "schema_version": 99}},
    ],
    ids=str,
)
def test_a_config_of_others_that_does_not_hold(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ArtefactError) as found:
        ts_models.load(_foreign(tmp_path, **changes))
    one_sentence(found.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": "1.0", "model": {"type": "Nothing"}}', b"\xff\xfe"])
def test_a_tokenizer_of_others_that_does_not_hold(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("transformers", reason="needs the extra transformers")
    folder = _foreign(tmp_path)
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtefactError, match="cannot read its tokenizer") as found:
        ts_models.load(folder)
    one_sentence(found.value)


HUGE = f"""{{"format": "ts-models/training", "schema_version": 1, "parameters": 1, "steps": 1, "tokens": 1, "seconds": 1,
"curve": [{{"step": 1, "tokens": {10**400}, "seconds": 1}}]}}"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("word_tokenizer.json", "{", marks=pytest.mark.integration),
        pytest.param("word_tokenizer.json", "[]", marks=pytest.mark.integration),
        pytest.param(
            "word_tokenizer.json", '{"format": "ts-tokenizer/word", "schema_version": 99}', marks=pytest.mark.integration
        ),
        pytest.param(
            "word_tokenizer.json", '{"format": "ts-tokenizer/word", "schema_version": 1}', marks=pytest.mark.integration
        ),
        ("training.json", '{"format": "ts-models/training", "schema_version": 99}'),
        ("training.json", '{"steps": 3}'),
        ("training.json", "[" * 100_000),
        ("training.json", HUGE),
        ("config.json", '{"format": "ts-models/config", "schema_version": 99, "kind": "transformer"}'),
        ("config.json", "{}"),
        ("model.safetensors", ""),
    ],
)
def test_a_file_that_is_newer_or_damaged(folder: Path, name: str, content: str) -> None:
    if name == "word_tokenizer.json":
        pytest.importorskip("ts_tokenizer", reason="reads the vocabulary")
    (folder / name).write_text(content)
    with pytest.raises(Exception) as found:  # noqa: PT011 - a tokenizer's package has errors of its own
        ts_models.load(folder)
    assert getattr(type(found.value), "is_expected", False), repr(found.value)
    one_sentence(found.value)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "mps", "", 3.5])
def test_a_device_that_is_not_here(folder: Path, device: Any) -> None:
    if torch.cuda.is_available() and device == "cuda":
        pytest.skip("it is here")
    with pytest.raises(ConfigError, match="Use cpu") as found:
        ts_models.load(folder, device=device)
    one_sentence(found.value)


@pytest.mark.parametrize("scale", [torch.ones(3), torch.ones(2, 2), torch.tensor(1.0)])
def test_factors_that_do_not_fit_their_int8_matrix(folder: Path, tmp_path: Path, scale: torch.Tensor) -> None:
    export(ts_models.load(folder), tmp_path / "small", format="int8")
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    name = next(name for name in tensors if name.endswith(".scale"))
    save_file({**tensors, name: scale}, tmp_path / "small" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=f"tensor `{name}` has shape .*one factor for each row") as found:
        ts_models.load(tmp_path / "small")
    one_sentence(found.value)


WORDS = [*(f"w{n}" for n in range(16)), "<eos>", "<bos>", "<unk>", "<pad>"]


def test_another_tokenizer_of_the_same_size(tmp_path: Path) -> None:
    path = tmp_path / "word_tokenizer.json"
    path.write_text(json.dumps({"format": "own", "vocab": WORDS}))
    training = ts_models.TrainingSummary(parameters=1, steps=1, tokens=1, seconds=1)
    folder = ts_models.save(ts_models.build("story-1m", **SIZES), tmp_path / "m", tokenizer=path, training=training)
    with pytest.raises(TokenizerError, match="no installed package reads"):
        ts_models.load(folder).generate("w1")
    (folder / path.name).write_text(json.dumps({"format": "own", "vocab": [*WORDS[15::-1], *WORDS[16:]]}))
    lm = ts_models.load(folder)
    assert len(lm.model.generate([[17]], method="greedy", max_new_tokens=2)[0]) > 0
    with pytest.raises(TokenizerError, match="is not the tokenizer that the model was saved with") as found:
        lm.generate("w1")
    one_sentence(found.value)


def test_a_tokenizer_with_other_special_ids(tmp_path: Path) -> None:
    path = tmp_path / "word_tokenizer.json"
    path.write_text(json.dumps({"format": "own", "vocab": WORDS}))
    ts_models.save(ts_models.build("story-1m", **SIZES), tmp_path / "m", tokenizer=path)
    with pytest.raises(ConfigError, match="`<eos>` has id 16, but the model's eos_id is 3"):
        ts_models.save(ts_models.build("story-1m", **SIZES, eos_id=3), tmp_path / "n", tokenizer=path)


def test_sub_packages_need_no_import_of_their_own() -> None:
    code = "import ts_models; ts_models.export.export; ts_models.generation.make_stepper; ts_models.errors.ConfigError; ts_models.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "AttributeError: No ts_models attribute nothing" in done.stderr


@pytest.mark.parametrize("write", ["save", "int8", "transformers"])
def test_another_projects_model_is_not_replaced(folder: Path, tmp_path: Path, write: str) -> None:
    other = tmp_path / "llama"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    (other / "model.safetensors").write_bytes(b"theirs")
    model = ts_models.load(folder).model
    with pytest.raises(TsModelsError, match="is left alone"):
        ts_models.save(model, other) if write == "save" else export(folder, other, format=write)
    assert (other / "model.safetensors").read_bytes() == b"theirs"


def test_an_export_to_transformers_may_be_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        export(folder, out, format="transformers")
    assert torch.equal(
        ts_models.load(ts_models.save(ts_models.load(out).model, out)).model(IDS), ts_models.load(folder).model(IDS)
    )


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        (
            "manifest.json",
            {"format": "ts-data/manifest"},
            "ts-tokenizer encode {} --tokenizer word_tokenizer.json --out encoded/",
        ),
        ("manifest.json", {"format": "ts-tokenizer/encoded"}, "ts-train run --preset story-1m --data {} --out run/"),
        ("config.json", {"format": "ts-train/config"}, "ts-train resume {}"),
        ("notes.txt", {}, "ts-train run --preset story-1m --data encoded/ --out run/"),
    ],
)
@pytest.mark.parametrize("opened", ["load", "show"])
def test_a_folder_without_a_model_names_the_command_that_makes_one(
    tmp_path: Path, name: str, content: dict[str, str], command: str, opened: str
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    if opened == "load":
        with pytest.raises(ArtefactError) as found:
            ts_models.load(tmp_path)
        message = str(found.value)
        one_sentence(found.value)
    else:
        message = str(CliRunner().invoke(app, ["show", str(tmp_path)]).exception)
    assert command.format(tmp_path) in message
