"""What the pipeline now configured would say otherwise than what is held; nothing is changed."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dicomnlp.config import Settings
from dicomnlp.errors import ObjectError
from dicomnlp.model import Processed, State
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.changes import changed_to_json, compare
from dicomnlp.store.database import Database
from dicomnlp.store.exports import read_objects
from dicomnlp.store.queries import findings_of_objects
from dicomnlp.work.process import process, readings


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one object: findings by concept, assertion and laterality; mentions that say the same are one."""

    sop_instance_uid: str
    state: State
    """What it would be."""
    reason_code: str | None
    pipeline: str
    added: tuple[StoredFinding, ...]
    gone: tuple[StoredFinding, ...]
    changed: tuple[tuple[StoredFinding, StoredFinding], ...]
    unchanged: int

    @property
    def is_none(self) -> bool:
        """Whether the same would be said."""
        return not (self.added or self.gone or self.changed)

    def to_json(self) -> dict[str, Any]:
        """The difference in the public form."""
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "state": self.state.value,
            "reason_code": self.reason_code,
            "pipeline": self.pipeline,
            "added": [_stated(f) for f in self.added],
            "gone": [_stated(f) for f in self.gone],
            "changed": changed_to_json(self.changed, _stated),
            "unchanged": self.unchanged,
        }


def differences(settings: Settings, database: Database, object_ids: Sequence[int]) -> Iterator[Difference]:
    """For each of these objects, in their order, what would change; read and analysed one by one in this process.

    Objects that are gone meanwhile are left out; one whose original is missing or damaged would fail.

    Raises
    ------
    LanguagePackError
        A language of the configuration has no pack.
    """
    fallbacks, by_ae_title = tuple(settings.extract.character_set_fallbacks), readings(settings)
    for object_id in object_ids:
        try:
            stored = next(read_objects(database, [object_id]), None)
        except ObjectError as error:
            yield _difference(database, Processed(object_id, State.FAILED, "", reason_code=error.reason_code), "")
            continue
        if stored is not None:
            (processed,) = process([stored], fallbacks, settings.analyse.language, by_ae_title)
            yield _difference(database, processed, stored.sop_instance_uid)


def _difference(database: Database, processed: Processed, sop_instance_uid: str) -> Difference:
    with database.read() as connection:
        before = findings_of_objects(connection, [processed.object_id])
    now = dt.datetime.now(dt.UTC)
    study = before[0].study_instance_uid if before else ""
    after = [
        StoredFinding(0, study, sop_instance_uid, finding, processed.pipeline, now)
        for finding in (processed.analysis.findings if processed.analysis else ())
    ]
    added, gone, changed, unchanged = compare(before, after)
    return Difference(
        sop_instance_uid,
        processed.state,
        processed.reason_code,
        processed.pipeline,
        tuple(added),
        tuple(gone),
        tuple(changed),
        unchanged,
    )


def _stated(stored: StoredFinding) -> dict[str, Any]:
    f = stored.finding
    return {
        "concept": f.concept.id,
        "assertion": f.assertion.value,
        "laterality": f.laterality.value if f.laterality else None,
        "text": f.text,
        "start": f.start,
        "end": f.end,
        "sentence": f.sentence,
    }
