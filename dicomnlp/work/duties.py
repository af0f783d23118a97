"""What has to be done now and then whether anyone asks or not: by the leading dispatcher, so that exactly one does it.

A duty does a little at a time and keeps what it has done in the database: whoever leads next goes on from there. Where
the leader's role went to another process while a run was under way, that run may happen twice at a time.
"""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from dicomnlp.config import Settings
from dicomnlp.errors import DicomnlpError
from dicomnlp.logs import Event, describe, log
from dicomnlp.store.database import Database
from dicomnlp.work.committing import commitment_reporters
from dicomnlp.work.drifting import DriftDuty
from dicomnlp.work.follow_up import FollowUpDuty
from dicomnlp.work.process import switches_of
from dicomnlp.work.promoting import PromotionDuty
from dicomnlp.work.reconciling import reconcilers
from dicomnlp.work.telling import tellers
from dicomnlp.work.writing_back import write_back_duties

END_SECONDS = 10.0
"""What runs under way may take to end after a stop, before they are left to end with the process."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
"""After each failure in a row it is tried again after twice as long, from the first of these to the last."""
LOOK_SECONDS = 0.25
"""Between two looks whether to stop."""


class Duty(Protocol):
    """Something that is done again and again."""

    @property
    def name(self) -> str:
        """In snake_case, for the log."""

    @property
    def seconds(self) -> float:
        """Between the end of a run and the begin of the next."""

    def run(self) -> bool | None:
        """Do what is to be done now, a few seconds' worth; true where more waits, which is then done at once.

        Network calls have deadlines of less than `END_SECONDS`. It can be cut off anywhere, and called again.

        Raises
        ------
        DicomnlpError
            It could not be done: logged with its reason code, and tried again after a while.
        """


def duties_of(settings: Settings, database: Database) -> list[Duty]:
    """The duties that the configuration asks for."""
    return [
        PromotionDuty(database),
        FollowUpDuty(database, switches_of(settings).kinds),
        DriftDuty(settings, database),
        *reconcilers(settings, database),
        *commitment_reporters(settings, database),
        *tellers(settings, database),
        *write_back_duties(settings, database),
    ]


class Duties:
    """Runs duties, each in a thread of its own so that none waits for another, as long as the block lasts.

    Parameters
    ----------
    duties
        What to run; each at once, and then every `Duty.seconds`.
    stop
        No run begins after this is set, even before the block ends.
    """

    def __init__(self, duties: Sequence[Duty], stop: threading.Event) -> None:
        self._stop = stop
        self._left = threading.Event()
        self._stopping_since: float | None = None
        self._threads = {
            duty.name: threading.Thread(target=self._keep, args=(duty,), name=f"duty-{duty.name}", daemon=True)
            for duty in duties
        }

    def __enter__(self) -> Self:
        for thread in self._threads.values():
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads within `END_SECONDS` of the stop; a run that takes longer is cut off with the process."""
        self._left.set()
        deadline = (self._stopping_since or time.monotonic()) + END_SECONDS
        for name, thread in self._threads.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log(Event.DUTY_FAILED, component=name, reason_code="cut_off")

    def _keep(self, duty: Duty) -> None:
        failures = 0
        while not self._is_over():
            try:
                more = duty.run()
            except Exception as error:  # noqa: BLE001  one that ended here would never be done again
                failures += 1
                pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30))
                code = error.reason_code if isinstance(error, DicomnlpError) else "internal_error"
                log(Event.DUTY_FAILED, component=duty.name, reason_code=code, attempts=failures, **describe(error))
            else:
                if failures:
                    log(Event.DUTY_RESUMED, component=duty.name, attempts=failures)
                failures = 0
                pause = 0.0 if more else duty.seconds
            self._wait(pause)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_over() and (left := until - time.monotonic()) > 0:
            self._left.wait(min(LOOK_SECONDS, left))

    def _is_over(self) -> bool:
        if self._stop.is_set() and self._stopping_since is None:
            self._stopping_since = time.monotonic()
        return self._left.is_set() or self._stop.is_set()
