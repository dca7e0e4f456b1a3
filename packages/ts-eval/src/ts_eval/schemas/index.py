"""Schema of index.json, the manifest of a StoryIndex on disk. Standard library and pydantic only."""

from typing import Literal

from pydantic import Field

from .base import Frozen


class IndexManifest(Frozen):
    """index.json beside the arrays of a StoryIndex."""

    format: Literal["ts-eval/index"] = "ts-eval/index"
    schema_version: int = 1
    tokenisation: int
    """Version of the splitting into words and stems; an index of another version is rebuilt."""
    corpus: str
    """SHA-256 of the stories, or the fingerprint of the split that they came from."""
    stories: int = Field(ge=1)
    words: int = Field(ge=0)
    """Length of the stream of the word ids, `second` included."""
    second: int = Field(ge=0)
    """Words at the end of the stream: the stories that rouge-score splits differently from scikit-learn."""
    vocabulary: int = Field(ge=0)
    id_type: Literal["uint16", "uint32"]
    names: tuple[str, ...]
    """Names, recognised by their capitalisation within sentences."""
    files: dict[str, str]
    """File name → SHA-256."""
