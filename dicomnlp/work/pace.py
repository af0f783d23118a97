"""How much a worker gets at a time, what it is likely to do in half a second; and how long to wait after a failure.

A new report goes before all that is to be reprocessed, but not before what workers already have in hand; so what they
have in hand must be short, whether objects are of two kilobytes or of two megabytes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dicomnlp.model import StoredObject

LONGEST_PAUSE_SECONDS = 30.0
BATCH_SECONDS = 0.5
"""What a task is meant to take. Longer ones save nothing worth mentioning: a task costs some milliseconds."""
_KEPT = 0.8
"""Share of the old estimate in the new one: a few tasks, and it follows what is sent now."""


@dataclass(slots=True)
class Pace:
    """Seconds that objects have been taking, estimated from the tasks that are done.

    Both estimates are of whole tasks, so each is above what it names: small objects cost more for each byte than large
    ones, large ones more for each object. A batch must fit by both.
    """

    seconds_per_object: float = 0.02
    seconds_per_byte: float = 4e-6
    """To begin with, those of a slow machine."""

    def note(self, objects: int, size: int, seconds: float) -> None:
        """A task of so many objects, of so many bytes in all, took so long."""
        if objects and size:
            self.seconds_per_object += (1 - _KEPT) * (seconds / objects - self.seconds_per_object)
            self.seconds_per_byte += (1 - _KEPT) * (seconds / size - self.seconds_per_byte)

    def limits(self, maximum_objects: int, maximum_bytes: int) -> tuple[int, int]:
        """Objects and bytes that a task may hold, each at least 1 and within these bounds."""
        objects = BATCH_SECONDS / max(self.seconds_per_object, 1e-9)
        size = BATCH_SECONDS / max(self.seconds_per_byte, 1e-12)
        return max(1, int(min(objects, maximum_objects))), max(1, int(min(size, maximum_bytes)))

    def expected(self, size: int) -> float:
        """Seconds that an object of so many bytes is likely to take at the most."""
        return size * self.seconds_per_byte


class Pause:
    """Waits that double from 0.25 s up to `LONGEST_PAUSE_SECONDS`, and start afresh after a success."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._until = 0.0

    @property
    def over(self) -> bool:
        """Whether it can be tried now."""
        return time.monotonic() >= self._until

    def begin(self) -> None:
        """Something has failed again."""
        self._seconds = min(LONGEST_PAUSE_SECONDS, max(0.25, self._seconds * 2))
        self._until = time.monotonic() + self._seconds

    def reset(self) -> None:
        """Something has succeeded."""
        self._seconds = self._until = 0.0


def divide(objects: Sequence[StoredObject], *, maximum_objects: int, maximum_bytes: int) -> list[list[StoredObject]]:
    """`objects` in order, in batches within both limits; one object alone may be above the limit of bytes."""
    batches: list[list[StoredObject]] = []
    size = 0
    for stored in objects:
        if not batches or len(batches[-1]) >= maximum_objects or size + len(stored.data) > maximum_bytes:
            batches.append([])
            size = 0
        batches[-1].append(stored)
        size += len(stored.data)
    return batches
