"""What an object's header says of itself: the few elements that link it to a study and a patient."""

from collections.abc import Callable, Mapping
from typing import Final

from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.conformity import date_of, time_of
from dicomnlp.extract.elements import MAX_INFLATED, DataSet, scan, scan_readable_part
from dicomnlp.extract.plain_header import values_of_plain
from dicomnlp.model import Identity

IDENTITY_TAGS: dict[str, int] = {
    "sop_class_uid": 0x00080016,
    "sop_instance_uid": 0x00080018,
    "study_instance_uid": 0x0020000D,
    "series_instance_uid": 0x0020000E,
    "patient_id": 0x00100020,
    "issuer_of_patient_id": 0x00100021,
    "patient_birth_date": 0x00100030,
    "patient_sex": 0x00100040,
    "accession_number": 0x00080050,
    "modality": 0x00080060,
    "study_date": 0x00080020,
    "study_time": 0x00080030,
    "content_date": 0x00080023,
    "content_time": 0x00080033,
    "study_description": 0x00081030,
    "series_description": 0x0008103E,
    "institution_name": 0x00080080,
    "station_name": 0x00081010,
    "manufacturer": 0x00080070,
    "body_part_examined": 0x00180015,
}
"""Field of `Identity` -> tag (PS3.6)."""

_READERS: Final[dict[int, tuple[str, Callable[[str], str] | None]]] = {
    tag: (name, date_of if name.endswith("_date") else time_of if name.endswith("_time") else None)
    for name, tag in IDENTITY_TAGS.items()
}


def read_identity(data: bytes, transfer_syntax_uid: str, *, max_inflated: int = MAX_INFLATED) -> Identity:
    """Read an object's identity, walking its top level to the end so that a cut object is not taken for a whole one.

    Sequences of defined length are stepped over where they can't be nested too deep: this runs for every object while
    its sender waits.

    Parameters
    ----------
    data
        The encoded data set, without file meta information.
    transfer_syntax_uid
        What it is encoded in.
    max_inflated
        Bytes that a deflated data set may have once inflated.

    Raises
    ------
    ObjectError
        `UnreadableObjectError` or `ObjectTooLargeError`, as `elements.scan` raises them.
    """
    values = values_of_plain(data, transfer_syntax_uid, _READERS)
    if values is not None and b"".join(values.values()).isascii():
        return _identity(values, None)
    return _read(scan(data, transfer_syntax_uid, nested=False, max_inflated=max_inflated).elements)


def identity_of_damaged(data: bytes, transfer_syntax_uid: str) -> Identity:
    """What can still be read of the identity of an object that can't be read: for error messages, never for filing."""
    return _read(scan_readable_part(data, transfer_syntax_uid))


def identity_of(elements: DataSet, character_sets: CharacterSets | None) -> Identity:
    """The identity in scanned `elements`; `character_sets` None says that all of it is ASCII."""
    return _identity({tag: elements[tag].value for tag in _READERS if tag in elements}, character_sets)


def _read(elements: DataSet) -> Identity:
    values = [elements[tag].value for tag in _READERS if tag in elements]
    if b"".join(values).isascii():
        return identity_of(elements, None)
    # what stands elsewhere in the object isn't looked at here, so a guess may differ from the one of `extract`
    head = {tag: elements[tag] for tag in (0x00080005, *_READERS) if tag in elements}
    return identity_of(elements, CharacterSets.of(head))


def _identity(values: Mapping[int, bytes], character_sets: CharacterSets | None) -> Identity:
    """The identity in encoded values by tag; `character_sets` None says that all of them are ASCII."""
    fields: dict[str, str] = {}
    for tag, value in values.items():
        if not value:
            continue
        name, read = _READERS[tag]
        text = value.decode("ascii", "replace") if character_sets is None else character_sets.decode(value)
        # NUL pads a UID; of several values the first identifies, and control characters are nobody's identity
        text = text.rstrip("\0")
        if "\\" in text or not text.isprintable():
            text = "".join(c for c in text.split("\\", 1)[0] if c.isprintable())
        text = text.strip()
        fields[name] = read(text) if read else text
    return Identity(**fields)
