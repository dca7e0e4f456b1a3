"""The tokenizer of a model: of a word_tokenizer.json by entry points, of third-party models transformers' or llama2.c's tokenizer.bin.

A package registers under the group `ts_models.tokenizers` a callable (path → tokenizer) by the file's `format`.
"""

import re
import struct
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from ..artefact import StrPath, read_json
from ..errors import ArtefactError, MissingExtraError, TokenizerError
from ..protocols import Tokenizer
from ..schemas import ModelConfig

GROUP = "ts_models.tokenizers"
_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
"""A piece that stands for one byte."""


def load_tokenizer(path: StrPath) -> Tokenizer:
    """Read a tokenizer file. Raises TokenizerError where no installed package reads its format."""
    path = Path(path)
    kind = read_json(path).get("format")
    found = [entry for entry in entry_points(group=GROUP) if entry.name == str(kind)]
    if not found:
        raise TokenizerError(
            f'{path}: no installed package reads the tokenizer format {kind!r}. Run: pip install "ts-models[text]" '
            "(ids work without it)."
        )
    if len({entry.value for entry in found}) > 1:
        raise TokenizerError(
            f"{path}: several packages claim the format {kind!r}: {', '.join(e.value for e in found)}. Remove one."
        )
    return cast(Tokenizer, found[0].load()(path))


# --- of third-party models -----------------------------------------------------------------------


class _Stream:
    """Gives out text once it can no longer change: all but what the last ids might still join."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.given = tokenizer, ""
        self.ids: list[int] = []

    def push(self, id: int) -> str:
        """The text that became certain."""
        self.ids.append(id)
        text = self.tokenizer.decode(self.ids)
        if text.endswith("\ufffd") or not text.startswith(self.given):
            return ""
        piece, self.given = text[len(self.given) :], text
        return piece

    def finish(self) -> str:
        """What was held back."""
        return self.tokenizer.decode(self.ids)[len(self.given) :]


class HuggingFaceTokenizer:
    """AutoTokenizer of a folder. Needs the extra `transformers`."""

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise MissingExtraError(
                'the tokenizer of this model needs transformers. Run: pip install "ts-models[transformers]"'
            ) from None
        try:
            self._own = AutoTokenizer.from_pretrained(str(folder))
        except Exception as problem:
            reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
            raise ArtefactError(f"{folder}: transformers cannot read its tokenizer ({reason}). Fetch the folder again.") from None
        self.vocab_size = config.vocab_size
        self.eos_id, self.bos_id, self.unk_id, self.pad_id = config.eos_id, config.bos_id, config.unk_id, config.pad_id

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        ids: list[int] = self._own.encode(text, add_special_tokens=False)
        return [number for number in (self.bos_id, *ids, self.eos_id) if number >= 0] if add_special_tokens else ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return str(self._own.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def stream_decoder(self) -> _Stream:
        return _Stream(self)


class Llama2cTokenizer:
    """llama2.c's tokenizer.bin: SentencePiece BPE pieces with their scores, merged by score, bytes as fall-back."""

    unk_id, bos_id, eos_id, pad_id = 0, 1, 1, -1
    unused_id = 2
    """`</s>` is in the vocabulary, but not in the training data: `<s>` separates the stories and ends a text in run.c."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        raw, place = path.read_bytes(), 4  # the first integer is the longest piece
        self.pieces: list[bytes] = []
        self.scores: list[float] = []
        try:
            for _ in range(vocab_size):
                score, size = struct.unpack_from("<fi", raw, place)
                if size < 0 or place + 8 + size > len(raw):
                    raise struct.error
                self.pieces.append(raw[place + 8 : place + 8 + size])
                self.scores.append(score)
                place += 8 + size
        except struct.error:
            raise ArtefactError(
                f"{path}: ends after {len(self.pieces)} of {vocab_size} tokens. It belongs to another model."
            ) from None
        self.ids = {piece: number for number, piece in reversed(list(enumerate(self.pieces)))}

    @property
    def vocab(self) -> tuple[str, ...]:
        """All pieces in id order."""
        return tuple(piece.decode("utf-8", "replace") for piece in self.pieces)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """See protocols.Tokenizer. As in run.c: a blank before the text, characters, then the best merge until none is left."""
        ids: list[int] = []
        for character in (" " + text) if text else "":
            piece = character.encode()
            spelled = [byte + 3 if byte + 3 < self.vocab_size else self.unk_id for byte in piece]
            ids += [self.ids[piece]] if piece in self.ids else spelled
        while (best := self._best_merge(ids)) is not None:
            ids[best[1] : best[1] + 2] = [best[2]]
        return [self.bos_id, *ids, self.eos_id] if add_special_tokens else ids

    def _best_merge(self, ids: list[int]) -> tuple[float, int, int] | None:
        found: tuple[float, int, int] | None = None
        for place in range(len(ids) - 1):
            joined = self.ids.get(self.pieces[ids[place]] + self.pieces[ids[place + 1]])
            if joined is not None and (found is None or self.scores[joined] > found[0]):
                found = (self.scores[joined], place, joined)
        return found

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        special = (self.bos_id, self.unused_id)
        pieces = [self._bytes(number) for number in ids if not (skip_special_tokens and number in special)]
        return b"".join(pieces).decode("utf-8", "replace").removeprefix(" ")

    def _bytes(self, number: int) -> bytes:
        piece = self.pieces[number]
        byte = _BYTE.fullmatch(piece)
        return piece if byte is None else bytes([int(byte[1], 16)])

    def stream_decoder(self) -> _Stream:
        return _Stream(self)
