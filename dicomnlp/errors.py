"""One tree of errors: each has a stable reason code, says whether a retry can help, and which DIMSE status answers it.

A message says what happened, to which object (by UID, never by patient), and what to do.
It never contains text, names or values taken from an object, because messages reach logs and senders.
"""

from typing import ClassVar

SUCCESS = 0x0000
"""PS3.7 C.1.1."""
OUT_OF_RESOURCES = 0xA700
"""Refused: out of resources (PS3.4 B.2.3); a sender may try again later."""
DATA_SET_DOES_NOT_MATCH = 0xA900
"""Error: data set does not match SOP class (PS3.4 B.2.3)."""
CANNOT_UNDERSTAND = 0xC000
"""Error: cannot understand (PS3.4 B.2.3)."""
PROCESSING_FAILURE = 0x0110
"""PS3.7 C.5.8."""
INVALID_SOP_INSTANCE = 0x0117
"""PS3.7 C.5.12."""
SOP_CLASS_NOT_SUPPORTED = 0x0122
"""PS3.7 C.5.22."""
DUPLICATE_INVOCATION = 0x0210
"""PS3.7 Annex C: the Message ID is that of an operation whose response is still to come."""
NOT_AUTHORIZED = 0x0124
"""PS3.7 C.5.17."""
UNRECOGNIZED_OPERATION = 0x0211
"""PS3.7 C.5.24."""


class DicomnlpError(Exception):
    """Root of every error that this project raises on purpose.

    Parameters
    ----------
    message
        What happened and what to do, free of anything of a patient.
    reason_code
        A more exact stable code than the class's own, in snake_case; it is kept in the ledger.
    """

    reason_code: str = "internal_error"
    retryable: ClassVar[bool] = False
    dimse_status: ClassVar[int] = PROCESSING_FAILURE

    def __init__(self, message: str, *, reason_code: str | None = None) -> None:
        super().__init__(message)
        if reason_code is not None:
            self.reason_code = reason_code


class ConfigurationError(DicomnlpError):
    """The configuration can't be used; the message names the key and what it should be."""

    reason_code = "configuration"


class UsageError(DicomnlpError):
    """The caller asked for something that can't be: a malformed UID, an unknown filter value."""

    reason_code = "usage"


class NotFoundError(DicomnlpError):
    """Nothing is held under the identifier asked for."""

    reason_code = "not_found"


class PortInUseError(DicomnlpError):
    """Another process listens on the address."""

    reason_code = "port_in_use"


class DatabaseError(DicomnlpError):
    """The database is missing, locked, full, too old or too new; a sender may try again later."""

    reason_code = "database"
    retryable = True
    dimse_status = OUT_OF_RESOURCES


class AlreadyRunningError(DicomnlpError):
    """Another service or dispatcher holds the database."""

    reason_code = "already_running"


class RoleLostError(DicomnlpError):
    """The database server no longer knows that this process holds its role, so another may."""

    reason_code = "role_lost"
    retryable = True


class ObjectError(DicomnlpError):
    """A DICOM object can't be taken or read as it is."""

    reason_code = "object"
    dimse_status = CANNOT_UNDERSTAND


class UnreadableObjectError(ObjectError):
    """The bytes aren't a DICOM data set in the stated transfer syntax, or are cut short."""

    reason_code = "unreadable"


class ObjectTooLargeError(ObjectError):
    """The object, as sent or inflated, is above the configured limit."""

    reason_code = "object_too_large"
    dimse_status = OUT_OF_RESOURCES


class PacsError(DicomnlpError):
    """An archive can't be reached, or doesn't do what it is asked for; later it may."""

    reason_code = "pacs"
    retryable = True


class LanguagePackError(DicomnlpError):
    """A language pack's data is malformed or fails its own cases; it refuses to load."""

    reason_code = "language_pack"


class LanguageNotSupportedError(DicomnlpError):
    """The report is in a language that no loaded pack reads."""

    reason_code = "language_not_supported"


class ModelRefusedError(DicomnlpError):
    """A trained model's folder isn't what it should be, or not what was registered; nothing of it is run."""

    reason_code = "model_refused"
