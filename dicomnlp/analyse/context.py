"""medspaCy's ConText over one sentence, with the changes that radiology needs.

medspaCy's rules, modifiers and graph stay the engine. What differs, and why, is in
``docs/decisions/0004-context-per-sentence.md``; the algorithm is Harkema et al., J Biomed Inform 2009, 42(5):839.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from dicomnlp.analyse.library import ConText, ConTextGraph, ConTextModifier, ConTextRule, spacy
from dicomnlp.analyse.phrases import ANY, NUMBER, PhraseTable, signs
from dicomnlp.analyse.schema import ContextFile, CueGroup
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.errors import LanguagePackError

NEGATED, UNCERTAIN, HISTORICAL = "NEGATED_EXISTENCE", "POSSIBLE_EXISTENCE", "HISTORICAL"
HYPOTHETICAL, FAMILY, AFFIRMED = "HYPOTHETICAL", "FAMILY", "POSITIVE_EXISTENCE"
CATEGORIES = frozenset({NEGATED, UNCERTAIN, HISTORICAL, HYPOTHETICAL, FAMILY, AFFIRMED})
PHRASE_ENDS = frozenset(",;:。!?")
_ACTING = frozenset({"FORWARD", "BACKWARD", "BIDIRECTIONAL"})
"""Directions of cues that act on a mention; the others end scopes, or are none after all."""


class Target(NamedTuple):
    """A mention's tokens [start, end): all that the graph asks of what cues act on."""

    start: int
    end: int


_Edge = tuple[Target, "ClauseModifier"]
"""A target, and a cue that acts on it."""


class CueMatch(NamedTuple):
    """A cue that acts on a target: its tokens [start, end) and its category."""

    start: int
    end: int
    category: str


class ClauseModifier(ConTextModifier):  # type: ignore[misc]  # medspaCy is untyped
    """A cue in place, whose scope ends where a reader ends it.

    Parameters
    ----------
    rule, start, end
        The cue and its tokens [start, end).
    words
        The sentence's tokens, in lower case.
    named
        Of each token, whether a mention covers it.
    """

    def __init__(self, rule: ConTextRule, start: int, end: int, words: Sequence[str], named: Sequence[bool]) -> None:
        # the widest scope that medspaCy would look up in a document, which here is the sentence
        reach = rule.max_scope
        low, high = (0, len(words)) if reach is None else (max(0, start - reach), min(len(words), end + reach))
        scope = {"FORWARD": (end, high), "BACKWARD": (low, start)}.get(rule.direction, (low, high))
        super().__init__(rule, start, end, None, *scope)
        self._words = words
        self._named = named
        # in the base properties of properties, asked for of each pair of cues
        self.looks: str = rule.direction
        self.means: str = rule.category
        self.acts = rule.direction in _ACTING
        self.metadata: dict[str, Any] = rule.metadata

    def limit_scope(self, other: "ClauseModifier") -> bool:
        """A terminating cue ends only the scopes of the side it is meant for.

        A cue that looks away ends none, nor does one that acts on a few mentions alone.
        """
        looks, other_looks = self.looks, other.looks
        low, high = self.scope_span
        other_low, other_high = other.scope_span
        if not self.acts or not (low <= other_low < high or low < other_high <= high):
            return False
        metadata = other.metadata
        if metadata["only_of"]:
            return False
        if other_looks == "TERMINATE":
            looking = "forward" if other > self else "backward"
            if metadata["stops"] not in ("both", looking) or self.means in metadata["spares"]:
                return False
        elif other.means != self.means or (looks != other_looks and "BIDIRECTIONAL" not in (looks, other_looks)):
            return False
        return bool(super().limit_scope(other))

    def modifies(self, target: Target) -> bool:
        """Whether the cue acts on `target`.

        A cue inside its target is part of its name. A cue that reaches into its target from outside ("no suspicious"
        over "suspicious mass") acts on it.
        """
        if not self.acts:
            return False
        start, end = self.modifier_span
        if target.start <= start and end <= target.end:
            return False
        forward = self.looks != "BACKWARD" and start < target.start
        backward = self.looks != "FORWARD" and end > target.end
        if forward:
            reached = target.start < end or self.scope_span[0] <= target.start < self.scope_span[1]
            between = range(end, target.start)
        elif backward:
            reached = target.end > start or self.scope_span[0] < target.end <= self.scope_span[1]
            between = range(target.end, start)
        else:
            return False
        if not reached:
            return False
        words = self._words[between.start : between.stop]
        if forward and _leaves_bracket(words):
            return False
        last = self._words[target.end - 1]
        only_of: frozenset[str] = self.metadata["only_of"]
        if last in self.metadata["not_of"] or (only_of and last not in only_of):
            return False
        stopped_by: frozenset[str] = self.metadata["stopped_by"]
        if not self.metadata["unless_listed"].isdisjoint(words):
            stopped_by -= {","}
        if forward and "," in words and self._lists_on(end + words.index(",") + 1, target.end):
            stopped_by -= {","}
        return stopped_by.isdisjoint(words)

    def _lists_on(self, start: int, end: int) -> bool:
        """Whether nothing but a list of findings stands between a comma and the end of a mention's phrase."""
        lists: frozenset[str] = self.metadata["lists"]
        if not lists:
            return False
        while end < len(self._words) and self._words[end] not in PHRASE_ENDS:
            end += 1
        joined = False
        for place in range(start, end):
            if not self._named[place]:
                if self._words[place] not in lists and self._words[place] != ",":
                    return False
                joined = joined or self._words[place] in lists
        return joined and self._named[start]


