"""What an archive holds: its report objects of a day, asked for study by study.

An archive may be asked by C-FIND (`archive_find`) or by QIDO-RS (`archive_qido`); what is made of the answers is the
same. Only UIDs, dates and modalities are asked for, and of an answer nothing else is looked at.
"""

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable, Collection
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

MAXIMUM_TRIES: Final = 2
"""Of a study, before it counts as not read."""
MAXIMUM_IN_A_ROW: Final = 5
"""Questions without an answer, before the rest counts as not read."""
_OUT_OF_REACH: Final = frozenset({"pacs_timeout", "pacs_aborted", "pacs_unreachable", "pacs_busy"})


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

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked: the archive ended it, or left a question unanswered."""

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
    archive doesn't answer about is asked for once more, and then counted as unread.

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
        self._left: deque[ArchivedStudy] = deque()
        self._tries: Counter[str] = Counter()
        self._done = 0
        self._in_a_row = 0
        """Questions that found nobody there, since one that did."""
        self._reason_code: str | None = None

    def run(self, day: dt.date) -> Listing:
        listing = Listing()
        with self._open_session() as session:
            answer = session.studies(day)
            listing.studies = len(answer.studies)
            self._left.extend(answer.studies.values())
            self._read(session, listing)
        while self._left and self._in_a_row < MAXIMUM_IN_A_ROW:
            try:
                with self._open_session() as session:
                    self._read(session, listing)
            except PacsError as error:
                self._note(error)
                self._in_a_row += 1
        listing.unread_studies = listing.studies - self._done
        listing.reason_code = self._reason_code if listing.unread_studies else answer.reason_code
        return listing

    def _read(self, session: Session, listing: Listing) -> None:
        """Add the objects of the studies that are left, as long as the conversation lasts."""
        for _ in range(len(self._left)):
            study = self._left.popleft()
            self._tries[study.study_instance_uid] += 1
            try:
                found = self._objects(session, study)
            except PacsError as error:
                self._note(error)
                if self._tries[study.study_instance_uid] < MAXIMUM_TRIES:
                    self._left.append(study)
                if session.is_over or self._in_a_row >= MAXIMUM_IN_A_ROW:
                    return
            else:
                self._in_a_row = 0
                listing.objects.update((each.sop_instance_uid, each) for each in found)
                self._done += 1
                self._on_study(self._done, listing.studies)

    def _note(self, error: PacsError) -> None:
        self._reason_code = error.reason_code
        # an archive that is there and can't do something may do the next
        self._in_a_row += error.reason_code in _OUT_OF_REACH

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
