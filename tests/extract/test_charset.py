"""Character sets: declared rightly, wrongly, in odd spelling, or not at all (PS3.5 6.1)."""

import pytest

from dicomnlp.errors import UsageError
from dicomnlp.extract import elements, extract
from dicomnlp.extract.character_terms import codec_of
from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.plausibility import plausibility

CHINESE = "两肺纹理清晰，未见实质性病变。左肺下叶见小结节，建议随访。"
JAPANESE = "右肺に結節を認めます。胸水なし。"
KOREAN = "흉수 없음. 우상엽 결절."
GERMAN = "Kein Nachweis einer Läsion. Größe der Niere regelrecht, kein Erguß über 5 µm, Übergang unauffällig."
FRENCH = "Pas d’épanchement pleural. Opacité à droite, côté supérieur."
POLISH = "Nie stwierdzono zmian ogniskowych. Płuca bez zagęszczeń, wnęki prawidłowe."
RUSSIAN = "Очаговых изменений не выявлено. Правое лёгкое без особенностей."
GREEK = "Δεν παρατηρείται υπεζωκοτική συλλογή."


def read_text(sr, text: bytes, declared: bytes | None, fallbacks=("gb18030", "cp1252")):
    """Narrative and character set of a report with these bytes in its one TEXT item."""
    return extract(sr.stored(sr.raw_report(text, declared)), fallbacks=fallbacks)


def g1(escape: bytes, text: str, codec: str) -> bytes:
    """`text` with its multi-byte runs in G1, the escape sequence once at the start."""
    return escape + text.encode(codec)


def g0(text: str) -> bytes:
    """`text` in JIS X 0208 in G0, and back to ASCII."""
    return b"\x1b$B" + bytes(b & 0x7F for b in text.encode("euc_jp")) + b"\x1b(B"


@pytest.mark.parametrize(
    ("text", "encoded", "declared", "confidence"),
    [
        (GERMAN, GERMAN.encode("latin_1"), b"ISO_IR 100", 1.0),
        (POLISH, POLISH.encode("iso8859_2"), b"ISO_IR 101", 1.0),
        (RUSSIAN, RUSSIAN.encode("iso8859_5"), b"ISO_IR 144", 1.0),
        (GREEK, GREEK.encode("iso8859_7"), b"ISO_IR 126", 1.0),
        (CHINESE, CHINESE.encode(), b"ISO_IR 192", 1.0),
        (CHINESE, CHINESE.encode("gb18030"), b"GB18030", 1.0),
        (CHINESE, CHINESE.encode("gbk"), b"GBK", 1.0),
        (CHINESE, g1(b"\x1b$)A", CHINESE, "gb2312"), b"\\ISO 2022 IR 58", 1.0),
        (KOREAN, g1(b"\x1b$)C", KOREAN, "euc_kr"), b"\\ISO 2022 IR 149", 1.0),
        ("ﾔﾏﾀﾞ 所見", "ﾔﾏﾀﾞ ".encode("shift_jis") + g0("所見"), b"ISO 2022 IR 13\\ISO 2022 IR 87", 1.0),
        # names that aren't defined terms
        (GERMAN, GERMAN.encode("latin_1"), b"ISO-IR 100", 1.0),
        (GERMAN, GERMAN.encode("latin_1"), b"iso8859-1", 1.0),
        (GERMAN, GERMAN.encode("latin_1"), b"ISO 2022 IR 100", 1.0),
        (POLISH, POLISH.encode(), b"UTF-8", 1.0),
        (CHINESE, CHINESE.encode("gb2312"), b"GB2312", 1.0),
        (KOREAN, KOREAN.encode("euc_kr"), b"ISO_IR 149", 1.0),
        # what is declared isn't what was written
        (CHINESE, CHINESE.encode(), b"ISO_IR 100", 0.9),
        (GERMAN, GERMAN.encode(), b"ISO_IR 100", 0.9),
        (CHINESE, CHINESE.encode(), b"GB18030", 0.9),
        (CHINESE, CHINESE.encode("gb18030"), b"ISO_IR 100", None),
        (CHINESE, CHINESE.encode("gb18030"), b"ISO_IR 192", None),
        (CHINESE, CHINESE.encode("gb18030"), b"ISO_IR 144", None),
        (FRENCH, FRENCH.encode("cp1252"), b"ISO_IR 100", None),  # a typographic apostrophe is no Latin-1
        ("Śródmiąższ bez zmian.", "Śródmiąższ bez zmian.".encode("cp1250"), b"ISO_IR 101", None),
        (RUSSIAN, RUSSIAN.encode("cp1251"), b"ISO_IR 144", None),
        ("очагов не выявлено", "очагов не выявлено".encode("cp1251"), b"ISO_IR 144", None),  # letters in either set
        (JAPANESE, JAPANESE.encode("shift_jis"), b"\\ISO 2022 IR 87", None),
        # nothing is declared
        (CHINESE, CHINESE.encode(), None, 0.9),
        (CHINESE, CHINESE.encode("gb18030"), None, None),
        (CHINESE, CHINESE.encode("gb18030"), b"", None),
        (GERMAN, GERMAN.encode("latin_1"), None, None),
        # code extensions bent
        (CHINESE, CHINESE.encode("gb18030"), b"\\ISO 2022 IR 58", None),  # no escape sequence at all
        (CHINESE, g1(b"\x1b$)A", CHINESE, "gb2312"), b"ISO_IR 100", None),  # undeclared
        (CHINESE, CHINESE.encode("gb18030"), b"ISO_IR 100\\GB18030", None),
        # the escape sequence isn't repeated after the line end, as it should be
        (f"{CHINESE}\n{CHINESE}", g1(b"\x1b$)A", f"{CHINESE}\r\n{CHINESE}", "gb2312"), b"\\ISO 2022 IR 58", 1.0),
        ("所見：\n異常なし", g0("所見：") + b"\r\n" + g0("異常なし"), b"\\ISO 2022 IR 87", 1.0),
    ],
)  # fmt: skip
def test_text_comes_out_as_it_was_meant(sr, text, encoded, declared, confidence):
    """Whatever is declared, the words are right; how sure that is, is said."""
    report = read_text(sr, encoded, declared)
    assert report.narrative.text == text
    if confidence is not None:
        assert report.character_set.confidence == confidence
    else:
        assert 0 < report.character_set.confidence < 1
        assert report.warnings


