"""Which reports prevail, of those that are held: a pure function, so that the order in which they came can't matter.

The rules and their reasons are told in docs/explanation/life-of-a-report.md. They rest on what the documents say of
themselves (PS3.3 C.17.2: completion, verification, preliminary flag, predecessor and identical documents; IHE IOCM
rejection notes), never on when they were received.
"""

import enum
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

REJECTION_TITLES = {
    "113001": "rejected_for_quality_reasons",
    "113037": "rejected_for_patient_safety_reasons",
    "113038": "incorrect_modality_worklist_entry",
    "113039": "data_retention_policy_expired",
}
"""Key object selection titles (PS3.16 CID 7011, DCM) that make the note a rejection note, and our reason codes."""
_EXPIRED = "113039"
"""That a note's time of keeping is over doesn't say that it was wrong."""

ADDENDUM_CODES = frozenset({("DCM", "121078"), ("LN", "55107-7")})
_GENERAL_TITLES = frozenset({"11528-7", "18748-4", "18782-3", "68604-8"})
"""LOINC document titles that say no more than that it is a radiologist's report."""
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
"""A word, or a Chinese character."""
_LOINC = frozenset({"LN", "2.16.840.1.113883.6.1"})


class ReportStatus(enum.StrEnum):
    """Whether a report speaks for its studies now."""

    PREVAILING = "prevailing"
    SUPERSEDED = "superseded"
    """A later document took its place: see `Standing.reason_code` and `Standing.by`."""
    WITHDRAWN = "withdrawn"
    """A rejection note names it."""
    IDENTICAL = "identical"
    """A copy: the one named by `Standing.by` stands for it, in all studies of both."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a document says of itself, as far as it decides what prevails."""

    object_id: int
    sop_instance_uid: str
    study_instance_uid: str
    """Its own."""
    patient: str = ""
    """The patient's current identifier; "" when it is not known."""
    accession_number: str = ""
    title: tuple[str, str, str] = ("", "", "")
    """Scheme, value and meaning of the document title."""
    completion_flag: str = ""
    verification_flag: str = ""
    preliminary_flag: str = ""
    verification_date_time: str = ""
    content_date_time: str = ""
    """Content date and time, YYYYMMDDHHMMSS."""
    has_text: bool = False
    addendum: str = ""
    """"title" when the document is called an addendum, "section" when a part of it is, else ""."""
    text: str = ""
    """The narrative, where a comparison needs it: of addenda with predecessors and of these, and of the reports of a
    study in which several are preliminary."""
    is_message: bool = False
    """It came as an HL7 message, and not as a DICOM object."""
    requests: frozenset[str] = frozenset()
    """Accession numbers that it answers, its own among them."""
    words: str = ""
    """The words of the narrative without its headings, where a message may say the same as an object."""
    copy_key: str | None = None
    """The same for documents of one study and patient that say the same at the same moment."""
    predecessors: tuple[str, ...] = ()
    identical_documents: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    """SOP Instance UIDs that it, a rejection note, withdraws."""

    @property
    def is_preliminary(self) -> bool:
        """See `is_preliminary`."""
        return is_preliminary(self.preliminary_flag, self.completion_flag, self.verification_flag)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a report stands, and what put it there."""

    status: ReportStatus
    by: str | None = None
    """SOP Instance UID of the document that decided it."""
    reason_code: str | None = None


PREVAILS = Standing(ReportStatus.PREVAILING)


def is_preliminary(preliminary_flag: str, completion_flag: str, verification_flag: str) -> bool:
    """Whether a report is a preliminary one.

    PARTIAL and VERIFIED is no state that the standard knows (PS3.3 C.17.2.5): it is how dcm4chee's HL7 gateway writes
    result status P. PARTIAL and UNVERIFIED says nothing, since many systems write it on all their reports.
    """
    if preliminary_flag:
        return preliminary_flag == "PRELIMINARY"
    return completion_flag == "PARTIAL" and verification_flag == "VERIFIED"


def rejection_reason(scheme: str, value: str) -> str | None:
    """Why a key object selection with this title rejects what it refers to; None when it doesn't."""
    return REJECTION_TITLES.get(value) if scheme == "DCM" else None


