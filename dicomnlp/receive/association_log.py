"""What is told of an association from outside: its lines of the log, its part of the metrics, its row of the trail."""

import time
from typing import Any, Final

from dicomnlp.logs import Event, log
from dicomnlp.model import Receipt
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.negotiation import Acceptance, Rejection, Request
from dicomnlp.receive.pdu import Connection
from dicomnlp.receive.traffic import Traffic

REFUSED_CONTEXTS_LOGGED: Final = 3
"""Lines an association at the most: some propose more than a hundred, again for each object."""


class AssociationLog:
    """The log of one connection, from its begin to one line at its end.

    Parameters
    ----------
    connection
        For the number of bytes.
    peer_address
        Where it comes from.
    traffic
        Counts.
    trail
        Records.
    """

    def __init__(self, connection: Connection, peer_address: str, traffic: Traffic, trail: AssociationTrail) -> None:
        self._connection = connection
        self._peer_address = peer_address
        self._traffic = traffic
        self._trail = trail
        self._began = time.monotonic()
        self._contexts = 0
        self._objects = 0
        self._is_established = False
        self.request: Request | None = None
        """As soon as it is decoded."""

    @property
    def calling_ae_title(self) -> str:
        """Of the request; "" before there is one."""
        return self.request.calling_ae_title if self.request else ""

    def accepted(self, acceptance: Acceptance) -> None:
        """The association is established."""
        self._is_established = True
        self._contexts = len(acceptance.contexts)
        log(Event.ASSOCIATION_ACCEPTED, **self._who())
        for context in acceptance.refused[:REFUSED_CONTEXTS_LOGGED]:
            log(
                Event.PRESENTATION_CONTEXT_REFUSED,
                calling_ae_title=self.calling_ae_title,
                peer_address=self._peer_address,
                sop_class_uid=context.sop_class_uid,
                transfer_syntax_uid=context.transfer_syntax_uid,
                reason_code=context.reason_code,
                count=len(acceptance.refused),
            )

    def rejected(self, rejection: Rejection) -> None:
        """It is rejected."""
        log(Event.ASSOCIATION_REJECTED, reason_code=rejection.reason_code, **self._who())
        self._traffic.association_rejected(self.calling_ae_title, rejection.reason_code)
        self._trail.refused(self.calling_ae_title, self._peer_address, self._called, rejection.reason_code)

    def answered(self, receipt: Receipt, seconds: float) -> None:
        """An object was answered, so many seconds after its last byte."""
        self._objects += receipt.status == 0
        self._traffic.object_answered(self.calling_ae_title, receipt, seconds)

    def released(self) -> None:
        """It ends by a release."""
        log(Event.ASSOCIATION_RELEASED, **self._summary())
        self._count_end("released")

    def aborted(self, reason_code: str) -> None:
        """It, or a connection that never became one, ends otherwise."""
        log(Event.ASSOCIATION_ABORTED, reason_code=reason_code, **self._summary())
        if self._is_established:
            self._count_end(reason_code)

    @property
    def _called(self) -> str:
        return self.request.called_ae_title if self.request else ""

    def _who(self) -> dict[str, Any]:
        return {
            "calling_ae_title": self.request.calling_ae_title if self.request else None,
            "called_ae_title": self.request.called_ae_title if self.request else None,
            "peer_address": self._peer_address,
        }

    def _summary(self) -> dict[str, Any]:
        return {
            **self._who(),
            "contexts": self._contexts,
            "count": self._objects,
            "bytes": self._connection.bytes_received,
            "seconds": round(time.monotonic() - self._began, 3),
        }

    def _count_end(self, end: str) -> None:
        seconds, received = time.monotonic() - self._began, self._connection.bytes_received
        self._traffic.association_ended(self.calling_ae_title, end, seconds=seconds, received=received)
        self._trail.ended(self.calling_ae_title, self._peer_address, self._called, end, self._objects)
