"""Observation context: who says it, of whom, about which procedure, in which language (PS3.16 TID 1000 to 1010)."""

import pytest

from dicomnlp.model import SectionName, Temporality

EFFUSION = ("60046008", "SCT", "Pleural effusion")
LENGTH = ("410668003", "SCT", "Length")
MM = ("mm", "UCUM", "millimeter")
GROUP = ("125007", "DCM", "Measurement Group")


def context(sr, value_type, concept, value):
    """An item that declares context for its parent."""
    return sr.item(value_type, concept, value, relationship="HAS OBS CONTEXT")


def subject(sr, code, meaning):
    """The subject class."""
    return context(sr, "CODE", ("121024", "DCM", "Subject Class"), (code, "DCM", meaning))


def statements(sr):
    """A code, a number and a text."""
    return [
        sr.item("CODE", sr.FINDING, EFFUSION),
        sr.item("NUM", LENGTH, "6", unit=MM),
        sr.item("TEXT", sr.FINDING, "Small effusion."),
    ]


def contexts(report, field):
    """What each code, length and text says of `field`."""
    lengths = [m for m in report.measurements if m.concept.value == LENGTH[0]]
    return tuple(
        {getattr(x, field) for x in kind} for kind in (report.coded_findings, lengths, report.narrative.segments)
    )


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([("CODE", ("121024", "DCM", "Subject Class"), ("121026", "DCM", "Fetus"))], "fetus"),
        # the number alone says that it is a fetus
        ([("NUM", ("121037", "DCM", "Fetus number"), "2")], "fetus 2"),
        (
            [
                ("CODE", ("121024", "DCM", "Subject Class"), ("121027", "DCM", "Specimen")),
                ("TEXT", ("121041", "DCM", "Specimen Identifier"), "S-1"),
            ],
            "specimen S-1",
        ),
        (
            [
                ("CODE", ("121024", "DCM", "Subject Class"), ("121026", "DCM", "Fetus")),
                ("TEXT", ("121030", "DCM", "Subject ID"), "Fetus B"),
            ],
            "fetus B",
        ),
        # an identifier without a class is the patient's
        ([("TEXT", ("121030", "DCM", "Subject ID"), "4711")], ""),
        ([("CODE", ("121024", "DCM", "Subject Class"), ("121025", "DCM", "Patient"))], ""),
    ],
)
def test_every_statement_knows_of_whom_it_is(sr, declared, expected):
    """Codes, numbers and text alike."""
    children = [context(sr, *item) for item in declared] + statements(sr)
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=children)]))
    assert contexts(report, "subject") == ({expected}, {expected}, {expected})


def test_context_is_inherited_until_something_below_declares_otherwise(sr):
    """A fetus within a mother's report, and the mother again within the fetus's part."""
    mother = sr.item("CONTAINER", GROUP, children=[subject(sr, "121025", "Patient"), *statements(sr)])
    inner = sr.item("CONTAINER", GROUP, children=statements(sr))
    fetus = sr.item("CONTAINER", sr.FINDINGS, children=[subject(sr, "121026", "Fetus"), inner, mother])
    report = sr.read(sr.document([*statements(sr), fetus]))
    assert [f.subject for f in report.coded_findings] == ["", "fetus", ""]
    assert [m.subject for m in report.measurements] == ["", "fetus", ""]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([("CODE", ("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device"))], "device"),
        ([("CODE", ("121005", "DCM", "Observer Type"), ("121006", "DCM", "Person"))], "person"),
        # TID 1002: a name says the type where the type is left out
        ([("PNAME", ("121008", "DCM", "Person Observer Name"), "Doe^Jane")], "person"),
        ([("TEXT", ("121013", "DCM", "Device Observer Name"), "CAD")], "device"),
        (
            [
                ("TEXT", ("121013", "DCM", "Device Observer Name"), "CAD"),
                ("PNAME", ("121008", "DCM", "Person Observer Name"), "Doe^Jane"),
            ],
            "person",
        ),
        ([], ""),
    ],
)
def test_every_statement_knows_who_makes_it(sr, declared, expected):
    """What a device says isn't a physician's; what both say has been looked at."""
    report = sr.read(sr.document([*(context(sr, *item) for item in declared), *statements(sr)]))
    assert contexts(report, "observer") == ({expected}, {expected}, {expected})


def test_cad_is_a_device_s_even_without_an_observer(sr):
    """TID 4000, 4100 and 4120 name none."""
    document = sr.document(statements(sr), sop_class_uid="1.2.840.10008.5.1.4.1.1.88.65")
    assert contexts(sr.read(document), "observer") == ({"device"}, {"device"}, {"device"})


