"""`train_file` writes a word_tokenizer.json; without `force` it keeps a file of other splits or settings."""

from pathlib import Path
from typing import Any

from ts_data.artefact import StrPath, check_file, keep_apart, lock, read_json
from ts_data.console import Progress

from .errors import ArtefactError
from .schemas import Casing
from .tokenizer import WordTokenizer
from .vocabulary import check_size, reserved


def train_file(
    splits: StrPath,
    out: StrPath,
    *,
    vocab_size: int = 2048,
    casing: Casing = "lower",
    force: bool = False,
    progress: Progress | None = None,
) -> WordTokenizer:
    """Learn a tokenizer from the train split of `splits` and write it to the file `out`.

    Raises ArtefactError if `out` is a tokenizer of other splits or settings (unless `force`), or any other file.
    """
    import ts_data

    manifest = ts_data.open_manifest(splits)
    check_size(vocab_size, casing)
    keep_apart(out, [splits], error=ArtefactError)
    with lock(out, error=ArtefactError):
        other = _differences(Path(out), manifest.fingerprint, vocab_size, casing)
        if other and not force:
            raise ArtefactError(
                f"{out}: is a tokenizer {' and '.join(other)}. Pass --force (force=True) to replace it, or choose another --out."
            )
        texts = ts_data.read(splits, "train")
        tokenizer = WordTokenizer.train(texts, vocab_size=vocab_size, casing=casing, progress=progress)
        tokenizer.save(out)
    return tokenizer


def _differences(out: Path, fingerprint: str, vocab_size: int, casing: Casing) -> list[str]:
    """How an existing tokenizer file differs from the requested one. Raises ArtefactError for any other file."""
    if not out.exists():
        return []
    check_file(out, "a file", lambda _: True, error=ArtefactError)  # reading a pipe would wait for its writer
    try:
        content = read_json(out, error=ArtefactError)
    except ArtefactError:
        content = {}
    if content.get("format") != "ts-tokenizer/word":
        raise ArtefactError(f"{out}: exists and is not a tokenizer file; it is left unchanged. Choose another --out.")
    other = []
    trained_on = content.get("trained_on")
    trained_on = trained_on if isinstance(trained_on, dict) else {}
    if trained_on.get("splits_fingerprint") != fingerprint:
        other.append("of other splits" if trained_on.get("splits_fingerprint") else "that does not name its splits")
    if content.get("casing") != casing:
        other.append(f"with casing={content.get('casing')}")
    vocab = content.get("vocab")
    entries, expected = len(vocab) if isinstance(vocab, list) else 0, _expected_size(trained_on, vocab_size, casing)
    if entries != expected:
        other.append(f"of {entries:,} entries instead of {expected:,}")
    return other


def _expected_size(trained_on: dict[str, Any], vocab_size: int, casing: Casing) -> int:
    """Entries of a vocabulary of this size over the same stories; the number of distinct tokens limits it."""
    distinct = trained_on.get("distinct")
    return min(vocab_size, distinct + len(reserved(casing))) if isinstance(distinct, int) else vocab_size
