"""Flags: regular expressions for text that addresses the judge (ratings, markup, commands, ciphers).

Changes no text. Measured on real stories and on sets of attacks: docs/performance/ts-eval-judge.md.
"""

import re
import unicodedata

from .base import Guard

_N = r"(?:10|[1-9](?:\.\d)?|one|two|three|four|five|six|seven|eight|nine|ten|max(?:imum)?|perfect|full|highest|top)"
_CATEGORY = r"(?:grammar|spelling|consistency|creativity|style|plot|coherence)"
_JUDGE = r"(?:judges?|jury|raters?|graders?|graders|reviewers?|evaluators?|examiners?|critics?|scorers?|assessors?|moderators?|annotators?)"
_MODEL = r"(?:language model|chat ?bot|\bllm\b|\bgpt\b|chatgpt|openai|assistant|\bai\b|artificial intelligence)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|former|old|original|foregoing|all|any|your|these|those|the)"
_RULE = r"(?:instructions?|rules?|guidelines?|prompts?|criteria|criterion|directions|directives?|rubrics?|system message|constraints?|commands?|orders)"

RULES: dict[str, re.Pattern[str]] = {
    "rating": re.compile(
        rf"\b{_CATEGORY}\b[^\w\n]{{0,8}}(?:(?:is|are|as|to|at|of|a|an|gets?|deserves?|should be|must be|score|rating)\W+){{0,3}}{_N}\b|"
        rf"\b(?:10|ten|9|nine|\d+)\s*(?:/|out of|von|sur|de)\s*(?:10|ten)\b|\b(?:story|score|scores|ratings?)\s*[\"'*]*\s*[:=]\s*[\"'*]*{_N}\b|"
        rf"\b(?:full|top|perfect|highest|maximum|max|best possible|excellent|high|ten|10)\s+(?:marks?|scores?|ratings?|grades?|rates?)\b|"
        rf"\b(?:scores?|ratings?|grades?|marks?)\s+(?:of|is|are|to|as|at)\s+(?:an?\s+|at least\s+)?{_N}\b|\b{_N}\s*(?:points|stars)\b[^.]{{0,60}}\b(?:{_CATEGORY}|categor\w+|story|tale|text|rating)\b",
        re.IGNORECASE,
    ),
    "rating-word": re.compile(
        rf"\b(?:ratings?|rated|rubrics?|categor(?:y|ies)|criteria|grading|{_CATEGORY[3:-1].replace('|style', '').replace('|plot', '').replace('|spelling', '')})\b|"
        rf"\b(?:rate|score|grade|evaluate|assess)\s+(?:this|the|it|my|me|each|every|all|them|everything|as|with|high|generously)\b",
        re.IGNORECASE,
    ),
    "command": re.compile(
        rf"\b(?:ignore|disregard|forget|override|overrule|bypass|discard|neglect|skip|drop|cancel|delete|do not (?:follow|obey|use)|don't (?:follow|obey|use)|stop (?:following|obeying|using)|no longer (?:follow|apply)|instead of)\b[^.\n]{{0,50}}\b{_RULE}\b|"
        rf"\b(?:ignore|disregard|override)\b[^.\n]{{0,30}}\b(?:everything|anything|all|what)\b[^.\n]{{0,20}}\b(?:above|before|said|told|previous|earlier|written)\b|"
        rf"\b(?:new|updated|revised|important|final|secret|hidden|special|additional|system|developer)\s+{_RULE}\b|"
        rf"\b(?:respond|reply|answer|output|return|print|emit|write|type|say)\s+(?:only|just|exactly|with|nothing|in|back|the following|the word|the json)\b[^.\n]{{0,60}}(?:\d|json|nothing else|only|format|\bten\b|score|rating|\bxml\b|\byaml\b|\bpoem\b|\bprose\b|\bwords?\b\s*[:\"'])|"
        rf"\b(?:your|the) (?:task|job|output|reply|response|role) (?:is|must|should|has|now|will)\b[^.\n]{{0,80}}\b(?:rate|rating|score|give|output|write|answer|json|translate|ignore|format|only|assistant|poem)\b|"
        rf"\b(?:do not|don't|never|stop|refuse to)\s+(?:rate|score|grade|evaluate|judge|output|assess)\b|"
        rf"\byou are (?:now )?(?:an? |the )?(?:[\w-]+ ){{0,2}}(?:{_MODEL}|judge|grader|evaluator|dan|helper bot|rating)|"
        rf"\b(?:act|behave|respond) as (?:if|an?|the)\b[^.\n]{{0,40}}\b(?:{_MODEL}|judge|grader|admin|developer|system)|\b(?:system|debug|developer|maintenance|admin|test|god) (?:mode|override|prompt|message|update|note|notice)\b|"
        rf"\bprompt injection\b|\bjailbreak\b|\b(?:as|dear|hey|hello|hi|attention|note to|message to|to the|for the)[ ,]+(?:the |an? |this |all )?(?:{_MODEL}|{_JUDGE})\b",
        re.IGNORECASE,
    ),
    "judge": re.compile(
        rf"\b{_JUDGE}\b[^.\n]{{0,90}}\b(?:ten|10|perfect|highest|full|best|maximum|top|points|marks|score|rat(?:e|ed|ing)|grade|award|flawless|stars?)\b|{_MODEL}|"
        rf"\b(?:this|the|my|above|following) (?:story|text|tale|writing|passage|answer)\b[^.\n]{{0,60}}\b(?:deserves?|merits?|earns?|worth|receives?|score[sd]?|graded|flawless|masterpiece|award|perfect|no mistakes?|no errors?|without (?:a )?(?:mistake|error|fault)s?|best (?:story|one) (?:ever|of all)|published|literary|prize-winning|outstanding|exceptional|exemplary)\b|"
        rf"\b(?:give|award|grant|assign|choose|pick|select|enter|put) (?:it |this |the |me |us |my |a |an |only |all |every |each |story |text |of |them |straight )*(?:10|ten|tens|10s|nines?|9s?|ones?|1s?|maximum|perfect|full|highest|top|best)s?\s*(?:points?|marks?|scores?|ratings?|grades?|everywhere|in (?:all|every|each)|for (?:all|every|each)|six times|across)\b",
        re.IGNORECASE,
    ),
    "markup": re.compile(
        r"<\|[^>\n]{0,60}\|?>|\[/?(?:INST|SYS|SYSTEM)\]|<</?SYS>>|</?[a-z][\w-]{0,20}(?:\s[^<>\n]{0,80})?/?>|<!--|-->|```|~~~|\{\s*[\"'“”]|[\"'“”]\s*:\s*[\"'“”\[{\d]|"
        r"(?m:^\s*(?:#{1,6}\s|\*{0,2}(?:system|assistant|user|human|ai|bot|instructions?|prompt|response|output|answer|note|story|example|rater|judge|developer|tool)\*{0,2}\s*(?:\(\w+\))?\s*[:>\]]))|"
        r"(?m:^\s*(?:[-=_*#~<>]{3,})\s*\S{0,30}\s*(?:[-=_*#~<>]{3,})?\s*$)|<<<|>>>|\\n\\n|\\u00|\]\]|\{\{|\{%|</|\bend of (?:the )?(?:story|text|input|document)\b|"
        r"(?:\b[a-z_]+\s*[:=]\s*\d{1,2}\b[\s,;|]*){3,}|(?:\b(?:10|[1-9])\b[\s,;/|-]+){5,}(?:10|[1-9])\b|\|\s*[\w ]+\s*\|",
        re.IGNORECASE,
    ),
    "cipher": re.compile(
        r"\b(?=[A-Za-z0-9+/]*\d)[A-Za-z0-9+/]{20,}={0,2}|\b[A-Za-z0-9+/]{16,}={1,2}|[A-Za-z]{35,}|(?:%[0-9A-F]{2}){4,}|(?:\\x[0-9a-f]{2}){3,}|(?:&#?\w{2,8};){2,}|"
        r"(?:\b[01]{8}\b\s*){4,}|(?:\b[0-9a-f]{2}\b[\s:]*){12,}|(?:(?<![\w'])\w[\s._*-]{1,3}){8,}|(?:[.-]{1,5}[ /]+){6,}",
        re.IGNORECASE,
    ),
}

