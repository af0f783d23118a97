"""The tables of config.toml that say who is told of critical results, and how much of them."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dicomnlp.pacs_settings import Name
from dicomnlp.setting_tables import Table, is_loopback
from dicomnlp.setting_types import Port
from dicomnlp.web_settings import is_safe_url

Told = Literal[
    "study_instance_uid",
    "sop_instance_uid",
    "accession_number",
    "study_date",
    "study_description",
    "modality",
    "institution_name",
    "patient_id",
    "patient_sex",
    "patient_age",
    "sentence",
]
"""What may leave of a study, a patient and a report, if the site says so."""

_CATEGORIES_HELP = "Categories of actionable findings (ACR): 1 within minutes, 2 within hours, 3 within days."
_TOLD_HELP = (
    "What is told beside category, concept, assertion, side and times: study_instance_uid, sop_instance_uid, "
    "accession_number, study_date, study_description, modality, institution_name, patient_id, patient_sex, "
    "patient_age, sentence (the report's own words)."
)
_DOCUMENTED_HELP = "Whether also results are told whose report says that somebody was told of them."


def _check_url(text: str) -> str:
    if not is_safe_url(text) or "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("must be an https:// URL without user; http:// only on a loopback address")
    return text


def _check_mail_address(text: str) -> str:
    if len(text) > 254 or not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", text):
        raise ValueError("must be an address such as oncall@example.org")
    return text


MailAddress = Annotated[str, AfterValidator(_check_mail_address)]
Category = Literal[1, 2, 3]


class WebhookSettings(Table):
    """A URL that is told of critical results by POST, signed as Standard Webhooks has it; any number of these tables.

    Redirects aren't followed. What isn't taken is sent again, up to three days; `dicomnlp deliveries` shows it.
    """

    name: Name = Field(description="What commands, pages and the audit trail call it.", examples=["alerts"])
    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="Where it is sent.", examples=["https://alerts.example.org/dicomnlp"]
    )
    secret_file: str = Field(
        description='File with the secret that it is signed with, "whsec_" and 24 to 64 bytes in base64; others may '
        "not read it. Relative to this file.",
        min_length=1,
        examples=["webhook.secret"],
    )
    ca: str = Field(
        "", description="PEM file with the authorities that its certificate is trusted by; empty: the system's."
    )
    categories: list[Category] = Field([1, 2], description=_CATEGORIES_HELP, min_length=1)
    tells: list[Told] = Field(["study_instance_uid", "sop_instance_uid"], description=_TOLD_HELP)
    documented: bool = Field(False, description=_DOCUMENTED_HELP)


class MailSettings(Table):
    """Addresses that are told of critical results by e-mail; any number of these tables."""

    name: Name = Field(description="What commands, pages and the audit trail call it.", examples=["on-call"])
    host: str = Field(description="SMTP server.", examples=["smtp.example.org"], min_length=1)
    port: Port = Field(587, description="Its TCP port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description='"starttls": TLS after the greeting, without which nothing is sent; "tls": from the start; "none": '
        "not encrypted, on a loopback address only.",
    )
    ca: str = Field(
        "", description="PEM file with the authorities that its certificate is trusted by; empty: the system's."
    )
    username: str = Field("", description="Who logs in there; empty: nobody does.")
    password_file: str = Field("", description="File with the password; others may not read it. Relative to this file.")
    sender: MailAddress = Field(description="Address it is from.", examples=["dicomnlp@example.org"])
    recipients: list[MailAddress] = Field(
        description="Addresses it is for.", examples=[["oncall@example.org"]], min_length=1
    )
    language: Literal["en", "zh"] = Field("en", description="Language of the message.")
    categories: list[Category] = Field([1], description=_CATEGORIES_HELP, min_length=1)
    tells: list[Told] = Field([], description=_TOLD_HELP)
    documented: bool = Field(False, description=_DOCUMENTED_HELP)

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if self.security == "none" and not is_loopback(self.host):
            raise ValueError('security = "none" is for a loopback address only')
        if bool(self.username) != bool(self.password_file):
            raise ValueError("username and password_file belong together: set both, or none")
        if self.username and self.security == "none":
            raise ValueError('a password isn\'t sent with security = "none"')
        return self
