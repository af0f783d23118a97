"""Comparing archives with what was received, each night and on request, and fetching what is missing.

Days and objects that are done are in the database: whatever ends this in between, the next run goes on from there.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from dicomnlp.analyse.archive import names_of
from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import record
from dicomnlp.config import Settings
from dicomnlp.errors import DicomnlpError
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.archive import list_reports
from dicomnlp.receive.fetch import fetch, fetches_itself
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import read_active, read_archive
from dicomnlp.store.reconciliation import ArchivedObject, Wanting
from dicomnlp.store.reconciling import (
    NIGHTLY,
    compare,
    compared_since,
    fail_comparison,
    next_requested,
    note_fetched,
    note_hindrance,
    wanted,
)

LOOK_SECONDS: Final = 5.0
"""Between two looks whether anything was asked for."""
AT_ONCE: Final = 50
"""Objects that are fetched before what came of them is kept."""
_ROLE: Final = "dispatcher"


def todays_pipelines(settings: Settings, database: Database) -> Collection[str]:
    """Names, one a language, of the pipeline that counts today."""
    held = read_archive(database, read_active(database).name)
    return names_of(held[0] if held else None, settings.overlays, settings.models).values()


def compare_day(
    settings: Settings,
    database: Database,
    pacs: PacsSettings,
    day: dt.date,
    *,
    requested_by: str | None = None,
    fetches: bool | None = None,
    on_study: Callable[[int, int], None] = lambda _d, _t: None,
) -> int:
    """Compare what an archive holds of the studies of a day with what was received; the number of the comparison.

    Parameters
    ----------
    requested_by
        Whose comparison it is; None: whoever had asked for it, else nobody.
    fetches
        Whether what is missing is to be fetched; None: as had been asked for, else not.
    on_study
        Called with how many studies are done, and how many there are.

    Raises
    ------
    PacsError
        The archive told nothing; that is kept.
    ConfigurationError
        What the configuration says of it can't be used; likewise.
    """
    try:
        listing = list_reports(settings, pacs, day, on_study=on_study)
    except DicomnlpError as error:
        fail_comparison(database, pacs.name, day, error.reason_code, requested_by=requested_by)
        raise
    return compare(
        database,
        pacs.name,
        day,
        listing,
        pipelines=todays_pipelines(settings, database),
        requested_by=requested_by,
        fetches=fetches,
    )


def fetch_wanted(
    settings: Settings,
    database: Database,
    pacs: PacsSettings,
    objects: Sequence[Wanting],
    *,
    on_fetched: Callable[[ArchivedObject, str | None], None] = lambda _o, _r: None,
) -> None:
    """Fetch objects from an archive, and keep what came of each, also where an error ends it.

    Raises
    ------
    PacsError
        The archive can't be asked any further; why is kept with what is still wanted.
    ConfigurationError
        What the configuration says of it can't be used; likewise.
    """
    numbers = {each.object.sop_instance_uid: each.id for each in objects}
    results: dict[int, str | None] = {}

    def note(fetched: ArchivedObject, reason_code: str | None) -> None:
        results[numbers[fetched.sop_instance_uid]] = reason_code
        on_fetched(fetched, reason_code)

    try:
        with _intake(settings, pacs) as intake:
            fetch(settings, database, pacs, [each.object for each in objects], intake=intake, on_fetched=note)
    except DicomnlpError as error:
        note_hindrance(database, pacs.name, error.reason_code)
        raise
    finally:
        note_fetched(database, results)


@contextlib.contextmanager
def _intake(settings: Settings, pacs: PacsSettings) -> Iterator[Intake | None]:
    if not fetches_itself(pacs):
        yield None
        return
    # intake waits less for a database than others do, so it has its own
    with contextlib.closing(Database.open(settings)) as database:
        intake = Intake(settings, database)
        try:
            yield intake
        finally:
            intake.close()


class Reconciler:
    """A duty: what is asked for of one archive, and its nights.

    Parameters
    ----------
    settings
        Tables pacs and reconcile.
    database
        Open.
    number
        Of the archive in [[pacs]], from 1.
    """

    seconds = LOOK_SECONDS

    def __init__(self, settings: Settings, database: Database, number: int) -> None:
        self.name = f"reconcile_{number}"
        self._settings = settings
        self._database = database
        self._pacs = settings.pacs[number - 1]

    def run(self) -> bool:
        """Compare a day that was asked for, or that is due, or else fetch some objects; whether there may be more."""
        day = next_requested(self._database, self._pacs.name) or self._due()
        if day is not None:
            self._compare(day)
            return True
        objects = wanted(self._database, self._pacs.name, AT_ONCE)
        if objects:
            self._fetch(objects)
        return bool(objects)

    def _due(self) -> dt.date | None:
        """The latest day that was not compared since it was time to."""
        if not self._pacs.reconcile:
            return None
        now = dt.datetime.now().astimezone()
        hour, minute = map(int, self._settings.reconcile.at.split(":"))
        last = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if last > now:
            last -= dt.timedelta(days=1)
        days = [last.date() - dt.timedelta(days=back) for back in range(1, self._settings.reconcile.days + 1)]
        done = compared_since(self._database, self._pacs.name, days, last)
        return next((day for day in days if day not in done), None)

    def _compare(self, day: dt.date) -> None:
        with self._recorded(Kind.QUERY, {"pacs": self._pacs.name, "study_date": f"{day:%Y%m%d}"}):
            compare_day(self._settings, self._database, self._pacs, day)

    def _fetch(self, objects: Sequence[Wanting]) -> None:
        with self._recorded(Kind.TRANSFER, {"pacs": self._pacs.name}, len(objects)):
            fetch_wanted(self._settings, self._database, self._pacs, objects)

    @contextlib.contextmanager
    def _recorded(self, kind: Kind, query: dict[str, str], count: int | None = None) -> Iterator[None]:
        """Have a row in the trail of what is done in the block, however it ends."""
        outcome = Outcome.FAILED
        try:
            yield
            outcome = Outcome.SUCCESS
        finally:
            event = AuditEvent(kind, NIGHTLY, self._pacs.host, outcome, None, query, count, "reconcile", _ROLE)
            record(self._database, event)


def reconcilers(settings: Settings, database: Database) -> list[Reconciler]:
    """A duty for each archive that can be asked what it holds."""
    numbered = enumerate(settings.pacs, 1)
    return [Reconciler(settings, database, number) for number, pacs in numbered if pacs.ae_title or pacs.qido_url]
