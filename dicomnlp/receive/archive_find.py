"""Asking an archive by C-FIND (PS3.4 C.4.1), study root, level by level as the baseline of PS3.4 C.4.1.2.1 wants it."""

import contextlib
import datetime as dt
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicomnlp.config import Settings
from dicomnlp.errors import ObjectError, PacsError
from dicomnlp.export.pacs import associate
from dicomnlp.extract.elements import scan
from dicomnlp.model import is_uid
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.archive import CUT_SHORT, UNREADABLE, Answer, ArchivedStudy
from dicomnlp.receive.contexts import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

MODEL: Final = str(StudyRootQueryRetrieveInformationModelFind)
_STUDY_TIME: Final = 0x00080030
_MODALITY: Final = 0x00080060
_MODALITIES_IN_STUDY: Final = 0x00080061
_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018
_STUDY_INSTANCE_UID: Final = 0x0020000D
_SERIES_INSTANCE_UID: Final = 0x0020000E

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "STUDY": ("StudyDate", "StudyTime", "StudyInstanceUID", "ModalitiesInStudy"),
    "SERIES": ("StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
}
"""What is asked for at each level; matched where a value is given, else only to be told."""

_SUCCESS: Final = 0x0000
_PENDING: Final = frozenset({0xFF00, 0xFF01})
_CUT: Final = frozenset({0xA700, 0xFE00})
"""Out of resources, and a cancel that nobody asked for: how archives say that there are more matches than they tell."""
_DAY: Final = 24 * 60 * 60

MAXIMUM_MATCHES: Final = 200_000
"""Of one question; an archive that doesn't stop answering is no archive."""

Values = dict[int, str]
"""Of an answer: text of its elements by tag."""


@contextlib.contextmanager
def find_session(settings: Settings, pacs: PacsSettings) -> Iterator["FindSession"]:
    """A conversation by C-FIND; raises as `export.pacs.associate`."""
    answers: deque[bytes] = deque()

    def note(event: evt.Event) -> None:
        # as encoded: what pynetdicom makes of an answer in a character set that it doesn't know is nothing at all
        data_set = event.message.data_set
        answers.append(data_set.getvalue() if data_set is not None else b"")

    context = build_context(
        StudyRootQueryRetrieveInformationModelFind, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]
    )
    with associate(settings, pacs, [context], handlers=[(evt.EVT_DIMSE_RECV, note)]) as association:
        yield FindSession(pacs, association, answers)


class FindSession:
    """Questions over one association.

    Parameters
    ----------
    pacs
        Whom they are put to.
    association
        Established, with the study root model.
    answers
        To which the data set of each response is added when it comes, before pynetdicom hands it out.
    """

    def __init__(self, pacs: PacsSettings, association: Association, answers: deque[bytes]) -> None:
        self._pacs = pacs
        self._association = association
        self._answers = answers
        self.is_over = False
        self._transfer_syntax = str(association.accepted_contexts[0].transfer_syntax[0])

    def studies(self, day: dt.date) -> Answer:
        """All studies of a day; where the archive ends its answer early the day is asked for in parts."""
        answer = Answer()
        if not self._add_studies(answer, day, ""):
            # a study without a time is in no part of the day: of these there may be more
            timeless = any(not row for row in self._times)
            if not self._halve(answer, day, 0, _DAY) or timeless:
                answer.reason_code = CUT_SHORT
        return answer

    def series(self, study_instance_uid: str) -> list[tuple[str, str]]:
        """As of `archive.Session`."""
        return [
            (self._uid(row, _SERIES_INSTANCE_UID), row.get(_MODALITY, ""))
            for row in self._whole("SERIES", StudyInstanceUID=study_instance_uid)
        ]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[tuple[str, str]]:
        """As of `archive.Session`."""
        keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
        return [
            (self._uid(row, _SOP_INSTANCE_UID), row.get(_SOP_CLASS_UID, "")) for row in self._whole("IMAGE", **keys)
        ]

    # --- studies of a day

    def _halve(self, answer: Answer, day: dt.date, begin: int, end: int) -> bool:
        """Ask for both halves of the seconds [begin, end) of a day, and on where needed; whether all is known."""
        if end - begin < 2:
            return False
        middle = (begin + end) // 2
        whole = True
        for first, last in ((begin, middle), (middle, end)):
            if not self._add_studies(answer, day, f"{_clock(first)}-{_clock(last - 1)}.999999"):
                whole = self._halve(answer, day, first, last) and whole
        return whole

    def _add_studies(self, answer: Answer, day: dt.date, times: str) -> bool:
        """Add those of a part of a day; whether these are all of it."""
        rows, is_cut = self._find("STUDY", StudyDate=f"{day:%Y%m%d}", StudyTime=times)
        self._times = [row.get(_STUDY_TIME, "") for row in rows]
        for row in rows:
            uid = row.get(_STUDY_INSTANCE_UID, "")
            if not is_uid(uid):
                answer.reason_code = UNREADABLE
                continue
            modalities = row.get(_MODALITIES_IN_STUDY, "")
            named = frozenset(each.strip() for each in modalities.split("\\")) - {""}
            answer.studies[uid] = ArchivedStudy(uid, named or None)
        return not is_cut

    # --- questions

    def _whole(self, level: str, **matched: str) -> list[Values]:
        rows, is_cut = self._find(level, **matched)
        if is_cut:
            raise PacsError(f"{self._pacs.name} ends its answer early", reason_code=CUT_SHORT)
        return rows

    def _uid(self, row: Values, tag: int) -> str:
        uid = row.get(tag, "")
        if not is_uid(uid):
            raise PacsError(f"{self._pacs.name} answers without a UID", reason_code=UNREADABLE)
        return uid

    def _find(self, level: str, **matched: str) -> tuple[list[Values], bool]:
        """The answers to one question, and whether the archive ended them early."""
        if self.is_over or not self._association.is_established:
            self.is_over = True
            raise PacsError(f"{self._pacs.name} ended the association", reason_code="pacs_aborted")
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword in KEYS[level]:
            setattr(query, keyword, matched.get(keyword, ""))
        self._answers.clear()
        rows: list[Values] = []
        for status, _ in self._association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            code: Any = status.get("Status")
            data_set = self._answers.popleft() if self._answers else b""
            if code in _PENDING and len(rows) < MAXIMUM_MATCHES:
                rows.append(self._values(data_set))
            elif code in _CUT:
                return rows, True
            elif code != _SUCCESS:
                raise self._failure(code)
        return rows, False

    def _failure(self, code: int | None) -> PacsError:
        name = self._pacs.name
        if code is None:
            self.is_over = True
            return PacsError(f"{name} stopped answering, or aborted the association", reason_code="pacs_timeout")
        if code in _PENDING:
            self.is_over = True
            self._association.abort()
            return PacsError(f"{name} doesn't stop answering", reason_code=UNREADABLE)
        return PacsError(f"{name} can't answer: status {code:04X}", reason_code="pacs_failed")

    def _values(self, data_set: bytes) -> Values:
        try:
            elements = scan(data_set, self._transfer_syntax, nested=False).elements
        except ObjectError:
            raise PacsError(f"{self._pacs.name} answers what is no data set", reason_code=UNREADABLE) from None
        # identifiers and codes are ASCII by PS3.5 6.2; whatever else it says isn't looked at
        return {tag: element.value.decode("ascii", "replace").strip("\0 ") for tag, element in elements.items()}


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
