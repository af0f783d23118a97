"""Which words of a sentence name a finding, a site, a side, a degree or a course.

medspaCy's TargetMatcher finds the words; overlaps are settled here, longest first, because the matcher's own pruning
slows with every rule. A composed concept ("the heart is mildly enlarged") is found as two parts that stand near each
other in one clause: the part that is said (the predicate) is what cues act on.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomnlp.analyse.library import TargetMatcher, TargetRule
from dicomnlp.analyse.tokens import RuleTokenizer, tokenize

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from dicomnlp.analyse.pack import Pack

CONCEPT, SITE, PART, SIDE, DEGREE, COURSE, IDIOM = "concept", "site", "part", "side", "degree", "course", "idiom"

_NEVER = [{"ORTH": "\x00"}]


@dataclass(frozen=True, slots=True)
class Match:
    """Tokens [start, end) that name `identifier`."""

    identifier: str
    start: int
    end: int
    predicate: tuple[int, int]
    """What the finding's text is and cues act on: of a composed concept the part that is said, else all of it."""
    of: tuple[int, int] | None = None
    """Of a composed concept the part that it is said of."""

    @property
    def tokens(self) -> frozenset[int]:
        """What it occupies: of a composed concept its two parts, not what stands between them."""
        if self.of is None:
            return frozenset(range(self.start, self.end))
        return frozenset((*range(*self.predicate), *range(*self.of)))


@dataclass(frozen=True, slots=True)
class Matches:
    """All that the lexicon knows of one sentence, each kind free of overlaps and in order."""

    concepts: tuple[Match, ...]
    sites: tuple[Match, ...]
    sides: tuple[Match, ...]
    degrees: tuple[Match, ...]
    courses: tuple[Match, ...]