@pytest.mark.parametrize("fallbacks", [("shift_jis",), ("cp932", "gb18030")])
def test_the_site_s_fallbacks_are_what_is_chosen_from(sr, fallbacks):
    """Undeclared Shift JIS is read where the site says that it occurs."""
    report = read_text(sr, JAPANESE.encode("shift_jis"), None, fallbacks)
    assert report.narrative.text == JAPANESE
    assert report.character_set.used == fallbacks[0]


def test_western_text_survives_where_only_chinese_is_expected(sr):
    """A site's list of fallbacks needn't name what has no better reading."""
    report = read_text(sr, GERMAN.encode("latin_1"), None, ("gb18030",))
    assert report.narrative.text == GERMAN
    assert report.character_set.confidence < 0.9


def test_right_declarations_are_never_overruled(sr):
    """Short and long Western text in its declared set stays what it is, though other sets would decode it too."""
    for text in ("Lésion", "Größe", "æøå", "niño", "É", "30°", "5 µm", "Ärzte für Röntgen", "façade à gauche", "ÄÖÜ ß"):
        report = read_text(sr, f"Text {text} text.".encode("latin_1"), b"ISO_IR 100")
        assert report.narrative.text == f"Text {text} text."
        assert report.character_set.confidence == 1.0


def test_a_stray_byte_spoils_one_character_only(sr):
    """A value cut within a character doesn't throw the whole object into another character set."""
    report = read_text(sr, CHINESE.encode() + "病".encode()[:2], b"ISO_IR 192")
    assert report.narrative.text.startswith(CHINESE)
    assert report.character_set.used == "utf_8"
    assert report.character_set.confidence == 0.0
    assert "undecodable_text" in report.warnings


def test_utf_8_that_is_cut_within_its_last_letter_stays_utf_8(sr):
    """However few letters of it are beyond ASCII."""
    report = read_text(sr, GERMAN.encode() + b"\xc3", b"ISO_IR 192")
    assert report.narrative.text == GERMAN + "\N{REPLACEMENT CHARACTER}"
    assert report.character_set.used == "utf_8"


