"""Telling others: critical results by webhook and e-mail, findings by HL7. A duty for each destination.

First what is new is kept as something to be told, then what is due is sent. What is sent is made at that moment, of
what counts then: a result that was corrected meanwhile is not told.
"""

import datetime as dt
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Final

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import record
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, NotFoundError
from dicomnlp.export.critical_results import CriticalResult, critical_result, judge
from dicomnlp.export.hl7_message import compose_oru, digest_of, send_message
from dicomnlp.export.telling import TellingError, post_webhook, send_mail
from dicomnlp.hl7_settings import HL7ReceiverSettings
from dicomnlp.hook_settings import MailSettings, WebhookSettings
from dicomnlp.logs import Event, log
from dicomnlp.model import Finding
from dicomnlp.store.answers import StoredReport
from dicomnlp.store.critical import critical_reports_of
from dicomnlp.store.database import Database
from dicomnlp.store.deliveries import (
    CRITICAL_RESULT,
    FINDINGS,
    Delivery,
    DeliveryState,
    NewDelivery,
    Progress,
    add_deliveries,
    delivered_keys,
    due_deliveries,
    new_analyses,
    note_dropped,
    note_failed,
    note_sent,
    objects_since,
    progress_of,
    told_concepts,
)
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.queries import findings_of_instance, reports_of_instance, uids_of_objects

LOOK_SECONDS: Final = 2.0
ANALYSES_AT_ONCE: Final = 500
SENT_AT_ONCE: Final = 20
SEND_SECONDS: Final = 3.0
"""No further one is begun after so long, so that a stop needn't wait."""
WINDOW: Final = dt.timedelta(days=1)
SWEEP_SECONDS: Final = 600.0
"""Now and then what came within the window is looked at again: a report may count without a new analysis, when another
one is withdrawn or another pipeline is promoted."""


class Teller(ABC):
    """Tells one destination; a duty of the dispatcher.

    Parameters
    ----------
    settings, database
        Of the service.
    name
        Of the destination.
    """

    topic: str
    seconds = LOOK_SECONDS

    def __init__(self, settings: Settings, database: Database, name: str) -> None:
        self._settings = settings
        self._database = database
        self._destination = name
        self._swept = time.monotonic()

    @property
    def name(self) -> str:
        """For the log."""
        return "tell_" + re.sub(r"[^a-z0-9]+", "_", self._destination.lower())[:58]

    def run(self) -> bool:
        """Keep what is new, send what is due; whether more waits."""
        more = self._collect()
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._sweep()
            self._swept = time.monotonic()
        return self._send_due() or more

    def _collect(self) -> bool:
        progress = progress_of(self._database, self._destination)
        found = new_analyses(self._database, progress.analysis_id, ANALYSES_AT_ONCE)
        if not found:
            return False
        new = self._new(self._wanted(progress, {object_id for _, object_id in found}))
        add_deliveries(self._database, self._destination, new, analysis_id=found[-1][0])
        return len(found) == ANALYSES_AT_ONCE

    def _sweep(self) -> None:
        progress = progress_of(self._database, self._destination)
        after = progress.from_object_id
        since = dt.datetime.now(dt.UTC) - WINDOW
        while found := objects_since(self._database, since, after, ANALYSES_AT_ONCE):
            add_deliveries(self._database, self._destination, self._new(self._wanted(progress, found)))
            after = found[-1]

    @staticmethod
    def _wanted(progress: Progress, object_ids: Collection[int]) -> list[int]:
        return sorted(i for i in object_ids if i > progress.from_object_id)

    def _send_due(self) -> bool:
        """Send what is due; whether more is. Where the receiver isn't there, what waits goes on waiting."""
        begin = time.monotonic()
        due = due_deliveries(self._database, self._destination, SENT_AT_ONCE + 1)
        for delivery in due[:SENT_AT_ONCE]:
            if time.monotonic() - begin > SEND_SECONDS:
                return True
            try:
                dropped = self._send(delivery)
            except (TellingError, ConfigurationError) as error:
                self._note_failed(delivery, error)
                if getattr(error, "is_unreachable", True):
                    return False
            else:
                if dropped is None:
                    note_sent(self._database, delivery.id)
                    self._record(delivery, Outcome.SUCCESS)
                else:
                    note_dropped(self._database, delivery.id, dropped)
        return len(due) > SENT_AT_ONCE

    def _note_failed(self, delivery: Delivery, error: TellingError | ConfigurationError) -> None:
        is_final = isinstance(error, TellingError) and error.is_final
        state = note_failed(self._database, delivery, error.reason_code, is_final=is_final)
        log(
            Event.DELIVERY_FAILED,
            component=self.name,
            reason_code=error.reason_code,
            attempts=delivery.attempts + 1,
            state=state.value,
        )
        if state is DeliveryState.DEAD:
            self._record(delivery, Outcome.FAILED)

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        """What leaves is in the audit trail."""
        event = AuditEvent(
            Kind.EXPORT,
            f"service:{self._destination}",
            "",
            outcome,
            delivery.study_instance_uid,
            {"sop_instance_uid": delivery.sop_instance_uid, "topic": delivery.topic},
            len(delivery.concept_ids) or None,
            f"tell {delivery.topic}",
        )
        record(self._database, event)

    @abstractmethod
    def _new(self, object_ids: Sequence[int]) -> list[NewDelivery]:
        """What is to be told of these objects, as far as it isn't known."""

    @abstractmethod
    def _send(self, delivery: Delivery) -> str | None:
        """Send it; None when it was taken, else why it isn't told any more.

        Raises
        ------
        TellingError, ConfigurationError
            It wasn't taken.
        """


