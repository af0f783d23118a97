"""What a report changed of the one before it: a preliminary report and its final, an amendment, a new version."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError
from dicomnlp.model import is_uid
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_of_analysis
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, report_standing, sop_instance
from dicomnlp.store.scope import scope_of, visible

FIELDS = ("assertion", "laterality")
"""What makes two mentions of a concept differ in meaning."""
Meaning = tuple[str, str, str | None]
"""Concept, assertion and laterality: mentions that agree in these say the same."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """A report, or one version of it."""

    sop_instance_uid: str
    version: int
    analysis_id: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Findings by concept, assertion and laterality: mentions that say the same are one."""

    earlier: Version | None
    """None: the report took the place of none."""
    later: Version
    added: tuple[StoredFinding, ...]
    gone: tuple[StoredFinding, ...]
    changed: tuple[tuple[StoredFinding, StoredFinding], ...]
    """Of the same concept, before and after."""
    unchanged: int

    def to_json(self) -> dict[str, Any]:
        """The changes in the public form."""
        return {
            "earlier": _version_json(self.earlier),
            "later": _version_json(self.later),
            "added": [f.to_json() for f in self.added],
            "gone": [f.to_json() for f in self.gone],
            "changed": changed_to_json(self.changed, StoredFinding.to_json),
            "unchanged": self.unchanged,
        }


def changed_to_json(
    changed: Iterable[tuple[StoredFinding, StoredFinding]], tell: Callable[[StoredFinding], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Pairs of the same concept in the public form: which fields differ, and each finding as `tell` has it."""
    return [
        {
            "fields": [name for name in FIELDS if getattr(a.finding, name) != getattr(b.finding, name)],
            "before": tell(a),
            "after": tell(b),
        }
        for a, b in changed
    ]


def _version_json(version: Version | None) -> dict[str, Any] | None:
    return None if version is None else {"sop_instance_uid": version.sop_instance_uid, "version": version.version}


def changes_of_report(database: Database, sop_instance_uid: str) -> Changes:
    """What changed between a report and the one that it replaced, or that replaced it.

    Of a superseded report: against the one that superseded it. Of another: against the latest that it superseded, else
    against the version of the same SOP instance before it, else against nothing.

    Raises
    ------
    NotFoundError
        No analysed report is held under this SOP Instance UID.
    """
    with database.read() as connection:
        versions = _versions(connection, sop_instance_uid)
        if not versions:
            raise NotFoundError(
                "no analysed report is held under SOP instance "
                + (sop_instance_uid if is_uid(sop_instance_uid) else "(not a well-formed UID)")
            )
        later, earlier = versions[-1], versions[-2] if len(versions) > 1 else None
        columns = report_standing.c
        successor = connection.scalar(
            sa.select(columns.superseded_by)
            .join_from(report_standing, analysis, analysis.c.object_id == columns.object_id)
            .where(analysis.c.id == later.analysis_id, columns.status == "superseded")
        )
        if successor and (replacing := _versions(connection, successor)):
            later, earlier = replacing[-1], later
        elif predecessor := _latest_superseded(connection, sop_instance_uid):
            earlier = _versions(connection, predecessor)[-1]
        before = findings_of_analysis(connection, earlier.analysis_id) if earlier else []
        after = findings_of_analysis(connection, later.analysis_id)
    added, gone, changed, unchanged = compare(before, after)
    return Changes(earlier, later, tuple(added), tuple(gone), tuple(changed), unchanged)


def _versions(connection: Connection, sop_instance_uid: str) -> list[Version]:
    """The versions that are analysed, the current one last."""
    columns = sop_instance.c
    rows = connection.execute(
        sa.select(columns.version, analysis.c.id)
        .join_from(sop_instance, analysis, (analysis.c.object_id == columns.id) & CURRENT_ANALYSIS)
        .where(columns.sop_instance_uid == sop_instance_uid, *visible(scope_of(connection)))
        .order_by(columns.is_current, columns.version)
    )
    return [Version(sop_instance_uid, row.version, row.id) for row in rows]


def _latest_superseded(connection: Connection, sop_instance_uid: str) -> str | None:
    columns = sop_instance.c
    return connection.scalar(
        sa.select(columns.sop_instance_uid)
        .join_from(report_standing, sop_instance, columns.id == report_standing.c.object_id)
        .where(
            report_standing.c.superseded_by == sop_instance_uid,
            report_standing.c.status == "superseded",
            columns.is_current,
            *visible(scope_of(connection)),
        )
        .order_by(columns.content_date.desc(), columns.content_time.desc(), columns.sop_instance_uid.desc())
        .limit(1)
    )


def compare(
    before: Iterable[StoredFinding], after: Iterable[StoredFinding]
) -> tuple[list[StoredFinding], list[StoredFinding], list[tuple[StoredFinding, StoredFinding]], int]:
    """(added, gone, changed, how many are unchanged), each in the order of the text."""
    old, new = _distinct(before), _distinct(after)
    unchanged = old.keys() & new.keys()
    added, gone, changed = pair(
        [f for key, f in old.items() if key not in unchanged],
        [f for key, f in new.items() if key not in unchanged],
        _meaning,
    )
    changed.sort(key=lambda pair: pair[1].finding.start)
    return added, gone, changed, len(unchanged)


def pair(
    gone: Sequence[T], added: Sequence[T], meaning: Callable[[T], Meaning]
) -> tuple[list[T], list[T], list[tuple[T, T]]]:
    """Of what only one side says: (added, gone, pairs that are the same concept judged otherwise)."""
    gone, added = list(gone), list(added)
    changed: list[tuple[T, T]] = []
    # another assertion of the same side is a likelier pair than another side
    for fields in ((0, 2), (0, 1), (0,)):
        for f in list(gone):
            told = meaning(f)
            match = next((g for g in added if all(meaning(g)[n] == told[n] for n in fields)), None)
            if match is not None:
                changed.append((f, match))
                gone.remove(f)
                added.remove(match)
    return added, gone, changed


def _distinct(findings: Iterable[StoredFinding]) -> dict[Meaning, StoredFinding]:
    found: dict[Meaning, StoredFinding] = {}
    for f in findings:
        found.setdefault(_meaning(f), f)
    return found


def _meaning(stored: StoredFinding) -> Meaning:
    f = stored.finding
    return f.concept.id, f.assertion, f.laterality
