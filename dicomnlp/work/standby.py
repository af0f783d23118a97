"""Being the dispatcher of a database, or standing by for it."""

import threading
from collections.abc import Callable

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DatabaseError, RoleLostError
from dicomnlp.logs import Event, describe, log
from dicomnlp.store.database import Database
from dicomnlp.work.dispatcher import Dispatcher
from dicomnlp.work.duties import Duties, duties_of

DATABASE_SECONDS = 60.0
"""A database server that needs longer for an answer, because it is suspended, is given up, and asked again later."""
STANDBY = "standby"
STANDBY_SECONDS = 1.0
"""Between two attempts to become the dispatcher."""


def run_dispatcher(
    settings: Settings, database: Database, *, on_ready: Callable[[str], None], stop: threading.Event
) -> None:
    """Process pending objects until `stop` is set; what is in flight then ends within ten seconds, and is saved.

    While another dispatcher works on this database this one stands by, and takes its place within `STANDBY_SECONDS`
    of its end. Whoever leads also does the `duties`.

    Parameters
    ----------
    settings
        Tables work, extract, analyse, logs.
    database
        Where pending objects are and results go.
    on_ready
        Called with the scheduler's address when work can be done, and with `STANDBY` when another does it.
    stop
        Ends the dispatcher.

    Raises
    ------
    LanguagePackError
        The pack of the default language can't be used.
    """
    database.limit_waits(DATABASE_SECONDS)
    stands_by, has_led = False, False
    refused = 0
    while not stop.is_set():
        try:
            with database.hold("dispatcher") as check_role:
                stands_by, has_led = False, True
                with Duties(duties_of(settings, database), stop):
                    Dispatcher(settings, database, check_role=check_role).run(stop, on_ready)
        except AlreadyRunningError:
            refused += 1
            # whoever asks whether there is a dispatcher holds its role for an instant
            if not stands_by and refused > 1:
                stands_by = True
                on_ready(STANDBY)
        except RoleLostError as error:
            log(Event.WORK_PAUSED, reason_code=error.reason_code, **describe(error))
        except DatabaseError as error:
            if not has_led and not stands_by:
                raise
            log(Event.WORK_PAUSED, reason_code=error.reason_code, **describe(error))
        stop.wait(STANDBY_SECONDS)