def prevail(held: Iterable[Facts]) -> dict[int, Standing]:
    """Where each document stands, by its object's row.

    Parameters
    ----------
    held
        One entry a SOP instance, with all that any of them depends on.
    """
    documents = sorted(held, key=lambda f: f.sop_instance_uid)
    standings = _withdraw(documents)
    standing = [f for f in documents if f.object_id not in standings]
    copies = _Copies(standing)
    _join_messages(standing, copies)
    _supersede(standing, copies, standings)
    _count_once([f for f in standing if f.object_id not in standings], copies, standings)
    return {f.object_id: standings.get(f.object_id, PREVAILS) for f in documents}


def _withdraw(documents: Sequence[Facts]) -> dict[int, Standing]:
    """What rejection notes that count withdraw; a note that is withdrawn itself rejects nothing."""
    notes = {f.sop_instance_uid: f for f in documents if f.rejects}
    rejected_by: defaultdict[str, list[Facts]] = defaultdict(list)
    for note in notes.values():
        for uid in note.rejects:
            if uid not in notes or note.title[1] != _EXPIRED:
                rejected_by[uid].append(note)
    void = _void(notes, rejected_by)
    standings: dict[int, Standing] = {}
    for f in documents:
        counting = [note for note in rejected_by[f.sop_instance_uid] if note.sop_instance_uid not in void]
        if counting and (f.sop_instance_uid in void or not f.rejects):
            note = counting[0]
            reason = rejection_reason(*note.title[:2])
            standings[f.object_id] = Standing(ReportStatus.WITHDRAWN, note.sop_instance_uid, reason)
    return standings


def _void(notes: Mapping[str, Facts], rejected_by: Mapping[str, Sequence[Facts]]) -> set[str]:
    """Notes that a note that counts has rejected; of notes that reject each other in a ring all count."""
    counting: set[str] = set()
    void: set[str] = set()
    waiting = {uid: {n.sop_instance_uid for n in rejected_by.get(uid, ())} for uid in notes}
    while ready := sorted(uid for uid, by in waiting.items() if not by - void):
        counting.update(ready)
        for uid in ready:
            del waiting[uid]
        void |= {uid for uid, by in waiting.items() if by & counting}
        waiting = {uid: by for uid, by in waiting.items() if uid not in void}
    return void


class _Copies:
    """Documents that name each other as identical: one logical document in several studies."""

    def __init__(self, documents: Sequence[Facts]) -> None:
        self._parent = {f.sop_instance_uid: f.sop_instance_uid for f in documents}
        for f in documents:
            for uid in f.identical_documents:
                if uid in self._parent:
                    self.join(f.sop_instance_uid, uid)

    def of(self, uid: str) -> str:
        """The name of the logical document that `uid` is a copy of."""
        while self._parent[uid] != uid:
            uid = self._parent[uid]
        return uid

    def join(self, one: str, other: str) -> None:
        """Make them copies of each other."""
        first, second = sorted((self.of(one), self.of(other)))
        self._parent[second] = first

    @property
    def all(self) -> Collection[str]:
        """SOP Instance UIDs of the documents."""
        return self._parent.keys()


def _join_messages(documents: Sequence[Facts], copies: _Copies) -> None:
    """Make an HL7 message a copy of the DICOM object that says the same of the same request or study of the patient.

    Headings may differ, which one form writes into the text and the other into concept names; no word else may: of a
    corrected report that came in one form only, both must stay to be seen.
    """
    objects: defaultdict[tuple[str, str], list[Facts]] = defaultdict(list)
    for f in documents:
        if not f.is_message:
            objects[f.patient, f.words].append(f)
    for message in documents:
        if message.is_message and message.patient and message.words:
            for f in objects[message.patient, message.words]:
                if f.study_instance_uid == message.study_instance_uid or f.requests & message.requests:
                    copies.join(f.sop_instance_uid, message.sop_instance_uid)


