"""The HL7 port as a process: what was answered with AA is there, however the process ended."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import sqlalchemy as sa
from support.hl7_messages import MLLPPeer, obr, obx, oru, pid, study_uid
from support.service import free_port

from dicomnlp import config
from dicomnlp.store import admin
from dicomnlp.store.database import Database


def message(uid):
    """A report of a study of its own."""
    return oru(pid(), obr(filler=uid, accession=uid), obx(1, "Nodule."), study_uid(2, uid), control_id=uid)


def start(folder):
    """The process, when it takes messages."""
    command = [sys.executable, "-m", "dicomnlp", "--config", str(folder / "config.toml"), "hl7"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline().startswith("ready hl7 127.0.0.1:")
    return process


def test_what_was_accepted_survives_a_kill(tmp_path):
    """Several senders, a process that is killed in the middle; sent again, nothing is there twice; SIGTERM ends it."""
    port = free_port()
    (tmp_path / "config.toml").write_text(f'[database]\nurl = "sqlite:///test.db"\n\n[hl7]\nport = {port}\n')
    settings = config.load(tmp_path / "config.toml")
    admin.upgrade(settings)
    accepted, enough = set(), threading.Event()

    def send(sender):
        peer = MLLPPeer(port)
        with contextlib.suppress(OSError, AssertionError):
            for number in range(10_000):
                uid = f"1.2.{sender}.{number}"
                if peer.ask(message(uid))["MSA"][1:] == ["AA", uid]:
                    accepted.add(uid)
                if len(accepted) > 60:
                    enough.set()
        peer.close()

    process = start(tmp_path)
    senders = [threading.Thread(target=send, args=(n,)) for n in range(1, 5)]
    for each in senders:
        each.start()
    assert enough.wait(120)
    process.kill()
    process.wait()
    process.stdout.close()
    for each in senders:
        each.join(60)
    process = start(tmp_path)
    peer = MLLPPeer(port)
    again = sorted(accepted)[:5]
    for uid in again:
        assert peer.ask(message(uid))["MSA"][1] == "AA"
    peer.close()
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 60
    assert process.wait(max(1.0, deadline - time.monotonic())) == 0
    process.stdout.close()
    database = Database.open(settings)
    with database.read() as connection:
        stored = [row[0] for row in connection.execute(sa.text("SELECT study_instance_uid FROM sop_instance"))]
    database.close()
    assert accepted <= set(stored)
    assert len(stored) == len(set(stored))