@pytest.mark.parametrize(
    ("concept", "value_type", "value", "expected"),
    [
        (("121018", "DCM", "Procedure Study Instance UID"), "UIDREF", "1.2.999", Temporality.PRIOR),
        (("121018", "DCM", "Procedure Study Instance UID"), "UIDREF", None, Temporality.CURRENT),
        (("121022", "DCM", "Accession Number"), "TEXT", "OTHER", Temporality.PRIOR),
        (("121022", "DCM", "Accession Number"), "TEXT", "A1", Temporality.CURRENT),
        (("121001", "DCM", "Quotation Mode"), "CODE", ("121003", "DCM", "Document"), Temporality.PRIOR),
    ],
)
def test_what_is_quoted_from_another_procedure_is_not_current(sr, concept, value_type, value, expected):
    """TID 1005: a procedure context below the root that isn't the report's own."""
    item = context(sr, value_type, concept, None if value_type == "UIDREF" else value)
    if value_type == "UIDREF":
        item.UID = value or sr.STUDY
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=[item, *statements(sr)])]))
    assert [f.temporality for f in report.coded_findings] == [expected]
    assert [m.temporality for m in report.measurements] == [expected]
    [section] = report.narrative.sections
    assert section.name is (SectionName.COMPARISON if expected is Temporality.PRIOR else SectionName.FINDINGS)


def test_the_root_s_procedure_is_what_the_report_is_about(sr):
    """A measurement report in a study of its own names the study that it measures."""
    item = context(sr, "TEXT", ("121022", "DCM", "Accession Number"), "OTHER")
    report = sr.read(sr.document([item, *statements(sr)]))
    assert [f.temporality for f in report.coded_findings] == [Temporality.CURRENT]


@pytest.mark.parametrize(
    "heading",
    [("18834-2", "LN", "Previous Findings"), ("121068", "DCM", "Previous Findings"), ("X", "99X", "Vorbefund")],
)
def test_codes_and_numbers_below_previous_findings_are_prior(sr, heading):
    """Like the text there, whatever the items are called."""
    inner = sr.item("CONTAINER", GROUP, children=statements(sr))
    report = sr.read(sr.document([sr.item("CONTAINER", heading, children=[inner]), *statements(sr)]))
    assert [f.temporality.value for f in report.coded_findings] == ["prior", "current"]
    assert [m.temporality.value for m in report.measurements] == ["prior", "current"]


def test_a_prior_finding_that_a_current_one_is_inferred_from_stays_prior(sr):
    """A relationship of inference doesn't bring the past back."""
    prior = sr.item("CODE", ("121069", "DCM", "Previous Finding"), EFFUSION, relationship="INFERRED FROM")
    report = sr.read(sr.document([sr.item("CODE", sr.FINDING, EFFUSION, children=[prior])]))
    assert [f.temporality.value for f in report.coded_findings] == ["current", "prior"]


def test_language_is_overridden_below_the_root(sr):
    """TID 1204: a segment says its language where it isn't the report's."""

    def language(value):
        concept = ("121049", "DCM", "Language of Content Item and Descendants")
        return sr.item("CODE", concept, (value, "RFC5646", "x"), relationship="HAS CONCEPT MOD")

    german = sr.item("TEXT", sr.FINDING, "Kein Erguss.", children=[language("de-AT")])
    container = sr.item("CONTAINER", sr.FINDINGS, children=[sr.item("TEXT", sr.FINDING, "No effusion."), german])
    report = sr.read(sr.document([language("en"), container]))
    assert report.language == "en"
    text = report.narrative.text
    by_words = {text[s.start : s.end]: s.language for s in report.narrative.segments}
    assert by_words["No effusion."] == ""
    assert by_words["Kein Erguss."] == "de-AT"


@pytest.mark.parametrize("value", [("19005-8", "LN", "Impressions"), "Impression"])
def test_an_equivalent_meaning_names_the_section_of_a_private_heading(sr, value):
    """TID 1210: the concept name in other words, as a code or as text."""
    equivalent = sr.item(
        "TEXT" if isinstance(value, str) else "CODE",
        ("121050", "DCM", "Equivalent Meaning of Concept Name"), value, relationship="HAS CONCEPT MOD",
    )  # fmt: skip
    heading = ("ABC", "99HOUSE", "Dictamen final")
    report = sr.read(
        sr.document([sr.item("CONTAINER", heading, children=[equivalent, sr.item("TEXT", sr.FINDING, "Normal.")])])
    )
    assert [(s.name, s.title) for s in report.narrative.sections] == [(SectionName.IMPRESSION, "Dictamen final")]


