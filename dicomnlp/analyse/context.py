"""medspaCy's ConText over one sentence, with the changes that radiology needs.

medspaCy's rules, modifiers and graph stay the engine. What differs, and why, is in
``docs/decisions/0004-context-per-sentence.md``; the algorithm is Harkema et al., J Biomed Inform 2009, 42(5):839.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from dicomnlp.analyse.library import ConText, ConTextGraph, ConTextModifier, ConTextRule, MedspacyMatcher, Span
from dicomnlp.analyse.schema import ContextFile, CueGroup
from dicomnlp.analyse.tokens import NUMBER, tokenize
from dicomnlp.errors import LanguagePackError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

NEGATED, UNCERTAIN, HISTORICAL = "NEGATED_EXISTENCE", "POSSIBLE_EXISTENCE", "HISTORICAL"
HYPOTHETICAL, FAMILY = "HYPOTHETICAL", "FAMILY"
CATEGORIES = frozenset({NEGATED, UNCERTAIN, HISTORICAL, HYPOTHETICAL, FAMILY})
_PHRASES_AT_MOST = 300
_SCOPING = frozenset({"TERMINATE"})
NEVER = (
    ConTextRule("\x00", "NEVER", direction="PSEUDO"),
    ConTextRule("\x00", "NEVER", direction="PSEUDO", pattern=[{"ORTH": "\x00"}]),
)
"""Rules that match nothing of a report: spaCy warns at each sentence of a matcher that has no rule."""


@dataclass(frozen=True, slots=True)
class CueMatch:
    """A cue that acts on a target: its tokens [start, end) and its category."""

    start: int
    end: int
    category: str


class ClauseModifier(ConTextModifier):  # type: ignore[misc]  # medspaCy is untyped
    """A cue in place, whose scope ends where a reader ends it."""

    def limit_scope(self, other: "ClauseModifier") -> bool:
        """A terminating cue ends only the scopes of the side it is meant for; a cue that looks away ends none."""
        if other.direction == "TERMINATE":
            looking = "forward" if other > self else "backward"
            if other.rule.metadata["stops"] not in ("both", looking) or self.category in other.rule.metadata["spares"]:
                return False
        elif self.direction != other.direction and "BIDIRECTIONAL" not in (self.direction, other.direction):
            return False
        return bool(super().limit_scope(other))

    def modifies(self, target: "Span") -> bool:
        """Whether the cue acts on `target`.

        A cue inside its target is part of its name. A cue that reaches into its target from outside ("no suspicious"
        over "suspicious mass") acts on it.
        """
        start, end = self.modifier_span
        if self.direction in ("TERMINATE", "PSEUDO") or (target.start <= start and end <= target.end):
            return False
        forward = self.direction != "BACKWARD" and start < target.start
        backward = self.direction != "FORWARD" and end > target.end
        if forward:
            reached = target.start < end or self.scope_span[0] <= target.start < self.scope_span[1]
            between = range(end, target.start)
        elif backward:
            reached = target.end > start or self.scope_span[0] < target.end <= self.scope_span[1]
            between = range(target.end, start)
        else:
            return False
        words = [target.doc[i].lower_ for i in between]
        if not reached or (forward and _leaves_bracket(words)):
            return False
        if target.doc[target.end - 1].lower_ in self.rule.metadata["not_of"]:
            return False
        stopped_by: frozenset[str] = self.rule.metadata["stopped_by"]
        if not self.rule.metadata["unless_listed"].isdisjoint(words):
            stopped_by -= {","}
        return stopped_by.isdisjoint(words)


def _leaves_bracket(words: Sequence[str]) -> bool:
    """Whether a bracket that was opened before `words` closes in them."""
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth < 0:
            return True
    return False


class ClauseConText(ConText):  # type: ignore[misc]  # medspaCy is untyped
    """ConText for Docs of one sentence.

    Parameters
    ----------
    nlp
        The pipeline; only its vocabulary and tokenizer are used.
    rules
        ``context.toml`` of the pack.
    """

    def __init__(self, nlp: "Language", rules: ContextFile) -> None:
        super().__init__(nlp, rules=None, span_attrs=None, input_span_type="group", span_group_name="targets")
        # the library's own matcher prunes terminators and modifiers against each other, and drops one of two rules
        # with the same words
        self._matcher = MedspacyMatcher(nlp, name="cues", prune=False)
        self._matcher.add([*compile_cues(rules), *NEVER])

    def __call__(self, doc: "Doc", targets: str | None = None) -> "Doc":
        """Set ``doc._.context_graph`` from the targets in the span group `targets`, "targets" by default."""
        graph = ConTextGraph(targets=list(doc.spans[targets or "targets"]))
        rule_map = self._matcher.rule_map
        matches = [(rule_map[doc.vocab.strings[key]], start, end) for key, start, end in self._matcher(doc)]
        graph.modifiers = [ClauseModifier(rule, start, end, doc) for rule, start, end in prune(matches)]
        graph.update_scopes()
        graph.apply_modifiers()
        doc._.context_graph = graph
        return doc

    def cues(self, doc: "Doc", spans: Sequence[tuple[int, int]]) -> list[tuple[CueMatch, ...]]:
        """For each of `spans` (tokens of `doc`) the cues that act on it, in order of place."""
        if not spans:
            return []
        # equal spans are one target; ConText compares targets by place
        distinct = sorted(set(spans))
        doc.spans["targets"] = [Span(doc, a, b, label="TARGET") for a, b in distinct]
        self(doc)
        acting: dict[tuple[int, int], set[CueMatch]] = {}
        for target, modifier in doc._.context_graph.edges:
            if modifier.category in CATEGORIES:
                start, end = modifier.modifier_span
                cue = CueMatch(start, end, modifier.category)
                acting.setdefault((target.start, target.end), set()).add(cue)
        return [tuple(sorted(acting.get(span, ()), key=lambda c: (c.start, c.end, c.category))) for span in spans]


def prune(matches: Iterable[tuple[ConTextRule, int, int]]) -> list[tuple[ConTextRule, int, int]]:
    """Settle overlaps: of modifiers and pseudo-cues the longest stays; a terminator inside a longer cue goes.

    A terminator never removes a modifier: in ", likely" both the comma that ends a scope and the hedge count.
    """
    acting: list[tuple[ConTextRule, int, int]] = []
    ending: list[tuple[ConTextRule, int, int]] = []
    for match in matches:
        (ending if match[0].direction in _SCOPING else acting).append(match)
    kept: list[tuple[ConTextRule, int, int]] = []
    for rule, start, end in sorted(acting, key=lambda m: (m[1] - m[2], m[0].direction != "PSEUDO", m[1])):
        if all(
            end <= a or b <= start or ((a, b) == (start, end) and rule.direction != "PSEUDO" != other.direction)
            for other, a, b in kept
        ):
            kept.append((rule, start, end))
    kept += [m for m in ending if not any(a <= m[1] and m[2] <= b and b - a > m[2] - m[1] for _, a, b in kept)]
    return sorted(kept, key=lambda m: (m[1], m[2]))


def compile_cues(rules: ContextFile) -> Iterator[ConTextRule]:
    """ConText rules of the pack's cue groups.

    Raises
    ------
    LanguagePackError
        A cue's pattern can't be read.
    """
    for group in rules.cues:
        for term in group.terms:
            for variant in _variants(term):
                yield ConTextRule(
                    literal=variant,
                    category=group.category,
                    pattern=_pattern(variant, rules.gap_marks),
                    direction=group.direction.upper(),
                    max_scope=group.max_scope,
                    max_targets=group.max_targets,
                    metadata=_metadata(group),
                )


def _variants(term: str) -> list[str]:
    """`term` spelled out where that is cheap, for speed alone: spaCy tries each pattern at each token.

    Without a gap or a number it becomes plain phrases, for the faster phrase matcher; else its first word is settled.
    """
    pieces = term.split()
    choices = [piece.split("|") for piece in pieces]
    for piece in pieces:
        alternatives = _special(piece) and not _is_gap(piece) and piece != "#"
        if alternatives and any(len(tokenize(word)) != 1 for word in piece.removesuffix("?").split("|")):
            raise LanguagePackError(f"context.toml: in {term!r}, each alternative of {piece!r} must be a word")
    plain = not any(_is_gap(piece) or piece == "#" or (len(piece) > 1 and piece.endswith("?")) for piece in pieces)
    if plain and prod(map(len, choices)) <= _PHRASES_AT_MOST:
        return [" ".join(words) for words in product(*choices)]
    if pieces[0].endswith("?"):
        return [term]
    return [" ".join([first, *pieces[1:]]) for first in choices[0]]


def _metadata(group: CueGroup) -> dict[str, Any]:
    return {
        "stops": group.stops,
        "spares": frozenset(group.spares),
        "stopped_by": frozenset(group.stopped_by),
        "unless_listed": frozenset(group.unless_listed),
        "not_of": frozenset(group.not_of),
    }


def _pattern(term: str, gap_marks: Iterable[str]) -> list[dict[str, Any]] | None:
    """A token pattern for spaCy's Matcher, or None where plain words do.

    Words stand for themselves; ``a|b`` is either, ``a?`` may be missing, ``..3`` is up to three words that
    aren't marks, ``#`` is a number.
    """
    pieces = term.split()
    if not any(_special(piece) for piece in pieces):
        return None
    pattern: list[dict[str, Any]] = []
    for piece in pieces:
        if _is_gap(piece):
            marks = sorted(gap_marks)
            pattern += [{"LOWER": {"NOT_IN": marks}, "OP": "?"}] * int(piece[2:])
        elif piece == "#":
            pattern.append({"TEXT": {"REGEX": rf"^[\d{NUMBER}]"}})
        elif _special(piece):
            optional = len(piece) > 1 and piece.endswith("?")
            words = piece.removesuffix("?").split("|")
            pattern.append({"LOWER": {"IN": [word.lower() for word in words]}} | ({"OP": "?"} if optional else {}))
        else:
            pattern += [{"LOWER": word.lower()} for word in tokenize(piece).words]
    if all(token.get("OP") == "?" for token in pattern):
        raise LanguagePackError(f"context.toml: the cue {term!r} can match nothing")
    return pattern


def _is_gap(piece: str) -> bool:
    return piece.startswith("..") and piece[2:].isdigit()


def _special(piece: str) -> bool:
    return (len(piece) > 1 and ("|" in piece or piece.endswith("?") or piece.startswith(".."))) or piece == "#"


def cue_words(rules: ContextFile) -> set[str]:
    """Every word that a cue pattern names; the tokenizer must know them."""
    words: set[str] = set()
    for group in rules.cues:
        for term in [*group.terms, *group.stopped_by, *group.unless_listed, *group.not_of]:
            for piece in term.replace("|", " ").split():
                bare = piece.removesuffix("?") if len(piece) > 1 else piece
                if not _is_gap(piece) and piece != "#":
                    words.update(word.lower() for word in tokenize(bare).words)
    return words | set(rules.gap_marks) | {"(", ")"}
