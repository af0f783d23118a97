"""A stored object -> Report: what it says, read from its bytes alone (no database, no network, no logging)."""

from dicomnlp.extract.charset import DEFAULT_FALLBACKS, stated_codecs
from dicomnlp.extract.elements import MAX_INFLATED
from dicomnlp.extract.file import FileContent, read_file
from dicomnlp.extract.identity import identity_of_damaged, read_identity
from dicomnlp.extract.report import extract, report_to_json

__all__ = [
    "DEFAULT_FALLBACKS",
    "MAX_INFLATED",
    "FileContent",
    "extract",
    "identity_of_damaged",
    "read_file",
    "read_identity",
    "report_to_json",
    "stated_codecs",
]
