"""Whether the store can take more objects: space on its volumes, objects that wait for analysis, and a sound disk."""

import shutil
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from dicomnlp.config import Settings
from dicomnlp.errors import DatabaseError
from dicomnlp.model import State
from dicomnlp.store import faults
from dicomnlp.store.database import Database
from dicomnlp.store.schema import sop_instance

DISK_FULL: Final = "disk_full"
QUEUE_FULL: Final = "queue_full"

HINDRANCES: Final = (DISK_FULL, QUEUE_FULL, faults.READ_ONLY)
"""Reason codes why no more objects can be taken."""

MARGIN: Final = 0.1
"""By so much of a watermark things must be better before objects are taken again, or it would change all the time."""


def read_hindrance(database: Database, settings: Settings, current: str | None = None) -> str | None:
    """Why no more objects can be taken, as a reason code; None when they can.

    Parameters
    ----------
    database
        Open.
    settings
        For the watermarks.
    current
        The answer of the last time: what was in the way must be out of it by a margin.
    """
    if database.fence.is_closed:
        return faults.READ_ONLY
    wanted = settings.database.minimum_free_bytes * (1 + MARGIN * (current == DISK_FULL))
    if any(_free(folder) < wanted for folder in _folders(database)):
        return DISK_FULL
    allowed = int(settings.listener.maximum_pending_objects * (1 - MARGIN * (current == QUEUE_FULL)))
    return QUEUE_FULL if _pending(database, allowed) >= allowed else None


def _folders(database: Database) -> list[Path]:
    folders = [database.large_object_directory]
    if database.is_sqlite:
        folders.append(Path(database.engine.url.database or "").parent)
    return folders


def _free(folder: Path) -> float:
    """Bytes free on the volume of `folder`, which need not exist yet; no bound where that can't be told."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("inf")


def _pending(database: Database, most: int) -> int:
    """How many objects wait for analysis, counted no further than `most`; 0 when the database doesn't say."""
    waiting = sa.select(sa.literal(1)).where(sop_instance.c.state == State.PENDING.value).limit(most).subquery()
    try:
        with database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(waiting)) or 0
    except DatabaseError:
        return 0
