"""Identities out of texts: planted ones, forms of names and dates, offsets, and what must stay."""

import datetime as dt
import re
import time

import pytest
from support.planted import chinese, english

from dicomnlp.export.dates import find_dates
from dicomnlp.export.deidentify import Cleaner, Identities
from dicomnlp.export.folding import fold
from dicomnlp.export.names import name_pattern

KEY = b"k" * 32
DAYS = -100
REPORTS = 300


def identities(header):
    """What the header of a planted report says."""
    return Identities(
        patient_names=(header["PatientName"],),
        person_names=(header["ReferringPhysicianName"],),
        identifiers=(header["PatientID"], header["AccessionNumber"]),
        phones=(header["PatientTelephoneNumbers"],) if "PatientTelephoneNumbers" in header else (),
        places=(header["InstitutionName"],),
        birth_dates=(header["PatientBirthDate"],),
        dates=(header["StudyDate"],),
    )


@pytest.fixture(scope="module", params=[english, chinese])
def reports(request):
    """Planted reports, each with its text cleaned."""
    planted = [request.param(seed) for seed in range(REPORTS)]
    return [(p, Cleaner(identities(p.header), KEY, DAYS).clean(p.text)) for p in planted]


def test_nothing_planted_that_the_header_holds_is_left(reports):
    """All of it, in every form of the grammar."""
    for planted, result in reports:
        for word in planted.of_header:
            pattern = re.escape(word) if len(word) > 3 else rf"(?<!\w){re.escape(word)}(?!\w)"
            assert not re.search(pattern, result.text)


def test_announced_identities_go_without_being_known(reports):
    """An e-mail address, a record number, a titled name, a signature, an identity card: 99 of 100 at the least."""
    left = [word in result.text for planted, result in reports for word in planted.announced]
    assert sum(left) <= len(left) // 100


def test_clinical_words_stay(reports):
    """Sizes, places and negations read as before, whoever the patient is."""
    for planted, result in reports:
        for words in planted.kept:
            assert words in result.text


def test_dates_are_shifted_all_alike(reports):
    """In the form in which they were written, so that intervals stay."""
    for planted, result in reports:
        for written, date in planted.dates.items():
            start = planted.text.index(written)
            new_start, new_end = result.span(start, start + len(written))
            [found] = find_dates(fold(result.text[new_start:new_end]).text, {date + dt.timedelta(days=DAYS)})
            assert found.date == date + dt.timedelta(days=DAYS)
            assert len(result.text[new_start:new_end]) <= len(written) + 6  # May, and September


def test_offsets_lead_to_the_same_words(reports):
    """Wherever identities stand before, in or after: what wasn't replaced is found by its mapped span."""
    for planted, result in reports:
        for word in planted.kept:
            start = planted.text.index(word)
            new_start, new_end = result.span(start, start + len(word))
            assert result.text[new_start:new_end] == word
        for r in result.replacements:
            new_start, new_end = result.span(r.start, r.end)
            assert result.text[new_start:new_end] == r.text
            # a span that touches a part of it has all of it
            new_start, new_end = result.span(r.start, r.start + 1)
            assert result.text[new_start:new_end] == r.text
        assert result.span(0, len(planted.text)) == (0, len(result.text))


