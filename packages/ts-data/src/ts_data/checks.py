"""Checks the types of arguments; an error is one sentence."""

from collections.abc import Iterable, Iterator, Mapping

from .schemas import PrepareConfig


def check_text(value: object, name: str = "text") -> None:
    """Raise TypeError for anything but a str."""
    if not isinstance(value, str):
        hint = " Pass one text at a time." if isinstance(value, (list, tuple)) else ""
        raise TypeError(f"{name}: a str is expected, this is {_named(value)}.{hint}")


def check_config(value: object) -> None:
    """Raise TypeError for anything but a PrepareConfig."""
    if not isinstance(value, PrepareConfig):
        raise TypeError(f"config: a PrepareConfig is expected, not {_named(value)}. Write ts_data.PrepareConfig(validation=…).")


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """The texts of an iterable. Raises TypeError for a single str or bytes, and for an entry that is no str, with its row."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(f"texts: a list of stories is expected, not one {type(texts).__name__}. Pass [text].")
    if isinstance(texts, Mapping) or len(getattr(texts, "shape", (1,))) != 1:
        raise TypeError(f"texts: a list of stories is expected, not a table ({type(texts).__name__}). Pass one of its columns.")
    return _checked(texts.to_pylist() if hasattr(texts, "to_pylist") else texts)  # Arrow's entries are no str


def _checked(texts: Iterable[object]) -> Iterator[str]:
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{row}]: a str is expected, this is {_named(text)}. Remove the entry, or fill it with a text.")
        yield text


def _named(value: object) -> str:
    return repr(value) if value is None or isinstance(value, (bool, int, float)) else f"of type {type(value).__name__}"
