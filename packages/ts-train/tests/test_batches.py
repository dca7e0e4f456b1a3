from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_train.data.batches import IGNORED, Batches, story_difficulty
from ts_train.errors import DataError
from ts_train.testing import FakeSplit, fake_encoded

PAD, EOS = 31, 28


def make(arrangement: str = "bucketed", **options: object) -> Batches:
    settings = {"context": 16, "seed": 1, "pad_id": PAD, "max_tokens": 64, "arrangement": arrangement, **options}
    return Batches(fake_encoded(longest=24)["train"], **settings)  # type: ignore[arg-type]


def stories_of(batches: Batches, steps: range) -> list[int]:
    return [int(i) for step in steps for row in batches.plan(step).rows for i in row]


def test_a_bucket_wider_than_the_context_takes_as_many_rows_as_fit() -> None:
    """Rows are as wide as the context at most: 6 of 16 places in 96."""
    batches = make(bucket=1000, max_tokens=96)
    assert [len(batches.plan(step).rows) for step in range(batches.steps_per_epoch)] == [6] * 10


@pytest.mark.parametrize("arrangement", ["bucketed", "shuffled", "packed"])
def test_a_prompt_has_no_loss(arrangement: str) -> None:
    split = fake_encoded(longest=24)["train"]
    prompts = np.random.default_rng(1).integers(1, np.diff(split.offsets))
    plain = make(arrangement)
    batches = Batches(
        FakeSplit(split.ids, split.offsets, prompts), context=16, seed=1, pad_id=PAD, max_tokens=64, arrangement=arrangement
    )
    for step in range(batches.steps_per_epoch):
        plan = batches.plan(step)
        (batch,) = batches.micro_batches(plan, rank=0, world_size=1, max_tokens=10**9)
        (whole,) = plain.micro_batches(plain.plan(step), rank=0, world_size=1, max_tokens=10**9)
        assert torch.equal(batch.ids, whole.ids)
        for r, row in enumerate(plan.rows):
            place = 0
            for story in row:
                length = int(batches.lengths[story])
                first = min(int(prompts[story]) - 1, length - 1)  # where the context ends in the prompt, its last token is scored
                assert (batch.targets[r, place : place + first] == IGNORED).all()
                scored = slice(place + first, place + length)
                assert torch.equal(batch.targets[r, scored], whole.targets[r, scored])
                place += length
        assert int((batch.targets != IGNORED).sum()) == plan.tokens
    assert sum(batches.plan(step).tokens for step in range(batches.steps_per_epoch)) == batches.epoch_tokens < plain.epoch_tokens


@pytest.mark.parametrize("arrangement", ["bucketed", "shuffled", "packed"])
class TestEveryArrangement:
    def test_every_story_once_per_epoch(self, arrangement: str) -> None:
        batches = make(arrangement)
        n = batches.steps_per_epoch
        assert n > 3
        for epoch in range(3):
            assert sorted(stories_of(batches, range(epoch * n, (epoch + 1) * n))) == list(range(60))

    def test_epochs_differ_and_seeds_differ(self, arrangement: str) -> None:
        batches, other = make(arrangement), make(arrangement, seed=2)
        n = batches.steps_per_epoch
        assert stories_of(batches, range(n)) != stories_of(batches, range(n, 2 * n))
        assert stories_of(batches, range(n)) != stories_of(other, range(n))

    def test_a_step_needs_no_step_before_it(self, arrangement: str) -> None:
        batches, fresh = make(arrangement), make(arrangement)
        for step in range(2 * batches.steps_per_epoch):
            batches.plan(step)
        late = 2 * batches.steps_per_epoch + 1
        assert [r.tolist() for r in batches.plan(late).rows] == [r.tolist() for r in fresh.plan(late).rows]

    def test_rows_fit_and_no_false_eos(self, arrangement: str) -> None:
        batches = make(arrangement)
        for step in range(batches.steps_per_epoch):
            plan = batches.plan(step)
            (batch,) = batches.micro_batches(plan, rank=0, world_size=1, max_tokens=10**9)
            assert batch.ids.shape[1] <= 16
            assert int((batch.targets != IGNORED).sum()) == plan.tokens
            for r, row in enumerate(plan.rows):
                place = 0
                for story in row:
                    whole = batches.ids[batches.offsets[story] : batches.offsets[story + 1]].astype(int)
                    length = int(batches.lengths[story])
                    assert batch.ids[r, place : place + length].tolist() == whole[:length].tolist()
                    assert batch.targets[r, place : place + length].tolist() == whole[1 : length + 1].tolist()
                    ends = EOS in batch.targets[r, place : place + length].tolist()
                    assert ends == (len(whole) - 1 <= 16)  # a story that was cut has no <eos>
                    place += length

    def test_ranks_share_the_step_out(self, arrangement: str) -> None:
        batches = make(arrangement)
        for step in range(batches.steps_per_epoch):
            plan = batches.plan(step)
            for size in (1, 2, 3, 7):
                shared = [
                    int((b.targets != IGNORED).sum())
                    for rank in range(size)
                    for b in batches.micro_batches(plan, rank=rank, world_size=size, max_tokens=20)
                ]
                assert sum(shared) == plan.tokens


