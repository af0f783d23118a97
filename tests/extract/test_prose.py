"""Prose or payload, and how prose becomes plain text."""

import time

import pytest

from dicomnlp.extract.hygiene import plain_text
from dicomnlp.extract.prose import is_prose


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion.", True),
        ("ERCP", True),
        ("未见异常", True),
        ("[Sic] normal.", True),  # a bracket is no JSON
        ("<html><body><p>No effusion.</p></body></html>", True),
        ("<5 mm nodule", True),
        ("Nodule < 5 mm, cyst > 3 cm", True),
        ("{\\rtf1 No effusion.\\par}", True),
        ("LV EF = 55 %, normal.", True),
        ("12.5", False),
        ("28.60 mmHg", False),
        ("-2.1", False),
        ("1.2.840.113619.2.55", False),
        ("", False),
        (" \r\n ", False),
        ("10,20,30,40;50,60,70,80;a", False),
        ('{"roi": [1, 2], "name": "x"}', False),
        ('[{"a": 1}]', False),
        ("{ key = value; other = 3; }", False),
        ('<?xml version="1.0"?><plist><dict/></plist>', False),
        ("<Data><Value>1</Value></Data>", False),
        ("QUJD" * 40, False),
        ("bplist00abc", False),
        ("#ffff80", False),
        ("{length}", False),
        ("x=12.5;y=13.7;z=9", False),
        ("L1: -2.3 L2: -1.1 L3: -0.5", False),  # T-scores
        ("LA: 40 mm, LV: 50 mm", True),  # abbreviations that people read
        ("T2: normal, T1: 3 mm nodule", True),
        ("https://example.org/view?id=1", False),
        ("See https://example.org", True),
        ("6f1c2b3a-0000-4000-8000-1234567890ab", False),
        ("Organ = Abdomen, Size = Adult, Modulation = OFF, Filter = yes", False),
    ],
)
def test_prose_is_told_from_payload(text, expected):
    """What nobody would read aloud is no prose."""
    assert is_prose(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.\r\nTwo.\rThree.\n", "One.\nTwo.\nThree."),
        ("One.\x0cTwo.\x00", "One.\nTwo."),
        ("One.<br>Two.<BR/>Three < 5 mm.", "One.\nTwo.\nThree < 5 mm."),
        ("<html><style>p {x}</style><p>One &amp; two.</p><p>Three.</p></html>", "One & two.\nThree."),
        ("<ul><li>One</li><li>Two</li></ul>", "- One\n- Two"),
        ("<table><tr><td>LAD</td><td>50 %</td></tr></table>", "LAD 50 %"),
        ("FINDINGS:\\.br\\No effusion.\\.br\\A \\T\\ B", "FINDINGS:\nNo effusion.\nA & B"),
        ("x\\E\\y \\X0D0A\\z", "x\\y\nz"),
        ("&lt;br&gt;One&lt;br&gt;two &lt; 5 mm", "One\ntwo < 5 mm"),  # escaped as a whole
        ("&eacute;lev&eacute; &hyper; R&D", "\u00e9lev\u00e9 &hyper; R&D"),
        ("Path C:\\data\\file", "Path C:\\data\\file"),  # no escape sequence
        (
            "{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}\\f0 No \\b effusion\\b0.\\par Gr\\'f6\\u223?e.}",
            "No effusion.\nGröße.",
        ),
        # the document's own code page, one byte a character and two
        (r"{\rtf1\ansi\ansicpg1250 P\'b3uca bez zmian.}", "Płuca bez zmian."),
        (r"{\rtf1\ansi\ansicpg936 \'ce\'b4\'bc\'fb\'d2\'ec\'b3\'a3\'a1\'a3}", "未见异常。"),
        # stand-ins for readers that know no Unicode: a character, a byte, none
        (r"{\rtf1\uc1 Gr\u246 o\u223\'dfe}", "Größe"),
        (r"{\rtf1\uc0 Gr\u246 \u223 e}", "Größe"),
        (r"{\rtf1\uc1 \u-10179?\u-8704?}", "\U0001f600"),
        (r"{\rtf1 5\endash 6 mm, \ldblquote stable\rdblquote}", "5–6 mm, “stable”"),
        (r"{\rtf1\ansicpg99999 x}", "x"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # stays what it is: data
        ("a<b and c>d", "a<b and c>d"),
        ("Wall &lt; 3 mm&nbsp;thick", "Wall < 3 mm thick"),
        ("one  \n\n\n\n two", "one\n\n two"),
    ],
)
def test_markup_becomes_plain_text(text, expected):
    """And what is no markup stays as it was written."""
    assert plain_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<" * 50_000,
        "\\" * 50_000,
        "<p " * 20_000,
        "{" * 50_000,
        "a=" * 50_000,
        "<a>" * 20_000,
        "A" * 50_000 + "!",
        "1" + " " * 50_000 + "!",
        "\n" * 50_000,
        "<p" + " " * 50_000,
        "AB CD " * 9_000 + "!",
    ],
)
def test_odd_text_costs_no_more_than_its_length(text):
    """No pattern goes back over what it has seen again and again."""
    start = time.perf_counter()
    is_prose(text)
    plain_text(text)
    assert time.perf_counter() - start < 2
