"""Telling others of a critical result: what leaves, by webhook and by e-mail.

What leaves is category, concepts, sides and times, and of study, patient and report only what the site's configuration
lists. Whatever goes wrong is a `TellingError` with a reason code, never with words of what was sent or answered.
"""

import base64
import binascii
import datetime as dt
import email.message
import email.policy
import email.utils
import hmac
import json
import smtplib
import ssl
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from dicomnlp.analyse.names import concept_name
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, DicomnlpError
from dicomnlp.export.critical_results import CriticalResult
from dicomnlp.hook_settings import MailSettings, WebhookSettings
from dicomnlp.model import utc_text

SECONDS: Final = 5.0
"""For each step of a conversation."""
_SECRET_BYTES: Final = range(24, 65)
"""Standard Webhooks: 192 to 512 bits."""
_GONE: Final = 410


class TellingError(DicomnlpError):
    """A receiver wasn't there, or didn't take what it was told."""

    reason_code = "telling_failed"
    retryable: ClassVar[bool] = True

    def __init__(self, reason_code: str, *, is_final: bool = False, is_unreachable: bool = False) -> None:
        super().__init__("the receiver didn't take it", reason_code=reason_code)
        self.is_final = is_final
        """Whether it would be refused again."""
        self.is_unreachable = is_unreachable
        """Whether nothing else would reach it now."""


def told_of(result: CriticalResult, tells: Collection[str]) -> dict[str, Any]:
    """What leaves of a result.

    Parameters
    ----------
    tells
        Names of `hook_settings.Told`: what may leave beside what is no identity.
    """
    report = result.report
    date = report.study_date
    known: dict[str, Any] = {
        "study_instance_uid": report.study_instance_uid,
        "sop_instance_uid": report.sop_instance_uid,
        "accession_number": report.accession_number or None,
        "study_date": f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None,
        "study_description": report.study_description or None,
        "modality": report.modality or None,
        "institution_name": report.institution_name or None,
        "patient_id": report.patient_id or None,
        "patient_sex": report.patient_sex or None,
        "patient_age": report.patient_age,
        "sentence": result.found[0].finding.sentence,
    }
    return {
        "category": result.category,
        "documented": result.documented is not None,
        "is_preliminary": report.is_preliminary,
        "received_at": utc_text(report.received_at),
        "findings": [
            {
                "concept": f.finding.concept.id,
                "meaning": f.finding.concept.meaning,
                "category": f.category,
                "assertion": f.finding.assertion.value,
                "laterality": f.finding.laterality.value if f.finding.laterality else None,
            }
            for f in result.found
        ],
        **{name: value for name, value in known.items() if name in tells},
    }


# --- webhooks


def read_secret(settings: Settings, webhook: WebhookSettings) -> bytes:
    """The key that a webhook is signed with.

    Raises
    ------
    ConfigurationError
        The file is missing, others may read it, or it holds no secret of enough bytes.
    """
    text = _private(settings.folder / webhook.secret_file, f"webhooks {webhook.name}: secret_file")
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in _SECRET_BYTES:
        raise ConfigurationError(
            f'webhooks {webhook.name}: secret_file: must hold "whsec_" and {_SECRET_BYTES.start} to '
            f"{_SECRET_BYTES.stop - 1} bytes in base64"
        )
    return secret


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature`` (Standard Webhooks): HMAC-SHA256 over id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"


