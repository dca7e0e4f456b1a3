"""Every way to step through a network gives the logits of reading the whole text at once, at every step."""

import random

import numpy as np
import pytest
import torch

from ts_models.errors import ConfigError
from ts_models.fast.decode import FastStepper
from ts_models.fast.kernels.arrays import quantise
from ts_models.fast.weights import _fingerprint as fingerprint
from ts_models.fast.weights import extract_weights, read_weights
from ts_models.generation import TorchStepper, make_stepper

pytest.importorskip("numba")


def steps(stepper, prompts, width, moves):
    """Yields each row's ids so far and its logits, through a fixed sequence of moves (tokens, rows)."""
    rows = [list(prompt) for prompt in prompts for _ in range(width)]
    yield rows, stepper.start(prompts, 40, per_prompt=width)
    for tokens, parents in moves:
        chosen = range(len(rows)) if parents is None else parents
        rows = [[*rows[parent], token] for parent, token in zip(chosen, tokens, strict=True)]
        yield rows, stepper.step(torch.tensor(tokens), None if parents is None else torch.tensor(parents))


def assert_uncached(network, stepper, prompts, width, moves):
    seen = 0
    with torch.inference_mode():
        for rows, logits in steps(stepper, prompts, width, moves):
            for row, own in zip(rows, logits, strict=True):
                whole = network(torch.tensor([row]))[0, -1]
                torch.testing.assert_close(own, whole, atol=1e-5, rtol=1e-5)
                seen += 1
    assert seen > len(moves)


RAGGED = [[61, 3, 4, 5, 6], [61], [61, 9, 8]]
SAMPLED = [([1, 2, 3], None), ([4, 5, 6], None), ([7, 8], [0, 2]), ([9, 10], None), ([11], [1]), ([12], None), ([13], None)]
# Two prompts of two beams: beams part, one prompt ends, the other goes on in other rows.
BEAMS = [
    ([1, 2, 3, 4], [0, 0, 2, 2]),
    ([5, 6, 7, 8], [1, 1, 3, 2]),
    ([9, 1, 2, 3], [1, 0, 2, 2]),
    ([2, 3], [3, 3]),
    ([4, 5], [1, 0]),
    ([6, 7], [0, 0]),
]


def test_torch_steps_equal_whole(network):
    assert_uncached(network, TorchStepper(network), RAGGED, 1, SAMPLED)


def test_torch_beams_equal_whole(network):
    assert_uncached(network, TorchStepper(network), RAGGED[:2], 2, BEAMS)


def test_kernel_steps_equal_whole(transformer):
    assert_uncached(transformer, FastStepper(transformer), RAGGED, 1, SAMPLED)


def test_kernel_beams_equal_whole(transformer):
    assert_uncached(transformer, FastStepper(transformer), RAGGED[:2], 2, BEAMS)


def test_beams_that_part_often_equal_whole(transformer):
    """Thirty random moves of two prompts of three beams: over the borders of blocks, from blocks that are full and that are not."""
    draw = random.Random(3)
    moves = [
        ([draw.randrange(60) for _ in range(6)], [p * 3 + draw.randrange(3) for p in (0, 1) for _ in range(3)]) for _ in range(30)
    ]
    assert any(len(set(rows)) < 6 for _, rows in moves)
    assert_uncached(transformer, FastStepper(transformer), [[61, *range(7)], [61]], 3, moves)


def test_large_batches_equal_whole(transformer):
    prompts = [[61, *range(1, 1 + n % 5)] for n in range(12)]
    moves = [(list(range(12)), None), ([3] * 12, None), (list(range(10)), [0, 1, 2, 3, 4, 5, 6, 7, 9, 11]), ([5] * 10, None)]
    stepper = FastStepper(transformer)
    assert_uncached(transformer, stepper, prompts, 1, moves)


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_neither_threads_nor_other_rows_change_a_row(transformer, precision, monkeypatch):
    prompts = [[61, *range(1, 1 + n % 5)] for n in range(17)]
    results = []
    with torch.inference_mode():
        for threads, rows, small in ((1, 1, True), (1, 17, True), (2, 17, True), (2, 17, False), (2, 3, False)):
            monkeypatch.setattr("ts_models.fast.decode._SMALL", 8_000_000 if small else 0)
            monkeypatch.setattr("ts_models.fast.decode._ROWS_OF_A_THREAD", 8)
            stepper = FastStepper(transformer, precision=precision)
            stepper.threads = threads
            start = stepper.start(prompts[:rows], 20, per_prompt=1)
            assert len(start) == rows
            results.append(stepper.step(torch.full((rows,), 5), None)[0])
    for result in results[1:]:  # torch, which reads the prompts, rounds a product of one row and of many differently
        torch.testing.assert_close(result, results[0], atol=1e-5, rtol=1e-5)


