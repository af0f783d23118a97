"""What counted for a study at a moment in the past, what waited then, and to which studies each report belonged.

Nothing of it is kept as such: it is computed from when objects came, were assigned, analysed and merged, by the rules
that hold for now.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State
from dicomnlp.store.answers import StudyLink
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.documents import ACCESSION, BELONGS, COMPARISON, DERIVED, IDENTICAL, OWN
from dicomnlp.store.facts import Held, patient_key, read_held_with
from dicomnlp.store.patients import current_patients
from dicomnlp.store.prevailing import ReportStatus, Standing, prevail
from dicomnlp.store.schema import report_accession, report_study, sop_instance, study_assignment


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a study."""

    analyses: dict[int, int]
    """Analyses that spoke for the study, each with its object."""
    waiting: dict[int, State]
    """Objects of the study that were received and had no analysis that counted, each with its state then."""
    links: dict[int, tuple[StudyLink, ...]]
    """Of the objects of `analyses`, the studies of each by their strongest link, its own first."""
    is_held: bool
    """Whether anything was held of the study at all."""


@dataclass(frozen=True, slots=True)
class _Instance:
    """An object as it was held: the version that answered for its SOP instance."""

    object_id: int
    study_instance_uid: str
    accession_number: str
    patient: tuple[str, str]
    state: State


def known_at(connection: Connection, study_instance_uid: str, as_of: dt.datetime) -> Known:
    """What was known of the study, by reports of its own and by others that belonged to it."""
    instances = _instances_of(connection, study_instance_uid, as_of)
    numbers = {i.accession_number for i in instances} - {""}
    stated = [kind for kind in BELONGS if kind not in DERIVED]
    columns = report_study.c
    candidates = {i.object_id for i in instances}
    candidates |= set(
        connection.scalars(
            sa.select(columns.object_id).where(
                columns.study_instance_uid == study_instance_uid, columns.kind.in_(stated)
            )
        )
    )
    candidates |= set(select_in(connection, report_accession.c.object_id, report_accession.c.accession_number, numbers))
    held = _as_assigned(connection, read_held_with(connection, candidates, as_of), as_of)
    standings = prevail(h.facts for h in held)
    links = _links_at(connection, held, standings, as_of)
    analyses = {
        h.analysis_id: h.facts.object_id
        for h in held
        if h.speaks
        and links[h.facts.object_id].get(study_instance_uid) in BELONGS
        and standings[h.facts.object_id].status is ReportStatus.PREVAILING
    }
    speaking = {h.facts.object_id for h in held if h.speaks}
    return Known(
        analyses=analyses,
        waiting={i.object_id: i.state for i in instances if i.object_id not in speaking},
        links={i: study_links(links[i].items()) for i in analyses.values()},
        is_held=bool(instances) or any(study_instance_uid in links[h.facts.object_id] for h in held),
    )


def study_links(links: Iterable[tuple[str, str]]) -> tuple[StudyLink, ...]:
    """The studies of a report, each by its strongest link, the strongest first.

    Parameters
    ----------
    links
        (Study Instance UID, kind), a study more than once where it is linked in several ways.
    """
    strength = [*BELONGS, COMPARISON]
    found: dict[str, str] = {}
    for study, kind in sorted(links, key=lambda link: (strength.index(link[1]), link[0])):
        found.setdefault(study, kind)
    return tuple(StudyLink(study, kind) for study, kind in found.items())


def _instances_of(connection: Connection, study_instance_uid: str, as_of: dt.datetime) -> list[_Instance]:
    """Objects that were of the study, by their header or by an assignment that held."""
    columns, assigned = sop_instance.c, study_assignment.c
    object_ids = {
        *connection.scalars(sa.select(columns.id).where(columns.study_instance_uid == study_instance_uid)),
        *connection.scalars(sa.select(assigned.object_id).where(assigned.study_instance_uid == study_instance_uid)),
    }
    found = _instances_at(connection, object_ids, as_of)
    return [instance for instance in found if instance.study_instance_uid == study_instance_uid]