def _leaves_bracket(words: Sequence[str]) -> bool:
    """Whether a bracket that was opened before `words` closes in them."""
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth < 0:
            return True
    return False


class ClauseGraph(ConTextGraph):  # type: ignore[misc]  # medspaCy is untyped
    """The cues of a sentence and what they act on."""

    modifiers: list[ClauseModifier]

    def update_scopes(self) -> None:
        """As the library's, in the same order; only cues that act are asked, the others have no scope to limit."""
        for number, one in enumerate(self.modifiers, 1):
            for other in self.modifiers[number:]:
                if one.acts:
                    one.limit_scope(other)
                if other.acts:
                    other.limit_scope(one)


class ClauseConText(ConText):  # type: ignore[misc]  # medspaCy is untyped
    """ConText for one sentence at a time.

    Scopes depend on the number of tokens alone, and words are compared outside spaCy: no document is made, and nothing
    of a report comes to spaCy's string store, which keeps it for ever.

    Parameters
    ----------
    rules
        ``context.toml`` of the pack.
    common
        Words that most sentences have.
    """

    def __init__(self, rules: ContextFile, common: frozenset[str] = frozenset()) -> None:
        super().__init__(
            spacy.blank("xx"), rules=None, span_attrs=None, input_span_type="group", span_group_name="targets"
        )
        # the library's own matcher prunes terminators and modifiers against each other, and drops one of two rules
        # with the same words
        self._table = compile_cues(rules)
        acting = [list(steps(term)) for group in rules.cues if group.category in CATEGORIES for term in group.terms]
        # without one of these words no cue acts, which is true of most sentences
        self._signs = signs(acting, common)

    def cues(self, words: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[tuple[CueMatch, ...]]:
        """For each of `spans` (tokens of `words`, in lower case) the cues that act on it, in order of place."""
        if not spans or (self._signs is not None and self._signs.isdisjoint(words)):
            return [()] * len(spans)
        found = self._table.find(words)
        if not any(rule.category in CATEGORIES for rule, _, _ in found):
            return [()] * len(spans)
        matches = prune(match for match in set(found) if _fits(match, words))
        if not any(rule.category in CATEGORIES for rule, _, _ in matches):
            return [()] * len(spans)
        # equal spans are one target
        graph = ClauseGraph(targets=[Target(a, b) for a, b in sorted(set(spans))])
        named = [False] * len(words)
        for a, b in spans:
            named[a:b] = [True] * (b - a)
        graph.modifiers = [ClauseModifier(rule, start, end, words, named) for rule, start, end in matches]
        graph.update_scopes()
        graph.apply_modifiers()
        acting: dict[tuple[int, int], set[CueMatch]] = {}
        for target, modifier in _nearest(graph.edges, words):
            if modifier.means in CATEGORIES:
                start, end = modifier.modifier_span
                acting.setdefault(target, set()).add(CueMatch(start, end, modifier.means))
        return [tuple(sorted(acting[span])) if span in acting else () for span in spans]


def _nearest(edges: Iterable[_Edge], words: Sequence[str]) -> Iterator[_Edge]:
    """`edges` without those of cues that act on the nearest mention alone, and what a list joins to it."""
    chosen: dict[int, list[_Edge]] = {}
    for target, modifier in edges:
        if modifier.metadata["nearest"]:
            chosen.setdefault(id(modifier), []).append((target, modifier))
        else:
            yield target, modifier
    for acting in chosen.values():
        start, end = acting[0][1].modifier_span
        joins: frozenset[str] = acting[0][1].metadata["nearest"]
        acting.sort(key=lambda edge: max(start - edge[0].end, edge[0].start - end))
        reached: list[Target] = []
        for target, modifier in acting:
            if reached and not any(_joined(words, target, other, joins) for other in reached):
                break
            reached.append(target)
            yield target, modifier


def _joined(words: Sequence[str], one: Target, other: Target, joins: frozenset[str]) -> bool:
    first, second = (one, other) if one.start <= other.start else (other, one)
    between = words[first.end : second.start]
    return second.start < first.end or (bool(between) and (between[-1] in joins or between[0] in joins))


def _fits(match: tuple[ConTextRule, int, int], words: Sequence[str]) -> bool:
    """Whether what follows the cue lets it be one."""
    before: frozenset[str] = match[0].metadata["before"]
    return not before or match[2] == len(words) or words[match[2]] in before


def prune(matches: Iterable[tuple[ConTextRule, int, int]]) -> list[tuple[ConTextRule, int, int]]:
    """Settle overlaps: of modifiers and pseudo-cues the longest stays; a terminator inside a longer cue goes.

    A terminator never removes a modifier: in ", likely" both the comma that ends a scope and the hedge count.
    """
    acting: list[tuple[ConTextRule, int, int]] = []
    ending: list[tuple[ConTextRule, int, int]] = []
    for match in matches:
        (ending if match[0].direction == "TERMINATE" else acting).append(match)
    kept: list[tuple[ConTextRule, int, int]] = []
    for rule, start, end in sorted(acting, key=lambda m: (m[1] - m[2], m[0].direction != "PSEUDO", m[1])):
        if all(
            end <= a or b <= start or ((a, b) == (start, end) and rule.direction != "PSEUDO" != other.direction)
            for other, a, b in kept
        ):
            kept.append((rule, start, end))
    kept += [m for m in ending if not any(a <= m[1] and m[2] <= b and b - a > m[2] - m[1] for _, a, b in kept)]
    return sorted(kept, key=lambda m: (m[1], m[2]))


def compile_cues(rules: ContextFile) -> PhraseTable[ConTextRule]:
    """The cues of a pack, each term under its words.

    Words stand for themselves; ``a|b`` is either, ``a?`` may be missing, ``..3`` is up to three words that aren't
    `gap_marks`, ``#`` is a number.

    Raises
    ------
    LanguagePackError
        A term can match nothing, begins with a gap, or has an alternative that isn't one word.
    """
    table: PhraseTable[ConTextRule] = PhraseTable(rules.gap_marks)
    for group in rules.cues:
        metadata = _metadata(group)
        for term in group.terms:
            rule = ConTextRule(
                term,
                group.category,
                direction=group.direction.upper(),
                max_scope=group.max_scope,
                max_targets=group.max_targets,
                metadata=metadata,
            )
            if not table.add_pattern(list(steps(term)), rule):
                raise LanguagePackError(f"context.toml: the cue {term!r} can match nothing, or begins with a gap")
    return table


def steps(term: str) -> Iterator[tuple[tuple[str | int, ...], bool]]:
    """A phrase in the notation of `compile_cues`, as `PhraseTable.add_pattern` takes it."""
    for piece in term.split():
        if _is_gap(piece):
            yield from [((ANY,), True)] * int(piece[2:])
        elif piece == "#":
            yield (NUMBER,), False
        elif len(piece) > 1 and ("|" in piece or piece.endswith("?")):
            alternatives = [tokenize(word.lower()).words for word in piece.removesuffix("?").split("|")]
            if any(len(words) != 1 for words in alternatives):
                raise LanguagePackError(f"in the phrase {term!r}, each alternative of {piece!r} must be a word")
            yield tuple(words[0] for words in alternatives), piece.endswith("?")
        else:
            yield from (((word,), False) for word in tokenize(piece.lower()).words)


def _metadata(group: CueGroup) -> dict[str, Any]:
    return {
        "stops": group.stops,
        "spares": frozenset(group.spares),
        "stopped_by": frozenset(group.stopped_by),
        "unless_listed": frozenset(group.unless_listed),
        "not_of": frozenset(group.not_of),
        "only_of": frozenset(group.only_of),
        "lists": frozenset(group.lists),
        "nearest": frozenset(group.nearest),
        "before": frozenset(group.before),
    }


def _is_gap(piece: str) -> bool:
    return piece.startswith("..") and piece[2:].isdigit()
