"""A real listener with what stands behind it: an object sent over a socket, then worked on as the dispatcher would."""

import dataclasses

import pytest
from extract.conftest import small_report, sr
from receive.conftest import empty_database, objects, settings, start

from dicomnlp.model import Processed
from dicomnlp.store import queue
from dicomnlp.work.process import process

__all__ = ["empty_database", "objects", "settings", "small_report", "sr", "start"]

FALLBACKS = ("gb18030", "cp1252")


@dataclasses.dataclass
class Way:
    """What became of one object: the status that its sender got, its ledger row, and what came of reading it."""

    status: int
    reason_code: str | None
    result: Processed | None
    """None when it was refused or quarantined."""


class Station:
    """One listener and its database."""

    def __init__(self, running):
        self.running = running

    def send(self, data, *, transfer_syntax_uid, sop_class_uid, sop_instance_uid):
        """C-STORE `data` on an association of its own; the status."""
        peer = self.running.peer()
        peer.associate((sop_class_uid, transfer_syntax_uid))
        status = peer.store(data, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid).Status
        peer.release()
        return status

    def take(
        self,
        data,
        *,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11",
        sop_instance_uid="1.2.3.4",
    ):
        """Send an object, then process what is pending; a `Way`."""
        status = self.send(
            data,
            transfer_syntax_uid=transfer_syntax_uid,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
        )
        _, recorded, reason_code = self.running.ledger()[-1]
        assert recorded == status
        return Way(status, reason_code, self.work())

    def work(self):
        """Process what is pending and save it; the last result, None when nothing was."""
        database = self.running.database
        pending = queue.take_pending(database, maximum_objects=100, maximum_bytes=10**9, exclude=())
        results = process(pending, FALLBACKS, "en")
        assert queue.save_processed(database, results) == len(results)
        return results[-1] if results else None


@pytest.fixture
def station(start):
    """A listener with the default limits."""
    return Station(start())
