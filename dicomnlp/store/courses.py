"""Courses of patients: all that prevailing reports and headers of images tell of their examinations.

A patient is a family of merged identifiers. What an identifier has more of than any patient could is no patient's (an
archive that was made anonymous under one name): its studies stand alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.courses import Course, CourseReport, Examination, Stated
from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, Change, Concept, Laterality, Measurement, Recommendation, SectionName, State
from dicomnlp.store import documents
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.patients import Patient, current_patients, family_of
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.records import from_json
from dicomnlp.store.schema import (
    analysis,
    finding,
    image,
    report_profile,
    report_standing,
    report_study,
    sop_instance,
)
from dicomnlp.store.schema_follow_up import image_study
from dicomnlp.store.scope import scope_of, visible
from dicomnlp.store.searchable import date_of

MAXIMUM_OBJECTS = 3000
"""Held objects, and studies of images, of one patient; an identifier with more is no patient's."""
_NAME_CHARACTERS = 600
"""Of a narrative, in which the heading of the exam is looked for."""


@dataclass(frozen=True, slots=True)
class HeldCourse:
    """A course, and all studies that it decides about."""

    course: Course
    studies: frozenset[str]
    """Those without a prevailing report, too."""


def families_of(connection: Connection, study_instance_uids: Collection[str]) -> dict[str, frozenset[Patient]]:
    """Study -> the identifiers of its patients; those of a study of which nothing tells a patient are none."""
    named: defaultdict[str, set[Patient]] = defaultdict(set)
    reports = [sop_instance.c.is_current, *visible(scope_of(connection))]
    for table, current in ((sop_instance, reports), (image_study, _visible_images(connection))):
        columns = table.c
        for batch in batches(study_instance_uids):
            query = (
                sa.select(columns.study_instance_uid, columns.patient_id, columns.issuer_of_patient_id)
                .where(columns.study_instance_uid.in_(batch), columns.patient_id != "", *current)
                .distinct()
            )
            for row in connection.execute(query):
                named[row.study_instance_uid].add((row.patient_id, row.issuer_of_patient_id))
    current_of = current_patients(connection, {p for patients in named.values() for p in patients})
    members: dict[Patient, frozenset[Patient]] = {}
    found: dict[str, frozenset[Patient]] = {}
    for uid in study_instance_uids:
        family: set[Patient] = set()
        for patient in {current_of[p] for p in named[uid]}:
            if patient not in members:
                members[patient] = frozenset(family_of(connection, patient))
            family |= members[patient]
        found[uid] = frozenset(family)
    return found


def studies_of_patients_of(connection: Connection, study_instance_uids: Collection[str]) -> set[str]:
    """All studies of the patients of these studies; none of an identifier that is no patient's."""
    found: set[str] = set()
    for family in set(families_of(connection, study_instance_uids).values()):
        for table in (sop_instance, image_study):
            columns = table.c
            for batch in batches(sorted({patient_id for patient_id, _ in family})):
                query = (
                    sa.select(columns.study_instance_uid, columns.patient_id, columns.issuer_of_patient_id)
                    .where(columns.patient_id.in_(batch))
                    .limit(MAXIMUM_OBJECTS + 1)
                )
                rows = connection.execute(query).all()
                if len(rows) <= MAXIMUM_OBJECTS:
                    found |= {r.study_instance_uid for r in rows if (r.patient_id, r.issuer_of_patient_id) in family}
    return found


def read_courses(connection: Connection, study_instance_uids: Iterable[str]) -> list[HeldCourse]:
    """The courses of all patients of these studies; studies that tell no patient are courses of their own."""
    families = families_of(connection, set(study_instance_uids))
    by_family: defaultdict[frozenset[Patient], set[str]] = defaultdict(set)
    for uid, family in families.items():
        by_family[family].add(uid)
    found: list[HeldCourse] = []
    for family, studies in by_family.items():
        held = read_course(connection, family, studies) if family else None
        found += [held] if held is not None else [_alone(connection, uid) for uid in sorted(studies)]
    return found


