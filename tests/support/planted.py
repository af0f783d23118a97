"""Reports with identities planted in them: header and text made together from a grammar, in English and Chinese.

Each planted thing is a distinct word, number or date that nothing else in the report has, so that what is left of it
can be looked for. `header` ones stand in the DICOM header too; `announced` ones only in the text, in a form that
tells what they are.
"""

import datetime as dt
import random
from dataclasses import dataclass, field

FAMILY = ("Smith", "Okonkwo", "O'Brien", "Smith-Jones", "Müller", "García López", "van der Berg", "Nguyen", "Small",
          "Kim", "Żółkiewska", "MacDonald", "Al-Rashid", "Long", "Ng", "Yılmaz", "Ho", "St. Clair")  # fmt: skip
GIVEN = ("John", "Chidinma", "Jean-Paul", "Anna", "XiaoDong", "María", "Li", "Wei", "Åsa", "Grace", "Bo", "D'Arcy")
MIDDLE = ("", "", "Quincy", "K", "R.")
DOCTORS = (("Weatherby", "Alice"), ("Castellanos", "Diego"), ("Przybylski", "Ewa"), ("Tanaka", "Hiro"))
HAN_FAMILY = ("王", "李", "欧阳", "張", "诸葛", "陈")
HAN_GIVEN = ("小东", "建国", "秀英", "雨桐", "國強")
HAN_DOCTORS = ("赵志远", "孙丽华", "上官婉")
HOSPITALS = ("St. Mary's Hospital", "Lakeview Regional Medical Center")
HAN_HOSPITALS = ("滨海市第三人民医院", "江北区中医院")


@dataclass(frozen=True)
class Planted:
    """A report, what its header says, and what must not be left of both."""

    text: str
    header: dict[str, str]
    """DICOM keyword -> value."""
    of_header: tuple[str, ...]
    """What stands in the header, in forms in which it is in the text."""
    announced: tuple[str, ...]
    """What is only in the text."""
    kept: tuple[str, ...]
    """Clinical words that must be left as they are."""
    dates: dict[str, dt.date] = field(default_factory=dict)
    """Texts of dates that are to be shifted."""


def english(seed):
    """A report in English."""
    r = random.Random(seed)
    family, given, middle = r.choice(FAMILY), r.choice(GIVEN), r.choice(MIDDLE)
    doctor, doctor_given = r.choice(DOCTORS)
    patient_id = r.choice(
        (f"{r.randrange(10**7, 10**8)}", f"MR-{r.randrange(10**5, 10**6)}", f"00{r.randrange(10**5, 10**6)}")
    )
    accession = f"A{r.randrange(10**8, 10**9)}"
    birth = dt.date(1931, 4, 2) + dt.timedelta(days=r.randrange(20000))
    study = dt.date(2026, 11, 22) - dt.timedelta(days=r.randrange(600))
    prior = study - dt.timedelta(days=r.randrange(30, 900))
    hospital = r.choice(HOSPITALS)
    phone = f"({r.randrange(200, 999)}) {r.randrange(200, 999)}-{r.randrange(1000, 9999)}"
    initial = given[0]
    name = r.choice(
        (
            f"{family}, {given}", f"{family}, {given} {middle}".strip(), f"{given} {family}",
            " ".join(f"{given} {middle} {family}".split()),
            f"Mr. {family}", f"Ms {family}", f"{initial}. {family}", f"{family} {initial}",
            f"{family.upper()}, {given.upper()}", f"{family}^{given}", f"{given}", f"{family}",
        )
    )  # fmt: skip
    shown_id = r.choice((patient_id, patient_id.replace("-", " "), patient_id.lstrip("0"), patient_id.lower()))
    dated = r.choice((f"{prior:%m/%d/%Y}", f"{prior:%B} {prior.day}, {prior.year}",
                      f"{prior.day} {prior:%b} {prior.year}", f"{prior:%Y-%m-%d}", f"{prior:%d-%b-%Y}"))  # fmt: skip
    born = r.choice(
        (f"{birth:%m/%d/%Y}", f"{birth:%Y-%m-%d}", f"{birth.day} {birth:%B} {birth.year}", f"{birth:%Y%m%d}")
    )
    email = f"result{r.randrange(10**4)}@clinic-{r.randrange(100)}.org"
    mrn = f"{r.randrange(10**6, 10**7)}"
    other = r.choice(("Featherstonehaugh", "Ivanovich", "Brightwater"))
    signed = r.choice(
        (f"Dictated by: {doctor_given} {doctor}, MD", f"Electronically signed by Dr. {doctor}",
         f"{doctor.upper()}, {doctor_given.upper()}", f"Read by {doctor_given[0]}. {doctor}")
    )  # fmt: skip
    text = (
        f"EXAM: CT CHEST\nPatient {name}, MRN {shown_id}, DOB {born}, accession {accession}.\n"
        f"COMPARISON: CT of {dated} at {hospital}.\n"
        f"FINDINGS: A 6 x 4 mm nodule in the right upper lobe, previously 5 mm. No pleural effusion. {name} was told.\n"
        f"IMPRESSION: Stable nodule. Discussed with Dr. {other} at {phone}, {email}. Old record MRN: {mrn}.\n{signed}\n"
    )
    header = {
        "PatientName": f"{family}^{given}^{middle}".rstrip("^"),
        "PatientID": patient_id,
        "PatientBirthDate": f"{birth:%Y%m%d}",
        "AccessionNumber": accession,
        "StudyDate": f"{study:%Y%m%d}",
        "InstitutionName": hospital,
        "ReferringPhysicianName": f"{doctor}^{doctor_given}^^Dr",
        "PatientTelephoneNumbers": phone,
    }
    return Planted(
        text,
        header,
        (name, shown_id, accession, born, hospital, phone, doctor),
        (email, mrn, other),
        (
            "CT CHEST",
            "A 6 x 4 mm nodule in the right upper lobe, previously 5 mm",
            "No pleural effusion",
            "IMPRESSION: Stable nodule",
        ),
        {dated: prior},
    )


