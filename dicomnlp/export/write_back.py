"""Write-back: what was found in a report goes to archives as documents, and stays true there.

A document is written when its report is analysed first, and anew when what it says has changed: another analysis,
a corrected report, a withdrawn one. Each is kept before it is sent, and sent to each archive until that has taken it.
An archive that took one without saying so gets the same object again, under the same SOP Instance UID.
"""

import dataclasses
import datetime as dt
import enum
import urllib.parse
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import record
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, DicomnlpError, ObjectError, PacsError
from dicomnlp.export import fhir_transaction, sending
from dicomnlp.export.sending import Answer
from dicomnlp.export.sr_statements import Statements, statements_of
from dicomnlp.logs import Event, log
from dicomnlp.model import StoredObject
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.database import Database
from dicomnlp.store.exports import ExportedReport, exported_reports, read_objects
from dicomnlp.store.originals import OriginalDamagedError, OriginalMissingError
from dicomnlp.store.prevailing import ReportStatus, is_preliminary
from dicomnlp.store.written_documents import (
    Document,
    Due,
    due,
    keep_document,
    lineage_of,
    note_failed,
    note_sent,
    order,
    sent_ancestors,
)

ROLE: Final = "write_back"
"""Held by the one process that sends."""
SERVICE: Final = "service"
"""In the audit trail: what is sent unasked."""
AT_ONCE: Final = 20
"""Documents that are sent over one association."""
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
"""After each failure it is tried again after twice as long, from the first of these to the last."""
REFUSALS: Final = 5
"""So often an archive may refuse a document before it is given up."""
PATIENCE: Final = dt.timedelta(days=7)
"""So long a document waits for an archive that can't be reached or takes nothing."""
SR, FHIR = "sr", "fhir"


class Result(enum.StrEnum):
    """What came of a report, in one form."""

    WRITTEN = "written"
    """A document was written."""
    UNCHANGED = "unchanged"
    """There is one that says the same."""
    NOTHING = "nothing"
    """The report doesn't speak for its study, or holds nothing that is written, and nothing was written before."""


def forms_of(archive: PacsSettings) -> tuple[str, ...]:
    """What is sent to an archive."""
    return (*((SR,) if archive.ae_title or archive.stow_url else ()), *((FHIR,) if archive.fhir_url else ()))


def archives_of(settings: Settings, names: Iterable[str]) -> list[PacsSettings]:
    """Archives by name.

    Raises
    ------
    ConfigurationError
        No [[pacs]] of such a name takes documents.
    """
    known = {p.name: p for p in settings.pacs if forms_of(p)}
    chosen = list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        there = ", ".join(known) or "none"
        raise ConfigurationError(f"no [[pacs]] that takes documents is named {', '.join(unknown)}; there are: {there}")
    return [known[name] for name in chosen]


def check_installed(archives: Iterable[PacsSettings]) -> None:
    """Refuse to go on without highdicom where a DICOM document is to be written.

    Raises
    ------
    ConfigurationError
        It isn't installed.
    """
    if not any(SR in forms_of(a) for a in archives):
        return
    try:
        import highdicom.sr  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigurationError('write-back needs highdicom: pip install "dicomnlp[write-back]"') from None


# --- writing


def write_report(
    settings: Settings, database: Database, object_id: int, archives: Sequence[PacsSettings]
) -> dict[str, Result]:
    """See that the archives are to have what a report says now, and nothing else of it.

    Returns
    -------
    dict
        What came of it, by form.

    Raises
    ------
    ObjectError, NotWritableError
        No document can be made of it.
    """
    results = {}
    for form in (SR, FHIR):
        names = [a.name for a in archives if form in forms_of(a)]
        if names:
            results[form] = _write(settings, database, object_id, form, names)
    return results


