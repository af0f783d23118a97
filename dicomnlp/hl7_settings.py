"""The tables of config.toml about HL7: the door that takes reports, and who is sent findings."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dicomnlp.pacs_settings import Name
from dicomnlp.setting_tables import AddressTable, Table, is_loopback
from dicomnlp.setting_types import CertificateName, Network, Port


def _check_field(text: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9]{2}-[1-9][0-9]?(\.[1-9])?", text):
        raise ValueError('must be a field, or a component of one, such as "OBR-18" or "OBR-3.1"')
    return text


def _check_header_value(text: str) -> str:
    if len(text) > 180 or not text.isprintable() or set(text) & set("|^~\\&"):
        raise ValueError("at most 180 printable characters, none of them | ^ ~ \\ &")
    return text


HeaderValue = Annotated[str, AfterValidator(_check_header_value)]


class HL7Settings(AddressTable):
    """The HL7 port: reports in ORU^R01 messages over MLLP."""

    port: int = Field(0, ge=0, le=65535, description="TCP port, 2575 by custom; 0: none.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    tls: bool = Field(False, description="Speak TLS there, with the certificates of [tls].")
    allow_remote: bool = Field(
        False, description="Must be true for an address without TLS that other machines can reach."
    )
    networks: list[Network] = Field([], description="Addresses and networks that senders may come from; empty: any.")
    certificates: list[CertificateName] = Field(
        [], description="Client certificates they may show, then over TLS only, as in [[peers]]; empty: any or none."
    )
    sending_applications: list[HeaderValue] = Field(
        [], description="Sending applications (MSH-3) whose messages are taken; empty: all."
    )
    accession_number: list[Annotated[str, AfterValidator(_check_field)]] = Field(
        ["IPC-1", "OBR-18", "OBR-3", "ORC-3"],
        description="Fields in which an order's accession number is looked for; the first that holds one counts.",
        min_length=1,
    )
    maximum_connections: int = Field(
        128,
        ge=1,
        le=10000,
        description="Connections at a time. One more ends the one that was silent longest, of the address that has "
        "most of them.",
    )

    @property
    def _is_encrypted(self) -> bool:
        return self.tls

    @model_validator(mode="after")
    def _check_certificates(self) -> Self:
        if self.certificates and not self.tls:
            raise ValueError("certificates are asked for over TLS only: set tls = true in the same table")
        return self


class HL7ReceiverSettings(Table):
    """A system that is sent findings in ORU^R01 messages over MLLP; any number of these tables."""

    name: Name = Field(description="What commands, pages and the audit trail call it.", examples=["ris"])
    host: str = Field(description="Its address.", examples=["127.0.0.1"])
    port: Port = Field(2575, description="Its TCP port.")
    tls: bool = Field(False, description="Speak TLS there; the certificate of [tls] is shown if there is one.")
    ca: str = Field(
        "",
        description="PEM file with the authorities that its certificate is trusted by, relative to this file; empty: "
        "the system's.",
    )
    allow_remote: bool = Field(False, description="Must be true for another machine without TLS.")
    sending_application: HeaderValue = Field("DICOMNLP", description="What this service calls itself there (MSH-3).")
    sending_facility: HeaderValue = Field("", description="MSH-4.")
    receiving_application: HeaderValue = Field("", description="MSH-5.")
    receiving_facility: HeaderValue = Field("", description="MSH-6.")
    character_set: Literal["UNICODE UTF-8", "GB 18030-2000"] = Field(
        "UNICODE UTF-8", description="MSH-18, and what messages are written in."
    )
    automatic: bool = Field(
        False,
        description="Whether the findings of each report are sent when it is analysed, and again when they change; "
        "else only by `dicomnlp deliveries send`.",
    )

    @model_validator(mode="after")
    def _refuse_open_way(self) -> Self:
        if not (self.tls or self.allow_remote or is_loopback(self.host)):
            raise ValueError(
                "host is another machine, and findings would go over the network as they are; set tls = true, or "
                "allow_remote = true if that is meant"
            )
        return self
