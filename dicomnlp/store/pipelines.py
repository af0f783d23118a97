"""The pipelines that a site has added, and which of them counts: by it new reports are read from its promotion on."""

import datetime as dt
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import PIPELINE_SEPARATOR
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import analysis, analysis_period, sop_instance
from dicomnlp.store.schema_pipelines import pipeline, promotion, shadow_failure
from dicomnlp.store.scope import visible_objects

CONFIGURED = "configured"
"""The pipeline of the configuration: the program's packs with `analyse.overlays`. It has no row."""
_DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Active:
    """What reports are to be read by."""

    generation: int
    """Number of the promotion by which it counts; 0 where nothing was ever promoted."""
    name: str
    sha256: str = ""
    """Of its archive; "" for `CONFIGURED`."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A pipeline that the site has added."""

    name: str
    sha256: str
    names: dict[str, str]
    """By language, how it names itself in analyses, by the version of the program that used it last."""
    added_at: dt.datetime
    added_by: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the pipeline that counts."""

    id: int
    pipeline: str
    names: dict[str, str]
    """By language, the pipelines of analyses that it meant."""
    undoes: int | None
    """The promotion that it took back."""
    promoted_at: dt.datetime
    promoted_by: str
    total: int
    """Objects that were looked at so far."""
    unchanged: int
    switched: int
    marked: int
    """Those of them that were of it already, that had an analysis by it, and that are analysed by it now or soon."""
    finished_at: dt.datetime | None

    def to_json(self) -> dict[str, Any]:
        """The promotion in the public form."""
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "pipelines": self.names,
            "undoes": self.undoes,
            "promoted_at": self.promoted_at.isoformat().replace("+00:00", "Z"),
            "promoted_by": self.promoted_by,
            "unchanged": self.unchanged,
            "switched": self.switched,
            "marked": self.marked,
            "finished": self.finished_at is not None,
        }


def read_active(database: Database) -> Active:
    """The pipeline that counts now."""
    with database.read() as connection:
        row = connection.execute(
            sa.select(promotion.c.id, promotion.c.pipeline, pipeline.c.sha256)
            .outerjoin_from(promotion, pipeline, pipeline.c.name == promotion.c.pipeline)
            .order_by(promotion.c.id.desc())
            .limit(1)
        ).first()
    return Active(0, CONFIGURED) if row is None else Active(row.id, row.pipeline, row.sha256 or "")


def generation_of(connection: Connection) -> int:
    """The number of the last promotion, 0 without one."""
    return connection.scalar(sa.select(sa.func.max(promotion.c.id))) or 0


def combinations(names: Iterable[str]) -> list[str]:
    """Every name that an analysis can have in which only pipelines of `names` took part, see `Analysis.pipeline`."""
    each = sorted(set(names))
    return [
        PIPELINE_SEPARATOR.join(chosen)
        for number in range(1, len(each) + 1)
        for chosen in itertools.combinations(each, number)
    ]


def analyses_by(connection: Connection, text: str) -> list[str]:
    """Every name of an analysis by a pipeline.

    Parameters
    ----------
    text
        The name under which it was added, `CONFIGURED`, or how it names itself in findings.

    Raises
    ------
    NotFoundError
        Neither was ever heard of.
    """
    names = connection.scalar(sa.select(pipeline.c.names).where(pipeline.c.name == text))
    if names is None:
        of_promotions = sa.select(promotion.c.names).where(promotion.c.pipeline == text)
        names = connection.scalar(of_promotions.order_by(promotion.c.id.desc()).limit(1))
    if names is not None:
        return combinations(names.values())
    if connection.scalar(sa.select(sa.exists().where(analysis.c.is_current, analysis.c.pipeline == text))):
        return [text]
    if connection.scalar(sa.select(sa.exists().where(analysis.c.is_current.is_(False), analysis.c.pipeline == text))):
        return [text]
    raise NotFoundError("no pipeline of this name has read a report; see `dicomnlp pipelines list`")


def note_names(database: Database, name: str, names: Mapping[str, str]) -> None:
    """Keep how a pipeline names itself with this version of the program."""

    def work(connection: Connection) -> None:
        connection.execute(sa.update(pipeline).where(pipeline.c.name == name).values(names=dict(names)))

    database.transact(work)


def count_analyses(database: Database, pipelines: Sequence[str]) -> tuple[int, int]:
    """How many reports count by analyses of these names, and how many others have one."""
    columns = analysis.c
    counts = []
    with database.read() as connection:
        for is_current in (True, False):
            query = sa.select(sa.func.count()).where(
                columns.is_current.is_(is_current),
                columns.pipeline.in_(pipelines),
                *visible_objects(database.scope, columns.object_id),
            )
            counts.append(connection.scalar(query) or 0)
    return counts[0], counts[1]


def add_pipeline(
    database: Database, name: str, archive: bytes, sha256: str, names: Mapping[str, str], added_by: str
) -> bool:
    """Keep a pipeline under `name`; false where the same is kept under it already.

    Raises
    ------
    UsageError
        Another is kept under this name, or the name is `CONFIGURED`.
    """
    if name == CONFIGURED:
        raise UsageError(f"{CONFIGURED!r} is the pipeline of the configuration; give yours another name")

    def work(connection: Connection) -> bool:
        held = connection.scalar(sa.select(pipeline.c.sha256).where(pipeline.c.name == name))
        if held is not None and held != sha256:
            raise UsageError(f"another pipeline is kept under the name {name!r}; give this one another")
        if held is None:
            connection.execute(
                sa.insert(pipeline).values(
                    name=name,
                    archive=archive,
                    sha256=sha256,
                    names=dict(names),
                    added_at=dt.datetime.now(dt.UTC),
                    added_by=added_by,
                )
            )
        return held is None

    return database.transact(work)


def read_pipelines(database: Database) -> list[Registered]:
    """The pipelines that were added, the oldest first."""
    columns = pipeline.c
    with database.read() as connection:
        rows = connection.execute(
            sa.select(columns.name, columns.sha256, columns.names, columns.added_at, columns.added_by).order_by(
                columns.added_at, columns.name
            )
        )
        return [Registered(*row) for row in rows]


def read_archive(database: Database, name: str) -> tuple[bytes, str] | None:
    """Archive and digest of a pipeline; None of `CONFIGURED`, which has none.

    Raises
    ------
    NotFoundError
        There is no pipeline of this name.
    """
    if name == CONFIGURED:
        return None
    with database.read() as connection:
        row = connection.execute(
            sa.select(pipeline.c.archive, pipeline.c.sha256).where(pipeline.c.name == name)
        ).first()
    if row is None:
        raise NotFoundError("there is no pipeline of this name; see `dicomnlp pipelines list`")
    return bytes(row.archive), row.sha256


def read_promotions(database: Database) -> list[Promotion]:
    """Every promotion, the first first."""
    with database.read() as connection:
        return [_promotion(row) for row in connection.execute(sa.select(promotion).order_by(promotion.c.id))]


def unfinished_promotion(database: Database) -> Promotion | None:
    """The promotion that counts, if reports are still to be brought to it."""
    with database.read() as connection:
        row = connection.execute(sa.select(promotion).order_by(promotion.c.id.desc()).limit(1)).first()
    return _promotion(row) if row is not None and row.finished_at is None else None


def taken_back(promotions: Sequence[Promotion]) -> tuple[Promotion, Promotion | None] | None:
    """The promotion that going back would take back, and the one that counted before it (None: the configuration).

    None where nothing is left to be taken back.
    """
    counting = _not_taken_back(promotions)
    if not counting:
        return None
    return counting[-1], (counting[-2] if len(counting) > 1 else None)


def _not_taken_back(promotions: Sequence[Promotion]) -> list[Promotion]:
    counting: list[Promotion] = []
    for p in promotions:
        if p.undoes is None:
            counting.append(p)
        elif counting:
            counting.pop()
    return counting


def promote(
    database: Database, name: str, names: Mapping[str, str], promoted_by: str, undoes: int | None = None
) -> Promotion:
    """Let a pipeline count from now on: whatever is saved from here on is by it. See `switching` for what is held.

    Parameters
    ----------
    name
        Of a pipeline that was added, or `CONFIGURED`.
    names
        By language, how it names itself in analyses.
    promoted_by
        Who asked for it.
    undoes
        The promotion that this takes back: what counted before that counts again, see `switching`.

    Returns
    -------
    Promotion
        The one that counts: not a new one where this pipeline counts anyway, and is brought to the reports once more.

    Raises
    ------
    NotFoundError
        There is no pipeline of this name.
    UsageError
        `undoes` isn't the promotion that counts now.
    """

    def work(connection: Connection) -> int:
        known = sa.update(pipeline).where(pipeline.c.name == name).values(names=dict(names))
        if name != CONFIGURED and not connection.execute(known).rowcount:
            raise NotFoundError("there is no pipeline of this name; see `dicomnlp pipelines list`")
        if connection.dialect.name == "postgresql":
            # of two promotions at a time one is the later
            connection.execute(sa.text("LOCK TABLE promotion IN SHARE ROW EXCLUSIVE MODE"))
        rows = connection.execute(sa.select(promotion).order_by(promotion.c.id)).all()
        found = [_promotion(row) for row in rows]
        going = taken_back(found)
        if undoes is not None and (going is None or going[0].id != undoes):
            raise UsageError("something else was promoted in the meantime")
        last = found[-1] if found else None
        end = connection.scalar(sa.select(sa.func.max(sop_instance.c.id))) or 0
        afresh = {"last_object_id": end, "walked_to_object_id": 0, "unchanged": 0, "switched": 0, "marked": 0}
        if undoes is None and last is not None and last.undoes is None and last.pipeline == name:
            if last.finished_at is not None or last.names != dict(names):
                # what another has read meanwhile, or an earlier version of this program, is brought to it
                connection.execute(
                    sa.update(promotion)
                    .where(promotion.c.id == last.id)
                    .values(names=dict(names), finished_at=None, **afresh)
                )
            return last.id
        inserted = connection.execute(
            sa.insert(promotion).values(
                pipeline=name,
                names=dict(names),
                undoes=undoes,
                promoted_at=dt.datetime.now(dt.UTC),
                promoted_by=promoted_by,
                **afresh,
            )
        )
        assert inserted.inserted_primary_key is not None
        return int(inserted.inserted_primary_key[0])

    promotion_id = database.transact(work)
    return read_promotion(database, promotion_id)


def read_promotion(database: Database, promotion_id: int) -> Promotion:
    """A promotion by its number.

    Raises
    ------
    NotFoundError
        There is none.
    """
    with database.read() as connection:
        row = connection.execute(sa.select(promotion).where(promotion.c.id == promotion_id)).first()
    if row is None:
        raise NotFoundError(f"there is no promotion {promotion_id}")
    return _promotion(row)


def remove_pipeline(database: Database, name: str, pipelines: Sequence[str]) -> int:
    """Forget a pipeline that doesn't count, and what its shadow runs left.

    Parameters
    ----------
    name
        Under which it is kept.
    pipelines
        Names of analyses that only it made. Those of them that count for a report, or once did, are kept.

    Returns
    -------
    int
        Analyses that were deleted.

    Raises
    ------
    NotFoundError
        There is no pipeline of this name.
    UsageError
        It counts, or would after going back.
    """

    def forget(connection: Connection) -> None:
        held = connection.execute(sa.select(promotion).order_by(promotion.c.id))
        if any(p.pipeline == name for p in _not_taken_back([_promotion(row) for row in held])):
            raise UsageError(f"{name!r} counts, or would after going back; promote another first")
        if not connection.execute(sa.delete(pipeline).where(pipeline.c.name == name)).rowcount:
            raise NotFoundError("there is no pipeline of this name; see `dicomnlp pipelines list`")

    def delete_some(connection: Connection) -> int:
        columns, period = analysis.c, analysis_period.c
        counted = sa.exists().where(period.object_id == columns.object_id, period.pipeline == columns.pipeline)
        ids = list(
            connection.scalars(
                sa.select(columns.id)
                .where(columns.is_current.is_(False), columns.pipeline.in_(pipelines), ~counted)
                .limit(_DELETED_AT_ONCE)
            )
        )
        for batch in batches(ids):
            connection.execute(sa.delete(analysis).where(columns.id.in_(batch)))
        if not ids:
            connection.execute(sa.delete(shadow_failure).where(shadow_failure.c.pipeline == name))
        return len(ids)

    database.transact(forget)
    deleted = 0
    while some := database.transact(delete_some):
        deleted += some
    return deleted


def _promotion(row: Any) -> Promotion:
    return Promotion(
        id=row.id,
        pipeline=row.pipeline,
        names=row.names,
        undoes=row.undoes,
        promoted_at=row.promoted_at,
        promoted_by=row.promoted_by,
        total=row.unchanged + row.switched + row.marked,
        unchanged=row.unchanged,
        switched=row.switched,
        marked=row.marked,
        finished_at=row.finished_at,
    )
