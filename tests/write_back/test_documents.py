"""The DICOM documents themselves: what they say, and who accepts them."""

import io
import re
import shutil
import subprocess

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from support import hl7_messages
from support.dicom_files import data_of, to_file
from support.service import make_report

from dicomnlp.export.write_back import write_report
from dicomnlp.extract import extract
from dicomnlp.extract.hl7 import parse_message
from dicomnlp.extract.hl7_report import reports_of
from dicomnlp.extract.own import is_own
from dicomnlp.model import StoredObject
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.hl7_object import encode_report
from dicomnlp.store.written_documents import due
from dicomnlp.terms import HL7_MESSAGE_STORAGE

from .conftest import CHINESE, EXPLICIT, TEXT

ARCHIVE = PacsSettings(name="archive", ae_title="ARCHIVE", host="127.0.0.1")
DETAILED = (
    "FINDINGS: New 12 mm pulmonary nodule in the right upper lobe. Severe stenosis of the left carotid artery. "
    "Possible acute fracture of the left hip. No acute fracture of the right hip. Hounsfield density of the renal "
    "lesion is 35 HU. Large right pleural effusion. Midline shift. No left pleural effusion."
)


@pytest.fixture
def written(hospital):
    """Receives a report, and gives the document that is written of it, and its bytes."""
    hospital.connect(ARCHIVE)

    def write(number=1, text=TEXT, **values):
        object_id = hospital.report(number, text, **values)
        write_report(hospital.settings, hospital.database, object_id, [ARCHIVE])
        data = due(hospital.database, ["archive"], 100)[-1].document.data
        return dcmread(io.BytesIO(data)), data

    return write


def codes(item):
    """(value, scheme) of a content item's name and, if it is a code, of its value."""
    name = item.ConceptNameCodeSequence[0]
    found = [(name.get("CodeValue", name.get("LongCodeValue")), name.CodingSchemeDesignator)]
    if item.ValueType == "CODE":
        value = item.ConceptCodeSequence[0]
        found.append((value.get("CodeValue", value.get("LongCodeValue")), value.CodingSchemeDesignator))
    return tuple(found)


def groups_of(document):
    """Measurement groups."""
    return document.ContentSequence[-1].ContentSequence


def findings_in(document):
    """What the codes of its Findings mean."""
    findings = [i for g in groups_of(document) for i in g.ContentSequence if codes(i)[0] == ("121071", "DCM")]
    return [i.ConceptCodeSequence[0].CodeMeaning for i in findings]


def group_with(document, words):
    """The measurement group in which a code has these words as its meaning."""
    return next(g for g in groups_of(document) if any(words in str(i) for i in g.ContentSequence))


def test_a_document_is_the_measurement_report_of_an_unverified_device(written):
    """TID 1500 as Comprehensive SR, from the same patient and study."""
    document, _ = written()
    source = make_report(1, TEXT)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
        assert document[keyword].value == source[keyword].value
    assert document.StudyInstanceUID == source.StudyInstanceUID
    assert document.SeriesInstanceUID != source.SeriesInstanceUID
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    context = {codes(i)[0][0]: i for i in document.ContentSequence}
    assert codes(context["121005"])[1] == ("121007", "DCM")  # the observer is a device
    assert context["121014"].TextValue == "dicomnlp"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"PreliminaryFlag": "FINAL"}, "FINAL"),
        ({"PreliminaryFlag": "PRELIMINARY"}, "PRELIMINARY"),
        ({"CompletionFlag": "PARTIAL", "VerificationFlag": "VERIFIED"}, "PRELIMINARY"),  # how dcm4chee writes it
    ],
)
def test_a_document_is_as_preliminary_as_its_report(written, flags, expected):
    """(0040,A496)."""
    document, _ = written(**flags)
    assert document.PreliminaryFlag == expected


def test_each_group_names_the_algorithm_and_the_pipeline(written):
    """TID 4019."""
    document, _ = written()
    for group in groups_of(document):
        said = {codes(i)[0][0]: i.get("TextValue") for i in group.ContentSequence}
        assert (said["111001"], said["111003"]) == ("dicomnlp", "2026.1.0")
        assert re.fullmatch(r"pipeline=en-2026\.1\+[0-9a-f]{12}", said["111002"])
        assert said["112039"]


def test_what_is_stated_is_a_finding_with_site_side_and_sizes(written):
    """By public codes."""
    document, _ = written(text="FINDINGS: A 12 x 9 mm renal cyst in the left kidney.")
    [group] = groups_of(document)
    items = {codes(i)[0][0]: i for i in group.ContentSequence}
    assert codes(items["121071"])[1][1] in {"SCT", "99DICOMNLP"}
    site = items["363698007"]
    assert codes(site)[1] == ("64033007", "SCT")
    assert codes(site.ContentSequence[0]) == (("272741003", "SCT"), ("7771000", "SCT"))
    long_axis = items["103339001"].MeasuredValueSequence[0]
    assert (long_axis.NumericValue, long_axis.MeasurementUnitsCodeSequence[0].CodeValue) == (12, "mm")
    assert long_axis.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"


def test_what_is_denied_or_doubted_is_no_finding(written):
    """It is the name of an evaluation whose value says so, with its side."""
    document, _ = written()
    assert findings_in(document) == ["Pulmonary nodule"]
    values = {
        i.ConceptNameCodeSequence[0].CodeMeaning: codes(i)[1]
        for g in groups_of(document)
        for i in g.ContentSequence
        if i.ValueType == "CODE" and i.RelationshipType == "CONTAINS"
    }
    assert values["Pneumothorax"] == ("410516002", "SCT")
    assert values["Pleural effusion"] == ("410590009", "SCT")
    assert "7771000" in str(group_with(document, "Pleural effusion"))


