"""Reports of the tables of review's cases: a text, and what the header and the coded items say."""

from dicomnlp.model import Code, CodedFinding, CodedMeasurement, Identity, Narrative, Report, State

_NAMES = {
    "study": "study_description",
    "sex": "patient_sex",
    "born": "patient_birth_date",
    "date": "study_date",
    "modality": "modality",
}
_SITES = {
    "kidney": Code("64033007", "SCT", "Kidney"),
    "lung": Code("39607008", "SCT", "Lung"),
    "liver": Code("10200004", "SCT", "Liver"),
    "thyroid": Code("69748006", "SCT", "Thyroid"),
}
_FINDINGS = {
    "pulmonary_nodule": Code("427359005", "SCT", "Pulmonary nodule"),
    "mass": Code("4147007", "SCT", "Mass"),
}
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
_FINDING_SITE = Code("363698007", "SCT", "Finding Site")
_LATERALITY = Code("272741003", "SCT", "Laterality")


def case_report(case):
    """The report that a case of a table means; `items` are (value, unit, site or "")."""
    identity = {_NAMES[name]: value for name, value in case.items() if name in _NAMES}
    return Report(
        identity=Identity(**{"study_date": "20261122", **identity}),
        narrative=Narrative(case["text"]),
        state=State.PENDING,
        title=case.get("title", ""),
        measurements=tuple(
            CodedMeasurement(
                f"1.{n}",
                Code("410668003", "SCT", "Length") if unit in {"mm", "cm"} else Code("118565006", "SCT", "Volume"),
                (value,),
                Code(unit, "UCUM", unit),
                modifiers=((_FINDING_SITE, _SITES[site]),) if site else (),
            )
            for n, (value, unit, site) in enumerate(case.get("items", []), 1)
        ),
        coded_findings=tuple(
            CodedFinding(
                f"1.{n}",
                Code("121071", "DCM", "Finding"),
                _FINDINGS[finding],
                modifiers=((_LATERALITY, _SIDES[side]),),
            )
            for n, (finding, side) in enumerate(case.get("coded", []), 1)
        ),
    )
