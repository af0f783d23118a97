"""Reading order of PDF pages: by where the words stand, whatever the order in which the file draws them."""

import itertools
import random
import time

import pytest

from dicomnlp.extract.pdf import read_pdf
from dicomnlp.extract.pdf_layout import Run, reading_order
from dicomnlp.model import State

LEFT = [
    "The lungs are well expanded and",
    "clear on both sides without any",
    "focal consolidation. There is no",
    "pleural effusion or pneumothorax.",
]
RIGHT = [
    "The heart is of normal size and",
    "the mediastinum is not widened at",
    "all. Bones show degenerative",
    "changes of the thoracic spine.",
]
HEADING = "RADIOGRAPH OF THE CHEST IN TWO PLANES, COMPARED WITH LAST WEEK"
TABLE = [
    ("Aortic root", "32", "mm"),
    ("Left atrium", "41", "mm"),
    ("Ejection fraction", "55", "%"),
    ("Mitral valve area", "4.1", "cm2"),
]


def document(*contents, page=""):
    """A PDF document of these content streams, a page each, in Helvetica (F1)."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(contents)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, content in enumerate(contents):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {page} /Resources << /Font << /F1 3 0 R >> >>"
            f" /Contents {5 + 2 * i} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    return out + f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def at(x, y, text, size=10):
    """Operators that draw a text with its baseline there."""
    return f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET"


def column(x, lines, top=700, step=14):
    """Operators of lines one below the other."""
    return [at(x, top - step * i, text) for i, text in enumerate(lines)]


def table(rows, at_x=(72, 250, 300), top=700):
    """Operators of the cells of a table."""
    return [at(x, top - 14 * i, cell) for i, row in enumerate(rows) for x, cell in zip(at_x, row, strict=True) if cell]


def text_of(*pages, **options):
    """What is read of pages that are lists of operators."""
    warnings = []
    narrative, state = read_pdf(document(*("\n".join(operators) for operators in pages), **options), warnings)
    assert (state, warnings) == (State.PENDING, [])
    return narrative.text


def words(*lines):
    """Their words, whatever stands between."""
    return " ".join(lines).split()


PAGES = {
    "two columns": ([*column(72, LEFT), *column(320, RIGHT)], [*LEFT, *RIGHT]),
    # the baselines of one column stand between those of the other
    "two columns, not level": ([*column(72, LEFT), *column(320, RIGHT, 693)], [*LEFT, *RIGHT]),
    "two columns of short lines, not level": (
        [*column(72, ["Lung", "Heart", "Bone"]), *column(320, ["Liver", "Spleen", "Kidney"], 693)],
        ["Lung", "Heart", "Bone", "Liver", "Spleen", "Kidney"],
    ),
    "heading across two columns": (
        [at(72, 728, HEADING, 12), *column(72, LEFT), *column(320, RIGHT)],
        [HEADING, *LEFT, *RIGHT],
    ),
    "sentence across between two pairs of columns": (
        [
            *column(72, LEFT),
            *column(320, RIGHT),
            at(72, 640, HEADING, 11),
            *column(72, RIGHT, 620),
            *column(320, LEFT, 620),
        ],
        [*LEFT, *RIGHT, HEADING, *RIGHT, *LEFT],
    ),
    # the header's own gap stands over the gutter of the columns
    "header and footer": (
        [
            *(at(72, 770, "General Hospital"), at(480, 770, "Page 1 of 2")),
            *column(72, LEFT),
            *column(320, RIGHT),
            *(at(72, 40, "Printed today"), at(480, 40, "Confidential")),
        ],
        ["General Hospital", "Page 1 of 2", *LEFT, *RIGHT, "Printed today", "Confidential"],
    ),
    "right column longer": ([*column(72, LEFT), *column(320, [*RIGHT, *LEFT])], [*LEFT, *RIGHT, *LEFT]),
    "right column begins higher": (
        [*column(72, LEFT, 672), *column(320, [*RIGHT, *LEFT], 700)],
        [*LEFT, *RIGHT, *LEFT],
    ),
    "signature below the left column": (
        [*column(72, LEFT), *column(320, RIGHT), at(72, 600, "Signed by the radiologist")],
        [*LEFT, *RIGHT, "Signed by the radiologist"],
    ),
    "three columns": (
        [*column(40, LEFT), *column(230, RIGHT), *column(420, LEFT)],
        [*LEFT, *RIGHT, *LEFT],
    ),
    "table": (table(TABLE), [" ".join(row) for row in TABLE]),
    # no value for one, and a heading over the columns
    "table with empty cells": (
        table([("Measurement", "Value", "Unit"), *TABLE[:2], ("Not seen", "", ""), *TABLE[2:]]),
        ["Measurement Value Unit", "Aortic root 32 mm", "Left atrium 41 mm", "Not seen", "Ejection fraction 55 %"],
    ),
    "labels beside wrapped text": (
        [at(72, 700, "Indication:"), at(72, 658, "Findings:"), *column(180, [*LEFT[:3], *RIGHT[:3]])],
        ["Indication: " + LEFT[0], LEFT[1], LEFT[2], "Findings: " + RIGHT[0], RIGHT[1]],
    ),
    "table below prose": (
        [*column(72, [a + " " + b for a, b in zip(LEFT, RIGHT, strict=True)], 700), *table(TABLE, top=644)],
        [LEFT[0], RIGHT[0], LEFT[3], "Aortic root 32 mm", "Mitral valve area 4.1 cm2"],
    ),
    "exponent and index": (
        [
            at(72, 700, "Area 3 cm"),
            at(116, 704, "2", 6),
            at(121, 700, "at T"),
            at(138.4, 697, "1", 6),
            at(144.6, 700, "is"),
        ],
        ["Area 3 cm2 at T1 is"],
    ),
    # every letter by itself: words are what stands close
    "letters": (
        [at(x, 700, letter) for x, letter in zip((72, 79.2, 87.6, 93.2, 98.8, 104.4, 112.7), "Noedema", strict=True)],
        ["No edema"],
    ),
    "drawn twice for bold": ([at(72, 700, "Impression:"), at(72.3, 700, "Impression:")], ["Impression:"]),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("seed", [None, 1])
def test_page_is_read_in_order_whatever_the_order_of_drawing(name, seed):
    """As people read it: each expected stretch whole, and one after the other."""
    operators, expected = PAGES[name]
    drawn = list(operators)
    if seed is not None:
        random.Random(seed).shuffle(drawn)
    text = " ".join(text_of(drawn).split())
    places = []
    start = 0
    for stretch in expected:
        place = text.find(" ".join(stretch.split()), start)
        assert place >= 0, (stretch, text)
        places.append(place)
        start = place + len(stretch)
    assert places == sorted(places)


def test_nothing_is_lost_or_added():
    """All words of all pages, in any order of drawing, and no others."""
    for name, (operators, _) in PAGES.items():
        if name in {"exponent and index", "letters", "drawn twice for bold"}:
            continue
        drawn = [o[o.index("(") + 1 : o.rindex(")")] for o in operators]
        assert sorted(words(text_of(operators))) == sorted(words(*drawn)), name


def test_lines_stay_lines():
    """A line of print is a line of text; a paragraph's distance is an empty line."""
    assert text_of([*column(72, LEFT), *column(72, RIGHT, 620)]) == "\n".join([*LEFT, "", *RIGHT])


