"""What reports ask for: requests become drafts of items, and those of a study that ask for the same become one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dicomnlp.courses import CourseReport, Examination, Stated
from dicomnlp.model import Laterality, Recommendation
from dicomnlp.review.exam_names import has_words, read_name, regions_of, shows, side_of_site
from dicomnlp.review.examined import modalities_of, read_examination
from dicomnlp.review.follow_up_items import NEVER, Item, Mention, Part, days_after
from dicomnlp.review.follow_up_rules import Category, Rules

_TRUST = ("words", "procedure", "finding", "study", "nothing")
"""Where a part of what is asked can come from, the most trusted first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A request, with what was made of it so far."""

    report: CourseReport
    asked: Recommendation
    category: Category
    modalities: tuple[str, ...]
    modality_origin: str
    sites: tuple[str, ...]
    site_origin: str
    about: Stated | None
    """The finding that the site or side was taken from."""
    laterality: Laterality | None
    side_origin: str
    mentions: tuple[Mention, ...]
    days: tuple[int, int] | None

    @property
    def rank(self) -> tuple[int, int, bool, int]:
        """The more exact, the higher."""
        return (
            -_TRUST.index(self.site_origin),
            -_TRUST.index(self.modality_origin),
            self.days is not None,
            self.asked.start,
        )

    def item(self, own: Examination, rules: Rules) -> Item:
        """The item, before any examination is looked at."""
        firmness = rules.firmness_of(self.asked)
        watched = firmness.watched and self.category != "visit"
        first, last = self.days or (None, None)
        due_from = days_after(own.study_date, first or 0) or NEVER
        due_to = days_after(own.study_date, last) if last is not None else None
        lapse = rules.window.undated if last is None else last + rules.window.grace(last) + 1
        side = self.laterality.value if self.laterality else ""
        window = f"{first}-{last}" if self.days else ""
        return Item(
            study_instance_uid=self.report.study_instance_uid,
            key=":".join((self.category, "+".join(self.modalities), "+".join(self.sites), side, window)),
            object_id=self.report.object_id,
            sop_instance_uid=self.report.sop_instance_uid,
            study_date=own.study_date,
            category=self.category,
            modalities=self.modalities,
            sites=self.sites,
            laterality=self.laterality,
            due_from=due_from,
            due_to=due_to,
            overdue_on=(days_after(own.study_date, lapse) or NEVER) if watched else NEVER,
            recommendation=self.asked,
            parts=tuple(self._parts(rules, watched=watched)),
            mentions=self.mentions,
        )

    def _parts(self, rules: Rules, *, watched: bool) -> Iterator[Part]:
        about = self.about
        yield Part("category", self.category, "procedure", _category_source(self, rules))
        yield Part("modality", " ".join(self.modalities), self.modality_origin)
        place = Part("anatomy", " ".join(self.sites), self.site_origin)
        if about is not None and self.site_origin == "finding":
            place = replace(
                place, words=about.text, start=about.start, end=about.end, source=rules.place.nearest_source
            )
        yield place
        if self.laterality is not None:
            yield Part("laterality", self.laterality.value, self.side_origin)
        if self.days is not None:
            yield Part("window", f"{self.days[0]}-{self.days[1]}", "words", rules.window.grace_source)
        else:
            yield Part("window", "", "rule", rules.window.undated_source)
        yield Part("firmness", "watched" if watched else "listed", "words", rules.firmness_of(self.asked).source)


def _category_source(draft: Draft, rules: Rules) -> str:
    if draft.category == "imaging" and draft.asked.modality is not None:
        return ""
    return next((r.source for r in rules.categories if r.name == draft.category), "")


def drafts_of(report: CourseReport, own: Examination, rules: Rules) -> Iterator[Draft]:
    """What a report asks for that makes an item; `own` is the study that it is about."""
    for group in _choices(report.recommendations, rules):
        asked = group[0]
        category = rules.category_of(asked)
        if category is None:
            continue
        modalities = tuple(dict.fromkeys(a.modality for a in group if a.modality is not None))
        origin = "words" if modalities else "study"
        if category == "tissue":
            modalities, origin = (), "nothing"
        elif not modalities and category == "imaging":
            rule = rules.answering_after(modalities_of(own))
            modalities, origin = (rule.by, "study") if rule else ((), "nothing")
        about = _about(report, asked, rules)
        sites, site_origin = _sites(group, about, own)
        side, side_origin = _side(asked, sites if site_origin in {"words", "procedure"} else (), about)
        days = None
        if asked.interval_days_max is not None and asked.interval_days_min is not None:
            days = (asked.interval_days_min, asked.interval_days_max)
        yield Draft(
            report,
            asked,
            category,
            modalities,
            origin,
            sites,
            site_origin,
            about,
            side,
            side_origin,
            (Mention(report.sop_instance_uid, asked.start, asked.end, asked.text),),
            days,
        )


def _choices(asked: Sequence[Recommendation], rules: Rules) -> Iterator[tuple[Recommendation, ...]]:
    """Requests, those of one clause together between which a word of choice stands: "CT or MRI"."""
    group: list[Recommendation] = []
    end = 0
    for one in asked:
        if group and (one.start, one.end) == (group[0].start, group[0].end) and one.procedure:
            at = one.text.find(one.procedure, end)
            between = one.text[end:at] if at >= 0 else ""
            if at >= 0 and has_words(between, rules.alternatives.words) | ("/" in between):
                group.append(one)
                end = at + len(one.procedure)
                continue
        if group:
            yield tuple(group)
        group = [one]
        end = max(0, one.text.find(one.procedure or "")) + len(one.procedure or "")
    if group:
        yield tuple(group)


def _about(report: CourseReport, asked: Recommendation, rules: Rules) -> Stated | None:
    """The finding that a request is about: in its clause, else the last before it."""
    fitting = [s for s in report.stated if s.assertion in rules.place.assertions and s.anatomy is not None]
    inside = [s for s in fitting if asked.start <= s.start < asked.end]
    if inside:
        return inside[-1]
    before = [s for s in fitting if 0 <= asked.start - s.end <= rules.place.nearest]
    return max(before, key=lambda s: s.start, default=None)


def _sites(group: Sequence[Recommendation], about: Stated | None, own: Examination) -> tuple[tuple[str, ...], str]:
    named = next((a.anatomy.id for a in group if a.anatomy is not None), None)
    if named is not None and regions_of(named):
        return (named,), "words"
    of_procedure = read_name(group[0].procedure or "").sites
    if of_procedure:
        return tuple(sorted(of_procedure)), "procedure"
    if about is not None and about.anatomy is not None and regions_of(about.anatomy.id):
        return (about.anatomy.id,), "finding"
    examined = read_examination(own)
    if examined.is_whole_body or not examined.sites:
        return (), "nothing"
    return tuple(sorted(examined.sites)), "study"


def _side(asked: Recommendation, sites: Sequence[str], about: Stated | None) -> tuple[Laterality | None, str]:
    for text, origin in ((asked.procedure or "", "procedure"), (asked.text, "words")):
        sides = read_name(text).sides
        if len(sides) == 1:
            return next(iter(sides)), origin
    for site in sites:
        side = side_of_site(site)
        if side is not None:
            return side, "words"
    if about is not None and about.laterality in {Laterality.LEFT, Laterality.RIGHT}:
        return about.laterality, "finding"
    return None, "nothing"


def fold(drafts: Iterable[Draft]) -> list[Draft]:
    """What a study's reports ask for, each once: the more exact request takes in those that say less."""
    kept: list[Draft] = []
    for draft in sorted(drafts, key=lambda d: d.rank, reverse=True):
        for n, other in enumerate(kept):
            if _same(other, draft):
                firm = other if not other.asked.conditional or draft.asked.conditional else draft
                kept[n] = replace(
                    other,
                    days=other.days or draft.days,
                    asked=replace(other.asked, conditional=firm.asked.conditional, kind=firm.asked.kind),
                    mentions=(*other.mentions, *draft.mentions),
                )
                break
        else:
            kept.append(draft)
    return kept


def _same(one: Draft, other: Draft) -> bool:
    if one.category != other.category or {one.laterality, other.laterality} == {Laterality.LEFT, Laterality.RIGHT}:
        return False
    if one.days and other.days and (one.days[0] > other.days[1] or other.days[0] > one.days[1]):
        return False
    if not set(one.modalities) >= set(other.modalities) and not set(other.modalities) >= set(one.modalities):
        return False
    pairs = [(a, b) for a in one.sites for b in other.sites]
    return not pairs or any(
        shows(a, b, ()) or shows(b, a, ()) or set(regions_of(a)[:1]) & set(regions_of(b)[:1]) for a, b in pairs
    )
