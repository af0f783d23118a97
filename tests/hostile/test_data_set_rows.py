"""Faulty and hostile data sets: one test a case of the project's table of hostile input, numbered as there.

Each object goes the whole way: by C-STORE over a socket to a real listener, into its database, out again and through
`process`. What is made to exhaust a reader is read once more in a process of its own, whose time and memory count.
"""

import json
import random
import struct
import time
import zlib

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from support import hostile_documents as documents
from support.bounded import GIGABYTE, cost_of_reading

from dicomnlp.model import Outcome, State

SR, ENHANCED = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.22"
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF
CANARY = "Wolpertinger7781"


def head(sr, sop_class_uid=SR, *, character_set=None):
    """The elements that make a data set acceptable, up to the content."""
    return (
        (sr.element(0x00080005, "CS", character_set) if character_set is not None else b"")
        + sr.element(0x00080016, "UI", sop_class_uid.encode())
        + sr.element(0x00080018, "UI", b"1.2.3.4")
        + sr.element(0x0020000D, "UI", sr.STUDY.encode())
        + sr.element(0x0040A040, "CS", b"CONTAINER")
    )


def deflate(data):
    """Raw deflate (PS3.5 A.5), padded to even length."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def report_bytes(sr, *children, transfer_syntax_uid=EXPLICIT, sop_class_uid=SR, **values):
    """A report with these content items, whose SOP Instance UID is 1.2.3.4."""
    report = sr.document(children or [sr.item("TEXT", sr.FINDING, "No pneumothorax.")], sop_class_uid=sop_class_uid)
    report.SOPInstanceUID = "1.2.3.4"
    for keyword, value in values.items():
        setattr(report, keyword, value)
    return sr.encode(report, transfer_syntax_uid)


def encapsulated(sr, payload, sop_class_uid):
    """An object that encapsulates `payload`."""
    return head(sr, sop_class_uid) + sr.element(0x00420011, "OB", payload)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_row_43_random_bytes_are_not_understood(station, syntax):
    """Five kilobytes of noise: C000, and nothing is kept."""
    noise = random.Random(43)
    for _ in range(20):
        way = station.take(noise.randbytes(5000), transfer_syntax_uid=syntax)
        assert way.status == 0xC000
        assert way.reason_code in {"not_dicom", "truncated", "damaged", "bad_deflate"}
    assert station.running.originals() == []


@pytest.mark.parametrize("tag", [0x00420011, 0x0040A160, 0x00091001])
def test_row_44_a_length_of_two_gigabytes_before_three_bytes_is_not_understood(sr, station, tag):
    """A cut object is refused, so that its sender sends it again."""
    way = station.take(head(sr) + struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"OB", 0, 0x7FFFFFFF) + b"abc")
    assert (way.status, way.reason_code) == (0xC000, "truncated")


@pytest.mark.parametrize("junk", [b"\0" * 512, b"\xff" * 41, b"left in a buffer, and sent with the rest"])
def test_row_45_trailing_garbage_is_passed_over_with_a_warning(sr, station, junk):
    """The whole object stands before it: 0000, its text is read, and the report says so."""
    way = station.take(report_bytes(sr) + junk)
    assert way.status == 0x0000
    assert "trailing_bytes" in way.result.report.warnings
    assert "No pneumothorax." in way.result.report.narrative.text


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (IMPLICIT, EXPLICIT),
        (EXPLICIT, IMPLICIT),
        (BIG_ENDIAN, EXPLICIT),
        (EXPLICIT, BIG_ENDIAN),
        (BIG_ENDIAN, IMPLICIT),
    ],
)
def test_row_46_a_wrong_transfer_syntax_is_seen_and_the_bytes_are_followed(sr, station, sent, said):
    """Where the whole object reads well in the syntax of its first element: 0000 with a warning, nothing lost."""
    way = station.take(report_bytes(sr, transfer_syntax_uid=sent), transfer_syntax_uid=said)
    assert way.status == 0x0000
    assert "transfer_syntax_mismatch" in way.result.report.warnings
    right = station.take(
        report_bytes(sr, transfer_syntax_uid=sent, SOPInstanceUID="1.2.3.5"),
        transfer_syntax_uid=sent,
        sop_instance_uid="1.2.3.5",
    )
    assert way.result.report.items == right.result.report.items
    assert way.result.report.narrative == right.result.report.narrative


@pytest.mark.parametrize(("sent", "said"), [(EXPLICIT, DEFLATED), (DEFLATED, EXPLICIT), (DEFLATED, IMPLICIT)])
def test_row_46_a_wrong_transfer_syntax_that_does_not_read_is_not_understood(sr, station, sent, said):
    """Deflated bytes are no elements, nor the reverse: C000."""
    way = station.take(report_bytes(sr, transfer_syntax_uid=sent), transfer_syntax_uid=said)
    assert way.status == 0xC000


def test_row_46_a_syntax_that_changes_within_the_object_is_not_understood(sr, station):
    """An explicit head before an implicit content tree is damage."""
    content = report_bytes(sr, transfer_syntax_uid=IMPLICIT)
    at = content.index(struct.pack("<HH", 0x0040, 0xA040))
    way = station.take(head(sr) + content[at:])
    assert way.status == 0xC000


def test_row_47_a_deflate_bomb_ends_at_the_cap(sr, station, tmp_path):
    """Half a megabyte that would become 500: refused, within a second and without the memory."""
    size = 500_000_000
    bomb = deflate(head(sr) + struct.pack("<HH2sHI", 0x0040, 0xA160, b"UT", 0, size) + b" " * size)
    assert len(bomb) < 600_000
    way = station.take(bomb, transfer_syntax_uid=DEFLATED)
    assert (way.status, way.reason_code) == (0xA700, "deflate_bomb")
    cost = cost_of_reading(tmp_path, bomb, DEFLATED)
    assert cost["intake"]["reason_code"] == cost["extract"]["reason_code"] == "deflate_bomb"
    assert max(cost["intake"]["seconds"], cost["extract"]["seconds"]) < 2
    assert cost["peak_bytes"] < 0.35 * GIGABYTE


def test_row_48_a_truncated_deflate_stream_is_not_understood(sr, station):
    """Cut anywhere within the stream: C000."""
    data = report_bytes(sr, transfer_syntax_uid=DEFLATED)
    for cut in (10, len(data) // 2, len(data) - 4):
        way = station.take(data[:cut], transfer_syntax_uid=DEFLATED)
        assert way.status == 0xC000
        assert way.reason_code in {"truncated", "bad_deflate"}


def nested(depth, *, undefined, kind=EXPLICIT):
    """A content tree `depth` deep, in sequences and items of defined or undefined length."""
    opened, closed = b"", b""
    value = b""
    order = ">" if kind == BIG_ENDIAN else "<"
    for _ in range(depth):
        length = UNDEFINED if undefined else len(value)
        opened = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, length)
        closed = struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0) if undefined else b""
        value = opened + value + closed
        length = UNDEFINED if undefined else len(value)
        if kind == IMPLICIT:
            opened = struct.pack("<HHI", 0x0040, 0xA730, length)
        else:
            opened = struct.pack(f"{order}HH2sHI", 0x0040, 0xA730, b"SQ", 0, length)
        closed = struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0) if undefined else b""
        value = opened + value + closed
    return value


@pytest.mark.parametrize(
    ("depth", "undefined", "kind"),
    [
        (65, False, EXPLICIT),
        (65, True, EXPLICIT),
        (200, True, EXPLICIT),
        (1000, False, EXPLICIT),
        (1000, False, IMPLICIT),
        (1000, False, BIG_ENDIAN),
        (20000, True, IMPLICIT),
        (3000, False, EXPLICIT),
    ],
)
def test_row_49_nesting_beyond_64_is_not_understood(sr, station, depth, undefined, kind):
    """C000 at intake, for sequences of defined length too, which intake otherwise steps over."""
    first = report_bytes(sr, transfer_syntax_uid=kind)
    at = first.index(struct.pack(">HH" if kind == BIG_ENDIAN else "<HH", 0x0040, 0xA730))
    way = station.take(first[:at] + nested(depth, undefined=undefined, kind=kind), transfer_syntax_uid=kind)
    assert (way.status, way.reason_code) == (0xC000, "nesting_too_deep")


@pytest.mark.parametrize("undefined", [False, True])
def test_row_49_nesting_of_64_is_read(sr, station, undefined):
    """The limit itself is allowed, and so are many items side by side."""
    way = station.take(head(sr) + nested(64, undefined=undefined))
    assert way.status == 0x0000
    assert len(way.result.report.items) == 65


def test_row_49_a_mixture_of_defined_and_undefined_lengths_does_not_hide_the_depth(sr, station):
    """Undefined lengths within a sequence of defined length, which intake would step over."""
    inner = nested(500, undefined=True)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    data = head(sr) + struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
    way = station.take(data)
    assert (way.status, way.reason_code) == (0xC000, "nesting_too_deep")


def test_row_49_bytes_of_items_within_a_value_are_not_nesting(sr, station):
    """A document that happens to hold two hundred item tags is no deep tree."""
    payload = struct.pack("<HHI", 0xFFFE, 0xE000, 0x7FFFFFFF) * 200
    way = station.take(encapsulated(sr, payload, PDF), sop_class_uid=PDF)
    assert way.status == 0x0000


@pytest.mark.parametrize(
    ("declared", "raw", "text", "warning"),
    [
        (b"NO SUCH SET", "Größe".encode(), "Größe", "unknown_character_set"),
        (b"ISO_IR 192", "Größe über 5 mm, Läsion, ".encode() * 4 + b"\xff keine Fraktur", "Größe", "undecodable_text"),
        (b"ISO_IR 192", "右肺上叶见结节".encode("gb18030"), "右肺上叶见结节", "character_set_mismatch"),
        (b"ISO_IR 100", "Befund: Größe normal".encode(), "Größe", "character_set_mismatch"),
        (None, "双肺纹理增多".encode("gb18030"), "双肺纹理增多", "character_set_undeclared"),
        # valid declarations: no warning
        (b"GB18030", "双肺纹理增多，右肺上叶见结节。".encode("gb18030"), "双肺纹理增多，右肺上叶见结节。", None),
        (b"\\ISO 2022 IR 87", b"\x1b$B=j8+\x1b(B normal", "所見", None),
        (b"\\ISO 2022 IR 58", b"\x1b$)A\xd3\xd2\xb7\xce normal", "右肺", None),
    ],
)
def test_row_50_text_in_any_character_set_is_kept(sr, station, declared, raw, text, warning):
    """0000 in every case; what doesn't decode is marked and warned of, and the original bytes stay as sent."""
    data = sr.raw_report(raw, declared)
    way = station.take(data)
    assert way.status == 0x0000
    report = way.result.report
    assert text in report.narrative.text
    if warning is None:
        assert report.warnings == ()
    else:
        assert warning in report.warnings
    if warning == "undecodable_text":
        assert "\ufffd" in report.narrative.text
        assert "keine Fraktur" in report.narrative.text
        assert report.character_set.confidence == 0.0
    assert station.running.originals()[0][2] == data


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
def test_row_51_control_characters_never_reach_a_database(sr, tmp_path, empty_database, database_kind, request):
    """NUL and ESC go, with a warning; bidirectional overrides stay; lone surrogates become replacement characters.

    Saved and read again on both databases, of which PostgreSQL refuses NUL.
    """
    from support.records import make_record

    from dicomnlp.config import DatabaseSettings, Settings
    from dicomnlp.model import StoredObject
    from dicomnlp.store import admin, queries, queue
    from dicomnlp.store.database import Database
    from dicomnlp.store.intake import record_arrivals
    from dicomnlp.work.process import process

    url = f"sqlite:///{tmp_path}/test.db"
    if database_kind == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=tmp_path / "objects"))
    admin.upgrade(settings)
    raw = b"No\0 effusion\x1b[31m and \xe2\x80\xaeno fracture\xed\xa0\x80. " + "Größe: 5 mm. ".encode() * 40
    data = sr.raw_report(raw, b"ISO_IR 192")
    database = Database.open(settings)
    try:
        record = make_record(1)
        record_arrivals(database, [record])
        (stored,) = queue.take_pending(database, maximum_objects=1, maximum_bytes=10**6, exclude=())
        hostile = StoredObject(stored.object_id, "", "", EXPLICIT, data)
        (result,) = process([hostile], ("gb18030", "cp1252"), "en")
        assert queue.save_processed(database, [result]) == 1
        (report,) = queries.reports_of_study(database, record.identity.study_instance_uid)
        text = report.to_json()["text"]
    finally:
        database.close()
    assert text == result.report.narrative.text
    assert not {"\0", "\x1b"} & set(text)
    assert "\u202eno fracture" in text
    assert "\ufffd" in text
    assert not any(0xD800 <= ord(c) < 0xE000 for c in text)
    assert "control_characters_removed" in result.report.warnings


