"""What happens to a patient: each plot writes documents into a course, and into its ledger what was planted."""

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from department.records import Course, Document, Planted
from department.wording import Pen, Planting, exams, fill, side_places

Wording = TypeVar("Wording")
LAYOUTS = ("items", "containers", "one")


@dataclass(slots=True)
class Author:
    """Writes the documents of one course.

    Parameters
    ----------
    course
        What is written into.
    chance
        What decides.
    last_day
        The day on which the year ends.
    turn
        Which of its kind in this language the next plot is: wordings take turns, so that all come up.
    """

    course: Course
    chance: random.Random
    last_day: dt.date
    turn: int = 0
    studies: int = 0
    reserved: set[str] = field(default_factory=set)
    """Examinations that would undo what was planted, and so must not come."""

    @property
    def pen(self) -> Pen:
        """Of the patient's language."""
        return Pen(self.course.patient.language, self.chance)

    def variant(self, kind: str, exam: str | None = None) -> Mapping[str, Any]:
        """A way to tell this kind; an `exam` leaves those of this examination."""
        several: list[Mapping[str, Any]] = [v for v in self.pen.stories[kind] if exam is None or v["exam"] == exam]
        return several[self.turn % len(several)]

    def turned(self, several: Sequence[Wording]) -> Wording:
        """One of these: by turns half of the time, so that all come up."""
        return several[self.turn // 2 % len(several)] if self.chance.random() < 0.5 else self.chance.choice(several)

    def day(self, first: int, last: int) -> dt.date:
        """A day so many days before the year's last, both ends belonging to it."""
        return self.last_day - dt.timedelta(days=self.chance.randint(first, last))

    def new_study(self) -> int:
        """The number of another study."""
        self.studies += 1
        return self.studies

    def report(
        self,
        exam: str,
        day: dt.date,
        planting: Planting,
        *,
        sides: tuple[str, str] | None = None,
        study: int | None = None,
        quiet: bool = False,
        **properties: Any,
    ) -> Document:
        """Write a report."""
        patient = self.course.patient
        written = self.pen.write(
            exam, planting, sides=sides or self.pen.side(), sex=patient.sex, age=patient.age(day), quiet=quiet
        )
        document = Document(
            patient=patient,
            number=len(self.course.documents) + 1,
            study=study or self.new_study(),
            exam=exam,
            day=day,
            **{"minutes": self.chance.randint(7 * 60, 20 * 60), **properties},
            description=written.description,
            sections=written.sections,
            layout=self.chance.choice(LAYOUTS),
        )
        self.course.documents.append(document)
        return document

    def image(self, exam: str, day: dt.date, *, study: int | None = None, **properties: Any) -> Document:
        """An image of a study, as the archive forwards it."""
        own = self.pen.words["exams"][exam]
        document = Document(
            patient=self.course.patient,
            number=len(self.course.documents) + 1,
            study=study or self.new_study(),
            exam=exam,
            day=day,
            minutes=self.chance.randint(7 * 60, 20 * 60),
            description=properties.pop("description", "") or self.pen.one(own["description"]),
            **properties,
        )
        self.course.documents.append(document)
        return document

    def plant(
        self,
        kind: str,
        document: Document,
        wording: str,
        *,
        near: bool = False,
        allowed: Sequence[str] = (),
        sides: tuple[str, str] | None = None,
        places: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """Note what was planted; places in `wording` are filled."""
        self.course.planted.append(
            Planted(
                kind=kind,
                study_instance_uid=document.study_instance_uid,
                sop_instance_uid=document.sop_instance_uid,
                patient_id=document.patient.patient_id,
                language=document.patient.language,
                wording=fill(wording, {**side_places(*sides), **(places or {})} if sides else places or {}),
                near=near,
                facts={"exam": document.exam, "day": f"{document.day:%Y-%m-%d}", **facts},
                allowed=tuple(allowed),
            )
        )

    def lesion(self, variant: Mapping[str, Any]) -> tuple[int, str]:
        """A size in millimetres that suits it, and its words."""
        size = self.chance.randint(variant.get("low", 5), variant.get("high", 9))
        return size, self.pen.size(size)


# --- follow-up ----------------------------------------------------------------------------------------------------


def follow_up(author: Author, *, state: str, how: str = "report") -> None:
    """A recommendation, and what became of it: `state` when the year ends, `how` it was followed or not."""
    pen, chance = author.pen, author.chance
    variant = author.variant("follow_up")
    whens = [when for group in variant["whens"] for when in pen.stories["whens"][group]]
    allowed = [when for when in whens if _possible(state, when)]
    if not allowed:
        # the kind of lesion knows no such window: another's, of which the same is true
        allowed = [w for g in pen.stories["whens"].values() for w in g if _possible(state, w)]
    when, least, most = chance.choice(allowed)
    day = {
        "done": lambda: author.day(most + 20, max(most + 20, 350)),
        "overdue": lambda: author.day(most + most // 2 + 61, max(most + most // 2 + 61, 362)),
        "due": lambda: author.day((least + most) // 2, (least + most) // 2),
        "open": lambda: author.day(1, max(1, least // 3)),
    }[state]()
    size, size_words = author.lesion(variant)
    sides = pen.side()
    places = {
        "size": size_words,
        "procedure": fill(chance.choice(variant["procedure"]), {"side": sides[0]}),
        "when": when,
    }
    places["Procedure"] = places["procedure"][0].upper() + places["procedure"][1:]
    advice = fill(author.turned(pen.stories["advice"]["firm"]), places)
    document = author.report(
        variant["exam"],
        day,
        Planting(
            parts={variant["part"]: chance.choice(variant["find"])},
            say=[chance.choice(variant["say"])],
            advice=[advice],
            places=places,
        ),
        sides=sides,
    )
    author.reserved.add(variant["close"])
    facts: dict[str, Any] = {
        "reason": variant["reason"],
        "modality": variant["modality"],
        "days": [least, most],
        "states": ["open", "due"] if state == "open" else [state],
        "how": how if state in {"done", "overdue"} else "",
        "size": size,
    }
    if state == "done":
        # a patient comes a little early or late
        earliest, latest = round(least * 0.9), min(round(most * 1.05) + 2, (author.last_day - day).days)
        later = day + dt.timedelta(days=chance.randint(min(earliest, latest), latest))
        closer = (
            author.image(variant["close"], later)
            if how == "images"
            else author.report(variant["close"], later, Planting(compared=day), quiet=True)
        )
        facts["closed_by"] = closer.study_instance_uid
    elif how == "unrelated":
        later = day + dt.timedelta(days=chance.randint(least, most))
        # not what was asked for: another region, or the same by another modality
        other = (
            "ct_head"
            if variant["close"] not in {"ct_head", "mr_brain"} and variant["exam"] != "ct_head"
            else "xr_chest"
        )
        author.report(other, later, Planting(), quiet=True)
    author.plant("follow_up", document, advice, allowed=variant.get("allowed", ()), **facts)


def _possible(state: str, when: Sequence[Any]) -> bool:
    least, most = int(when[1]), int(when[2])
    return {
        "done": most <= 300,
        "overdue": most + most // 2 + 61 <= 362,
        "due": most - least >= 14,
        "open": least >= 28,
    }[state]


# --- critical results ---------------------------------------------------------------------------------------------


def critical(author: Author, *, documented: bool) -> None:
    """A result that somebody must be told, with or without a word that it was."""
    pen, chance = author.pen, author.chance
    sex = author.course.patient.sex
    variants = [v for v in pen.stories["critical"] if sex in exams()[v["exam"]].get("sexes", "FM")]
    variant = variants[author.turn % len(variants)]
    sides = pen.side()
    told = author.turned(pen.stories["communication"]["documented" if documented else "undocumented"])
    name = chance.choice(["Meyer", "Okafor", "Silva", "Haddad"] if pen.language == "en" else ["王", "李", "张", "陈"])
    say = chance.choice(variant["say"])
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(
            parts={variant["part"]: chance.choice(variant["find"])},
            say=[say],
            advice=[fill(told, {"name": name})] if told else [],
        ),
        sides=sides,
    )
    author.plant(
        "critical",
        document,
        say,
        sides=sides,
        concept=variant["concept"],
        category=variant["category"],
        documented=documented,
        told=told,
    )


# --- guidance, timeline, corrections, losses ----------------------------------------------------------------------


def guidance(author: Author) -> None:
    """Something that a guideline says what to do about, and the report doesn't."""
    chance = author.chance
    variant = author.variant("guidance")
    millimetres, size_words = author.lesion(variant)
    find, say = author.turned(variant["find"]), chance.choice(variant["say"])
    sides, places = author.pen.side(), {"size": size_words}
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(parts={variant["part"]: find}, say=[say], places=places),
        sides=sides,
    )
    author.plant(
        "guidance", document, find, sides=sides, places=places, guideline=variant["guideline"], size=millimetres
    )


def timeline(author: Author) -> None:
    """The same lesion in three or four studies."""
    pen, chance = author.pen, author.chance
    variant, sides = author.variant("timeline"), author.pen.side()
    number = chance.randint(3, 4)
    days = sorted(author.day(*span) for span in [(300, 360), (200, 270), (100, 170), (5, 70)][:number])
    millimetres, _ = author.lesion(variant)
    sizes, documents, before, style = [], [], None, pen.style()
    for day in days:
        places = {"size": pen.size(millimetres, style=style)}
        if before is not None:
            places["was"] = pen.size(before[1], style=style)
        documents.append(
            author.report(
                variant["exam"],
                day,
                Planting(
                    parts={variant["part"]: chance.choice(variant["find" if before else "first"])},
                    say=[chance.choice(variant["say"])],
                    places=places,
                    compared=before[0] if before else None,
                ),
                sides=sides,
            )
        )
        sizes.append(millimetres)
        before = day, millimetres
        millimetres = max(3, millimetres + chance.choice([-2, 1, 2, 3, 5]))
    for document in documents:
        author.plant(
            "timeline",
            document,
            documents[-1].sections[3][2],
            allowed=variant["allowed"],
            sizes=sizes,
            studies=[d.study_instance_uid for d in documents],
            counts=document is documents[-1],
        )


def corrected(author: Author) -> None:
    """A critical result, and the corrected report without it: it was a mistake."""
    chance, pen = author.chance, author.pen
    variant = author.variant("critical", exam=chance.choice(["xr_chest", "ct_head", "ct_abdomen"]))
    day, sides, minutes = author.day(5, 360), pen.side(), chance.randint(60, 12 * 60)
    first = author.report(
        variant["exam"],
        day,
        Planting(parts={variant["part"]: chance.choice(variant["find"])}, say=[chance.choice(variant["say"])]),
        sides=sides,
        minutes=minutes,
    )
    note = author.turned(pen.stories["correction"]["corrected"])
    document = author.report(
        variant["exam"],
        day,
        Planting(say=[pen.one(pen.words["unremarkable"])], advice=[note], description=first.description),
        sides=sides,
        study=first.study,
        predecessor=first.number,
        minutes=minutes + chance.randint(60, 600),
        quiet=True,
    )
    # an earlier final report that says the opposite may be remarked upon
    author.plant("correction", document, note, superseded=first.sop_instance_uid, allowed=["preliminary"])


def addendum(author: Author) -> None:
    """A report, and an addendum that changes nothing in it."""
    pen, chance = author.pen, author.chance
    exam = chance.choice(["ct_chest", "xr_chest", "ct_abdomen"])
    minutes = chance.randint(60, 12 * 60)
    first = author.report(exam, author.day(5, 360), Planting(), minutes=minutes)
    text = fill(author.turned(pen.stories["correction"]["addendum"]), {"date": f"{author.day(400, 900):%Y-%m-%d}"})
    document = Document(
        patient=first.patient,
        number=len(author.course.documents) + 1,
        study=first.study,
        exam=exam,
        day=first.day,
        minutes=minutes + chance.randint(60, 600),
        description=first.description,
        sections=(("addendum", "ADDENDUM" if pen.language == "en" else "补充报告", text),),
        predecessor=first.number,
    )
    author.course.documents.append(document)
    author.plant("addendum", document, text, stands=first.sop_instance_uid)


def lost(author: Author, *, route: str) -> None:
    """A report that the service never gets, or can't read."""
    exam = author.chance.choice(["ct_chest", "xr_chest", "ct_abdomen", "ct_head"])
    document = author.report(exam, author.day(1, 360), Planting(), route=route)
    author.plant(route, document, "")


Plot = Callable[[Author], None]
