"""What an archive holds: its report objects of a day, asked for study by study.

An archive may be asked by C-FIND (`archive_find`) or by QIDO-RS (`archive_qido`); what is made of the answers is the
same. Only UIDs, dates and modalities are asked for, and of an answer nothing else is looked at.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from dicomnlp.config import Settings
from dicomnlp.errors import PacsError
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.contexts import STORAGE_SOP_CLASSES
from dicomnlp.store.reconciliation import ArchivedObject, Listing

CUT_SHORT: Final = "pacs_cut_short"
"""The archive ended its answer before it had named all studies, however small the part of the day asked for."""
UNREADABLE: Final = "pacs_answer"
"""An answer could not be read, or names nothing."""


@dataclass(frozen=True, slots=True)
class ArchivedStudy:
    """A study, as the archive names it."""

    study_instance_uid: str
    modalities: frozenset[str] | None
    """Of its series; None where the archive doesn't say."""


@dataclass(slots=True)
class Answer:
    """Studies of a day."""

    studies: dict[str, ArchivedStudy] = field(default_factory=dict)
    reason_code: str | None = None
    """Why there may be more; None when these are all."""


class Session(Protocol):
    """A conversation with an archive; each method raises `PacsError` when it gets no whole answer."""

    def studies(self, day: dt.date) -> Answer:
        """The studies of a day."""

    def series(self, study_instance_uid: str) -> list[tuple[str, str]]:
        """(Series Instance UID, modality) of a study's series; the modality is "" where the archive doesn't say."""

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[tuple[str, str]]:
        """(SOP Instance UID, SOP Class UID) of a series; the class is "" where the archive doesn't say."""


def list_reports(
    settings: Settings, pacs: PacsSettings, day: dt.date, *, on_study: Callable[[int, int], None] = lambda _d, _t: None
) -> Listing:
    """The report objects that an archive holds of the studies of a day.

    They are those of the SOP classes that the listener takes, in series of `pacs.report_modalities`. A study that the
    archive doesn't answer about is asked for once more, over a new connection, and then counted as unread.

    Parameters
    ----------
    on_study
        Called with how many studies are done, and how many there are.

    Raises
    ------
    PacsError
        It can't be asked, or doesn't tell its studies.
    ConfigurationError
        What the configuration says of it can't be used.
    """
    # here, because they are made from what this module defines
    from dicomnlp.receive.archive_find import find_session  # noqa: PLC0415
    from dicomnlp.receive.archive_qido import qido_session  # noqa: PLC0415

    open_session = qido_session if pacs.qido_url else find_session
    return _Listener(lambda: open_session(settings, pacs), _wanted(settings, pacs), pacs, on_study).run(day)


def _wanted(settings: Settings, pacs: PacsSettings) -> Collection[str]:
    taken = STORAGE_SOP_CLASSES.keys() | set(settings.listener.private_sop_classes)
    return taken - set(pacs.unexpected_sop_classes) | {""}


class _Listener:
    """One listing."""

    def __init__(
        self,
        open_session: Callable[[], AbstractContextManager[Session]],
        sop_classes: Collection[str],
        pacs: PacsSettings,
        on_study: Callable[[int, int], None],
    ) -> None:
        self._open_session = open_session
        self._sop_classes = sop_classes
        self._modalities = frozenset(pacs.report_modalities)
        self._on_study = on_study

    def run(self, day: dt.date) -> Listing:
        listing = Listing()
        with self._open_session() as session:
            answer = session.studies(day)
            listing.studies = len(answer.studies)
            left = self._read(session, answer.studies.values(), listing, done=0)
        # once more what failed: the connection may have gone, or the archive been busy
        if left:
            try:
                with self._open_session() as session:
                    left = self._read(session, left, listing, done=listing.studies - len(left))
            except PacsError as error:
                listing.reason_code = error.reason_code
        listing.unread_studies = len(left)
        if not left:
            listing.reason_code = answer.reason_code
        return listing

    def _read(
        self, session: Session, studies: Iterable[ArchivedStudy], listing: Listing, *, done: int
    ) -> list[ArchivedStudy]:
        """Add the objects of `studies`; those that couldn't be read."""
        left: list[ArchivedStudy] = []
        for study in studies:
            try:
                found = self._objects(session, study)
            except PacsError as error:
                left.append(study)
                listing.reason_code = error.reason_code
            else:
                listing.objects.update((each.sop_instance_uid, each) for each in found)
                done += 1
                self._on_study(done, listing.studies)
        return left

    def _objects(self, session: Session, study: ArchivedStudy) -> list[ArchivedObject]:
        if study.modalities is not None and not study.modalities & self._modalities:
            return []
        uid = study.study_instance_uid
        series = [name for name, modality in session.series(uid) if not modality or modality in self._modalities]
        if not series and study.modalities is not None:
            raise PacsError(
                "the archive names no series of the reports that a study is said to have", reason_code=UNREADABLE
            )
        return [each for name in series for each in self._instances(session, uid, name)]

    def _instances(self, session: Session, study_instance_uid: str, series_instance_uid: str) -> list[ArchivedObject]:
        found = session.instances(study_instance_uid, series_instance_uid)
        if not found:
            raise PacsError("the archive names no instance of a series that it has named", reason_code=UNREADABLE)
        return [
            ArchivedObject(sop_instance_uid, study_instance_uid, series_instance_uid, sop_class_uid)
            for sop_instance_uid, sop_class_uid in found
            if sop_class_uid in self._sop_classes
        ]
