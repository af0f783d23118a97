"""A stored object as a Report: everything that extract finds, put together."""

from collections.abc import Sequence
from typing import Any

from dicomnlp.extract.charset import DEFAULT_FALLBACKS, CharacterSets
from dicomnlp.extract.conformity import invalid_values
from dicomnlp.extract.context import contexts_of
from dicomnlp.extract.elements import MAX_INFLATED, DataSet, scan
from dicomnlp.extract.encapsulated import read_document
from dicomnlp.extract.identity import identity_of
from dicomnlp.extract.measurements import statements_of
from dicomnlp.extract.narrative import holds_prose, narrative_of
from dicomnlp.extract.tree import Node, walk
from dicomnlp.extract.values import Reader, items_of
from dicomnlp.model import (
    CodedFinding,
    CodedMeasurement,
    Evidence,
    Identity,
    Narrative,
    Report,
    State,
    StoredObject,
    to_json,
)
from dicomnlp.terms import HL7_MESSAGE_STORAGE

MAX_WARNINGS = 100

_COMPLETION_FLAG = 0x0040A491
_VERIFICATION_FLAG = 0x0040A493
_PRELIMINARY_FLAG = 0x0040A496
_PREDECESSOR_DOCUMENTS = 0x0040A360
_IDENTICAL_DOCUMENTS = 0x0040A525
_VERIFYING_OBSERVERS = 0x0040A073
_VERIFICATION_DATE_TIME = 0x0040A030
_ACCESSION_NUMBER = 0x00080050
_CURRENT_EVIDENCE = 0x0040A375
_PERTINENT_EVIDENCE = 0x0040A385
_REFERENCED_REQUEST = 0x0040A370
_CONTENT_SEQUENCE = 0x0040A730
_DOCUMENT_TITLE = 0x00420010
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_REFERENCED_SERIES = 0x00081115
_REFERENCED_SOP = 0x00081199
_SOP_CLASS = 0x00081150
_SOP_INSTANCE = 0x00081155

_SR_ROOT_TAGS = (_CONTENT_SEQUENCE, 0x0040A043, 0x0040A040, 0x0040A160)
_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."


def extract(
    stored: StoredObject,
    *,
    fallbacks: Sequence[str] = DEFAULT_FALLBACKS,
    character_set: str | None = None,
    max_inflated: int = MAX_INFLATED,
) -> Report:
    """Read a stored object: its identity, text, items, measurements and references.

    Parameters
    ----------
    stored
        The object; only its data, transfer syntax and SOP class are used.
    fallbacks
        Python codecs to choose from where neither the declared character set nor UTF-8 fits, likeliest first.
    character_set
        A defined term of PS3.3 C.12.1.1.2 or a Python codec that holds for all of the object's text, whatever the
        object declares: somebody has looked. None: decided from the object.
    max_inflated
        Bytes that a deflated data set may have once inflated.

    Returns
    -------
    Report
        Its state is PENDING when there is prose to analyse, else NO_TEXT or NEEDS_OCR. What was odd is in `warnings`,
        as stable codes with places and without any value of the object.

    Raises
    ------
    ObjectError
        The object can't be read at all, or not to its end: see `elements.scan` and `cda.read_cda`.
    UsageError
        `character_set` names none.
    """
    scanned = scan(stored.data, stored.transfer_syntax_uid, max_inflated=max_inflated)
    elements = scanned.elements
    warnings = list(dict.fromkeys(scanned.warnings))
    # the header of an HL7 message is ours, and in what it declares
    is_hl7 = stored.sop_class_uid == HL7_MESSAGE_STORAGE
    character_sets = CharacterSets.of(elements, fallbacks, None if is_hl7 else character_set)
    warnings.extend(character_sets.warnings)
    reader = Reader(character_sets, big_endian=scanned.big_endian)
    warnings.extend(invalid_values(elements, reader))
    identity = identity_of(elements, character_sets)
    sop_class_uid = identity.sop_class_uid or stored.sop_class_uid

    evidence = _evidence(elements, reader)
    accession_numbers = _accession_numbers(elements, identity, reader)

    nodes: list[Node] = []
    measurements: tuple[CodedMeasurement, ...] = ()
    findings: tuple[CodedFinding, ...] = ()
    narrative, state, title, language = Narrative(""), State.NO_TEXT, "", ""
    document = read_document(
        elements,
        sop_class_uid,
        big_endian=scanned.big_endian,
        warnings=warnings,
        fallbacks=fallbacks,
        character_set=character_set,
    )
    if document is not None:
        narrative, state, title, language = document[:4]
    elif any(tag in elements for tag in _SR_ROOT_TAGS):
        nodes = walk(elements, reader, warnings)
        studies = {identity.study_instance_uid} | {e.study_instance_uid for e in evidence if e.kind != "pertinent"}
        contexts = contexts_of(nodes, sop_class_uid, studies - {""}, accession_numbers)
        narrative = narrative_of(nodes, contexts, sop_class_uid, warnings)
        state = State.PENDING if narrative.text else State.NO_TEXT
        language = contexts.of[0].language
        has_findings = holds_prose(sop_class_uid, nodes[0].item.concept)
        measurements, findings = statements_of(nodes, contexts, has_findings=has_findings)
    if document is None and _CONTENT_SEQUENCE not in elements and sop_class_uid.startswith(_SR_CLASSES):
        warnings.append("no_content_sequence")
    warnings.extend(
        f"no_{name}"
        for name in ("sop_class_uid", "sop_instance_uid", "study_instance_uid")
        if not getattr(identity, name)
    )

    root_concept = nodes[0].item.concept if nodes else None
    return Report(
        identity=identity,
        narrative=narrative,
        state=state,
        title=(root_concept.meaning if root_concept else "") or reader.text(elements, _DOCUMENT_TITLE).strip() or title,
        document_code=root_concept or reader.code(elements, 0x0040A043),
        completion_flag=reader.word(elements, _COMPLETION_FLAG),
        verification_flag=reader.word(elements, _VERIFICATION_FLAG),
        preliminary_flag=reader.word(elements, _PRELIMINARY_FLAG),
        language=language,
        character_set=(document and document.character_set) or character_sets.summary,
        items=tuple(node.item for node in nodes),
        measurements=measurements,
        coded_findings=findings,
        evidence=tuple(evidence),
        predecessors=_documents(elements, _PREDECESSOR_DOCUMENTS, reader),
        identical_documents=_documents(elements, _IDENTICAL_DOCUMENTS, reader),
        accession_numbers=accession_numbers,
        verification_date_time=max(
            (reader.word(o, _VERIFICATION_DATE_TIME) for o in items_of(elements, _VERIFYING_OBSERVERS)), default=""
        ),
        warnings=_few(warnings),
    )


