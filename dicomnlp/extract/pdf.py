"""The text layer of a PDF, page by page in order, by pdfium."""

import ctypes
import re
import time

import pypdfium2
import pypdfium2.raw as pdfium_c

from dicomnlp.extract.hygiene import plain_text
from dicomnlp.extract.paragraphs import NarrativeBuilder
from dicomnlp.model import Narrative, State

MAX_PAGES = 10_000
MAX_CHARACTERS = 5_000_000
MAX_SECONDS = 20.0
"""Between pages: a page that takes longer by itself is the worker's time limit's to stop."""
_SOFT_HYPHEN = re.compile(r"[\u00ad\ufffe\x02]\n?")


def read_pdf(data: bytes, warnings: list[str]) -> tuple[Narrative, State]:
    """The words of a PDF document and whether there are any.

    Parameters
    ----------
    data
        The document; padding behind its end doesn't matter.
    warnings
        Gets ``pdf_encrypted``, ``pdf_broken``, ``pdf_page_broken at page N``, ``pdf_too_long at page N``, which is the
        first that is left out.

    Returns
    -------
    tuple
        The narrative, with one segment a page, and PENDING when it has words, NEEDS_OCR when all pages are without,
        NO_TEXT when the document can't be opened or has no pages.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        # pdfium's last error may be an earlier document's: an encrypted one says so in its trailer
        encrypted = error.err_code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY} and b"/Encrypt" in data
        warnings.append("pdf_encrypted" if encrypted else "pdf_broken")
        return Narrative(""), State.NO_TEXT
    builder = NarrativeBuilder()
    characters = 0
    deadline = time.monotonic() + MAX_SECONDS
    try:
        pages = len(document)
        for number in range(pages):
            text = _page_text(document, number, warnings)
            characters += len(text)
            if characters > MAX_CHARACTERS or number >= MAX_PAGES or time.monotonic() > deadline:
                warnings.append(f"pdf_too_long at page {number + 1}")
                break
            builder.paragraph(text, f"page {number + 1}")
    finally:
        document.close()
    narrative = builder.build()
    if any(c.isalpha() for c in narrative.text):
        return narrative, State.PENDING
    if not pages:
        warnings.append("pdf_broken")
        return Narrative(""), State.NO_TEXT
    return Narrative(""), State.NEEDS_OCR


def _page_text(document: pypdfium2.PdfDocument, number: int, warnings: list[str]) -> str:
    """The text of one page in pdfium's reading order; a page that can't be read is passed over with a warning."""
    try:
        page = document[number]
        try:
            text_page = page.get_textpage()
            try:
                text = text_page.get_text_bounded()
            finally:
                text_page.close()
        finally:
            page.close()
    except (pypdfium2.PdfiumError, ctypes.ArgumentError):
        warnings.append(f"pdf_page_broken at page {number + 1}")
        return ""
    return plain_text(_SOFT_HYPHEN.sub("", text.replace("\r\n", "\n")))
