"""Whether words of a rule are affirmed or denied where they stand: a coarse reading, for words that no pack knows."""

import re
from collections.abc import Iterable, Iterator

from dicomnlp.review.case import Case
from dicomnlp.review.phrases import Phrases

_DENIAL = re.compile(
    r"\b(?:no|not|without|denies|absence of|absent|negative for|free of|nor|never|rather than|rule out|exclude|lacks?|"
    r"if|unless|kein|keine|ohne)\b|未|无|没有|不伴|不能|排除|否认|非|如(?!果然)|若",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\b(?:but|however|although|with|which|except)\b|[;；。，,](?=[^\x00-\x7f])|但|而", re.IGNORECASE)
_DENIED_AFTER = re.compile(
    r"\s*(?:is|are|was|were)?\s*(?:not (?:seen|present|identified|evident)|absent)|\s*(?:阴性|消失|不明显)"
)


def is_denied(case: Case, start: int, end: int) -> bool:
    """Whether a word of denial stands before [start, end) in its sentence and reaches it, or stands right after."""
    first, last = case.sentence_bounds(start, end)
    before = case.text[first:start]
    for match in _DENIAL.finditer(before):
        if not _ENDS.search(before, match.end()):
            return True
    return bool(_DENIED_AFTER.match(case.text, end, last))


def affirmed(case: Case, words: Phrases, stretches: Iterable[tuple[int, int]]) -> Iterator["re.Match[str]"]:
    """Where the words stand and aren't denied."""
    return (match for match in words.within(case.text, stretches) if not is_denied(case, *match.span()))


def denied(case: Case, words: Phrases, stretches: Iterable[tuple[int, int]]) -> Iterator["re.Match[str]"]:
    """Where they are denied."""
    return (match for match in words.within(case.text, stretches) if is_denied(case, *match.span()))
