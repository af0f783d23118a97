"""Everything put together: one object, one report."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomnlp.extract import extract, report_to_json
from dicomnlp.model import Code, Evidence, State


def reference(study, series, *instances):
    """A hierarchical SOP instance reference."""
    of_study, of_series = Dataset(), Dataset()
    of_study.StudyInstanceUID, of_series.SeriesInstanceUID = study, series
    entries = []
    for uid in instances:
        entry = Dataset()
        entry.ReferencedSOPClassUID, entry.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
        entries.append(entry)
    of_series.ReferencedSOPSequence = Sequence(entries)
    of_study.ReferencedSeriesSequence = Sequence([of_series])
    return of_study


def test_all_transfer_syntaxes_give_the_same_report(sr, small_report):
    """How an object is encoded says nothing about what it says."""
    reports = [sr.read(small_report, uid) for uid in (sr.EXPLICIT, sr.IMPLICIT, sr.BIG, sr.DEFLATED)]
    assert reports[0].narrative.text
    assert all(report == reports[0] for report in reports)


def test_flags_evidence_and_predecessors_are_kept(sr, small_report):
    """Document state and references, each evidence with its kind."""
    small_report.PreliminaryFlag = "FINAL"
    small_report.CurrentRequestedProcedureEvidenceSequence = Sequence([reference(sr.STUDY, "1.2.5", "1.2.6", "1.2.7")])
    small_report.PertinentOtherEvidenceSequence = Sequence([reference("1.9.9", "1.9.5", "1.9.6")])
    request = Dataset()
    request.StudyInstanceUID = "1.8.8"
    small_report.ReferencedRequestSequence = Sequence([request])
    small_report.PredecessorDocumentsSequence = Sequence([reference(sr.STUDY, "1.2.5", "1.2.99")])
    report = sr.read(small_report)
    assert (report.completion_flag, report.verification_flag, report.preliminary_flag) == (
        "COMPLETE", "VERIFIED", "FINAL",
    )  # fmt: skip
    ct = "1.2.840.10008.5.1.4.1.1.2"
    assert report.evidence == (
        Evidence(sr.STUDY, "1.2.5", ct, "1.2.6", "current"),
        Evidence(sr.STUDY, "1.2.5", ct, "1.2.7", "current"),
        Evidence("1.9.9", "1.9.5", ct, "1.9.6", "pertinent"),
        Evidence("1.8.8", "", "", "", "request"),
    )
    assert report.predecessors == ("1.2.99",)


@pytest.mark.parametrize(
    ("value", "country", "expected"),
    [("en", None, "en"), ("eng", "US", "en-US"), ("de-AT", None, "de-AT"), ("zh_CN", None, "zh-CN"), ("??", None, "")],
)
def test_the_declared_language_is_a_language_tag(sr, value, country, expected):
    """TID 1204, with or without a country."""
    children = []
    if country:
        children.append(
            sr.item("CODE", ("121046", "DCM", "Country of Language"), (country, "ISO3166_1", "x"),
                    relationship="HAS CONCEPT MOD")
        )  # fmt: skip
    language = sr.item(
        "CODE", ("121049", "DCM", "Language of Content Item and Descendants"), (value, "RFC5646", "x"),
        relationship="HAS CONCEPT MOD", children=children,
    )  # fmt: skip
    assert sr.read(sr.document([language, sr.item("TEXT", sr.FINDING, "Text.")])).language == expected


def test_numbers_come_out_as_measurements(sr):
    """Value, unit and what qualifies it, as codes, with no text between."""
    site = sr.item("CODE", ("363698007", "SCT", "Finding Site"), ("10200004", "SCT", "Liver"),
                   relationship="HAS CONCEPT MOD", children=[
                       sr.item("CODE", ("272741003", "SCT", "Laterality"), ("24028007", "SCT", "Right"),
                               relationship="HAS CONCEPT MOD")])  # fmt: skip
    length = sr.item("NUM", ("410668003", "SCT", "Length"), "12.50", unit=("mm", "UCUM", "millimeter"),
                     children=[site])  # fmt: skip
    report = sr.read(sr.document([length]))
    (measurement,) = report.measurements
    assert measurement.values == (12.5,)
    assert measurement.unit == Code("mm", "UCUM", "millimeter")
    assert measurement.concept.meaning == "Length"
    assert [value.meaning for _, value in measurement.modifiers] == ["Liver", "Right"]
    assert report.items[1].value == "12.50"
    assert report.state is State.NO_TEXT


def test_a_group_s_site_is_its_measurements_site(sr):
    """TID 1501: what qualifies the group qualifies each number, unless it says otherwise itself."""
    site = sr.item("CODE", ("363698007", "SCT", "Finding Site"), ("10200004", "SCT", "Liver"))
    other = sr.item("CODE", ("363698007", "SCT", "Finding Site"), ("78961009", "SCT", "Spleen"),
                    relationship="HAS CONCEPT MOD")  # fmt: skip
    group = sr.item(
        "CONTAINER", ("125007", "DCM", "Measurement Group"),
        children=[
            site,
            sr.item("NUM", ("1", "99X", "a"), "1", unit=("mm", "UCUM", "mm")),
            sr.item("NUM", ("2", "99X", "b"), "2", unit=("mm", "UCUM", "mm"), children=[other]),
        ],
    )  # fmt: skip
    measurements = sr.read(sr.document([group])).measurements
    assert [[v.meaning for _, v in m.modifiers] for m in measurements] == [["Liver"], ["Spleen"]]


def test_numbers_without_a_value_keep_their_qualifier(sr):
    """CID 42: measured and failed isn't the same as not measured."""
    number = sr.item("NUM", ("410668003", "SCT", "Length"))
    number.NumericValueQualifierCodeSequence = Sequence([sr.code("114006", "DCM", "Measurement failure")])
    (measurement,) = sr.read(sr.document([number])).measurements
    assert measurement.values == ()
    assert measurement.qualifier.value == "114006"


