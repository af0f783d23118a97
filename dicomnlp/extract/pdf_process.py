"""The process in which pdfium reads one PDF: run by its path, it knows nothing of the package around it.

A few kilobytes of PDF can ask for any amount of memory and time within one call of pdfium, where no Python code gets a
word in. Only the system can stop that, and it stops a process.

The document comes on standard input; the answer, JSON of the texts of the pages, the warnings and whether there are
pages at all, goes to standard output.
"""

import ctypes
import importlib.util
import json
import math
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pypdfium2
import pypdfium2.raw as pdfium_c

if TYPE_CHECKING:
    from dicomnlp.extract import pdf_layout as layout
else:
    # by path: importing the package would cost more than reading most documents
    _SPEC = importlib.util.spec_from_file_location("pdf_layout", Path(__file__).with_name("pdf_layout.py"))
    layout = importlib.util.module_from_spec(_SPEC)
    sys.modules["pdf_layout"] = layout
    _SPEC.loader.exec_module(layout)

_RUN: Final = re.compile(r"[^\s\x02\ufffe]+[\x02\ufffe]?|[\x02\ufffe]")
_QUARTER: Final = math.pi / 2
_LEAST_OBLIQUE: Final = 0.2
_SAME_LEVEL: Final = 0.3
"""Font sizes that letters of a word stand off its baseline at most."""
_FAR: Final = 3.0
"""Font sizes from one letter of a word to the next at most."""
_SIZE_OF_BOX: Final = 0.86
"""A font's size by the height of its letters' boxes, which reach from descender to ascender."""


def limit(kind: int, value: int, grace: int = 0) -> None:
    """Set a resource limit of this process, unless a lower one holds already; the hard one is higher by `grace`."""
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY:
        hard = value + grace
    resource.setrlimit(kind, (min(value, hard), min(value + grace, hard)))


def read_pages(data: bytes, *, max_pages: int, max_characters: int, max_seconds: float) -> dict[str, object]:
    """The texts of the pages in order, each in reading order, up to the limits.

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
        if characters > max_characters or number >= max_pages:
            warnings.append(f"pdf_too_long at page {number + 1}")
            break
        if time.monotonic() > deadline:
            warnings.append(f"pdf_timeout at page {number + 1}")
            break
        pages.append(text)
    if not count:
        warnings.append("pdf_broken")
    return {"pages": pages, "warnings": warnings, "has_pages": count > 0}


def page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    """The text of one page in the order in which people read it: that of its main direction first."""
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            by_direction = runs_of(text_page, page.get_bbox())
        finally:
            text_page.close()
    finally:
        page.close()
    oblique = " ".join(run.text for run in by_direction.pop(None, ()))
    ordered = sorted(by_direction.values(), key=len, reverse=True)
    return "\n".join(text for text in (*map(layout.reading_order, ordered), oblique) if text)


def runs_of(
    text_page: pypdfium2.PdfTextPage, box: tuple[float, float, float, float]
) -> dict[int | None, list["layout.Run"]]:
    """The words of a page as far as they are within `box`, by the quarter turns, clockwise, of their direction.

    None stands for what is at an angle, such as a stamp; it is left in the order in which it is drawn.
    """
    count = pdfium_c.FPDFText_CountChars(text_page)
    text = text_page.get_text_range(0, count) if count > 0 else ""
    if len(text) != count:
        # letters that pdfium has no text for, or that are two units of UTF-16: the places have to be those of letters
        codes = (pdfium_c.FPDFText_GetUnicode(text_page, i) for i in range(count))
        text = "".join(chr(code) if code <= sys.maxunicode else " " for code in codes)
    found: dict[int | None, list[layout.Run]] = {}
    number = 0
    for match in _RUN.finditer(text):
        first, last = match.start(), match.end()
        angle = pdfium_c.FPDFText_GetCharAngle(text_page, first)
        turns = round(angle / _QUARTER)
        if abs(angle - turns * _QUARTER) > _LEAST_OBLIQUE:
            found.setdefault(None, []).append(layout.Run(0, 0, 0, 1, match[0].replace("\0", ""), True, number))
            number += 1
            continue
        # spaces that pdfium adds are its guess; where words stand tells more
        spaced = first > 0 and not pdfium_c.FPDFText_IsGenerated(text_page, first - 1) and text[first - 1].isspace()
        left, right, bottom, top = _turned(box, turns % 4)
        for start, stop, x0, x1, y, size in _pieces(text_page, first, last, turns % 4):
            if x0 <= right and x1 >= left and bottom <= y <= top:
                run_text = text[start:stop].replace("\0", "")
                run = layout.Run(x0, x1, y, size, run_text, spaced and start == first, number)
                found.setdefault(turns % 4, []).append(run)
            number += 1
    return found


def _pieces(
    text_page: pypdfium2.PdfTextPage, first: int, last: int, turns: int
) -> Iterator[tuple[int, int, float, float, float, float]]:
    """Letters from `first` to before `last` as far as they stand together: pdfium may join what is far apart.

    Yields
    ------
    tuple
        First letter and the one behind the last; start and end along the text, baseline, and size.
    """
    x, y = ctypes.c_double(), ctypes.c_double()
    places = []
    for index in range(first, last):
        pdfium_c.FPDFText_GetCharOrigin(text_page, index, x, y)
        along, _, across, _ = _turned((x.value, y.value, x.value, y.value), turns)
        places.append((along, across))
    start = first
    box = _letter_box(text_page, first, turns)
    while start < last:
        size = _SIZE_OF_BOX * (box[3] - box[2])
        level = places[start - first][1]
        stop = start + 1
        while stop < last:
            along, across = places[stop - first]
            step = abs(along - places[stop - 1 - first][0])
            if abs(across - level) > _SAME_LEVEL * size or step > _FAR * size:
                break
            stop += 1
        behind = _letter_box(text_page, stop - 1, turns)
        yield start, stop, min(box[0], behind[0]), max(box[1], behind[1]), level, size
        start = stop
        if start < last:
            box = _letter_box(text_page, start, turns)


def _letter_box(text_page: pypdfium2.PdfTextPage, index: int, turns: int) -> tuple[float, float, float, float]:
    rectangle = pdfium_c.FS_RECTF()
    pdfium_c.FPDFText_GetLooseCharBox(text_page, index, rectangle)
    return _turned((rectangle.left, rectangle.bottom, rectangle.right, rectangle.top), turns)


def _turned(box: tuple[float, float, float, float], turns: int) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) as (left, right, bottom, top) of a page turned so that the text is upright."""
    left, bottom, right, top = box
    if turns == 1:
        return -top, -bottom, left, right
    if turns == 2:
        return -right, -left, -top, -bottom
    if turns == 3:
        return bottom, top, -right, -left
    return left, right, bottom, top


def main(arguments: list[str]) -> None:
    """Limit this process, then read and answer.

    Parameters
    ----------
    arguments
        Bytes of memory, seconds of processor time, pages, characters, and seconds until no further page is begun.
    """
    memory, processor_seconds, max_pages, max_characters, max_seconds = arguments
    limit(resource.RLIMIT_CORE, 0)
    # at the soft limit the signal tells the reason, at the hard one it is any kill
    limit(resource.RLIMIT_CPU, int(processor_seconds), grace=1)
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
