"""Who has what in the year: plots are dealt to patients, and routine examinations fill it up.

A year is a function of its seed, its number of patients and its last day. A patient's plots never touch the same kind
of examination, so that what one of them planted isn't undone by another.
"""

import datetime as dt
import random
from dataclasses import dataclass
from functools import partial

from department import plots, slips
from department.plots import Author, Plot
from department.records import Course, Patient
from department.wording import LANGUAGES, Planting, exams, fill, stories

FULL = 2000
"""Patients of a whole year; smaller ones have as much fewer of each plot, but two of each language."""
CHINESE = 0.4
NEAR = 0.25
"""Share of routine reports with something that resembles a kind and isn't of it."""
ROUTINE = (1, 5)
"""Examinations without a story, at the least and the most."""
ATTEMPTS = 8
"""Ways that are tried to tell a plot of one patient."""
NEARS = ("critical", "laterality", "sex", "age", "sections", "category", "order", "size", "guidance", "follow_up")
GROUPS = {
    "us_aorta": "us_abdomen",
    "us_abdomen_limited": "us_abdomen",
    "mr_brain": "brain",
    "ct_head": "brain",
    "xr_chest": "chest",
    "ct_chest": "chest",
}
"""Examinations that could be taken for each other's follow-up."""


PLOTS: tuple[tuple[str, Plot, int], ...] = (
    ("follow_up_done", partial(plots.follow_up, state="done", how="report"), 120),
    ("follow_up_done_images", partial(plots.follow_up, state="done", how="images"), 50),
    ("follow_up_overdue", partial(plots.follow_up, state="overdue", how=""), 120),
    ("follow_up_unrelated", partial(plots.follow_up, state="overdue", how="unrelated"), 50),
    ("follow_up_due", partial(plots.follow_up, state="due"), 60),
    ("follow_up_open", partial(plots.follow_up, state="open"), 60),
    ("critical_told", partial(plots.critical, documented=True), 80),
    ("critical_untold", partial(plots.critical, documented=False), 100),
    ("laterality_order", slips.laterality_order, 60),
    ("laterality_image", partial(slips.laterality_order, by_image=True), 30),
    ("laterality_sections", slips.laterality_sections, 60),
    ("laterality_missing", slips.laterality_missing, 60),
    ("sex", slips.sex, 60),
    ("age", slips.age, 60),
    ("sections", slips.sections, 60),
    ("coded", slips.coded, 60),
    ("coded_agrees", partial(slips.coded, agrees=True), 30),
    ("category", slips.category, 50),
    ("order_complete", slips.order_complete, 40),
    ("order_limited", slips.order_limited, 40),
    ("size", slips.size, 60),
    ("preliminary", slips.preliminary, 60),
    ("preliminary_agrees", partial(slips.preliminary, agrees=True), 30),
    ("guidance", plots.guidance, 120),
    ("timeline", plots.timeline, 60),
    ("corrected", plots.corrected, 60),
    ("addendum", plots.addendum, 60),
    ("withheld", partial(plots.lost, route="withheld"), 100),
    ("damaged", partial(plots.lost, route="damaged"), 30),
)
"""Name, plot, and how often it comes in a full year; those of few examinations' choice come last to patients."""


