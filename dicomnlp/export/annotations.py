"""Annotations as they leave: how well readers agree, where they differ, and reports in the annotation format."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from dicomnlp.model import Assertion, utc_text
from dicomnlp.review.readers import Agreement, Seen, agreement
from dicomnlp.store.annotated_reports import AnnotatedReport, annotated_reports
from dicomnlp.store.annotation_records import Annotation, Answer, Key
from dicomnlp.store.cursors import check_page, decode, encode
from dicomnlp.store.database import Database

MAXIMUM_PAGE = 500
_AROUND = 120
"""Characters on each side of a place that are shown with it."""


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How well two readers agree on the reports that both have marked as read."""

    first: str
    second: str
    reports: int
    agreement: Agreement

    def to_json(self) -> dict[str, Any]:
        """The figures in the public form."""
        return {
            "first": self.first,
            "second": self.second,
            "reports": self.reports,
            **self.agreement.to_json(),
        }


def read_agreement(database: Database) -> list[PairAgreement]:
    """Of each two readers with a report that both have marked as read, by name.

    A finding of the pipeline that one of the two left undecided isn't counted; one that a reader added counts against
    the other who didn't.
    """
    pairs: dict[tuple[str, str], list[tuple[list[Seen], list[Seen]]]] = {}
    for report in annotated_reports(database, shared=True):
        said = report.by_reader
        for first, second in combinations(sorted(report.done), 2):
            one, other = said.get(first, {}), said.get(second, {})
            seen = (_seen(one, other), _seen(other, one))
            pairs.setdefault((first, second), []).append(seen)
    return [PairAgreement(a, b, len(reports), agreement(reports)) for (a, b), reports in sorted(pairs.items())]


def _seen(own: dict[Key, Annotation], others: dict[Key, Annotation]) -> list[Seen]:
    return [
        Seen(a.start, a.end, a.concept, a.assertion.value)
        for key, a in own.items()
        if a.assertion is not None and (not a.finding_concept or key in others)
    ]


# --- places ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """What readers say of one place."""

    key: Key
    answers: dict[str, Annotation]
    decision: Annotation | None
    without: tuple[str, ...]
    """Readers who have marked the report as read and did not add what others added here."""

    @property
    def kind(self) -> str | None:
        """What the readers differ in, by whom the report is marked as read; None where they agree."""
        said = [a.answer for a in self.answers.values()]
        if self.without or len({a.assertion is None for a in said}) > 1:
            return "presence"
        if len({a.concept for a in said}) > 1:
            return "concept"
        if len({a.assertion for a in said}) > 1:
            return "assertion"
        if said[0].assertion is not None and len({a.laterality for a in said}) > 1:
            return "laterality"
        return None


def _places(report: AnnotatedReport, readers: Sequence[str]) -> list[_Place]:
    """The places of a report and what these readers say of them, in the order of the text.

    What several readers added of one concept at places that overlap is one place.
    """
    groups: dict[Key, dict[str, Annotation]] = {}
    added: dict[Key, dict[str, Annotation]] = {}
    for reader in sorted(readers):
        for key, one in report.by_reader.get(reader, {}).items():
            if one.finding_concept:
                groups.setdefault(key, {})[reader] = one
                continue
            same = next((k for k, others in added.items() if reader not in others and _is_same(others, one)), key)
            added.setdefault(same, {})[reader] = one
    decided = report.decided
    places = [_Place(key, said, decided.get(key), ()) for key, said in groups.items()]
    for key, said in added.items():
        decision = next((d for k, d in decided.items() if not k[2] and k in {a.key for a in said.values()}), None)
        kept = any(a.assertion for a in said.values())
        without = tuple(r for r in sorted(report.done) if r not in said) if kept else ()
        places.append(_Place(key, said, decision, without))
    shown = {p.key for p in places} | {a.key for p in places for a in p.answers.values()}
    places += [_Place(key, {}, d, ()) for key, d in decided.items() if key not in shown]
    return sorted(places, key=lambda p: p.key)


def _is_same(others: dict[str, Annotation], one: Annotation) -> bool:
    return any(o.concept == one.concept and o.start < one.end and one.start < o.end for o in others.values())


# --- disagreements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A place of which readers who are done say different things."""

    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    start: int
    end: int
    text: str
    finding_concept: str
    sentence: str
    """The words around it."""
    kind: str
    """"presence", "concept", "assertion" or "laterality"."""
    answers: tuple[Annotation, ...]
    """One of each reader, by name."""
    without: tuple[str, ...]
    """Readers who did not add what others added."""
    adjudication: Annotation | None

    def to_json(self) -> dict[str, Any]:
        """The disagreement in the public form."""
        return {
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "finding_concept": self.finding_concept or None,
            "sentence": self.sentence,
            "kind": self.kind,
            "answers": [a.to_json() for a in self.answers],
            "without": list(self.without),
            "adjudication": self.adjudication.to_json() if self.adjudication else None,
        }


