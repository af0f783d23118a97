"""Examples of DICOMweb for the OpenAPI document."""

from typing import Any, Final

from dicomnlp.serve.dicomweb_results import ROOT
from dicomnlp.serve.schemas import SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dicomnlp.store.dicomweb import Level

_SERIES_INSTANCE_UID = "1.2.826.0.1.3680043.8.498.4"
_BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
_ADDRESS = f"http://127.0.0.1:8080{ROOT}/studies/{STUDY_INSTANCE_UID}"


def _value(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


_REFERENCE = {
    "00081150": _value("UI", _BASIC_TEXT_SR),
    "00081155": _value("UI", SOP_INSTANCE_UID),
}
STORED: Final = {
    "00081190": _value("UR", _ADDRESS),
    "00081199": _value("SQ", {**_REFERENCE, "00081190": _value("UR", _ADDRESS)}),
}
REFUSED: Final = {
    "00081190": _value("UR"),
    "00081198": _value("SQ", {**_REFERENCE, "00081197": _value("US", 0xA900)}),
}
_OF_STUDY = {
    "00080020": _value("DA", "20261122"),
    "00080030": _value("TM", "0910"),
    "00080050": _value("SH", "A-17"),
    "00080056": _value("CS", "ONLINE"),
    "00080061": _value("CS", "SR"),
    "00080090": _value("PN"),
    "00081030": _value("LO", "CT chest"),
    "00081190": _value("UR", _ADDRESS),
    "00100010": _value("PN", {"Alphabetic": "Doe^Jane"}),
    "00100020": _value("LO", "P-17"),
    "00100030": _value("DA", "19600101"),
    "00100040": _value("CS", "F"),
    "0020000D": _value("UI", STUDY_INSTANCE_UID),
    "00200010": _value("SH", "1"),
    "00201206": _value("IS", 1),
    "00201208": _value("IS", 1),
}
_OF_SERIES = {
    "00080060": _value("CS", "SR"),
    "0008103E": _value("LO", "Reports"),
    "00081190": _value("UR", f"{_ADDRESS}/series/{_SERIES_INSTANCE_UID}"),
    "0020000D": _value("UI", STUDY_INSTANCE_UID),
    "0020000E": _value("UI", _SERIES_INSTANCE_UID),
    "00200011": _value("IS", 4),
    "00201209": _value("IS", 1),
}
_OF_INSTANCE = {
    "00080016": _value("UI", _BASIC_TEXT_SR),
    "00080018": _value("UI", SOP_INSTANCE_UID),
    "00080056": _value("CS", "ONLINE"),
    "00081190": _value("UR", f"{_ADDRESS}/series/{_SERIES_INSTANCE_UID}/instances/{SOP_INSTANCE_UID}"),
    "0020000D": _value("UI", STUDY_INSTANCE_UID),
    "0020000E": _value("UI", _SERIES_INSTANCE_UID),
    "00200013": _value("IS", 1),
}
RESULTS: Final = {Level.STUDY: [_OF_STUDY], Level.SERIES: [_OF_SERIES], Level.INSTANCE: [_OF_INSTANCE]}
METADATA: Final = [
    {
        **_OF_INSTANCE,
        "0040A040": _value("CS", "CONTAINER"),
        "0040A730": _value(
            "SQ", {"0040A040": _value("CS", "TEXT"), "0040A160": _value("UT", "A 6 mm nodule in the right upper lobe.")}
        ),
    }
]
RENDERED: Final = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Report</title></head><body><main>'
    "<article><h1>CT chest</h1><pre>FINDINGS: A 6 mm nodule.</pre></article></main></body></html>"
)
STORE_BODY: Final = {
    "required": True,
    "content": {
        'multipart/related; type="application/dicom"': {
            "schema": {"type": "string", "format": "binary"},
            "example": "--boundary\r\nContent-Type: application/dicom\r\n\r\n(a DICOM file)\r\n--boundary--\r\n",
        }
    },
}