class Lexicon:
    """The matcher over one pack's terms.

    Parameters
    ----------
    pack
        Where the terms come from.
    nlp
        The pipeline; only its vocabulary and tokenizer are used.
    tokenizer
        Its tokenizer, which learns the terms' words.
    """

    def __init__(self, pack: "Pack", nlp: "Language", tokenizer: RuleTokenizer) -> None:
        self.gap = pack.about.limits.compose_gap
        self.breaks = frozenset(pack.attributes.clause_breaks)
        self._joins = frozenset(pack.attributes.joins)
        self._inflections = pack.about.inflections
        self._head_before = frozenset(pack.about.head_before)
        self._rules: dict[tuple[str, bool], list[tuple[str, str]]] = defaultdict(list)
        self._compositions: list[tuple[str, str, str]] = []
        self._collect(pack)
        # one rule for each distinct phrase: a phrase may belong to several concepts and parts
        self._matcher = TargetMatcher(nlp, result_type=None, prune=False)
        self._cased = TargetMatcher(nlp, result_type=None, prune=False, phrase_matcher_attr="ORTH")
        phrases = list(self._rules)
        self._meaning: list[tuple[tuple[str, str], ...]] = [tuple(self._rules[phrase]) for phrase in phrases]
        plain: list[TargetRule] = []
        cased: list[TargetRule] = []
        for number, (phrase, is_cased) in enumerate(phrases):
            (cased if is_cased else plain).append(TargetRule(phrase, "TERM", metadata={"phrase": number}))
        # spaCy warns at each sentence of a matcher without rules of one of its two sorts
        self._meaning.append(())
        never = [TargetRule("\x00", "TERM", pattern=p, metadata={"phrase": len(phrases)}) for p in (None, _NEVER)]
        tokenizer.cased |= {word for rule in cased for word in tokenize(rule.literal).words}
        self._matcher.add(plain + never)
        self._cased.add(cased + never)

    def _collect(self, pack: "Pack") -> None:
        for identifier, entry in pack.concepts.items():
            self._add(CONCEPT, identifier, entry.terms, plural=True)
            self._add(CONCEPT, identifier, entry.cased, cased=True)
            for number, composition in enumerate(entry.compose):
                said, of = f"{identifier}.{number}.said", f"{identifier}.{number}.of"
                self._compositions.append((identifier, said, of))
                self._add(PART, said, composition.change, plural=True)
                self._add(PART, of, composition.of, plural=True)
        for identifier, site in pack.anatomy.items():
            self._add(SITE, identifier, site.terms, plural=True)
            self._add(SITE, identifier, site.cased, cased=True)
        self._add(IDIOM, IDIOM, pack.about.idioms, plural=True)
        for kind, words in (
            (SIDE, pack.attributes.laterality),
            (DEGREE, pack.attributes.severity),
            (COURSE, pack.attributes.change),
        ):
            for value, terms in words.items():
                self._add(kind, value.value, terms)

    def _add(
        self, kind: str, identifier: str, terms: Iterable[str], *, plural: bool = False, cased: bool = False
    ) -> None:
        for term in terms:
            words = tokenize(term).words if cased else tuple(word.lower() for word in tokenize(term).words)
            for form in [words, *(self._plurals(words) if plural else ())]:
                meanings = self._rules[" ".join(form), cased]
                if (kind, identifier) not in meanings:
                    meanings.append((kind, identifier))

    def _plurals(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The term with its last word in the plural, and with the word before its first "of" in the plural."""
        heads = {len(words) - 1} | {i - 1 for i, word in enumerate(words) if i and word in self._head_before}
        for head in sorted(heads):
            for ending, replacement in self._inflections:
                if words[head].endswith(ending):
                    stem = words[head][: len(words[head]) - len(ending)]
                    yield (*words[:head], stem + replacement, *words[head + 1 :])
                    break

    def __call__(self, doc: "Doc") -> Matches:
        """What the lexicon knows of the sentence `doc`."""
        found: dict[str, list[Match]] = defaultdict(list)
        parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for span in [*self._matcher(doc), *self._cased(doc)]:
            for kind, identifier in self._meaning[span._.target_rule.metadata["phrase"]]:
                if kind == PART:
                    parts[identifier].append((span.start, span.end))
                else:
                    found[kind].append(Match(identifier, span.start, span.end, (span.start, span.end)))
        if parts:
            found[CONCEPT] += list(self._composed(doc, parts, found[CONCEPT]))
        idioms = found[IDIOM]
        read = (longest([*idioms, *found[kind]]) for kind in (CONCEPT, SITE, SIDE, DEGREE, COURSE))
        return Matches(*(tuple(m for m in kind if m.identifier != IDIOM) for kind in read))

    def _composed(self, doc: "Doc", parts: dict[str, list[tuple[int, int]]], named: list[Match]) -> Iterator[Match]:
        """Composed concepts: what is said, of what stands nearest to it and of what is joined to that.

        None reaches over a finding which the words name outright.
        """
        said_of: dict[tuple[int, int], list[Match]] = defaultdict(list)
        for identifier, said, of in self._compositions:
            if said not in parts or of not in parts:
                continue
            for a in parts[said]:
                for b in parts[of]:
                    first, second = min(a, b), max(a, b)
                    between = range(first[1], second[0])
                    if second[0] < first[1] or len(between) > self.gap:
                        continue
                    if any(doc[i].lower_ in self.breaks for i in between):
                        continue
                    start, end = first[0], max(first[1], second[1])
                    over = [m for m in named if m.start < end and start < m.end]
                    if all(any(x <= m.start and m.end <= y for x, y in (a, b)) for m in over):
                        said_of[a].append(Match(identifier, start, end, a, b))
        for matches in said_of.values():
            reached: list[Match] = []
            for match in sorted(matches, key=_gap):
                if not reached or any(self._joined(doc, match, other) for other in reached):
                    reached.append(match)
            yield from reached

    def _joined(self, doc: "Doc", one: Match, other: Match) -> bool:
        """Whether both are said of the same words, or of two that a list joins ("heart and mediastinum")."""
        if one.of is None or other.of is None:
            return False
        first, second = min(one.of, other.of), max(one.of, other.of)
        return first[1] > second[0] or all(
            doc[i].lower_ in self._joins for i in range(first[1], second[0]) if not doc[i].is_space
        )


def _gap(match: Match) -> tuple[int, int]:
    """How far apart a composed concept's parts are; of equals the longer comes first."""
    if match.of is None:
        return 0, 0
    first, second = min(match.predicate, match.of), max(match.predicate, match.of)
    return max(second[0] - first[1], 0), -len(match.tokens)


def longest(matches: Iterable[Match]) -> tuple[Match, ...]:
    """`matches` without overlaps: the longest stays, of equals the closest, then the first; in order of place.

    What is said of two things at once ("heart and mediastinum are normal") stays for both.
    """
    kept: list[Match] = []
    taken: set[int] = set()
    said: set[tuple[int, int]] = set()
    for match in sorted(matches, key=lambda m: (-len(m.tokens), _gap(m), m.start)):
        tokens = set(match.tokens)
        if match.of is not None and match.predicate in said:
            tokens -= set(range(*match.predicate))
        if tokens and taken.isdisjoint(tokens):
            kept.append(match)
            taken |= tokens
            if match.of is not None:
                said.add(match.predicate)
    return tuple(sorted(kept, key=lambda m: m.start))