def test_row_52_a_text_of_100_megabytes_is_above_the_object_limit(sr, station):
    """A700 with the default limit; the listener doesn't keep it, and takes the next object."""
    size = 100_000_000
    data = head(sr) + struct.pack("<HH2sHI", 0x0040, 0xA160, b"UT", 0, size) + b"x" * size
    start = time.perf_counter()
    peer = station.running.peer()
    peer.associate((SR, EXPLICIT))
    response = peer.store(data, sop_instance_uid="1.2.3.4", chunk=130_000)
    assert response.Status == 0xA700
    assert time.perf_counter() - start < 10
    assert station.running.ledger()[-1][1:] == (0xA700, "object_too_large")
    assert station.take(report_bytes(sr)).status == 0x0000


def test_row_53_a_report_without_content_has_no_text_and_says_why(sr, station):
    """0000, state no_text, and the reason among the warnings."""
    way = station.take(head(sr))
    assert way.status == 0x0000
    assert way.result.state is State.NO_TEXT
    assert "no_content_sequence" in way.result.report.warnings


def test_row_53_items_without_a_value_type_are_read_by_what_they_hold(sr, station):
    """Better than no text: 0000, the text is read, and each guess is a warning."""
    way = station.take(report_bytes(sr, sr.item(None, sr.FINDING, "No pneumothorax.")))
    assert way.status == 0x0000
    assert way.result.state is State.ANALYSED
    assert "No pneumothorax." in way.result.report.narrative.text
    assert "missing_value_type at 1.1" in way.result.report.warnings


