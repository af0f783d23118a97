"""kill -9 of the listener, hundreds and thousands of times: what senders saw acknowledged is stored, byte for byte.

python -m support.listener_kills CONFIG KILLS SECONDS SEED

The listener of CONFIG is forked from a process that has everything imported, so that a life can be a tenth of a second
and a trial costs as little; it is killed at a random moment of the SECONDS after its fork (on a busy machine, of twice
what a start takes), while it starts too. Prints the ledger as JSON.
"""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from support.lean_sender import encoded_report, instance_uid, template

SENDERS = 2
LONGEST_SECONDS = 0.5
"""Of a life, however busy the machine is: a trial must end."""


def run_trial(config_file, *, kills, seconds, seed=0):
    """Run the trial as a process of its own; its ledger: kills, acknowledged, stored, missing, damaged, doubled."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    command = [sys.executable, "-m", "support.listener_kills", str(config_file), str(kills), str(seconds), str(seed)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _live(settings):
    """The listener, in a child that has been forked for it: never returns."""
    from dicomnlp.receive.listener import run_listener
    from dicomnlp.store.database import Database

    database = Database.open(settings)
    run_listener(settings, database, on_ready=lambda _address: None, stop=threading.Event())
    os._exit(0)


def _born(settings):
    """The process of a new listener."""
    child = os.fork()
    if not child:
        try:
            _live(settings)
        finally:
            os._exit(3)
    return child


def _start_seconds(settings):
    """What a start takes on this machine now, until the port answers."""
    began = time.monotonic()
    child = _born(settings)
    while True:
        try:
            socket.create_connection(("127.0.0.1", settings.listener.port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            break
    took = time.monotonic() - began
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return took


def _kill_again_and_again(settings, kills, seconds, seed):
    chance = random.Random(seed)
    # a listener that is always killed before it takes anything would show nothing
    longest = max(seconds, min(2 * _start_seconds(settings), LONGEST_SECONDS))
    unexpected = 0
    for _ in range(kills):
        child = _born(settings)
        time.sleep(chance.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
        unexpected += not os.WIFSIGNALED(ended)
    return unexpected


def _count(settings, acknowledged):
    pattern = template()
    query = text(
        "SELECT s.sop_instance_uid, s.sha256, o.data FROM sop_instance s LEFT JOIN original o ON o.object_id = s.id"
    )
    stored, damaged, doubled = set(), 0, 0
    engine = create_engine(settings.database_url)
    with engine.connect().execution_options(yield_per=1000) as connection:
        for uid, sha256, data in connection.execute(query):
            number = int(uid.rsplit(".", 1)[1]) - int(instance_uid(0).rsplit(".", 1)[1])
            expected = encoded_report(number, pattern)
            doubled += number in stored
            damaged += bytes(data or b"") != expected or hashlib.sha256(expected).hexdigest() != sha256
            stored.add(number)
    engine.dispose()
    return {
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "missing": len(acknowledged - stored),
        "damaged": damaged,
        "doubled": doubled,
    }


def main(config_file, kills, seconds, seed):
    """Run as a program."""
    import dicomnlp.receive.listener  # noqa: F401 (imported before the forks)
    from dicomnlp import config, logs

    settings = config.load(Path(config_file))
    logs.configure("error", "listen")
    command = [sys.executable, "-W", "ignore", "-m", "support.lean_sender", str(settings.listener.port)]
    with tempfile.TemporaryFile("w+") as seen:
        senders = [
            subprocess.Popen([*command, str(first), str(SENDERS)], stdin=subprocess.PIPE, stdout=seen)
            for first in range(SENDERS)
        ]
        try:
            unexpected = _kill_again_and_again(settings, kills, seconds, seed)
        finally:
            for sender in senders:
                sender.stdin.close()
            for sender in senders:
                sender.wait(30)
        seen.seek(0)
        acknowledged = {int(line) for line in seen}
    ledger = {"kills": kills - unexpected, "ended_by_themselves": unexpected, **_count(settings, acknowledged)}
    sys.stdout.write(json.dumps(ledger) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
