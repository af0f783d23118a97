"""What is worth a row of the audit trail.

A row names who, from where, did what, to which study, and how it ended. It never holds a patient's name or words of a
report: of a search the values that are codes, dates, numbers and identifiers are kept as given, words are kept as the
beginning of their SHA-256, by which a suspicion can be checked and nothing be read.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAXIMUM_TEXT = 256
"""Characters of a name, an address or a value; more is cut off."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(r"[0-9A-Za-z_.,:+/=-]{1,64}\Z")
WORDS = frozenset({"text", "PatientName", "name", "family", "given"})
"""Parameters whose values are people's words or names, whatever they look like."""


class Kind(StrEnum):
    """What was done."""

    QUERY = "query"
    """Something was searched or listed."""
    VIEW = "view"
    """What is held of one study, report or patient was shown."""
    EXPORT = "export"
    """Data left in bulk."""
    TRANSFER = "transfer"
    """Objects were taken in over HTTP."""
    ADMIN = "admin"
    """Something was changed: keys, cohorts, assignments, merges, another analysis."""
    LOGIN = "login"
    """Somebody became known, or did not, or logged out."""
    ASSOCIATION = "association"
    """A DICOM association ended, or was refused."""
    ALERT = "alert"
    """Something that an attack looks like."""
    ACTIVITY = "activity"
    """A part of the service started or stopped."""
    AUDIT = "audit"
    """The trail itself was read or verified."""


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    REFUSED = "refused"
    """It was not allowed, not there, or wrongly asked."""
    FAILED = "failed"
    """The service couldn't."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event, before it has its place in the trail."""

    kind: Kind
    principal: str
    """Name of a key or user, an AE title, or "local:" and the user of the system."""
    address: str
    """Network address of who asked; "" on this machine's terminal."""
    outcome: Outcome
    study_instance_uid: str | None = None
    query: dict[str, str] | None = None
    """What was asked with, see `recorded`."""
    count: int | None = None
    """How many rows or objects it was about."""
    action: str = ""
    """The route, the command, or what was changed: this program's own words."""
    role: str = ""


def recorded(parameters: Iterable[tuple[str, str]]) -> dict[str, str] | None:
    """Parameters of a search as the trail keeps them; None when there are none."""
    kept = {shortened(name): _value(name, value) for name, value in parameters}
    return kept or None


def shortened(text: str) -> str:
    """`text` without characters that don't print, and not above `MAXIMUM_TEXT`."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)[:MAXIMUM_TEXT]


def _value(name: str, value: str) -> str:
    if name not in WORDS and _PLAIN.match(value):
        return value
    return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
