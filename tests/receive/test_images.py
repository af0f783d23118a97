"""Images of senders that may send them: the header is kept, pixel data passes by; hostile_inputs.md row 40."""

import struct
import threading

import pydicom
import pydicom.encaps
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from dicomnlp.config import PeerSettings
from dicomnlp.errors import UnreadableObjectError
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, IMAGE_TRANSFER_SYNTAXES, ImageStream
from dicomnlp.store.images import series_of_study

CT, ENHANCED_CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.88.11"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG_2000, VIDEO = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.102"
INDEXING = [PeerSettings(ae_title="*", images="index")]


@pytest.fixture
def running(start):
    """A listener that indexes images, with an object limit of 64 kB."""
    return start(peers=INDEXING, maximum_object_bytes=65536)


def image(objects, *, pixels=b"\1\2" * 50, **values):
    """A CT image data set; pixels None leaves them out."""
    data_set = objects.data_set(
        SOPClassUID=CT,
        Modality="CT",
        ValueType=None,
        BodyPartExamined="CHEST",
        SeriesNumber="4",
        SeriesDescription="LUNG 1.0",
        StudyDate="20261122",
        SeriesDate="20261122",
        AcquisitionDate="20261121",
        Laterality="L",
        Rows=1,
        Columns=1,
        BitsAllocated=16,
        **values,
    )
    del data_set.ContentSequence
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "51185008", "Chest"
    data_set.AnatomicRegionSequence = [item]
    data_set["AnatomicRegionSequence"].is_undefined_length = True
    if pixels is not None:
        data_set.PixelData = pixels
        data_set["PixelData"].VR = "OW"
    return data_set


def rows(running):
    """What the table of images holds, oldest first."""
    with running.database.read() as connection:
        return connection.execute(sa.text("SELECT * FROM image ORDER BY id")).mappings().all()


def send(running, data, sop_instance_uid, *, context=(CT, EXPLICIT), sop_class_uid=None, chunk=16000):
    """C-STORE `data` on an association of its own; the response."""
    peer = running.peer()
    peer.associate(context)
    response = peer.store(
        data, sop_class_uid=sop_class_uid or context[0], sop_instance_uid=sop_instance_uid, chunk=chunk
    )
    peer.release()
    return response


@pytest.mark.parametrize("transfer_syntax_uid", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN])
def test_header_of_an_image_is_kept_and_nothing_else(running, objects, transfer_syntax_uid):
    """In the ledger it is one arrival among others, with its true size."""
    data_set = image(objects)
    data = objects.encode(data_set, transfer_syntax_uid)
    assert send(running, data, data_set.SOPInstanceUID, context=(CT, transfer_syntax_uid)).Status == 0
    [row] = rows(running)
    told = ("modality", "body_part_examined", "laterality", "series_number", "series_description", "acquisition_date")
    assert [row[name] for name in told] == ["CT", "CHEST", "L", "4", "LUNG 1.0", "20261121"]
    assert (row["sop_instance_uid"], row["study_instance_uid"]) == (data_set.SOPInstanceUID, data_set.StudyInstanceUID)
    assert (row["size"], row["transfer_syntax_uid"], row["seen_count"]) == (len(data), transfer_syntax_uid, 1)
    assert running.originals() == []
    assert running.ledger() == [("indexed", 0, None)]
    [series] = series_of_study(running.database, data_set.StudyInstanceUID)
    assert (series.modality, series.laterality, series.images) == ("CT", "L", 1)


def functional_groups(*sides):
    """An item of a functional groups sequence for each side, None for one that tells none."""
    items = []
    for side in sides:
        position, item = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 0]
        item.PlanePositionSequence = [position]
        if side is not None:
            region, anatomy = Dataset(), Dataset()
            region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "76752008", "SCT", "Breast"
            anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [region], side
            item.FrameAnatomySequence = [anatomy]
        items.append(item)
    return items


def undefine_lengths(data_set, *keywords):
    """Write these sequences, and all items, with undefined length."""
    for element in data_set.iterall():
        if element.VR == "SQ" and element.keyword in keywords:
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True


SHARED, PER_FRAME, ANATOMY = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "FrameAnatomySequence",
)