@pytest.mark.parametrize(("rotate", "matrix"), [(90, "0 1 -1 0"), (180, "-1 0 0 -1"), (270, "0 -1 1 0")])
def test_rotated_page_is_read_by_the_direction_of_its_text(rotate, matrix):
    """Scanned and turned, or landscape: columns as on an upright page."""
    x, y = {90: (612, 0), 180: (612, 792), 270: (0, 792)}[rotate]
    operators = [f"{matrix} {x} {y} cm", *column(72, LEFT, 500), *column(320, RIGHT, 500)]
    assert words(text_of(operators, page=f"/Rotate {rotate}")) == words(*LEFT, *RIGHT)


def test_text_along_the_margin_comes_after_the_page():
    """And what is stamped across it last; neither breaks a line."""
    margin = "BT /F1 8 Tf 0 1 -1 0 30 300 Tm (Archive copy 17) Tj ET"
    stamp = "BT /F1 30 Tf .7 .7 -.7 .7 150 600 Tm (DRAFT) Tj ET"
    assert text_of([stamp, margin, *column(72, LEFT)]) == "\n".join([*LEFT, "Archive copy 17", "DRAFT"])


def test_what_stands_outside_the_page_is_not_read():
    """Nobody sees it."""
    assert text_of([at(72, 700, "Seen."), at(72, 900, "Unseen."), at(700, 700, "Unseen.")]) == "Seen."


