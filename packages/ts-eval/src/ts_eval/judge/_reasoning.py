"""Chains of thought in a reply, in the spellings of the models in use. A thought is no answer; one that does not end leaves none.

Marks are looked for by their shape, not from a list of models: anything like a tag. What a tag means is told by its name; a tag
of an unknown name in the answer is refused rather than guessed at.
"""

from __future__ import annotations

import re

__all__ = ["UnparsedError", "without_reasoning"]

_TAG = re.compile(
    r"(?:<|＜|◁|⟨|‹|&lt;)(?P<a>[^<>＜＞◁▷⟨⟩‹›{}\n]{1,60}?)(?:>|＞|▷|⟩|›|&gt;)|"
    r"\[(?P<b>/?[ _:\w-]{0,20}(?:THINK|THOUGHT|REASON|REFLECT|ANALYSIS|SCRATCH)[ _:\w-]{0,20})\]|"
    r"^[ \t]*(?P<fence>```|~~~)[ \t]*(?P<c>[\w:-]{0,20}(?:think|thought|reason|reflect|analysis|scratch)[\w:-]{0,20})[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_THOUGHT = re.compile(
    r"th(?:ink|ought)|reason|reflect|analy[sz]|scratch|monologue|ponder|deliberat|brainstorm|cogit|contemplat|rationale|draft|(?:^|_)cot(?:$|_)|chain_of|"
    r"commentary|unused94",
)
_ANSWER = re.compile(
    r"(?:final_?)?(?:answer|output|response|result|rating|solution|json|score)s?|final|s|br|p|b|i|em|strong|code|pre|div|span|ul|li|"
    r"im_(?:start|end)|eot_id|eom_id|eot|eos|bos|end|endoftext|text|turn|turn_id|return|start|message|assistant|sentence|sep|constrain|eod|pad",
)
_LEAD = re.compile(
    r"\A[^\w`~]{0,5}(?:analysis(?=[A-Za-z])|(?:thoughts?|think|thinking|analysis|reasoning)[ \t]*\n|thinking\s*(?:\.{3}|…)|thinking process\b)",
    re.IGNORECASE,
)
_LEAD_ENDS = re.compile(r"assistant\s*final(?=\W|$)|(?:\.{3}|…)\s*done thinking\.?", re.IGNORECASE)


class UnparsedError(ValueError):
    """The reply is not six whole numbers from 1 to 10; the message says what is wrong with it."""


def without_reasoning(reply: str) -> str:
    """The reply with thoughts and marks as blanks, of the same length. Raises `UnparsedError` where a thought does not end."""
    depth, start = _lead(reply)
    blanks: list[tuple[int, int]] = []
    for mark in _TAG.finditer(reply, start):
        kind, end = _kind(mark, reply)
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth, start = max(0, depth - 1), end
        elif kind == "final":
            depth, start = 0, end
        elif kind == "empty":
            blanks.append((mark.start(), end))
        elif depth == 0:
            raise UnparsedError(f"there is an unknown mark in the reply: {mark[0][:40]}")
    if depth:
        raise UnparsedError("the reply ends inside of the judge's reasoning")
    kept = list(" " * start + reply[start:])
    for a, b in blanks:
        kept[a:b] = " " * (b - a)
    answer = "".join(kept)
    if re.search(r"[<＜◁]\s*(?:[|/!]|[^\W\d])", answer):
        raise UnparsedError("there is a broken mark in the reply")
    return answer


def _lead(reply: str) -> tuple[int, int]:
    """Depth and place after an opening in words, as marks leave it that were dropped on the way (`analysisWe need …assistantfinal`)."""
    lead = _LEAD.match(reply)
    if lead is None:
        return 0, 0
    ends = list(_LEAD_ENDS.finditer(reply, lead.end()))
    return (0, ends[-1].end()) if ends else (1, lead.end())


def _kind(mark: re.Match[str], reply: str) -> tuple[str, int]:
    """What a mark does (`open`, `close`, `final`, `empty` or `unknown`), and where it ends."""
    if mark["fence"]:
        end = re.compile(rf"^[ \t]*{mark['fence']}[ \t]*$", re.MULTILINE).search(reply, mark.end())
        return ("close", end.end()) if end else ("open", mark.end())
    raw = (mark["a"] or mark["b"]).strip()
    channel = re.fullmatch(r"(\|?)\s*channel\s*(\|?)", raw, re.IGNORECASE)
    if channel:
        return ("close", mark.end()) if channel[2] and not channel[1] else _channel(mark, reply)
    words = re.sub(r"[|▁\s:.-]+", "_", raw.casefold()).strip("_")
    closing = words.startswith(("/", "end_")) or words.endswith("_end")
    name = re.sub(r"^/?_*(?:(?:begin|start|end)_(?:of_)?)?", "", words)
    if words == "unused95":
        return "close", mark.end()
    if _THOUGHT.search(name.split("=")[0]) and not words.endswith("/"):
        return ("close" if closing else "open"), mark.end()
    return ("empty" if _ANSWER.fullmatch(name) or _ANSWER.fullmatch(words.strip("/_")) else "unknown"), mark.end()


def _channel(mark: re.Match[str], reply: str) -> tuple[str, int]:
    """Harmony's channels: `final` ends the thoughts, every other begins one."""
    named = re.compile(r"\s*(\w+)").match(reply, mark.end())
    if named and named[1].casefold() == "final":
        return "final", named.end()
    return "open", mark.end()
