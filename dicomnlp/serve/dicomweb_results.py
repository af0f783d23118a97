"""What a DICOMweb search answers of each study, series and instance (PS3.18 10.6.3.3)."""

from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicomnlp.errors import ObjectError
from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.dicom_json import JsonDataSet, JsonWriter
from dicomnlp.extract.elements import scan
from dicomnlp.serve.dicomweb_query import Query
from dicomnlp.store.database import Database
from dicomnlp.store.dicomweb import ATTRIBUTES, Entity, Level, read_data

ROOT: Final = "/dicom-web"
_OF_LEVEL: Final[dict[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
    ),
    Level.SERIES: ("Modality", "SeriesDescription", "SeriesNumber"),
    Level.INSTANCE: ("InstanceNumber",),
}
"""What is always answered, beside UIDs, numbers and addresses; empty where the header says nothing."""
_IF_THERE: Final[dict[Level, tuple[str, ...]]] = {
    Level.STUDY: ("TimezoneOffsetFromUTC",),
    Level.SERIES: (
        "TimezoneOffsetFromUTC",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    Level.INSTANCE: ("TimezoneOffsetFromUTC", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
}
_OF_ALL: Final[dict[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "IssuerOfPatientID",
        "OtherPatientIDs",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "NameOfPhysiciansReadingStudy",
        "AdmittingDiagnosesDescription",
        "PatientComments",
    ),
    Level.SERIES: tuple(name for name, attribute in ATTRIBUTES.items() if attribute.level is Level.SERIES),
    Level.INSTANCE: (
        *(name for name, attribute in ATTRIBUTES.items() if attribute.level is Level.INSTANCE),
        "CompletionFlag",
        "VerificationFlag",
        "DocumentTitle",
        "MIMETypeOfEncapsulatedDocument",
    ),
}
"""What `includefield=all` adds, where the header has it."""


def _tags(*keywords: str) -> set[int]:
    return {int(tag) for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}


def result(database: Database, base: str, level: Level, entity: Entity, query: Query, above: Level) -> JsonDataSet:
    """One result in the DICOM JSON Model.

    Parameters
    ----------
    base
        Address of the service, without a slash at the end.
    level
        Of `entity`.
    above
        The lowest level that the path doesn't fix: of this and what is below it the attributes are answered.
    """
    levels = [each for each in Level if above <= each <= level]
    always = _tags(*(name for each in levels for name in _OF_LEVEL[each]))
    wanted = always | query.included | _tags(*(name for each in levels for name in _IF_THERE[each]))
    if query.includes_all:
        wanted |= _tags(*(name for each in levels for name in _OF_ALL[each]))
    found = _of_report(database, entity, wanted) if entity.report else _of_image(entity, wanted)
    for tag in always:
        found.setdefault(f"{tag:08X}", {"vr": dictionary_VR(tag)})
    own = _own(base, level, entity)
    return dict(sorted((found | own).items()))


def _of_report(database: Database, entity: Entity, wanted: set[int]) -> JsonDataSet:
    assert entity.report is not None
    try:
        data = read_data(database, entity.report)
        found = scan(data, entity.report.transfer_syntax_uid, nested=False)
    except ObjectError:  # its file is gone: what the tables know is still true
        return _of_image(entity, wanted)
    writer = JsonWriter(CharacterSets.of(found.elements), big_endian=found.big_endian)
    return writer.write(found.elements, wanted)


def _of_image(entity: Entity, wanted: set[int]) -> JsonDataSet:
    found: JsonDataSet = {}
    for keyword, text in entity.values.items():
        attribute = ATTRIBUTES[keyword]
        if attribute.tag not in wanted or not text:
            continue
        value: Any = int(text) if attribute.vr == "IS" and text.removeprefix("-").isdecimal() else text
        found[f"{attribute.tag:08X}"] = {"vr": attribute.vr, "Value": [value]}
    return found


def _own(base: str, level: Level, entity: Entity) -> JsonDataSet:
    """What isn't read from a header: UIDs, what is counted, addresses."""
    found: JsonDataSet = {"0020000D": _value("UI", entity.study_instance_uid)}
    if level >= Level.SERIES:
        found["0020000E"] = _value("UI", entity.series_instance_uid)
    if level is Level.INSTANCE:
        found["00080018"] = _value("UI", entity.sop_instance_uid)
        found["00080016"] = _value("UI", entity.values["SOPClassUID"])
        # of images the header is all there is
        found["00080056"] = _value("CS", "ONLINE" if entity.report else "UNAVAILABLE")
    if level is Level.STUDY:
        # as available as the least available of its instances
        found["00080056"] = _value("CS", "ONLINE" if entity.reports == entity.instances else "UNAVAILABLE")
        found["00080061"] = _values("CS", entity.modalities)
        found["00201206"] = _value("IS", entity.series)
        found["00201208"] = _value("IS", entity.instances)
    if level is Level.SERIES:
        found["00201209"] = _value("IS", entity.instances)
    if entity.reports:
        found["00081190"] = _value("UR", address(base, entity, level))
    return found


def address(base: str, entity: Entity, level: Level) -> str:
    """Where the originals of an entity are retrieved."""
    parts = [f"{base}{ROOT}/studies/{entity.study_instance_uid}"]
    if level >= Level.SERIES and entity.series_instance_uid:
        parts.append(f"series/{entity.series_instance_uid}")
        if level is Level.INSTANCE:
            parts.append(f"instances/{entity.sop_instance_uid}")
    return "/".join(parts)


def _value(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}


def _values(vr: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}
