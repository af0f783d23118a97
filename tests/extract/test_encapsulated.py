"""Encapsulated PDF and CDA: words come out, bombs don't go off."""

import base64
import resource
import time

import pytest
from support import hostile_documents as documents

from dicomnlp.errors import DicomnlpError, ObjectTooLargeError, UnreadableObjectError
from dicomnlp.extract import cda, extract
from dicomnlp.extract import pdf as pdf_module
from dicomnlp.model import State

PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
CDA_STORAGE = "1.2.840.10008.5.1.4.1.1.104.2"
STL_STORAGE = "1.2.840.10008.5.1.4.1.1.104.3"


def pdf(*pages: str) -> bytes:
    """A PDF document with one line of text a page; an empty text leaves the page without any."""
    contents = [f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET" if text else "0 0 m 100 100 l S" for text in pages]
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, content in enumerate(contents):
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * i} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    return out + f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def read(sr, payload: bytes, sop_class_uid: str, title: bytes = b""):
    """What extract makes of an object that encapsulates `payload`."""
    data = sr.element(0x00080016, "UI", sop_class_uid.encode()) + sr.element(0x00080018, "UI", b"1.2.3")
    data += sr.element(0x0020000D, "UI", sr.STUDY.encode())
    if title:
        data += sr.element(0x00420010, "ST", title)
    data += sr.element(0x00420011, "OB", payload)
    return extract(sr.stored(data))


def test_the_text_layer_of_a_pdf_is_the_narrative(sr):
    """Pages in order, each a segment of its own."""
    report = read(sr, pdf("FINDINGS: No pleural effusion.", "IMPRESSION: Normal."), PDF_STORAGE, b"CT Chest")
    assert report.state is State.PENDING
    assert report.narrative.text == "FINDINGS: No pleural effusion.\nIMPRESSION: Normal."
    assert [(s.path, report.narrative.text[s.start : s.end]) for s in report.narrative.segments] == [
        ("page 1", "FINDINGS: No pleural effusion."),
        ("page 2", "IMPRESSION: Normal."),
    ]
    assert report.title == "CT Chest"
    assert report.warnings == ()


def test_a_pdf_of_images_needs_ocr(sr):
    """Pages are there, words aren't."""
    report = read(sr, pdf("", ""), PDF_STORAGE)
    assert report.state is State.NEEDS_OCR
    assert report.narrative.text == ""


@pytest.mark.parametrize(
    ("payload", "warning"),
    [
        (b"%PDF-1.4 and then nothing of the kind", "pdf_broken"),
        (b"no document at all", "pdf_broken"),
        (b"", "empty_document"),
        (pdf(), "pdf_broken"),
    ],
)
def test_a_pdf_that_cannot_be_read_has_no_text_and_says_why(sr, payload, warning):
    """It is kept and findable, and nothing fails."""
    report = read(sr, payload, PDF_STORAGE)
    assert report.state is State.NO_TEXT
    assert warning in report.warnings


def test_an_encrypted_pdf_is_named_as_such(sr):
    """A password is asked for that nobody has."""
    encrypt = (
        "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + "41" * 32 + "> /U <" + "42" * 32 + "> >> "
        "/ID [<00112233445566778899AABBCCDDEEFF> <00112233445566778899AABBCCDDEEFF>] "
    )
    payload = pdf("Secret").replace(b"trailer << ", f"trailer << {encrypt}".encode())
    report = read(sr, payload, PDF_STORAGE)
    assert report.state is State.NO_TEXT
    assert report.warnings == ("pdf_encrypted",)


CDA = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Thorax-CT</title><languageCode code="de-DE"/>
<component><structuredBody>
 <component><section><code code="59776-5" codeSystem="2.16.840.1.113883.6.1"/><title>Befund</title>
  <text><paragraph>Kein Erguss.<br/>Größe <content>6 mm</content>.</paragraph>
   <list><item>Rundherd</item><item>Zyste</item></list>
   <table><thead><tr><th>Ort</th><th>mm</th></tr></thead><tbody><tr><td>Leber</td><td>12</td></tr></tbody></table></text>
  <component><section><title>Leber</title><text>Unauffällig.</text></section></component>
 </section></component>
 <component><section><code code="19005-8" codeSystem="2.16.840.1.113883.6.1"/><text>Normal.</text></section></component>
