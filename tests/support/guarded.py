"""A listener process with peers, and an address with TLS beside the plain one."""

import json
import statistics
import subprocess
import time

from .attacked import ECHOSCU, AttackedListener
from .raw_dicom import RawPeer
from .service import free_port


class Guarded(AttackedListener):
    """`dicomnlp listen` with peers, and TLS on a second address.

    Parameters
    ----------
    folder
        For its configuration, database and log.
    certificates
        Of which it shows the one called "server".
    peers
        The [[peers]] tables.
    """

    def __init__(self, folder, certificates, peers):
        super().__init__(folder, tls=certificates.table())
        self.certificates = certificates
        self.tls_port = free_port()
        self._tables = self.config.read_text()
        self.configure(peers)

    def configure(self, peers):
        """Write config.toml anew, with other peers."""
        tables = [("listener.also", {"port": self.tls_port, "tls": True}), *(("peers", peer) for peer in peers)]
        text = self._tables
        for name, values in tables:
            text += f"[[{name}]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
        self.config.write_text(text)

    def dcmtk(self, command, ae_title, certificate, *arguments):
        """DCMTK's echoscu or storescu by TLS, showing a certificate; its exit code and what it says."""
        folder = self.certificates.folder
        done = subprocess.run(
            [
                command,
                *("+tls", folder / f"{certificate}.key", folder / f"{certificate}.pem", "+cf", folder / "ca.pem"),
                *("-to", "5", "-aet", ae_title, "-aec", "DICOMNLP", "127.0.0.1", str(self.tls_port)),
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def tls_echo_seconds(self):
        """As `echo_seconds`, by TLS."""
        seconds = []
        for _ in range(3):
            began = time.monotonic()
            assert self.dcmtk(ECHOSCU, "CT1", "CT1")[0] == 0
            seconds.append(time.monotonic() - began)
        return statistics.median(seconds)

    def tls_peer(self, name=None):
        """A raw peer that has done the handshake, with the certificate of that name."""
        peer = RawPeer(self.tls_port)
        peer.socket = self.certificates.client(name).wrap_socket(peer.socket)
        return peer

    def awaited(self, name, lines):
        """The first log line of an event, from a line on; it comes a moment after the peer has its answer."""
        deadline = time.monotonic() + 5
        while not (found := self.events(name, lines)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found[0]

    def events(self, name, lines=0):
        """The log lines of one event, from a line on."""
        return [x for x in self.log()[lines:] if x["event"] == name]


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)
