"""C-STORE and C-ECHO on the wire: what is stored, what is answered, and messages that break the rules (PS3.7)."""

import struct
import threading

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE

from dicomnlp.errors import DatabaseError
from dicomnlp.export.reactor import hold_reactor
from dicomnlp.extract import extract
from dicomnlp.model import StoredObject
from dicomnlp.receive import intake as intake_module
from dicomnlp.receive.dimse import MAXIMUM_COMMAND_BYTES

SR, ENHANCED = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.22"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


@pytest.fixture
def running(start):
    """A listener with the defaults."""
    return start()


@pytest.fixture
def peer(running):
    """A peer with an association for Basic Text SR, Enhanced SR and Verification."""
    peer = running.peer()
    peer.associate((SR, EXPLICIT), (ENHANCED, EXPLICIT), (VERIFICATION, IMPLICIT))
    return peer


@pytest.mark.parametrize("transfer_syntax_uid", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN])
def test_bytes_are_kept_as_they_came_in_each_transfer_syntax(running, objects, transfer_syntax_uid):
    """Nothing is decoded and encoded again on the way to the database."""
    data_set = objects.data_set()
    data = objects.encode(data_set, transfer_syntax_uid)
    peer = running.peer()
    peer.associate((SR, transfer_syntax_uid))
    assert peer.store(data, sop_instance_uid=data_set.SOPInstanceUID).Status == 0x0000
    peer.release()
    assert running.originals() == [(data_set.SOPInstanceUID, transfer_syntax_uid, data)]
    assert running.ledger() == [("stored", 0x0000, None)]


@pytest.mark.parametrize("chunk", [2, 7, 500, 131000])
def test_fragments_are_joined_whatever_their_size(running, objects, chunk):
    """Down to two bytes, and odd ones."""
    data_set = objects.data_set()
    data = objects.encode(data_set)
    peer = running.peer()
    peer.associate()
    assert peer.store(data, sop_instance_uid=data_set.SOPInstanceUID, chunk=chunk).Status == 0x0000
    assert running.originals()[0][2] == data


def test_command_and_data_set_may_share_a_pdu_and_arrive_in_pieces(running, objects):
    """A P-DATA-TF may hold several presentation data values (PS3.8 9.3.5), and TCP knows no borders."""
    data_set = objects.data_set()
    data = objects.encode(data_set)
    peer = running.peer()
    peer.associate()
    command = peer.command(sop_instance_uid=data_set.SOPInstanceUID)
    values = [(1, command[:30]), (3, command[30:]), (0, data[:100]), (2, data[100:])]
    body = b"".join(struct.pack(">IBB", len(v) + 2, 1, control) + v for control, v in values)
    sent = struct.pack(">BBI", 4, 0, len(body)) + body
    for begin in range(0, len(sent), 50):
        peer.send(sent[begin : begin + 50])
    assert peer.respond().Status == 0x0000
    assert running.originals()[0][2] == data


def test_several_contexts_serve_one_association(running, peer, objects):
    """Objects and echoes in turn, each in its own presentation context."""
    for context_id, sop_class_uid in ((1, SR), (3, ENHANCED), (1, SR)):
        data_set = objects.data_set(SOPClassUID=sop_class_uid)
        response = peer.store(
            objects.encode(data_set),
            context_id=context_id,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=data_set.SOPInstanceUID,
        )
        assert (response.Status, response.CommandField, response.MessageIDBeingRespondedTo) == (0, 0x8001, 7)
        assert response.AffectedSOPInstanceUID == data_set.SOPInstanceUID
        peer.send(
            peer.data_pdu(
                3,
                peer.command(field=0x30, sop_class_uid=VERIFICATION, sop_instance_uid=None, data_set_type=0x0101),
                5,
            )
        )
        echo = peer.respond()
        assert (echo.Status, echo.CommandField) == (0, 0x8030)
    peer.release()
    assert len(running.originals()) == 3


def test_responses_fit_the_length_that_the_requestor_takes(running, objects):
    """A response is cut into fragments for a requestor with small buffers."""
    data_set = objects.data_set()
    peer = running.peer()
    peer.associate(maximum_length=40)
    peer.send(peer.data_pdu(3, peer.command(sop_instance_uid=data_set.SOPInstanceUID)))
    peer.send(peer.data_pdu(2, objects.encode(data_set)))
    lengths = []
    while True:
        _, body = peer.receive()
        lengths.append(len(body))
        if body[5] & 2:
            break
    assert len(lengths) > 1
    assert max(lengths) <= 40


