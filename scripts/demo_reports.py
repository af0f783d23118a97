"""The demonstration's hundred studies, in English and Chinese.

They are the written samples, and reports put together from the sentences in ``demo_reports/``. All is invented:
patients, identifiers and findings. The same comes out on every run and every machine.
"""

import copy
import datetime as dt
import itertools
import random
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import make_samples
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import FileDataset

SENTENCES = Path(__file__).resolve().parent / "demo_reports"
STUDIES = {"en": 42, "zh": 40}
"""How many are put together in each language; with those of the samples they are a hundred."""
INSTITUTIONS = {"en": "DEMO HOSPITAL", "zh": "示例医院"}
_LAST_DAY = dt.date(2026, 11, 20)
_FAULTS = ["dicomnlp demonstration", "fault"]

Sample = dict[str, Any]


def read_reports() -> dict[str, Sample]:
    """All reports of the demonstration in the form of `make_samples.read_samples`, by name."""
    found = make_samples.read_samples()
    written = []
    for language, number in STUDIES.items():
        text = (SENTENCES / f"{language}.toml").read_text(encoding="utf-8")
        written.append(_Writer(language, tomllib.loads(text)).write(number).items())
    # by turns, as they would come in a hospital with both
    for pairs in itertools.zip_longest(*written):
        found |= dict(pair for pair in pairs if pair is not None)
    return found


def build_reports() -> dict[str, FileDataset]:
    """The same as SR objects with file meta information."""
    return make_samples.build(read_reports())


def build_faults() -> dict[str, FileDataset]:
    """Objects that show what becomes of what isn't as it should be, by what becomes of it."""
    sample = next(iter(make_samples.build_samples().values()))
    return {
        "refused": _refused(sample),
        "quarantined": _without_study(sample),
        "failed": _damaged_document(sample),
    }


def _copy(sample: FileDataset, name: str) -> FileDataset:
    found = copy.deepcopy(sample)
    found.PatientID, found.PatientName = "DEMO-9999", "DEMO^FAULTY"
    found.AccessionNumber = "DEMO-A9999"
    found.SOPInstanceUID = uid.generate_uid(entropy_srcs=[*_FAULTS, name])
    found.StudyInstanceUID = uid.generate_uid(entropy_srcs=[*_FAULTS, name, "study"])
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return found


def _refused(sample: FileDataset) -> FileDataset:
    """A SOP Instance UID with a leading zero, which is none (PS3.5 9.1)."""
    found = _copy(sample, "refused")
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.10.543.9.007"
    return found


def _without_study(sample: FileDataset) -> FileDataset:
    found = _copy(sample, "quarantined")
    del found.StudyInstanceUID
    return found


def _damaged_document(sample: FileDataset) -> FileDataset:
    """An Encapsulated CDA (PS3.3 A.45.2) whose document ends in its first element."""
    found = _copy(sample, "failed")
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = uid.EncapsulatedCDAStorage
    found.Modality, found.StudyDescription = "DOC", "SCANNED REPORT"
    del found.ContentSequence
    found.MIMETypeOfEncapsulatedDocument = "text/XML"
    found.EncapsulatedDocument = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>'
    return found


@dataclass
class _Patient:
    name: str
    id: str
    birth_date: str
    sex: str

    def to_sample(self) -> dict[str, str]:
        return {"name": self.name, "id": self.id, "birth_date": self.birth_date, "sex": self.sex}


@dataclass
class _Said:
    """What a report says beside what is normal."""

    findings: dict[str, str]
    """Part -> sentences in place of the normal ones."""
    impression: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