def said(text: str) -> str:
    """The words of `text`, whatever stands between them: what `Facts.words` compares."""
    return " ".join(_WORD.findall(text.casefold()))


def _rank(f: Facts) -> tuple[bool, str, str, str]:
    """The later and the more final, the higher; the UID decides what nothing else does."""
    return not f.is_preliminary, f.verification_date_time[:14], f.content_date_time[:14], f.sop_instance_uid


def _supersede(documents: Sequence[Facts], copies: _Copies, standings: dict[int, Standing]) -> None:
    """Mark what a later document took the place of; the copies of a superseded document are superseded with it."""
    members: defaultdict[str, list[Facts]] = defaultdict(list)
    for f in documents:
        members[copies.of(f.sop_instance_uid)].append(f)
    claims: defaultdict[str, list[tuple[Facts, str]]] = defaultdict(list)
    for later, name in _amendments(documents, copies, members):
        claims[name].append((later, "amended"))
    for later, earlier in _finals(documents, {uid for uid in copies.all if claims[copies.of(uid)]}):
        claims[copies.of(earlier.sop_instance_uid)].append((later, "finalised"))
    for name, made in claims.items():
        outside = [(later, reason) for later, reason in made if copies.of(later.sop_instance_uid) != name]
        if outside:
            later, reason = max(outside, key=lambda claim: (_rank(claim[0]), claim[1]))
            for f in members[name]:
                standings[f.object_id] = Standing(ReportStatus.SUPERSEDED, later.sop_instance_uid, reason)


def _amendments(
    documents: Sequence[Facts], copies: _Copies, members: dict[str, list[Facts]]
) -> list[tuple[Facts, str]]:
    """(later document, name of the document that it replaces) by Predecessor Documents Sequence (0040,A360)."""
    by_uid = {f.sop_instance_uid: f for f in documents}
    edges: list[tuple[Facts, str]] = []
    for later in documents:
        for uid in later.predecessors:
            earlier = by_uid.get(uid)
            if earlier is None or copies.of(uid) == copies.of(later.sop_instance_uid):
                continue
            # a draft of an amendment does not take the place of what is final
            if later.is_preliminary and not earlier.is_preliminary:
                continue
            if not _is_addendum_to(later, earlier):
                edges.append((later, copies.of(uid)))
    below: defaultdict[str, set[str]] = defaultdict(set)
    for later, earlier_name in edges:
        below[copies.of(later.sop_instance_uid)].add(earlier_name)

    def reaches(start: str, goal: str) -> bool:
        seen, ahead = {start}, [start]
        while ahead:
            new = below[ahead.pop()] - seen
            if goal in new:
                return True
            seen |= new
            ahead.extend(new)
        return False

    def latest(name: str) -> tuple[bool, str, str, str]:
        return max(_rank(f) for f in members[name])

    # of documents that name each other in a ring, the latest stands
    return [
        (later, name)
        for later, name in edges
        if not reaches(name, copies.of(later.sop_instance_uid))
        or latest(copies.of(later.sop_instance_uid)) > latest(name)
    ]


def _is_addendum_to(later: Facts, earlier: Facts) -> bool:
    """Whether `later` adds to `earlier`; one that repeats the whole of it takes its place, whatever it is called."""
    if not later.addendum:
        return False
    whole = _plain(earlier.text)
    return not (whole and whole in _plain(later.text))


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _finals(documents: Sequence[Facts], named: Collection[str]) -> list[tuple[Facts, Facts]]:
    """(final report, preliminary one that it is the final form of) where it doesn't name it.

    Parameters
    ----------
    documents
        Those that nobody withdrew.
    named
        SOP Instance UIDs of documents whose successor names them.
    """
    uids = {f.sop_instance_uid for f in documents}
    preliminary = [f for f in documents if f.is_preliminary and f.sop_instance_uid not in named]
    finals: defaultdict[str, list[Facts]] = defaultdict(list)
    for later in documents:
        # one that says which documents it takes the place of takes no other's
        if uids.isdisjoint(later.predecessors):
            for earlier in _repeated([p for p in preliminary if _finalises(later, p)], later):
                finals[earlier.sop_instance_uid].append(later)
    return [
        (_first_after(earlier, found), earlier)
        for earlier in preliminary
        if (found := finals[earlier.sop_instance_uid])
    ]