@pytest.mark.parametrize("transfer_syntax_uid", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN])
@pytest.mark.parametrize("undefined", [(), (SHARED, PER_FRAME, ANATOMY), (PER_FRAME,), (ANATOMY,)])
@pytest.mark.parametrize(
    ("shared", "per_frame", "side"),
    [
        (["L"], [None, None], "L"),
        ([None], ["R", "R", "R"], "R"),
        ([], ["L", "R"], "B"),
        ([], ["B", "L"], "B"),
        ([], ["U", "U"], "U"),
        ([], ["U", "L"], ""),
        ([], ["L", None], "L"),
        (["X"], [], ""),  # not a term of C.7.6.16.2.8
        ([None], [None], ""),
    ],
)
def test_side_of_an_enhanced_object_is_that_of_its_frames(
    objects, transfer_syntax_uid, undefined, shared, per_frame, side
):
    """Frame Laterality in the functional groups, shared or of each frame (PS3.3 C.7.6.16.2.8)."""
    data_set = image(objects)
    if shared:
        data_set.SharedFunctionalGroupsSequence = functional_groups(*shared)
    if per_frame:
        data_set.PerFrameFunctionalGroupsSequence = functional_groups(*per_frame)
    undefine_lengths(data_set, *undefined)
    stream = ImageStream(transfer_syntax_uid, maximum_header_bytes=65536)
    data = objects.encode(data_set, transfer_syntax_uid)
    for start in range(0, len(data), 7):
        stream.feed(data[start : start + 7])
    header = stream.header()
    assert (header.image_laterality, header.laterality, header.identity.modality) == (side, "L", "CT")


def test_side_of_the_frames_is_indexed_with_the_image(running, objects):
    """As Image Laterality, which is what the image as a whole has; one that is told at the top level stands."""
    for own in (None, "R"):
        data_set = image(objects, SharedFunctionalGroupsSequence=functional_groups("L"))
        data_set.SOPClassUID = ENHANCED_CT
        if own:
            data_set.ImageLaterality = own
        # with nothing behind the functional groups, these end with the object
        del data_set.PixelData
        sent = send(running, objects.encode(data_set), data_set.SOPInstanceUID, context=(ENHANCED_CT, EXPLICIT))
        assert sent.Status == 0
    assert [row["image_laterality"] for row in rows(running)] == ["L", "R"]


def test_functional_groups_that_are_written_as_unknown_are_read(objects):
    """UN with a defined length, within it implicit little endian (PS3.5 6.2.2): what an archive didn't know."""
    data_set = image(objects)
    item = objects.encode(functional_groups("R")[0], IMPLICIT)
    value = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    groups = struct.pack("<HH2sHI", 0x5200, 0x9229, b"UN", 0, len(value)) + value
    data = objects.encode(data_set)
    pixels = data.index(b"\xe0\x7f\x10\x00")
    stream = ImageStream(EXPLICIT, maximum_header_bytes=65536)
    stream.feed(data[:pixels] + groups + data[pixels:])
    assert stream.header().image_laterality == "R"


@pytest.mark.parametrize("place", [4, 8 + 8], ids=["an item beyond its sequence", "a sequence beyond its item"])
def test_functional_groups_whose_lengths_contradict_each_other_are_damage(objects, place):
    """C000, as with a report: what stands behind can't be told from what stands in them."""
    data_set = image(objects, SharedFunctionalGroupsSequence=functional_groups("L"))
    data = bytearray(objects.encode(data_set))
    at = data.index(b"\x00\x52\x29\x92SQ") + 12 + place
    (length,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, length + 400)
    stream = ImageStream(EXPLICIT, maximum_header_bytes=65536)
    stream.feed(bytes(data))
    with pytest.raises(UnreadableObjectError, match="damaged"):
        stream.header()


@pytest.mark.parametrize("transfer_syntax_uid", [JPEG_2000, VIDEO])
@pytest.mark.parametrize("chunk", [2, 13, 16000])
def test_compressed_pixel_data_passes_by_whatever_the_fragments(running, objects, transfer_syntax_uid, chunk):
    """Encapsulated in items, and cut by the sender's PDUs where it may be."""
    data_set = image(objects, pixels=pydicom.encaps.encapsulate([bytes(range(200)), bytes(300)]))
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    data = objects.encode(data_set)
    context = (CT, transfer_syntax_uid)
    assert send(running, data, data_set.SOPInstanceUID, context=context, chunk=chunk).Status == 0
    assert rows(running)[0]["body_part_examined"] == "CHEST"


