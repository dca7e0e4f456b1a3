"""Parquet files with a column of stories."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..arrow import whole_batches
from ..errors import SourceError
from ..schemas import PrepareConfig
from . import blocks
from .blocks import Bad, Block, Format, Input, Texts, column_of, inner_path
from .storage import open_file


class Parquet(Format):
    """The column `config.text_column`, which may be inside structs (`meta.story`)."""

    is_text = False

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        """Cut between row groups."""
        file = _open(source)
        metadata = file.metadata
        kind, name = _column_type(source, file.schema_arrow, config), config.text_column
        if not any(check(kind) for check in _TEXT):
            raise SourceError(
                f"{source.name}: the column {name!r} holds {kind}, text was expected. Name another: --set text_column=…"
            )
        found, start, size = [], 0, 0
        for group in range(metadata.num_row_groups):
            size += metadata.row_group(group).total_byte_size
            if size >= blocks.BLOCK or group == metadata.num_row_groups - 1:
                found.append(Block(source, start, group + 1, group == metadata.num_row_groups - 1, size))
                start, size = group + 1, 0
        if metadata.num_rows == 0:
            raise SourceError(f"{source.name}: has no rows; there is no story in it.")
        return found

    def read(self, block: Block, config: PrepareConfig, bad: Bad) -> Texts:
        """A null is an empty story."""
        file = _open(block.input)
        name = column_of(block.input.name, file.schema_arrow.names, config)
        inner = inner_path(name, config)
        groups = list(range(block.start, block.end))
        try:
            for batch in whole_batches(file, blocks.ROWS, groups, columns=[".".join([name, *inner])], use_threads=False):
                column = batch.column(0)
                for field in inner:
                    column = pc.struct_field(column, field)
                column = column.cast(pa.large_string())
                column.validate(full=True)  # also that it is UTF-8
                yield (column.fill_null("") if column.null_count else column), False
        except (pa.ArrowException, OSError) as problem:
            reason = str(problem).splitlines()[0][:80]
            raise SourceError(f"{block.input.name}: damaged: {reason}. Make or download it again.") from None


_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)


def _open(source: Input) -> pq.ParquetFile:
    handle = open_file(source.path)
    try:
        return pq.ParquetFile(handle)
    except (pa.ArrowException, OSError) as problem:
        reason = next(iter(str(problem).splitlines()), type(problem).__name__).rstrip(" .:")
        raise SourceError(f"{source.name}: not a Parquet file, or damaged: {reason}. Make or download it again.") from None


def _column_type(source: Input, schema: pa.Schema, config: PrepareConfig) -> pa.DataType:
    """The type of the column of stories, also inside structs."""
    column = column_of(source.name, schema.names, config)
    kind = schema.field(column).type
    for name in inner_path(column, config):
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            raise SourceError(
                f"{source.name}: no column {config.text_column!r}; {column!r} is {kind}. Name it: --set text_column=…"
            )
        kind = kind.field(name).type
    return kind