def _write(settings: Settings, database: Database, object_id: int, form: str, names: Sequence[str]) -> Result:
    while True:
        lineage = lineage_of(database, object_id, form)
        found = exported_reports(database, [object_id])
        if lineage is None or not found:
            return Result.NOTHING
        [exported] = found
        before = [*([lineage.own] if lineage.own else []), *lineage.taken_over]
        if not _is_to_be_said(exported, lineage.status, before, form):
            return Result.NOTHING
        is_withdrawal = lineage.status is ReportStatus.WITHDRAWN
        make = _measurement_report if form == SR else _transaction
        document, data_of = make(settings, database, exported, before, is_withdrawal)
        if lineage.own is not None and not lineage.taken_over and _says_the_same(lineage.own, document):
            order(database, dataclasses.replace(lineage.own, pipeline=document.pipeline), names)
            return Result.UNCHANGED
        document = dataclasses.replace(document, data=data_of(), predecessors=tuple(d.document_uid for d in before))
        # false when another process has written meanwhile: then look again
        known = [a.name for a in settings.pacs if form in forms_of(a)]
        if keep_document(database, document, names, known):
            return Result.WRITTEN


def _is_to_be_said(exported: ExportedReport, status: ReportStatus, before: Sequence[Document], form: str) -> bool:
    """Whether a report speaks for its study, or did, and has something to say, or had."""
    if exported.report.report is None or exported.report.analysis is None:
        return False
    if status is not ReportStatus.PREVAILING:
        return status is ReportStatus.WITHDRAWN and bool(before)
    return bool(before or (_statements(exported).of_findings if form == SR else exported.findings))


def _says_the_same(one: Document, other: Document) -> bool:
    return (one.content_sha256, one.is_withdrawal) == (other.content_sha256, other.is_withdrawal)


_Described = tuple[Document, Callable[[], bytes]]
"""A document without its bytes, and what makes them: that takes a tenth of a second, and often isn't needed."""


def _measurement_report(
    settings: Settings, database: Database, exported: ExportedReport, before: Sequence[Document], is_withdrawal: bool
) -> _Described:
    # here, since highdicom takes half a second to import and is an extra
    from dicomnlp.export.sr_document import Source, Written, series_uid, write_document  # noqa: PLC0415

    header, report, analysis = exported.header, exported.report.report, exported.report.analysis
    assert report is not None
    assert analysis is not None
    study, ae_title = header.identity.study_instance_uid, settings.listener.ae_title
    is_draft = is_preliminary(report.preliminary_flag, report.completion_flag, report.verification_flag)
    statements = None if is_withdrawal else _statements(exported)
    document = Document(
        form=SR,
        document_uid=_new_uid(),
        object_id=header.object_id,
        source_sop_instance_uid=header.identity.sop_instance_uid,
        study_instance_uid=study,
        pipeline=analysis.pipeline,
        content_sha256=statements.digest(study=study, patient=list(header.patient), draft=is_draft)
        if statements
        else "",
        data=b"",
        series_instance_uid=series_uid(study, ae_title),
        is_withdrawal=is_withdrawal,
        left_out=statements.left_out if statements else {},
    )

    def data_of() -> bytes:
        source = Source(
            stored=_original(database, header.object_id),
            header=header,
            evidence=report.evidence,
            language=analysis.language,
            is_preliminary=is_draft,
            pipeline=analysis.pipeline,
        )
        predecessors = [
            Written(d.document_uid, d.series_instance_uid or "", d.study_instance_uid)
            for d in sent_ancestors(database, before)
        ]
        return write_document(
            source,
            statements,
            sop_instance_uid=document.document_uid,
            ae_title=ae_title,
            predecessors=predecessors,
            fallbacks=settings.extract.character_set_fallbacks,
            at=dt.datetime.now(dt.UTC),
        )

    return document, data_of


def _transaction(
    settings: Settings,  # noqa: ARG001
    database: Database,  # noqa: ARG001
    exported: ExportedReport,
    before: Sequence[Document],
    is_withdrawal: bool,
) -> _Described:
    analysis = exported.report.analysis
    assert analysis is not None
    earlier = [d.data for d in before]
    data = (
        fhir_transaction.withdrawal_of(earlier) if is_withdrawal else fhir_transaction.transaction_of(exported, earlier)
    )
    identity = exported.header.identity
    document = Document(
        form=FHIR,
        document_uid=_new_uid(),
        object_id=exported.header.object_id,
        source_sop_instance_uid=identity.sop_instance_uid,
        study_instance_uid=identity.study_instance_uid,
        pipeline=analysis.pipeline,
        content_sha256=fhir_transaction.digest_of(data),
        data=b"",
        is_withdrawal=is_withdrawal,
    )
    return document, lambda: data