def read_course(
    connection: Connection, family: Collection[Patient], studies: Collection[str] = (), *, with_findings: bool = False
) -> HeldCourse | None:
    """The course of one patient.

    Parameters
    ----------
    family
        All identifiers of the patient.
    studies
        That are the patient's, too, whatever is held of them.
    with_findings
        What all reports state, rather than only those that recommend something.

    Returns
    -------
    HeldCourse or None
        None where the identifiers have more than `MAXIMUM_OBJECTS`.
    """
    columns = sop_instance.c
    objects = _of_patients(connection, sop_instance, family, columns.is_current)
    of_images = _of_patients(connection, image_study, family)
    if objects is None or of_images is None:
        return None
    held = {*(row["study_instance_uid"] for row in objects), *(row["study_instance_uid"] for row in of_images)}
    return HeldCourse(
        _course(connection, objects, of_images, with_findings=with_findings), frozenset({*held, *studies})
    )


def course_of_study(database: Database, study_instance_uid: str) -> Course:
    """The course of a study's patient with all that reports state; of the study alone where nothing tells a patient.

    Raises
    ------
    NotFoundError
        No prevailing report and no image of the study is held, or none within the scope.
    """
    with database.read() as connection:
        family = families_of(connection, [study_instance_uid])[study_instance_uid]
        held = read_course(connection, family, with_findings=True) if family else None
        course = held.course if held else _alone(connection, study_instance_uid, with_findings=True).course
    if study_instance_uid not in {e.study_instance_uid for e in course.examinations}:
        raise NotFoundError(f"nothing that counts is held of study {study_instance_uid}")
    return course


def _alone(connection: Connection, study_instance_uid: str, *, with_findings: bool = False) -> HeldCourse:
    columns, scope = sop_instance.c, scope_of(connection)
    rows = connection.execute(
        _objects()
        .where(columns.study_instance_uid == study_instance_uid, columns.is_current, *visible(scope))
        .limit(MAXIMUM_OBJECTS)
    )
    objects = [row for row in rows.mappings() if row["state"] != State.QUARANTINED]
    own = connection.execute(
        sa.select(image_study).where(
            image_study.c.study_instance_uid == study_instance_uid, *_visible_images(connection)
        )
    )
    course = _course(connection, objects, own.mappings().all(), with_findings=with_findings)
    return HeldCourse(course, frozenset({study_instance_uid}))


def _objects() -> sa.Select[Any]:
    columns = sop_instance.c
    return sa.select(
        columns.id,
        columns.sop_instance_uid,
        columns.study_instance_uid,
        columns.patient_id,
        columns.issuer_of_patient_id,
        columns.state,
        columns.study_date,
        columns.study_time,
        columns.content_date,
        columns.study_description,
        columns.series_description,
        columns.body_part_examined,
    )


def _of_patients(
    connection: Connection, table: sa.Table, family: Collection[Patient], *also: Any
) -> list[RowMapping] | None:
    columns = table.c
    query = _objects() if table is sop_instance else sa.select(table)
    seen = visible(scope_of(connection)) if table is sop_instance else _visible_images(connection)
    rows: list[RowMapping] = []
    for batch in batches(sorted({patient_id for patient_id, _ in family})):
        asked = query.where(columns.patient_id.in_(batch), *also, *seen).limit(MAXIMUM_OBJECTS + 1)
        rows += connection.execute(asked).mappings()
        if len(rows) > MAXIMUM_OBJECTS:
            return None
    return [
        row
        for row in rows
        if (row["patient_id"], row["issuer_of_patient_id"]) in family
        and row.get("state", State.PENDING) != State.QUARANTINED
    ]


