"""Storage commitment, push model (PS3.4 Annex J): asked for and told on one association."""

import struct
import threading

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomnlp.export.reactor import hold_reactor

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


def reference(uid, sop_class=BASIC_TEXT_SR):
    """An item of Referenced SOP Sequence."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def request(*references, transaction="2.25.1"):
    """What an N-ACTION says."""
    data_set = Dataset()
    data_set.TransactionUID = transaction
    data_set.ReferencedSOPSequence = list(references)
    return data_set


class Requestor:
    """Asks over one association, and takes what it is told."""

    def __init__(self, port, answer=0x0000, syntax="1.2.840.10008.1.2.1"):
        self.told = []
        self.answer = answer
        self._came = threading.Semaphore(0)
        ae = AE("MODALITY")
        ae.add_requested_context(COMMITMENT, syntax)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._note)]
        self.association = ae.associate("127.0.0.1", port, ae_title="DICOMNLP", evt_handlers=handlers)
        assert self.association.is_established
        hold_reactor(self.association)

    def _note(self, event):
        self.told.append((event.event_type, event.event_information))
        self._came.release()
        return self.answer, None

    def ask(self, data_set, action=1, sop_class=COMMITMENT, instance=INSTANCE):
        """The status of the N-ACTION."""
        status, _ = self.association.send_n_action(data_set, action, sop_class, instance)
        return status.Status

    def report(self):
        """(event type, information) of the next N-EVENT-REPORT."""
        assert self._came.acquire(timeout=20)
        return self.told[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.association.release()


def store(running, objects, **values):
    """Have an object stored; its UID."""
    data_set = objects.data_set(**values)
    peer = running.peer()
    peer.associate((str(data_set.SOPClassUID), "1.2.840.10008.1.2.1"))
    status = peer.store(
        objects.encode(data_set),
        sop_class_uid=str(data_set.SOPClassUID),
        sop_instance_uid=str(data_set.SOPInstanceUID),
    ).Status
    peer.release()
    return str(data_set.SOPInstanceUID), status


def rows(running):
    """Columns of storage_commitment, oldest first."""
    with running.database.read() as connection:
        text = "SELECT transaction_uid, failures, attempts, reported_at IS NOT NULL FROM storage_commitment ORDER BY id"
        return [tuple(row) for row in connection.execute(sa.text(text))]


def wait_for(condition):
    """Until it holds."""
    done = threading.Event()
    for _ in range(400):
        if condition():
            return
        done.wait(0.05)
    raise AssertionError("not in time")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_what_is_held_is_committed(start, objects, syntax):
    """Event type 1, each instance named again, in every transfer syntax that reports come in."""
    running = start()
    held = [store(running, objects)[0] for _ in range(3)]
    with Requestor(running.port, syntax=syntax) as requestor:
        assert requestor.ask(request(*map(reference, held))) == 0x0000
        kind, told = requestor.report()
        wait_for(lambda: rows(running) == [("2.25.1", 0, 1, 1)])
    assert kind == 1
    assert told.TransactionUID == "2.25.1"
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == held
    assert {item.ReferencedSOPClassUID for item in told.ReferencedSOPSequence} == {BASIC_TEXT_SR}
    assert "FailedSOPSequence" not in told


def test_what_is_not_held_is_named_with_its_reason(start, objects):
    """Unknown, of another class, in quarantine: 0112, 0119, 0110; the rest is committed all the same."""
    running = start()
    held, _ = store(running, objects)
    lost, status = store(running, objects, StudyInstanceUID=None)
    assert status == 0xC000
    with Requestor(running.port) as requestor:
        references = [reference(held), reference("2.25.404"), reference(held, ENHANCED_SR), reference(lost)]
        assert requestor.ask(request(*references)) == 0x0000
        kind, told = requestor.report()
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == [held]
    failed = [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in told.FailedSOPSequence]
    assert failed == [("2.25.404", 0x0112), (held, 0x0119), (lost, 0x0110)]


def test_all_failed_names_none_as_kept(start):
    """Referenced SOP Sequence is left out (PS3.4 Table J.3-2)."""
    running = start()
    with Requestor(running.port) as requestor:
        requestor.ask(request(reference("2.25.404")))
        kind, told = requestor.report()
    assert (kind, "ReferencedSOPSequence" in told) == (2, False)


def test_the_same_transaction_again_is_decided_anew(start, objects):
    """A requestor that lost its answer asks again; what has come since counts."""
    running = start()
    data_set = objects.data_set()
    wanted = request(reference(str(data_set.SOPInstanceUID)))
    with Requestor(running.port) as requestor:
        requestor.ask(wanted)
        assert requestor.report()[0] == 2
        store(running, objects, SOPInstanceUID=str(data_set.SOPInstanceUID))
        requestor.ask(wanted)
        assert requestor.report()[0] == 1
        wait_for(lambda: rows(running) == [("2.25.1", 0, 1, 1)])


def test_an_image_of_which_the_header_is_kept_is_not_committed(start, objects):
    """Its sender would delete pixels that nobody else has."""
    from dicomnlp.config import PeerSettings

    running = start(peers=[PeerSettings(ae_title="*", images="index")])
    secondary_capture = "1.2.840.10008.5.1.4.1.1.7"
    uid, status = store(running, objects, SOPClassUID=secondary_capture)
    assert status == 0
    with Requestor(running.port) as requestor:
        requestor.ask(request(reference(uid, secondary_capture)))
        _, told = requestor.report()
    assert told.FailedSOPSequence[0].FailureReason == 0x0112


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"action": 2}, 0x0123),
        ({"sop_class": BASIC_TEXT_SR}, 0x0118),
        ({"instance": "2.25.1"}, 0x0112),
        ({"data_set": request()}, 0x0115),  # nothing is named
        ({"data_set": request(Dataset())}, 0x0115),
        ({"data_set": request(reference("2.25.1"), transaction="")}, 0x0115),
    ],
)
def test_what_is_no_such_request_is_answered_with_its_status(start, asked, status):
    """PS3.7 10.1.4.1.10; nothing is promised, and the association goes on."""
    running = start()
    with Requestor(running.port) as requestor:
        context = requestor.association.accepted_contexts[0]
        # pynetdicom finds the context by the SOP class that is named
        requestor.association._get_valid_context = lambda *_, **__: context
        values = {"data_set": request(reference("2.25.1")), **asked}
        assert requestor.ask(values.pop("data_set"), **values) == status
        assert requestor.ask(request(reference("2.25.404"))) == 0x0000
        requestor.report()
    assert [row[0] for row in rows(running)] == ["2.25.1"]


def test_a_report_that_is_not_taken_stays_untold(start):
    """Its status says so; the transaction can be asked for again."""
    running = start()
    with Requestor(running.port, answer=0x0110) as requestor:
        requestor.ask(request(reference("2.25.404")))
        requestor.report()
    assert rows(running) == [("2.25.1", 1, 0, 0)]


def test_an_answer_to_no_report_ends_the_association(start):
    """A-ABORT, as any response that nothing waits for."""
    running = start()
    peer = running.peer()
    peer.associate((COMMITMENT, "1.2.840.10008.1.2.1"))
    body = b"".join(
        struct.pack("<HHIH", 0, number, 2, value)
        for number, value in ((0x0100, 0x8100), (0x0120, 1), (0x0800, 0x0101), (0x0900, 0))
    )
    peer.send(peer.data_pdu(3, struct.pack("<HHII", 0, 0, 4, len(body)) + body))
    assert peer.abort_reason() == (0, 0)


def test_an_action_in_the_context_of_reports_is_not_recognized(start):
    """0211, and the association ends."""
    running = start()
    peer = running.peer()
    peer.associate((BASIC_TEXT_SR, "1.2.840.10008.1.2.1"))
    peer.send(peer.data_pdu(3, peer.command(field=0x0130, data_set_type=0x0101)))
    assert peer.respond().Status == 0x0211
    assert peer.abort_reason() == (0, 0)
