"""Kinds of values that settings have: strings that are checked when the configuration is loaded.

A message says what a value should be and never quotes it: it may be a secret.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dicomnlp.model import is_uid


def check_ae_title(text: str) -> str:
    """`text`, if it is an application entity title (PS3.5 6.2, AE)."""
    if not 1 <= len(text) <= 16 or not text.strip() or not all(" " <= c <= "~" and c != "\\" for c in text):
        raise ValueError("1 to 16 printable ASCII characters, not only spaces, no backslash (PS3.5 6.2, AE)")
    return text


def _check_codec(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise ValueError("must be the name of a Python codec, such as gb18030 or cp1250") from None
    return text


def _check_private_sop_class(text: str) -> str:
    if not is_uid(text) or text.startswith("1.2.840.10008."):
        raise ValueError("must be a UID (PS3.5 9.1) outside the standard's own 1.2.840.10008")
    return text


def _check_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError("must be a UID (PS3.5 9.1)")
    return text


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError('must be an address or a network without host bits, such as "10.1.0.0/16"') from None


def _check_certificate_name(text: str) -> str:
    kind, _, value = text.partition(":")
    if kind == "sha256" and re.fullmatch(r"[0-9a-f]{64}", value.replace(":", "").lower()):
        return f"sha256:{value.replace(':', '').lower()}"
    if kind in {"dns", "cn"} and value.strip():
        return f"{kind}:{value.strip() if kind == 'cn' else value.strip().lower()}"
    raise ValueError('must be "sha256:" with 64 hexadecimal digits, "dns:" with a subject alternative name, or "cn:"')


def _check_passcode_hash(text: str) -> str:
    # never quoted: it may be the passcode itself
    if text and not re.fullmatch(r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}", text):
        raise ValueError('must be what `dicomnlp hash-passcode` prints, or "" for a user without a passcode')
    return text


Codec = Annotated[str, AfterValidator(_check_codec)]
UID = Annotated[str, AfterValidator(_check_uid)]
Network = Annotated[str, AfterValidator(_check_network)]
CertificateName = Annotated[str, AfterValidator(_check_certificate_name)]
PasscodeHash = Annotated[str, AfterValidator(_check_passcode_hash)]
PrivateSOPClass = Annotated[str, AfterValidator(_check_private_sop_class)]
AETitle = Annotated[str, AfterValidator(check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
