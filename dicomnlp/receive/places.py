"""What the associations of one process share: how many there may be, whose, and how much memory their objects take."""

import contextlib
import ctypes
import threading
from collections import Counter
from typing import Final

from dicomnlp.config import ListenerSettings

RESERVED_PART: Final = 8
"""One place in so many is for addresses that have no association yet."""

FREE_BYTES: Final = 262144
"""What a data set may take without asking: reports are smaller, and never wait for what somebody else sends."""
_STEP_BYTES: Final = 1048576


_M_MMAP_THRESHOLD: Final = -3
"""Of glibc's mallopt."""


def give_back_large_blocks() -> None:
    """Have memory of large objects go back to the system when they are done with.

    When a large block is freed glibc takes blocks up to its size, up to 32 MB, for usual ones from then on, and keeps
    them; a fixed threshold ends that. Other C libraries have no such habit, and no such function.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, FREE_BYTES)


class Places:
    """Places for associations, of which no peer can have all.

    Parameters
    ----------
    settings
        How many there are, and how many an address or a calling AE title may have.
    """

    def __init__(self, settings: ListenerSettings) -> None:
        self.reconfigure(settings)
        self._lock = threading.Lock()
        self._addresses: Counter[str] = Counter()
        self._ae_titles: Counter[str] = Counter()

    def reconfigure(self, settings: ListenerSettings) -> None:
        """Let other bounds hold from now on; who has a place keeps it."""
        self._maximum = settings.maximum_associations
        self._maximum_per_peer = settings.maximum_associations_per_peer
        self._reserved = settings.maximum_associations // RESERVED_PART

    @property
    def taken(self) -> int:
        """How many associations there are."""
        with self._lock:
            return self._addresses.total()

    def take(self, address: str, calling_ae_title: str, own_maximum: int = 0) -> str | None:
        """Take a place for a peer: None when it has one, else the reason code why not.

        `own_maximum`, if not 0, is how many the AE title may have, in place of what any peer may. Its address may have
        as many then, all titles that it uses together: a title is whatever a peer says, an address isn't.
        """
        with self._lock:
            free = self._maximum - self._addresses.total()
            held = self._addresses[address]
            if free <= 0:
                return "local_limit_exceeded"
            held_by_title = self._ae_titles[calling_ae_title]
            if held_by_title >= (own_maximum or self._maximum_per_peer):
                return "peer_limit_exceeded"
            if held >= max(own_maximum, self._maximum_per_peer):
                return "peer_limit_exceeded"
            if held and free <= self._reserved:
                return "places_reserved"
            self._addresses[address] += 1
            self._ae_titles[calling_ae_title] += 1
        return None

    def give_back(self, address: str, calling_ae_title: str) -> None:
        """Give back a place that `take` gave."""
        with self._lock:
            for counter, key in ((self._addresses, address), (self._ae_titles, calling_ae_title)):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]


class Allowance:
    """Bytes that the larger objects of all associations may take together while they come in.

    Parameters
    ----------
    total
        Bytes.
    patience
        Seconds that an association waits, and makes its peer wait, for others to give back.
    """

    def __init__(self, total: int, patience: float) -> None:
        self._free = total
        self._patience = patience
        self._changed = threading.Condition()
        self.copying = threading.Lock()
        """Held while a larger data set is copied, so that only one is in memory twice."""

    def take(self, held: int, size: int) -> int | None:
        """Enough for a data set of `size` bytes of which `held` are taken already.

        Returns
        -------
        int | None
            How many are taken now; None when there weren't enough, also after a wait.
        """
        wanted = -(-(size - FREE_BYTES) // _STEP_BYTES) * _STEP_BYTES - held
        if wanted <= 0:
            return held
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= wanted, self._patience):
                return None
            self._free -= wanted
        return held + wanted

    def give_back(self, held: int) -> None:
        """Give back what `take` gave."""
        if held:
            with self._changed:
                self._free += held
                self._changed.notify_all()
