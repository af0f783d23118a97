"""What a pipeline says otherwise than another, over all reports that both have read: by concept and assertion."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.changes import Meaning, pair
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_by_id
from dicomnlp.store.schema import analysis, finding, sop_instance
from dicomnlp.store.schema_pipelines import shadow_failure
from dicomnlp.store.scope import scope_of, visible

Kind = Literal["added", "gone", "changed"]
MAXIMUM_EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Example:
    """A place where the two differ; None on the side that says nothing."""

    before: StoredFinding | None
    after: StoredFinding | None


@dataclass(frozen=True, slots=True)
class Change:
    """A way in which the two differ, in however many reports."""

    kind: Kind
    concept_id: str
    concept_meaning: str
    assertion_before: str | None
    assertion_after: str | None
    laterality_before: str | None
    laterality_after: str | None
    """Both are told only where they are what differs."""
    count: int
    """Findings by concept, assertion and laterality: what a report says twice is one."""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a pipeline says, against what counts or against another."""

    compared: int
    """Reports with an analysis by each of the two."""
    same_analysis: int
    """Reports for which the analysis that it is compared with is its own."""
    differing: int
    """Reports of those compared in which the findings differ."""
    unchanged: int
    """Findings on which both agree in the reports compared."""
    changes: tuple[Change, ...]
    """The most frequent first."""
    failures: tuple[tuple[str, int], ...]
    """Reason codes of reports that it could not read, and how many."""
    failed: tuple[tuple[str, str], ...]
    """SOP Instance UIDs and reason codes of some of them."""

    def total(self, kind: Kind) -> int:
        """Findings that were added, are gone, or have changed."""
        return sum(c.count for c in self.changes if c.kind == kind)


def comparison_to_json(found: Comparison, tell: Callable[[StoredFinding], Any]) -> dict[str, Any]:
    """The comparison in the public form, each finding as `tell` has it."""
    return {
        "compared": found.compared,
        "same_analysis": found.same_analysis,
        "differing": found.differing,
        "added": found.total("added"),
        "gone": found.total("gone"),
        "changed": found.total("changed"),
        "unchanged": found.unchanged,
        "changes": [
            {
                "kind": change.kind,
                "concept": {"id": change.concept_id, "meaning": change.concept_meaning},
                "before": _side(change.assertion_before, change.laterality_before),
                "after": _side(change.assertion_after, change.laterality_after),
                "count": change.count,
                "examples": [
                    {
                        "before": None if example.before is None else tell(example.before),
                        "after": None if example.after is None else tell(example.after),
                    }
                    for example in change.examples
                ],
            }
            for change in found.changes
        ],
        "failures": [{"reason_code": reason_code, "count": number} for reason_code, number in found.failures],
        "failed": [{"sop_instance_uid": uid, "reason_code": reason_code} for uid, reason_code in found.failed],
    }


def _side(assertion: str | None, laterality: str | None) -> dict[str, str | None] | None:
    return None if assertion is None else {"assertion": assertion, "laterality": laterality}


@dataclass(slots=True)
class _Mention:
    meaning: Meaning
    finding_id: int


class _Way(NamedTuple):
    """What changes are told apart by: as the fields of `Change`."""

    kind: Kind
    concept_id: str
    assertion_before: str | None = None
    assertion_after: str | None = None
    laterality_before: str | None = None
    laterality_after: str | None = None


def compare_pipelines(
    database: Database,
    name: str,
    after: Sequence[str],
    before: Sequence[str] | None = None,
    *,
    concept: str | None = None,
    kind: Kind | None = None,
    examples: int = 3,
) -> Comparison:
    """Compare what a pipeline made of reports with what counts, or with what another made of them.

    Parameters
    ----------
    name
        Under which the pipeline is kept: its failures in shadow are told.
    after, before
        Every name of an analysis by each of the two; None for what counts.
    concept, kind
        Only changes of this concept, of this kind.
    examples
        Of each change, up to `MAXIMUM_EXAMPLES`.
    """
    with database.read() as connection:
        pairs = _pairs(connection, after, before)
        differing = sa.func.count().filter(pairs.c.old_id != pairs.c.new_id)
        same = sa.func.count().filter(pairs.c.old_id == pairs.c.new_id)
        compared, same_analysis = connection.execute(sa.select(differing, same).select_from(pairs)).one()
        told = _told(pairs)
        agreed = connection.scalar(sa.select(sa.func.count()).select_from(told).where(told.c.first != told.c.last)) or 0
        rows = connection.execute(
            sa.select(told)
            .where(told.c.first == told.c.last)
            .order_by(told.c.object_id, told.c.place, told.c.finding_id)
            .execution_options(yield_per=10_000)
        )
        counts: Counter[_Way] = Counter()
        found: defaultdict[_Way, list[tuple[int, int]]] = defaultdict(list)
        meanings: dict[str, str] = {}
        reports = 0
        for _, of_report in itertools.groupby(rows, lambda row: row.object_id):
            sides: tuple[list[_Mention], list[_Mention]] = [], []
            for row in of_report:
                meanings.setdefault(row.concept_id, row.concept_meaning)
                sides[row.first].append(_Mention((row.concept_id, row.assertion, row.laterality), row.finding_id))
            reports += 1
            for way, ids in _changes(*sides):
                counts[way] += 1
                if len(found[way]) < examples:
                    found[way].append(ids)
        chosen = [
            way
            for way, _ in sorted(counts.items(), key=lambda item: (-item[1], repr(item[0])))
            if concept in {None, way.concept_id} and kind in {None, way.kind}
        ]
        ids_of_examples = [i for way in chosen for ids in found[way] for i in ids if i]
        held = {f.id: f for f in findings_by_id(connection, ids_of_examples)}
        changes = tuple(
            Change(
                kind=way.kind,
                concept_id=way.concept_id,
                concept_meaning=meanings[way.concept_id],
                assertion_before=way.assertion_before,
                assertion_after=way.assertion_after,
                laterality_before=way.laterality_before,
                laterality_after=way.laterality_after,
                count=counts[way],
                examples=tuple(Example(held.get(old), held.get(new)) for old, new in found[way]),
            )
            for way in chosen
        )
        failures, failed = _failures(connection, name, examples)
    return Comparison(compared, same_analysis, reports, agreed, changes, failures, failed)