def test_row_54_references_that_loop_or_dangle_end(sr, station):
    """0000, every item once, and a warning for each reference that leads back up or nowhere."""
    loop, itself, dangling = (sr.item(None, relationship="INFERRED FROM") for _ in range(3))
    loop.ReferencedContentItemIdentifier = [1]
    itself.ReferencedContentItemIdentifier = [1, 1, 2]
    dangling.ReferencedContentItemIdentifier = [1, 9, 9]
    text = sr.item("TEXT", sr.FINDING, "No pneumothorax.", children=[loop, itself, dangling])
    way = station.take(report_bytes(sr, text))
    assert way.status == 0x0000
    assert [item.path for item in way.result.report.items] == ["1", "1.1", "1.1.1", "1.1.2", "1.1.3"]
    for warning in ("reference_cycle at 1.1.1", "reference_cycle at 1.1.2", "dangling_reference at 1.1.3"):
        assert warning in way.result.report.warnings
    assert way.result.report.narrative.text.count("No pneumothorax.") == 1


@pytest.mark.parametrize(
    ("payload", "state", "warning"),
    [
        (documents.encrypted(), State.NO_TEXT, "pdf_encrypted"),
        (documents.without_pages(), State.NO_TEXT, "pdf_broken"),
        (documents.image_only(), State.NEEDS_OCR, None),
        (documents.cyclic_pages(), State.NO_TEXT, "pdf_broken"),
        (b"%PDF-1.7\n" + b"\xff" * 4000, State.NO_TEXT, "pdf_broken"),
    ],
    ids=["encrypted", "without pages", "image only", "cyclic", "broken"],
)
def test_row_55_a_pdf_without_readable_text_says_why(sr, station, payload, state, warning):
    """0000, and no_text with the reason, or needs_ocr."""
    way = station.take(encapsulated(sr, payload, PDF), sop_class_uid=PDF)
    assert way.status == 0x0000
    assert way.result.state is state
    assert way.result.report.warnings == ((warning,) if warning else ())


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        (documents.text_bomb(200_000), "pending"),  # a page with a million characters on top of each other
        (documents.blank_bomb(200_000_000), "needs_ocr"),  # a thousand bytes that inflate to 200 million
        (documents.nested_forms(8, 5), "pending"),  # 78,125 ways through the forms
        (documents.many_pages(10_000), "pending"),
    ],
    ids=["text", "blanks", "forms", "pages"],
)
def test_row_55_a_pdf_that_grows_stays_within_ten_seconds_and_a_gigabyte(sr, tmp_path, payload, state):
    """What grows beyond that ends the worker at its limits of time and memory, and the object as failed."""
    assert len(payload) < 70_000
    cost = cost_of_reading(tmp_path, encapsulated(sr, payload, PDF), EXPLICIT)
    assert cost["extract"]["state"] == state
    assert cost["extract"]["seconds"] < 10
    assert cost["peak_bytes"] < GIGABYTE