def test_stories_longer_than_the_context_are_counted() -> None:
    batches = make()
    full = np.diff(batches.offsets) - 1
    assert batches.cut_stories == int((full > 16).sum()) > 0
    assert batches.cut_tokens == int((full[full > 16] - 16).sum())


def test_like_lengths_pad_little_and_batches_stay_under_the_limit() -> None:
    batches = make(bucket=2)
    plans = [batches.plan(i) for i in range(batches.steps_per_epoch)]
    assert all(p.padded_tokens <= 64 for p in plans)
    assert 1 - sum(p.tokens for p in plans) / sum(p.padded_tokens for p in plans) < 0.1


def test_packing_pads_less_than_shuffling_and_keeps_stories_apart() -> None:
    packed = make("packed", max_tokens=None, batch_size=4)
    rows = [row for i in range(packed.steps_per_epoch) for row in packed.plan(i).rows]
    assert max(len(row) for row in rows) > 1
    used = sum(int(packed.lengths[row].sum()) for row in rows) / (16 * len(rows))
    assert used > 0.9
    (batch,) = packed.micro_batches(packed.plan(0), rank=0, world_size=1, max_tokens=10**9)
    assert batch.segments is not None
    for segments, targets in zip(batch.segments, batch.targets, strict=True):
        assert bool(((segments == 0) == (targets == IGNORED)).all())
        real = segments[segments > 0]
        assert bool((real.diff() >= 0).all())


def test_batch_size_counts_stories() -> None:
    batches = make("shuffled", max_tokens=None, batch_size=16)
    assert [len(batches.plan(i).rows) for i in range(batches.steps_per_epoch)].count(16) == 3
    assert batches.steps_per_epoch == 4  # 60 stories: the last one holds 12


def test_a_curriculum_orders_the_first_epoch_only() -> None:
    batches = make(scores=np.diff(fake_encoded(longest=24)["train"].offsets).astype(float))
    widths = [batches.plan(i).rows for i in range(batches.steps_per_epoch)]
    means = [float(np.mean([batches.scores[row[0]] for row in rows])) for rows in widths]  # type: ignore[index]
    assert means == sorted(means)
    n = batches.steps_per_epoch
    later = [float(np.mean([batches.scores[row[0]] for row in batches.plan(n + i).rows])) for i in range(n)]  # type: ignore[index]
    assert later != sorted(later)


def test_difficulty_is_the_mean_surprise() -> None:
    split = FakeSplit(np.array([0, 0, 0, 1], dtype=np.uint16), np.array([0, 2, 4]))
    assert story_difficulty(split).tolist() == pytest.approx([np.log(4 / 3), (np.log(4 / 3) + np.log(4)) / 2])


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        Batches(FakeSplit(np.array([], dtype=np.uint16), np.array([0])), context=8, seed=1, pad_id=0)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=50),
    context=st.integers(2, 30),
    arrangement=st.sampled_from(["bucketed", "shuffled", "packed"]),
    max_tokens=st.integers(16, 200),
    bucket=st.integers(1, 9),
)
def test_any_lengths(lengths: list[int], context: int, arrangement: str, max_tokens: int, bucket: int) -> None:
    offsets = np.cumsum([0, *lengths])
    split = FakeSplit(np.arange(offsets[-1]).astype(np.uint16), offsets)
    batches = Batches(split, context=context, seed=3, pad_id=0, max_tokens=max_tokens, arrangement=arrangement, bucket=bucket)
    n = batches.steps_per_epoch
    for epoch in (0, 1):
        plans = [batches.plan(epoch * n + i) for i in range(n)]
        assert sorted(int(i) for p in plans for row in p.rows for i in row) == list(range(len(lengths)))
        assert sum(p.tokens for p in plans) == batches.epoch_tokens == sum(min(length - 1, context) for length in lengths)
    assert torch.is_tensor(batches.micro_batches(batches.plan(0), rank=0, world_size=1, max_tokens=8)[0].ids)
