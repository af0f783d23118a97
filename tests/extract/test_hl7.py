"""HL7 messages taken apart: separators, segments, escape sequences, repetitions, character sets."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.hl7_messages import obr, obx, oru, pid

from dicomnlp.errors import UnreadableObjectError
from dicomnlp.extract.hl7 import Separators, declared_in, is_message, parse_message

QUICK = settings(max_examples=60, deadline=None)
CHARACTER_SETS = [
    ("UNICODE UTF-8", "utf_8"),
    ("GB 18030-2000", "gb18030"),
    ("BIG-5", "big5"),
    ("8859/1", "latin_1"),
    ("8859/2", "iso8859_2"),
    ("8859/5", "iso8859_5"),
    ("8859/15", "iso8859_15"),
    ("KS X 1001", "cp949"),
]
SAMPLES = {
    "utf_8": "右肺上叶见结节 Größe 5 mm, μ",
    "gb18030": "双肺纹理增多,右肺上叶见磨玻璃结节,大小约8mm×6mm,纵隔未见肿大淋巴结。",
    "big5": "右肺上葉見一結節,大小約八公釐,縱膈腔未見淋巴結腫大。",
    "latin_1": "Größe des Rundherds über 8 mm, kein Pneumothorax.",
    "iso8859_2": "Płuca bez zmian ogniskowych, węzły chłonne niepowiększone.",
    "iso8859_5": "Очаговых изменений в лёгких не выявлено.",
    "iso8859_15": "L'œdème pulmonaire a régressé, épanchement à droite.",
    "cp949": "우측 폐상엽에 결절이 보입니다. 기흉은 없습니다.",
}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn"), exclude_characters="\ufeff"), max_size=60)


def message(text, character_set="UNICODE UTF-8"):
    """Of one observation, as text."""
    return oru(pid(), obr(), f"OBX|1|TX|a||{text}||||||F", character_set=character_set)


def texts(parsed):
    """What the observation says, by repetition."""
    return [f.text for f in parsed.first("OBX").repetitions(5)]


@QUICK
@given(TEXT)
def test_whatever_is_escaped_is_read_as_it_was(text):
    """Separators of every kind in a text come back from their escape sequences."""
    assume(text.strip())
    written = Separators().escaped(text)
    assert not set(written) & set("|^~&")
    assert Separators().unescaped(written) == text
    assert texts(parse_message(message(written).encode())) == [text]


@QUICK
@given(st.permutations("#!%?@$*"), TEXT)
def test_separators_are_those_that_the_message_names(characters, text):
    """MSH-1 and MSH-2 may be any five signs; a text that holds them is read as it was."""
    assume(text.strip())
    field, component, repetition, escape, subcomponent = characters[:5]
    own = Separators(field, component, repetition, escape, subcomponent)
    encoded = (
        f"MSH{field}{own.encoding_characters}{field}RIS\rOBX{field}1{field}TX{field}a{field * 2}{own.escaped(text)}\r"
    )
    parsed = parse_message(encoded.encode())
    assert parsed.separators == own
    assert texts(parsed) == [text]


@QUICK
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=6))
def test_repetitions_come_apart_as_they_were_put_together(values):
    """Each with whatever it holds."""
    written = "~".join(Separators().escaped(value) for value in values)
    assert texts(parse_message(message(written).encode())) == values


@QUICK
@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd(data):
    """Anything behind a header is read, or refused with a reason; nothing else happens."""
    parsed = parse_message(b"MSH|^~\\&|RIS|H\r" + data)
    for segment in parsed.segments:
        for number in range(8):
            assert all(isinstance(f.text + f.component(2, 3), str) for f in segment.repetitions(number))


@QUICK
@given(st.binary(max_size=40))
def test_what_is_no_message_is_refused(data):
    """With a reason code, whatever it is."""
    assume(not is_message(data))
    with pytest.raises(UnreadableObjectError) as refused:
        parse_message(data)
    assert refused.value.reason_code == "not_hl7"


@pytest.mark.parametrize(("name", "codec"), CHARACTER_SETS)
def test_text_is_read_in_the_character_set_of_msh_18(name, codec):
    """Each that has a codec."""
    parsed = parse_message(message(SAMPLES[codec], name).encode(codec))
    assert texts(parsed) == [SAMPLES[codec]]
    assert parsed.character_set.confidence >= 0.8


@QUICK
@given(st.integers(0xB0, 0xF7), st.integers(0x40, 0xFE).filter(lambda b: b != 0x7F))
def test_second_bytes_that_are_separators_belong_to_their_character(first, second):
    """Of two bytes of GB 18030 the second may be that of | ^ ~ or a backslash."""
    try:
        character = bytes([first, second]).decode("gb18030")
    except UnicodeDecodeError:
        assume(False)
    text = f"双肺纹理增多{character},右肺上叶见结节。"
    assert texts(parse_message(message(text, "GB 18030-2000").encode("gb18030"))) == [text]


@pytest.mark.parametrize("trail", "|^~\\")
def test_a_character_that_ends_like_a_separator(trail):
    """The very bytes."""
    character = bytes([0x84, ord(trail)]).decode("gb18030")
    text = f"右肺{character}上叶见结节,大小约8mm。"
    parsed = parse_message(message(text, "GB 18030-2000").encode("gb18030"))
    assert texts(parsed) == [text]


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("8859/1", "utf_8"),  # declared as Latin-1, written in UTF-8
        ("", "utf_8"),
        ("", "gb18030"),
        ("ASCII", "gb18030"),
        ("KLINGON", "utf_8"),
    ],
)
def test_wrong_declarations_are_seen_through(declared, codec):
    """And told."""
    parsed = parse_message(message(SAMPLES["gb18030"], declared).encode(codec))
    assert texts(parsed) == [SAMPLES["gb18030"]]
    assert parsed.warnings


def test_code_extensions_of_japanese_are_followed():
    """By ISO 2022's own escape sequences, and by those of HL7 (2.7.2)."""
    encoded = message("@", "ASCII~ISO IR87").encode().replace(b"@", "右肺に結節".encode("iso2022_jp"))
    assert texts(parse_message(encoded)) == ["右肺に結節"]
    designated = b"\\M2442\\" + "右肺".encode("euc_jp").translate(bytes(b & 0x7F for b in range(256))) + b"\\C2842\\ ok"
    assert texts(parse_message(message("@", "ASCII~ISO IR87").encode().replace(b"@", designated))) == ["右肺 ok"]