def _statements(exported: ExportedReport) -> Statements:
    report = exported.report.report
    text = report.narrative.text if report else ""
    findings = [f.finding for f in exported.findings]
    return statements_of(findings, text, exported.header.identity.study_instance_uid)


def _new_uid() -> str:
    """A UID that nothing has yet (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def _original(database: Database, object_id: int) -> StoredObject:
    try:
        return next(read_objects(database, [object_id]))
    except (OriginalMissingError, OriginalDamagedError) as error:
        raise ObjectError(str(error), reason_code=error.reason_code) from None


# --- sending


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one document at one archive."""

    due: Due
    answer: Answer
    again_at: dt.datetime | None = None
    """When it is tried again; None when it was taken, or is given up."""


def send_due(
    settings: Settings,
    database: Database,
    archives: Sequence[PacsSettings],
    *,
    principal: str = SERVICE,
    studies: Sequence[str] = (),
    but: Collection[int] = (),
) -> list[Sent]:
    """Send what is due to each archive, some documents of each.

    Parameters
    ----------
    principal
        On whose behalf, for the audit trail.
    studies
        Only documents of these, due or not; none: all that are due.
    but
        Without these deliveries: what wasn't taken is due at once for who names studies.

    Raises
    ------
    AlreadyRunningError
        Another process sends.
    """
    with database.hold(ROLE):
        found: list[Sent] = []
        for archive in archives:
            waiting = due(database, [archive.name], AT_ONCE, studies, but)
            for form in (SR, FHIR):
                of_form = [d for d in waiting if d.document.form == form]
                if of_form:
                    found += _send(settings, database, archive, form, of_form, principal)
        return found


def _send(
    settings: Settings, database: Database, archive: PacsSettings, form: str, dues: Sequence[Due], principal: str
) -> Iterator[Sent]:
    """Send documents of one form to one archive, and note what comes of each before the next is sent."""
    waiting = list(dues)
    by = sending.send if form == SR else fhir_transaction.send
    failure: DicomnlpError | None = None
    try:
        answers = by(settings, archive, [d.document.data for d in dues])
        for answer in answers:
            yield _note(database, archive, waiting.pop(0), answer, principal)
    except (PacsError, ConfigurationError) as error:
        failure = error
    if failure is not None:
        for each in waiting:
            yield _note(database, archive, each, Answer(failure.reason_code, may_be_taken_later=True), principal)


def _note(database: Database, archive: PacsSettings, each: Due, answer: Answer, principal: str) -> Sent:
    again_at = None
    if answer.reason_code is None:
        note_sent(database, [each.delivery_id])
    else:
        again_at = _again_at(each, answer)
        note_failed(database, each.delivery_id, answer.reason_code, again_at)
        log(
            Event.DOCUMENT_NOT_SENT,
            sop_instance_uid=each.document.document_uid,
            reason_code=answer.reason_code,
            attempts=each.attempts + 1,
        )
    event = AuditEvent(
        Kind.EXPORT,
        principal,
        _host(archive, each.document.form),
        Outcome.FAILED if answer.reason_code else Outcome.SUCCESS,
        each.document.study_instance_uid,
        {"destination": archive.name, "document": each.document.document_uid},
        1,
        "write-back",
        "admin",
    )
    record(database, event)
    return Sent(each, answer, again_at)


def _host(archive: PacsSettings, form: str) -> str:
    url = archive.fhir_url if form == FHIR else archive.stow_url
    return (urllib.parse.urlsplit(url).hostname or "") if url else archive.host


def _again_at(each: Due, answer: Answer) -> dt.datetime | None:
    """When to try again; None to give up."""
    now = dt.datetime.now(dt.UTC)
    patient = answer.may_be_taken_later and now - each.created_at < PATIENCE
    if not patient and (answer.may_be_taken_later or each.attempts + 1 >= REFUSALS):
        return None
    return now + dt.timedelta(seconds=min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(each.attempts, 20)))