def _pairs(connection: Connection, after: Sequence[str], before: Sequence[str] | None) -> sa.CTE:
    """Of each report that both have read, the analyses by both; the newest of each."""
    columns = analysis.c

    def newest(pipelines: Sequence[str]) -> sa.Subquery:
        return (
            sa.select(columns.object_id, sa.func.max(columns.id).label("id"))
            .where(columns.pipeline.in_(pipelines))
            .group_by(columns.object_id)
            .subquery()
        )

    new = newest(after)
    old = (
        sa.select(columns.object_id, columns.id).where(columns.is_current).subquery()
        if before is None
        else newest(before)
    )
    return (
        sa.select(new.c.object_id, old.c.id.label("old_id"), new.c.id.label("new_id"))
        .join_from(new, old, old.c.object_id == new.c.object_id)
        .join(sop_instance, sop_instance.c.id == new.c.object_id)
        .where(sop_instance.c.is_current, *visible(scope_of(connection)))
        .cte("pairs")
    )


def _told(pairs: sa.CTE) -> sa.Subquery:
    """What either says of a report, each meaning once: `first` and `last` are of the sides (0, 1) that say it."""
    columns = finding.c

    def side(number: int, key: sa.ColumnElement[int]) -> sa.Select[Any]:
        return (
            sa.select(
                columns.object_id,
                columns.concept_id,
                columns.concept_meaning,
                columns.assertion,
                columns.laterality,
                columns.start_offset,
                columns.id,
                sa.literal(number).label("side"),
            )
            .join_from(pairs, finding, columns.analysis_id == key)
            .where(pairs.c.old_id != pairs.c.new_id)
        )

    said = sa.union_all(side(0, pairs.c.old_id), side(1, pairs.c.new_id)).subquery()
    return (
        sa.select(
            said.c.object_id,
            said.c.concept_id,
            said.c.assertion,
            said.c.laterality,
            sa.func.min(said.c.concept_meaning).label("concept_meaning"),
            sa.func.min(said.c.side).label("first"),
            sa.func.max(said.c.side).label("last"),
            sa.func.min(said.c.start_offset).label("place"),
            sa.func.min(said.c.id).label("finding_id"),
        )
        .group_by(said.c.object_id, said.c.concept_id, said.c.assertion, said.c.laterality)
        .subquery()
    )


def _changes(gone: list[_Mention], added: list[_Mention]) -> list[tuple[_Way, tuple[int, int]]]:
    """The changes of a report, each with the ids of its findings before and after; 0 for none."""
    new, lost, changed = pair(gone, added, lambda mention: mention.meaning)
    found = [(_Way("added", m.meaning[0], None, m.meaning[1]), (0, m.finding_id)) for m in new]
    found += [(_Way("gone", m.meaning[0], m.meaning[1]), (m.finding_id, 0)) for m in lost]
    for a, b in changed:
        sides = (a.meaning[2], b.meaning[2]) if a.meaning[2] != b.meaning[2] else (None, None)
        found.append((_Way("changed", a.meaning[0], a.meaning[1], b.meaning[1], *sides), (a.finding_id, b.finding_id)))
    return found


def _failures(
    connection: Connection, name: str, examples: int
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, str], ...]]:
    columns = shadow_failure.c
    of_pipeline = (
        sa.select(columns.reason_code, sop_instance.c.sop_instance_uid)
        .join_from(shadow_failure, sop_instance, sop_instance.c.id == columns.object_id)
        .where(columns.pipeline == name, *visible(scope_of(connection)))
    )
    counted = of_pipeline.with_only_columns(columns.reason_code, sa.func.count()).group_by(columns.reason_code)
    failures = sorted((tuple(row) for row in connection.execute(counted)), key=lambda f: (-f[1], f[0]))
    some = connection.execute(of_pipeline.order_by(columns.object_id).limit(examples))
    return tuple(failures), tuple((row.sop_instance_uid, row.reason_code) for row in some)
