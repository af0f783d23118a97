"""`dicomnlp check --peer`, for people and for programs."""

import json
import socket
import subprocess
import time

import pytest
from support.service import free_port
from typer.testing import CliRunner

from dicomnlp.cli.main import app


def run(*arguments):
    """`dicomnlp check` with arguments."""
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.fixture(scope="module")
def storescp(tmp_path_factory):
    """DCMTK's storescp; its HOST:PORT."""
    port = free_port()
    process = subprocess.Popen(["/usr/bin/storescp", str(port)], cwd=tmp_path_factory.mktemp("scp"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.mark.dcmtk
def test_peer_is_shown_as_lines_and_a_table(storescp):
    """What it is, what it answers, what it takes, what it refuses and why."""
    result = run("--peer", storescp, "--calling", "CHECK")
    assert result.exit_code == 0, result.stderr
    assert f"peer {storescp}, called ANY-SCP, calling as CHECK" in result.stdout
    assert "ok    C-ECHO: 0000 after" in result.stdout
    [row] = [line for line in result.stdout.splitlines() if "Basic Text SR Storage" in line]
    assert "explicit, implicit, big endian" in row
    assert "deflated" in row
    assert "images: " in result.stdout


@pytest.mark.dcmtk
def test_peer_is_told_as_json(storescp):
    """One object, with UIDs in place of words."""
    record = json.loads(run("--peer", storescp, "--json").stdout)
    assert record["ok"] is True
    assert record["contexts"][0]["sop_class_uid"] == "1.2.840.10008.1.1"


def test_peer_that_is_not_there_is_told_and_fails():
    """Exit code 1, and what to look at."""
    result = run("--peer", f"127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "MEND  no connection" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--peer", "pacs"), ("--peer", "pacs:0"), ("--peer", "pacs:1", "--called", "x" * 17), ("--peer", ":104")],
)
def test_what_is_no_peer_is_wrong_usage(arguments):
    """Exit code 2 before anything is asked."""
    assert run(*arguments).exit_code == 2