NAMES = [
    # name in the header, text, what is left
    ("SMITH^JOHN", "Mr. John A. Smith has", "[PATIENT] A. [PATIENT] has"),  # A is no initial of his
    ("SMITH^JOHN^A", "Mr. John A. Smith has", "[PATIENT] has"),
    ("SMITH^JOHN", "Smith's nodule", "[PATIENT]'s nodule"),
    ("SMITH^JOHN", "blacksmith, Smithfield", "blacksmith, Smithfield"),
    ("SMITH JOHN", "J. Smith and SMITH,JOHN", "[PATIENT] and [PATIENT]"),
    ("SMITH^JOHN", "user jsmith; smith, john", "user [PATIENT]; [PATIENT]"),
    ("MÜLLER^JÖRG", "Muller, Jorg; MÜLLER", "[PATIENT]; [PATIENT]"),
    ("O'BRIEN^SEAN", "Obrien; O’Brien; O Brien", "[PATIENT]; [PATIENT]; [PATIENT]"),
    ("SMALL^ANN", "a small nodule; Small, Ann; Mrs. Small", "a small nodule; [PATIENT]; [PATIENT]"),
    ("LONG^ANN", "along the pleura", "along the pleura"),  # though log-in names are made so
    ("NO^GA", "No effusion. Mr. No was told.", "No effusion. [PATIENT] was told."),
    ("MA^JUN", "at 120 kV and 200 mA\nMa Jun", "at 120 kV and 200 mA\n[PATIENT]"),
    ("WANG^XIAODONG", "Wang Xiaodong", "[PATIENT]"),
    ("Wang^XiaoDong", "Wang Xiao-Dong; Xiao dong", "[PATIENT]; [PATIENT]"),
    ("=王^小东", "患者王小东，小东诉，王 小东", "患者[PATIENT]，[PATIENT]诉，[PATIENT]"),
    ("王小东", "王小东、王先生；大王", "[PATIENT]、[PATIENT]先生；大王"),
    ("=欧阳^娜", "欧阳娜与欧阳老师", "[PATIENT]与[PATIENT]老师"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎様、やまだ たろう", "[PATIENT]様、[PATIENT]"),
    ("ΠΑΠΑΔΟΠΟΥΛΟΣ^ΝΙΚΟΣ", "Παπαδόπουλος Νίκος", "[PATIENT]"),
    ("IVANOV^IVAN=Иванов^Иван", "Иванов И. и Иванова", "[PATIENT] и Иванова"),
    ("ＳＭＩＴＨ^ＪＯＨＮ", "Ｊｏｈｎ Smith", "[PATIENT]"),
    ("^^^^", "nothing", "nothing"),
]


@pytest.mark.parametrize(("name", "text", "expected"), NAMES)
def test_names_are_found_in_the_forms_of_people(name, text, expected):
    """Order, titles, initials, capitals, accents, wide letters, joined and parted; and not inside other words."""
    result = Cleaner(Identities(patient_names=(name,)), KEY, DAYS).clean(text)
    assert result.text == expected


TEXTS = [
    # text, what is left with the date of the study known to be of 2026
    ("Seen 11/22/2026.", "Seen 08/14/2026."),
    ("Seen 22.11.2026.", "Seen 14.08.2026."),
    ("22/11/2026 and 3/4/2026", "14/08/2026 and 24/12/2025"),  # the first tells that days come first
    ("on 22-NOV-26", "on 14-AUG-26"),
    ("November 22nd, 2026", "August 14th, 2026"),
    ("Nov. 2026", "Aug. 2026"),
    ("22. März 2026", "12. Dezember 2025"),
    ("2026年11月22日，11月22日", "2026年8月14日，8月14日"),
    ("二〇二六年十一月二十二日", "二〇二六年八月十四日"),
    ("２０２６年１１月", "2026年8月"),
    ("11/2026", "08/2026"),
    ("since 11/22", "since 08/14"),
    ("in 2019", "in 2019"),
    ("a 6/10 score, 3 x 4/5 cm, T2/3", "a 6/10 score, 3 x 4/5 cm, T2/3"),
    ("may 5 mm nodule", "may 5 mm nodule"),
    ("May 5 mm", "May 5 mm"),
    ("L4/5 and C5-6", "L4/5 and C5-6"),
    ("31/02/2026", "31/02/2026"),
    ("DOB: 1950-05-06", "DOB: [BIRTH DATE]"),
    ("1950年5月6日出生", "[BIRTH DATE]出生"),
    ("a 95-year-old, a 45-year-old", "a [90+]-year-old, a 45-year-old"),
    ("Age: 101", "Age: [90+]"),
    ("95岁，男；95mm", "[90+]岁，男；95mm"),
    ("ninety-two year old", "[90+] year old"),
    ("call 555-867-5309 or ext. 4432", "call [PHONE] or ext. [PHONE]"),
    ("+86 138 1234 5678; 010-12345678", "[PHONE]; [PHONE]"),
    ("SSN 123-45-6789", "SSN [ID]"),
    ("身份证号11010519491231002X", "身份证号[ID]"),
    ("MRN: 12", "MRN: [ID]"),  # short, but announced
    ("住院号：A12", "住院号：[ID]"),
    ("anna.k@example.org, https://x.org/p?id=3", "[EMAIL], [URL]"),
    ("lives at 12 Elm Street, Springfield", "lives at [ADDRESS]"),
    ("住址：江苏省南京市鼓楼区中山路1号。", "住址：[ADDRESS]。"),
    ("Discussed with Dr. Jane Roe. The nodule", "Discussed with Dr. [PERSON]. The nodule"),
    ("Reported by: Jane Roe, MD\nThere is", "Reported by: [PERSON]\nThere is"),
    ("Findings discussed with the patient", "Findings discussed with the patient"),
    ("审核医生：李明 报告", "审核医生：[PERSON] 报告"),
    ("报告医师：陆文博 审核：钟小雨", "报告医师：[PERSON] 审核：[PERSON]"),
    ("报告医师 诸葛小米", "报告医师 [PERSON]"),
    ("报告：贺一鸣", "报告：[PERSON]"),
    ("诊断：高血压病", "诊断：高血压病"),  # a surname, but of a word of four
    ("请王主任会诊", "请[PERSON]主任会诊"),
    ("primary care physician", "primary care physician"),
    ("MR BRAIN W CONTRAST, DR CHEST, MS lesions", "MR BRAIN W CONTRAST, DR CHEST, MS lesions"),
    ("CHEST PA AND LATERAL, KNEE RT", "CHEST PA AND LATERAL, KNEE RT"),
    ("80 cc Omnipaque given", "80 cc Omnipaque given"),
    ("Attending physician Findings are", "Attending physician Findings are"),
    ("Radiologist: Jane Roe", "Radiologist: [PERSON]"),
    ("DR. ROE; PROF. LEE", "DR. [PERSON]; PROF. [PERSON]"),
    ("Ordered by Kim Roe, RN", "Ordered by [PERSON]"),
    ("at Lakeview Medical Center", "at [PLACE]"),
    ("CT of the chest, 512 x 512, 120 kVp, 0.625 mm", "CT of the chest, 512 x 512, 120 kVp, 0.625 mm"),
    ("ejection fraction 55-60%, HU 30-40, SUV 12.5", "ejection fraction 55-60%, HU 30-40, SUV 12.5"),
    ("T12-L1, series 4 image 112", "T12-L1, series 4 image 112"),
    ("BI-RADS 4A, LI-RADS v2018, PI-RADS 2.1", "BI-RADS 4A, LI-RADS v2018, PI-RADS 2.1"),
    ("右肺上叶结节较前增大，随访3个月", "右肺上叶结节较前增大，随访3个月"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_what_has_the_form_of_an_identity_goes_and_the_rest_stays(text, expected):
    """Nothing of the header helps but the date of the study."""
    assert Cleaner(Identities(dates=("20261122",)), KEY, DAYS).clean(text).text == expected


IDENTIFIERS = [
    # identifier, text, what is left
    ("00123456", "123456 and 00123456", "[ID] and [ID]"),
    ("12-345-678", "12345678, 12 345 678", "[ID], [ID]"),
    ("A1234", "a1234; A 1234; BA1234", "[ID]; [ID]; BA1234"),
    ("7", "7 mm", "7 mm"),  # too short to be looked for
    ("1234", "12345 and 1234 mm", "12345 and [ID] mm"),
    ("CHEST", "CHEST, chest", "[ID], chest"),
    ("No", "No effusion", "No effusion"),
    (".*", "anything", "anything"),
]


@pytest.mark.parametrize(("identifier", "text", "expected"), IDENTIFIERS)
def test_identifiers_are_found_with_other_marks(identifier, text, expected):
    """Blanks, hyphens and leading zeros are left out and put in by people."""
    assert Cleaner(Identities(identifiers=(identifier,)), KEY, DAYS).clean(text).text == expected


def test_uids_in_a_text_become_the_same_everywhere():
    """As long as the key is the same."""
    text = "Study 1.2.840.113619.2.55.3.604688119.969, again 1.2.840.113619.2.55.3.604688119.969."
    one, other = (Cleaner(Identities(), key, DAYS).clean(text).text for key in (KEY, b"o" * 32))
    assert "113619" not in one
    first, second = re.findall(r"2\.25\.\d+", one)
    assert first == second
    assert one != other


def test_hostile_names_cost_no_more_than_others():
    """Names made to be searched for in exponentially many ways: growth with the text's length is what is judged."""
    pattern = name_pattern("a^aa^aaa^aaaa^aaaaa^aaaaaa^aaaaaaa")

    def seconds(length):
        begin = time.process_time()
        pattern.find("a" * length + "!", "a" * length + "!")
        return time.process_time() - begin

    seconds(10)
    assert seconds(4000) < 30 * max(seconds(400), 0.001)


def test_hostile_texts_are_cleaned_in_linear_time():
    """Runs of what patterns begin with."""
    cleaner = Cleaner(Identities(patient_names=("Smith^John",), identifiers=("12345678",)), KEY, DAYS)
    for run in ("1 ", "Dr. ", "A. ", "王", "地址", "1.", "@a.", "Mr Mr ", "(1", "2026-", "Smith ", "省市"):

        def seconds(times, run=run):
            begin = time.process_time()
            cleaner.clean(run * times)
            return time.process_time() - begin

        seconds(10)
        assert seconds(4000) < 40 * max(seconds(400), 0.002), run
