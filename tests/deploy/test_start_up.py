"""The command lines of the containers, run as they stand there, on the configuration of the containers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from pynetdicom import AE
from support.service import BASIC_TEXT_SR, ROOT_UID, free_port, make_report

from dicomnlp.export.reactor import hold_reactor

DEPLOY = Path(__file__).resolve().parents[2] / "docs/deploy"
SECONDS = 180


@contextlib.contextmanager
def started(command, environment, folder):
    """One part, ready."""
    with (folder / f"{command[-1]}.txt").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomnlp", "--config", str(DEPLOY / "config.toml"), *command],
            env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.mark.service
@pytest.mark.timeout(600)
def test_parts_start_as_deployed_and_a_report_goes_through_them(tmp_path):
    """Migration, listener, two dispatchers, web, each alone; what is the machine's own comes from variables."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    port, web_port = free_port(), free_port()
    environment = {
        **os.environ,
        "DICOMNLP_DATABASE__URL": f"sqlite:///{tmp_path}/deployed.db",
        "DICOMNLP_DATABASE__LARGE_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "DICOMNLP_LISTENER__HOST": "127.0.0.1",
        "DICOMNLP_LISTENER__PORT": str(port),
        "DICOMNLP_WEB__HOST": "127.0.0.1",
        "DICOMNLP_WEB__PORT": str(web_port),
        "DICOMNLP_WORK__WORKERS": "1",
        # a cluster with certificates is tests/work/test_remote.py's
        **{f"DICOMNLP_WORK__SCHEDULER{tail}": "" for tail in ("", "_CA", "_CERTIFICATE", "_KEY")},
    }
    with started(services["migration"]["command"], environment, tmp_path) as migration:
        assert migration.wait(SECONDS) == 0, (tmp_path / "upgrade.txt").read_text()
    with contextlib.ExitStack() as stack:
        parts = []
        for name in ("listener", "dispatcher", "dispatcher", "web"):
            part = stack.enter_context(started(services[name]["command"], environment, tmp_path))
            assert part.stdout.readline().startswith(f"ready {services[name]['command'][0]}")
            parts.append(part)
        ae = AE()
        ae.add_requested_context(BASIC_TEXT_SR, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", port, ae_title="DICOMNLP")
        hold_reactor(association)
        assert association.send_c_store(make_report(1, "FINDINGS: Nodule of 6 mm.")).Status == 0
        association.release()
        with started(["keys", "add", "viewer", "--role", "reader"], environment, tmp_path) as adding:
            key = adding.stdout.read().split()[-1]
        assert states(web_port, key) == ["analysed"]
        for part in parts:
            part.send_signal(signal.SIGTERM)
        assert [part.wait(60) for part in parts] == [0, 0, 0, 0]


def states(web_port, key):
    """States of the report's study, when none is pending any more."""
    address = f"http://127.0.0.1:{web_port}/api/v1/studies/{ROOT_UID}.1.1/reports"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
    deadline = time.monotonic() + SECONDS
    while True:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = [report["state"] for report in json.load(answer)["reports"]]
        if "pending" not in found:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.1)
