"""Who may open an association: AE titles, networks, certificates, users (PS3.8 7.1.1, PS3.7 D.3.3.7).

What the policy forbids is a security alert in the log, beside the rejection itself.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from typing import Final

from pynetdicom.pdu_primitives import UserIdentityNegotiation

from dicomnlp.config import PeerSettings, Settings
from dicomnlp.logs import Event, log
from dicomnlp.receive.negotiation import (
    CALLED_AE_TITLE_NOT_RECOGNIZED,
    CALLING_AE_TITLE_NOT_RECOGNIZED,
    CERTIFICATE_NOT_OF_AE_TITLE,
    NETWORK_NOT_ALLOWED,
    USER_IDENTITY_REFUSED,
    Rejection,
    Request,
)
from dicomnlp.receive.passcodes import PasscodeCheck
from dicomnlp.receive.tls import PeerCertificate

ALERT_SECONDS: Final = 60.0
"""Between two alerts for the same address and reason."""
_ALERTS_REMEMBERED: Final = 1024

ALARMING: Final = frozenset(
    {
        rejection.reason_code
        for rejection in (
            CALLING_AE_TITLE_NOT_RECOGNIZED,
            CERTIFICATE_NOT_OF_AE_TITLE,
            NETWORK_NOT_ALLOWED,
            USER_IDENTITY_REFUSED,
        )
    }
    | {"tls_certificate_verify_failed", "tls_peer_did_not_return_a_certificate"}
)
"""Reason codes that are security alerts."""

_USERNAME, _USERNAME_AND_PASSCODE = 1, 2

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_passcodes = PasscodeCheck()


def plain_address(address: str) -> str:
    """An IP address without its scope, and an IPv4 one without the IPv6 form that a dual-stack socket gives it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


class Policy:
    """What the configuration says of who is accepted.

    Parameters
    ----------
    settings
        AE titles and peers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        titles = (settings.listener.ae_title, *settings.listener.ae_title_aliases)
        self._own_titles = frozenset(title.strip() for title in titles)
        self._networks: dict[str, list[Network]] = {
            peer.ae_title: [ipaddress.ip_network(network) for network in peer.networks] for peer in settings.peers
        }
        self._is_open = not all(self._networks.values())
        """Whether some peer may come from anywhere."""

    def admits(self, address: str) -> bool:
        """Whether any peer may come from an address (as `plain_address` gives it), whatever it will call itself."""
        if self._is_open or not self._networks:
            return True
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for networks in self._networks.values() for network in networks)

    def _may_come(self, peer: PeerSettings, address: str) -> bool:
        networks = self._networks.get(peer.ae_title)
        if not networks:
            return True
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in networks)

    def judge(self, request: Request, address: str, certificate: PeerCertificate | None) -> PeerSettings | Rejection:
        """What is said of the peer that makes a request, or why it is rejected.

        Parameters
        ----------
        request
            Decoded.
        address
            The peer's, as `plain_address` gives it.
        certificate
            What it has shown, if it came by TLS and did.
        """
        if request.called_ae_title not in self._own_titles:
            return CALLED_AE_TITLE_NOT_RECOGNIZED
        peer = self._settings.peer_of(request.calling_ae_title)
        if peer is None:
            return CALLING_AE_TITLE_NOT_RECOGNIZED
        if not self._may_come(peer, address):
            return NETWORK_NOT_ALLOWED
        if peer.certificates and (certificate is None or certificate.names.isdisjoint(peer.certificates)):
            return CERTIFICATE_NOT_OF_AE_TITLE
        if peer.users and not _is_known_user(peer, request.user_identity):
            return USER_IDENTITY_REFUSED
        return peer


def _is_known_user(peer: PeerSettings, identity: UserIdentityNegotiation | None) -> bool:
    """Whether a user identity is of a user of `peer`: a name alone only where there is no passcode."""
    if identity is None or identity.user_identity_type not in {_USERNAME, _USERNAME_AND_PASSCODE}:
        return False
    hashed = peer.users.get((identity.primary_field or b"").decode("utf-8", "replace"))
    if not hashed:
        return hashed is not None and identity.user_identity_type == _USERNAME
    passcode = identity.secondary_field or b""
    return identity.user_identity_type == _USERNAME_AND_PASSCODE and _passcodes.is_right(passcode, hashed)


class AlertLog:
    """Security alerts: of an address and a reason the first at once, then a line a minute with their number.

    Parameters
    ----------
    tell
        Told of each line, too: address, calling AE title, reason code, number.
    """

    def __init__(self, tell: Callable[[str, str, str, int], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """When it was said last, and how often it has happened since."""

    def report(self, reason_code: str, address: str, calling_ae_title: str | None = None) -> None:
        """Say that somebody tried what the policy forbids."""
        key, now = (address, reason_code), time.monotonic()
        with self._lock:
            last, count = self._said.pop(key, (-ALERT_SECONDS, 0))
            is_due = now >= last + ALERT_SECONDS
            self._said[key] = (now, 0) if is_due else (last, count + 1)
            if len(self._said) > _ALERTS_REMEMBERED:
                del self._said[next(iter(self._said))]
        if is_due:
            log(
                Event.SECURITY_ALERT,
                reason_code=reason_code,
                peer_address=address,
                calling_ae_title=calling_ae_title,
                count=count + 1,
            )
            self._tell(address, calling_ae_title or "", reason_code, count + 1)