def _visible_images(connection: Connection) -> list[sa.ColumnElement[bool]]:
    scope = scope_of(connection)
    if scope.is_everything:
        return []
    seen = image.alias("seen")
    held = sa.exists().where(seen.c.study_instance_uid == image_study.c.study_instance_uid, *visible(scope, seen))
    return [held]


def _course(
    connection: Connection,
    objects: Sequence[RowMapping],
    of_images: Sequence[RowMapping],
    *,
    with_findings: bool,
) -> Course:
    read = _read_reports(connection, [row["id"] for row in objects])
    prevailing = [row for row in objects if row["id"] in read]
    asking = [row["id"] for row in prevailing if read[row["id"]].recommendations]
    stated = _stated(connection, [row["id"] for row in prevailing] if with_findings else asking)
    builders: defaultdict[str, _Builder] = defaultdict(_Builder)
    links = _links(connection, [row["id"] for row in prevailing])
    sites = _sites(connection, [row["id"] for row in prevailing])
    for row in sorted(prevailing, key=lambda row: row["id"]):
        for uid in {row["study_instance_uid"], *links[row["id"]]}:
            builders[uid].add_report(row, read[row["id"]], sites[row["id"]], own=uid == row["study_instance_uid"])
    for row in of_images:
        builders[row["study_instance_uid"]].add_images(row)
    examinations = tuple(builder.examination(uid) for uid, builder in sorted(builders.items()))
    reports = tuple(
        CourseReport(
            row["id"],
            row["sop_instance_uid"],
            row["study_instance_uid"],
            read[row["id"]].recommendations,
            tuple(stated[row["id"]]),
            tuple(sorted({row["study_instance_uid"], *links[row["id"]]})),
        )
        for row in sorted(prevailing, key=lambda row: row["id"])
    )
    return Course(examinations, reports)


@dataclass(frozen=True, slots=True)
class _Read:
    recommendations: tuple[Recommendation, ...]
    modalities: tuple[str, ...]
    names: tuple[str, ...]


def _read_reports(connection: Connection, object_ids: Sequence[int]) -> dict[int, _Read]:
    """Of prevailing reports what is read of them."""
    columns = analysis.c
    found: dict[int, _Read] = {}
    for batch in batches(object_ids):
        rows = connection.execute(
            sa.select(
                columns.object_id,
                columns.title,
                columns.sections,
                columns.recommendations,
                sa.func.substr(columns.narrative, 1, _NAME_CHARACTERS).label("beginning"),
                report_profile.c.modality,
            )
            .join_from(analysis, report_standing, report_standing.c.object_id == columns.object_id)
            .outerjoin(report_profile, report_profile.c.object_id == columns.object_id)
            .where(
                columns.object_id.in_(batch),
                columns.is_current,
                report_standing.c.status == ReportStatus.PREVAILING.value,
            )
        )
        for row in rows:
            found[row.object_id] = _Read(
                tuple(from_json(Recommendation, asked) for asked in row.recommendations),
                tuple(m for m in (row.modality or "").split("\\") if m),
                (row.title, *_exam_lines(row.sections or [], row.beginning or "")),
            )
    return found


def _exam_lines(sections: Sequence[dict[str, Any]], beginning: str) -> list[str]:
    """What stands under the heading of the exam."""
    exams = [s for s in sections if s["name"] == SectionName.EXAM.value and s["body_start"] < len(beginning)]
    return [beginning[s["body_start"] : s["end"]].strip() for s in exams]


def _links(connection: Connection, object_ids: Sequence[int]) -> defaultdict[int, list[str]]:
    columns = report_study.c
    found: defaultdict[int, list[str]] = defaultdict(list)
    for batch in batches(object_ids):
        query = sa.select(report_study).where(columns.object_id.in_(batch), columns.kind.in_(documents.BELONGS))
        for row in connection.execute(query):
            found[row.object_id].append(row.study_instance_uid)
    return found


