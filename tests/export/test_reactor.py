"""The pause of pynetdicom's reactor."""

import threading
import time

from dicomnlp.export.reactor import Checkpoint


def reactor(rounds, over):
    """A thread that goes round as pynetdicom's does, and notes each round."""

    def run():
        while not over.is_set():
            checkpoint.wait()
            rounds.append(held.is_set())
            time.sleep(0.0005)

    held = threading.Event()
    thread = threading.Thread(target=run)
    checkpoint = Checkpoint(thread)
    thread.start()
    return thread, checkpoint, held


def test_once_cleared_nobody_goes_on():
    """Also when it was set the moment before: between two requests in a row that is so each time."""
    rounds, over = [], threading.Event()
    thread, checkpoint, held = reactor(rounds, over)
    for _ in range(300):
        checkpoint.clear()
        held.set()
        time.sleep(0.0002)
        held.clear()
        checkpoint.set()
    over.set()
    thread.join(10)
    assert not any(rounds)


def test_a_reactor_that_has_ended_keeps_nobody_waiting():
    """Its association was aborted."""
    thread = threading.Thread(target=lambda: None)
    checkpoint = Checkpoint(thread)
    thread.start()
    thread.join()
    checkpoint.clear()
    assert not checkpoint.is_set()


def test_the_reactor_itself_does_not_wait_for_itself():
    """It aborts an association by clearing the event, too."""
    cleared = []

    def run():
        checkpoint.clear()
        cleared.append(checkpoint.is_set())

    thread = threading.Thread(target=run)
    checkpoint = Checkpoint(thread)
    thread.start()
    thread.join(10)
    assert cleared == [False]
