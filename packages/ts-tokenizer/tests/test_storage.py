"""Keys of features are packed without loss, in less than half their bytes."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_tokenizer.detokenizer.storage import ALL_CAPITALS, pack, pack_keys, unpack_keys

field = st.integers(0, 2**16 - 1) | st.integers(0, 20)
key = st.tuples(st.integers(0, 511), field, field, field).map(lambda k: k[0] << 48 | k[1] << 32 | k[2] << 16 | k[3])


@settings(deadline=None)
@given(st.sets(key, max_size=60))
def test_keys_come_back(keys: set[int]) -> None:
    rising = np.array(sorted(keys), dtype=np.int64)
    assert unpack_keys(*pack_keys(rising)).tolist() == rising.tolist()


def test_dense_keys_take_few_bits() -> None:
    keys = np.unique(np.random.default_rng(0).integers(0, 2048, (3_000, 2)) @ np.array([1 << 16, 1])) | 34 << 48 | ALL_CAPITALS
    templates, content = pack_keys(keys)
    assert len(base64.b64decode(content)) * 8 < 13 * len(keys) + 8
    assert unpack_keys(templates, content).tolist() == keys.tolist()


@pytest.mark.parametrize("column", [1, 2, 3, 4])
@pytest.mark.parametrize("wrong", [0, 2**32 - 1])
def test_a_damaged_table_is_refused(column: int, wrong: int) -> None:
    templates, content = pack_keys(np.array([1 << 48 | 5, 1 << 48 | 1 << 32 | 7], dtype=np.int64))
    table = np.frombuffer(base64.b64decode(templates), dtype="<u4").copy()
    table[column] = wrong
    with pytest.raises(ValueError, match="template"):
        unpack_keys(pack(table, "<u4"), content)
