"""Arrow arrays from NumPy's and back, by their buffers; blanks in their bytes.

Unlike `pa.array` and `to_numpy`, the functions do not load pandas if it is installed, which takes 0.2 s in every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def fixed(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """Numbers or booleans `[rows]`; null where `valid` is False."""
    data = _bits(values) if values.dtype == bool else np.ascontiguousarray(values)
    buffers = [None if valid is None else pa.py_buffer(_bits(valid)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def strings(texts: Sequence[bytes]) -> pa.Array:
    """Texts as large_string. Whether they are UTF-8 is not checked (`validate(full=True)` does)."""
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return pa.Array.from_buffers(pa.large_string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))])


def numbers(column: pa.Array) -> np.ndarray:
    """A column of numbers or booleans without nulls as an array `[rows]`."""
    first, end = column.offset, column.offset + len(column)
    data = column.buffers()[1]
    if data is None:
        return np.zeros(0, bool if column.type == pa.bool_() else _dtype(column.type))
    if column.type == pa.bool_():
        return np.unpackbits(np.frombuffer(data, np.uint8), count=end, bitorder="little")[first:].view(bool)
    return np.frombuffer(data, _dtype(column.type), end)[first:]


def text_bytes(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a large_string column, and where its texts end in them, with a 0 before: text i is `content[ends[i]:ends[i + 1]]`."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int64)
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]], ends - ends[0]


def open_batch(path: Path) -> pa.RecordBatch:
    """The one batch of an Arrow IPC file, read and not mapped: mapped pages would count as memory of this process."""
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).get_batch(0)


def whole_batches(file: pq.ParquetFile, rows: int, groups: Sequence[int], **options: Any) -> Iterator[pa.RecordBatch]:
    """The rows of row groups as batches of up to `rows`. Raises pa.ArrowInvalid as `check_rows` does."""
    count = 0
    for batch in file.iter_batches(rows, row_groups=groups, **options):
        count += batch.num_rows
        yield batch
    check_rows(file, groups, count)


def check_rows(file: pq.ParquetFile, groups: Sequence[int], count: int) -> None:
    """Raises pa.ArrowInvalid if row groups gave fewer rows than the file says: Arrow skips a page of a kind that it does not know."""
    wanted = sum(file.metadata.row_group(group).num_rows for group in groups)
    if count != wanted:
        raise pa.ArrowInvalid(f"{count:,} of its {wanted:,} rows can be read")


def blanks(content: np.ndarray) -> np.ndarray:
    """Which bytes `[bytes]` str.split takes for a blank in ASCII."""
    found: np.ndarray = content == ord(" ")
    if (content < ord(" ")).any():
        found |= content - np.uint8(ord("\t")) <= ord("\r") - ord("\t")  # a smaller byte wraps around to a large number
        found |= content - np.uint8(0x1C) <= 0x1F - 0x1C
    return found


def _dtype(kind: pa.DataType) -> np.dtype:
    """The NumPy type of an Arrow type of numbers. In PyArrow 16 `to_pandas_dtype` needs pandas."""
    return np.dtype({"halffloat": "float16", "float": "float32"}.get(str(kind), str(kind)))


def _bits(flags: np.ndarray) -> np.ndarray:
    return np.packbits(flags, bitorder="little")