def test_hyphens_at_the_ends_of_lines_join_words_and_others_stay():
    """Also where the line's other half is drawn elsewhere in the file."""
    operators = [at(72, 700, "No effu-"), at(72, 686, "sion on T2-weighted images")]
    assert text_of(operators) == "No effusion on T2-weighted images"


def test_pages_are_in_order():
    """Each a segment of its own."""
    pages = [column(72, [f"Page number {n} of the report."]) for n in range(1, 12)]
    assert text_of(*pages).splitlines() == [f"Page number {n} of the report." for n in range(1, 12)]


def runs(texts_at):
    """Runs of size 10 with letters 5 wide."""
    return [Run(x, x + 5 * len(text), y, 10, text, True, number * 2) for number, (x, y, text) in enumerate(texts_at)]


def test_right_to_left_lines_begin_at_the_right():
    """Words in their order; pdfium has their letters in order already."""
    assert reading_order(runs([(200, 100, "לא"), (177, 100, "נראה"), (149, 100, "תפליט")])) == "לא נראה תפליט"


def test_chinese_columns_are_read_one_after_the_other():
    """Letters twice as wide, and no small ones to go on with."""
    left = ["双肺纹理清晰未见明显实变影", "气管及主支气管通畅无狭窄征象", "纵隔内未见明显肿大的淋巴结影"]
    right = ["心影大小形态正常主动脉无增宽", "双侧胸腔未见积液亦未见气胸征", "所示骨质未见明显异常改变征象"]
    placed = [(0, -12 * i, t) for i, t in enumerate(left)] + [(200, -12 * i, t) for i, t in enumerate(right)]
    assert reading_order(runs(placed)).split() == [*left, *right]


def seconds(number, place):
    """Processor seconds for that many words, the least of three."""
    given = runs([(*place(i, number), f"w{i}") for i in range(number)])
    random.Random(4).shuffle(given)

    def once():
        start = time.process_time()
        reading_order(given)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize(
    "place",
    [
        lambda i, _: (i % 8 * 60, -12 * (i // 8)),
        lambda i, _: (i * 60, 0),
        lambda i, _: (0, -12 * i),
        lambda i, n: (i * 60, 0) if i < n // 2 else (0, -12 * i),  # a row of gutters over many lines
        lambda i, _: (i * 7919 % 600, -(i * 104729 % 800)),
        lambda i, _: (i % 2 * 300, -12 * (i // 2) - i % 2 * 6),
    ],
    ids=["table", "one row", "one column", "row over column", "strewn", "two columns"],
)
def test_cost_grows_with_the_number_of_words(place):
    """Ten times the words cost no more than twenty times as much, as sorting them may."""
    small, large = seconds(3_000, place), seconds(30_000, place)
    assert large <= 20 * max(small, 0.002)


def test_every_word_is_there_once_wherever_it_stands():
    """Strewn over the page at any distance and in any size."""
    for seed in range(40):
        rng = random.Random(seed)
        given = [
            Run(
                x := rng.uniform(0, 500),
                x + rng.uniform(1, 90),
                rng.uniform(0, 300),
                rng.choice([1, 6, 10, 30]),
                f"w{n}",
                True,
                2 * n,
            )
            for n in range(rng.randrange(120))
        ]
        found = reading_order(given)
        assert sorted(found.replace("w", " w").split()) == sorted(r.text for r in given)
        for order in itertools.islice(itertools.permutations(given), 3):
            assert sorted(reading_order(order).replace("w", " w").split()) == sorted(r.text for r in given)