XML_BOMB = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10 if n else b"lol") for n in range(10))


@pytest.mark.parametrize(
    ("payload", "reason_code"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>', "xml_forbidden"),
        (b"<!DOCTYPE d [" + XML_BOMB + b"]><d>&l9;</d>", "xml_forbidden"),
        ('<?xml version="1.0" encoding="UTF-16"?>'
         '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>'.encode("utf_16"),
         "xml_forbidden"),
        (b"<ClinicalDocument>" + b"<p>x</p>" * 6_500_000 + b"</ClinicalDocument>", "cda_too_large"),
        (b"<ClinicalDocument><text>cut", "bad_xml"),
    ],
    ids=["external entity", "billion laughs", "entities in UTF-16", "50 MB", "cut"],
)  # fmt: skip
def test_row_56_a_cda_document_that_could_harm_is_kept_and_not_read(sr, station, payload, reason_code):
    """0000 and stored as it came; extract refuses it with the reason, at once."""
    data = encapsulated(sr, payload, CDA)
    assert station.send(data, transfer_syntax_uid=EXPLICIT, sop_class_uid=CDA, sop_instance_uid="1.2.3.4") == 0x0000
    start = time.perf_counter()
    result = station.work()
    assert time.perf_counter() - start < 5
    assert (result.state, result.reason_code) == (State.FAILED, reason_code)