_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ufff9-\ufffb\x00-\x08\x0b\x0e-\x1f\x7f]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad\ufe00-\ufe0f]")
_LETTERS = str.maketrans("аеорсухіјѕԁһԛԝɡνοαιρτυκѐäöü@$¡|", "aeopcyxijsdhqwgvoaiptukeaouasil")
_LEET = str.maketrans("0134578", "oieastb")


class Flags(Guard):
    """Flags a story with the name of each rule that it matches."""

    def flags(self, story: str) -> tuple[str, ...]:
        """Names of `RULES`, and `hidden-characters`."""
        readings = _readings(story)
        found = [name for name, rule in RULES.items() if any(rule.search(text) for text in readings)]
        if _HIDDEN.search(story) or len(_INVISIBLE.findall(story)) > 4:
            found.append("hidden-characters")
        return tuple(found)


def _readings(story: str) -> list[str]:
    """The story as written, and with look-alike letters, hidden characters and digits in words normalised."""
    plain = _INVISIBLE.sub("", _HIDDEN.sub("", unicodedata.normalize("NFKC", story)))
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain.translate(_LETTERS)) if not unicodedata.combining(c))
    readings = [story, plain, re.sub(r"[*_~`^]+|(?<=\w)[.\-](?=\w)", "", plain)]
    if re.search(r"[a-z][0134578]|[0134578][a-z]", plain, re.IGNORECASE):
        readings.append(re.sub(r"\w*[a-z]\w*", lambda m: m[0].translate(_LEET), plain, flags=re.IGNORECASE))
    return list(dict.fromkeys(readings))
