"""A Dask cluster that a site runs, with Dask's own settings."""

import logging
import threading

import distributed
import pytest
from support.records import instance_uid, make_record
from work.bench import make_settings, obedient

from dicomnlp.errors import AlreadyRunningError, ConfigurationError
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.reprocess import Selection, start_run
from dicomnlp.store.status import read_failures
from dicomnlp.work import dispatcher, engine
from dicomnlp.work.engine import Engine, EngineError


def test_reprocessing_on_a_cluster_that_is_not_ours(tmp_path, monkeypatch):
    """A run is worked through to its end; an object that kills its workers fails there too."""
    obey = obedient()
    monkeypatch.setattr(dispatcher, "process", lambda batch, **_settings: obey(batch))
    admin.upgrade(make_settings(tmp_path))
    database = Database.open(make_settings(tmp_path))
    contents = [b"read"] * 10 + [b"kill"] + [b"read"] * 10
    record_arrivals(database, [make_record(n, b"%s %d" % (content, n)) for n, content in enumerate(contents)])
    run = start_run(database, Selection(everything=True))
    progress = []
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        preload=["work.quick_preload"],
        local_directory=str(tmp_path),
    ) as cluster:
        settings = make_settings(tmp_path, workers=1, scheduler=cluster.scheduler_address)
        dispatcher.work_through(settings, database, run.id, lambda done, total: progress.append((done, total)))
        assert len(cluster.workers) == 1
    assert progress[-1] == (21, 21)
    [failure] = read_failures(database, 99)
    assert (failure.sop_instance_uid, failure.reason_code) == (instance_uid(10), "worker_killed")
    assert failure.attempts == settings.work.maximum_attempts
    database.close()


def test_second_dispatcher_is_refused(tmp_path):
    """One dispatcher a database, whatever it was started by."""
    settings = make_settings(tmp_path)
    admin.upgrade(settings)
    database = Database.open(settings)
    run = start_run(database, Selection(everything=True))
    with database.hold("dispatcher"), pytest.raises(AlreadyRunningError):
        dispatcher.work_through(settings, database, run.id, lambda _done, _total: None)
    database.close()


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "tcp://dask.example:8786"])
def test_scheduler_over_an_open_network_is_refused(tmp_path, address):
    """Reports would be readable, and anyone could have code run on the workers."""
    with pytest.raises(ConfigurationError, match="tls://"):
        Engine(make_settings(tmp_path, scheduler=address), obedient(), threading.Event())


def test_scheduler_that_does_not_answer_can_be_tried_again(tmp_path, monkeypatch):
    """The dispatcher waits for it; it doesn't end."""
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.5)
    with pytest.raises(EngineError):
        Engine(make_settings(tmp_path, scheduler="tcp://127.0.0.1:9"), obedient(), threading.Event())
