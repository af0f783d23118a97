"""From items to one text: what is prose, what stands above it, and where each character came from."""

import pytest

from dicomnlp.model import SectionName, State

COMMENT = ("121106", "DCM", "Comment")
IMPRESSIONS = ("19005-8", "LN", "Impressions")
PREVIOUS = ("18834-2", "LN", "Previous Findings")


def sections(report):
    """(name, title, body) of each section."""
    text = report.narrative.text
    return [(s.name.value, s.title, text[s.body_start : s.end]) for s in report.narrative.sections]


def check_offsets(report):
    """Every segment and section lies within the text, segments in order, and sections start with their title."""
    text, position = report.narrative.text, 0
    known = {item.path for item in report.items}
    for segment in report.narrative.segments:
        assert position <= segment.start < segment.end <= len(text)
        assert not text[position : segment.start].strip()
        assert segment.path in known
        position = segment.end
    assert position == len(text)
    for section in report.narrative.sections:
        assert section.start <= section.body_start <= section.end <= len(text)
        if section.title:
            assert text[section.start : section.body_start].lstrip().startswith(section.title)


def test_headings_stand_on_lines_of_their_own(sr, small_report):
    """A reader sees the headings that the tree only has as codes, and sections know where they start."""
    report = sr.read(small_report)
    assert report.narrative.text == (
        "Findings:\nNo pleural effusion. Größe: 6 mm nodule in the right upper lobe.\n\n"
        "Impressions:\nNo evidence of pneumothorax."
    )
    assert sections(report) == [
        ("findings", "Findings", "No pleural effusion. Größe: 6 mm nodule in the right upper lobe."),
        ("impression", "Impressions", "No evidence of pneumothorax."),
    ]
    assert report.state is State.PENDING
    check_offsets(report)


def test_segments_lead_back_to_the_items(sr, small_report):
    """The words of an item are found under its path."""
    report = sr.read(small_report)
    by_path = {s.path: report.narrative.text[s.start : s.end] for s in report.narrative.segments}
    assert by_path["1.2.1"] == "No evidence of pneumothorax."
    assert by_path["1.1.1"].startswith("No pleural effusion.")


def test_separate_items_are_paragraphs_under_one_heading(sr):
    """The heading isn't repeated for each of them."""
    items = [sr.item("TEXT", sr.FINDING, text) for text in ("One.", "Two.", "Three.")]
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=items)]))
    assert report.narrative.text == "Findings:\nOne.\nTwo.\nThree."
    check_offsets(report)


def test_a_continuous_container_is_one_sentence(sr):
    """TEXT, NUM with its unit, CODE and PNAME are joined in order, each with its own segment."""
    sentence = sr.item(
        "CONTAINER", sr.FINDINGS, continuity="CONTINUOUS",
        children=[
            sr.item("TEXT", sr.FINDING, "There is a"),
            sr.item("NUM", ("103339001", "SCT", "Long Axis"), "1.5", unit=("cm", "UCUM", "centimeter")),
            sr.item("CODE", sr.FINDING, ("52988006", "SCT", "lesion")),
            sr.item("TEXT", sr.FINDING, ", seen by"),
            sr.item("PNAME", ("121008", "DCM", "Person Observer Name"), "Roe^Rita"),
            sr.item("TEXT", sr.FINDING, "."),
        ],
    )  # fmt: skip
    report = sr.read(sr.document([sentence]))
    assert report.narrative.text == "Findings:\nThere is a 1.5 cm lesion, seen by Roe Rita."
    by_path = {s.path: report.narrative.text[s.start : s.end] for s in report.narrative.segments}
    assert by_path["1.1.2"] == "1.5 cm"
    check_offsets(report)


def test_what_a_sentence_was_inferred_from_is_not_read_into_it(sr):
    """Nor is it lost: it is a paragraph of its own."""
    below = [
        sr.item("TEXT", sr.FINDING, "A nodule"),
        sr.item("TEXT", sr.FINDING, "Opacity seen.", relationship="INFERRED FROM"),
        sr.item("TEXT", sr.FINDING, "is likely.", relationship=None),
        sr.item("CONTAINER", None, children=[sr.item("TEXT", sr.FINDING, "Within.")]),
    ]
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, continuity="CONTINUOUS", children=below)]))
    assert report.narrative.text == "Findings:\nA nodule is likely.\nOpacity seen.\nWithin."
    check_offsets(report)


def test_a_container_within_a_sentence_keeps_its_place(sr):
    """What is written before it is read before it."""
    below = [
        sr.item("TEXT", sr.FINDING, "Before"),
        sr.item("TEXT", sr.FINDING, "it."),
        sr.item("CONTAINER", sr.FINDING, children=[sr.item("TEXT", sr.FINDING, "Within.")]),
        sr.item("TEXT", sr.FINDING, "After"),
        sr.item("TEXT", sr.FINDING, "it."),
    ]
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, continuity="CONTINUOUS", children=below)]))
    assert report.narrative.text == "Findings:\nBefore it.\nWithin.\nAfter it."
    check_offsets(report)


