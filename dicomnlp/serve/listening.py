"""Whether the DICOM listener beside this web part takes connections, seen from outside as a sender sees it."""

import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dicomnlp.config import DICOMAddress

PATIENCE_SECONDS: Final = 5.0
"""For the connection, and for it to be seen that it has ended: what a TLS handshake may take, too."""


def who_accept(addresses: Sequence[DICOMAddress]) -> list[bool]:
    """Of each of these addresses of this machine, whether connections to it are accepted and looked after.

    That the system takes a connection says little, for it does so as long as the port is open. So the connection is
    ended at once from here, without a byte sent, and closed from there by whoever accepts. No association is asked for:
    nothing is refused, logged or counted, as of a monitor that looks whether a port is open.
    """
    with ThreadPoolExecutor(len(addresses)) as threads:
        return list(threads.map(_accepts, addresses))


def _accepts(address: DICOMAddress) -> bool:
    try:
        with socket.create_connection((_reachable(address.host), address.port), PATIENCE_SECONDS) as connection:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1024):
                pass
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True


def _reachable(host: str) -> str:
    """Where what listens on `host` is found from this machine: "every address" is none to connect to."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if not found.is_unspecified:
        return host
    return "127.0.0.1" if found.version == 4 else "::1"