def chinese(seed):
    """A report in Chinese."""
    r = random.Random(seed)
    family, given = r.choice(HAN_FAMILY), r.choice(HAN_GIVEN)
    doctor, other = r.choice(HAN_DOCTORS), r.choice(("钱学文", "周敏"))
    patient_id = f"{r.randrange(10**7, 10**8)}"
    accession = f"CT{r.randrange(10**6, 10**7)}"
    birth = dt.date(1940, 3, 9) + dt.timedelta(days=r.randrange(15000))
    study = dt.date(2026, 11, 22) - dt.timedelta(days=r.randrange(600))
    prior = study - dt.timedelta(days=r.randrange(30, 900))
    hospital = r.choice(HAN_HOSPITALS)
    size = 2 if doctor.startswith("上官") else 1
    mobile = f"13{r.randrange(10**8, 10**9)}"
    identity_card = f"{r.randrange(10**16, 10**17)}X"
    name = r.choice((family + given, f"{family} {given}", given, f"{family}先生", f"{family}女士"))
    dated = r.choice(
        (f"{prior.year}年{prior.month}月{prior.day}日", f"{prior:%Y-%m-%d}", f"{prior:%Y/%m/%d}", f"{prior:%Y.%m.%d}")
    )
    born = r.choice((f"{birth.year}年{birth.month}月{birth.day}日", f"{birth:%Y-%m-%d}"))
    text = (
        f"检查部位:胸部CT\n患者{name},住院号:{patient_id},检查号{accession},出生日期:{born}。\n"
        f"对比{hospital}{dated}片。\n"
        f"影像所见：右肺上叶见结节，大小约6mm×4mm，较前增大。未见胸腔积液。\n"
        f"诊断意见：右肺上叶结节，建议随访。已通知{other[0]}医生，联系电话{mobile}，身份证号{identity_card}。\n"
        f"报告医师：{doctor}  审核医师：{other}\n"
    )
    header = {
        "PatientName": f"={family}^{given}",
        "PatientID": patient_id,
        "PatientBirthDate": f"{birth:%Y%m%d}",
        "AccessionNumber": accession,
        "StudyDate": f"{study:%Y%m%d}",
        "InstitutionName": hospital,
        "ReferringPhysicianName": f"={doctor[:size]}^{doctor[size:]}",
    }
    # of a titled surname the title may stay
    left = name.removesuffix("先生").removesuffix("女士") if name.endswith(("先生", "女士")) else name
    planted = left if len(left) > 1 else f"患者{left}"
    return Planted(
        text,
        header,
        (planted, patient_id, accession, born, hospital, doctor),
        (mobile, identity_card, other, f"{other[0]}医生"),
        ("右肺上叶见结节，大小约6mm×4mm，较前增大", "未见胸腔积液", "建议随访"),
        {dated: prior},
    )
