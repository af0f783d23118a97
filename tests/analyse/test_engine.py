"""A narrative to its analysis, on the small pack."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicomnlp.analyse import analyse, analysis_to_json, pipeline_name
from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.pipelines import digest
from dicomnlp.model import Narrative, Section, SectionName, Segment, to_json

WORDS = [
    "no", "not", "nodule", "Pneumothorax", "pleural effusion", "may represent", "PE", "ground-glass opacity", "6 mm",
    "previously", "right upper lobe", "left", "FINDINGS:", "IMPRESSION:", "\n", "\n\n", "1.", ".", ",", ";", "(", ")",
    "?", "heart", "enlarged", "small", "2.5 x 1,4 cm", "\u00a0", "\u201cx\u201d", "胸腔", "é", "\t", "\x00", "𝟓", "İ",
]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=40), st.sampled_from(["", " "]))
@example(["nodule", "6 mm", "\u00b2:"], " ")  # a digit, but no number
def test_offsets_give_the_words_that_are_reported(small: Engine, words: list[str], glue: str) -> None:
    """Whatever the text, every finding, cue, measurement and section names the characters that it reports."""
    text = glue.join(words)
    analysis = small.analyse(Narrative(text))
    for finding in analysis.findings:
        assert text[finding.start : finding.end] == finding.text
        assert finding.sentence in text
        assert finding.text in finding.sentence
        for cue in finding.cues:
            assert text[cue.start : cue.end] == cue.text
    for measurement in (*analysis.measurements, *(m for f in analysis.findings for m in f.measurements)):
        assert text[measurement.start : measurement.end] == measurement.text
    places = [place for s in analysis.sections for place in (s.start, s.body_start, s.end)]
    assert places == sorted(places)
    for section in analysis.sections:
        assert section.title is None or section.title in text[section.start : section.body_start]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="ano .,\n:1é胸", min_size=1, max_size=60), st.data())
def test_any_span_can_be_a_target(small: Engine, text: str, data: st.DataObject) -> None:
    """A target comes back as one finding on exactly its characters, wherever it lies."""
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    findings = small.analyse(Narrative(text), [(start, end)]).findings
    assert {(f.start, f.end) for f in findings} == {(start, end)}


def test_a_target_that_the_lexicon_knows_is_its_concept(small: Engine) -> None:
    """Exactly a term's span is that concept; anything else is the plain target."""
    text = "No pleural effusion."
    known, other = small.analyse(Narrative(text), [(3, 19), (3, 10)]).findings[::-1]
    assert (known.concept.id, other.concept.id) == ("pleural_effusion", "target")


def test_a_target_must_be_a_span_of_the_text() -> None:
    """A span outside the text is refused before anything is read."""
    with pytest.raises(ValueError, match="target"):
        analyse(Narrative("Nodule."), language="en", targets=[(3, 30)])


def test_results_are_the_same_with_and_without_the_cache(build: Callable[..., Engine]) -> None:
    """The cache saves work and changes nothing, also when a sentence stands in another section."""
    text = "INDICATION: Pneumothorax.\nFINDINGS: Pneumothorax. No nodule. No nodule.\nIMPRESSION: Pneumothorax."
    cached = build()
    first = cached.analyse(Narrative(text))
    assert cached.analyse(Narrative(text)) == first
    assert build(cache=False).analyse(Narrative(text)) == first
    assert [f.assertion.value for f in first.findings] == ["hypothetical", "present", "absent", "absent", "present"]


def test_labels_weigh_present_over_possible_over_absent(small: Engine) -> None:
    """A label takes its concept and those below it, from the sections that say what is seen."""
    text = "INDICATION: Effusion.\nFINDINGS: No opacity. Possible atelectasis.\nIMPRESSION: Nodule."
    assert small.analyse(Narrative(text)).labels == {"small": {"Opacity": "possible", "Effusion": None}}


def test_a_normal_statement_says_what_is_absent(small: Engine) -> None:
    """The statement is a finding of its own and denies what it implies."""
    findings = small.analyse(Narrative("The lungs are clear.")).findings
    assert [(f.concept.id, f.assertion.value) for f in findings] == [("lungs_clear", "present"), ("opacity", "absent")]


def test_composed_concepts_are_found_in_either_order(small: Engine) -> None:
    """Predicate and subject make the concept within a clause; its text is the predicate, which cues act on."""
    rows = {
        "The heart is mildly enlarged.": ("enlarged", "present"),
        "Enlargement of the cardiac silhouette.": ("Enlargement", "present"),
        "The heart is not enlarged.": ("enlarged", "absent"),
    }
    for text, said in rows.items():
        (finding,) = small.analyse(Narrative(text)).findings
        assert (finding.concept.id, finding.text, finding.assertion.value) == ("cardiomegaly", *said)
    # another finding between the two, or a clause break, keeps them apart
    for text in ("Heart with effusion, enlarged.", "Normal heart; enlarged spleen."):
        assert "cardiomegaly" not in [f.concept.id for f in small.analyse(Narrative(text)).findings]


def test_terms_fold_case_hyphens_white_space_and_number(small: Engine) -> None:
    """One spelling in the lexicon stands for its variants; cased terms keep their case."""
    for text in ("Ground glass opacities.", "GROUND-GLASS OPACITY", "ground-glass\n  opacity"):
        (finding,) = small.analyse(Narrative(text)).findings
        assert finding.concept.id == "opacity"
    assert [f.text for f in small.analyse(Narrative("PE. Pe pe.")).findings] == ["PE"]