</structuredBody></component></ClinicalDocument>"""


def test_a_cda_s_sections_are_the_narrative(sr):
    """Titles, paragraphs, lists and tables; sections by code or title."""
    report = read(sr, CDA.encode(), CDA_STORAGE)
    assert report.state is State.PENDING
    text = report.narrative.text
    assert text.startswith("Befund:\nKein Erguss.\nGröße 6 mm.\n- Rundherd\n- Zyste\nOrt\tmm\nLeber\t12")
    assert "\n\nLeber:\nUnauffällig." in text
    assert [(s.name.value, s.title) for s in report.narrative.sections] == [
        ("findings", "Befund"), ("findings", "Leber"), ("impression", None),
    ]  # fmt: skip
    for section in report.narrative.sections:
        assert text[section.start : section.end].strip()
    assert text.endswith("Normal.")
    assert (report.title, report.language) == ("Thorax-CT", "de-DE")


def section(title: str, text: str, code: str = "", within: str = "") -> str:
    """A section of a CDA document."""
    coded = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.1"/>' if code else ""
    return f"<component><section>{coded}<title>{title}</title><text>{text}</text>{within}</section></component>"


def clinical(*sections: str) -> str:
    """A CDA document of these sections."""
    body = f"<structuredBody>{''.join(sections)}</structuredBody>"
    return f"<ClinicalDocument><component>{body}</component></ClinicalDocument>"


def test_parts_of_a_section_of_a_cda_belong_to_it(sr):
    """What stands within previous findings is previous, whatever it is called there."""
    previous = section(
        "Previous findings", "Mass.", "18834-2", section("Liver", "Cyst.") + section("Findings", "Node.")
    )
    document = clinical(previous, section("Findings", "Normal.", "59776-5", section("Spleen", "Small.")))
    report = read(sr, document.encode(), CDA_STORAGE)
    names = [s.name.value for s in report.narrative.sections]
    assert names == ["comparison", "comparison", "comparison", "findings", "findings"]


def test_deleted_words_of_a_cda_are_not_read(sr):
    """CDA R2 4.3.5.1 marks them; what follows them stays."""
    document = clinical(
        section("Findings", 'A <content revised="delete">mass</content> <content revised="insert">cyst.</content>')
    )
    assert read(sr, document.encode(), CDA_STORAGE).narrative.text == "Findings:\nA cyst."


def test_headings_over_coded_entries_are_no_text(sr):
    """Nothing of such a section is read, so nothing must seem to have been found normal."""
    document = (
        "<ClinicalDocument><section><title>Findings</title><entry><value>1</value></entry></section></ClinicalDocument>"
    )
    report = read(sr, document.encode(), CDA_STORAGE)
    assert (report.state, report.narrative.text) == (State.NO_TEXT, "")


@pytest.mark.parametrize(("words", "encoding"), [("Größe 6 mm", "latin_1"), ("双肺未见实变影，心影不大。", "gb18030")])
@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-8"?>'])
def test_a_cda_that_is_not_in_utf_8_is_read_all_the_same(sr, words, encoding, declaration):
    """XML without another declaration should be in UTF-8; where it isn't, that is said."""
    report = read(sr, (declaration + clinical(section("Findings", words))).encode(encoding), CDA_STORAGE)
    assert report.narrative.text == f"Findings:\n{words}"
    assert report.warnings == ("cda_encoding",)


