"""The tables of config.toml that say who is let in over HTTP, and whom the audit trail is told to."""

import json
import urllib.parse
from typing import Literal, Self

from pydantic import Field, model_validator

from dicomnlp.setting_tables import AddressTable, Table, is_loopback
from dicomnlp.setting_types import Port


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can read or change what is asked there."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        return False


class WebSettings(AddressTable):
    """HTTP: the interface for programs, and pages."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port.")
    authentication: Literal["off", "on"] = Field(
        "off",
        description='"on": who asks needs an API key (`dicomnlp keys add`) or a login; "off": nobody does, and '
        "everything is allowed, which is only possible on a loopback address.",
    )
    certificate: str = Field(
        "",
        description="PEM file with a certificate, those of intermediate authorities after it: then HTTPS is spoken "
        "(TLS 1.2 and 1.3, by BCP 195), and plain HTTP is not. Relative to this file.",
    )
    key: str = Field("", description="PEM file with its private key, without a passphrase; others may not read it.")
    allow_remote: bool = Field(
        False,
        description="Must be true for an address without a certificate that other machines can reach: keys and reports "
        "go over the network as they are, so put a proxy that encrypts before it.",
    )
    maximum_requests_per_minute: int = Field(
        6000,
        ge=1,
        description="Requests that a principal, or without authentication an address, may make in a minute; further "
        "ones are told when to come again (429).",
    )
    session_idle_minutes: int = Field(30, ge=1, le=1440, description="A browser's login ends when unused for so long.")
    session_maximum_hours: int = Field(
        12, ge=1, le=168, description="A browser's login ends after so long in any case."
    )

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Self:
        named = f"host = {json.dumps(self.host)} can be reached from other machines"
        if self.authentication == "off" and not is_loopback(self.host):
            raise ValueError(
                f"{named}, and whoever reached it could read all reports; "
                'set authentication = "on" in the same table, or use 127.0.0.1'
            )
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key belong together: set both, or none")
        if not (is_loopback(self.host) or self.certificate or self.allow_remote):
            raise ValueError(
                f"{named}, where keys and reports would go over the network as they are; set certificate and key in "
                "the same table, or allow_remote = true if a proxy before it encrypts, or use 127.0.0.1"
            )
        return self


class OIDCSettings(Table):
    """Login to the pages by an OpenID Connect provider; without an issuer people log in with their API key."""

    issuer: str = Field(
        "", description="URL of the provider, as its own description names it, such as https://login.example.org."
    )
    client_id: str = Field("", description="What the provider calls this service.")
    client_secret_file: str = Field(
        "", description="File with the client's secret; others may not read it. Empty: a public client, by PKCE alone."
    )
    public_url: str = Field(
        "",
        description="How browsers call this service, such as https://findings.example.org; /login/callback after it is "
        "the redirect URI to register.",
    )
    ca: str = Field(
        "",
        description="PEM file with the authorities that the provider's certificate is trusted by; empty: the system's.",
    )
    role_claim: str = Field("roles", description="Claim of the ID token with the person's groups or roles.")
    roles: dict[str, Literal["reader", "researcher", "operator", "admin"]] = Field(
        {},
        description="What a value of that claim makes of a person; who has none of them is refused, of several the "
        "first one here counts.",
    )
    calling_ae_titles_claim: str = Field(
        "", description='Claim with the AE titles whose reports the person may see, "*" for all; empty: all.'
    )
    institutions_claim: str = Field(
        "", description='Claim with the institutions whose reports the person may see, "*" for all; empty: all.'
    )

    @model_validator(mode="after")
    def _check_provider(self) -> Self:
        if not self.issuer:
            return self
        missing = [key for key in ("client_id", "public_url", "roles") if not getattr(self, key)]
        if missing:
            raise ValueError(f"{', '.join(missing)}: needed for a login by the provider")
        for key, url in (("issuer", self.issuer), ("public_url", self.public_url)):
            if not is_safe_url(url):
                raise ValueError(f"{key}: must be an https:// URL; http:// only on a loopback address")
        return self


class AuditSettings(Table):
    """Forwarding of the audit trail as DICOM audit messages (PS3.15 A.5)."""

    collector: str = Field(
        "",
        description="Syslog collector, as host:port, that is sent each event over TLS (RFC 5425); a certificate of "
        "[tls] is shown to it. Empty: none.",
        pattern=r"^$|^\S+:[0-9]{1,5}$",
    )
    collector_ca: str = Field(
        "", description="PEM file with the authorities that its certificate is trusted by; empty: the system's."
    )
