"""A process that adds rows to an audit trail until it is killed: `python -m support.trail_writer URL NAME`."""

import sys

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import record
from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.store.database import Database


def main(url, folder, name):
    """Write for ever."""
    database = Database.open(Settings(database=DatabaseSettings(url=url, large_object_directory=folder)))
    while True:
        record(database, AuditEvent(Kind.QUERY, name, "", Outcome.SUCCESS))


if __name__ == "__main__":
    main(*sys.argv[1:])