def test_a_report_that_is_continuous_in_name_only_keeps_its_sections(sr):
    """Texts with headings of their own aren't run together."""
    report = sr.document(
        [
            sr.item("TEXT", ("121070", "DCM", "Findings"), "A nodule."),
            sr.item("TEXT", ("121076", "DCM", "Conclusions"), "No malignancy."),
        ]
    )
    report.ContinuityOfContent = "CONTINUOUS"
    assert [name for name, _, _ in sections(sr.read(report))] == ["findings", "impression"]


def test_codes_and_numbers_alone_make_no_sentence(sr):
    """A continuous container without text is coded content."""
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, continuity="CONTINUOUS", children=[
        sr.item("CODE", sr.FINDING, ("52988006", "SCT", "lesion"))])]))  # fmt: skip
    assert report.state is State.NO_TEXT


@pytest.mark.parametrize("relationship", ["HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "SELECTED FROM"])
def test_context_is_not_narrative_nor_what_is_below_it(sr, relationship):
    """Observers, devices and modifiers say nothing of the patient's findings."""
    below = sr.item("TEXT", sr.FINDING, "Below.", relationship="HAS PROPERTIES")
    context = sr.item("TEXT", ("999", "99X", "Something"), "Context.", relationship=relationship, children=[below])
    report = sr.read(sr.document([context, sr.item("TEXT", sr.FINDING, "No effusion.")]))
    assert report.narrative.text == "Finding:\nNo effusion."


@pytest.mark.parametrize("relationship", ["CONTAINS", "INFERRED FROM", "HAS PROPERTIES"])
def test_attributes_of_what_is_narrative_are_narrative(sr, relationship):
    """A text that another was inferred from is part of the report."""
    below = sr.item("TEXT", sr.FINDING, "Opacity.", relationship=relationship)
    report = sr.read(sr.document([sr.item("TEXT", sr.FINDING, "Nodule.", children=[below])]))
    assert report.narrative.text == "Finding:\nNodule.\nOpacity."


def test_previous_findings_are_comparison_whatever_is_below(sr):
    """A finding of an earlier study is none of this one, even under a container that calls it finding."""
    inner = sr.item("CONTAINER", sr.FINDINGS, children=[sr.item("TEXT", sr.FINDING, "Nodule of 4 mm.")])
    report = sr.read(
        sr.document(
            [
                sr.item("CONTAINER", PREVIOUS, children=[inner, sr.item("TEXT", sr.FINDING, "Effusion.")]),
                sr.item("TEXT", ("121069", "DCM", "Previous Finding"), "Pneumonia."),
                sr.item("TEXT", sr.FINDING, "Normal."),
            ]
        )
    )
    names = [name for name, _, _ in sections(report)]
    assert names == ["comparison", "comparison", "findings"]
    assert sections(report)[-1][2] == "Normal."


def test_the_text_s_own_concept_counts_where_it_says_more(sr):
    """A conclusion under Findings is a conclusion; a "Finding" under Impressions is part of the impression."""
    report = sr.read(
        sr.document(
            [
                sr.item(
                    "CONTAINER",
                    sr.FINDINGS,
                    children=[
                        sr.item("TEXT", sr.FINDING, "Nodule."),
                        sr.item("TEXT", ("121077", "DCM", "Conclusion"), "Benign."),
                    ],
                ),
                sr.item("CONTAINER", IMPRESSIONS, children=[sr.item("TEXT", sr.FINDING, "No malignancy.")]),
            ]
        )
    )
    assert sections(report) == [
        ("findings", "Findings", "Nodule."),
        ("impression", "Conclusion", "Benign."),
        ("impression", "Impressions", "No malignancy."),
    ]


def test_organs_label_what_is_said_of_them(sr):
    """A concept name that opens no section stands before its text, or the text would lose what it is about."""
    items = [
        sr.item("TEXT", ("10200004", "SCT", "Liver"), "Normal."),
        sr.item("TEXT", ("1", "99X", "1"), "No ascites."),
    ]
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=items)]))
    assert report.narrative.text == "Findings:\nLiver: Normal.\nNo ascites."
    check_offsets(report)


def test_what_a_section_stands_in_labels_what_is_said_there(sr):
    """Two findings of two kidneys, or two sections of the same name, must not become one's."""
    left, right = (("1", "99X", f"{side} kidney") for side in ("Left", "Right"))
    report = sr.read(sr.document([
        sr.item("CONTAINER", left, children=[sr.item("TEXT", sr.FINDING, "Stone.")]),
        sr.item("CONTAINER", right, children=[
            sr.item("CONTAINER", sr.FINDINGS, children=[sr.item("TEXT", None, "Normal.")]),
            sr.item("CONTAINER", IMPRESSIONS, children=[sr.item("TEXT", None, "No stone.")]),
        ]),
    ]))  # fmt: skip
    assert report.narrative.text == (
        "Finding:\nLeft kidney: Stone.\n\nFindings:\nRight kidney: Normal.\n\nImpressions:\nRight kidney: No stone."
    )
    check_offsets(report)