def test_pixel_data_takes_no_memory_and_is_not_under_the_object_limit(running, objects):
    """40 MB against a limit of 64 kB; what the association holds at its end is what it holds after the first one."""
    tracemalloc = pytest.importorskip("tracemalloc")
    data_set = image(objects, pixels=None)
    header = objects.encode(data_set)
    size = 40_000_000
    element = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
    peer = running.peer()
    peer.associate((CT, EXPLICIT))
    peer.send(peer.data_pdu(3, peer.command(sop_class_uid=CT, sop_instance_uid=data_set.SOPInstanceUID)))
    pdu = peer.data_pdu(0, bytes(100_000))
    tracemalloc.start()
    peer.send(peer.data_pdu(0, header + element))
    for _ in range(size // 100_000):
        peer.send(pdu)
    peer.send(peer.data_pdu(2, b""))
    assert peer.respond().Status == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert rows(running)[0]["size"] == len(header) + len(element) + size


def test_header_above_the_object_limit_is_refused_with_a700(running, objects):
    """A private element of 100 kB before the pixels counts as header; the sender is heard out."""
    data_set = image(objects)
    data_set.add_new(0x00091001, "OB", bytes(100_000))
    assert send(running, objects.encode(data_set), data_set.SOPInstanceUID).Status == 0xA700
    assert running.ledger() == [("refused", 0xA700, "object_too_large")]
    assert rows(running) == []


def test_the_same_image_again_is_a_duplicate(running, objects):
    """And changes nothing but the count."""
    data_set = image(objects)
    for _ in range(3):
        assert send(running, objects.encode(data_set), data_set.SOPInstanceUID).Status == 0
    assert [outcome for outcome, _, _ in running.ledger()] == ["indexed", "duplicate", "duplicate"]
    [row] = rows(running)
    assert row["seen_count"] == 3


def test_other_bytes_under_the_same_uid_replace_the_header(running, objects):
    """A corrected body part is what counts."""
    data_set = image(objects)
    send(running, objects.encode(data_set), data_set.SOPInstanceUID)
    data_set.BodyPartExamined = "ABDOMEN"
    assert send(running, objects.encode(data_set), data_set.SOPInstanceUID).Status == 0
    [row] = rows(running)
    assert row["body_part_examined"] == "ABDOMEN"


def test_image_of_another_study_under_the_same_uid_is_refused(running, objects):
    """As with a report, A900; the header that is held stays."""
    data_set = image(objects)
    send(running, objects.encode(data_set), data_set.SOPInstanceUID)
    study, data_set.StudyInstanceUID = data_set.StudyInstanceUID, "1.2.3.4"
    assert send(running, objects.encode(data_set), data_set.SOPInstanceUID).Status == 0xA900
    assert running.ledger()[-1] == ("refused", 0xA900, "study_conflict")
    [row] = rows(running)
    assert row["study_instance_uid"] == study


@pytest.mark.parametrize(
    ("values", "announced", "answer"),
    [
        ({}, {"sop_instance_uid": "1.2.3"}, (0xA900, "identity_mismatch")),
        ({"SOPClassUID": ENHANCED_CT}, {}, (0xA900, "identity_mismatch")),
        ({"SOPClassUID": None}, {}, (0xC000, "no_sop_class_uid")),
        ({"SOPInstanceUID": None}, {}, (0xC000, "no_sop_instance_uid")),
        ({"StudyInstanceUID": None}, {}, (0xC000, "no_study_instance_uid")),
        ({}, {"sop_instance_uid": "1.02"}, (0x0117, "invalid_sop_instance_uid")),
        ({}, {"sop_class_uid": ENHANCED_CT}, (0x0122, "sop_class_not_of_context")),
    ],
)
def test_wrong_identity_has_the_statuses_that_it_has_for_reports(running, objects, values, announced, answer):
    """Nothing of such an image is kept."""
    data_set = image(objects)
    uid = data_set.SOPInstanceUID
    for keyword, value in values.items():
        delattr(data_set, keyword) if value is None else setattr(data_set, keyword, value)
    response = send(running, objects.encode(data_set), **{"sop_instance_uid": uid, **announced})
    assert response.Status == answer[0]
    assert running.ledger() == [("refused", *answer)]
    assert rows(running) == []


@pytest.mark.parametrize(
    ("damage", "reason_code"),
    [
        (lambda data: data[:-7], "truncated"),  # within the pixels
        (lambda data: data[: data.index(b"LUNG")], "truncated"),
        (lambda _: b"nothing of DICOM, " * 20, "not_dicom"),
        # an item where an element should be
        (lambda data: data.replace(b"\x20\x00\x0d\x00UI", b"\xfe\xff\x00\xe0UI"), "damaged"),
    ],
)
def test_damaged_image_is_answered_with_c000(running, objects, damage, reason_code):
    """The sender is heard to its end, and told then."""
    data_set = image(objects)
    response = send(running, damage(objects.encode(data_set)), data_set.SOPInstanceUID)
    assert (response.Status, response.ErrorComment) == (0xC000, reason_code)
    assert running.ledger() == [("refused", 0xC000, reason_code)]


def test_images_are_not_accepted_of_a_sender_that_may_not_send_them(start, objects):
    """Abstract syntax not supported (3); reports of the same association are."""
    running = start()
    peer = running.peer()
    answer = peer.associate((CT, EXPLICIT), (SR, EXPLICIT))
    assert [c.result for c in answer.presentation_context_definition_results_list] == [3, 0]
    data_set = objects.data_set()
    assert peer.store(objects.encode(data_set), context_id=3, sop_instance_uid=data_set.SOPInstanceUID).Status == 0


def test_each_sender_has_its_own_setting(start):
    """One is indexed, others are refused."""
    running = start(peers=[PeerSettings(ae_title="CT1", images="index"), PeerSettings(ae_title="*")])
    results = []
    for title in ("CT1", "OTHER"):
        peer = running.peer()
        answer = peer.associate((CT, JPEG_2000), calling=title)
        results += [c.result for c in answer.presentation_context_definition_results_list]
        peer.release()
    assert results == [0, 3]


def test_report_is_stored_between_images_of_the_same_association(running, objects):
    """A whole study in one go."""
    ct, sr = image(objects), objects.data_set()
    peer = running.peer()
    peer.associate((CT, EXPLICIT), (SR, EXPLICIT))
    for context_id, data_set in ((1, ct), (3, sr), (1, ct)):
        stored = peer.store(
            objects.encode(data_set),
            context_id=context_id,
            sop_class_uid=data_set.SOPClassUID,
            sop_instance_uid=data_set.SOPInstanceUID,
        )
        assert stored.Status == 0
    assert [outcome for outcome, _, _ in running.ledger()] == ["indexed", "stored", "duplicate"]
    assert [uid for uid, _, _ in running.originals()] == [sr.SOPInstanceUID]


def test_many_senders_at_once_index_each_image_once(running, objects):
    """Eight associations send the same twelve images."""
    made = [image(objects) for _ in range(12)]
    statuses = []

    def run():
        for data_set in made:
            statuses.append(send(running, objects.encode(data_set), data_set.SOPInstanceUID).Status)  # noqa: PERF401

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 96
    assert sorted(r["sop_instance_uid"] for r in rows(running)) == sorted(d.SOPInstanceUID for d in made)
    assert {r["seen_count"] for r in rows(running)} == {8}


def test_all_that_holds_pixels_is_an_image_and_no_report_is():
    """The common classes are there, each with the compressed transfer syntaxes; reports and plans are not."""
    names = set(IMAGE_SOP_CLASSES.values())
    for name in ("CT Image Storage", "Enhanced MR Image Storage", "Segmentation Storage", "RT Dose Storage"):
        assert name in names
    assert "Digital Mammography X-Ray Image Storage - For Presentation" in names
    assert not any("SR Storage" in name or "Plan Storage" in name or "Encapsulated" in name for name in names)
    assert {JPEG_2000, VIDEO, "1.2.840.10008.1.2.5"} <= set(IMAGE_TRANSFER_SYNTAXES)