@pytest.mark.parametrize(
    ("other", "codec", "declared"),
    [(GERMAN, "latin_1", b"ISO_IR 100"), (GERMAN, "latin_1", None), (CHINESE, "gb18030", b"GB18030")],
)
def test_utf_8_among_text_in_another_character_set_is_told_and_read(sr, other, codec, declared):
    """Two systems wrote the object; either set alone would give wrong letters without a sign."""
    data = sr.element(0x00080005, "CS", declared) if declared else b""
    data += sr.element(0x00081030, "LO", FRENCH.encode()) + sr.element(0x00104000, "LT", other.encode(codec))
    scanned = elements.scan(data, sr.EXPLICIT).elements
    character_sets = CharacterSets.of(scanned)
    assert [character_sets.decode(scanned[tag].value) for tag in (0x00081030, 0x00104000)] == [FRENCH, other]
    assert "mixed_character_sets" in character_sets.warnings
    assert character_sets.summary.confidence < 0.9


def test_undecodable_text_keeps_what_can_be_read(sr):
    """Bytes that fit nothing become replacement characters, with confidence 0 and a warning."""
    report = read_text(sr, b"No effusion \x81\x8d\x8f\xff\xfe end", b"ISO_IR 6")
    assert report.narrative.text.startswith("No effusion")
    assert report.narrative.text.endswith("end")
    assert report.character_set.confidence < 0.5


def test_an_item_s_own_character_set_holds_for_it(sr):
    """PS3.3 C.12.1.1.2: (0008,0005) within an item overrides that of the data set."""
    polish = sr.item("TEXT", sr.FINDING, POLISH)
    polish.SpecificCharacterSet = "ISO_IR 101"
    german = sr.item("TEXT", sr.FINDING, GERMAN)
    report = sr.read(sr.document([polish, german], character_set="ISO_IR 100"))
    assert POLISH in report.narrative.text
    assert GERMAN in report.narrative.text


def test_the_decision_is_for_the_whole_object(sr):
    """A short value that could be anything follows the long one beside it."""
    data = sr.element(0x00080005, "CS", b"ISO_IR 100") + sr.element(0x00081030, "LO", "胸部".encode("gbk"))
    data += sr.element(0x00104000, "LT", CHINESE.encode("gbk"))
    scanned = elements.scan(data, sr.EXPLICIT).elements
    assert CharacterSets.of(scanned).decode(scanned[0x00081030].value) == "胸部"


def test_a_byte_order_mark_is_no_text(sr):
    """Some writers put one in front of UTF-8."""
    assert read_text(sr, b"\xef\xbb\xbf" + CHINESE.encode(), b"ISO_IR 192").narrative.text == CHINESE


def test_terms_that_mean_nothing_are_reported(sr):
    """An unknown term is a warning, not an error."""
    report = read_text(sr, b"No effusion", b"ISO_IR 999")
    assert report.narrative.text == "No effusion"
    assert "unknown_character_set" in report.warnings


@pytest.mark.parametrize(
    ("term", "codec"),
    [
        ("", "ascii"), ("ISO_IR 6", "ascii"), ("ISO 2022 IR 6", "ascii"), ("ISO_IR 100", "latin_1"),
        ("ISO-IR-100", "latin_1"), ("ISO_8859-1", "latin_1"), ("LATIN1", "latin_1"), ("latin2", "iso8859_2"),
        ("ISO 8859-9", "iso8859_9"), ("WINDOWS-1250", "cp1250"), ("utf8", "utf_8"), ("ISO_IR_192", "utf_8"),
        ("ISO 2022 GBK", "gb18030"), ("ISO_IR 58", "gb18030"), ("Shift_JIS", "cp932"), ("ISO 2022 IR 149", "cp949"),
        ("NONSENSE", None),
    ],
)  # fmt: skip
def test_terms_are_understood_in_any_spelling(term, codec):
    """Case, blanks and punctuation don't matter; what is no name of a set is none."""
    assert codec_of(term) == codec