def _sites(connection: Connection, object_ids: Sequence[int]) -> defaultdict[int, list[str]]:
    columns = finding.c
    found: defaultdict[int, list[str]] = defaultdict(list)
    for batch in batches(object_ids):
        query = (
            sa.select(columns.object_id, columns.anatomy_id)
            .where(columns.object_id.in_(batch), columns.is_current, columns.anatomy_id.is_not(None))
            .distinct()
        )
        for row in connection.execute(query):
            found[row.object_id].append(row.anatomy_id)
    return found


def _stated(connection: Connection, object_ids: Sequence[int]) -> defaultdict[int, list[Stated]]:
    columns = finding.c
    found: defaultdict[int, list[Stated]] = defaultdict(list)
    for batch in batches(object_ids):
        rows = connection.execute(
            sa.select(finding)
            .where(columns.object_id.in_(batch), columns.is_current)
            .order_by(columns.object_id, columns.start_offset, columns.id)
        )
        for row in rows.mappings():
            found[row["object_id"]].append(
                Stated(
                    Concept(row["concept_id"], row["concept_code"], row["concept_scheme"], row["concept_meaning"]),
                    row["start_offset"],
                    row["end_offset"],
                    SectionName(row["section"]),
                    Assertion(row["assertion"]),
                    from_json(Concept, row["anatomy"]) if row["anatomy"] else None,
                    Laterality(row["laterality"]) if row["laterality"] else None,
                    Change(row["change"]) if row["change"] else None,
                    tuple(from_json(Measurement, m) for m in row["measurements"]),
                    row["text"],
                    row["sentence"],
                    row["count"],
                    row["subject"],
                )
            )
    return found


class _Builder:
    """Puts together what is told of one study."""

    def __init__(self) -> None:
        self._dates: list[tuple[int, str, str]] = []
        self._modalities: dict[str, None] = {}
        self._parts: dict[str, None] = {}
        self._sides: dict[str, None] = {}
        self._names: dict[str, None] = {}
        self._sites: dict[str, None] = {}
        self._reports: list[str] = []
        self._has_images = False

    def add_report(self, row: RowMapping, read: _Read, sites: Iterable[str], *, own: bool) -> None:
        """What a report tells: of a study that it is only evidence for, all but the date."""
        if own:
            self._dates.append((1, date_of(_Header(row["study_date"], row["content_date"])), row["study_time"]))
        self._modalities |= dict.fromkeys(read.modalities)
        self._parts |= dict.fromkeys(part for part in (row["body_part_examined"],) if part)
        names = (row["study_description"], row["series_description"], *read.names)
        self._names |= dict.fromkeys(name for name in names if name)
        self._sites |= dict.fromkeys(sites)
        self._reports.append(row["sop_instance_uid"])
        if not own:
            self._dates.append((2, date_of(_Header(row["study_date"], row["content_date"])), row["study_time"]))

    def add_images(self, row: RowMapping) -> None:
        """What headers of images tell: before any report it is they that say when and how."""
        self._dates.append((0, row["study_date"], row["study_time"]))
        modalities = dict.fromkeys(m for m in row["modalities"].split("\\") if m)
        self._modalities = modalities | self._modalities
        self._parts |= dict.fromkeys(part for part in row["body_parts_examined"].split("\\") if part)
        self._sides |= dict.fromkeys(side for side in row["lateralities"].split("\\") if side)
        self._names |= dict.fromkeys(row["descriptions"])
        self._has_images = True

    def examination(self, study_instance_uid: str) -> Examination:
        """The study."""
        dated = sorted(told for told in self._dates if told[1])
        _, date, time = dated[0] if dated else (0, "", "")
        return Examination(
            study_instance_uid,
            date,
            time,
            tuple(self._modalities),
            tuple(self._parts),
            tuple(self._sides),
            tuple(self._names),
            tuple(sorted(self._sites)),
            tuple(self._reports),
            self._has_images,
        )


@dataclass(frozen=True, slots=True)
class _Header:
    study_date: str
    content_date: str
