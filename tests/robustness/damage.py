"""Hypothesis strategies that damage a file: its bytes anywhere, or its structure where it still parses. They know no artefact."""

from __future__ import annotations

import copy
import json
import tomllib
from typing import Any

from hypothesis import strategies as st

__all__ = ["SMALL", "as_toml", "damaged_bytes", "damaged_json", "damaged_lines", "damaged_toml"]

SMALL = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 70_000),
        st.sampled_from([2**31, 2**63, -(2**63), 10**30]),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["../../escape", "/etc/passwd", "a\0b", "\ud800", "NaN", "(", "//79", "AAAA"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
"""Any small JSON value: wrong types, numbers of every size, paths that leave the folder, halves of surrogates."""


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes overwritten, inserted, cut out, or the rest cut off."""
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    new = draw(st.binary(min_size=1, max_size=8))
    rest = draw(st.sampled_from(["over", "insert", "cut", "end"]))
    if rest == "end":
        return content[:at]
    kept = {"over": at + len(new), "insert": at, "cut": at + draw(st.integers(1, 64))}[rest]
    return content[:at] + (b"" if rest == "cut" else new) + content[kept:]


@st.composite
def damaged_value(draw: st.DrawFn, content: Any) -> Any:
    """A JSON value with one to three of its nodes removed, replaced or joined by an unknown one."""
    whole = {"": copy.deepcopy(content)}
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _places(whole) if place[0] is not whole or len(place) < 2]
        holder, key = draw(st.sampled_from(places or [(whole, "")]))
        action = draw(st.sampled_from(["replace", "replace", "remove", "add", "huge"]))
        if action == "remove" and holder is not whole:
            del holder[key]
        elif action == "add" and isinstance(holder[key], dict):
            holder[key][draw(st.text(max_size=4))] = draw(SMALL)
        elif action == "huge" and isinstance(holder[key], list) and holder[key]:
            holder[key] = holder[key] * draw(st.integers(2, 5))
        else:
            holder[key] = draw(SMALL)
    return whole[""]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value; of a long list only both ends, so that a vocabulary does not crowd out the rest."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else [*range(len(value))][:4] + [*range(len(value))][-4:]
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def damaged_json(content: bytes) -> st.SearchStrategy[bytes]:
    return damaged_value(json.loads(content)).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@st.composite
def damaged_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """JSON lines with one line damaged."""
    lines = content.splitlines(keepends=True)
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = draw(damaged_json(lines[number])) + b"\n"
    return b"".join(lines)


def damaged_toml(content: bytes) -> st.SearchStrategy[bytes]:
    return damaged_value(tomllib.loads(content.decode("utf-8"))).map(as_toml)


def as_toml(value: Any) -> bytes:
    """A value as TOML, enough for the purpose. What has no TOML (a number alone) becomes a broken file, which is as good."""
    lines = (
        [f"{json.dumps(key)} = {_inline(inner)}" for key, inner in value.items()] if isinstance(value, dict) else [repr(value)]
    )
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(inner) for inner in value if inner is not None) + "]"
    return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(text := json.dumps(value), text)
