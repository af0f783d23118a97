"""Images of studies that are forwarded whole: their headers are kept, their pixel data passes by.

A sender whose `images` setting is "index" may send them; it is told success when the header is durable.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom.presentation import AllStoragePresentationContexts

from dicomnlp.errors import ObjectError
from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.conformity import date_of, time_of
from dicomnlp.extract.identity import IDENTITY_TAGS, identity_of
from dicomnlp.extract.stream import HeaderReader
from dicomnlp.model import ImageHeader
from dicomnlp.receive.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES

_PIXELS_BUT_NO_IMAGE_IN_THE_NAME: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US Volume
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.77.1.5.8",  # Ophthalmic OCT B-scan Volume Analysis
        "1.2.840.10008.5.1.4.1.1.81.1",  # Ophthalmic Thickness Map
        "1.2.840.10008.5.1.4.1.1.82.1",  # Corneal Topography Map
        "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
        "1.2.840.10008.5.1.4.1.1.4.2",  # MR Spectroscopy: spectra in place of pixels, a series like any other
    }
)
_UNNAMED: Final = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
"""Newer than the dictionary's names."""
_RETIRED: Final = {
    "1.2.840.10008.5.1.4.1.1.3": "Ultrasound Multi-frame Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.5": "Nuclear Medicine Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.6": "Ultrasound Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.12.3": "X-Ray Angiographic Bi-Plane Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.77.1": "VL Image Storage - Trial (Retired)",
    "1.2.840.10008.5.1.4.1.1.77.2": "VL Multi-frame Image Storage - Trial (Retired)",
}
"""Archives still hold them."""


def _image_sop_classes() -> dict[str, str]:
    known = {
        str(context.abstract_syntax): UID(str(context.abstract_syntax)).name
        for context in AllStoragePresentationContexts
    }
    found = {
        uid: name for uid, name in known.items() if "Image Storage" in name or uid in _PIXELS_BUT_NO_IMAGE_IN_THE_NAME
    }
    found |= {uid: name for uid, name in _UNNAMED.items() if uid in known}
    return dict(sorted((found | _RETIRED).items(), key=lambda item: [int(part) for part in item[0].split(".")]))


IMAGE_SOP_CLASSES: Final[dict[str, str]] = {
    uid: name for uid, name in _image_sop_classes().items() if uid not in STORAGE_SOP_CLASSES
}
"""SOP classes of images that the libraries' dictionaries know, with their names."""

_STREAMING: Final = "1.2.840.10008.1.2.7."
"""SMPTE ST 2110: for real-time video, never stored (PS3.5 A.8)."""

IMAGE_TRANSFER_SYNTAXES: Final[dict[str, str]] = TRANSFER_SYNTAXES | {
    str(uid): uid.name
    for uid in AllTransferSyntaxes
    if str(uid) not in TRANSFER_SYNTAXES and not str(uid).startswith(_STREAMING)
}
"""In order of preference. Pixel data isn't looked at, so no compression is foreign."""

IMAGE_TAGS: Final[dict[str, int]] = {
    "laterality": 0x00200060,
    "image_laterality": 0x00200062,
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "number_of_frames": 0x00280008,
    "series_date": 0x00080021,
    "series_time": 0x00080031,
    "acquisition_date": 0x00080022,
    "acquisition_time": 0x00080032,
    "protocol_name": 0x00181030,
}
"""Field of `ImageHeader` -> tag (PS3.6), beside those of its identity."""

_FRAME_LATERALITY: Final = tuple(
    # Shared, and Per-Frame, Functional Groups Sequence; Frame Anatomy Sequence; Frame Laterality
    (groups, 0x00209071, 0x00209072)
    for groups in (0x52009229, 0x52009230)
)
"""Where enhanced multi-frame objects tell the side of their frames (PS3.3 C.7.6.16.2.8)."""

_SPECIFIC_CHARACTER_SET: Final = 0x00080005


class ImageStream:
    """The data set of an image as it comes in: hashed, its header read, and let go.

    Parameters
    ----------
    transfer_syntax_uid
        What it is said to be encoded in.
    maximum_header_bytes
        Bytes that all that isn't pixel data may have.
    """

    def __init__(self, transfer_syntax_uid: str, *, maximum_header_bytes: int) -> None:
        tags = {_SPECIFIC_CHARACTER_SET, *IDENTITY_TAGS.values(), *IMAGE_TAGS.values()}
        self._reader = HeaderReader(
            transfer_syntax_uid, tags, maximum_header_bytes=maximum_header_bytes, nested=_FRAME_LATERALITY
        )
        self._hash = hashlib.sha256()
        self._error: ObjectError | None = None
        self.size = 0
        """Bytes so far."""

    @property
    def sha256(self) -> str:
        """Of the bytes so far, hexadecimal."""
        return self._hash.hexdigest()

    def feed(self, fragment: bytes | memoryview) -> None:
        """Take the next bytes. What is wrong with them is said by `header`, so that the sender is heard to the end."""
        self.size += len(fragment)
        self._hash.update(fragment)
        if self._error is None:
            try:
                self._reader.feed(fragment)
            except ObjectError as error:
                self._error = error

    def header(self) -> ImageHeader:
        """What the header says, when all bytes have come.

        Raises
        ------
        ObjectError
            As `HeaderReader` raises it.
        """
        if self._error is not None:
            raise self._error
        elements = self._reader.finish()
        values = [element.value for element in elements.values()]
        character_sets = None if b"".join(values).isascii() else CharacterSets.of(elements)
        fields: dict[str, str] = {}
        for name, tag in IMAGE_TAGS.items():
            element = elements.get(tag)
            if element is None or not element.value:
                continue
            raw = element.value
            text = raw.decode("ascii", "replace") if character_sets is None else character_sets.decode(raw)
            text = "".join(c for c in text.split("\\", 1)[0] if c.isprintable()).strip()
            if name.endswith("_date"):
                text = date_of(text)
            elif name.endswith("_time"):
                text = time_of(text)
            fields[name] = text
        if not fields.get("image_laterality"):
            fields["image_laterality"] = _side_of_frames(
                value for path in _FRAME_LATERALITY for value in self._reader.nested_values(path)
            )
        return ImageHeader(identity=identity_of(elements, character_sets), sha256=self.sha256, size=self.size, **fields)


def _side_of_frames(values: Iterable[bytes]) -> str:
    """Image Laterality of all frames together, by the Frame Laterality of each; "" where they have no side in common.

    Frames of either side make an image of both; between a side and an unpaired part of the body there is no term.
    """
    sides = {value.decode("ascii", "replace").strip(" \0") for value in values} & {"R", "L", "U", "B"}
    if len(sides) > 1:
        return "" if "U" in sides else "B"
    return next(iter(sides), "")