@dataclass(slots=True)
class Year:
    """A department's year.

    Parameters
    ----------
    seed
        Another year for another one; part of its UIDs.
    patients
        How many.
    last_day
        The day on which it ends, and on which the state of things is told.
    """

    seed: int
    patients: int
    last_day: dt.date

    def courses(self) -> list[Course]:
        """The patients' years, in order of their numbers."""
        courses = [Course(self.patient(number)) for number in range(self.patients)]
        used: list[set[str]] = [set() for _ in courses]
        chance = random.Random(f"{self.seed}/{self.patients}")  # noqa: S311  reports, not secrets
        for name, plot, often in PLOTS:
            for language in LANGUAGES:
                able = [c for c in courses if c.patient.language == language]
                for turn in range(max(2, round(often * self.patients / FULL / len(LANGUAGES)))):
                    # those with the least in their year first
                    able.sort(key=lambda c: (len(used[c.patient.number]), chance.random()))
                    if not any(self._play(c, name, plot, turn, used[c.patient.number]) for c in able):
                        raise RuntimeError(f"{name}: there are not enough patients to tell it of")
        for course in courses:
            self._routine(course, used[course.patient.number])
        return courses

    def patient(self, number: int) -> Patient:
        """The patient of this number."""
        chance = random.Random(f"{self.seed}/{number}/patient")  # noqa: S311  reports, not secrets
        age = int(chance.triangular(36, 92, 62))
        born = self.last_day - dt.timedelta(days=round(365.25 * age) + chance.randrange(365))
        return Patient(
            number=number,
            seed=self.seed,
            language="zh" if (number * 7) % 10 < CHINESE * 10 else "en",
            sex=chance.choice("FFM"),
            birth_date=born,
        )

    def _play(self, course: Course, name: str, plot: Plot, turn: int, used: set[str]) -> bool:
        """Play a plot, if one of its ways is of examinations that the patient's others leave alone."""
        for attempt in range(ATTEMPTS):
            trial = Course(course.patient, list(course.documents), [])
            author = Author(
                trial,
                random.Random(f"{self.seed}/{course.patient.number}/{name}/{turn}/{attempt}"),  # noqa: S311  reports
                self.last_day,
                turn=turn + attempt,
                studies=max((d.study for d in course.documents), default=0),
            )
            plot(author)
            own = trial.documents[len(course.documents) :]
            groups = {group(exam) for exam in {d.exam for d in own} | author.reserved}
            if not groups & used and all(course.patient.sex in exams()[d.exam].get("sexes", "FM") for d in own):
                course.documents, course.planted = trial.documents, [*course.planted, *trial.planted]
                used |= groups
                return True
        return False

    def _routine(self, course: Course, used: set[str]) -> None:
        """Examinations without a story, of kinds that no plot needs."""
        patient = course.patient
        chance = random.Random(f"{self.seed}/{patient.number}/routine")  # noqa: S311  reports, not secrets
        author = Author(course, chance, self.last_day, studies=max((d.study for d in course.documents), default=0))
        able = [
            name for name, exam in exams().items() if group(name) not in used and patient.sex in exam.get("sexes", "FM")
        ]
        weights = [exams()[name]["weight"] for name in able]
        for _ in range(chance.randint(*ROUTINE) if able else 0):
            [exam] = chance.choices(able, weights)
            day = author.day(1, 364)
            near = near_miss(author, exam, day) if chance.random() < NEAR else None
            kind, planting, allowed = near or ("", Planting(), ())
            sides = author.pen.side()
            document = author.report(exam, day, planting, sides=sides)
            if kind:
                said = " | ".join([*planting.parts.values(), *planting.say, *planting.advice, planting.indication])
                author.plant(kind, document, said, sides=sides, places=planting.places, near=True, allowed=allowed)


def near_miss(author: Author, exam: str, day: dt.date) -> tuple[str, Planting, tuple[str, ...]] | None:
    """Something of this examination that resembles a kind and isn't of it; None where it has nothing like it.

    Returns
    -------
    tuple
        The kind, what is written, and kinds of which it may be remarked all the same.
    """
    pen, chance = author.pen, author.chance
    patient = author.course.patient
    told = stories(pen.language)
    kind = chance.choice(NEARS)
    if kind == "follow_up":
        return kind, Planting(say=[pen.one(pen.words["unremarkable"])], advice=[pen.one(told["advice"]["near"])]), ()
    several = told[f"{kind}_near"]
    if kind == "age":
        plain = pen.one(pen.words["exams"][exam]["indication"])
        return kind, Planting(indication=fill(pen.one(several[0]["said"]), {"indication": plain})), ()
    fitting = [v for v in several if v["exam"] == exam]
    if not fitting:
        return None
    variant = chance.choice(fitting)
    if kind == "sex":
        return kind, Planting(parts={variant["part"]: chance.choice(variant[patient.sex])}), ()
    now, before = sorted(chance.sample(range(variant.get("low", 5), variant.get("high", 12)), 2))
    style = pen.style()
    index = chance.randrange(min(len(variant["find"]), len(variant["say"])))
    find = chance.choice(variant["find"]) if kind == "size" else variant["find"][index]
    places = {"size": pen.size(now, style=style), "was": pen.size(before, style=style)}
    compared = day - dt.timedelta(days=chance.randint(200, 900)) if kind == "size" else None
    planting = Planting(parts={variant["part"]: find}, say=[variant["say"][index]], places=places, compared=compared)
    return kind, planting, tuple(variant.get("allowed", ()))


def group(exam: str) -> str:
    """What examinations it could be taken for."""
    return GROUPS.get(exam, exam)