def _few(warnings: Sequence[str]) -> tuple[str, ...]:
    """Each warning once, and no more than anybody reads: an odd writer earns one for every item."""
    distinct = tuple(dict.fromkeys(warnings))
    return distinct if len(distinct) <= MAX_WARNINGS else (*distinct[:MAX_WARNINGS], "further_warnings")


def _references(elements: DataSet, tag: int, kind: str, reader: Reader) -> list[Evidence]:
    """A hierarchical SOP instance reference (PS3.3 C.17.2.1) made flat; a study without series stands alone."""
    found: list[Evidence] = []
    for study in items_of(elements, tag):
        study_uid = reader.word(study, _STUDY_INSTANCE_UID)
        instances = [
            Evidence(
                study_uid,
                reader.word(series, _SERIES_INSTANCE_UID),
                reader.word(instance, _SOP_CLASS),
                reader.word(instance, _SOP_INSTANCE),
                kind,
            )
            for series in items_of(study, _REFERENCED_SERIES)
            for instance in items_of(series, _REFERENCED_SOP)
        ]
        if not instances and study_uid:
            instances = [Evidence(study_uid, "", "", "", kind)]
        found.extend(instances)
    return found


def _evidence(elements: DataSet, reader: Reader) -> list[Evidence]:
    return [
        *_references(elements, _CURRENT_EVIDENCE, "current", reader),
        *_references(elements, _PERTINENT_EVIDENCE, "pertinent", reader),
        *_references(elements, _REFERENCED_REQUEST, "request", reader),
    ]


def _documents(elements: DataSet, tag: int, reader: Reader) -> tuple[str, ...]:
    """SOP Instance UIDs of the documents that a reference sequence names, each once."""
    references = _references(elements, tag, "document", reader)
    return tuple(dict.fromkeys(e.sop_instance_uid for e in references if e.sop_instance_uid))


def _accession_numbers(elements: DataSet, identity: Identity, reader: Reader) -> tuple[str, ...]:
    """The object's own accession number and those of the requests that it answers (PS3.3 C.17.2, 0040,A370)."""
    requests = (reader.text(r, _ACCESSION_NUMBER).strip() for r in items_of(elements, _REFERENCED_REQUEST))
    return tuple(dict.fromkeys(number for number in (identity.accession_number, *requests) if number))


def report_to_json(report: Report) -> dict[str, Any]:
    """The public form of a report, as ``dicomnlp extract --json`` prints it: identity flat, everything else by name."""
    record: dict[str, Any] = to_json(report)
    narrative = record.pop("narrative")
    return {**record.pop("identity"), **record, **narrative}