def post_webhook(
    settings: Settings, webhook: WebhookSettings, result: CriticalResult, message_id: str, event: str
) -> None:
    """POST a result to a webhook; returns when that took it (2xx). Redirects aren't followed.

    Parameters
    ----------
    message_id
        The same for each attempt, by which the receiver knows what it has already.
    event
        "critical_result".

    Raises
    ------
    TellingError
        It didn't.
    ConfigurationError
        The secret or the authorities can't be read.
    """
    now = dt.datetime.now(dt.UTC)
    document = {"type": event, "timestamp": utc_text(now), "data": told_of(result, webhook.tells)}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "dicomnlp",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(read_secret(settings, webhook), message_id, timestamp, body),
    }
    trust = client_trust(settings, webhook.ca, f"webhooks {webhook.name}")
    try:
        with (
            httpx.Client(verify=trust, timeout=SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", webhook.url, content=body, headers=headers) as response,
        ):
            # the body of the answer is nobody's business, and may be without end
            status = response.status_code
    except httpx.HTTPError as error:
        raise TellingError(_failure_of(error), is_unreachable=True) from None
    if not 200 <= status < 300:
        raise TellingError(f"http_{status}", is_final=status == _GONE)


def _failure_of(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate_not_trusted"
        if isinstance(cause, ssl.SSLError):
            return "tls_failed"
        cause = cause.__cause__ or cause.__context__
    return "unreachable"


# --- e-mail

_MAIL: Final = {
    "en": {
        "subject": "Critical result, category {category}",
        "within": {1: "to be told within minutes", 2: "to be told within hours", 3: "to be told within days"},
        "lead": "A report states an actionable finding of category {category}, {within}.",
        "documented": "The report says that somebody was told.",
        "undocumented": "The report does not say that anybody was told.",
        "possible": "possible",
        "received": "Received",
        "see": "The worklist",
        "left": "left",
        "right": "right",
        "bilateral": "bilateral",
        "midline": "midline",
        "end": "Sent by dicomnlp. Automatic reading of reports makes mistakes: the report itself counts.",
    },
    "zh": {
        "subject": "危急值报告，{category}类",
        "within": {1: "须在数分钟内通知", 2: "须在数小时内通知", 3: "须在数日内通知"},
        "lead": "一份报告含有{category}类需处置的发现，{within}。",
        "documented": "报告中已记录通知。",
        "undocumented": "报告中未记录通知。",
        "possible": "可能",
        "received": "接收时间",
        "see": "工作列表",
        "left": "左侧",
        "right": "右侧",
        "bilateral": "双侧",
        "midline": "中线",
        "end": "由 dicomnlp 自动发送。自动识别可能有误，以报告原文为准。",
    },
}


def compose_mail(
    settings: Settings, mail: MailSettings, result: CriticalResult, message_id: str
) -> email.message.EmailMessage:
    """The message: words that are this program's own, concepts, and what the site lists."""
    words: dict[str, Any] = _MAIL[mail.language]
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = words["subject"].format(category=result.category)
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.recipients)
    message["Date"] = email.utils.format_datetime(dt.datetime.now(dt.UTC))
    message["Message-ID"] = f"<{message_id}@{mail.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    told = told_of(result, mail.tells)
    lines = [
        words["lead"].format(category=result.category, within=words["within"][result.category]),
        words["documented" if told["documented"] else "undocumented"],
        "",
    ]
    for found in told["findings"]:
        name = concept_name(found["concept"], mail.language) or found["meaning"]
        beside = [words[found["laterality"]]] if found["laterality"] else []
        beside += [words["possible"]] if found["assertion"] == "possible" else []
        lines.append(f"- {name}" + (f" ({', '.join(beside)})" if beside else ""))
    lines += ["", f"{words['received']}: {told['received_at']}"]
    lines += [f"{name}: {_one_line(told[name])}" for name in mail.tells if told.get(name) is not None]
    if settings.oidc.public_url:
        lines += ["", f"{words['see']}: {settings.oidc.public_url.rstrip('/')}/critical-results"]
    lines += ["", words["end"]]
    message.set_content("\n".join(lines) + "\n")
    return message


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def send_mail(settings: Settings, mail: MailSettings, result: CriticalResult, message_id: str) -> None:
    """Send a result by e-mail; returns when the server took it for all recipients, or for some.

    Raises
    ------
    TellingError
        It took it for none.
    ConfigurationError
        The password or the authorities can't be read.
    """
    message = compose_mail(settings, mail, result, message_id)
    trust = client_trust(settings, mail.ca, f"mails {mail.name}")
    password = (
        _private(settings.folder / mail.password_file, f"mails {mail.name}: password_file")
        if mail.password_file
        else ""
    )
    try:
        server: smtplib.SMTP
        if mail.security == "tls":
            server = smtplib.SMTP_SSL(mail.host, mail.port, timeout=SECONDS, context=trust)
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=SECONDS)
        with server:
            if mail.security == "starttls":
                server.starttls(context=trust)
            if mail.username:
                server.login(mail.username, password)
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        is_final = all(code >= 500 for code, _ in error.recipients.values())
        raise TellingError("recipients_refused", is_final=is_final) from None
    except smtplib.SMTPAuthenticationError:
        raise TellingError("login_refused", is_unreachable=True) from None
    except smtplib.SMTPNotSupportedError:
        raise TellingError("no_starttls", is_unreachable=True) from None
    except smtplib.SMTPResponseException as error:
        raise TellingError(f"smtp_{error.smtp_code}", is_final=error.smtp_code >= 550) from None
    except ssl.SSLCertVerificationError:
        raise TellingError("certificate_not_trusted", is_unreachable=True) from None
    except TimeoutError:
        raise TellingError("timeout", is_unreachable=True) from None
    except (OSError, smtplib.SMTPException):
        raise TellingError("unreachable", is_unreachable=True) from None


# --- files


def check_files(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """For each destination what is wrong with its files; None: nothing. Nothing is sent."""
    for webhook in settings.webhooks:
        yield f"webhook {webhook.name}", _fault_of(settings, webhook.ca, "webhooks", webhook.name, webhook)
    for mail in settings.mails:
        yield f"mail {mail.name}", _fault_of(settings, mail.ca, "mails", mail.name, mail)
    for receiver in settings.hl7_receivers:
        yield f"HL7 receiver {receiver.name}", _fault_of(settings, receiver.ca, "hl7_receivers", receiver.name, None)


def _fault_of(
    settings: Settings, authorities: str, table: str, name: str, hook: WebhookSettings | MailSettings | None
) -> str | None:
    try:
        client_trust(settings, authorities, f"{table} {name}")
        if isinstance(hook, WebhookSettings):
            read_secret(settings, hook)
        elif isinstance(hook, MailSettings) and hook.password_file:
            _private(settings.folder / hook.password_file, f"mails {name}: password_file")
    except ConfigurationError as error:
        return str(error)
    return None


def client_trust(settings: Settings, authorities: str, place: str) -> ssl.SSLContext:
    """What a receiver is spoken to with: its certificate is checked, name included.

    Raises
    ------
    ConfigurationError
        The file can't be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(settings.folder / authorities) if authorities else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{place}: ca: can't be used ({type(error).__name__})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _private(path: Path, place: str) -> str:
    """The text of a file that others may not read."""
    try:
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigurationError(f"{place}: others may read or write {path}; do `chmod o= {path}`")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place}: {path} can't be read ({type(error).__name__})") from None
