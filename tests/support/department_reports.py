"""A database, on SQLite or PostgreSQL, into which tests put reports in their own words."""

import itertools

from support.hl7_messages import obr, obx, oru, pid, study_uid

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.receive.hl7 import MessageDoor
from dicomnlp.receive.intake import Intake
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.queue import save_processed, take_pending
from dicomnlp.work.process import process


class Department:
    """What a department has reported.

    Parameters
    ----------
    settings
        With a database that is there.
    """

    def __init__(self, settings):
        self.settings = settings
        self.database = Database.open(settings)
        self._intake = Intake(settings, self.database)
        self._door = MessageDoor(settings, self._intake)
        self._numbers = itertools.count(1)

    def report(self, impression, *, uid=None, findings="", indication="", language="en", status="F", **order):
        """Take a report in and analyse it; its Study Instance UID."""
        number = next(self._numbers)
        uid = uid or f"1.2.3.{number}"
        order = {"filler": uid, "accession": f"A{uid}", "status": status, **order}
        parts = [("indication", indication), ("findings", findings), ("impression", impression)]
        titles = {"indication": "Indication", "findings": "Findings", "impression": "Impression"}
        texts = [obx(n, text, identifier=f"X^{titles[name]}") for n, (name, text) in enumerate(parts, 1) if text]
        message = oru(pid(f"P{uid}"), obr(**order), *texts, study_uid(9, uid), control_id=f"C{number}")
        answered = self._door.answer(message.encode(), "127.0.0.1")
        assert answered.verdict.code == "A", answered.verdict
        taken = take_pending(self.database, maximum_objects=100, maximum_bytes=10**9, exclude=())
        save_processed(self.database, process(taken, ("gb18030", "cp1252"), language))
        return uid

    def rows(self, query):
        """What the database answers."""
        import sqlalchemy as sa

        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def close(self):
        """Give everything back."""
        self._intake.close()
        self.database.close()


def settings_of(folder, url, **tables):
    """Settings of a database with the schema."""
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"), **tables)
    settings._folder = folder
    return settings


def make_template(url):
    """Give a database the schema; it is copied then, which is quicker than to migrate one for each test."""
    admin.upgrade(Settings(database=DatabaseSettings(url=url)))
