"""Where the trail last ended, in a file outside of the database.

Whoever can change the database can cut the trail's end off and make its head agree. This file says how far the trail
had come; each host that writes has its own, and it only ever goes forward.
"""

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from dicomnlp.errors import DatabaseError
from dicomnlp.store import faults
from dicomnlp.store.database import Database

_RECORD: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n\Z")
_BYTES: Final = 86


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the trail, by its number and hash; number 0 stands before the first."""

    event_id: int
    hash: str


class Anchor:
    """The file beside the database (of a server: beside the folder of large objects).

    Parameters
    ----------
    path
        Of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, database: Database) -> Self:
        """That of this host for a database."""
        return cls(database.beside("audit-anchor"))

    def read(self) -> Place | None:
        """Where the trail last ended for all that this host knows; None where it never wrote.

        Raises
        ------
        DatabaseError
            The file can't be read, or isn't what `advance` writes.
        """
        try:
            held = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            faults.raise_translated(error)
        return _parsed(held)

    def advance(self, head: Place, place: Place, hash_at: Callable[[int], str | None]) -> bool:
        """Note that the trail has come to `place`, unless it is known to be further.

        A trail that doesn't hold what is noted here isn't followed: the file stays as evidence of what was there.

        Parameters
        ----------
        head
            What `place` was added to.
        hash_at
            The hash of the row of a number, as the trail has it now.

        Returns
        -------
        bool
            Whether the trail goes on from what was noted, as far as can be told.

        Raises
        ------
        DatabaseError
            The file can't be written.
        """
        try:
            # of a server's database nothing else need be on this host yet
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            faults.raise_translated(error)
        try:
            # let go when it is closed; other processes of this host write it, too
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = os.pread(descriptor, _BYTES + 1, 0)
            noted = _parsed(held) if held else head
            if noted.event_id >= place.event_id:
                return True
            if noted != head and hash_at(noted.event_id) != noted.hash:
                return False
            # as long as what it replaces: a full disk can't stop it halfway
            os.pwrite(descriptor, f"{place.event_id:020d} {place.hash}\n".encode(), 0)
        except OSError as error:
            faults.raise_translated(error)
        finally:
            os.close(descriptor)
        return True


def _parsed(held: bytes) -> Place:
    found = _RECORD.match(held)
    if found is None:
        raise DatabaseError("the audit anchor is not what this program wrote; see docs", reason_code="audit_anchor")
    return Place(int(found[1]), found[2].decode())
