"""What a list leaves out: "subarachnoid or intraventricular hemorrhage" names two hemorrhages, one of them by a word.

In a list "A, B and C head" the head is said once, for all members. Where the lexicon knows "A head" as a term, or A as
a site and the head as a finding, A stands for it: the words of A are the finding's text, cues act on them, and it is a
member of the list like any other. Sites are completed before findings are ("right upper and left lower lobe"); a word
that all members share in front is given to each ("right upper and lower lobes").

The rule knows no language: which words coordinate is the pack's (`coordinators`, `separators`), and the head comes
last, as it does in English and in Chinese.
"""

from collections.abc import Sequence
from dataclasses import replace

from dicomnlp.analyse.lexicon import CONCEPT, IDIOM, SITE, Lexicon
from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.pack import Pack

_MEMBER_AT_MOST = 6
"""Tokens of the longest member without its head; a Han character is a token."""
_HYPHENS = frozenset("-\u2010\u2011")
"""What a member may end with: "small- and large-bowel obstruction"."""
_ADJECTIVES_AT_MOST = 3
"""Tokens between a coordinator and the member after it: "and small pericardial"."""

Span = tuple[int, int]


class ListReader:
    """Completes the members of lists.

    Parameters
    ----------
    pack
        Its `coordinators`, `separators`, `prepositions` and `clause_breaks`.
    lexicon
        Knows which words are a term.
    """

    def __init__(self, pack: Pack, lexicon: Lexicon) -> None:
        words = pack.attributes
        self._meanings = lexicon.meanings
        self._coordinators = frozenset(words.coordinators)
        self._between = self._coordinators | frozenset(words.separators)
        self._prepositions = frozenset(words.prepositions)
        self._stops = self._between | frozenset(words.clause_breaks) | self._prepositions | {"(", ")"}
        self._parents = {i: entry.parent for i, entry in pack.anatomy.items()}
        self._normal = frozenset(i for i, entry in pack.concepts.items() if entry.normal)

    def __call__(self, words: Sequence[str], matches: Matches) -> Matches:
        """`matches` of the sentence `words` (lower case), with what its lists name by a part of a term."""
        if self._coordinators.isdisjoint(words):
            return matches
        sites = self._sites(words, matches) if matches.sites else ()
        if sites != matches.sites:
            matches = replace(matches, sites=sites)
        if not matches.concepts:
            return matches
        concepts, silenced = self._concepts(words, matches)
        if concepts == matches.concepts and not silenced:
            return matches
        # "small" of "small and large bowel obstruction" is no degree
        degrees = tuple(d for d in matches.degrees if not any(a <= d.start and d.end <= b for a, b in silenced))
        return replace(matches, concepts=concepts, degrees=degrees)

    def _sites(self, words: Sequence[str], matches: Matches) -> tuple[Match, ...]:
        sides = {(side.start, side.end) for side in matches.sides}
        beside = frozenset(token for side in matches.sides for token in range(side.start, side.end))
        named = frozenset(token for concept in matches.concepts for token in range(*concept.predicate))
        found = {(site.start, site.end): site for site in matches.sites}
        for site in matches.sites:
            members = [(site.start, site.end)]
            heads: list[Sequence[str]] = []
            while (end := self._end_before(words, members[-1][0], beside, first=len(members) == 1)) is not None:
                heads = heads or [words[start : site.end] for start in range(site.start + 1, site.end)]
                completed = self._completed(SITE, words, end, heads)
                # "left and right kidneys" are the two of a pair, as "both kidneys" are
                if completed is None or (completed.start, end) in sides:
                    break
                span = completed.start, end
                if not named.isdisjoint(range(*span)) or any(_crosses(span, other) for other in found):
                    break
                for part in [other for other in found if _overlap(span, other)]:
                    del found[part]  # "mesenteric" of "superior mesenteric and celiac arteries"
                found[span] = completed
                members.append(span)
            self._share(words, members, found)
        return tuple(sorted(found.values(), key=lambda m: m.start))

    def _share(self, words: Sequence[str], members: Sequence[Span], found: dict[Span, Match]) -> None:
        """Give each of `members` (last first) the word in front of the first, where that makes it a narrower site."""
        if len(members) == 1:
            return
        start, end = members[-1]
        head = words[members[0][1] - 1 : members[0][1]]
        for member in members[:-1]:
            own = [*words[slice(*member)], *(head if member != members[0] else ())]
            for until in range(end - 1, start, -1):
                narrower = self._named(SITE, words[start:until], own)
                if narrower is not None:
                    found[member] = replace(found[member], identifier=narrower)
                    break

    def _concepts(self, words: Sequence[str], matches: Matches) -> tuple[tuple[Match, ...], list[Span]]:
        """The findings with those that stand without their head, and of these the spans that an idiom covers."""
        sites = {(s.start, s.end) for s in matches.sites}
        lesser = (matches.sides, matches.degrees, matches.courses, matches.acuities, matches.counts)
        adjectives = frozenset(token for kind in lesser for m in kind for token in range(m.start, m.end))
        taken = _tokens(matches.concepts)
        found = list(matches.concepts)
        silenced: list[Span] = []
        for concept in matches.concepts:
            if concept.identifier in self._normal:
                continue
            start, stop = concept.predicate
            site = next((s for s in sites if s[0] < start <= s[1]), None)
            right = start if site is None else site[0]
            heads: list[Sequence[str]] = []
            first = True
            while (end := self._end_before(words, right, adjectives, first=first)) is not None:
                heads = heads or [words[at:stop] for at in range(start + (site is None), stop)]
                # the longest head first: "superficial and deep femoral vein thrombosis" is twice of a femoral vein
                member = next(
                    (
                        said
                        for head in heads
                        if (said := self._completed(CONCEPT, words, end, [head]))
                        or (said := self._sited(words, end, head, matches.sites, adjectives))
                    ),
                    None,
                )
                if member is None or member.identifier in self._normal:
                    break
                if not taken.isdisjoint(range(member.start, end)) or self._same(member, concept, sites):
                    break
                found.append(member)
                if any(self._named(IDIOM, words[member.start : end], head[:1]) for head in heads):
                    silenced.append((member.start, end))
                right, first = member.start, False
            if concept.of is not None:
                continue
            following = self._following(words, concept, matches.sites)
            if following:
                named = _tokens(found)
                found += [m for m in following if named.isdisjoint(m.tokens)]
        return tuple(sorted(found, key=lambda m: m.start)), silenced

    def _following(self, words: Sequence[str], concept: Match, sites: Sequence[Match]) -> list[Match]:
        """What a list after `concept` names by less than a term: by its head, or by a site alone.

        "Pleural effusion or thickening" shares the word in front, "metastases to the liver and lung" the head.
        """
        at = concept.end
        while at < len(words) and words[at] in self._between:
            at += 1
        if self._coordinators.isdisjoint(words[concept.end : at]):
            return self._at_sites(words, concept, sites)
        stop = at
        while stop < len(words) and stop - at < _MEMBER_AT_MOST and words[stop] not in self._stops:
            stop += 1
        for end in range(stop, at, -1):
            for front in range(concept.end - 1, concept.start, -1):
                identifier = self._named(CONCEPT, words[concept.start : front], words[at:end])
                if identifier is not None and identifier not in self._normal:
                    return [Match(identifier, at, end, (at, end))]
        return self._at_sites(words, concept, sites)

    def _at_sites(self, words: Sequence[str], concept: Match, sites: Sequence[Match]) -> list[Match]:
        """The finding at each further site of a list that its name begins: "metastases to the liver and lung"."""
        own = next((s for s in sites if concept.start < s.start and s.end == concept.end), None)
        tie = (
            next((i for i in range(concept.start, own.start) if words[i] in self._prepositions), None) if own else None
        )
        head = self._named(CONCEPT, words[concept.start : tie], ()) if tie else None
        if own is None or head is None:
            return []
        listed: list[Match] = []
        end = own.end
        for site in sorted((s for s in sites if s.start >= end), key=lambda m: m.start):
            between = words[end : site.start]
            if len(between) > _ADJECTIVES_AT_MOST or self._between.isdisjoint(between):
                break
            listed.append(Match(head, site.start, site.end, (site.start, site.end)))
            end = site.end
        return [] if self._coordinators.isdisjoint(words[own.end : end]) else listed

    @staticmethod
    def _same(member: Match, concept: Match, sites: set[Span]) -> bool:
        """Whether the member is only another word for the finding itself: "hepatic or liver cyst"."""
        return member.identifier == concept.identifier and (member.start, member.end) not in sites

    def _end_before(self, words: Sequence[str], right: int, adjectives: frozenset[int], *, first: bool) -> int | None:
        """Where the member before the one that begins at `right` ends; None where no list goes on."""
        at = right
        while at > 0 and at - 1 in adjectives and right - at < _ADJECTIVES_AT_MOST:
            at -= 1
        end = at
        while end > 0 and words[end - 1] in self._between:
            end -= 1
        if end == at or (first and self._coordinators.isdisjoint(words[end:at])):
            return None
        if end and words[end - 1] in _HYPHENS:
            end -= 1
        return end or None

    def _completed(self, kind: str, words: Sequence[str], end: int, heads: Sequence[Sequence[str]]) -> Match | None:
        """The longest words before `end` that make a term with one of `heads`, the longest first."""
        start = end
        while start > 0 and end - start < _MEMBER_AT_MOST and words[start - 1] not in self._stops:
            start -= 1
        for first in range(start, end):
            for head in heads:
                identifier = self._named(kind, words[first:end], head)
                if identifier is not None:
                    return Match(identifier, first, end, (first, end))
        return None

    def _sited(
        self,
        words: Sequence[str],
        end: int,
        head: Sequence[str],
        sites: Sequence[Match],
        adjectives: frozenset[int],
    ) -> Match | None:
        """A site before `end` that stands for a finding there, where `head` is one by itself.

        A head that names its own site is only that of a like one: "L2 and L3 transverse process fractures".
        """
        site = next((s for s in sites if s.end == end), None)
        if site is None:
            return None
        start = site.start
        after = next((s for s in sites if s.start >= end), None)
        own = any(self._named(SITE, head[a:b], ()) for a in range(len(head)) for b in range(a + 1, len(head) + 1))
        if own and (after is None or not self._alike(site.identifier, after.identifier)):
            return None
        before = start
        while before > 0 and before - 1 in adjectives:
            before -= 1
        # "abnormality of the liver and renal stones" is no list of stones
        if before == start > 1 and words[start - 1] not in self._stops and words[start - 2] in self._prepositions:
            return None
        identifier = self._named(CONCEPT, (), head)
        return None if identifier is None else Match(identifier, start, end, (start, end))

    def _alike(self, one: str, other: str) -> bool:
        """Whether two sites are of one whole, or one is of the other."""
        wholes = self._parents[one], self._parents[other]
        return wholes[0] == wholes[1] is not None or one == wholes[1] or other == wholes[0]

    def _named(self, kind: str, words: Sequence[str], head: Sequence[str]) -> str | None:
        return next((i for k, i in self._meanings((*words, *head)) if k == kind), None)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _crosses(one: Span, other: Span) -> bool:
    """Whether `other` reaches out of `one`."""
    return _overlap(one, other) and not (one[0] <= other[0] and other[1] <= one[1])


def _tokens(matches: Sequence[Match]) -> frozenset[int]:
    return frozenset(token for match in matches for token in match.tokens)
