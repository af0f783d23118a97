"""Findings over all studies: filters, order, pages, counts, words; on both databases."""

import dataclasses
import datetime as dt
import itertools

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

from dicomnlp.errors import UsageError
from dicomnlp.model import (
    Assertion,
    Change,
    Concept,
    ImageHeader,
    Laterality,
    Measurement,
    SectionName,
    Severity,
    Temporality,
)
from dicomnlp.store import search
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.merges import merge_patients, unmerge_patients
from dicomnlp.store.queue import save_processed
from dicomnlp.store.search import Filters, count_findings, facets, iterate_findings, search_findings
from dicomnlp.store.search_conditions import FEW
from dicomnlp.store.search_counts import FACETS

SIZES = {"none": (), "small": (4.0,), "large": (30.0, 12.0)}


def finding(concept="pulmonary_nodule", assertion=Assertion.PRESENT, *, size="none", start=16, **fields):
    """A finding that says little; `fields` say more."""
    measurements = (Measurement(SIZES[size], "mm", "size", Temporality.CURRENT, "", 0, 1),) if SIZES[size] else ()
    plain = {"anatomy": None, "laterality": None, "severity": None, "change": None, "critical": False}
    made = make_finding(concept, assertion=assertion, start=start)
    return dataclasses.replace(made, measurements=measurements, **(plain | fields))


def site(identifier):
    """A place of the body."""
    return Concept(identifier, None, None, identifier)


class Archive:
    """Puts analysed reports into a database, one a study unless told otherwise."""

    def __init__(self, database):
        self.database = database
        self.numbers = itertools.count(1)

    def add(self, *findings, text="Nothing of note.", modalities=(), study=None, patient="T-1", **header):
        """A report; its number."""
        number = next(self.numbers)
        record = make_record(number, study=study or f"{STUDY}.{number}", patient_id=patient)
        arrival = dataclasses.replace(record.arrival, calling_ae_title=header.pop("calling_ae_title", "PACS"))
        record = dataclasses.replace(
            record, arrival=arrival, identity=dataclasses.replace(record.identity, modality="SR", **header)
        )
        [receipt] = record_arrivals(self.database, [record])
        processed = make_processed(receipt.object_id, findings=findings or (finding(),), text=text)
        save_processed(self.database, [dataclasses.replace(processed, modalities=modalities)])
        return number

    def index(self, study, **header):
        """The header of an image."""
        number = next(self.numbers)
        record = make_record(number, study=study)
        identity = dataclasses.replace(record.identity, series_instance_uid=f"{study}.9", **header)
        image = ImageHeader(identity, record.sha256, 1000)
        record_arrivals(self.database, [dataclasses.replace(record, identity=identity, image=image)])


@pytest.fixture
def archive(database):
    """An empty archive."""
    return Archive(database)


def found(database, **fields):
    """Numbers of the reports that a search finds, in its order."""
    page = search_findings(database, Filters(**fields))
    return [int(f.sop_instance_uid.rsplit(".", 1)[1]) for f in page.findings]


