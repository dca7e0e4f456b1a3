"""Arrow arrays from NumPy's and back, by their buffers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ts_data import arrow


@pytest.mark.parametrize("name", ["int8", "uint32", "int64", "float32", "float64", "bool"])
def test_numbers_come_back_as_they_went(name: str) -> None:
    values = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1], name)
    column = arrow.fixed(values)
    assert column.type == pa.from_numpy_dtype(values.dtype)
    for part, expected in ((column, values), (column[3:], values[3:]), (column[2:9], values[2:9]), (column[:0], values[:0])):
        back = arrow.numbers(part)
        assert back.dtype == values.dtype
        assert back.tolist() == expected.tolist()


def test_places_without_a_value_are_null() -> None:
    assert arrow.fixed(np.array([1, 2, 3]), np.array([True, False, True])).to_pylist() == [1, None, 3]


def test_texts_are_taken_as_they_are() -> None:
    assert arrow.strings([b"a", b"", "é".encode()]).to_pylist() == ["a", "", "é"]
    with pytest.raises(pa.ArrowInvalid):
        arrow.strings([b"\xff"]).validate(full=True)
