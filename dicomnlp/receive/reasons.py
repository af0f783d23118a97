"""Why an object isn't taken: each reason code that receive gives, the DIMSE status it is answered with, what it means.

An object that can't be read is refused with the reason code of the `extract` error instead, a commit that fails with
that of the `DatabaseError`.
"""

import enum

from dicomnlp.errors import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH,
    INVALID_SOP_INSTANCE,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SOP_CLASS_NOT_SUPPORTED,
)


class Reason(enum.Enum):
    """(status, meaning); the reason code is the name in lower case."""

    OBJECT_TOO_LARGE = (OUT_OF_RESOURCES, "The data set is above `listener.maximum_object_bytes`.")
    TOO_MUCH_AT_A_TIME = (
        OUT_OF_RESOURCES,
        "The large objects that come in at this moment take all the memory that there is for them.",
    )
    DISK_FULL = (OUT_OF_RESOURCES, "Less than `database.minimum_free_bytes` is free on a volume of the store.")
    QUEUE_FULL = (OUT_OF_RESOURCES, "`listener.maximum_pending_objects` wait for analysis.")
    STORE_READ_ONLY = (
        OUT_OF_RESOURCES,
        "The disk failed to make a commit durable: nothing is taken until the service is started again.",
    )
    SERVICE_STOPPING = (
        OUT_OF_RESOURCES,
        "The object came after the last commit of a listener that stops: the log has it, the ledger has not.",
    )
    STORAGE_FAILED = (OUT_OF_RESOURCES, "The original couldn't be written to `database.large_object_directory`.")
    IDENTITY_MISMATCH = (
        DATA_SET_DOES_NOT_MATCH,
        "SOP Class or Instance UID of the data set is not the one of the command, or of the file meta information.",
    )
    STUDY_MISMATCH = (
        DATA_SET_DOES_NOT_MATCH,
        "Study Instance UID of the data set is not the one of the address to which it was sent (STOW-RS).",
    )
    NO_DATA_SET = (CANNOT_UNDERSTAND, "The C-STORE request says that it has no data set.")
    NO_SOP_CLASS_UID = (CANNOT_UNDERSTAND, "The data set has no well-formed SOP Class UID.")
    NO_SOP_INSTANCE_UID = (
        CANNOT_UNDERSTAND,
        "The data set has no well-formed SOP Instance UID: it is kept in quarantine under the announced or a made one.",
    )
    NO_STUDY_INSTANCE_UID = (
        CANNOT_UNDERSTAND,
        "The data set has no well-formed Study Instance UID: it is kept in quarantine, linked to no study.",
    )
    TRANSFER_SYNTAX_NOT_SUPPORTED = (CANNOT_UNDERSTAND, "A file in a transfer syntax that isn't offered.")
    NOT_A_FILE = (CANNOT_UNDERSTAND, "Import met a pipe, a socket or a device.")
    FILE_UNREADABLE = (CANNOT_UNDERSTAND, "Import isn't allowed to read a file, or the disk failed.")
    FILE_MISSING = (CANNOT_UNDERSTAND, "A record of a DICOMDIR names a file that is not there.")
    FILE_OUTSIDE = (CANNOT_UNDERSTAND, "A record of a DICOMDIR names a file outside of its file-set.")
    ARCHIVE_DAMAGED = (CANNOT_UNDERSTAND, "A ZIP archive whose list of entries can't be read.")
    ARCHIVE_TOO_LARGE = (OUT_OF_RESOURCES, "A ZIP archive of more than 200,000 entries, or 64 GiB unpacked.")
    ENTRY_ENCRYPTED = (CANNOT_UNDERSTAND, "An encrypted entry of a ZIP archive.")
    ENTRY_BOMB = (OUT_OF_RESOURCES, "An entry of a ZIP archive that unpacks to more than 200 times its size.")
    ENTRY_UNREADABLE = (CANNOT_UNDERSTAND, "A damaged entry of a ZIP archive, one packed by a rare method, or a link.")
    NESTED_ARCHIVE = (CANNOT_UNDERSTAND, "A ZIP archive within a ZIP archive.")
    PROCESSING_FAILED = (PROCESSING_FAILURE, "An internal error; the log has its place.")
    INVALID_SOP_INSTANCE_UID = (INVALID_SOP_INSTANCE, "Affected SOP Instance UID is missing or no UID (PS3.5 9.1).")
    SOP_CLASS_NOT_OF_CONTEXT = (
        SOP_CLASS_NOT_SUPPORTED,
        "Affected SOP Class UID is not the abstract syntax of the presentation context.",
    )
    SOP_CLASS_NOT_AUTHORIZED = (NOT_AUTHORIZED, "A SOP class of `refused_sop_classes` of the sender's `[[peers]]`.")
    SOP_CLASS_NOT_SUPPORTED = (SOP_CLASS_NOT_SUPPORTED, "A file of a SOP class that isn't offered.")

    @property
    def answer(self) -> tuple[int, str]:
        """The status and the reason code."""
        return self.value[0], self.name.lower()

    @property
    def meaning(self) -> str:
        """A sentence for people."""
        return self.value[1]