def test_a_doubt_keeps_what_it_is_a_doubt_of(written):
    """A possible acute fracture isn't a possible fracture: the acuity modifies the concept itself."""
    document, _ = written(text="FINDINGS: Possible acute fracture of the left hip.")
    [group] = groups_of(document)
    [doubted] = [i for i in group.ContentSequence if "Known possible" in str(i)]
    modifiers = [i for i in doubted.ContentSequence if i.RelationshipType == "HAS CONCEPT MOD"]
    assert [codes(i) for i in modifiers] == [(("acuity", "99DICOMNLP"), ("acute", "99DICOMNLP"))]


def test_each_statement_is_inferred_from_the_report(written):
    """The report's own sentence, and the report as evidence; what that names as evidence is evidence here, too."""
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.9"
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.3.8", [image]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = make_report(1, "").StudyInstanceUID, [series]
    document, _ = written(CurrentRequestedProcedureEvidenceSequence=[study])
    source = make_report(1, "").SOPInstanceUID
    for group in groups_of(document):
        [said] = [i for i in group.ContentSequence if "INFERRED FROM" in str(i)]
        text, reference = said.ContentSequence[-2:]
        assert text.TextValue in TEXT
        assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    instances = [i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence]
    assert sorted(instances) == sorted([source, "1.2.3.9"])


def test_chinese_findings_are_written_in_utf_8(written):
    """ISO_IR 192: the patient's name, the sentence, and the language that it is in."""
    document, data = written(text=CHINESE, patient_name="Wang^XiaoDong=王^小东")
    assert document.SpecificCharacterSet == "ISO_IR 192"
    assert str(document.PatientName) == "Wang^XiaoDong=王^小东"
    assert "右肺上叶见结节".encode() in data
    assert codes(document.ContentSequence[0]) == (("121049", "DCM"), ("zh", "RFC5646"))


@pytest.mark.parametrize("character_set", ["GB18030", "ISO 2022 IR 58"])
def test_names_in_other_character_sets_stay_what_they_are(hospital, written, character_set):
    """The header is decoded as the report declares it, and written as UTF-8."""
    declared = character_set if character_set == "GB18030" else ["", character_set]
    document, _ = written(SpecificCharacterSet=declared, patient_name="Wang^XiaoDong=王^小东")
    assert (document.SpecificCharacterSet, str(document.PatientName)) == ("ISO_IR 192", "Wang^XiaoDong=王^小东")


def test_what_is_against_the_standard_is_not_spread(hospital, written):
    """A date of birth that is none stays out of the document."""
    dataset = make_report(1, TEXT)
    file = to_file(dataset).replace(b"19600101", b"1960/1/1")
    object_id = hospital.receive(file)
    write_report(hospital.settings, hospital.database, object_id, [ARCHIVE])
    [waiting] = due(hospital.database, ["archive"], 1)
    assert dcmread(io.BytesIO(waiting.document.data)).PatientBirthDate == ""


def test_a_report_that_was_an_hl7_message_is_no_evidence(hospital):
    """No archive has it as an object: the document says the findings, is of its study, and refers to nothing."""
    hospital.connect(ARCHIVE)
    data = hl7_messages.report("A 6 mm nodule in the right upper lobe.", uid="1.2.3.4").encode()
    message = parse_message(data)
    [report] = reports_of(message)
    object_id = hospital.take(encode_report(message, report, data, hospital.settings.hl7.accession_number).data)
    assert write_report(hospital.settings, hospital.database, object_id, [ARCHIVE]) == {"sr": "written"}
    [waiting] = due(hospital.database, ["archive"], 1)
    document = dcmread(io.BytesIO(waiting.document.data))
    assert (document.StudyInstanceUID, document.PatientID) == ("1.2.3.4", "P1")
    assert "CurrentRequestedProcedureEvidenceSequence" not in document
    assert "COMPOSITE" not in str(document)
    assert HL7_MESSAGE_STORAGE not in str(document)
    assert findings_in(document) == ["Pulmonary nodule"]


def run(*command):
    """Exit code and all output of a tool."""
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


TEXTS = [TEXT, DETAILED, CHINESE]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian: dicom3tools) is not here")
@pytest.mark.parametrize("text", TEXTS)
def test_dciodvfy_finds_no_error(written, tmp_path, text):
    """In what is written of reports in both languages, with predecessors and without."""
    _, data = written(1, text)
    _, corrected = written(2, text, study=1, predecessors=[make_report(1, "")])
    for number, each in enumerate((data, corrected)):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(each)
        _, told = run("dciodvfy", str(file))
        assert "ComprehensiveSR" in told
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


@pytest.mark.dcmtk
@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dsrdump (Debian: dcmtk) is not here")
@pytest.mark.parametrize("text", TEXTS)
def test_dsrdump_reads_every_item(written, tmp_path, text):
    """Without an error or a warning, and with all that is in it."""
    document, data = written(text=text)
    (tmp_path / "it.dcm").write_bytes(data)
    code, told = run("dsrdump", "+U8", "+Pl", str(tmp_path / "it.dcm"))
    assert code == 0
    assert not re.search(r"^[EW]: (?!The VR checker)", told, re.MULTILINE), told
    for item in document.iterall():
        if item.keyword == "TextValue":
            assert item.value in told.replace("\\n", "\n")


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_is_known_as_own(written, text):
    """By dicomnlp's own reading of it."""
    _, data = written(text=text)
    assert is_own(extract(StoredObject(1, "", "", EXPLICIT, data_of(data))).items)