def test_same_object_again_changes_nothing_and_other_bytes_are_a_new_version(running, peer, objects):
    """Both are answered 0x0000."""
    data_set = objects.data_set()
    uid = data_set.SOPInstanceUID
    assert peer.store(objects.encode(data_set), sop_instance_uid=uid).Status == 0
    assert peer.store(objects.encode(data_set), sop_instance_uid=uid).Status == 0
    data_set.PatientID = "P2"
    assert peer.store(objects.encode(data_set), sop_instance_uid=uid).Status == 0
    assert [row[0] for row in running.ledger()] == ["stored", "duplicate", "new_version"]
    assert len(running.originals()) == 2


@pytest.mark.parametrize(
    ("values", "command", "status", "reason_code"),
    [
        ({"SOPInstanceUID": "2.25.1"}, {"sop_instance_uid": "2.25.2"}, 0xA900, "identity_mismatch"),
        ({"SOPClassUID": ENHANCED}, {}, 0xA900, "identity_mismatch"),
        ({"SOPClassUID": None}, {}, 0xC000, "no_sop_class_uid"),
        ({}, {"sop_class_uid": ENHANCED}, 0x0122, "sop_class_not_of_context"),
        ({}, {"sop_class_uid": None}, 0x0122, "sop_class_not_of_context"),
        ({}, {"sop_instance_uid": ""}, 0x0117, "invalid_sop_instance_uid"),
        ({}, {"sop_instance_uid": None}, 0x0117, "invalid_sop_instance_uid"),
        ({}, {"sop_instance_uid": "1." + "2" * 70}, 0x0117, "invalid_sop_instance_uid"),
        ({}, {"sop_instance_uid": "../../../../tmp/x"}, 0x0117, "invalid_sop_instance_uid"),
        ({}, {"sop_instance_uid": "1.2\n3.4"}, 0x0117, "invalid_sop_instance_uid"),
        ({}, {"sop_instance_uid": "1.02.3"}, 0x0117, "invalid_sop_instance_uid"),  # leading zero (PS3.5 9.1)
    ],
)
def test_objects_that_are_not_what_was_announced_are_refused(
    running, peer, objects, values, command, status, reason_code
):
    """With the status of PS3.4 B.2.3 or PS3.7 C, a ledger row, and an association that goes on."""
    data_set = objects.data_set(**values)
    response = peer.store(objects.encode(data_set), **({"sop_instance_uid": "2.25.10001"} | command))
    assert response.Status == status
    assert running.ledger() == [("refused", status, reason_code)]
    assert running.originals() == []
    good = objects.data_set()
    assert peer.store(objects.encode(good), sop_instance_uid=good.SOPInstanceUID).Status == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda _: bytes(range(251)) * 20,  # no DICOM at all
        lambda data: data[:-9],  # cut within the last element
        lambda data: data + b"\x42\x00\x10\x00ST\x20\x00SR",  # an element longer than what follows
        lambda data: data + b"\x42\x00\x11\x00OB\x00\x00\xff\xff\xff\x7fabc",  # 2 GB announced
        lambda _: b"\0",
    ],
)
def test_unreadable_objects_are_refused(running, peer, objects, make):
    """C000 rather than a success for something that nobody will be able to read."""
    data_set = objects.data_set()
    response = peer.store(make(objects.encode(data_set)), sop_instance_uid=data_set.SOPInstanceUID)
    assert response.Status == 0xC000
    assert response.ErrorComment == running.ledger()[0][2]
    assert running.ledger()[0][:2] == ("refused", 0xC000)


def test_wrong_transfer_syntax_and_cut_deflate_stream_are_refused(running, objects):
    """What was negotiated is what counts."""
    data_set = objects.data_set()
    peer = running.peer()
    peer.associate((SR, DEFLATED))
    uid = data_set.SOPInstanceUID
    assert peer.store(objects.encode(data_set, EXPLICIT), sop_instance_uid=uid).Status == 0xC000
    assert peer.store(objects.encode(data_set, DEFLATED)[:-20], sop_instance_uid=uid).Status == 0xC000


def test_object_without_study_is_kept_apart_and_answered_with_a_failure(running, peer, objects):
    """Quarantine: nothing is lost, and the sender learns that it can't be linked."""
    data_set = objects.data_set(StudyInstanceUID=None)
    data = objects.encode(data_set)
    response = peer.store(data, sop_instance_uid=data_set.SOPInstanceUID)
    assert response.Status == 0xC000
    assert running.ledger() == [("quarantined", 0xC000, "no_study_instance_uid")]
    assert [row[2] for row in running.originals()] == [data]


