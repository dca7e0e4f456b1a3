from .__about__ import __version__
from .bits import bits_per_byte
from .encode import encode_splits
from .encoded import Encoded, EncodedSplit, open_encoded
from .errors import ArtefactError, ConfigError, TextError, TsTokenizerError, VocabularyError
from .schemas import EncodedManifest, TokenizerSpec
from .tokenizer import WordTokenizer, load

__all__ = [
    "ArtefactError",
    "ConfigError",
    "Encoded",
    "EncodedManifest",
    "EncodedSplit",
    "TextError",
    "TokenizerSpec",
    "TsTokenizerError",
    "VocabularyError",
    "WordTokenizer",
    "__version__",
    "bits_per_byte",
    "encode_splits",
    "load",
    "open_encoded",
]