def _instances_at(connection: Connection, object_ids: Collection[int], as_of: dt.datetime) -> list[_Instance]:
    """Those of the objects that were the current version of their SOP instance at that moment."""
    columns = sop_instance.c
    uids = set(select_in(connection, columns.sop_instance_uid, columns.id, object_ids))
    rows: list[Any] = []
    query = sa.select(sop_instance).where(columns.received_at <= as_of).order_by(columns.version)
    for batch in batches(uids):
        rows.extend(connection.execute(query.where(columns.sop_instance_uid.in_(batch))))
    assigned = _assignments(connection, [row.id for row in rows])
    current: dict[str, tuple[Any, str]] = {}
    for row in rows:
        study = _study_at(row.study_instance_uid, row.state, assigned[row.id], as_of)
        if study is not None:
            current[row.sop_instance_uid] = row, study
    return [
        _Instance(
            row.id,
            study,
            row.accession_number,
            (row.patient_id, row.issuer_of_patient_id),
            State(row.state) if row.state_changed_at <= as_of else State.PENDING,
        )
        for row, study in current.values()
        if row.id in object_ids
    ]


def _assignments(connection: Connection, object_ids: Collection[int]) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    columns = study_assignment.c
    for batch in batches(object_ids):
        query = sa.select(study_assignment).where(columns.object_id.in_(batch)).order_by(columns.id)
        for row in connection.execute(query):
            found[row.object_id].append(row)
    return found


def _study_at(study: str, state: str, assignments: Sequence[Any], as_of: dt.datetime) -> str | None:
    """The study that an object was of; None while it was in quarantine."""
    held = [a for a in assignments if a.assigned_at <= as_of and (a.undone_at is None or a.undone_at > as_of)]
    if held:
        assigned: str = held[-1].study_instance_uid
        return assigned
    return None if assignments or state == State.QUARANTINED else study


def _as_assigned(connection: Connection, held: Sequence[Held], as_of: dt.datetime) -> list[Held]:
    """`held`, each of the study that it was assigned to then."""
    assigned = _assignments(connection, [h.facts.object_id for h in held])
    return [
        replace(h, facts=replace(h.facts, study_instance_uid=study))
        if (study := _study_at(h.facts.study_instance_uid, "", assigned[h.facts.object_id], as_of)) is not None
        else h
        for h in held
    ]


def _links_at(
    connection: Connection, held: Sequence[Held], standings: dict[int, Standing], as_of: dt.datetime
) -> defaultdict[int, dict[str, str]]:
    """Studies of each object and the strongest kind of link; what `life` keeps up to date, for a moment."""
    links: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for h in held:
        links[h.facts.object_id][h.facts.study_instance_uid] = OWN
    for batch in batches(links):
        for row in connection.execute(sa.select(report_study).where(report_study.c.object_id.in_(batch))):
            if row.kind not in (OWN, *DERIVED):
                links[row.object_id].setdefault(row.study_instance_uid, row.kind)
    for object_id, study in _by_accession(connection, held, as_of):
        _link(links[object_id], study, ACCESSION)
    by_uid = {h.facts.sop_instance_uid: h.facts.object_id for h in held}
    for h in held:
        standing = standings[h.facts.object_id]
        if standing.status is ReportStatus.IDENTICAL and standing.by in by_uid:
            for study, kind in links[h.facts.object_id].items():
                if kind in BELONGS:
                    _link(links[by_uid[standing.by]], study, IDENTICAL)
    return links


def _link(links: dict[str, str], study: str, kind: str) -> None:
    if links.get(study) not in BELONGS:
        links[study] = kind


def _by_accession(connection: Connection, held: Sequence[Held], as_of: dt.datetime) -> list[tuple[int, str]]:
    """(object, study) where a report answered a request whose accession number a study of the same patient had."""
    patient_of = {h.facts.object_id: h.facts.patient for h in held if h.facts.patient}
    requested: list[tuple[int, str]] = []
    for batch in batches(patient_of):
        rows = connection.execute(sa.select(report_accession).where(report_accession.c.object_id.in_(batch)))
        requested += [(row.object_id, row.accession_number) for row in rows]
    column, key = sop_instance.c.id, sop_instance.c.accession_number
    asked = set(select_in(connection, column, key, {number for _, number in requested}))
    instances = _instances_at(connection, asked, as_of)
    patients = current_patients(connection, {i.patient for i in instances}, as_of)
    studies: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for i in instances:
        studies[i.accession_number, patient_key(patients[i.patient])].add(i.study_instance_uid)
    return [
        (object_id, study)
        for object_id, number in requested
        for study in sorted(studies[number, patient_of[object_id]])
    ]
