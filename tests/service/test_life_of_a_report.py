"""The life of a report from outside: by C-STORE in, by HTTP and the command line out."""

import datetime as dt
import itertools
import json

import pytest
from pydicom.dataset import Dataset
from support.service import ROOT_UID, make_report

pytestmark = pytest.mark.service

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


def of_study(study, number, text, **attributes):
    """A report of the study, with one accession number for all."""
    report = make_report(number, text, study=study)
    report.AccessionNumber = f"A{study}"
    for name, value in attributes.items():
        setattr(report, name, value)
    return report


def reference(report, *, series=True):
    """A reference to a report by study, series and instance (PS3.3 C.17.2.1)."""
    study, of_series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = report.SOPClassUID, report.SOPInstanceUID
    of_series.SeriesInstanceUID, of_series.ReferencedSOPSequence = report.SeriesInstanceUID, [instance]
    study.StudyInstanceUID = report.StudyInstanceUID
    if series:
        study.ReferencedSeriesSequence = [of_series]
    return study


def title(value, scheme, meaning):
    """A document title."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return [code]


def rejection(study, number, rejected):
    """A rejection note (IHE IOCM) of the study."""
    note = of_study(study, number, "", SOPClassUID=KEY_OBJECT_SELECTION, Modality="KO")
    note.file_meta.MediaStorageSOPClassUID = KEY_OBJECT_SELECTION
    note.ConceptNameCodeSequence = title("113001", "DCM", "Rejected for Quality Reasons")
    note.CurrentRequestedProcedureEvidenceSequence = [reference(rejected)]
    item, instance = Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = rejected.SOPClassUID, rejected.SOPInstanceUID
    item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = "CONTAINS", "COMPOSITE", [instance]
    note.ContentSequence = [item]
    return note


def concepts(service, study, *options):
    """Concepts of the findings that the command line tells, which are those of HTTP."""
    uid = f"{ROOT_UID}.1.{study}"
    told = json.loads(service.told("findings", uid, *options, "--json"))
    if not options:
        assert json.loads(service.get(f"/api/v1/studies/{uid}/findings")[1])["findings"] == told
    return sorted(f["concept"]["id"] for f in told)


def test_chain_by_c_store_ends_the_same_first_to_last_and_last_to_first(service):
    """Preliminary, final, addendum and a note that rejects a further report, with what was known between."""
    ended, moments = [], []
    for study, backwards in ((41, False), (42, True)):
        n = study * 10
        preliminary = of_study(study, n + 1, "There is a pneumothorax.", PreliminaryFlag="PRELIMINARY")
        final = of_study(study, n + 2, "Left pleural effusion.", PreliminaryFlag="FINAL")
        addendum = of_study(study, n + 3, "There is a rib fracture.")
        addendum.ConceptNameCodeSequence = title("55107-7", "LN", "Addendum Document")
        addendum.PredecessorDocumentsSequence = [reference(final)]
        wrong = of_study(study, n + 4, "There is cardiomegaly.")
        chain = [preliminary, final, addendum, wrong, rejection(study, n + 5, wrong)]
        for report in reversed(chain) if backwards else chain:
            assert service.send([report]) == [0x0000]
            service.wait_until_analysed()
            moments.append(dt.datetime.now(dt.UTC).isoformat())
        ended.append(concepts(service, study))
    assert ended[0] == ended[1]
    assert "pneumothorax" not in ended[0]
    assert "cardiomegaly" not in ended[0]
    assert "pleural_effusion" in ended[0]
    assert concepts(service, 41, "--as-of", moments[0]) == ["pneumothorax"]
    assert "cardiomegaly" in concepts(service, 41, "--as-of", moments[3])
    assert {"pneumothorax", "cardiomegaly"} <= set(concepts(service, 41, "--all-versions"))
    path = f"/api/v1/studies/{ROOT_UID}.1.41/findings?as_of={moments[0].replace('+', '%2B')}"
    assert [f["concept"]["id"] for f in json.loads(service.get(path)[1])["findings"]] == ["pneumothorax"]
    told = json.loads(service.told("report", f"{ROOT_UID}.3.411", "--changes", "--json"))
    assert told == json.loads(service.get(f"/api/v1/reports/{ROOT_UID}.3.412/changes")[1])
    assert [f["concept"]["id"] for f in told["gone"]] == ["pneumothorax"]
    assert told["earlier"]["sop_instance_uid"] == f"{ROOT_UID}.3.411"
    assert "superseded" in service.told("report", f"{ROOT_UID}.3.411")
    assert "pleural" in service.told("report", f"{ROOT_UID}.3.412", "--changes").lower()


def test_chain_sent_in_all_24_orders_ends_in_the_same_findings(service):
    """A preliminary, a final, its addendum and a note that rejects the final: each order in a study of its own."""
    ended = {}
    for study, order in enumerate(itertools.permutations(range(4)), 100):
        n = study * 10
        preliminary = of_study(study, n + 1, "There is a pneumothorax.", PreliminaryFlag="PRELIMINARY")
        final = of_study(study, n + 2, "Left pleural effusion.", PreliminaryFlag="FINAL")
        addendum = of_study(study, n + 3, "There is a rib fracture.")
        addendum.ConceptNameCodeSequence = title("55107-7", "LN", "Addendum Document")
        addendum.PredecessorDocumentsSequence = [reference(final)]
        chain = [preliminary, final, addendum, rejection(study, n + 4, final)]
        assert service.send([chain[place] for place in order]) == [0x0000] * 4
        ended[order] = study
    service.wait_until_analysed()
    found = set()
    for study in ended.values():
        body = json.loads(service.get(f"/api/v1/studies/{ROOT_UID}.1.{study}/findings")[1])
        found.add(tuple(sorted((f["concept"]["id"], f["assertion"], f["status"]) for f in body["findings"])))
    assert len(ended) == 24
    [same] = found
    concepts_found = {concept for concept, _assertion, _status in same}
    assert "pneumothorax" in concepts_found  # the final is withdrawn, so the preliminary report counts again
    assert "pleural_effusion" not in concepts_found


def test_object_without_a_study_is_assigned_and_taken_back(service):
    """Listed with what tells where it belongs; processed by the running service."""
    homeless = of_study(43, 431, "There is a pneumothorax.")
    del homeless.StudyInstanceUID
    assert service.send([of_study(43, 432, "Left pleural effusion."), homeless]) == [0x0000, 0xC000]
    service.wait_until_analysed()
    study = f"{ROOT_UID}.1.43"
    [listed] = [json.loads(line) for line in service.told("quarantine", "--json").splitlines()]
    assert (listed["sop_instance_uid"], listed["candidate_studies"]) == (homeless.SOPInstanceUID, [study])
    assert "A43" in service.told("quarantine").replace("\n", "")
    service.told("assign", homeless.SOPInstanceUID, study)
    service.wait_until_analysed()
    assert concepts(service, 43) == ["pleural_effusion", "pneumothorax"]
    service.told("assign", homeless.SOPInstanceUID, "--undo")
    assert concepts(service, 43) == ["pleural_effusion"]
    again = service.command("assign", homeless.SOPInstanceUID, "--undo")
    assert (again.returncode, "assigned" in again.stderr) == (1, True)
    for arguments in ((homeless.SOPInstanceUID,), (homeless.SOPInstanceUID, study, "--undo"), ("Doe", study)):
        assert service.command("assign", *arguments).returncode == 2


def test_merge_of_patients_by_command(service):
    """A preliminary report under another number; nothing of it in the log."""
    emergency = of_study(44, 441, "There is a pneumothorax.", PreliminaryFlag="PRELIMINARY", PatientID="QQ-771")
    own = of_study(44, 442, "Left pleural effusion.", PreliminaryFlag="FINAL", PatientID="QQ-772")
    service.send([emergency, own])
    service.wait_until_analysed()
    assert concepts(service, 44) == ["pleural_effusion", "pneumothorax"]
    service.told("patients", "merge", "QQ-771", "QQ-772")
    assert concepts(service, 44) == ["pleural_effusion"]
    shown = json.loads(service.told("patients", "show", "QQ-771", "--json"))
    assert (shown["patient_id"], shown["other_patient_ids"]) == ("QQ-772", ["QQ-771"])
    assert "current: QQ-772" in service.told("patients", "show", "QQ-771")
    refused = service.command("patients", "merge", "QQ-771", "QQ-773")
    assert (refused.returncode, "QQ-" in refused.stderr) == (2, False)
    service.told("patients", "unmerge", "QQ-771", "QQ-772")
    assert concepts(service, 44) == ["pleural_effusion", "pneumothorax"]
    assert "QQ-77" not in service.stderr.read_text()


def test_character_set_is_stated_and_taken_back(service):
    """Bytes of Latin-2 declared as Latin-1, which no reader can tell from it; by the running service."""
    text = "There is a pneumothorax. Compared with the examination of Łódź."
    report = of_study(45, 451, text.encode("iso8859_2").decode("iso8859_1"), SpecificCharacterSet="ISO_IR 100")
    assert service.send([report]) == [0x0000]
    service.wait_until_analysed()

    def read():
        [found] = json.loads(service.get(f"/api/v1/reports/{report.SOPInstanceUID}")[1])["reports"]
        return text in found["text"], found["character_set_override"]

    def reprocess(*arguments):
        service.told("reprocess", *arguments)
        return read()

    assert read() == (False, None)
    assert reprocess(report.SOPInstanceUID, "--character-set", "ISO_IR 101") == (True, "ISO_IR 101")
    # also when it is read again for another reason
    assert reprocess(report.StudyInstanceUID) == (True, "ISO_IR 101")
    assert reprocess(report.SOPInstanceUID, "--character-set", "declared") == (False, None)
    for arguments in (("--all", "--character-set", "cp1251"), (report.SOPInstanceUID, "--character-set", "no such")):
        assert service.command("reprocess", *arguments).returncode == 2
