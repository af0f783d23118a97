"""One object's way: an outcome for whatever comes, and never an exception."""

import io
import pickle
from dataclasses import replace

import pydicom
import pytest
import structlog
from pydicom.dataset import Dataset
from support.service import make_report

from dicomnlp.analyse import analyse, pipeline_name
from dicomnlp.model import Assertion, State, StoredObject
from dicomnlp.work import process as module
from dicomnlp.work.process import Reading, process

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
CANARY = "Wolpertinger"
FALLBACKS = ("gb18030", "latin_1")


def make_stored(object_id, dataset):
    """`dataset` as the store hands it out."""
    buffer = io.BytesIO()
    del dataset.file_meta
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    return StoredObject(
        object_id, dataset.SOPInstanceUID, dataset.SOPClassUID, EXPLICIT_LITTLE_ENDIAN, buffer.getvalue()
    )


def test_report_is_analysed_and_each_finding_knows_its_content_item():
    """Findings carry the path of the content item that their words stand in."""
    stored = make_stored(7, make_report(7, "FINDINGS: A 6 mm nodule in the right upper lobe. No pleural effusion."))
    [result] = process([stored], FALLBACKS, "en")
    assert (result.object_id, result.state, result.reason_code) == (7, State.ANALYSED, None)
    assert result.pipeline == result.analysis.pipeline == pipeline_name("en")
    found = {f.concept.id: f for f in result.analysis.findings}
    assert found["pleural_effusion"].assertion is Assertion.ABSENT
    paths = {item.path for item in result.report.items}
    for finding in result.analysis.findings:
        assert result.report.narrative.text[finding.start : finding.end] == finding.text
        assert finding.item_path in paths


def test_passage_in_a_language_without_pack_is_named_and_not_read_as_the_report_s():
    """TID 1204: the content item declares it; what surrounds it is read."""
    dataset = make_report(8, "FINDINGS: No pleural effusion.")
    passage, language = Dataset(), Dataset()
    passage.RelationshipType, passage.ValueType, passage.TextValue = "CONTAINS", "TEXT", "A nodule in the lung."
    passage.ConceptNameCodeSequence = dataset.ContentSequence[0].ConceptNameCodeSequence
    language.RelationshipType, language.ValueType = "HAS CONCEPT MOD", "CODE"
    for sequence, (value, scheme) in {
        "ConceptNameCodeSequence": ("121049", "DCM"),
        "ConceptCodeSequence": ("tlh", "RFC5646"),
    }.items():
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, "x"
        setattr(language, sequence, [code])
    passage.ContentSequence = [language]
    dataset.ContentSequence.append(passage)
    [result] = process([make_stored(8, dataset)], FALLBACKS, "en")
    assert [(f.concept.id, f.language) for f in result.analysis.findings] == [("pleural_effusion", "en")]
    assert result.analysis.warnings == ("language_not_supported at 1.2",)


def test_object_without_text_is_filed_under_the_default_pipeline():
    """So that it too is outdated when the pipeline changes."""
    dataset = make_report(1, "")
    dataset.ContentSequence = []
    [result] = process([make_stored(1, dataset)], FALLBACKS, "en")
    assert (result.state, result.pipeline, result.analysis) == (State.NO_TEXT, pipeline_name("en"), None)
    assert result.report.identity.study_instance_uid == dataset.StudyInstanceUID


def test_declared_language_without_a_pack_fails_with_its_own_reason(monkeypatch):
    """The report can be read, but nobody knows its language."""
    stored = make_stored(1, make_report(1, "Kein Erguss."))
    [read] = process([stored], FALLBACKS, "en")
    monkeypatch.setattr(module, "analyse", lambda narrative, *, language, **_: analyse_as(narrative, language or "xx"))
    [result] = process([stored], FALLBACKS, "en")
    assert read.state is State.ANALYSED
    assert (result.state, result.reason_code) == (State.FAILED, "language_not_supported")
    assert result.pipeline == pipeline_name("en")


