"""A Dask cluster that a site runs, with Dask's own settings."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import distributed
import pytest
from support.certificates import Certificates
from support.records import instance_uid, make_record
from support.service import free_port
from work.bench import make_settings, obedient

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, ConfigurationError
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.reprocess import Selection, start_run
from dicomnlp.store.status import read_failures
from dicomnlp.work import dispatcher, engine
from dicomnlp.work.engine import Engine, EngineError

ROOT = Path(__file__).resolve().parents[2]


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


@contextlib.contextmanager
def dask_cluster(folder, certificates, workers):
    """A scheduler and workers as a site starts them: Dask's own commands, with certificates."""
    port = free_port()
    certificate, key = certificates.issue("cluster", "127.0.0.1")
    tls = ["--tls-ca-file", certificates.authority_file, "--tls-cert", certificate, "--tls-key", key]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests"])),
        "DASK_CONFIG": str(ROOT / "docs/deploy/dask.yaml"),
    }
    address = f"tls://127.0.0.1:{port}"
    commands = [
        ["scheduler", "--host", f"tls://127.0.0.1:{port}", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
    ]
    place = ["--local-directory", str(folder), "--host", "127.0.0.1", "--no-dashboard", "--memory-limit", "512MiB"]
    worker = ["worker", address, "--nthreads", "1", "--preload", "work.quick_preload", *place]
    commands += [worker] * workers
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "dask.txt").open("wb"))
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *map(str, tls)],
                env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        yield address


def test_work_on_a_cluster_over_tls_with_certificates_of_the_configuration(tmp_path, monkeypatch):
    """A scheduler and two workers as processes; all objects are analysed there, and a stranger is turned away."""
    obey = obedient()
    monkeypatch.setattr(dispatcher, "process", lambda batch, **_settings: obey(batch))
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("dispatcher")
    admin.upgrade(make_settings(tmp_path))
    database = Database.open(make_settings(tmp_path))
    record_arrivals(database, [make_record(n, b"read %d" % n) for n in range(40)])
    run = start_run(database, Selection(everything=True))
    with dask_cluster(tmp_path, certificates, workers=2) as address:
        files = {
            "scheduler_ca": str(certificates.authority_file),
            "scheduler_certificate": str(certificate),
            "scheduler_key": str(key),
        }
        settings = make_settings(tmp_path, workers=2, scheduler=address, **files)
        progress = []
        dispatcher.work_through(settings, database, run.id, lambda done, total: progress.append((done, total)))
        (tmp_path / "other").mkdir()
        stranger = Certificates(tmp_path / "other")
        certificate, key = stranger.issue("stranger")
        monkeypatch.setattr(engine, "ANSWER_SECONDS", 2.0)
        files |= {"scheduler_certificate": str(certificate), "scheduler_key": str(key)}
        with pytest.raises(EngineError):
            Engine(make_settings(tmp_path, scheduler=address, **files), obey, threading.Event())
    assert progress[-1] == (40, 40)
    database.close()


def test_certificates_that_are_not_there_are_named_at_the_start(tmp_path):
    """Not tried again and again, as a scheduler that doesn't answer is."""
    files = dict.fromkeys(("scheduler_ca", "scheduler_certificate", "scheduler_key"), str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="scheduler_ca"):
        Engine(make_settings(tmp_path, scheduler="tls://127.0.0.1:9", **files), obedient(), threading.Event())


@pytest.mark.parametrize(
    "keys",
    [
        {"scheduler": "tls://dask:8786", "scheduler_ca": "ca.pem"},
        {"scheduler": "tcp://127.0.0.1:8786", "scheduler_ca": "a", "scheduler_certificate": "b", "scheduler_key": "c"},
        {"scheduler_ca": "a", "scheduler_certificate": "b", "scheduler_key": "c"},
    ],
)
def test_certificates_go_together_and_with_an_encrypted_scheduler(keys):
    """Else one would think that they are used."""
    with pytest.raises(ValueError, match="go together"):
        Settings(work=keys)