@pytest.mark.parametrize(
    ("text", "codec", "wrong"),
    [
        (GERMAN, "latin_1", "gb18030"), (CHINESE, "gb18030", "latin_1"),
        (CHINESE, "gb18030", "iso8859_5"), (CHINESE, "gb18030", "cp949"), (KOREAN, "cp949", "latin_1"),
        (RUSSIAN, "iso8859_5", "latin_1"), (RUSSIAN, "cp1251", "latin_1"), (POLISH, "iso8859_2", "iso8859_5"),
        (JAPANESE, "shift_jis", "latin_1"),
    ],
)  # fmt: skip
def test_the_right_reading_is_more_plausible_than_a_wrong_one(text, codec, wrong):
    """The score that fallbacks are chosen by orders readings of the same bytes."""
    right = plausibility(text)
    assert right > 0.75
    assert plausibility(text.encode(codec).decode(wrong, "replace")) < right - 0.1


@pytest.mark.parametrize(
    ("stated", "raw", "declared", "expected", "used", "confidence"),
    [
        # what is stated wins over a declaration that decodes as well
        ("ISO_IR 101", "żółć".encode("iso8859_2"), b"ISO_IR 100", "żółć", "iso8859_2", 1.0),
        ("cp1250", "łóżko".encode("cp1250"), b"", "łóżko", "cp1250", 1.0),
        ("GB18030", "未见异常".encode("gb18030"), b"ISO_IR 192", "未见异常", "gb18030", 1.0),
        (
            "\\ISO 2022 IR 149",
            b"\x1b$)C" + "폐렴".encode("euc_kr"),
            b"ISO_IR 100",
            "폐렴",
            "iso2022",
            1.0,
        ),
        # stated, but it can't be: followed as far as the bytes allow
        ("ISO_IR 192", b"Gr\xf6\xdfe", b"ISO_IR 100", "Gr\ufffd\ufffde", "utf_8", 0.0),
        # nothing to decide
        ("ISO_IR 101", b"plain", b"", "plain", "iso8859_2", 1.0),
    ],
)
def test_a_stated_character_set_is_followed(sr, stated, raw, declared, expected, used, confidence):
    """Somebody has looked; what the object declares is still told."""
    report = extract(sr.stored(sr.raw_report(raw, declared)), character_set=stated)
    assert report.narrative.text == expected
    assert (report.character_set.used.split("\\")[0], report.character_set.confidence) == (used, confidence)
    assert report.character_set.declared == ((declared.decode(),) if declared else ())
    assert ("undecodable_text" in report.warnings) == (confidence == 0)


@pytest.mark.parametrize("stated", ["klingon", "", "ISO_IR 999", "rot13"])
def test_a_character_set_that_does_not_exist_is_a_usage_error(sr, stated):
    """Told at once, not object by object."""
    with pytest.raises(UsageError):
        extract(sr.stored(sr.raw_report(b"text", b"")), character_set=stated)


def test_codes_remembered_from_one_object_are_decoded_by_the_next_one_s_own_character_set(sr):
    """The same bytes are a Cyrillic meaning here and a Western one there, in any order and any encoding."""
    meaning = "Рак".encode("iso8859_5")
    reports = {}
    for character_set in ("ISO_IR 144", "ISO_IR 100"):
        report = sr.document([sr.item("TEXT", ("1", "99X", meaning.decode("latin_1")), "Text.")])
        report.SpecificCharacterSet = "ISO_IR 100"
        data = sr.encode(report).replace(b"ISO_IR 100", character_set.encode())
        reports[character_set] = data
    expected = {"ISO_IR 144": "Рак", "ISO_IR 100": meaning.decode("latin_1")}
    for character_set in [*reports, *reports, *reversed(reports)]:
        [found] = [i for i in extract(sr.stored(reports[character_set])).items if i.value_type == "TEXT"]
        assert found.concept.meaning == expected[character_set]
    for syntax in (sr.IMPLICIT, sr.BIG, sr.EXPLICIT, sr.IMPLICIT):
        [found] = [
            i
            for i in sr.read(sr.document([sr.item("TEXT", ("1", "99X", "Mass"), "Text.")]), syntax).items
            if i.value_type == "TEXT"
        ]
        assert (found.concept.value, found.concept.meaning) == ("1", "Mass")