@pytest.mark.parametrize(
    ("relationship", "concept", "is_finding"),
    [
        ("CONTAINS", ("121071", "DCM", "Finding"), True),
        ("INFERRED FROM", ("121071", "DCM", "Finding"), True),
        (None, ("121071", "DCM", "Finding"), True),
        ("CONTAINS", EFFUSION, True),
        ("HAS OBS CONTEXT", ("121071", "DCM", "Finding"), False),
        ("HAS CONCEPT MOD", ("121071", "DCM", "Finding"), False),
        ("HAS ACQ CONTEXT", ("121071", "DCM", "Finding"), False),
        ("HAS PROPERTIES", ("121071", "DCM", "Finding"), False),
        # contained, and still no finding
        ("CONTAINS", ("363698007", "SCT", "Finding Site"), False),
        ("CONTAINS", ("121058", "DCM", "Procedure reported"), False),
        ("CONTAINS", ("121049", "DCM", "Language of Content Item and Descendants"), False),
    ],
)
def test_codes_that_state_something_are_findings(sr, relationship, concept, is_finding):
    """The target of CONTAINS, or what something is inferred from; never context, modifiers or what is below."""
    below = sr.item("CODE", sr.FINDING, EFFUSION)
    value = ("373572006", "SCT", "Absent")
    item = sr.item("CODE", concept, value, relationship=relationship, children=[below])
    report = sr.read(sr.document([item]))
    is_context = relationship not in {"CONTAINS", "INFERRED FROM", None}
    assert [f.path for f in report.coded_findings] == ["1.1"] * is_finding + ["1.1.1"] * (not is_context)
    if is_finding:
        assert report.coded_findings[0].value.meaning == "Absent"
        assert report.coded_findings[0].concept.value == concept[0]


def test_findings_carry_site_side_and_what_qualifies_them(sr):
    """Their own modifiers, and those of the group that they stand in."""
    side = sr.item(
        "CODE", ("272741003", "SCT", "Laterality"), ("7771000", "SCT", "Left"), relationship="HAS CONCEPT MOD"
    )
    site = sr.item(
        "CODE", ("363698007", "SCT", "Finding Site"), ("39607008", "SCT", "Lung"),
        relationship="HAS CONCEPT MOD", children=[side],
    )  # fmt: skip
    severity = sr.item(
        "CODE", ("246112005", "SCT", "Severity"), ("255604002", "SCT", "Mild"), relationship="HAS PROPERTIES"
    )
    words = sr.item(
        "CODE", ("121051", "DCM", "Equivalent Meaning of Value"), ("E", "99X", "Erguss"), relationship="HAS CONCEPT MOD"
    )
    finding = sr.item("CODE", sr.FINDING, EFFUSION, children=[severity, words])
    report = sr.read(sr.document([sr.item("CONTAINER", GROUP, children=[site, finding])]))
    [found] = report.coded_findings
    assert [(name.meaning, value.meaning) for name, value in found.modifiers] == [
        ("Severity", "Mild"),
        ("Finding Site", "Lung"),
        ("Laterality", "Left"),
    ]


@pytest.mark.parametrize("suffix", ["67", "68", "71", "73", "74", "75", "76"])
def test_codes_of_dose_and_acquisition_reports_are_no_findings(sr, suffix):
    """They say how something was done."""
    document = sr.document(statements(sr), sop_class_uid=f"1.2.840.10008.5.1.4.1.1.88.{suffix}")
    report = sr.read(document)
    assert report.coded_findings == ()
    assert len(report.measurements) == 1


def test_an_image_library_states_nothing(sr):
    """TID 1600: codes there describe images."""
    library = sr.item("CONTAINER", ("111028", "DCM", "Image Library"), children=statements(sr)[:1])
    assert sr.read(sr.document([library])).coded_findings == ()


@pytest.mark.parametrize(
    ("container", "element", "expected"),
    [
        (("121109", "DCM", "Indications for Procedure"), ("55115-0", "LN", "Request"), "indication"),
        (("121070", "DCM", "Findings"), ("121058", "DCM", "Procedure reported"), "findings"),
        (None, ("55115-0", "LN", "Request"), "indication"),
        (None, ("121062", "DCM", "Request"), "indication"),
        (None, ("121110", "DCM", "Patient Presentation"), "indication"),
        (None, ("55108-5", "LN", "Patient Presentation"), "indication"),
        (None, ("121066", "DCM", "Prior Procedure Descriptions"), "comparison"),
        (("18834-2", "LN", "Previous Findings"), ("121069", "DCM", "Previous Finding"), "comparison"),
        (("121070", "DCM", "Findings"), ("121069", "DCM", "Previous Finding"), "comparison"),
    ],
)
def test_headings_of_old_and_new_systems(sr, container, element, expected):
    """Code and meaning agree for each, and the container wins over what names no part of a report."""
    item = sr.item("TEXT", element, "Cough and fever for three days.")
    report = sr.read(sr.document([item if container is None else sr.item("CONTAINER", container, children=[item])]))
    assert [s.name.value for s in report.narrative.sections] == [expected]
    assert report.warnings == ()