@pytest.mark.parametrize("syntax", ["EXPLICIT", "BIG"])
def test_several_and_exact_values(sr, syntax):
    """A multi-valued number keeps all; FloatingPointValue says what sixteen characters can't."""
    several = sr.item("NUM", ("1", "99X", "a"), ["1.5", "2.5"], unit=("mm", "UCUM", "mm"))
    exact = sr.item("NUM", ("2", "99X", "b"), "0.333333", unit=("1", "UCUM", "no units"))
    exact.MeasuredValueSequence[0].FloatingPointValue = 1 / 3
    report = sr.read(sr.document([several, exact]), getattr(sr, syntax))
    assert [m.values for m in report.measurements] == [(1.5, 2.5), (1 / 3,)]
    assert report.items[1].value == ["1.5", "2.5"]


def test_a_value_that_is_no_number_stays_text(sr):
    """Comma or nonsense in NumericValue: never an exception, never a wrong number."""
    data = sr.encode(sr.document([sr.item("NUM", ("1", "99X", "a"), "12345678")]))
    for written, values in ((b"12,5    ", (12.5,)), (b"about 12", ()), (b"nan     ", ()), (b"1e999   ", ())):
        (measurement,) = extract(sr.stored(data.replace(b"12345678", written))).measurements
        assert measurement.values == values


def test_an_object_without_content_says_what_is_missing(sr):
    """Read well, nothing to analyse, and the reason is given."""
    report = sr.read(sr.document([]))
    assert report.state is State.NO_TEXT
    assert report.warnings == ("no_content_sequence",)


def test_the_public_form_is_flat_and_plain(sr, small_report):
    """Identity keys stand beside the rest, as the contract of `extract --json` says."""
    record = json.loads(json.dumps(report_to_json(sr.read(small_report))))
    assert {
        "sop_instance_uid", "sop_class_uid", "study_instance_uid", "patient_id", "accession_number", "title",
        "completion_flag", "verification_flag", "preliminary_flag", "language", "character_set", "text", "sections",
        "items", "measurements", "evidence", "predecessors", "warnings", "state",
    } <= set(record)  # fmt: skip
    assert record["study_instance_uid"] == sr.STUDY
    assert record["state"] == "pending"
    assert record["character_set"] == {"declared": ["ISO_IR 192"], "used": "utf_8", "confidence": 1.0}
    assert record["items"][2]["concept"] == {"value": "121071", "scheme": "DCM", "meaning": "Finding"}
    assert record["sections"][0]["name"] == "findings"