def test_row_56_a_document_in_utf_16_is_no_bomb(sr, station):
    """Its last byte is a zero, as padding is."""
    section = "<component><section><title>FINDINGS</title><text>No effusion.</text></section></component>"
    payload = f'<?xml version="1.0" encoding="UTF-16"?><ClinicalDocument>{section}</ClinicalDocument>'.encode("utf_16")
    way = station.take(encapsulated(sr, payload, CDA), sop_class_uid=CDA)
    assert way.status == 0x0000
    assert way.result.report.narrative.text == "FINDINGS:\nNo effusion."


@pytest.mark.parametrize(
    "reference",
    [
        '<!DOCTYPE ClinicalDocument SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE ClinicalDocument PUBLIC "-//X" "http://127.0.0.1:9/x.dtd">',
        '<?xml-stylesheet href="file:///etc/passwd"?>',
    ],
)
def test_row_56_external_documents_are_not_fetched(sr, station, reference):
    """A DOCTYPE alone is harmless and not rejected; XInclude is not followed."""
    include = '<include xmlns="http://www.w3.org/2001/XInclude" parse="text" href="file:///etc/passwd"/>'
    text = f"<component><section><title>FINDINGS</title><text>No effusion. {include}</text></section></component>"
    payload = f"{reference}<ClinicalDocument>{text}</ClinicalDocument>".encode()
    way = station.take(encapsulated(sr, payload, CDA), sop_class_uid=CDA)
    assert way.status == 0x0000
    assert "No effusion." in way.result.report.narrative.text
    assert "root:" not in way.result.report.narrative.text