@pytest.mark.parametrize(
    "values",
    [
        {"SOPInstanceUID": None},
        {"SOPInstanceUID": None, "StudyInstanceUID": None},  # the fault that is told is that of the object itself
    ],
)
def test_object_without_its_own_uid_is_kept_apart_under_the_announced_one(running, peer, objects, values):
    """Quarantine as for a missing study: the bytes are there when somebody asks the sender what they were."""
    data = objects.encode(objects.data_set(**values))
    for _ in range(2):
        response = peer.store(data, sop_instance_uid="2.25.10001")
        assert (response.Status, response.ErrorComment) == (0xC000, "no_sop_instance_uid")
    assert running.ledger() == [("quarantined", 0xC000, "no_sop_instance_uid")] * 2
    assert [row[2] for row in running.originals()] == [data]
    good = objects.data_set(SOPInstanceUID="2.25.10001")
    assert peer.store(objects.encode(good), sop_instance_uid="2.25.10001").Status == 0


def test_object_of_another_class_is_refused_also_without_its_own_uid(running, peer, objects):
    """What isn't taken with a UID isn't kept without."""
    data = objects.encode(objects.data_set(SOPInstanceUID=None, SOPClassUID=ENHANCED))
    assert peer.store(data, sop_instance_uid="2.25.10001").Status == 0xA900
    assert running.originals() == []


def test_a_private_sop_class_is_taken_where_it_is_configured_and_nowhere_else(start, objects):
    """Offered beside the standard ones, checked like them, and its content tree is read."""
    private = "2.25.4711"
    data = objects.encode(objects.data_set(SOPClassUID=private, SOPInstanceUID="2.25.10001"))
    for configured, result in (([private], 0), ([], 3)):
        peer = start(private_sop_classes=configured).peer()
        answer = peer.associate((private, EXPLICIT), (SR, EXPLICIT))
        assert [c.result for c in answer.presentation_context_definition_results_list] == [result, 0]
        if configured:
            command = {"sop_class_uid": private, "sop_instance_uid": "2.25.10001"}
            assert peer.store(data, **command).Status == 0
            standard = objects.data_set(SOPInstanceUID="2.25.10002")
            encoded = objects.encode(standard)
            assert peer.store(encoded, context_id=3, sop_instance_uid="2.25.10002").Status == 0
    report = extract(StoredObject(1, "2.25.10001", private, EXPLICIT, data))
    assert report.narrative.text


def test_command_without_data_set_is_refused(running, peer):
    """C-STORE needs one (PS3.7 9.3.1.1)."""
    peer.send(peer.data_pdu(3, peer.command(data_set_type=0x0101)))
    assert peer.respond().Status == 0xC000
    assert running.ledger() == [("refused", 0xC000, "no_data_set")]


def test_objects_above_the_limit_are_refused_and_endless_ones_end_the_association(start, objects):
    """A700 as soon as the limit is passed; whether more would have come makes the difference."""
    running = start(maximum_object_bytes=4096)
    peer = running.peer()
    peer.associate()
    data_set = objects.data_set(TextValue="S" * 5000)
    data = objects.encode(data_set)
    response = peer.store(data, sop_instance_uid=data_set.SOPInstanceUID)
    assert response.Status == 0xA700
    small = objects.data_set()
    assert peer.store(objects.encode(small), sop_instance_uid=small.SOPInstanceUID).Status == 0
    peer.send(peer.data_pdu(3, peer.command(sop_instance_uid="2.25.5")))
    for _ in range(3):
        peer.send(peer.data_pdu(0, bytes(2000)))
    assert peer.respond().Status == 0xA700
    assert peer.abort_reason() == (0, 0)
    assert [row[2] for row in running.ledger()] == ["object_too_large", None, "object_too_large"]


def test_deflated_object_is_measured_inflated(start, objects):
    """A small stream that becomes a large data set is refused before it does."""
    running = start(maximum_object_bytes=100000)
    data_set = objects.data_set(TextValue="S" * 5000000)
    data = objects.encode(data_set, DEFLATED)
    assert len(data) < 50000
    peer = running.peer()
    peer.associate((SR, DEFLATED))
    assert peer.store(data, sop_instance_uid=data_set.SOPInstanceUID).Status == 0xA700
    assert running.ledger() == [("refused", 0xA700, "deflate_bomb")]


@pytest.mark.parametrize("end", ["abort", "release", "close"])
def test_object_that_is_not_finished_leaves_nothing(running, objects, eventually, end):
    """Abort, release or disconnection in its middle: the sender will send it again."""
    data_set = objects.data_set()
    data = objects.encode(data_set)
    peer = running.peer()
    peer.associate()
    peer.send(peer.data_pdu(3, peer.command(sop_instance_uid=data_set.SOPInstanceUID)))
    peer.send(peer.data_pdu(0, data[:100]))
    if end == "abort":
        peer.send(struct.pack(">BBI", 7, 0, 4) + bytes(4))
    elif end == "release":
        peer.release()
    peer.close()
    eventually(lambda: not any(t.name == "association" for t in threading.enumerate()))
    assert running.ledger() == []
    again = running.peer()
    again.associate()
    assert again.store(data, sop_instance_uid=data_set.SOPInstanceUID).Status == 0