def test_warnings_hold_codes_and_places_only(sr):
    """No value of the object is ever in one: they are logged."""
    reference_ = Dataset()
    reference_.RelationshipType, reference_.ReferencedContentItemIdentifier = "CONTAINS", [1]
    odd = sr.item(None, ("121072", "DCM", "Clinical History"), "CANARY7781", children=[reference_])
    data = sr.encode(sr.document([odd])).replace(b"ISO_IR 192", b"CANARY7781")
    report = extract(sr.stored(data))
    assert len(report.warnings) == 4
    assert not any("CANARY" in warning for warning in report.warnings)


def test_warnings_are_few(sr):
    """A writer that leaves out every value type earns a hundred warnings, not thousands."""
    report = sr.read(sr.document([sr.item(None, sr.FINDING, "x") for _ in range(150)]))
    assert len(report.warnings) == 101
    assert report.warnings[-1] == "further_warnings"


words = st.text(st.characters(min_codepoint=1, max_codepoint=0x9FFF, exclude_categories=["Cs", "Cn"]), max_size=60)
leaves = st.tuples(st.sampled_from(["TEXT", "CODE", "NUM", "PNAME", None, "ODD"]), words)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
concepts = st.sampled_from([None, ("59776-5", "LN", "Findings"), ("9", "99X", "Liver"), ("121106", "DCM", "Comment")])
relationships = st.sampled_from(["CONTAINS", "HAS OBS CONTEXT", "INFERRED FROM", "NONSENSE", None])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, data=st.data())
def test_any_tree_is_read_whole_with_true_offsets(sr, tree, data):
    """No item is lost, no text shortened, and segments and sections cover what they say."""
    count = 1

    def build(node):
        nonlocal count
        count += 1
        concept, relationship = data.draw(concepts), data.draw(relationships)
        if isinstance(node, list):
            return sr.item("CONTAINER", concept, relationship=relationship, children=[build(n) for n in node],
                           continuity=data.draw(st.sampled_from(["SEPARATE", "CONTINUOUS"])))  # fmt: skip
        value_type, text = node
        text = text.replace("\\", "")
        if value_type == "CODE":
            return sr.item("CODE", concept, ("1", "99X", "meaning"), relationship=relationship)
        if value_type == "NUM":
            return sr.item("NUM", concept, str(len(text)), relationship=relationship)
        if value_type == "PNAME":
            return sr.item("PNAME", concept, "Doe^J", relationship=relationship)
        return sr.item(value_type, concept, text, relationship=relationship)

    encoded = sr.encode(sr.document([build(tree)]))
    report = extract(sr.stored(encoded))
    assert len(report.items) == count
    text, position = report.narrative.text, 0
    for segment in report.narrative.segments:
        assert position <= segment.start < segment.end <= len(text)
        assert not text[position : segment.start].strip()
        position = segment.end
    assert position == len(text)
    for section in report.narrative.sections:
        assert 0 <= section.start <= section.body_start <= section.end <= len(text)
    json.dumps(report_to_json(report))


def test_requests_copies_and_verification_are_kept(sr, small_report):
    """What tells which studies a report belongs to and which version of it prevails."""
    requests = []
    for number in ("A2", "A1", ""):
        request = Dataset()
        request.StudyInstanceUID, request.AccessionNumber = "1.2.77", number
        requests.append(request)
    small_report.ReferencedRequestSequence = Sequence(requests)
    small_report.IdenticalDocumentsSequence = Sequence(
        [reference("1.2.8", "1.2.81", uid) for uid in ("1.2.83", "1.2.84", "1.2.83")]
    )
    observers = []
    for moment in ("20261101103000", "20261102090000.5+0100"):
        observer = Dataset()
        observer.VerificationDateTime = moment
        observers.append(observer)
    small_report.VerifyingObserverSequence = Sequence(observers)
    report = sr.read(small_report)
    assert report.accession_numbers == ("A1", "A2")
    assert report.identical_documents == ("1.2.83", "1.2.84")
    assert report.verification_date_time == "20261102090000.5+0100"