def test_a_row_that_stays_alone_keeps_its_bits(transformer):
    prompts, tokens = [[61, *range(1, 1 + n % 5)] for n in range(17)], torch.arange(17)
    with torch.inference_mode():
        many, few = FastStepper(transformer), FastStepper(transformer)
        for stepper in (many, few):
            stepper.start(prompts, 20, per_prompt=1)
        together = many.step(tokens, None)
        for rows in ([3], [2, 9, 16]):
            few.start(prompts, 20, per_prompt=1)
            assert torch.equal(few.step(tokens[rows], torch.tensor(rows)), together[rows])


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_rounded_path_equals_its_rounded_weights(transformer, precision):
    """It is the network whose matrices were rounded, not something else."""
    exact = extract_weights(transformer)
    names = {n: "int8" if n == "head" else precision for n in ("qkv", "out", "up", "down", "head")}
    back = {n: restore(quantise(getattr(exact, n), kind)) for n, kind in names.items()}
    with torch.inference_mode():
        one, two = FastStepper(transformer, precision=precision), FastStepper(transformer)
        two.weights = exact._replace(**{n: two.kernels.arrange(matrix) for n, matrix in back.items()})
        for stepper in (one, two):
            stepper.start([[61, 2]], 20, per_prompt=1)
        torch.testing.assert_close(one.step(torch.tensor([5]), None), two.step(torch.tensor([5]), None), atol=1e-4, rtol=1e-4)


def restore(matrix):
    """Rounded weights as float32."""
    codes = matrix.value
    if codes.dtype == "int32":
        codes = ((codes[..., None] >> np.arange(0, 32, 4)) % 16 - 8).reshape(*codes.shape[:2], -1)[:, :, : matrix.size]
    scale = matrix.scale.repeat(-(-matrix.size // matrix.scale.shape[2]) if matrix.scale.shape[2] == 1 else 32, axis=2)
    value = (codes * scale[:, :, : matrix.size]).astype("f")
    return matrix._replace(value=value, scale=np.ones((*value.shape[:2], 1), "f"))


def test_rounding_is_to_the_nearest_step(small):
    exact = extract_weights(small).up
    for precision, step in (("int8", 0.5001), ("int4", 1.5)):  # int4 may clip the largest weights of a group
        rounded = quantise(exact, precision)
        scale = rounded.scale.repeat(32 if rounded.scale.shape[2] > 1 else exact.size, axis=2)[:, :, : exact.size]
        assert (abs(exact.value - restore(rounded).value) <= scale * step).all()
    assert np.square(exact.value - restore(quantise(exact, "int4")).value).mean() < 0.01 * np.square(exact.value).mean()


def test_quantise_keeps_zero_rows(small):
    matrix = extract_weights(small).up
    zero = matrix._replace(value=matrix.value * 0)
    for precision in ("int8", "int4"):
        assert not restore(quantise(zero, precision)).value.any()


def test_weights_are_read_again_after_a_step(small):
    before, values = read_weights(small), extract_weights(small).up.value.copy()
    assert read_weights(small) is before
    small.blocks[0].feed_forward.up.weight.data.add_(0.01)  # as some optimizers do, past the version counter
    after = read_weights(small)
    assert after is not before
    assert (after.up.value != before.up.value).any()
    assert abs(extract_weights(small).up.value[0] - values[0]).min() > 0.009


def test_weights_are_read_again_after_the_edit_of_any_row(small):
    """The sample that was compared once left out a row of a large matrix now and then, so its old weights went on writing."""
    table = small.embedding.weight = torch.nn.Parameter(torch.randn(5000, 8))
    before = fingerprint(small)
    for row in range(0, 5000, 101):
        kept = table.data[row].clone()
        table.data[row] = 0
        assert fingerprint(small) != before, row
        table.data[row] = kept
        assert fingerprint(small) == before
    with torch.no_grad():
        table[[0, 1]] = table[[1, 0]]
    assert fingerprint(small) != before


def test_the_fast_path_is_taken(small, monkeypatch):
    assert isinstance(make_stepper(small), FastStepper)
    monkeypatch.setenv("TS_MODELS_KERNELS", "plain")
    assert isinstance(make_stepper(small), TorchStepper)
    monkeypatch.setenv("TS_MODELS_KERNELS", "fortran")
    with pytest.raises(ConfigError, match="fortran"):
        make_stepper(small)


def test_other_networks_step_through_torch(small):
    assert isinstance(make_stepper(small.double()), TorchStepper)
