"""A pause of pynetdicom's reactor that holds.

A requestor's thread and the association's own, the reactor, take messages from one queue. Before each request the
reactor is to be paused: `Association.send_*` clear an event on which it waits, and look at an attribute that says that
it does. Cleared right after it was set, as it is between two requests in a row, the event finds a reactor that is about
to go on and still says that it waits: it takes the next response from the queue, and drops it. (pynetdicom 3.0.4; seen
once in some hundred C-FINDs.) The answer then seems to have no matches.
"""

import threading

from pynetdicom.association import Association


class Checkpoint(threading.Event):
    """An event that is clear only once the reactor waits for it, and stays there."""

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor = reactor
        self._changed = threading.Condition()
        self._is_open = True
        self._is_waited_for = False

    def is_set(self) -> bool:
        """Whether the reactor may go on."""
        return self._is_open

    def set(self) -> None:
        """Let it go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Have it wait, and return when it does, or is no more."""
        with self._changed:
            self._is_open = False
            if threading.current_thread() is self._reactor:
                return
            while not self._is_waited_for and self._reactor.is_alive():
                self._changed.wait(0.1)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; the reactor's part."""
        with self._changed:
            self._is_waited_for = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._is_open, timeout)
            finally:
                self._is_waited_for = False


class HeldAssociation(Association):
    """One whose checkpoint alone says that the reactor waits: an N-EVENT-REPORT's own thread says otherwise."""

    # `Association` waits until this is true, for ever where that thread ends once the reactor has begun to wait
    _is_paused = property(lambda _: True, lambda _, __: None)


def hold_reactor(association: Association) -> None:
    """Let no response of an association that was just established be taken by its reactor."""
    association._reactor_checkpoint = Checkpoint(association)  # noqa: SLF001  there is no public way to it
    association.__class__ = HeldAssociation
