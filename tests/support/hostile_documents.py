"""Encapsulated documents that are made to harm: PDF by hand, since no library writes such ones."""

import zlib

_PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents 5 0 R >>"
)


def pdf(objects, *, trailer=""):
    """A PDF file of these object bodies (bytes), numbered from 1; the first is the catalogue."""
    out, offsets = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer.encode())
    return out + b"startxref\n%d\n%%%%EOF\n" % start


def stream(data, *, times=1):
    """A stream object, compressed `times` times over."""
    for _ in range(times):
        data = zlib.compress(data, 9)
    filters = b"/FlateDecode " * times
    return b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (len(data), filters, data)


def one_page(content):
    """A document of one page with this content stream object."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            _PAGE,
            content,
        ]
    )


def encrypted():
    """A document that opens with a password only."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [] /Count 0 >>",
            b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>",
        ],
        trailer="/Encrypt 3 0 R /ID [<00112233445566778899AABBCCDDEEFF> <00112233445566778899AABBCCDDEEFF>]",
    )


def image_only():
    """A page with lines and no text."""
    return one_page(stream(b"0 0 m 100 100 l S"))


def without_pages():
    """A page tree without leaves."""
    return pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"])


def cyclic_pages():
    """A page tree whose branches hang on each other, with a count that no file could hold."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Parent 3 0 R /Count 2000000000 >>",
            b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Parent 2 0 R /Count 2000000000 >>",
        ]
    )


def many_pages(count):
    """One page object that the tree names `count` times."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b"4 0 R " * count, count),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            _PAGE,
            stream(b"BT /F1 12 Tf 50 700 Td (No pleural effusion.) Tj ET"),
        ]
    )


def blank_bomb(size):
    """A content stream of blanks, compressed twice over: a few kilobytes for `size`."""
    return one_page(stream(b" " * size, times=2))


def text_bomb(count):
    """A content stream that shows `count` words."""
    return one_page(stream(b"BT /F1 12 Tf 50 700 Td " + b"(normal) Tj " * count + b" ET"))


def nested_forms(depth, width):
    """Forms that draw the next one `width` times, `depth` deep: exponential work for a naive interpreter."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        _PAGE.replace(b"/Font << /F1 3 0 R >>", b"/XObject << /X 6 0 R >>"),
        stream(b"/X Do"),
    ]
    for level in range(depth):
        content = b"/X Do " * width if level < depth - 1 else b"BT /F1 12 Tf 50 700 Td (x) Tj ET"
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >>"
            b" /XObject << /X %d 0 R >> >> /Length %d >>\nstream\n%s\nendstream" % (7 + level, len(content), content)
        )
    return pdf(objects)