@dataclass(frozen=True, slots=True)
class DisagreementPage:
    """A part of the list."""

    disagreements: list[Disagreement]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def read_disagreements(
    database: Database, reader: str, *, limit: int = 100, after: str | None = None
) -> DisagreementPage:
    """Places of which two readers who are done say different things, report by report, decided ones too.

    Reports that `reader` has begun and not marked as read are left out.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "disagreements")
    object_id, number = (0, 0) if after is None else map(int, decode(after, "number", "number"))
    found: list[Disagreement] = []
    for report in annotated_reports(database, shared=True, after=max(0, object_id - 1)):
        if reader in report.by_reader and reader not in report.done:
            continue
        for n, place in enumerate(_places(report, sorted(report.done))):
            if place.kind is None or (report.object_id, n) < (object_id, number):
                continue
            if len(found) == limit:
                return DisagreementPage(found, encode([report.object_id, n]))
            found.append(_disagreement(report, place, place.kind))
    return DisagreementPage(found, None)


def _disagreement(report: AnnotatedReport, place: _Place, kind: str) -> Disagreement:
    start, end, concept = place.key
    return Disagreement(
        report.object_id,
        report.study_instance_uid,
        report.sop_instance_uid,
        start,
        end,
        report.text[start:end],
        concept,
        _around(report.text, start, end),
        kind,
        tuple(place.answers[reader] for reader in sorted(place.answers)),
        place.without,
        place.decision,
    )


def _around(text: str, start: int, end: int) -> str:
    """The words of the line around a place."""
    before = text[max(0, start - _AROUND) : start].rpartition("\n")[2]
    return before + text[start:end] + text[end : end + _AROUND].partition("\n")[0]


# --- the annotation format ------------------------------------------------------------------------------------------


def records(database: Database) -> Iterator[dict[str, Any]]:
    """Annotated reports, one record each, as docs/reference/annotation-format.md says.

    What was decided counts, else what all readers or most of them say; what they are divided on is left out. Where a
    reader has marked a report as read and everything in it is settled, these are all its findings, else some spans.
    """
    for report in annotated_reports(database):
        yield _record(report)


def _record(report: AnnotatedReport) -> dict[str, Any]:
    places = _places(report, sorted(report.by_reader))
    settled = {place.key: _settled(place) for place in places}
    spans = [
        {
            "start": key[0],
            "end": key[1],
            "assertion": answer.assertion.value,
            "concept": answer.concept,
            "laterality": answer.laterality.value if answer.laterality else None,
        }
        for key, answer in sorted(settled.items())
        if answer is not None and answer.assertion is not None
    ]
    is_whole = (
        bool(report.done)
        and report.found is not None
        and report.found <= settled.keys()
        and None not in settled.values()
    )
    date = report.study_date
    described = {
        "modality": report.modality,
        "body_part_examined": report.body_part_examined,
        "station_name": report.station_name,
        "study_date": f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else "",
    }
    return {
        "id": report.sop_instance_uid,
        "text": report.text,
        "language": report.language,
        "patient": _pseudonym(report),
        **{name: value for name, value in described.items() if value},
        "findings" if is_whole else "targets": spans,
        "annotations": [_restorable(a) for a in sorted(report.annotations, key=lambda a: a.id)],
        "done": {reader: utc_text(at) for reader, at in report.done.items()},
    }


def _settled(place: _Place) -> Answer | None:
    """What counts of a place; None where readers are divided."""
    if place.decision is not None:
        return place.decision.answer
    said = [(a.concept, a.assertion) for a in place.answers.values()]
    said += [("", None)] * len(place.without)
    rejected: tuple[str, Assertion | None] = ("", None)
    said = [rejected if assertion is None else (concept, assertion) for concept, assertion in said]
    (best, number), *_ = Counter(said).most_common(1)
    if 2 * number <= len(said) and len(said) > 1:
        return None
    concept, assertion = best
    sides = {a.laterality for a in place.answers.values() if (a.concept, a.assertion) == best}
    return Answer(concept, assertion, sides.pop() if len(sides) == 1 else None)


def _restorable(one: Annotation) -> dict[str, Any]:
    return {
        "start": one.start,
        "end": one.end,
        "verdict": one.verdict.value,
        "finding_concept": one.finding_concept or None,
        "concept": one.concept,
        "assertion": one.assertion.value if one.assertion else None,
        "laterality": one.laterality.value if one.laterality else None,
        "by": one.annotated_by,
        "at": utc_text(one.annotated_at),
        "pipeline": one.pipeline,
        "adjudicates": one.adjudicates,
    }


def _pseudonym(report: AnnotatedReport) -> str:
    """Whose report it is, the same for all reports of a patient; of an unknown patient, of the study."""
    patient_id, issuer = report.patient
    whose = f"patient {issuer}\0{patient_id}" if patient_id else f"study {report.study_instance_uid}"
    return hashlib.sha256(whose.encode()).hexdigest()[:16]