def analyse_as(narrative, language):
    """The real analysis, with the language declared."""
    from dicomnlp.analyse import analyse

    return analyse(narrative, language=language)


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, CANARY.encode(), b"\x08\x00\x18\x00UI\xff\xff1.2"])
def test_object_that_cannot_be_read_fails_with_a_reason_and_harms_no_other(data):
    """Bytes that aren't a data set end as failed; the objects beside them don't notice."""
    good = make_stored(2, make_report(2, "No pneumothorax."))
    broken = StoredObject(1, "1.2.3", good.sop_class_uid, EXPLICIT_LITTLE_ENDIAN, data)
    first, second, third = process([good, broken, good], FALLBACKS, "en")
    assert (second.object_id, second.state) == (1, State.FAILED)
    assert second.reason_code not in (None, "internal_error")
    assert first.state is third.state is State.ANALYSED


@pytest.mark.parametrize("error", [ValueError(CANARY), RecursionError(CANARY), KeyError(CANARY)])
def test_crash_fails_the_object_and_logs_its_place_without_its_words(monkeypatch, capsys, error):
    """An exception nobody expects is this object's outcome; its message may quote the report."""

    def crash(stored, *, fallbacks, character_set):
        raise error

    monkeypatch.setattr(module, "extract", crash)
    with structlog.testing.capture_logs() as lines:
        [result] = process([StoredObject(3, "1.2.3", "1.2", "1.2", CANARY.encode())], FALLBACKS, "en")
    assert (result.state, result.reason_code) == (State.FAILED, "internal_error")
    [line] = lines
    assert line["error_type"].endswith(type(error).__name__)
    assert "test_process.py" in line["place"]
    assert CANARY not in repr(lines) + "".join(capsys.readouterr())


def test_full_memory_is_not_blamed_on_the_object_that_meets_it(monkeypatch):
    """Others may have filled it; the worker ends itself, and the object is tried alone."""

    def crash(stored, *, fallbacks, character_set):
        raise MemoryError

    monkeypatch.setattr(module, "extract", crash)
    with pytest.raises(MemoryError):
        process([StoredObject(3, "1.2.3", "1.2", "1.2", b"")], FALLBACKS, "en")


def test_results_survive_the_way_between_processes():
    """Everything in an outcome can be pickled and is equal afterwards."""
    results = process([make_stored(1, make_report(1, "Nodule of 8 mm. No effusion."))], FALLBACKS, "en")
    assert pickle.loads(pickle.dumps(results)) == results


def test_character_set_is_guessed_by_what_the_sender_is_known_to_send():
    """The same bytes without a declaration: Central European from one sender, Western from another."""
    dataset = make_report(1, "FINDINGS: Stan po zabiegu, XXX.")
    dataset.pop("SpecificCharacterSet", None)
    stored = make_stored(1, dataset)
    # z with dot, c with acute, l with stroke in cp1250; as cp1252 they are other letters
    data = stored.data.replace(b"XXX", "¿æ³".encode("cp1252"))
    by_ae_title = {"POLAND": Reading(("cp1250",), "en"), "FRANCE": Reading(("cp1252",), "en")}
    texts = {}
    for title in ("POLAND", " POLAND ", "FRANCE"):
        sent = replace(stored, data=data, calling_ae_title=title)
        [result] = process([sent], FALLBACKS, "en", by_ae_title)
        texts[title] = (result.report.narrative.text[-4:], result.report.character_set.used)
    assert texts == {"POLAND": ("żćł.", "cp1250"), " POLAND ": ("żćł.", "cp1250"), "FRANCE": ("¿æ³.", "cp1252")}


def test_a_sender_s_language_decides_where_the_text_does_not(monkeypatch):
    """A star is any sender that isn't named; an import has none, and is read as the site says."""
    asked = []

    def note(narrative, *, language, default_language):
        asked.append(default_language)
        return analyse(narrative, language=language, default_language="en")

    monkeypatch.setattr(module, "analyse", note)
    monkeypatch.setattr(module, "pipeline_name", lambda language: language)
    stored = make_stored(1, make_report(1, "No pleural effusion."))
    by_ae_title = {"PEKING": Reading(FALLBACKS, "zh"), "*": Reading(FALLBACKS, "fr")}
    process([replace(stored, calling_ae_title=title) for title in ("PEKING", "X", "")], FALLBACKS, "en", by_ae_title)
    assert asked == ["zh", "fr", "en"]
