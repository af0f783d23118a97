"""The follow-up loop: what reports ask for becomes items, and later examinations of the patient answer them.

What is asked (modality, site, side, time) is read from the request's own words first, then from the finding that it is
about, then from the study after which it is asked. An examination answers an item if it is of a modality that will do,
shows the site, isn't of the other side, and isn't too early; `follow_up.toml` says what that means. Nothing depends on
the day on which it is asked: whether an item that waits is due is for who shows it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dicomnlp.courses import Course, Examination
from dicomnlp.model import Laterality
from dicomnlp.review.exam_names import shows
from dicomnlp.review.examined import Examined, modalities_of, read_examination
from dicomnlp.review.follow_up_items import Check, Item, Judged, days_after, is_date
from dicomnlp.review.follow_up_requests import Draft, drafts_of, fold
from dicomnlp.review.follow_up_rules import Rules, follow_up_rules

MAXIMUM_JUDGED = 20
"""Examinations whose judgement is kept with an item: the last ones before it was answered, and that which answered."""


def items_of(course: Course) -> list[Item]:
    """All that reports of a patient ask for, each with the examination that answers it, if there is one."""
    rules = follow_up_rules()
    examinations = {e.study_instance_uid: e for e in course.examinations}
    of_study: defaultdict[str, list[Draft]] = defaultdict(list)
    for report in course.reports:
        own = examinations.get(report.study_instance_uid) or Examination(report.study_instance_uid, "")
        of_study[report.study_instance_uid] += drafts_of(report, own, rules)
    readings = {uid: read_examination(e) for uid, e in examinations.items()}
    later = sorted(course.examinations, key=lambda e: (e.study_date, e.study_time, e.study_instance_uid))
    items: list[Item] = []
    for uid, drafts in of_study.items():
        own = examinations.get(uid) or Examination(uid, "")
        for draft in fold(drafts):
            item = draft.item(own, rules)
            items.append(replace(item, judged=tuple(_judge(item, draft, own, later, readings, rules))))
    return items


def _judge(
    item: Item,
    draft: Draft,
    own: Examination,
    later: Sequence[Examination],
    readings: dict[str, Examined],
    rules: Rules,
) -> list[Judged]:
    """Examinations after the study, up to the first that answers the item."""
    if item.category == "visit" or not is_date(own.study_date):
        return []
    judged: list[Judged] = []
    for one in later:
        if one.study_instance_uid in {own.study_instance_uid, *draft.report.studies} or not _is_after(one, own):
            continue
        checks: list[Check] = []
        for check in _checks(item, draft, own, one, readings, rules):
            checks.append(check)
            if not check.fits:
                break
        answers = all(check.fits for check in checks)
        told = " and ".join(w for w, holds in (("reports", one.reports), ("images", one.has_images)) if holds)
        judged.append(Judged(one.study_instance_uid, one.study_date, answers, tuple(checks), told))
        if answers:
            break
    return judged[-MAXIMUM_JUDGED:]


def _checks(
    item: Item,
    draft: Draft,
    own: Examination,
    one: Examination,
    readings: dict[str, Examined],
    rules: Rules,
) -> Iterator[Check]:
    reading = readings[one.study_instance_uid]
    least = round((draft.days[0] if draft.days else 0) * rules.window.early_part)
    earliest = days_after(own.study_date, least) or own.study_date
    source = rules.window.early_source if least else ""
    yield Check("date", one.study_date >= earliest, earliest, one.study_date, source)
    if item.category == "tissue":
        yield Check("tissue", reading.takes_tissue, "yes", "yes" if reading.takes_tissue else "")
    else:
        yield _modality_check(item, draft, one, rules)
    yield _site_check(item, draft, own, one, readings)
    if item.laterality in {Laterality.LEFT, Laterality.RIGHT}:
        other = {Laterality.LEFT: Laterality.RIGHT, Laterality.RIGHT: Laterality.LEFT}[item.laterality]
        yield Check(
            "laterality",
            reading.sides != {other},
            item.laterality.value,
            " ".join(sorted(side.value for side in reading.sides)),
        )


def _modality_check(item: Item, draft: Draft, one: Examination, rules: Rules) -> Check:
    found = modalities_of(one)
    asked = " ".join(item.modalities)
    if draft.modality_origin != "words":
        rule = rules.answering_after(item.modalities[:1])
        fits = bool(found) and (not item.modalities or not set(item.modalities).isdisjoint(found))
        return Check("modality", fits, asked, " ".join(found), rule.source if rule else "")
    answering = [rules.answering(m) for m in item.modalities]
    fitting = next((rule for rule in answering if not set(rule.by).isdisjoint(found)), None)
    return Check("modality", fitting is not None, asked, " ".join(found), (fitting or answering[0]).source)


def _site_check(item: Item, draft: Draft, own: Examination, one: Examination, readings: dict[str, Examined]) -> Check:
    reading = readings[one.study_instance_uid]
    asked, found = " ".join(item.sites), " ".join(sorted(reading.sites))
    if reading.is_whole_body:
        return Check("anatomy", True, asked, "whole body")
    modalities = modalities_of(one)
    if not item.sites or any(shows(e, s, modalities) for e in reading.sites for s in item.sites):
        return Check("anatomy", True, asked, found)
    # what one examination showed the same examination shows again
    before = readings.get(own.study_instance_uid) or read_examination(own)
    again = draft.site_origin == "finding" and not before.sites.isdisjoint(reading.sites)
    return Check("anatomy", again, asked, found)


def _is_after(one: Examination, own: Examination) -> bool:
    if not is_date(one.study_date) or one.study_date < own.study_date:
        return False
    if one.study_date > own.study_date:
        return True
    # of the same day only what is known to be later
    return bool(one.study_time and own.study_time) and one.study_time[:6] > own.study_time[:6]
