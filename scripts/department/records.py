"""What a year consists of: patients, documents, and the ledger of what was planted."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from department.wording import Section

ROOT_UID = "1.2.826.0.1.3680043.10.1511.12"


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody invented."""

    number: int
    seed: int
    language: str
    sex: str
    birth_date: dt.date

    @property
    def patient_id(self) -> str:
        """(0010,0020)."""
        return f"Y{self.seed}-{self.number}"

    def age(self, day: dt.date) -> int:
        """In whole years on `day`."""
        had = (day.month, day.day) >= (self.birth_date.month, self.birth_date.day)
        return day.year - self.birth_date.year - (not had)


@dataclass(frozen=True, slots=True)
class Document:
    """An object of the archive: a report, or an image in place of a study's many."""

    patient: Patient
    number: int
    """Of all its patient's documents."""
    study: int
    exam: str
    day: dt.date
    minutes: int
    """After midnight."""
    description: str
    sections: tuple[Section, ...] = ()
    """None: it's an image."""
    sided: str = ""
    """"L" or "R": side of an image."""
    coded: tuple[tuple[tuple[str, str, str], float], ...] = ()
    """Concepts and millimetres that the tree states beside the text."""
    preliminary: bool = False
    predecessor: int | None = None
    """Number of the patient's document that it follows."""
    layout: str = "items"
    """"items", "containers" or "one": how the text is laid out in the tree."""
    route: str = "forwarded"
    """"withheld" ones the archive has and the service never gets; "damaged" ones can't be read."""

    @property
    def sop_instance_uid(self) -> str:
        """Its own."""
        return self._uid(3, self.number)

    @property
    def study_instance_uid(self) -> str:
        """Of its study."""
        return self._uid(1, self.study)

    @property
    def series_instance_uid(self) -> str:
        """Of its series."""
        return self._uid(2, self.number)

    @property
    def accession_number(self) -> str:
        """Of its study's order."""
        return f"Y{self.patient.seed}A{self.patient.number}-{self.study}"

    def uid_of(self, number: int) -> str:
        """SOP Instance UID of another document of its patient."""
        return self._uid(3, number)

    @property
    def is_image(self) -> bool:
        """Whether it is an image rather than a report."""
        return not self.sections

    def _uid(self, kind: int, number: int) -> str:
        return f"{ROOT_UID}.{self.patient.seed}.{kind}.{self.patient.number}.{number}"


@dataclass(frozen=True, slots=True)
class Planted:
    """A row of the ledger: what is to be noticed (or not to be taken for it), and where."""

    kind: str
    study_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    language: str
    wording: str
    """What was written to say it."""
    near: bool = False
    """It resembles the kind and isn't of it."""
    facts: dict[str, Any] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    """Kinds that may be remarked on this study as well: a good reader could."""


@dataclass(slots=True)
class Course:
    """A patient's year."""

    patient: Patient
    documents: list[Document] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)


def write_ledger(rows: Iterable[Planted], path: Path) -> None:
    """As JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n")


def read_ledger(path: Path) -> Iterator[Planted]:
    """What `write_ledger` wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield Planted(**{**row, "allowed": tuple(row["allowed"])})
