"""The tables of config.toml about archives: those that are asked for reports, and sent what was found."""

import re
import urllib.parse
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dicomnlp.setting_tables import Table, is_loopback
from dicomnlp.setting_types import UID, Port, check_ae_title


def _check_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError("1 to 64 letters, digits, hyphens, underscores and full stops, a letter or digit first")
    return text


def _check_url(text: str) -> str:
    if not text:
        return text
    try:
        parts = urllib.parse.urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be an https:// URL") from None
    if not host or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be an https:// URL without user, query or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("must be an https:// URL; http:// only on a loopback address")
    return text.rstrip("/")


def _check_modality(text: str) -> str:
    if not re.fullmatch(r"[A-Z0-9_ ]{1,16}", text):
        raise ValueError('must be a modality (PS3.3 C.7.3.1.1.1), such as "SR"')
    return text


def _check_time(text: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError('must be a time of day such as "02:30"')
    return text


def _check_title_if_any(text: str) -> str:
    return check_ae_title(text) if text else text


Name = Annotated[str, AfterValidator(_check_name)]
URL = Annotated[str, AfterValidator(_check_url)]


class PacsSettings(Table):
    """An archive that reports are fetched from, and findings are sent to; any number of these tables.

    By DICOM (ae_title, host, port), by DICOMweb (the URLs), or both: where a URL is given, that is used.
    """

    name: Name = Field(description="What commands, pages and the audit trail call it.", examples=["archive"])
    ae_title: Annotated[str, AfterValidator(_check_title_if_any)] = Field(
        "", description="Application entity title that it is called by; empty: it is not spoken to by DICOM."
    )
    host: str = Field("", description="Its address.")
    port: Port = Field(104, description="Its TCP port.")
    tls: bool = Field(
        False,
        description="Speak TLS there: its certificate must be trusted by `ca`; that of [tls] is shown if there is one.",
    )
    calling_ae_title: Annotated[str, AfterValidator(_check_title_if_any)] = Field(
        "", description="What this service calls itself there; empty: listener.ae_title."
    )
    retrieve: Literal["move", "get"] = Field(
        "move",
        description='How reports are fetched by DICOM. "move": C-MOVE, it sends them to listener.ae_title, whose '
        'address it must know; "get": C-GET, on the same connection.',
    )
    qido_url: URL = Field(
        "", description="Where it is searched by QIDO-RS, such as https://pacs.example.org/dicom-web; empty: by C-FIND."
    )
    wado_url: URL = Field("", description="Where reports are fetched by WADO-RS; empty: as `retrieve` says.")
    stow_url: URL = Field("", description="Where findings are sent by STOW-RS; empty: by C-STORE.")
    fhir_url: URL = Field(
        "",
        description="Base URL of a FHIR R4 server that findings are sent to as transaction Bundles, beside or in place "
        "of an archive; empty: none.",
    )
    authorization_file: str = Field(
        "",
        description='File with the value of the Authorization header for these URLs, such as "Bearer ..."; others may '
        "not read it. Relative to this file; empty: none is sent.",
    )
    ca: str = Field(
        "",
        description="PEM file with the authorities that its certificates are trusted by, relative to this file; empty: "
        "those of tls.client_ca by DICOM, the system's by HTTPS.",
    )
    reconcile: bool = Field(
        False, description="Whether what it holds is compared each night with what was received; see [reconcile]."
    )
    report_modalities: list[Annotated[str, AfterValidator(_check_modality)]] = Field(
        ["SR", "DOC"], description="Modality of the series in which it has its reports.", min_length=1
    )
    unexpected_sop_classes: list[UID] = Field(
        [], description="UIDs of SOP classes, such as of radiation dose, that it doesn't forward and nobody misses."
    )

    @model_validator(mode="after")
    def _check_ways(self) -> Self:
        if bool(self.ae_title) != bool(self.host):
            raise ValueError("ae_title and host belong together: set both, or none")
        if not (self.ae_title or self.qido_url or self.wado_url or self.stow_url or self.fhir_url):
            raise ValueError("needs ae_title and host, or a URL")
        if self.reconcile and not (self.ae_title or self.qido_url):
            raise ValueError("reconcile: needs ae_title and host, or qido_url")
        return self


class ReconcileSettings(Table):
    """When archives are compared with what was received; those of [[pacs]] with `reconcile`."""

    at: Annotated[str, AfterValidator(_check_time)] = Field("02:30", description="Each day at this local time.")
    days: int = Field(
        7,
        ge=1,
        le=366,
        description="Studies of so many days before are looked at each time: a report may come days after its study.",
    )


class WriteBackSettings(Table):
    """Findings that are sent to archives by themselves, as documents; `dicomnlp write-back` sends those of a study."""

    to: list[Name] = Field(
        [],
        description="Names of [[pacs]] that get what is found in each report that comes from now on; empty: none. "
        'DICOM documents need the extra: pip install "dicomnlp[write-back]".',
    )
