"""The text layer of a PDF, page by page in order, by pdfium in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from dicomnlp.errors import DicomnlpError, UnreadableObjectError
from dicomnlp.extract.hygiene import plain_text
from dicomnlp.extract.paragraphs import NarrativeBuilder
from dicomnlp.model import Narrative, State

MAX_PAGES = 10_000
MAX_CHARACTERS = 5_000_000
MAX_SECONDS = 15.0
"""No further page is begun then; what was read until then counts, if there are words among it."""
MAX_PROCESSOR_SECONDS = 20
"""The system ends the process then, whatever it is at; nothing of the document is read."""
MAX_WALL_SECONDS = 40.0
"""For a machine on which others take the processor; below what a worker has for an object."""
MAX_MEMORY_BYTES = 1 << 30
"""Address space of the process, document included."""

_PROGRAM: Final = str(Path(__file__).with_name("pdf_process.py"))
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")
"""What finding the interpreter and pdfium may need, and nothing else that the service was told, such as a password."""
_SOFT_HYPHEN = re.compile(r"[\u00ad\ufffe\x02]\n?")


def read_pdf(data: bytes, warnings: list[str]) -> tuple[Narrative, State]:
    """The words of a PDF document and whether there are any.

    Parameters
    ----------
    data
        The document; padding behind its end doesn't matter.
    warnings
        Gets ``pdf_encrypted``, ``pdf_broken``, ``pdf_page_broken at page N``, ``pdf_too_long at page N`` or
        ``pdf_timeout at page N``, which is the first that is left out, and ``pdf_too_costly`` for a document on which
        pdfium ran out of memory, or crashed.

    Returns
    -------
    tuple
        The narrative, with one segment a page, and PENDING when it has words, NEEDS_OCR when all pages are without,
        NO_TEXT when the document can't be opened, has no pages, or costs too much.

    Raises
    ------
    UnreadableObjectError
        ``pdf_timeout``: time ran out before any word was read, which says nothing of whether there are any.
    DicomnlpError
        The reading process doesn't run at all; the document isn't to blame.
    """
    answer = _read_in_process(data)
    if answer is None:
        warnings.append("pdf_too_costly")
        return Narrative(""), State.NO_TEXT
    warnings += answer["warnings"]
    builder = NarrativeBuilder()
    for number, text in enumerate(answer["pages"], 1):
        builder.paragraph(plain_text(_SOFT_HYPHEN.sub("", text.replace("\r\n", "\n"))), f"page {number}")
    narrative = builder.build()
    if any(c.isalpha() for c in narrative.text):
        return narrative, State.PENDING
    if any(warning.startswith("pdf_timeout") for warning in answer["warnings"]):
        raise _timeout()
    return Narrative(""), State.NEEDS_OCR if answer["has_pages"] else State.NO_TEXT


def _timeout() -> UnreadableObjectError:
    return UnreadableObjectError(
        "The PDF document takes longer to read than it may; dicomnlp failures --retry tries again.",
        reason_code="pdf_timeout",
    )


def _read_in_process(data: bytes) -> dict[str, Any] | None:
    """What `pdf_process.read_pages` returns; None when the process was ended for what the document asked of it."""
    # -P, since modules beside the program have names of the standard library's
    limits = (MAX_MEMORY_BYTES, MAX_PROCESSOR_SECONDS, MAX_PAGES, MAX_CHARACTERS, MAX_SECONDS)
    try:
        process = subprocess.run(  # noqa: S603 - this interpreter, and a program of this package
            [sys.executable, "-P", _PROGRAM, *map(str, limits)],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # pdfium may quote the document
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            timeout=MAX_WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _timeout() from None
    if process.returncode == -signal.SIGXCPU:
        raise _timeout()
    if process.returncode < 0:
        return None
    if process.returncode:
        raise DicomnlpError(
            f"the process that reads PDF documents ended with exit status {process.returncode};"
            " check that pypdfium2 is installed for this interpreter",
            reason_code="pdf_reader_failed",
        )
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer
