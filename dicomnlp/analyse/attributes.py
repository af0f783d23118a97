"""Where a finding is, on which side, how marked, and how it changed.

Which words belong to which finding is settled in `dicomnlp.analyse.clause`. A finding of two sides or several sites is
as many instances: "small right and large left effusions", "metastases in the liver and spleen".
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter

from dicomnlp.analyse.attributed import ACUITIES, CHANGES, SEVERITIES, Attributes
from dicomnlp.analyse.clause import (
    ADJECTIVES,
    Clause,
    before_side,
    ending_at,
    gap_between,
    in_name,
    inside,
    length_at,
    nearest,
)
from dicomnlp.analyse.counts import NumeralReader
from dicomnlp.analyse.details import Place, owner
from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.sizes import SizeReader
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.analyse.topics import Place as TopicPlace
from dicomnlp.analyse.topics import TopicReader
from dicomnlp.model import Change, Laterality, Measurement, Severity

_QUALIFIED = 3
"""Most tokens between "increased" and what is more: "increased hepatic echogenicity"."""
_OF_AT_MOST = 3
"""Most tokens between a part and its whole: "of the main"."""
_MORE_OR_LESS = frozenset({Change.INCREASED.value, Change.DECREASED.value})
_BESIDE = 1
"""Most tokens between a side and the site that it is of: "left anterior pararenal space"."""
_BETWEEN_SITES = 5
"""Most tokens between two sites of a list: ", and in the posterior"."""
_APART = 4
"""Tokens before a site in which "separate from" may stand."""
_PLACE = attrgetter("start")


_Placed = tuple[Measurement, tuple[int, int]]


_NOTHING = Attributes()


class AttributeReader:
    """Attaches attributes by the words of one pack."""

    def __init__(self, pack: Pack) -> None:
        self._anatomy = pack.anatomy
        self._within = {i: frozenset(pack.site_lineage(i)) for i in pack.anatomy}
        self._lineage = {i: tuple(pack.lineage(i)) for i in pack.concepts}
        words = pack.attributes
        self._joins = frozenset(word.lower() for word in words.joins)
        self._breaks = frozenset(word.lower() for word in words.clause_breaks)
        self._prepositions = frozenset(word.lower() for word in words.prepositions)
        self._ties = self._joins | self._prepositions
        self._coordinators = frozenset(word.lower() for word in words.coordinators)
        self._separators = frozenset(word.lower() for word in words.separators)
        self._reaches = frozenset(word.lower() for word in words.reaches)
        self._comparatives = frozenset(word.lower() for word in words.comparatives)
        self._denials = frozenset(word.lower() for word in words.denials)
        self._asides = frozenset(word.lower() for word in words.asides)
        self._halts = self._breaks | frozenset(words.phrase_breaks)
        self._topics = TopicReader(words, pack.anatomy) if words.topics else None
        amounts = frozenset(word.lower() for word in words.amounts)
        self._size_reader = SizeReader(self._asides, amounts, turns=words.topics)
        self._qualities = frozenset(tokenize(phrase.lower()).words for phrase in words.qualities)
        self._lost = frozenset(tokenize(phrase.lower()).words for phrase in words.lost)
        self._quality_lengths = sorted({len(phrase) for phrase in self._qualities})
        self._numerals = NumeralReader(pack)
        self._origins = frozenset(word.lower() for word in words.origins)
        self._adverbs = frozenset(word.lower() for word in words.adverbs)
        self._apart = [tokenize(phrase.lower()).words for phrase in words.apart]
        self._apart_first = frozenset(phrase[0] for phrase in self._apart)
        self._size_words = frozenset(tokenize(words).words for words in words.size_words)
        self._sized = {i for i in pack.concepts if any(pack.concepts[p].sized for p in pack.lineage(i))}

    def read(
        self,
        words: Sequence[str],
        matches: Matches,
        targets: Sequence[Match],
        measurements: Sequence[tuple[Measurement, tuple[int, int]]],
        levels: Sequence[Place] = (),
        image_references: Sequence[Place] = (),
    ) -> list[tuple[Attributes, ...]]:
        """The attributes of each of `targets`: one entry, or one for each side or site that is said of it.

        "Small right and large left effusions" are two, and so is "metastases in the liver and spleen".

        Parameters
        ----------
        words, matches
            The sentence's tokens, in lower case, and what the lexicon knows of them.
        targets
            The findings, in order.
        measurements
            The sentence's quantities with their tokens.
        levels, image_references
            Its levels and references to images.
        """
        if not targets:
            return []
        marks = (matches.degrees, matches.acuities, matches.courses, matches.counts)
        if not (any(marks) or matches.sites or matches.sides or measurements or levels or image_references):
            return [(_NOTHING,)] * len(targets)
        marked = frozenset([token for kind in marks for m in kind for token in range(m.start, m.end)])
        beside = frozenset([token for m in matches.sides for token in range(m.start, m.end)])
        clause = Clause(
            words, targets, self._joins, self._breaks, self._halts, self._prepositions, self._ties, marked, beside
        )
        owners = self._size_reader.owners(clause, targets, measurements, matches.sites) if measurements else []
        said = [span for _, span in measurements] + [(p.start, p.end) for p in (*levels, *image_references)]
        counts = sorted([*matches.counts, *self._numerals.read(words, targets, said)], key=_PLACE)
        leveled = [Match(place.text, place.start, place.end, (place.start, place.end)) for place in levels]
        at_levels = clause.given(leveled, shared=True, nouns=True)
        shown = [(place, owner(place, targets, self._breaks, words)) for place in image_references]
        acuities = clause.given(matches.acuities, shared=True)
        topics = self._topics_of(words, matches, targets)
        sites, sides = self._sites_and_sides(clause, words, matches, measurements) if topics is None else ([], [])
        # "slightly smaller" tells how far it changed, not how large it is
        own: Sequence[Match] = matches.degrees
        if own and matches.courses:
            named = [c for c in matches.courses if not any(t.start <= c.start and c.end <= t.end for t in targets)]
            own = [d for d in own if not any(c.start <= d.end <= c.end for c in named)]
        own = [d for d in own if not self._of_an_aside(clause, d) and not self._of_a_quality(clause, d, 0)]
        degrees = clause.given(own, shared=False)
        # in "increased interstitial markings" the word is part of the finding's name
        changes = [c for c in matches.courses if not any(t.start == c.start and c.end < t.end for t in targets)]
        changes = [c for c in changes if not self._of_what_is_lost(words, c)]
        courses = clause.given(
            [
                c
                for c in changes
                if c.end - c.start > 1
                or c.identifier not in _MORE_OR_LESS
                or not self._of_a_quality(clause, c, _QUALIFIED)
            ],
            shared=True,
        )
        read: list[tuple[Attributes, ...]] = []
        for number, target in enumerate(targets):
            if topics is not None:
                site, side = topics[number]
            elif not sites[number] and not sides[number]:
                site = side = None
            else:
                site = self._meant(target, self._site(clause, target, sites[number]))
                of_site = self._side_of(clause, site, matches.sites)
                apart = [s for s in sides[number] if not self._of_another(clause, s, number, site, sites[number])]
                side = self._side(target, apart, site, of_site, clause)
                if site and self._anatomy[site.identifier].laterality not in (None, Laterality.MIDLINE, side):
                    site = None  # a list's site is not that of a member on the other side
            degree = nearest(target, [d for d in degrees[number] if not self._sizes(target, d, words)])
            course = nearest(target, courses[number])
            acuity = nearest(target, acuities[number])
            common = Attributes(
                site.identifier if site else None,
                side,
                SEVERITIES[degree.identifier] if degree else None,
                CHANGES[course.identifier] if course else None,
                tuple([m for (m, _), own in zip(measurements, owners, strict=True) if own == number]) if owners else (),
                ACUITIES[acuity.identifier] if acuity else None,
                clause.count(target, counts) if counts else None,
                tuple([level.identifier for level in at_levels[number]]) if leveled else (),
                tuple([place.text for place, own in shown if own == number]) if shown else (),
            )
            instances = self._instances(clause, target, matches, common)
            if topics is None and site and len(instances) == 1:
                instances = self._at_each_site(clause, target, site, sites[number], matches, common)
            read.append(instances)
        return read

    def _sites_and_sides(
        self, clause: Clause, words: Sequence[str], matches: Matches, measurements: Sequence[_Placed]
    ) -> tuple[list[list[Match]], list[list[Match]]]:
        """The words for sites and for sides that belong to each finding."""
        near = self._at(matches.sites, measurements, words)
        free = matches.sides
        if free:
            sided = [s for s in matches.sites if self._anatomy[s.identifier].laterality]
            free = tuple([s for s in free if not any(inside(s, t) for t in sided)])
        return clause.given(near, shared=True, nouns=True), clause.given(free, shared=True)

    def _topics_of(
        self, words: Sequence[str], matches: Matches, targets: Sequence[Match]
    ) -> list[tuple[Match | None, Laterality | None]] | None:
        """Site and side of each target, in a language that names them first; None in others."""
        if self._topics is None:
            return None
        said = [t.predicate for t in targets]
        if len(set(said)) == len(said):
            places = [TopicPlace(*predicate) for predicate in said]
        else:  # what is said of two things is said of each of them
            places = [TopicPlace(*t.predicate, t.of if said.count(t.predicate) > 1 else None) for t in targets]
        topics = self._topics.topics(words, matches.sites, matches.sides, places)
        return [
            (t.whole, t.side or (self._anatomy[t.whole.identifier].laterality if t.whole else None)) for t in topics
        ]

    def _at(
        self,
        sites: Sequence[Match],
        measurements: Sequence[_Placed],
        words: Sequence[str],
    ) -> Sequence[Match]:
        """`sites` without those that the finding is told to be away from."""
        ends = {end for m, (_, end) in measurements if m.kind == "distance" and end < len(words)}
        if not ends and self._apart_first.isdisjoint(words):
            return sites
        return [s for s in sites if not self._away_from(s, ends, words)]

    def _site(self, clause: Clause, target: Match, sites: Sequence[Match]) -> Match | None:
        """The nearest of the finding's `sites`; one beside its name says more than one in it.

        "The liver and renal stones" is no place of the stones: what is coordinated with a name is not its site.
        """
        if not sites:
            return None
        inside = [s for s in sites if in_name(s, target)]
        outside = [s for s in sites if not in_name(s, target)]
        if inside:
            outside = [s for s in outside if not self._beyond(clause, s, target)]
        said = target
        if target.of is not None:
            # the label of the line counts where the sentence names no site of its own
            said = Match(target.identifier, *target.predicate, target.predicate)
            outside = [s for s in outside if ":" not in clause.words[s.end : said.start]] or outside
        found = nearest(said, outside or inside)
        if target.of is not None and found is not None:
            of = [s for s in outside if s.start < target.of[1] and target.of[0] < s.end]
            if of and found not in of and not any(self._alike(found, s) for s in of):
                return nearest(said, of)  # "hypodensities in the right kidney and spleen" made of the spleen
        return found

    def _of_another(
        self,
        clause: Clause,
        side: Match,
        number: int,
        site: Match | None,
        sites: Sequence[Match],
    ) -> bool:
        """Whether a side after the finding's site is that of the list's next site, or of the next finding's."""
        if site is None or side.start < site.end:
            return False
        targets = clause.targets
        if number + 1 < len(targets) and site.end <= targets[number + 1].start <= side.start:
            return True
        listed = clause.words_of(site.end, side.start, self._coordinators | self._separators)
        return listed and any(0 <= s.start - side.end <= _BESIDE for s in sites)

    def _meant(self, target: Match, site: Match | None) -> Match | None:
        """`site` as its words are meant beside the finding: "cervical lymphadenopathy" is not in the spine."""
        if site is None or not self._anatomy[site.identifier].instead:
            return site
        instead = self._anatomy[site.identifier].instead
        meant = next((instead[i] for i in self._lineage.get(target.identifier, ()) if i in instead), None)
        return site if meant is None else replace(site, identifier=meant)

    def _beyond(self, clause: Clause, site: Match, target: Match) -> bool:
        """Whether a site beside a name that has its own is another's: coordinated with it, or of what comes with it."""
        between = gap_between(site, target)
        if site.start < target.start:
            return clause.words_of(*between, self._coordinators)
        return clause.words_of(*between, self._joins) and not clause.words_of(*between, self._reaches)

    def _side_of(self, clause: Clause, site: Match | None, sites: Sequence[Match]) -> Laterality | None:
        """The side of `site`, else that of what it is a part of: "a segmental branch of the right pulmonary artery"."""
        if site is None:
            return None
        of = next((s for s in sites if 0 <= s.start - site.end <= _OF_AT_MOST), None)
        tied = of is not None and (of.start == site.end or clause.words[site.end] in clause.prepositions)
        whole = self._anatomy[of.identifier].laterality if of is not None and tied else None
        return self._anatomy[site.identifier].laterality or whole

    def _at_each_site(
        self,
        clause: Clause,
        target: Match,
        site: Match,
        sites: Sequence[Match],
        matches: Matches,
        common: Attributes,
    ) -> tuple[Attributes, ...]:
        """`common`, and the same for each further site of a list: "in the liver, spleen and right kidney"."""
        if self._coordinators.isdisjoint(clause.words):
            return (common,)
        near = sorted((s for s in sites if not in_name(s, target)), key=_PLACE)
        site = next((s for s in near if (s.start, s.end) == (site.start, site.end)), site)
        if site not in near:
            return (common,)
        run = [near[0]]
        for one, other in pairwise(near):
            between = clause.words[one.end : other.start]
            listed = any(word in self._coordinators or word in self._separators for word in between)
            apart = one.end <= target.start < other.start or not listed or len(between) > _BETWEEN_SITES
            if apart or not clause.unbroken(one.end, other.start):
                if site in run:
                    break
                run = []
            run.append(other)
        if site not in run or not clause.words_of(run[0].start, run[-1].end, self._coordinators):
            return (common,)
        instances = [common]
        owned = [self._own_side(clause, other, matches) for other in run]
        several = sum(side is not None for side in owned) > 1
        for n, (listed_site, own) in enumerate(zip(run, owned, strict=True)):
            other = self._meant(target, listed_site) or listed_site
            if other.identifier in {instance.anatomy for instance in instances} | self._within[site.identifier]:
                continue
            if target.of is not None and not self._alike(site, other):
                continue  # "heart and liver are enlarged": the liver isn't what makes it cardiomegaly
            of_first = any(0 <= site.start - s.end <= _BESIDE for s in matches.sides if site.start > target.start)
            of_first = of_first or self._side_of(clause, site, matches.sites) is common.laterality
            # "the left thalamus and pons" are both left, "the left thalamus and the pons" are not
            between = clause.words[run[n - 1].end : other.start]
            bare = (
                not several
                and other.start > site.start
                and all(word in self._coordinators | self._separators for word in between)
            )
            side = own or (common.laterality if bare or not of_first else None)
            instances.append(replace(common, anatomy=other.identifier, laterality=side))
        return tuple(instances)

    def _own_side(self, clause: Clause, site: Match, matches: Matches) -> Laterality | None:
        """The side of a site of a list: its own, or the one right before it."""
        beside = next((s.identifier for s in matches.sides if 0 <= site.start - s.end <= _BESIDE), None)
        return self._side_of(clause, site, matches.sites) or (Laterality(beside) if beside else None)

    def _sizes(self, target: Match, degree: Match, words: Sequence[str]) -> bool:
        """Whether the word tells how large the finding is, and no degree of it: "a small cyst"."""
        return target.identifier in self._sized and tuple(words[degree.start : degree.end]) in self._size_words

    def _away_from(self, site: Match, ends: Collection[int], words: Sequence[str]) -> bool:
        """Whether the finding is told to be away from the site: "4 cm from the nipple", "separate from the ovary".

        `ends` are the tokens after distances.
        """
        if any(words[end] in self._origins and site.start - end in (1, 2) for end in ends):
            return True
        before = words[max(0, site.start - _APART) : site.start]
        return any(tuple(before[i : i + len(p)]) == tuple(p) for p in self._apart for i in range(len(before)))

    def _of_a_quality(self, clause: Clause, word: Match, reach: int) -> bool:
        """Whether `word` speaks of a quality that follows it: "mildly displaced", "increased T2 signal"."""
        for place, after in enumerate(clause.words[word.end : word.end + reach + 1], word.end):
            if after in clause.breaks or after in clause.joins or after in clause.prepositions:
                return False
            end = self._quality_end(clause.words, place)
            if end and (reach > 0 or clause.words[word.end - 1] in self._adverbs):
                # "mildly calcified" is a degree of the finding, "mildly displaced fracture" isn't
                return reach > 0 or (place, end) not in {t.predicate for t in clause.targets}
        return False

    def _of_what_is_lost(self, words: Sequence[str], word: Match) -> bool:
        """Whether `word` follows what a disease takes away: "蒂扭转,血流消失" is no torsion that is over."""
        return any(tuple(words[word.start - len(lost) : word.start]) == lost for lost in self._lost)

    def _quality_end(self, words: Sequence[str], start: int) -> int:
        """Where the quality that begins at `start` ends; 0 where none does."""
        ends = (start + n for n in self._quality_lengths if tuple(words[start : start + n]) in self._qualities)
        return next(ends, 0)

    def _of_an_aside(self, clause: Clause, degree: Match) -> bool:
        """Whether the degree is of something that isn't a finding: "a nodule with punctate foci"."""
        before = max((t.end for t in clause.targets if t.end <= degree.start), default=None)
        follows = any(t.start >= degree.end for t in clause.targets)
        return before is not None and not follows and clause.words_of(before, degree.start, self._asides)

    def _alike(self, one: Match, other: Match) -> bool:
        """Whether both sites are parts of one organ."""
        return any(self._anatomy[i].parent for i in self._within[one.identifier] & self._within[other.identifier])

    def _side(
        self,
        target: Match,
        sides: Sequence[Match],
        site: Match | None,
        of_site: Laterality | None,
        clause: Clause,
    ) -> Laterality | None:
        """The side named for the finding, else that of its site.

        The side that a site names beats a side word that is farther away: "right lung nodule, left unaffected".
        """
        named = nearest(target, sides)
        if named is None:
            return of_site
        nearer = site is not None and clause.distance(site, target) < clause.distance(named, target)
        if of_site not in (None, Laterality.MIDLINE) and nearer:
            return of_site
        if {s.identifier for s in sides} == {Laterality.LEFT.value, Laterality.RIGHT.value}:
            first, second = sides[0], sides[-1]
            between = clause.words[first.end : second.start]
            if len(between) == 1 and between[0] in self._joins:
                return Laterality.BILATERAL
        return Laterality(named.identifier)

    def _instances(self, clause: Clause, target: Match, matches: Matches, common: Attributes) -> tuple[Attributes, ...]:
        """`common`, or two where two sides with their own degrees stand before the finding."""
        if len(matches.sides) < 2:
            return (common,)
        following = self._after_each(clause, matches, target, common)
        if following:
            return following
        before = [s for s in matches.sides if target.start - ADJECTIVES <= s.start and s.end <= target.start]
        close = target.start
        while close and clause.words[close - 1] in self._separators:
            close -= 1  # "right, and smaller left, effusions"
        for one, other in pairwise(before):
            pair = one, other
            degrees = [ending_at(matches.degrees, side.start) for side in pair]
            courses = [ending_at(matches.courses, side.start) for side in pair]
            start = other.start - max(length_at(kind, other.start) for kind in (matches.degrees, matches.courses))
            between = clause.words[one.end : start]
            opposite = {one.identifier, other.identifier} == {Laterality.LEFT.value, Laterality.RIGHT.value}
            denied = bool(between) and between[-1] in self._denials
            listed = bool(between) and all(word in self._joins for word in (between[:-1] if denied else between))
            told = any(degrees) or any(courses)
            if not (opposite and listed and told) or clause.words_of(other.end, close, self._joins):
                continue
            # "smaller left" is smaller than the right one, not than before
            compared = [clause.words[side.start - 1] in self._comparatives for side in pair]
            changes = [
                None if less or course is None else Change(course)
                for less, course in zip(compared, courses, strict=True)
            ]
            common_change = None if any(courses) else common.change
            return tuple(
                replace(
                    common,
                    laterality=Laterality(side.identifier),
                    severity=Severity(degree) if degree else None if denied else common.severity,
                    change=change or common_change,
                    said_at=said_at,
                )
                for side, degree, change, said_at in zip(
                    pair, degrees, changes, ((one.start, one.end), None), strict=True
                )
            )
        return (common,)

    @staticmethod
    def _after_each(clause: Clause, matches: Matches, target: Match, common: Attributes) -> tuple[Attributes, ...]:
        """Two instances where each side follows with its degree: "moderate on the left and severe on the right"."""
        after = [
            s
            for s in matches.sides
            if s.start >= target.end and clause.words_of(s.start - 2, s.start, clause.prepositions)
        ]
        for one, other in pairwise(after):
            first, second = (before_side(matches.degrees, side, target.end) for side in (one, other))
            opposite = {one.identifier, other.identifier} == {Laterality.LEFT.value, Laterality.RIGHT.value}
            if opposite and first and second:
                return (
                    replace(common, laterality=Laterality(one.identifier), severity=Severity(first)),
                    replace(common, laterality=Laterality(other.identifier), severity=Severity(second)),
                )
        return ()
