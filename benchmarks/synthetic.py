"""Synthetic reports: text as radiologists write it, as Structured Report objects, any number of them.

    python benchmarks/synthetic.py FOLDER --reports 1000

writes DICOM files. A report is a function of its number and the seed alone, so a store that was filled in part can be
filled further. Sentences come from sentences/*.toml, findings and sites from the lexicons of the language packs; both
repeat as words of a language do (the n-th commonest 1/n times as often), so most sentences of a new report have been
written before, and some in it never were.
"""

import argparse
import bisect
import datetime as dt
import itertools
import random
import struct
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dicomnlp.analyse.pack import LANGUAGES, Pack, read_pack
from dicomnlp.model import Arrival, Door

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ROOT_UID = "1.2.826.0.1.3680043.10.1511.6"
SENTENCES = Path(__file__).with_name("sentences")
FIRST_DAY = dt.date(2016, 1, 4)
REPORTS_A_DAY = 300
CHINESE = 0.15
"""Share of reports in Chinese."""
SECOND_REPORT = 8
"""Each so many-th report is of the study of the one before it."""
ROUTINE = 0.55
"""Share of sentences that are written word for word as often before."""
LONG_LENGTHS = frozenset({b"OB", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
"""Value representations with a length of four bytes (PS3.5 7.1.2)."""
CONCEPT_CODES = {
    "technique": "121064",
    "comparison": "121066",
    "indication": "121060",
    "findings": "121070",
    "impression": "121072",
}


@dataclass(frozen=True, slots=True)
class SyntheticReport:
    """What a report says of itself, and its text."""

    number: int
    seed: int
    language: str
    modality: str
    body_part_examined: str
    study_description: str
    study_number: int
    patient_number: int
    date: dt.date
    sections: tuple[tuple[str, str, str], ...]
    """Kind, heading, and text of each."""

    @property
    def text(self) -> str:
        """As one narrative with headings."""
        return "\n\n".join(f"{heading}: {text}" for _, heading, text in self.sections)

    @property
    def sop_instance_uid(self) -> str:
        """Of its object."""
        return f"{ROOT_UID}.{self.seed}.3.{self.number}"

    @property
    def study_instance_uid(self) -> str:
        """Of its study."""
        return study_instance_uid(self.seed, self.study_number)

    def arrival(self, *, calling_ae_title: str = "SYNTHETIC") -> Arrival:
        """Its object as it comes over the network."""
        return Arrival(
            data=self.data_set(),
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            sop_class_uid=BASIC_TEXT_SR,
            sop_instance_uid=self.sop_instance_uid,
            door=Door.C_STORE,
            calling_ae_title=calling_ae_title,
            called_ae_title="DICOMNLP",
            peer_address="127.0.0.1",
        )

    def data_set(self) -> bytes:
        """A Basic Text SR (PS3.3 A.35.1) in explicit VR little endian, without file meta information."""
        day = f"{self.date:%Y%m%d}"
        time = f"{8 + self.number % 10:02}{self.number % 60:02}00"
        sections = _titles(self.language)
        content = b"".join(
            _item(
                _element(0x0040, 0xA010, b"CS", "CONTAINS")
                + _element(0x0040, 0xA040, b"CS", "TEXT")
                + _code(0xA043, CONCEPT_CODES[kind], "DCM", sections[kind])
                + _element(0x0040, 0xA160, b"UT", text)
            )
            for kind, _, text in self.sections
        )
        return b"".join(
            [
                _element(0x0008, 0x0005, b"CS", "ISO_IR 192"),
                _element(0x0008, 0x0016, b"UI", BASIC_TEXT_SR),
                _element(0x0008, 0x0018, b"UI", self.sop_instance_uid),
                _element(0x0008, 0x0020, b"DA", day),
                _element(0x0008, 0x0023, b"DA", day),
                _element(0x0008, 0x0030, b"TM", time),
                _element(0x0008, 0x0033, b"TM", time),
                _element(0x0008, 0x0050, b"SH", f"S{self.study_number}"),
                _element(0x0008, 0x0060, b"CS", "SR"),
                _element(0x0008, 0x0070, b"LO", "SYNTHETIC"),
                _element(0x0008, 0x0080, b"LO", "SYNTHETIC HOSPITAL"),
                _element(0x0008, 0x0090, b"PN", ""),
                _element(0x0008, 0x1030, b"LO", self.study_description),
                _element(0x0010, 0x0010, b"PN", f"SYNTHETIC^{self.patient_number}"),
                _element(0x0010, 0x0020, b"LO", f"S{self.patient_number}"),
                _element(0x0010, 0x0030, b"DA", f"{1930 + self.patient_number % 80}0615"),
                _element(0x0010, 0x0040, b"CS", "FM"[self.patient_number % 2]),
                _element(0x0018, 0x0015, b"CS", self.body_part_examined),
                _element(0x0020, 0x000D, b"UI", self.study_instance_uid),
                _element(0x0020, 0x000E, b"UI", f"{ROOT_UID}.{self.seed}.2.{self.number}"),
                _element(0x0020, 0x0010, b"SH", f"{self.study_number}"),
                _element(0x0020, 0x0011, b"IS", "1"),
                _element(0x0020, 0x0013, b"IS", "1"),
                _element(0x0040, 0xA040, b"CS", "CONTAINER"),
                _code(0xA043, "18748-4", "LN", "Diagnostic imaging report"),
                _element(0x0040, 0xA050, b"CS", "SEPARATE"),
                _element(0x0040, 0xA491, b"CS", "COMPLETE"),
                _element(0x0040, 0xA493, b"CS", "VERIFIED"),
                _element(0x0040, 0xA730, b"SQ", content),
            ]
        )


def study_instance_uid(seed: int, number: int) -> str:
    """Of the study of report `number`, where it is the first of its study."""
    return f"{ROOT_UID}.{seed}.1.{number}"


def write_file(report: SyntheticReport, path: Path) -> None:
    """The report's object as a DICOM file (PS3.10 7.1)."""
    meta = b"".join(
        [
            _element(0x0002, 0x0001, b"OB", b"\0\1"),
            _element(0x0002, 0x0002, b"UI", BASIC_TEXT_SR),
            _element(0x0002, 0x0003, b"UI", report.sop_instance_uid),
            _element(0x0002, 0x0010, b"UI", EXPLICIT_VR_LITTLE_ENDIAN),
            _element(0x0002, 0x0012, b"UI", ROOT_UID),
        ]
    )
    length = _element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta)))
    path.write_bytes(b"\0" * 128 + b"DICM" + length + meta + report.data_set())


