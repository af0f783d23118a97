"""The port, and DCMTK's and pynetdicom's requestors against the whole listener."""

import os
import re
import shutil
import socket
import subprocess
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicomnlp import config
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.receive.listener import bind, run_listener
from dicomnlp.store.database import Database

# pynetdicom installs commands of the same names beside the interpreter
_PATH = os.pathsep.join(
    folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != sysconfig.get_path("scripts")
)
dcmtk = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(shutil.which("dcmsend", path=_PATH) is None, reason="DCMTK is not installed"),
]


@pytest.fixture
def listening(settings):
    """A listener as the command line runs it; its port."""
    chosen = settings()
    database = Database.open(chosen)
    stop, ready, addresses = threading.Event(), threading.Event(), []

    def on_ready(address):
        addresses.append(address)
        ready.set()

    thread = threading.Thread(target=run_listener, args=(chosen, database), kwargs={"on_ready": on_ready, "stop": stop})
    thread.start()
    assert ready.wait(5)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", addresses[0])
    yield int(addresses[0].rpartition(":")[2])
    stop.set()
    thread.join(20)
    database.close()
    assert not thread.is_alive()


def _run(name, *arguments):
    command = [shutil.which(name, path=_PATH), *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_taken_port_is_said_with_what_to_do(settings):
    """Not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=r"set listener\.port"):
            bind(settings(port=port).listener)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_address_that_is_not_ours_is_a_configuration_error(settings, host):
    """The key is named."""
    with pytest.raises(ConfigurationError, match=r"listener\.host"):
        bind(settings(host=host).listener)


def test_listener_processes_share_a_port(settings):
    """Only when several are configured."""
    with bind(settings(processes=2).listener) as first:
        port = first.getsockname()[1]
        with bind(settings(processes=2, port=port).listener) as second:
            assert second.getsockname()[1] == port
        with pytest.raises(PortInUseError):
            bind(settings(processes=1, port=port).listener)


def test_ipv6_addresses_are_written_in_brackets(settings):
    """As in a URL."""
    from dicomnlp.receive.listener import address_of

    try:
        listening = bind(settings(host="::1").listener)
    except ConfigurationError:
        pytest.skip("no IPv6 here")
    with listening:
        assert re.fullmatch(r"\[::1\]:\d+", address_of(listening))


class TestDCMTK:
    """DCMTK's own requestors."""

    pytestmark = dcmtk

    def test_echoscu(self, listening):
        """Echo, echo with abort, and a wrong called AE title."""
        assert _run("echoscu", "-aec", "DICOMNLP", "127.0.0.1", listening).returncode == 0
        assert _run("echoscu", "--abort", "-aec", "DICOMNLP", "127.0.0.1", listening).returncode == 0
        wrong = _run("echoscu", "-aec", "OTHER", "127.0.0.1", listening)
        assert wrong.returncode != 0
        assert "Called AE Title Not Recognized" in wrong.stdout + wrong.stderr

    @pytest.mark.parametrize("option", ["-xi", "-xe", "-xb", "-xd"])
    def test_storescu_in_each_transfer_syntax(self, listening, objects, tmp_path, option):
        """Every file is answered with success."""
        for number in range(3):
            objects.file(tmp_path / f"{number}.dcm")
        files = sorted(tmp_path.glob("*.dcm"))
        sent = _run("storescu", "-v", option, "-aec", "DICOMNLP", "127.0.0.1", listening, *files)
        assert sent.returncode == 0
        assert (sent.stdout + sent.stderr).count("Received Store Response (Success)") == 3

    def test_dcmsend_with_stock_settings_does_not_wait_for_delayed_acknowledgements(self, listening, objects, tmp_path):
        """Without quick acknowledgement it takes 40 ms a message and more, two seconds here."""
        for number in range(50):
            objects.file(tmp_path / f"{number}.dcm")
        files = sorted(tmp_path.glob("*.dcm"))
        sent = _run("dcmsend", "-v", "-aec", "DICOMNLP", "127.0.0.1", listening, *files)
        assert sent.returncode == 0
        assert (sent.stdout + sent.stderr).count("Received C-STORE Response (Success)") == 50

    def test_storescu_abort(self, listening, objects, tmp_path):
        """An abort instead of a release costs nobody anything."""
        objects.file(tmp_path / "a.dcm")
        command = ["storescu", "--abort", "-aec", "DICOMNLP", "127.0.0.1", listening, tmp_path / "a.dcm"]
        assert _run(*command).returncode == 0
        assert _run("echoscu", "-aec", "DICOMNLP", "127.0.0.1", listening).returncode == 0

    def test_many_senders_at_once(self, listening, objects, tmp_path):
        """Eight processes with ten objects each."""
        for number in range(80):
            objects.file(tmp_path / f"{number:02}.dcm")
        files = sorted(tmp_path.glob("*.dcm"))

        def send(part):
            return _run("dcmsend", "-aec", "DICOMNLP", "127.0.0.1", listening, *files[part::8]).returncode

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(send, range(8))) == [0] * 8


def test_settings_take_no_free_port():
    """Tests use port 0; a user can't by mistake."""
    with pytest.raises(ValueError, match="port"):
        config.ListenerSettings(port=0)