FILTERS = [
    # fields of the filters, numbers of the reports of `filtered` that have a finding that fits
    ({}, [6, 5, 4, 3, 2, 1]),
    ({"concepts": ("pneumothorax",)}, [4]),
    ({"concepts": ("pneumothorax", "pleural_effusion")}, [4, 2]),
    ({"concepts": ("pulmonary_nodule",), "assertions": (Assertion.ABSENT,)}, [6]),
    ({"assertions": (Assertion.ABSENT, Assertion.POSSIBLE)}, [6, 5]),
    ({"laterality": Laterality.LEFT}, [1]),
    ({"anatomy": ("left_lung",)}, [1]),
    ({"anatomy": ("left_lung", "liver")}, [3, 1]),
    ({"anatomy": ("liver",), "concepts": ("pulmonary_nodule",)}, [3]),
    ({"anatomy": ("liver",), "concepts": ("pneumothorax",)}, []),
    # the greatest length counts: 30 x 12 mm is above 20
    ({"minimum_size": 20.0}, [3]),
    # what has no size isn't small
    ({"maximum_size": 20.0}, [1]),
    ({"minimum_size": 4.0, "maximum_size": 4.0}, [1]),
    ({"severity": Severity.SEVERE}, [2]),
    ({"change": Change.NEW}, [2]),
    ({"section": SectionName.IMPRESSION}, [2]),
    ({"critical": True}, [4]),
    ({"critical": False, "concepts": ("pneumothorax",)}, []),
    ({"language": "zh"}, [5]),
    ({"modality": "CT"}, [2, 1]),
    ({"modality": "PT"}, [2]),
    # a part of a code is no code
    ({"modality": "C"}, []),
    ({"modality": "%"}, []),
    ({"body_part": "chest"}, [1]),
    ({"patient_sex": "F"}, [3]),
    # born 1980-11-23, seen the day before the 46th birthday
    ({"minimum_age": 45, "maximum_age": 45}, [3]),
    ({"minimum_age": 46}, [4]),
    ({"maximum_age": 46}, [4, 3]),
    ({"station": "SCANNER1"}, [1]),
    ({"institution": "Clinic"}, [2]),
    ({"calling_ae_title": "OTHER"}, [5]),
    ({"date_from": dt.date(2026, 11, 22)}, [6, 5, 4, 3, 2]),
    ({"date_to": dt.date(2026, 11, 21)}, [1]),
    ({"date_from": dt.date(2026, 11, 21), "date_to": dt.date(2026, 11, 21)}, [1]),
    ({"text": "spiculated"}, [1]),
    ({"patient_id": "T-2"}, [4]),
    ({"study_instance_uid": f"{STUDY}.3"}, [3]),
    ({"modality": "CT", "concepts": ("pleural_effusion",), "severity": Severity.SEVERE}, [2]),
    ({"modality": "CT", "concepts": ("pleural_effusion",), "institution": "Elsewhere"}, []),
    ({"text": "spiculated", "modality": "CT", "laterality": Laterality.LEFT, "maximum_size": 5.0}, [1]),
]


@pytest.fixture
def filtered(archive):
    """Six reports that differ in what filters ask for."""
    archive.add(
        finding(laterality=Laterality.LEFT, anatomy=site("left_lung"), size="small"),
        text="A spiculated nodule.",
        modalities=("CT",),
        study_date="20261121",
        body_part_examined="Chest",
        station_name="SCANNER1",
    )
    archive.add(
        finding("pleural_effusion", severity=Severity.SEVERE, change=Change.NEW, section=SectionName.IMPRESSION),
        modalities=("CT", "PT"),
        institution_name="Clinic",
    )
    archive.add(finding(anatomy=site("liver"), size="large"), patient_sex="F", patient_birth_date="19801123")
    archive.add(finding("pneumothorax", critical=True), patient="T-2", patient_birth_date="19801122")
    archive.add(finding("fracture", Assertion.POSSIBLE, language="zh"), calling_ae_title="OTHER")
    archive.add(finding(assertion=Assertion.ABSENT), patient_birth_date="19xx0101")
    return archive.database


@pytest.mark.parametrize("few", [FEW, 0], ids=["by report", "in order"])
def test_each_filter_finds_what_fits_and_nothing_else(filtered, few, monkeypatch):
    """Alone and combined, whichever way the search reads; and the counts agree."""
    monkeypatch.setattr("dicomnlp.store.search_conditions.FEW", few)
    for fields, numbers in FILTERS:
        assert found(filtered, **fields) == numbers, fields
        counts = count_findings(filtered, Filters(**fields))
        assert (counts.findings, counts.reports, counts.studies) == (len(numbers),) * 3, fields


def test_images_of_a_study_say_its_modality_before_the_words_do(archive):
    """A report titled "CT" of a study of which MR images were seen is one of an MR; a key object tells nothing."""
    archive.add(study=f"{STUDY}.1", modalities=("CT",))
    archive.add(study=f"{STUDY}.2", modalities=("CT",))
    archive.add(study=f"{STUDY}.3")
    archive.index(f"{STUDY}.1", modality="MR", body_part_examined="Brain")
    archive.index(f"{STUDY}.2", modality="OT")
    archive.index(f"{STUDY}.3", modality="CT")
    assert found(archive.database, modality="CT") == [3, 2]
    assert found(archive.database, modality="MR") == [1]
    assert found(archive.database, body_part="BRAIN") == [1]
    assert facets(archive.database, Filters(), ["modality", "body_part"]) == {
        "modality": [("CT", 2), ("MR", 1)],
        "body_part": [("BRAIN", 1)],
    }


