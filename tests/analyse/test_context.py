"""What the project's ConText does that the library's doesn't; see docs/decisions/0004-context-per-sentence.md."""

import pytest

from dicomnlp.analyse.context import ClauseConText, CueMatch
from dicomnlp.analyse.schema import ContextFile
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.errors import LanguagePackError

NEGATED, POSSIBLE = "NEGATED_EXISTENCE", "POSSIBLE_EXISTENCE"


def acting(groups: list[dict[str, object]], text: str, target: str) -> list[tuple[str, str]]:
    """The cues (words, category) that act on `target` in `text` by rules of these groups alone."""
    rules = ContextFile.model_validate({"gap_marks": [",", "."], "cues": groups})
    tokens = tokenize(text)
    start = text.index(target)
    words = [word.lower() for word in tokens.words]
    (cues,) = ClauseConText(rules).cues(words, [tokens.span(start, start + len(target))])
    assert all(isinstance(cue, CueMatch) for cue in cues)
    return [(" ".join(tokens.words[c.start : c.end]), c.category) for c in cues]


def group(direction: str, *terms: str, category: str = NEGATED, **more: object) -> dict[str, object]:
    """One group of cues."""
    return {"category": category, "direction": direction, "terms": list(terms), **more}


CASES = {
    # two rules with the same words and different directions both act
    "both directions, before": (
        [group("forward", "ruled out"), group("backward", "ruled out")],
        "ruled out mass",
        "mass",
        1,
    ),
    "both directions, after": (
        [group("forward", "ruled out"), group("backward", "ruled out")],
        "mass ruled out",
        "mass",
        1,
    ),
    # the longest cue wins, a pseudo-cue also against its equal
    "pseudo": ([group("forward", "no"), group("pseudo", "no change in", category="P")], "no change in mass", "mass", 0),
    "pseudo of equal length": (
        [group("forward", "no x"), group("pseudo", "no x", category="P")],
        "no x mass",
        "mass",
        0,
    ),
    # a terminator and a modifier on the same words both count
    "comma and hedge": (
        [
            group("forward", "no"),
            group("forward", "likely", category=POSSIBLE),
            group("terminate", ", likely", category="E"),
        ],
        "no mass , likely cyst",
        "cyst",
        1,
    ),
    "terminator inside a cue": (
        [group("forward", "consistent with", category=POSSIBLE), group("terminate", "with", category="E")],
        "consistent with cyst",
        "cyst",
        1,
    ),
    # a cue that reaches into its target acts, one inside it doesn't
    "reaches in": ([group("forward", "no suspicious")], "no suspicious mass", "suspicious mass", 1),
    "inside": ([group("forward", "without")], "bulge without compression", "bulge without compression", 0),
    # gaps, alternatives, optional words, numbers
    "gap": ([group("forward", "no ..2 evidence|sign of")], "no new good sign of mass", "mass", 1),
    "gap too long": ([group("forward", "no ..1 evidence|sign of")], "no new good sign of mass", "mass", 0),
    "gap over a mark": ([group("forward", "no ..2 sign of")], "no new , sign of mass", "mass", 0),
    "optional": ([group("backward", "is not ..1 seen? here")], "mass is not here", "mass", 1),
    "number": ([group("backward", "# years ago")], "mass 12 years ago", "mass", 1),
    # sides and exceptions of terminators, and a group's own ends
    "other side": (
        [group("forward", "no"), group("terminate", "is", category="E", stops="backward")],
        "no is mass",
        "mass",
        1,
    ),
    "its side": (
        [group("backward", "gone"), group("terminate", "is", category="E", stops="backward")],
        "mass is cyst gone",
        "mass",
        0,
    ),
    "spared": (
        [group("forward", "no"), group("terminate", "with", category="E", spares=[NEGATED])],
        "no with mass",
        "mass",
        1,
    ),
    "own end": ([group("backward", "gone", stopped_by=[","])], "mass , cyst gone", "mass", 0),
    "own end, in a list": (
        [group("backward", "gone", stopped_by=[","], unless_listed=["or"])],
        "mass , cyst or scar gone",
        "mass",
        1,
    ),
    "not of": ([group("backward", "vs", not_of=["mass"])], "mass vs cyst", "mass", 0),
    # what stands in a bracket says nothing of what comes after it
    "bracket": ([group("forward", "no")], "cyst ( no blood ) and mass", "mass", 0),
    "within the bracket": ([group("forward", "no")], "cyst ( no blood )", "blood", 1),
}


@pytest.mark.parametrize(("groups", "text", "target", "number"), CASES.values(), ids=CASES)
def test_cues_act_as_documented(groups: list[dict[str, object]], text: str, target: str, number: int) -> None:
    """How many cues act on the target."""
    assert len(acting(groups, text, target)) == number


@pytest.mark.parametrize("term", ["seen?", "..2 seen", "..3", "a|of,b for"])
def test_a_cue_that_can_match_nothing_is_refused(term: str) -> None:
    """Nothing but words that may be missing, a gap at its beginning, an alternative of two words."""
    with pytest.raises(LanguagePackError, match=r"cue|alternative"):
        acting([group("forward", term)], "no mass", "mass")


def test_nothing_of_a_report_stays_in_the_library() -> None:
    """Every string that spaCy sees it keeps for the life of the process: it sees none of a report."""
    context = ClauseConText(ContextFile.model_validate({"gap_marks": [","], "cues": [group("forward", "no")]}))
    before = set(context.nlp.vocab.strings)
    assert context.cues(["no", "zebulon", "mass"], [(2, 3)]) == [(CueMatch(0, 1, NEGATED),)]
    assert set(context.nlp.vocab.strings) == before