@pytest.mark.parametrize(
    ("field", "context_id"),
    [
        (0x0020, 1),  # C-FIND
        (0x7777, 1),  # nothing that exists
        (0x0140, 3),  # N-CREATE
        (0x0001, 5),  # C-STORE in a context for Verification
        (0x0030, 1),  # C-ECHO in one for storage
    ],
)
def test_operations_that_are_not_offered_are_answered_and_aborted(peer, field, context_id):
    """0x0211, then A-ABORT: a data set of unknown meaning might follow."""
    peer.send(peer.data_pdu(3, peer.command(field=field, data_set_type=0x0101), context_id))
    response = peer.respond()
    assert (response.Status, response.CommandField) == (0x0211, field | 0x8000)
    assert peer.abort_reason() == (0, 0)


def test_echo_for_another_sop_class_is_refused(peer):
    """The command must name the class of its context."""
    peer.send(peer.data_pdu(3, peer.command(field=0x30, sop_class_uid=SR, data_set_type=0x0101), 5))
    assert peer.respond().Status == 0x0122


def test_cancel_has_no_response(peer, running, objects):
    """There is nothing to cancel (PS3.7 9.3.2.3)."""
    command = bytearray(peer.command(field=0x0FFF, sop_instance_uid=None, sop_class_uid=None, data_set_type=0x0101))
    position = command.index(struct.pack("<HHI", 0, 0x0110, 2))
    command[position : position + 4] = struct.pack("<HH", 0, 0x0120)
    peer.send(peer.data_pdu(3, bytes(command)))
    data_set = objects.data_set()
    assert peer.store(objects.encode(data_set), sop_instance_uid=data_set.SOPInstanceUID).Status == 0


@pytest.mark.parametrize(
    "command",
    [
        b"\x00\x00\x00\x01",  # cut within an element's header
        struct.pack("<HHI", 0, 0x0100, 200) + b"\x01\x00",  # an element longer than the command
        struct.pack("<HHIH", 0, 0x0100, 2, 1),  # no message ID
        struct.pack("<HHIH", 8, 0x0016, 2, 1),  # not group 0000
        b"",
    ],
)
def test_malformed_command_sets_are_aborted(peer, command):
    """There is no message to answer."""
    peer.send(peer.data_pdu(3, command))
    assert peer.abort_reason() == (0, 0)


def test_endless_command_set_is_aborted(peer):
    """Its bound is far above what any command needs."""
    for _ in range(MAXIMUM_COMMAND_BYTES // 16000 + 1):
        peer.send(peer.data_pdu(1, bytes(16000)))
    assert peer.abort_reason() == (0, 0)


def test_response_that_answers_nothing_is_aborted(peer):
    """Our side invokes no operation."""
    command = bytearray(peer.command(field=0x8001, data_set_type=0x0101))
    position = command.index(struct.pack("<HHI", 0, 0x0110, 2))
    command[position : position + 4] = struct.pack("<HH", 0, 0x0120)
    peer.send(peer.data_pdu(3, bytes(command)))
    assert peer.abort_reason() == (0, 0)


def test_failing_database_is_answered_a700_and_recovers_by_itself(running, peer, objects, monkeypatch):
    """Nothing is acknowledged that isn't stored, and no restart is needed afterwards."""
    data_set = objects.data_set()
    data, uid = objects.encode(data_set), data_set.SOPInstanceUID

    def fail(database, records):
        raise DatabaseError("locked", reason_code="database_locked")

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "record_arrivals", fail)
        response = peer.store(data, sop_instance_uid=uid)
    assert (response.Status, response.ErrorComment) == (0xA700, "database_locked")
    assert peer.store(data, sop_instance_uid=uid).Status == 0
    # the refusal's row is owed, and written a moment before or after
    assert ("stored", 0, None) in running.ledger()


def test_pynetdicom_requestor_stores_in_each_transfer_syntax(running, objects):
    """Interoperation with another implementation's requestor, several contexts on one association."""
    ae = AE()
    for transfer_syntax_uid in (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN):
        ae.add_requested_context(SR, transfer_syntax_uid)
    association = ae.associate("127.0.0.1", running.port, ae_title="DICOMNLP")
    assert len(association.accepted_contexts) == 4
    hold_reactor(association)
    for transfer_syntax_uid in (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN):
        data_set = objects.data_set()
        data_set.file_meta = _meta(data_set, transfer_syntax_uid)
        assert association.send_c_store(data_set).Status == 0
    association.release()
    assert association.is_released
    assert [row[1] for row in running.originals()] == [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN]


def _meta(data_set, transfer_syntax_uid):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return meta
