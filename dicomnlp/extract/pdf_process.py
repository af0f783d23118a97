"""The process in which pdfium reads one PDF: run by its path, it knows nothing of the package around it.

A few kilobytes of PDF can ask for any amount of memory and time within one call of pdfium, where no Python code gets a
word in. Only the system can stop that, and it stops a process.

The document comes on standard input; the answer, JSON of the texts of the pages, the warnings and whether there are
pages at all, goes to standard output.
"""

import ctypes
import json
import os
import resource
import sys
import time

import pypdfium2
import pypdfium2.raw as pdfium_c


def limit(kind: int, value: int) -> None:
    """Set a resource limit of this process, unless a lower one holds already."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def read_pages(data: bytes, *, max_pages: int, max_characters: int, max_seconds: float) -> dict[str, object]:
    """The texts of the pages in order, as pdfium gives them, up to the limits.

    Returns
    -------
    dict
        ``pages``: the texts; ``warnings``: as `pdf.read_pdf` tells; ``has_pages``: whether the document opens and has
        any.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        # pdfium's last error may be an earlier document's: an encrypted one says so in its trailer
        encrypted = error.err_code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY} and b"/Encrypt" in data
        return {"pages": [], "warnings": ["pdf_encrypted" if encrypted else "pdf_broken"], "has_pages": False}
    pages: list[str] = []
    warnings: list[str] = []
    characters = 0
    deadline = time.monotonic() + max_seconds
    count = len(document)
    for number in range(count):
        try:
            text = page_text(document, number)
        except (pypdfium2.PdfiumError, ctypes.ArgumentError):
            warnings.append(f"pdf_page_broken at page {number + 1}")
            text = ""
        characters += len(text)
        if characters > max_characters or number >= max_pages or time.monotonic() > deadline:
            warnings.append(f"pdf_too_long at page {number + 1}")
            break
        pages.append(text)
    if not count:
        warnings.append("pdf_broken")
    return {"pages": pages, "warnings": warnings, "has_pages": count > 0}


def page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    """The text of one page in pdfium's reading order."""
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            text: str = text_page.get_text_bounded()
        finally:
            text_page.close()
    finally:
        page.close()
    return text


def main(arguments: list[str]) -> None:
    """Limit this process, then read and answer.

    Parameters
    ----------
    arguments
        Bytes of memory, seconds of processor time, pages, characters, and seconds until no further page is begun.
    """
    memory, processor_seconds, max_pages, max_characters, max_seconds = arguments
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, int(processor_seconds))
    limit(resource.RLIMIT_AS, int(memory))
    try:
        # unbuffered: a second copy of a large document would count
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
            data = source.read()
        answer = read_pages(
            data, max_pages=int(max_pages), max_characters=int(max_characters), max_seconds=float(max_seconds)
        )
        sys.stdout.buffer.write(json.dumps(answer).encode("ascii"))
        sys.stdout.buffer.flush()
    except MemoryError:
        os.abort()  # as pdfium ends when it is refused memory


if __name__ == "__main__":
    main(sys.argv[1:])