def test_an_administrator_s_word_on_the_character_set_counts():
    """Also against MSH-18."""
    encoded = message(SAMPLES["gb18030"], "8859/1").encode("gb18030")
    parsed = parse_message(encoded, character_set="gb18030")
    assert texts(parsed) == [SAMPLES["gb18030"]]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"a\.br\b", "a\nb"),
        (r"a\.sp2\b", "a\n\nb"),
        (r"a\.sp9999\b", "a" + "\n" * 80 + "b"),  # not as many lines as somebody wants
        (r"\H\bold\N\ plain", "bold plain"),
        (r"5 \X6D6D\ wide", "5 mm wide"),
        (r"\XE58FB3\ side", "右 side"),
        (r"a\X0D\b", "a\nb"),
        (r"a\X0D0\b", r"a\X0D0\b"),  # half a byte is none
        (r"local \Z12\ thing", "local  thing"),
        (r"C:\temp\new", r"C:\temp\new"),  # no escape sequence at all
        (r"end\ ", "end\\ "),
        (r"1\E\2\F\3\S\4\T\5\R\6", "1\\2|3^4&5~6"),
        (r"\.in+4\indented\.fi\ text", "indented text"),
        ("H&P and A^B", "H&P and A^B"),  # unescaped where no component can be
        ('""', ""),  # says that there is no value
        ("a~~b", "a\n\nb"),
    ],
)
def test_escape_sequences(written, text):
    """Chapter 2.7, and what systems write that never read it."""
    assert "\n".join(texts(parse_message(message(written).encode()))) == text


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n", "\r\r"])
def test_segments_end_as_systems_end_them(ending):
    """CR, LF, both, and empty lines between."""
    encoded = oru(pid(), obr(), obx(1, "one"), obx(2, "two")).replace("\r", ending)
    parsed = parse_message(encoded.encode())
    assert [s.name for s in parsed.segments] == ["MSH", "PID", "OBR", "OBX", "OBX"]
    assert not parsed.warnings