class CriticalTeller(Teller):
    """Tells a webhook, or somebody by e-mail, of critical results."""

    topic = CRITICAL_RESULT

    def __init__(self, settings: Settings, database: Database, hook: WebhookSettings | MailSettings) -> None:
        super().__init__(settings, database, hook.name)
        self._hook = hook

    def _is_for_it(self, result: CriticalResult) -> bool:
        return result.category in self._hook.categories and (self._hook.documented or result.documented is None)

    def _new(self, object_ids: Sequence[int]) -> list[NewDelivery]:
        judged = [judge(report) for report in critical_reports_of(self._database, object_ids)]
        results = [r for r in judged if r is not None and self._is_for_it(r)]
        told = told_concepts(self._database, self._destination, [r.report.sop_instance_uid for r in results])
        found = []
        for result in results:
            uid = result.report.sop_instance_uid
            # another version that says less, or the same, is no news
            new = sorted(set(result.concepts) - told.get(uid, set()))
            if new:
                key = f"{uid} {' '.join(new)}"
                report = result.report
                found.append(NewDelivery(self.topic, key, report.object_id, report.study_instance_uid, uid, tuple(new)))
        return found

    def _send(self, delivery: Delivery) -> str | None:
        try:
            result = critical_result(self._database, delivery.sop_instance_uid)
        except NotFoundError:
            return "no_longer_true"
        if not set(result.concepts) & set(delivery.concept_ids) or not self._is_for_it(result):
            return "no_longer_true"
        message_id = f"msg_{delivery.id}"
        if isinstance(self._hook, WebhookSettings):
            post_webhook(self._settings, self._hook, result, message_id, self.topic)
        else:
            send_mail(self._settings, self._hook, result, message_id)
        return None


class FindingsTeller(Teller):
    """Sends an HL7 receiver the findings of reports.

    Parameters
    ----------
    receiver
        Where it isn't automatic only what somebody asked for is sent.
    """

    topic = FINDINGS

    def __init__(self, settings: Settings, database: Database, receiver: HL7ReceiverSettings) -> None:
        super().__init__(settings, database, receiver.name)
        self._receiver = receiver

    def run(self) -> bool:
        """As of `Teller`; nothing is collected where only what was asked for is sent."""
        return super().run() if self._receiver.automatic else self._send_due()

    def _new(self, object_ids: Sequence[int]) -> list[NewDelivery]:
        uids = uids_of_objects(self._database, object_ids)
        return [d for uid in uids if (d := findings_delivery(self._database, self._destination, uid)) is not None]

    def _send(self, delivery: Delivery) -> str | None:
        held = _read(self._database, delivery.sop_instance_uid)
        if held is None:
            return "no_longer_true"
        report, findings = held
        control_id = f"DN{delivery.id}"
        message = compose_oru(
            self._receiver,
            report,
            findings,
            control_id=control_id,
            moment=dt.datetime.now(dt.UTC),
            is_correction=len(delivered_keys(self._database, self._destination, report.sop_instance_uid)) > 1,
        )
        send_message(self._settings, self._receiver, message, control_id)
        return None


def findings_delivery(database: Database, destination: str, sop_instance_uid: str) -> NewDelivery | None:
    """The findings of a report as something to be told; None where they were told last, or the report doesn't count."""
    held = _read(database, sop_instance_uid)
    if held is None:
        return None
    report, findings = held
    digest = digest_of(report, findings)
    keys = delivered_keys(database, destination, sop_instance_uid)
    if keys and keys[-1].split()[1] == digest:
        return None
    key = f"{sop_instance_uid} {digest} {len(keys)}"
    return NewDelivery(FINDINGS, key, report.object_id, report.study_instance_uid, sop_instance_uid)


def _read(database: Database, sop_instance_uid: str) -> tuple[StoredReport, list[Finding]] | None:
    """A report that counts, and its findings; None when it doesn't."""
    try:
        [report] = reports_of_instance(database, sop_instance_uid)
    except (NotFoundError, ValueError):
        return None
    if report.report is None or report.analysis is None or report.standing.status is not ReportStatus.PREVAILING:
        return None
    return report, [f.finding for f in findings_of_instance(database, sop_instance_uid)]


def tellers(settings: Settings, database: Database) -> list[Teller]:
    """The duties that the configuration asks for."""
    hooks: list[WebhookSettings | MailSettings] = [*settings.webhooks, *settings.mails]
    return [
        *(CriticalTeller(settings, database, hook) for hook in hooks),
        *(FindingsTeller(settings, database, receiver) for receiver in settings.hl7_receivers),
    ]
