"""``dicomnlp check --peer``: what a DICOM peer would take, for people and for programs."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from dicomnlp.cli.context import write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.config import Settings
from dicomnlp.model import utc_text

if TYPE_CHECKING:
    from dicomnlp.receive.peer_check import ContextFound, PeerFound


def show_peer(settings: Settings, peer: str, *, called: str, calling: str, tls: bool, as_json: bool) -> None:
    """Look at a peer and print what was found; exit code 1 when it can't be used."""
    from dicomnlp.receive.peer_check import check_peer
    from dicomnlp.receive.tls import client_context

    host, port = _address(peer)
    for option, title in (("--called", called), ("--calling", calling)):
        if not 1 <= len(title.strip()) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            raise typer.BadParameter("not an AE title: 1 to 16 printable ASCII characters", param_hint=option)
    if tls:
        client_context(settings)  # what is wrong with its files is said before anything is asked
    found = check_peer(
        host,
        port,
        calling_ae_title=calling,
        called_ae_title=called,
        tls=(lambda: client_context(settings)) if tls else None,
        is_trusting=not settings.tls.client_ca,
    )
    if as_json:
        write_line(json.dumps(found.to_json()))
    else:
        for line in _lines(found):
            write_line(line)
        if found.contexts:
            print_records(("SOP class", "accepted", "refused"), [_row(c) for c in found.contexts if c.kind != "image"])
            write_line(_images(found.contexts))
    if not found.ok:
        raise typer.Exit(1)


def _address(peer: str) -> tuple[str, int]:
    host, _, port = peer.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise typer.BadParameter("write HOST:PORT, e.g. pacs.example.org:104", param_hint="--peer")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _lines(found: "PeerFound") -> Iterator[str]:
    yield f"peer {found.address}, called {found.called_ae_title}, calling as {found.calling_ae_title}"
    if found.tls is not None:
        tls = found.tls
        trust = {True: "trusted", False: "not trusted", None: "trust not checked: tls.client_ca names no authorities"}
        yield f"ok    TLS: {tls.version}, {tls.cipher_suite}; takes {', '.join(tls.versions)}"
        yield f"ok    certificate: {tls.subject}, until {utc_text(tls.not_valid_after)}; {trust[tls.is_trusted]}"
        yield f"      sha256:{tls.fingerprint}"
    if found.maximum_length_received is not None:
        software = found.implementation_version_name or found.implementation_class_uid
        length = found.maximum_length_received or "unlimited"
        yield f"ok    association: {software}, maximum length {length}"
    if found.echo_status is not None:
        mark = "ok   " if found.echo_status == 0 else "MEND "
        yield f"{mark} C-ECHO: {found.echo_status:04X} after {(found.echo_seconds or 0) * 1000:.1f} ms"
    if found.problem is not None:
        yield f"MEND  {found.problem}"


def _row(context: "ContextFound") -> tuple[str, str, str]:
    refused = _names(context.refused)
    return context.name, _names(context.transfer_syntaxes) or "-", context.reason or refused


def _names(transfer_syntaxes: tuple[str, ...]) -> str:
    return ", ".join(_SHORT.get(uid, uid) for uid in transfer_syntaxes)


_SHORT = {
    "1.2.840.10008.1.2.1": "explicit",
    "1.2.840.10008.1.2": "implicit",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "big endian",
}
"""Transfer syntaxes of reports, so that the table fits a terminal."""


def _images(contexts: "list[ContextFound]") -> str:
    images = [context for context in contexts if context.kind == "image"]
    accepted = sum(bool(context.transfer_syntaxes) for context in images)
    return f"images: {accepted} of {len(images)} SOP classes accepted"