def test_line_ends_within_a_field_go_on_with_it():
    """A line that can't begin a segment; it is told."""
    encoded = oru(
        pid(), obr(), obx(1, "No pneumothorax.\n\nHeart size is normal.\r\nPET\nwas not done."), obx(2, "two")
    )
    parsed = parse_message(encoded.encode())
    assert [s.name for s in parsed.segments] == ["MSH", "PID", "OBR", "OBX", "OBX"]
    assert texts(parsed) == ["No pneumothorax.\n\nHeart size is normal.\nPET\nwas not done."]
    assert parsed.first("OBX").component(11) == "F"
    assert "hl7_line_end_in_field" in parsed.warnings


def test_segments_that_were_split_are_put_together():
    """ADD goes on with the last field of the segment before it (2.10.2)."""
    encoded = oru(pid(), obr(), "OBX|1|TX|a||No pneumo", "ADD|thorax. No eff", "ADD|usion.||||||F", obx(2, "two"))
    parsed = parse_message(encoded.encode())
    assert texts(parsed) == ["No pneumothorax. No effusion."]
    assert parsed.first("OBX").component(11) == "F"


def test_fields_are_counted_as_the_standard_counts_them():
    """MSH-1 is the separator; components and subcomponents from 1 on; what isn't there is empty."""
    parsed = parse_message(oru("PID|1||P1^^^HIS&1.2&ISO^MR~X^^^Y").encode())
    assert [parsed.header.component(n) for n in (1, 3, 9, 12)] == ["|", "RIS", "ORU", "2.5.1"]
    assert parsed.header.field(2).text == "^~\\&"
    patient = parsed.first("PID")
    assert (patient.component(3), patient.component(3, 4, 2), patient.component(3, 9)) == ("P1", "1.2", "")
    assert [f.component(1) for f in patient.repetitions(3)] == ["P1", "X"]
    assert parsed.first("ZZZ").component(1) == ""
    assert list(parsed.first("PID").repetitions(40)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MSH",
        b"PID|1",
        b"MSH|",
        b"MSH|^^^^|",
        b"MSH|abcd|x",
        b"MSHA^~\\&A",
        b"MSH|^~\\&#!%|x",
        b"\x00\x01\x02",
        b"MSH \x07",
    ],
)
def test_a_header_without_separators_is_none(data):
    """Refused before anything else is looked at."""
    with pytest.raises(UnreadableObjectError):
        parse_message(data)


def test_a_message_of_very_many_segments_is_refused():
    """Before it takes the memory of as many objects."""
    with pytest.raises(UnreadableObjectError) as refused:
        parse_message(b"MSH|^~\\&|\r" + b"NTE|\r" * 200_001)
    assert refused.value.reason_code == "too_many_segments"


@pytest.mark.parametrize(
    ("name", "declared"),
    [("", ()), ("UNICODE UTF-8", ("ISO_IR 192",)), ("ASCII~ISO IR87", ("ASCII", "ISOIR87")), ("8859/1", ("88591",))],
)
def test_declared_character_sets(name, declared):
    """As names that are looked up elsewhere."""
    assert declared_in(message("x", name).encode()) == declared
