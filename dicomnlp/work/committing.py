"""Telling requestors of storage commitment what is kept, over associations of this service's own."""

from typing import Final

from dicomnlp.config import Settings
from dicomnlp.errors import DicomnlpError
from dicomnlp.logs import Event, log
from dicomnlp.receive.commitment import report_to
from dicomnlp.store.commitment import Commitment, next_unreported, note_reported, note_unreported
from dicomnlp.store.database import Database

LOOK_SECONDS: Final = 2.0


class CommitmentReporter:
    """A duty: sends what is to be told next.

    Parameters
    ----------
    settings
        Whose [[pacs]] says where requestors listen.
    database
        Open.
    """

    name = "storage_commitment"
    seconds = LOOK_SECONDS

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._requestors = {pacs.ae_title.strip(): pacs for pacs in settings.pacs if pacs.ae_title}

    def run(self) -> bool:
        """Tell one requestor; whether there was one. One that can't be reached keeps no other waiting."""
        commitment = next_unreported(self._database)
        if commitment is None:
            return False
        pacs = self._requestors.get(commitment.calling_ae_title)
        if pacs is None:
            self._put_off(commitment, "pacs_unknown")
            return True
        try:
            report_to(self._settings, pacs, commitment)
        except DicomnlpError as error:
            # its own pause, not the duty's: nobody else is to wait
            self._put_off(commitment, error.reason_code)
        else:
            note_reported(self._database, commitment.id)
        return True

    def _put_off(self, commitment: Commitment, reason_code: str) -> None:
        log(Event.STORAGE_COMMITMENT_NOT_TOLD, calling_ae_title=commitment.calling_ae_title, reason_code=reason_code)
        note_unreported(self._database, commitment.id, reason_code)


def commitment_reporters(settings: Settings, database: Database) -> list[CommitmentReporter]:
    """The duty, where there is anybody whose address is known."""
    return [CommitmentReporter(settings, database)] if any(pacs.ae_title for pacs in settings.pacs) else []