WORDS = [
    # a query, whether it fits "T2-weighted images: no Pneumothorax. Sjögren's; 100% of 3 mm" and "肺结节,右肺上叶。"
    ("pneumothorax", True, False),
    ("PNEUMOTHORAX images", True, False),
    ("pneumothorax liver", False, False),
    ('"no pneumothorax"', True, False),
    ('"pneumothorax no"', False, False),
    # an unclosed quotation is one to the end
    ('"no pneumothorax', True, False),
    ("T2-weighted", True, False),
    ("weighted-T2", False, False),
    ("sjogren", True, False),
    ("pneumo", False, False),
    ("肺结节", False, True),
    ("结节", False, True),
    ("节结", False, False),
    ("肺 叶", False, True),
    ("肺叶", False, False),
    # operators and wildcards of both databases are words, or nothing
    ("pneumothorax OR liver", False, False),
    ("pneumothorax NOT images", False, False),
    ("NEAR(no pneumothorax)", False, False),
    ("pneumothorax*", True, False),
    ("pneumo*", False, False),
    ("pneumothorax & !images", True, False),
    ("words:pneumothorax", False, False),
    ("' OR 1=1--", False, False),
    ("pneumothorax'); DROP TABLE finding; --", False, False),
    ("100%", True, False),
    ("pneumothorax\\", True, False),
    ("pneumothorax\x00", None, None),
    ("\ud800pneumothorax", True, False),
    (":*", None, None),
    ('"', None, None),
    ("%", None, None),
    ("*", None, None),
    ("()", None, None),
]


def test_words_mean_the_same_on_both_databases_and_none_is_an_operator(archive):
    """In English and Chinese; a query without a word, or with what is in no text, is refused."""
    archive.add(text="T2-weighted images: no Pneumothorax. Sjögren's; 100% of 3 mm")
    archive.add(text="肺结节,右肺上叶。")
    for query, english, chinese in WORDS:
        if english is None:
            with pytest.raises(UsageError):
                Filters(text=query)
        else:
            assert found(archive.database, text=query) == [2] * chinese + [1] * english, query


def test_words_are_those_of_the_last_analysis(archive):
    """What is no longer in the narrative isn't found by it."""
    archive.add(text="A nodule.")
    with archive.database.read() as connection:
        object_id = connection.scalar(sa.text("SELECT id FROM sop_instance"))
    save_processed(archive.database, [make_processed(object_id, "en-2", text="A cyst.")])
    assert (found(archive.database, text="nodule"), found(archive.database, text="cyst")) == ([], [1])


def test_texts_of_any_length_and_kind_are_indexed(archive):
    """Beyond PostgreSQL's limits for words, places and sizes too."""
    archive.add(text="first " + " ".join(f"w{n}" for n in range(30_000)) + " last")
    archive.add(text="x" * 5000 + " " + "不" * 40_000 + " \x00\ud800 '\\' ")
    archive.add(text=" ".join(chr(0x20000 + n) * 90 for n in range(3000)))
    assert found(archive.database, text="first w100") == [1]
    assert found(archive.database, text="x" * 5000) == [2]
    # a limit that docs/reference/database.md tells
    assert found(archive.database, text="last") == []


def test_without_leaves_out_patients_of_whom_any_report_states_it(archive):
    """Present, possible or historical in any prevailing report; absent and family don't; patients apart by issuer."""
    archive.add(finding("pulmonary_nodule"), patient="A")
    archive.add(finding("lung_cancer", Assertion.HISTORICAL), patient="A")
    archive.add(finding("pulmonary_nodule"), finding("lung_cancer", Assertion.ABSENT, start=30), patient="B")
    archive.add(finding("pulmonary_nodule"), patient="C")
    archive.add(finding("lung_cancer", Assertion.FAMILY), patient="C")
    archive.add(finding("pulmonary_nodule"), patient="A", issuer_of_patient_id="ELSEWHERE")
    # nobody's reports stand for themselves
    archive.add(finding("pulmonary_nodule"), patient="")
    archive.add(finding("pulmonary_nodule"), finding("lung_cancer", Assertion.POSSIBLE, start=30), patient="")
    nodules = {"concepts": ("pulmonary_nodule",), "without": ("lung_cancer",)}
    assert found(archive.database, **nodules) == [7, 6, 4, 3]
    assert count_findings(archive.database, Filters(**nodules)).patients == 3