def test_groups_of_a_template_are_no_labels(sr):
    """Their names are the template's, and tell a reader nothing."""
    group = sr.item("CONTAINER", ("125007", "DCM", "Measurement Group"), children=[sr.item("TEXT", COMMENT, "Stable.")])
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=[group])]))
    assert report.narrative.text == "Findings:\nStable."


def test_an_unknown_heading_is_still_a_heading(sr):
    """Without any known section above it, it opens a section "other"."""
    report = sr.read(sr.document([sr.item("TEXT", ("7", "99X", "PA Chest"), "Clear lungs.")]))
    assert sections(report) == [("other", "PA Chest", "Clear lungs.")]


def test_a_heading_that_the_text_has_itself_is_not_doubled(sr):
    """Many writers put the heading into both."""
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=[
        sr.item("TEXT", sr.FINDING, "FINDINGS: No effusion.")])]))  # fmt: skip
    assert report.narrative.text == "FINDINGS: No effusion."
    section = report.narrative.sections[0]
    assert section.name is SectionName.FINDINGS
    assert report.narrative.text[section.body_start : section.end] == "No effusion."


def test_a_whole_report_in_one_text_is_left_to_its_own_headings(sr):
    """No coded section covers it."""
    text = "HISTORY: Cough.\r\nFINDINGS: Clear lungs.\r\nIMPRESSION: Normal."
    report = sr.read(sr.document([sr.item("TEXT", ("1120", "99X", "Report Text"), text)]))
    assert report.narrative.text == text.replace("\r\n", "\n")
    assert report.narrative.sections == ()


def test_a_whole_report_under_a_code_for_a_part_of_it_is_left_to_its_own_headings(sr):
    """The text says itself where its parts start; only what is quoted or added stays what the code says."""
    text = "HISTORY: Cough.\nFINDINGS: Clear lungs.\nIMPRESSION: Normal."
    report = sr.read(sr.document([sr.item("TEXT", sr.FINDING, text)]))
    assert report.narrative.text == text
    assert report.narrative.sections == ()
    report = sr.read(sr.document([sr.item("CONTAINER", PREVIOUS, children=[sr.item("TEXT", sr.FINDING, text)])]))
    assert sections(report) == [("comparison", "Previous Findings", text)]


def test_what_is_said_of_a_fetus_names_it(sr):
    """TID 1008: a finding of one fetus is neither the other's nor the mother's."""
    fetuses = [
        sr.item(
            "CONTAINER", sr.FINDINGS,
            children=[
                sr.item("CODE", ("121024", "DCM", "Subject Class"), ("121026", "DCM", "Fetus"),
                        relationship="HAS OBS CONTEXT"),
                sr.item("TEXT", ("121030", "DCM", "Subject ID"), name, relationship="HAS OBS CONTEXT"),
                sr.item("TEXT", sr.FINDING, text),
            ],
        )
        for name, text in (("A", "No hydrops."), ("B", "Hydrops."))
    ]  # fmt: skip
    report = sr.read(sr.document(fetuses))
    assert report.narrative.text == "Findings:\nFetus A: No hydrops.\nFetus B: Hydrops."


@pytest.mark.parametrize("suffix", ["67", "68", "71", "73", "74", "75", "76"])
def test_machine_reports_have_no_prose_but_comments(sr, suffix):
    """Dose, acquisition context and imaging agent reports."""
    uid = f"1.2.840.10008.5.1.4.1.1.88.{suffix}"
    items = [
        sr.item("TEXT", ("113870", "DCM", "Person Name"), "Somebody"),
        sr.item("TEXT", ("1", "99X", "Mode"), "auto"),
    ]
    assert sr.read(sr.document(items, sop_class_uid=uid)).state is State.NO_TEXT
    items.append(sr.item("TEXT", COMMENT, "Repeated because of motion."))
    report = sr.read(sr.document(items, sop_class_uid=uid))
    assert report.narrative.text == "Comment:\nRepeated because of motion."
    assert len(report.items) == 4


def test_a_dose_report_sent_as_enhanced_sr_is_one_all_the_same(sr):
    """Its title says so."""
    report = sr.document(
        [sr.item("TEXT", ("1", "99X", "Mode"), "automatic exposure control")],
        title=("113701", "DCM", "X-Ray Radiation Dose Report"), sop_class_uid="1.2.840.10008.5.1.4.1.1.88.22",
    )  # fmt: skip
    assert sr.read(report).state is State.NO_TEXT


def test_a_key_object_description_is_prose(sr):
    """PS3.16 TID 2010: 113012."""
    report = sr.document(
        [sr.item("TEXT", ("113012", "DCM", "Key Object Description"), "Nodule in the left lower lobe.")],
        title=("113000", "DCM", "Of Interest"), sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59",
    )  # fmt: skip
    assert "Nodule in the left lower lobe." in sr.read(report).narrative.text


def test_a_contradicting_meaning_is_reported_with_its_place(sr):
    """By path, never by the words."""
    report = sr.read(sr.document([sr.item("TEXT", ("121072", "DCM", "Clinical History"), "Cough.")]))
    assert report.warnings == ("code_meaning_conflict at 1.1",)
    assert sections(report)[0][0] == "history"
