"""What stands in the place of identifiers: made by a keyed hash, the same at every export and unknown without the key.

HMAC-SHA-256 (RFC 2104) over what is replaced, under a key of the site. Whoever has the key can find out whether a
given patient is in an export by trying; whoever hasn't learns nothing.
"""

import base64
import contextlib
import datetime as dt
import hmac
import os
import secrets
import stat
from pathlib import Path

from dicomnlp.errors import ConfigurationError

KEY_BYTES = 32
MAXIMUM_SHIFT_DAYS = 365
_STANDARD = "1.2.840.10008."
"""Root of the standard's own UIDs: classes and transfer syntaxes name nobody."""


class Pseudonyms:
    """Consistent replacements of identifiers.

    Parameters
    ----------
    key
        The site's secret, at least 16 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigurationError("the key of de-identification is too short; delete its file to have one made")
        self._key = key

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), "sha256")

    def uid(self, uid: str) -> str:
        """The UID that stands for `uid`, below 2.25 (PS3.5 B.2); those of the standard and "" stay."""
        if not uid or uid.startswith(_STANDARD):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def identifier(self, kind: str, value: str) -> str:
        """The identifier that stands for one of this kind ("patient", "accession"); "" stays."""
        if not value:
            return ""
        letters = base64.b32encode(self._digest(kind, value)[:10]).decode("ascii")
        return f"{kind[:1].upper()}-{letters}"

    def number(self, kind: str, value: int) -> int:
        """The number that stands for a row: below 2**53, so that JSON readers hold it exactly."""
        return int.from_bytes(self._digest(kind, str(value))[:8], "big") >> 11

    @property
    def fingerprint(self) -> str:
        """By which two exports are known to have the same key."""
        return self._digest("fingerprint", "").hex()[:16]

    def shift_days(self, patient: str) -> int:
        """By how many days all dates of a patient are shifted: -365 to -1."""
        return -1 - int.from_bytes(self._digest("shift", patient)[:8], "big") % MAXIMUM_SHIFT_DAYS

    def object_key(self, patient_id: str, issuer: str, sop_instance_uid: str) -> str:
        """Whose dates are shifted together: the patient's, or without an identifier the report's alone."""
        return f"{patient_id}\0{issuer}" if patient_id else f"\0\0{sop_instance_uid}"


def shifted(date: str, days: int) -> str:
    """A DICOM date (DA) that many days away; "" for what is none, or falls out of the calendar."""
    if not (len(date) == 8 and date.isascii() and date.isdigit()):
        return ""
    try:
        return f"{dt.date(int(date[:4]), int(date[4:6]), int(date[6:])) + dt.timedelta(days=days):%Y%m%d}".zfill(8)
    except (ValueError, OverflowError):
        return ""


def read_key(file: Path) -> bytes:
    """The site's key, made when there is no file yet.

    Raises
    ------
    ConfigurationError
        Others may read the file, it holds no key, or it can't be read or made.
    """
    try:
        with contextlib.suppress(FileExistsError):
            _make(file)
        mode = file.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigurationError(f"{file} may be read by others; set its mode to 600 (chmod 600)")
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"{file}: the key of de-identification can't be used: {type(error).__name__}"
        ) from None
    if len(key) < KEY_BYTES:
        raise ConfigurationError(f"{file} holds no key of {KEY_BYTES} bytes; restore it from a backup")
    return key


def _make(file: Path) -> None:
    """Write a new key under a name of its own, then give it its place, so that nobody reads half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(KEY_BYTES) + "\n")
            out.flush()
            os.fsync(out.fileno())
        # a link fails where there is a file already: of two that come at once, one makes the key of both
        os.link(unfinished, file)
    finally:
        unfinished.unlink()