def _element(group: int, number: int, vr: bytes, value: str | bytes) -> bytes:
    """One element (PS3.5 7.1.2), its value padded to an even length."""
    data = value.encode() if isinstance(value, str) else value
    if len(data) % 2:
        data += b"\0" if vr in {b"UI", b"OB"} else b" "
    head = struct.pack("<HH2s", group, number, vr)
    return head + (struct.pack("<xxI", len(data)) if vr in LONG_LENGTHS else struct.pack("<H", len(data))) + data


def _item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


def _code(number: int, value: str, scheme: str, meaning: str) -> bytes:
    return _element(
        0x0040,
        number,
        b"SQ",
        _item(
            _element(0x0008, 0x0100, b"SH", value)
            + _element(0x0008, 0x0102, b"SH", scheme)
            + _element(0x0008, 0x0104, b"LO", meaning)
        ),
    )


class _Often:
    """A list whose n-th entry is chosen 1/n times as often as its first."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = entries
        self._sums = list(itertools.accumulate(1 / n for n in range(1, len(entries) + 1)))

    def choose(self, chance: random.Random) -> str:
        return self._entries[bisect.bisect(self._sums, chance.random() * self._sums[-1])]


@cache
def _grammar(language: str) -> dict[str, Any]:
    return tomllib.loads((SENTENCES / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _titles(language: str) -> Mapping[str, str]:
    titles: dict[str, str] = _grammar(language)["titles"]
    return titles


class _Exam:
    """What reports of one kind of examination are made of."""

    def __init__(self, pack: Pack, grammar: dict[str, Any], exam: dict[str, Any]) -> None:
        self.modality: str = exam["modality"]
        self.body_part_examined: str = exam["body_part_examined"]
        self.study_description: str = exam["study_description"]
        self.lists = {
            name: _Often(exam.get(name) or grammar[name])
            for name in (
                *("technique", "comparison", "indication", "routine", "present", "absent", "uncertain"),
                *("closing", "conclusions"),
            )
        }
        self.concepts = _Often(exam["concepts"])
        self.sites = _Often(exam["sites"])
        # the first terms of a concept are the usual ones
        self.terms = {i: _Often(pack.concepts[i].terms[:4]) for i in exam["concepts"]}
        self.places = {i: _Often(pack.anatomy[i].terms[:3]) for i in exam["sites"]}

    def sentence(self, kind: str, chance: random.Random) -> str:
        """One of this kind, its places filled."""
        pattern = self.lists[kind].choose(chance)
        if "{" not in pattern:
            return pattern
        finding = self._finding(chance)
        return pattern.format(
            finding=finding,
            Finding=finding[0].upper() + finding[1:],
            other=self._finding(chance),
            site=self._site(chance),
            elsewhere=self._site(chance),
            size=self._size(chance, 60),
            small=f"{chance.randint(2, 15)} mm",
            days=chance.choice(["3", "6", "12"]) + (" months" if pattern.isascii() else "个月"),
            date=f"{2010 + chance.randrange(15)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        )

    def _finding(self, chance: random.Random) -> str:
        return self.terms[self.concepts.choose(chance)].choose(chance)

    def _site(self, chance: random.Random) -> str:
        return self.places[self.sites.choose(chance)].choose(chance)

    @staticmethod
    def _size(chance: random.Random, greatest: int) -> str:
        one = chance.randint(3, greatest)
        return chance.choice([f"{one} mm", f"{one / 10:.1f} cm", f"{one} x {max(2, one - 3)} mm"])


class Generator:
    """Reports by number.

    Parameters
    ----------
    seed
        Other reports for another one; also part of their UIDs.
    """

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self._exams: dict[str, tuple[list[_Exam], list[float]]] = {}
        for language in ("en", "zh"):
            pack, grammar = read_pack(LANGUAGES / language), _grammar(language)
            exams = [_Exam(pack, grammar, exam) for exam in grammar["exams"].values()]
            self._exams[language] = exams, [float(exam["weight"]) for exam in grammar["exams"].values()]

    def report(self, number: int) -> SyntheticReport:
        """The report with this number, 0 or more."""
        chance = random.Random(f"{self.seed}/{number}")  # noqa: S311  reports, not secrets
        language = "zh" if chance.random() < CHINESE else "en"
        exams, weights = self._exams[language]
        [exam] = chance.choices(exams, weights)
        is_second = number % SECOND_REPORT == SECOND_REPORT - 1
        study_number = number - 1 if is_second else number
        return SyntheticReport(
            number=number,
            seed=self.seed,
            language=language,
            modality=exam.modality,
            body_part_examined=exam.body_part_examined,
            study_description=exam.study_description,
            study_number=study_number,
            # of the study, so that its reports are of one patient; a patient has about four studies
            patient_number=random.Random(study_number).randrange(1 + study_number // 4),  # noqa: S311
            date=FIRST_DAY + dt.timedelta(days=study_number // REPORTS_A_DAY),
            sections=self._sections(language, exam, chance),
        )

    @staticmethod
    def _sections(language: str, exam: _Exam, chance: random.Random) -> tuple[tuple[str, str, str], ...]:
        between = " " if language == "en" else ""
        # a sentence is in a report once; a dictionary, because it keeps the order
        findings: dict[str, None] = {}
        # most reports are short, a few very long
        for _ in range(min(60, 4 + int(chance.lognormvariate(1.6, 0.6)))):
            other = chance.choices(["present", "absent", "uncertain"], [5, 4, 1])[0]
            kind = "routine" if chance.random() < ROUTINE else other
            findings[exam.sentence(kind, chance)] = None
        impression = [exam.sentence("conclusions", chance) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.5:
            impression.append(exam.sentence("closing", chance))
        headings = _grammar(language)["headings"]
        texts = {
            "indication": exam.sentence("indication", chance),
            "technique": exam.sentence("technique", chance),
            "comparison": exam.sentence("comparison", chance),
            "findings": between.join(findings),
            "impression": between.join(f"{n}. {text}" for n, text in enumerate(impression, start=1)),
        }
        return tuple((kind, headings[kind], text) for kind, text in texts.items())


def main() -> None:
    """Write files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reports", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    generator = Generator(asked.seed)
    for number in range(asked.first, asked.first + asked.reports):
        write_file(generator.report(number), asked.folder / f"{number:08}.dcm")
    print(f"{asked.reports} reports in {asked.folder}")


if __name__ == "__main__":
    main()
