"""Shadow runs, and what reports are read by: what is taken, kept and counted, and what a worker does with a task."""

import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_processed, make_record
from work.bench import make_settings

from dicomnlp.analyse import Source
from dicomnlp.analyse.archive import names_of, pack_archive
from dicomnlp.learn.models import put_in_use
from dicomnlp.model import Processed, State
from dicomnlp.store import admin, pipelines
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.pipelines import promote
from dicomnlp.store.queries import findings_of_study
from dicomnlp.store.queue import save_processed, take_pending
from dicomnlp.store.schema import original
from dicomnlp.store.schema_pipelines import shadow_failure
from dicomnlp.work.archive import ReadBy
from dicomnlp.work.pending import Pending
from dicomnlp.work.promoting import PromotionDuty
from dicomnlp.work.shadow import Chosen

NEW = {"en": "en-1+new"}
EVERYTHING = {"maximum_objects": 100, "maximum_bytes": 10**9, "exclude": (), "arrivals_only": False}


@pytest.fixture
def database(tmp_path):
    """Three reports that are analysed, numbers 1 to 3."""
    settings = make_settings(tmp_path)
    admin.upgrade(settings)
    opened = Database.open(settings)
    receipts = record_arrivals(opened, [make_record(n) for n in (1, 2, 3)])
    save_processed(opened, [make_processed(r.object_id) for r in receipts])
    yield opened
    opened.close()


@pytest.fixture
def chosen(database):
    """All of them, to be read by another pipeline."""
    return Chosen(database, "next", ReadBy(sha256="ab", archive=b"zip"), [1, 2, 3], maximum_attempts=2)


def failures(database):
    """Reason codes of what failed in shadow, by object."""
    with database.read() as connection:
        return {row.object_id: row.reason_code for row in connection.execute(sa.select(shadow_failure))}


def test_each_is_given_once_and_kept_beside_what_counts(database, chosen):
    """The run is over when all came back, however they did."""
    taken = chosen.take(**{**EVERYTHING, "maximum_objects": 2})
    assert [stored.object_id for stored in taken] == [1, 2]
    assert [stored.object_id for stored in chosen.take(**EVERYTHING)] == [3]
    assert chosen.take(**EVERYTHING) == []
    chosen.saver.results.append([make_processed(1, NEW["en"]), make_processed(2, NEW["en"])])
    chosen.saver.save()
    assert chosen.done == 2
    chosen.saver.results.append([Processed(3, State.FAILED, NEW["en"], reason_code="timeout")])
    chosen.saver.save()
    assert chosen.done == 3
    assert failures(database) == {3: "timeout"}
    assert {f.pipeline for f in findings_of_study(database, STUDY)} == {"en-1"}
    assert take_pending(database, maximum_objects=9, maximum_bytes=9999, exclude=()) == []


def test_one_that_takes_its_worker_down_is_given_up_after_its_attempts(database, chosen):
    """It is told as failed in shadow, and its report stays as it is."""
    [first, *_] = chosen.take(**EVERYTHING)
    chosen.saver.losses.append((first, "worker_killed"))
    assert chosen.saver.save() == [first]
    chosen.saver.losses.append((first, "worker_killed"))
    assert chosen.saver.save() == []
    assert (chosen.done, failures(database)) == (1, {1: "worker_killed"})


def test_object_whose_original_is_gone_ends_no_run(database, chosen):
    """It counts as done."""
    with database.write() as connection:
        connection.execute(sa.delete(original).where(original.c.object_id == 2))
    assert [stored.object_id for stored in chosen.take(**EVERYTHING)] == [1, 3]
    assert (chosen.done, failures(database)) == (1, {2: "original_missing"})


def test_new_reports_are_read_by_what_counts(database):
    """Looked up each time; the archive is read only when it is another."""
    pending = Pending(database, 2)
    assert pending.read_by() == ReadBy(0, "", b"")
    pipelines.add_pipeline(database, "next", b"zip", "ab", NEW, "local:test")
    promotion = promote(database, "next", NEW, "local:test")
    assert pending.read_by() == ReadBy(promotion.id, "ab", b"zip")
    assert pending.read_by() is pending.read_by()


def test_a_promoted_model_is_told_with_the_next_reports(database, tmp_path):
    """By what the registry is known; workers that are told of another read it again."""
    pending = Pending(database, 2, tmp_path)
    assert pending.read_by().models == ""
    put_in_use(tmp_path, "en", None, "rollback", "")
    first = pending.read_by()
    assert first.models
    assert pending.read_by() is first
    put_in_use(tmp_path, "en", None, "rollback", "")
    assert pending.read_by().models not in {"", first.models}


def test_duty_finishes_what_nobody_else_does(database):
    """And has nothing to do afterwards."""
    duty = PromotionDuty(database)
    assert duty.run() is False
    pipelines.add_pipeline(database, "next", b"zip", "ab", NEW, "local:test")
    promote(database, "next", NEW, "local:test")
    assert duty.run() is False
    assert pipelines.unfinished_promotion(database) is None
    assert len(take_pending(database, maximum_objects=9, maximum_bytes=9999, exclude=())) == 3


WORKER = """
    import sys
    from dicomnlp.model import Processed, State, StoredObject
    from dicomnlp.analyse import analyse
    from dicomnlp.model import Narrative
    from dicomnlp.work import preload
    from dicomnlp.work.archive import ReadBy

    def read(batch):
        [stored] = batch
        found = analyse(Narrative(stored.data.decode()), language="de")
        return [Processed(stored.object_id, State.ANALYSED, found.pipeline, reason_code=str(len(found.findings)))]

    archive, sha256 = sys.stdin.buffer.read(), sys.argv[1]
    settings = {"timeout_seconds": 100.0, "level": "error", "language": "de"}
    told = []
    assert "digest" in preload.check("error", "de", "", "", ReadBy(6, "ab", archive))
    for by in (ReadBy(0), ReadBy(7, sha256, archive), ReadBy(0), ReadBy(8, sha256)):
        assert preload.check("error", "de", "", "", by) is None
        [done] = preload.run(read, [StoredObject(1, "", "", "", b"Ein Spotlet im Oberlappen.")], by, **settings).results
        told.append(f"{done.pipeline} {done.generation} {done.reason_code}")
    print("\\n".join(told))
"""


def test_worker_reads_by_the_archive_that_comes_with_the_task(tmp_path):
    """And by the configuration's again afterwards; each result bears its generation.

    An archive that isn't what was added is refused; one that the worker has needn't come again.
    """
    (tmp_path / "overlays" / "de").mkdir(parents=True)
    overlay = '[concepts.pulmonary_nodule]\nterms = ["spotlet"]\n'
    (tmp_path / "overlays" / "de" / "concepts.toml").write_text(overlay, encoding="utf-8")
    archive, sha256 = pack_archive(Source(overlays=tmp_path / "overlays"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORKER), sha256], input=archive, capture_output=True, check=True
    )
    own, other = names_of(None, None)["de"], names_of(archive, None)["de"]
    assert done.stdout.decode().splitlines() == [f"{own} 0 0", f"{other} 7 1", f"{own} 0 0", f"{other} 8 1"]


def test_instances_are_numbered_as_the_tests_say(database):
    """Objects 1 to 3 are the SOP instances 1 to 3: what the tests above rest on."""
    assert {f.sop_instance_uid for f in findings_of_study(database, STUDY)} == {instance_uid(n) for n in (1, 2, 3)}