def _repeated(preliminary: Sequence[Facts], final: Facts) -> list[Facts]:
    """Of several preliminary reports the one that `final` repeats most, and all of which it repeats half the words."""
    if len(preliminary) < 2:
        return list(preliminary)
    words = set(_WORD.findall(final.text.casefold()))
    shares = [_share(set(_WORD.findall(p.text.casefold())), words) for p in preliminary]
    return [p for p, share in zip(preliminary, shares, strict=True) if share >= min(0.5, max(shares))]


def _share(words: set[str], others: set[str]) -> float:
    return len(words & others) / len(words) if words else 1.0


def _first_after(earlier: Facts, finals: Sequence[Facts]) -> Facts:
    """The one that was written first, where the times are told; else the most final and latest verified."""
    times = [_moment(f) for f in finals if _moment(f)] if _moment(earlier) else []
    return max((f for f in finals if not times or _moment(f) == min(times)), key=_rank)


def _moment(f: Facts) -> str:
    """Content date and time to the second; "" when the time is not told."""
    return f.content_date_time[:14] if len(f.content_date_time) >= 14 else ""


def _finalises(later: Facts, earlier: Facts) -> bool:
    """Whether `later` can be the final form of the preliminary `earlier` of the same study without naming it."""
    return (
        # what is written after the final report is another one, unless it is the draft of an amendment
        not (
            _moment(later) and _moment(later) < _moment(earlier) and later.sop_instance_uid not in earlier.predecessors
        )
        and not later.is_preliminary
        and (later.preliminary_flag == "FINAL" or later.completion_flag == "COMPLETE")
        and later.addendum != "title"
        and not (later.addendum and later.predecessors)
        and not later.rejects
        and later.study_instance_uid == earlier.study_instance_uid
        and _agree(later.patient, earlier.patient)
        and _agree(later.accession_number, earlier.accession_number)
        and _same_family(later, earlier)
    )


def _agree(one: str, other: str) -> bool:
    return not one or not other or one == other


def _same_family(one: Facts, other: Facts) -> bool:
    """Whether two titles can be of one report: equal, or one says only that it is a report and the other of what.

    A dose report, a measurement or CAD report beside a radiologist's is never another state of it.
    """
    if one.title[1] and one.title[:2] == other.title[:2]:
        return True
    if _plain(one.title[2]) == _plain(other.title[2]):
        return one.has_text and other.has_text
    general = [f for f in (one, other) if not f.title[2] or (f.title[0] in _LOINC and f.title[1] in _GENERAL_TITLES)]
    narrative = all(f.has_text and (not f.title[1] or f.title[0] in _LOINC) for f in (one, other))
    return bool(general) and narrative


def _count_once(documents: Sequence[Facts], copies: _Copies, standings: dict[int, Standing]) -> None:
    """Of documents that say the same, let the most final stand for all."""
    keyed: dict[str, str] = {}
    for f in documents:
        if f.copy_key is not None:
            copies.join(f.sop_instance_uid, keyed.setdefault(f.copy_key, f.sop_instance_uid))
    same: defaultdict[str, list[Facts]] = defaultdict(list)
    for f in documents:
        same[copies.of(f.sop_instance_uid)].append(f)
    for group in same.values():
        # an object before a message, verified before unverified; else the first by UID, which no arrival can change
        first = min(
            group,
            key=lambda f: (f.is_preliminary, f.is_message, f.verification_flag != "VERIFIED", f.sop_instance_uid),
        )
        for f in group:
            if f is not first:
                standings[f.object_id] = Standing(ReportStatus.IDENTICAL, first.sop_instance_uid, "identical_document")