def dose_report(sr, events):
    """An X-Ray dose report: for each irradiation event a container with a code, a text and two numbers (TID 10003)."""
    area = sr.item("NUM", ("122130", "DCM", "Dose Area Product"), "1.5", unit=("Gy.m2", "UCUM", "Gy.m2"))
    dose = sr.item("NUM", ("113738", "DCM", "Dose (RP)"), "0.25", unit=("Gy", "UCUM", "Gy"))
    plane = sr.item("CODE", ("113764", "DCM", "Acquisition Plane"), ("113622", "DCM", "Single Plane"))
    protocol = sr.item("TEXT", ("125203", "DCM", "Acquisition Protocol"), "Coro")
    event = sr.item("CONTAINER", ("113706", "DCM", "Irradiation Event"), children=[plane, protocol, area, dose])
    content = Dataset()
    content.ContentSequence = [event]
    # pydicom would take longer to write all of them than any reader to read them
    item = sr.encode(content)[12:]
    return head(sr, DOSE) + sr.element(0x0040A730, "SQ", item * events)


def test_row_58_a_dose_report_of_20000_items_takes_two_seconds_at_most(sr, station, tmp_path):
    """0000; every number is a coded measurement, no text is narrative, and the cost is within bounds."""
    data = dose_report(sr, 4000)
    assert station.send(data, transfer_syntax_uid=EXPLICIT, sop_class_uid=DOSE, sop_instance_uid="1.2.3.4") == 0x0000
    cost = cost_of_reading(tmp_path, data, EXPLICIT)
    assert cost["extract"]["items"] == 20_001
    assert cost["extract"]["measurements"] == 8_000
    assert cost["extract"]["state"] == "no_text"
    assert cost["intake"]["seconds"] + cost["extract"]["seconds"] < 2
    assert cost["peak_bytes"] < 0.5 * GIGABYTE


def test_row_59_a_private_sop_class_is_not_offered(sr, station):
    """By configuration there is none: the presentation context is rejected (result 3), an import is refused."""
    private = "1.2.276.0.7230010.3.99.1"
    peer = station.running.peer()
    answer = peer.associate((private, EXPLICIT), (SR, EXPLICIT))
    assert [c.result for c in answer.presentation_context_definition_results_list] == [3, 0]

    from dicomnlp.model import Arrival, Door

    arrival = Arrival(report_bytes(sr, sop_class_uid=private), EXPLICIT, private, "1.2.3.4", Door.IMPORT)
    receipt = station.running.intake.accept(arrival)
    assert (receipt.outcome, receipt.status) == (Outcome.REFUSED, 0x0122)
    assert receipt.reason_code == "sop_class_not_supported"


def test_row_60_values_against_their_vr_are_kept_flagged_and_never_logged(sr, station, capfd):
    """A name of six components, an identifier of 80 characters, a date that is none: 0000 and a warning for each."""
    data = (
        sr.element(0x00080016, "UI", SR.encode())
        + sr.element(0x00080018, "UI", b"1.2.3.4")
        + sr.element(0x00080020, "DA", b"2026-11-01")
        + sr.element(0x00080023, "DA", CANARY[:10].encode())
        + sr.element(0x00100010, "PN", f"{CANARY}^A^B^C^D^E".encode())
        + sr.element(0x00100020, "LO", (CANARY + "9" * 64).encode())
        + sr.element(0x0020000D, "UI", sr.STUDY.encode())
        + sr.element(0x0040A040, "CS", b"CONTAINER")
        + report_bytes(sr)[report_bytes(sr).index(struct.pack("<HH", 0x0040, 0xA730)) :]
    )
    way = station.take(data)
    assert way.status == 0x0000
    report = way.result.report
    assert report.identity.patient_id == CANARY + "9" * 64
    assert report.identity.study_date == "20261101"
    assert report.identity.content_date == ""
    for tag in ("00080020", "00080023", "00100010", "00100020"):
        assert f"invalid_value at {tag}" in report.warnings
    with station.running.database.read() as connection:
        ledger = connection.execute(sa.text("SELECT * FROM ledger")).mappings().all()
    assert CANARY not in json.dumps([{k: str(v) for k, v in row.items()} for row in ledger])
    out, err = capfd.readouterr()
    assert CANARY[:10] not in out + err