def test_merged_patients_are_one(archive):
    """For the patient's identifier, for `without` and for counts, through a chain of merges and back."""
    archive.add(finding("pulmonary_nodule"), patient="A")
    archive.add(finding("lung_cancer"), patient="B")
    archive.add(finding("pulmonary_nodule"), patient="C")
    database = archive.database
    nodules = {"concepts": ("pulmonary_nodule",), "without": ("lung_cancer",)}
    merge_patients(database, "A", "B")
    merge_patients(database, "B", "C")
    assert [found(database, patient_id=p) for p in "ABC"] == [[3, 2, 1]] * 3
    assert found(database, **nodules) == []
    assert count_findings(database, Filters()).patients == 1
    unmerge_patients(database, "B", "C")
    assert [found(database, patient_id=p) for p in "ABC"] == [[2, 1], [2, 1], [3]]
    assert found(database, **nodules) == [3]
    assert count_findings(database, Filters()).patients == 2


def test_order_is_newest_study_first_and_undated_last(archive):
    """Of a date the report that came last."""
    for date in ("20260101", "", "20261101", "20260101", "2026"):
        archive.add(study_date=date)
    assert found(archive.database) == [3, 4, 1, 5, 2]
    assert found(archive.database, date_to=dt.date(2026, 12, 31)) == [3, 4, 1]


@pytest.mark.parametrize(
    "fields", [{}, {"concepts": ("pulmonary_nodule", "cyst")}, {"modality": "CT"}, {"anatomy": ("liver", "lung")}]
)
def test_pages_lose_nothing_and_repeat_nothing_while_reports_come_and_change(archive, fields):
    """New reports, and reports analysed anew, between every two pages; pages end within reports."""
    places = itertools.cycle(["liver", "lung"])
    for n in range(12):
        concepts = ("pulmonary_nodule", "cyst", "pulmonary_nodule")
        archive.add(
            *(finding(c, start=16 + i, anatomy=site(next(places))) for i, c in enumerate(concepts)),
            modalities=("CT",),
            study_date=f"2026110{n % 4 + 1}",
        )
    expected = found(archive.database, **fields)
    with archive.database.read() as connection:
        ids = dict(connection.execute(sa.text("SELECT sop_instance_uid, id FROM sop_instance")).all())
    seen, after, last = [], None, None
    for turn in itertools.count():
        page = search_findings(archive.database, Filters(**fields), after=after, limit=3)
        seen += page.findings
        after = page.next
        if after is None:
            break
        last = page.findings[-1].sop_instance_uid
        # newest of all: before the place where the pages are
        archive.add(finding(anatomy=site("liver")), modalities=("CT",), study_date="20261231")
        # not the report in which the page ended: of that the rest would be left out
        other = instance_uid(turn + 1)
        if other != last:
            again = make_processed(
                ids[other],
                f"en-{turn + 2}",
                findings=(
                    finding(anatomy=site("liver")),
                    finding("cyst", start=17, anatomy=site("lung")),
                    finding(start=18, anatomy=site("liver")),
                ),
            )
            save_processed(archive.database, [dataclasses.replace(again, modalities=("CT",))])
    assert sorted(int(f.sop_instance_uid.rsplit(".", 1)[1]) for f in seen) == sorted(expected)
    assert len({(f.sop_instance_uid, f.finding.start) for f in seen}) == len(seen)


def test_iteration_gives_every_page(archive, monkeypatch):
    """From the start or from a place."""
    monkeypatch.setattr(search, "MAXIMUM_PAGE", 2)
    for _ in range(5):
        archive.add()
    pages = list(iterate_findings(archive.database, Filters()))
    assert [len(p.findings) for p in pages] == [2, 2, 1]
    rest = iterate_findings(archive.database, Filters(), after=pages[0].next)
    assert [f for p in rest for f in p.findings] == [f for p in pages[1:] for f in p.findings]


