"""What the Storage SCP offers in association negotiation: SOP classes and transfer syntaxes.

These tables decide, with `listener.private_sop_classes`: negotiation, intake's checks and docs/conformance.md are made
from them.
"""

from typing import Final

APPLICATION_CONTEXT_NAME: Final = "1.2.840.10008.3.1.1.1"
"""DICOM application context (PS3.7 A.2.1)."""

MAXIMUM_LENGTH_RECEIVED: Final = 131072
"""Bytes of the variable field of a P-DATA-TF PDU that a sender may use (PS3.8 D.1)."""

VERIFICATION_SOP_CLASS: Final = "1.2.840.10008.1.1"

STORAGE_COMMITMENT_SOP_CLASS: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model (PS3.4 J.3)."""
STORAGE_COMMITMENT_SOP_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Its well-known instance (PS3.4 J.3.5)."""

STRUCTURED_REPORT_SOP_CLASSES: Final[dict[str, str]] = {
    "1.2.840.10008.5.1.4.1.1.88.1": "Text SR Storage - Trial (retired)",
    "1.2.840.10008.5.1.4.1.1.88.2": "Audio SR Storage - Trial (retired)",
    "1.2.840.10008.5.1.4.1.1.88.3": "Detail SR Storage - Trial (retired)",
    "1.2.840.10008.5.1.4.1.1.88.4": "Comprehensive SR Storage - Trial (retired)",
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.35": "Extensible SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.40": "Procedure Log Storage",
    "1.2.840.10008.5.1.4.1.1.88.50": "Mammography CAD SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection Document Storage",
    "1.2.840.10008.5.1.4.1.1.88.65": "Chest CAD SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.67": "X-Ray Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.68": "Radiopharmaceutical Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.69": "Colon CAD SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.70": "Implantation Plan SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.71": "Acquisition Context SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.72": "Simplified Adult Echo SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.73": "Patient Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.74": "Planned Imaging Agent Administration SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.75": "Performed Imaging Agent Administration SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.76": "Enhanced X-Ray Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.77": "Waveform Annotation SR Storage",
}
"""SOP classes with an SR content tree (PS3.4 B.5), the trial ones included: archives still send them."""

OTHER_REPORT_SOP_CLASSES: Final[dict[str, str]] = {
    "1.2.840.10008.5.1.4.1.1.78.7": "Ophthalmic Axial Measurements Storage",
    "1.2.840.10008.5.1.4.1.1.78.8": "Intraocular Lens Calculations Storage",
    "1.2.840.10008.5.1.4.1.1.79.1": "Macular Grid Thickness and Volume Report Storage",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF Storage",
    "1.2.840.10008.5.1.4.1.1.104.2": "Encapsulated CDA Storage",
    "1.2.840.10008.5.1.4.1.1.104.3": "Encapsulated STL Storage",
    "1.2.840.10008.5.1.4.1.1.104.4": "Encapsulated OBJ Storage",
    "1.2.840.10008.5.1.4.1.1.104.5": "Encapsulated MTL Storage",
}
"""Reports in other forms; the three model classes are taken so that a study's whole document set is accounted for."""

STORAGE_SOP_CLASSES: Final[dict[str, str]] = {**STRUCTURED_REPORT_SOP_CLASSES, **OTHER_REPORT_SOP_CLASSES}

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

TRANSFER_SYNTAXES: Final[dict[str, str]] = {
    EXPLICIT_VR_LITTLE_ENDIAN: "Explicit VR Little Endian",
    IMPLICIT_VR_LITTLE_ENDIAN: "Implicit VR Little Endian",
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: "Deflated Explicit VR Little Endian",
    EXPLICIT_VR_BIG_ENDIAN: "Explicit VR Big Endian (retired)",
}
"""In order of preference: the first of these that a presentation context proposes is chosen.

Explicit VR comes first because private and unknown elements keep their value representation only there.
"""
