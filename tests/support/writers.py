"""A listener and a dispatcher as far as the store sees them, to be run as processes of their own."""

import time

from support.records import make_processed, make_record

from dicomnlp.store import queue
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals


def arrive(settings, number, amount):
    """Record `amount` objects, one a transaction, as listener `number`."""
    database = Database.open(settings)
    for n in range(amount):
        record_arrivals(database, [make_record(number * amount + n)])
    database.close()


def work_off(settings, amount):
    """Process objects until it is `amount`."""
    database = Database.open(settings)
    done = 0
    while done < amount:
        taken = queue.take_pending(database, maximum_objects=16, maximum_bytes=10**6, exclude=())
        done += queue.save_processed(database, [make_processed(o.object_id) for o in taken])
        if not taken:
            time.sleep(0.01)
    database.close()