class _Writer:
    """Puts reports of one language together."""

    def __init__(self, language: str, sentences: dict[str, Any]) -> None:
        self._language, self._sentences = language, sentences
        # what is drawn is the same on every machine
        self._random = random.Random(f"dicomnlp demonstration {language}")  # noqa: S311  nothing here is a secret
        self._number = 0
        self._joint = "" if language == "zh" else " "

    def write(self, number: int) -> dict[str, Sample]:
        """Reports of so many studies."""
        found: dict[str, Sample] = {}
        studies = 0
        while studies < number:
            exam = self._sentences["exam"][self._number % len(self._sentences["exam"])]
            patient = self._patient(exam)
            new = dict(self._chain(exam, patient) if studies == 0 else self._visits(exam, patient, number - studies))
            studies += len({sample["study"] for sample in new.values()})
            found |= new
        return found

    def _visits(self, exam: dict[str, Any], patient: _Patient, most: int) -> Iterator[tuple[str, Sample]]:
        """One study of the patient; of an examination with a course, and sometimes of another, two."""
        day = _LAST_DAY - dt.timedelta(days=self._random.randrange(0, 240))
        if most > 1 and "course" in exam:
            yield from self._course(exam, patient, day)
            return
        yield self._report(exam, patient, day, self._drawn(exam))
        if most > 1 and self._random.random() < 0.25:
            yield self._report(
                exam, patient, day - dt.timedelta(days=self._random.randrange(60, 400)), self._drawn(exam)
            )

    def _course(self, exam: dict[str, Any], patient: _Patient, day: dt.date) -> Iterator[tuple[str, Sample]]:
        """A finding that grows from one study to the next, which is compared with it."""
        course, values = exam["course"], self._values()
        first = _Said({course["part"]: course["first"].format(**values)}, [course["first_say"].format(**values)])
        name, before = self._report(exam, patient, day - dt.timedelta(days=186), first)
        yield name, before
        then = _Said(
            {course["part"]: course["then"].format(**values)},
            [course["then_say"].format(**values)],
            [course["advice"]],
        )
        later, after = self._report(exam, patient, day, then)
        yield later, {**after, "compared_with": name}

    def _chain(self, exam: dict[str, Any], patient: _Patient) -> Iterator[tuple[str, Sample]]:
        """A preliminary report, the final one that corrects it, and an addendum, all of one study."""
        day = _LAST_DAY - dt.timedelta(days=2)
        said = self._drawn(exam, number=1)
        name, preliminary = self._report(exam, patient, day, _Said({}))
        yield name, {**preliminary, "preliminary_flag": "PRELIMINARY", "verification_flag": "UNVERIFIED"}
        final_name, final = self._report(exam, patient, day, said)
        same = {key: preliminary[key] for key in ("study", "study_time", "accession_number")}
        yield final_name, {**final, **same, "content_time": "173000", "predecessor": name}
        added_name, added = self._report(exam, patient, day, said)
        addendum = {"en": "55107-7 LN Addendum", "zh": "55107-7 LN 补充报告"}[self._language]
        text = {
            "en": "The findings were discussed with the referring physician. No further abnormality on second reading.",
            "zh": "以上结果已与临床医师沟通。复阅未见其他异常。",
        }[self._language]
        items = [{"concept": addendum, "items": [{"concept": "121071 DCM Finding", "text": text}]}]
        content = {"content_date": f"{day + dt.timedelta(days=1):%Y%m%d}", "content_time": "081500"}
        yield added_name, {**added, **same, **content, "items": items, "predecessor": final_name}

    def _drawn(self, exam: dict[str, Any], number: int | None = None) -> _Said:
        """Some of what can be abnormal, of each part one thing at most."""
        if number is None:
            number = self._random.choices((0, 1, 2, 3), (2, 5, 4, 1))[0]
        said = _Said({})
        for abnormal in self._random.sample(exam["abnormal"], k=len(exam["abnormal"])):
            if len(said.findings) == number:
                break
            if abnormal["part"] in said.findings:
                continue
            values = self._values()
            said.findings[abnormal["part"]] = _sentence(abnormal["find"].format(**values))
            said.impression.append(_sentence(abnormal["say"].format(**values)))
            if "advise" in abnormal:
                said.advice.append(abnormal["advise"])
        return said

    def _values(self) -> dict[str, Any]:
        """Sizes of which none needs "an" before it, and a side."""
        small, large = self._random.choice((4, 5, 6)), self._random.choice((7, 9, 10, 12, 14, 16))
        return {"a": large, "b": small, "side": self._random.choice(self._sentences["sides"])}

    def _patient(self, exam: dict[str, Any]) -> _Patient:
        number = self._number
        names = self._sentences["names"]
        name = names[number % len(names)]
        name = f"SHILI^{number:02d}=示例^{name}" if self._language == "zh" else f"DEMO^{name}"
        year = self._random.randrange(1938, 2003)
        birth_date = f"{year}{self._random.randrange(1, 13):02d}{self._random.randrange(1, 29):02d}"
        start = {"en": 1100, "zh": 2100}[self._language]
        return _Patient(name, f"DEMO-{start + number}", birth_date, exam.get("sex") or self._random.choice("FM"))

    def _report(self, exam: dict[str, Any], patient: _Patient, day: dt.date, said: _Said) -> tuple[str, Sample]:
        self._number += 1
        name = f"{self._language}_{self._number:03d}"
        headings, joint = self._sentences["headings"], self._joint
        findings = "\n".join(said.findings.get(part, normal) for part, normal in exam["normal"].items())
        parts = {
            "indication": self._random.choice(exam["indication"]),
            "technique": exam["technique"],
            "findings": findings,
            "impression": joint.join(said.impression) or self._sentences["unremarkable"],
            "advice": joint.join(dict.fromkeys(said.advice)),
        }
        items = [
            {"concept": headings[part], "items": [{"concept": headings[part], "text": text}]}
            for part, text in parts.items()
            if text
        ]
        return name, {
            "sop_class": "EnhancedSRStorage",
            "title": exam["title"],
            "study": f"demo-{name}",
            "study_date": f"{day:%Y%m%d}",
            "study_time": f"{self._random.randrange(7, 19):02d}{self._random.randrange(60):02d}00",
            "study_description": exam["description"],
            "accession_number": f"DEMO-{self._language.upper()}{self._number:04d}",
            "modality": exam["modality"],
            "language": self._sentences["language"],
            "institution": INSTITUTIONS[self._language],
            "patient": patient.to_sample(),
            "items": items,
        }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