def b64(data: bytes) -> str:
    """Base64, as CDA carries what isn't XML."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<text mediaType="text/plain">No effusion.\nNormal.</text>', "No effusion.\nNormal."),
        (f'<text mediaType="application/pdf" representation="B64">{b64(pdf("No effusion."))}</text>', "No effusion."),
        (f'<text mediaType="text/plain" representation="B64">{b64("Größe".encode())}</text>', "Größe"),
        ('<text mediaType="text/html">&lt;p&gt;No effusion.&lt;/p&gt;</text>', "No effusion."),
    ],
)  # fmt: skip
def test_bodies_that_are_no_xml_are_read(sr, body, expected):
    """Plain text, HTML, and base64 of text or PDF."""
    document = f"<ClinicalDocument><component><nonXMLBody>{body}</nonXMLBody></component></ClinicalDocument>"
    assert read(sr, document.encode(), CDA_STORAGE).narrative.text == expected


def test_another_root_and_a_bare_doctype_are_no_reason_to_reject(sr):
    """Both occur; the words are there all the same."""
    document = b"<!DOCTYPE report><report><section><title>Findings</title><text>Normal.</text></section></report>"
    report = read(sr, document, CDA_STORAGE)
    assert report.narrative.text == "Findings:\nNormal."
    assert "cda_root" in report.warnings


BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
) + "]><ClinicalDocument><title>&j;</title></ClinicalDocument>"  # fmt: skip
XXE = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><ClinicalDocument><title>&e;</title></ClinicalDocument>"
REMOTE = "<!DOCTYPE x [<!ENTITY % e SYSTEM 'http://127.0.0.1:9/x'> %e;]><ClinicalDocument/>"


@pytest.mark.parametrize("document", [BOMB, XXE, REMOTE], ids=["billion laughs", "file", "network"])
def test_entities_are_forbidden(sr, document):
    """Entities that grow, read files or fetch addresses end the reading, before any is resolved."""
    with pytest.raises(UnreadableObjectError) as caught:
        read(sr, document.encode(), CDA_STORAGE)
    assert caught.value.reason_code == "xml_forbidden"
    assert "root:" not in str(caught.value)


def test_includes_are_not_followed(sr):
    """XInclude is just another element."""
    document = (
        '<ClinicalDocument xmlns:xi="http://www.w3.org/2001/XInclude"><section><title>Findings</title>'
        '<text>A<xi:include href="/etc/passwd" parse="text"/></text></section></ClinicalDocument>'
    )
    assert read(sr, document.encode(), CDA_STORAGE).narrative.text == "Findings:\nA"


@pytest.mark.parametrize("document", [b"<ClinicalDocument><title>", b"<a>" * 5000 + b"</a>" * 5000])
def test_xml_that_is_broken_or_too_deep_is_refused(sr, document):
    """Both end as bad XML, without a crash."""
    with pytest.raises(UnreadableObjectError) as caught:
        read(sr, document, CDA_STORAGE)
    assert caught.value.reason_code == "bad_xml"


def test_the_size_of_a_cda_is_limited(sr, monkeypatch):
    """Nobody reads megabytes of report."""
    monkeypatch.setattr(cda, "MAX_SIZE", 100)
    with pytest.raises(ObjectTooLargeError):
        read(sr, CDA.encode(), CDA_STORAGE)


def test_models_have_no_text(sr):
    """STL, OBJ and MTL are kept and have nothing to analyse."""
    report = read(sr, b"solid model\nfacet normal 0 0 0", STL_STORAGE)
    assert report.state is State.NO_TEXT
    assert report.warnings == ()


@pytest.mark.parametrize(
    ("prolog", "text", "expected"),
    [
        # a harmless name for a character or two, declared or just used
        ('<!DOCTYPE ClinicalDocument [<!ENTITY deg "&#176;">]>', "38&deg; C", "38° C"),
        ('<!DOCTYPE ClinicalDocument [<!ENTITY hosp "St. Anna">]>', "&hosp;, CT.", "St. Anna, CT."),
        ("<!DOCTYPE ClinicalDocument>", "No&nbsp;effusion.", "No effusion."),
        ("", "No&nbsp;effusion &lt; 5&micro;l &amp; no&ndash;mass.", "No effusion < 5µl & no–mass."),
        # a DTD that isn't fetched: the name stays, and above all what follows it
        ('<!DOCTYPE ClinicalDocument SYSTEM "cda.dtd">', "No &house; effusion.", "No &house; effusion."),
        ('<!DOCTYPE ClinicalDocument SYSTEM "cda.dtd">', "No <content>x</content>&house; mass.", "No x&house; mass."),
    ],
)
def test_harmless_entities_cost_no_text(sr, prolog, text, expected):
    """What stands after a character's name is as much part of the report as what stands before it."""
    document = f"{prolog}<ClinicalDocument><section><text>{text}</text></section></ClinicalDocument>"
    report = read(sr, document.encode(), CDA_STORAGE)
    assert report.narrative.text == expected
    assert ("cda_unresolved_entity" in report.warnings) == ("&house;" in text)


@pytest.mark.parametrize(
    "declaration",
    [
        "<!ENTITY a '&b;'>",
        "<!ENTITY a '&#38;b;'><!ENTITY b 'x'>",
        "<!ENTITY a PUBLIC 'x' 'file:///etc/passwd'>",
        "<!ENTITY % p 'x'>",
        f"<!ENTITY a '{'x' * 1000}'>",
        "<!ENTITY a 'x' ",
    ],
)
def test_entities_that_could_multiply_or_lead_out_are_forbidden(sr, declaration):
    """Also where they are never used, and where they are written in UTF-16."""
    document = f"<!DOCTYPE x [{declaration}]><ClinicalDocument><title>x</title></ClinicalDocument>"
    for data in (document.encode(), document.encode("utf_16")):
        with pytest.raises(UnreadableObjectError) as caught:
            read(sr, data, CDA_STORAGE)
        assert caught.value.reason_code == "xml_forbidden"


def test_rtf_within_a_cda_is_read(sr):
    """Whatever media type it is given."""
    body = r'<text mediaType="application/rtf">{\rtf1\ansi No effusion.\par Normal.}</text>'
    document = f"<ClinicalDocument><component><nonXMLBody>{body}</nonXMLBody></component></ClinicalDocument>"
    assert read(sr, document.encode(), CDA_STORAGE).narrative.text == "No effusion.\nNormal."


