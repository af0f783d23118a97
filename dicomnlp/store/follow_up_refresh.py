"""One round of looking at what changed: which courses, and the transactions in which the outcome is written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from dicomnlp.store.courses import HeldCourse, read_courses, studies_of_patients_of
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_items import studies_answered_by, write_items
from dicomnlp.store.follow_up_pending import marks_of, take_marks
from dicomnlp.store.image_studies import studies_with_images, summarise_images


class Refresh:
    """The patients of marked studies.

    A mark is read before what it stands for, and taken off with the outcome: whatever changes in between is looked at
    again.

    Parameters
    ----------
    database
        Whose.
    marks
        Studies and the numbers of their marks.
    """

    def __init__(self, database: Database, marks: Mapping[str, int]) -> None:
        self._database = database
        with database.read() as connection:
            # a patient whose studies all changed is looked at once
            self._marks = {**marks, **marks_of(connection, studies_of_patients_of(connection, marks))}
            of_images = studies_with_images(connection, self._marks)
        if of_images:
            database.transact(lambda connection: summarise_images(connection, of_images))

    @property
    def studies(self) -> list[str]:
        """All whose marks will be taken off: those given, and other marked ones of the same patients."""
        return sorted(self._marks)

    def courses(self) -> Iterator[HeldCourse]:
        """All that is to be judged, one patient at a time."""
        with self._database.read() as connection:
            # an item that a study answered may be another patient's by now, or have lost its answer
            studies = {*self._marks, *studies_answered_by(connection, self._marks)}
            courses = read_courses(connection, studies)
        yield from courses

    def finish(self, outcome: Sequence[tuple[HeldCourse, Sequence[Mapping[str, Any]]]]) -> None:
        """Write the items of courses, and take off the marks of their studies that nothing has changed since.

        What isn't among them stays marked.
        """
        looked_at = {uid for course, _ in outcome for uid in course.studies}

        def work(connection: Connection) -> None:
            for course, rows in outcome:
                write_items(connection, course.studies, rows)
            take_marks(connection, {uid: number for uid, number in self._marks.items() if uid in looked_at})

        self._database.transact(work)