def test_critical_findings_are_those_of_the_lexicon_that_are_asserted(small: Engine) -> None:
    """Actionable is inherited from the parent concept, and an absent finding isn't actionable."""
    findings = small.analyse(Narrative("Tension pneumothorax. No pulmonary embolism. Possible PE. Nodule.")).findings
    assert [f.critical for f in findings] == [True, False, True, False]


def test_sections_of_the_tree_are_kept(small: Engine) -> None:
    """Coded sections bound the text, headings of the text itself stay, and findings know their content item."""
    text = "Nodule.\nNo effusion.\nIMPRESSION: Fracture."
    narrative = Narrative(
        text,
        sections=(Section(SectionName.INDICATION, None, 0, 8, 0), Section(SectionName.FINDINGS, "Findings", 8, 42, 8)),
        segments=(Segment(0, 8, "1.1"), Segment(8, 42, "1.2")),
    )
    findings = small.analyse(narrative).findings
    assert [(f.section.value, f.item_path) for f in findings] == [
        ("indication", "1.1"),
        ("findings", "1.2"),
        ("impression", "1.2"),
    ]


def test_an_empty_narrative_says_nothing(small: Engine) -> None:
    """No text, or white space alone, is an analysis without content."""
    for text in ("", " \n\t "):
        analysis = small.analyse(Narrative(text))
        assert (analysis.sections, analysis.findings, analysis.measurements) == ((), (), ())


def test_the_public_form_is_plain_json() -> None:
    """The keys are those of the public contract, and the same text always gives the same bytes."""
    narrative = Narrative("FINDINGS: A 6 mm nodule in the right upper lobe.")
    lines = [json.dumps(analysis_to_json("x", narrative, analyse(narrative, language="en"))) for _ in range(2)]
    assert lines[0] == lines[1]
    line = json.loads(lines[0])
    statements = ["recommendations", "scores", "communications", "demographics"]
    first = ["id", "language", "text", "sections", "findings", "measurements"]
    assert list(line) == [*first, *statements, "labels", "rules_labels", "model", "warnings"]
    assert line["sections"] == [{"name": "findings", "title": "FINDINGS", "start": 0, "end": 48}]
    (finding,) = [f for f in line["findings"] if f["text"].endswith("nodule")]
    assert finding["pipeline"] == pipeline_name("en")
    assert finding["language"] == "en"


def test_a_finding_is_written_as_any_record_is() -> None:
    """Its fast way to JSON gives what `to_json` gives, every field of the record."""
    text = "Two acute 4 mm infarcts at L4-L5 on the left (series 3, image 7), stable. Mild right ascites. No nodule."
    narrative = Narrative(text, segments=(Segment(0, len(text), "1.1"),))
    analysis = analyse(narrative, language="en")
    more = {"language": "en", "pipeline": analysis.pipeline}
    line = analysis_to_json(None, narrative, analysis)
    assert line["findings"] == [{**to_json(finding), **more} for finding in analysis.findings]


def test_the_pipeline_is_named_by_all_that_can_change_the_answer(build: Callable[..., Engine], folder: Path) -> None:
    """Another rule is another pipeline."""
    digest.cache_clear()
    before = build().pipeline
    with (folder / "context.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    digest.cache_clear()
    after = build().pipeline
    digest.cache_clear()
    assert before.startswith("en-2026.1+")
    assert before != after


@pytest.mark.parametrize(
    "unit",
    ["No nodule in the right upper lobe, ", "Pneumothorax. ", "*", "CT\n", "(", "FINDINGS: x\n", "1 x ", "a", "not "],
)
def test_cost_grows_with_length_alone(small: Engine, unit: str) -> None:
    """Four times the text takes about four times as long, even as one endless sentence."""

    def seconds(length: int) -> float:
        small._reader.read.cache_clear()  # type: ignore[attr-defined]
        started = time.process_time()
        small.analyse(Narrative(unit * (length // len(unit))))
        return time.process_time() - started

    seconds(2_000)
    # the least of three: a machine that is busy with something else only ever adds
    short, long = (min(seconds(length) for _ in range(3)) for length in (15_000, 60_000))
    assert long < 12 * short + 0.2


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("No pleural effusion or pneumothorax. The heart is normal in size. The lungs are clear.", ()),
        ("Kein Pleuraerguss, kein Pneumothorax. Herz normal groß. Lunge frei belüftet, keine Infiltrate.", 1),
        (
            "Pas d'épanchement pleural. Silhouette cardiaque normale. Nodule de 6 mm du lobe supérieur droit.",
            1,
        ),
        ("Kardiomegalie.", ()),  # too short to tell
    ],
)
def test_text_of_another_language_is_told(text: str, warnings: object) -> None:
    """It is read as English where nothing else is known, and an empty answer must not pass for a clean report."""
    assert analyse(Narrative(text), language="en").warnings == (("language_uncertain",) if warnings else ())


def test_no_sentence_looks_at_the_whole_text_again(small: Engine) -> None:
    """Eight times as many sentences take about eight times as long, also where each of them states something."""

    def seconds(sentences: int) -> float:
        started = time.process_time()
        small.analyse(Narrative("CT RECOMMENDED. " * sentences))
        return time.process_time() - started

    seconds(100)
    short, long = (min(seconds(sentences) for _ in range(2)) for sentences in (8_000, 64_000))
    assert long < 16 * short