@pytest.mark.parametrize(
    "after", ["", "x", "MjAyNg", "OjE6MQ==OjE", "MjAyNjExMjI6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk6MQ", "é", "A" * 10_000]
)
def test_what_is_no_place_is_refused(database, after):
    """Made up, of another form, or beyond any number."""
    with pytest.raises(UsageError):
        search_findings(database, Filters(), after=after)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_pages_are_bounded(database, limit):
    """No answer is boundless."""
    with pytest.raises(UsageError):
        search_findings(database, Filters(), limit=limit)


def test_only_reports_that_prevail_are_found(archive):
    """Not those that a new version replaced, nor what an earlier pipeline found."""
    archive.add(finding("cyst"))
    record = make_record(1, b"corrected", study=f"{STUDY}.1")
    [receipt] = record_arrivals(archive.database, [record])
    assert found(archive.database) == []
    save_processed(archive.database, [make_processed(receipt.object_id, findings=(finding("mass"),))])
    assert (found(archive.database, concepts=("cyst",)), found(archive.database, concepts=("mass",))) == ([], [1])
    assert count_findings(archive.database, Filters()).findings == 1


def test_ranges_that_end_before_they_start_are_refused():
    """They would fit nothing, and nobody would know why."""
    for fields in (
        {"minimum_size": 5.0, "maximum_size": 4.0},
        {"minimum_age": 50, "maximum_age": 40},
        {"date_from": dt.date(2026, 2, 1), "date_to": dt.date(2026, 1, 1)},
    ):
        with pytest.raises(UsageError):
            Filters(**fields)


def test_facets_count_each_field_without_its_own_filter(filtered):
    """So that one sees what other values would find."""
    every = facets(filtered, Filters(concepts=("pneumothorax",)))
    assert set(every) == set(FACETS)
    assert every["concept"] == [("pulmonary_nodule", 3), ("fracture", 1), ("pleural_effusion", 1), ("pneumothorax", 1)]
    assert every["assertion"] == [("present", 1)]
    assert every["modality"] == []
    assert facets(filtered, Filters(modality="PT"), ["modality", "institution", "concept"]) == {
        "modality": [("CT", 2), ("PT", 1)],
        "institution": [("Clinic", 1)],
        "concept": [("pleural_effusion", 1)],
    }
    assert len(facets(filtered, Filters(), ["concept"], limit=2)["concept"]) == 2


def test_filters_are_written_and_read_again():
    """All of them; what another version wrote is refused."""
    for fields, _ in FILTERS:
        filters = Filters(**fields)
        assert search.filters_from_json(filters.to_json()) == filters
    assert Filters(without=("cyst",), critical=False).to_json() == {"without": ["cyst"], "critical": False}
    for foreign in (
        {"colour": "red"},
        {"assertion": ["perhaps"]},
        {"from": "yesterday"},
        {"from": 20260101},
        {"concept": "cyst"},
        {"concept": [1]},
        {"modality": ["CT"]},
        {"min_size": "5"},
        {"min_size": float("nan")},
        {"min_age": 4.5},
        {"max_age": 10**30},
        {"critical": 1},
        {"text": "***"},
    ):
        with pytest.raises(UsageError):
            search.filters_from_json(foreign)


def test_descendants_are_added_to_concepts_and_parts_to_sites():
    """By the functions given; each once."""
    tree = {"lesion": ("cyst", "lesion", "mass"), "mass": ("mass",), "lung": ("lung", "lobe")}
    filters = Filters(concepts=("lesion", "mass"), without=("mass",), anatomy=("lung",))
    expanded = filters.expanded(tree.__getitem__, tree.__getitem__)
    assert (expanded.concepts, expanded.without, expanded.anatomy) == (
        ("cyst", "lesion", "mass"),
        ("mass",),
        ("lobe", "lung"),
    )


@pytest.mark.parametrize("name", ["patient_id", "institution", "station", "body_part", "calling_ae_title"])
def test_null_characters_are_refused(name):
    """They would fit nothing on SQLite, and PostgreSQL takes them in no text."""
    with pytest.raises(UsageError):
        Filters(**{name: "a\0b"})