def test_a_long_pdf_is_read_to_its_limits_and_says_where_it_stops(sr, monkeypatch):
    """Pages, characters and time have a limit each; what is left out is told, never silently cut."""
    payload = pdf(*(f"Page {n}." for n in range(1, 41)))
    whole = read(sr, payload, PDF_STORAGE)
    assert len(whole.narrative.segments) == 40
    assert whole.warnings == ()
    for limit, value, pages in (("MAX_PAGES", 25, 25), ("MAX_CHARACTERS", 70, 9)):
        with monkeypatch.context() as patch:
            patch.setattr(pdf_module, limit, value)
            report = read(sr, payload, PDF_STORAGE)
        assert len(report.narrative.segments) == pages
        assert report.warnings == (f"pdf_too_long at page {pages + 1}",)


def test_time_that_runs_out_before_the_first_word_does_not_look_like_images(sr, monkeypatch):
    """Nobody knows whether the document has words: that is a failure, and not a document that needs OCR."""
    monkeypatch.setattr(pdf_module, "MAX_SECONDS", -1.0)
    with pytest.raises(UnreadableObjectError) as caught:
        read(sr, pdf("Page 1."), PDF_STORAGE)
    assert caught.value.reason_code == "pdf_timeout"


def test_what_is_read_before_time_runs_out_counts(sr, monkeypatch):
    """With the first page that is left out."""
    answer = {"pages": ["No effusion."], "warnings": ["pdf_timeout at page 2"], "has_pages": True}
    monkeypatch.setattr(pdf_module, "_read_in_process", lambda _data: answer)
    report = read(sr, pdf("No effusion.", "Nodule."), PDF_STORAGE)
    assert (report.state, report.narrative.text) == (State.PENDING, "No effusion.")
    assert report.warnings == ("pdf_timeout at page 2",)


@pytest.mark.parametrize(
    "payload",
    [
        documents.text_bomb(2_000_000),  # 50 kB
        documents.blank_bomb(600_000_000),  # 2 kB
    ],
    ids=["text operators", "blanks"],
)
def test_a_pdf_that_asks_for_too_much_costs_its_own_process_only(sr, payload, monkeypatch):
    """The harmless document after it is read, and neither memory nor descriptors of this process were spent."""
    monkeypatch.setattr(pdf_module, "MAX_MEMORY_BYTES", 500_000_000)
    monkeypatch.setattr(pdf_module, "MAX_PROCESSOR_SECONDS", 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    report = read(sr, payload, PDF_STORAGE)
    assert time.monotonic() - start < 30
    assert report.state is State.NO_TEXT
    assert report.narrative.text == ""
    assert report.warnings == ("pdf_too_costly",)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes
    assert read(sr, pdf("No effusion."), PDF_STORAGE).narrative.text == "No effusion."


@pytest.mark.parametrize(("name", "value"), [("MAX_PROCESSOR_SECONDS", 1), ("MAX_WALL_SECONDS", 1.0)])
def test_each_limit_of_time_ends_the_reading_by_itself(sr, monkeypatch, name, value):
    """Processor time on an idle machine, time on the clock on a busy one."""
    monkeypatch.setattr(pdf_module, name, value)
    with pytest.raises(UnreadableObjectError) as caught:
        read(sr, documents.nested_forms(40, 2), PDF_STORAGE)  # 2 ** 40 words in 8 kB
    assert caught.value.reason_code == "pdf_timeout"


def test_a_reader_that_does_not_run_is_not_the_document_s_fault(sr, monkeypatch, tmp_path):
    """It must not end as a report without text."""
    monkeypatch.setattr(pdf_module, "_PROGRAM", str(tmp_path / "missing.py"))
    with pytest.raises(DicomnlpError) as caught:
        read(sr, pdf("No effusion."), PDF_STORAGE)
    assert caught.value.reason_code == "pdf_reader_failed"


def test_nothing_of_a_pdf_reaches_the_terminal(sr, capfd):
    """The reader and the process around it are silent, whatever they meet."""
    read(sr, pdf("Wolpertinger").replace(b"endobj", b"endwolpertinger"), PDF_STORAGE)
    read(sr, documents.encrypted(), PDF_STORAGE)
    assert capfd.readouterr() == ("", "")


def test_a_large_pdf_fits_the_limits(sr):
    """A hundred megabytes of images behind one page of text."""
    images = b"%" + b"x" * 100_000_000 + b"\n"
    report = read(sr, pdf("No effusion.") + images + b"%%EOF\n", PDF_STORAGE)
    assert (report.narrative.text, report.warnings) == ("No effusion.", ())
