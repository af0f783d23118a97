"""Exports: the same rows in each format, gone on with after any stop, without identities where that is asked for."""

import base64
import csv
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from fhir.resources.R4B import get_fhir_model_class

from dicomnlp.errors import AlreadyRunningError, ConfigurationError, UsageError
from dicomnlp.export import run
from dicomnlp.export.cells import cell
from dicomnlp.export.kinds import Format, What
from dicomnlp.export.pseudonyms import Pseudonyms, read_key
from dicomnlp.export.run import Request, export
from dicomnlp.model import Assertion
from dicomnlp.store import exports
from dicomnlp.store.originals import OriginalDamagedError
from dicomnlp.store.search import Filters

LABELS = ("Lung Lesion", "Pleural Effusion", "Edema", "Fracture")
KINDS = [
    (Format.CSV, What.FINDINGS),
    (Format.JSONL, What.FINDINGS),
    (Format.PARQUET, What.FINDINGS),
    (Format.CSV, What.REPORTS),
    (Format.JSONL, What.REPORTS),
    (Format.PARQUET, What.REPORTS),
    (Format.CSV, What.LABELS),
    (Format.PARQUET, What.LABELS),
    (Format.FHIR, What.REPORTS),
]


def request(file_format, what=What.FINDINGS, filters=Filters(), **more):  # noqa: B008
    """What is wanted, of findings unless told otherwise."""
    labels = {"label_set": "chexpert14", "labels": LABELS} if what is What.LABELS else {}
    return Request(file_format, what, filters, filters, **labels, **more)


def read_rows(path, file_format):
    """The rows of a file as JSON values."""
    if file_format is Format.PARQUET:
        return pq.read_table(path).to_pylist()
    text = path.read_text("utf-8")
    if file_format is Format.CSV:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


def everything(path, file_format):
    """All that a file says, as one text; what FHIR encodes decoded."""
    text = json.dumps(read_rows(path, file_format), ensure_ascii=False)
    forms = re.findall(r'"data": "([A-Za-z0-9+/=]+)"', text)
    return "\n".join([text, *(base64.b64decode(form).decode() for form in forms)])


@pytest.mark.parametrize(("file_format", "what"), KINDS)
@pytest.mark.parametrize("deidentify", [False, True])
def test_an_export_that_was_stopped_goes_on_to_the_same_file(
    database, tmp_path, monkeypatch, file_format, what, deidentify
):
    """Stopped at each of its pages in turn, what was written after the last checkpoint left behind."""
    monkeypatch.setattr(run, "_AT_ONCE", 2)
    monkeypatch.setattr(run, "PAGE", 3)
    monkeypatch.setattr(exports, "PAGE", 3)
    monkeypatch.setattr("dicomnlp.store.search.MAXIMUM_PAGE", 5)
    wanted = request(file_format, what, deidentify=deidentify)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    told = export(database, wanted, whole)

    class StoppedError(Exception):
        pass

    stops = 0
    while not parts.exists():
        reached = []

        def stop(rows, reached=reached):
            reached.append(rows)
            if len(reached) == 4:
                raise StoppedError

        try:
            resumed = export(database, wanted, parts, progress=stop)
        except StoppedError:
            stops += 1
            with (tmp_path / "parts.unfinished" / "data").open("ab") as file:
                file.write(b"torn")
    assert stops >= 3
    assert parts.read_bytes() == whole.read_bytes()
    same = ("rows", "bytes", "sha256", "pipelines", "deidentified")
    assert {k: told[k] for k in same} == {k: resumed[k] for k in same}
    assert not (tmp_path / "parts.unfinished").exists()
    expected = {What.FINDINGS: 48}.get(what, 24)
    assert len(read_rows(whole, file_format)) == told["rows"] == expected


def test_an_export_that_was_killed_goes_on(database, tmp_path):
    """By SIGKILL, in a process of its own."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from dicomnlp.config import DatabaseSettings, Settings\n"
        "from dicomnlp.export import run\n"
        "from dicomnlp.export.kinds import Format, What\n"
        "from dicomnlp.store import exports\n"
        "from dicomnlp.store.database import Database\n"
        "from dicomnlp.store.search import Filters\n"
        "run._AT_ONCE, exports.PAGE = 1, 3\n"
        "calls = []\n"
        "def progress(rows):\n"
        "    calls.append(rows)\n"
        "    if len(calls) == 4 and 'kill' in sys.argv: os.kill(os.getpid(), signal.SIGKILL)\n"
        "settings = Settings(database=DatabaseSettings(url='sqlite:///' + sys.argv[1] + '/dicomnlp.db'))\n"
        "request = run.Request(Format.JSONL, What.REPORTS, Filters(), Filters())\n"
        "run.export(Database.open(settings), request, Path(sys.argv[1]) / 'out', progress=progress)\n"
        "print(calls[0])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    killed = subprocess.run([*command, "kill"], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0  # it went on, rather than began anew
    export(database, request(Format.JSONL, What.REPORTS), tmp_path / "whole")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(("file_format", "what"), KINDS)
def test_nothing_planted_is_in_a_deidentified_export(database, planted, tmp_path, file_format, what):
    """Not in text, header, content items, UIDs or numbers; and nothing of it in the manifest."""
    out = tmp_path / "out"
    manifest = export(database, request(file_format, what, deidentify=True), out)
    said = everything(out, file_format) + json.dumps(manifest)
    assert "nodule" in said or "结节" in said or what is What.LABELS
    for report in planted:
        # a date of one may be what another's was shifted to: what becomes of dates has a test of its own
        header = {name: value for name, value in report.header.items() if name != "StudyDate"}
        for word in (*report.of_header, *header.values()):
            # a few digits stand in some longer number by chance
            is_whole = len(word) > 3 and not word.isdigit()
            pattern = re.escape(word) if is_whole else rf"(?<!\w){re.escape(word)}(?!\w)"
            assert not re.search(pattern, said), word
    for word in ("Quetzalcoatlus", "qzlogin77", "1.3680043.10.1544", "STATION", "PACS"):
        assert word not in said
    assert manifest["deidentified"]["reports_withheld"] == 0
    assert manifest["deidentified"]["remains"]
    if what is not What.LABELS:
        # the clinical content is still there
        assert "right upper lobe" in said
        assert "未见胸腔积液" in said


def test_offsets_of_a_deidentified_export_lead_to_the_findings(database, tmp_path):
    """In the text of the report: findings, cues, measurements, sections, sentences."""
    export(database, request(Format.JSONL, What.REPORTS, deidentify=True), tmp_path / "out")
    for report in read_rows(tmp_path / "out", Format.JSONL):
        text = report["text"]
        assert len(report["findings"]) == 2
        for finding in report["findings"]:
            assert text[finding["start"] : finding["end"]] == finding["text"]
            assert finding["text"] in {"nodule", "pleural effusion", "结节", "胸腔积液"}
            assert finding["text"] in finding["sentence"]
            assert finding["sentence"] in text
            for quoted in (*finding["cues"], *finding["measurements"]):
                assert text[quoted["start"] : quoted["end"]] == quoted["text"]
        [section] = report["sections"]
        assert (section["start"], section["end"]) == (0, len(text))
        assert report["communications"][0]["recipient"] == "[PERSON]"


def test_content_items_are_cleaned_by_what_they_are(database, tmp_path):
    """PS3.15 E.3.4: names, logins, identifiers and birth dates go, dates are shifted, UIDs are replaced alike."""
    export(database, request(Format.JSONL, What.REPORTS, deidentify=True), tmp_path / "out")
    export(database, request(Format.JSONL, What.REPORTS), tmp_path / "plain")
    key = read_key(database.beside("deidentification-key"))
    plain = {Pseudonyms(key).uid(r["sop_instance_uid"]): r for r in read_rows(tmp_path / "plain", Format.JSONL)}
    for report in read_rows(tmp_path / "out", Format.JSONL):
        values = {
            i["concept"]["code"] if "code" in i["concept"] else i["concept"]["value"]: i["value"]
            for i in report["content"]
        }
        assert values["121008"] == values["128774"] == "[PERSON]"
        assert values["121029"] == "[PATIENT]"
        assert values["121030"] == "[ID]"
        assert values["121031"] == "[BIRTH DATE]"
        assert values["121018"] == report["study_instance_uid"]
        assert values["111060"] == report["study_date"]
        assert values["111060"] != plain[report["sop_instance_uid"]]["study_date"]
        assert values["121023"]["meaning"] == "[PERSON]"


def test_dates_of_a_patient_are_shifted_alike_and_those_of_others_otherwise(database, tmp_path):
    """By 1 to 365 days, the moments of processing too."""
    export(database, request(Format.JSONL, What.REPORTS, deidentify=True), tmp_path / "out")
    export(database, request(Format.JSONL, What.REPORTS), tmp_path / "plain")
    key = Pseudonyms(read_key(database.beside("deidentification-key")))
    plain = {key.uid(r["sop_instance_uid"]): r for r in read_rows(tmp_path / "plain", Format.JSONL)}
    shifts = set()
    for report in read_rows(tmp_path / "out", Format.JSONL):
        was = plain[report["sop_instance_uid"]]
        shift = key.shift_days(f"{was['patient_id']}\0")
        assert -365 <= shift <= -1
        assert report["study_date"] < was["study_date"]
        assert report["analysed_at"] < was["analysed_at"]
        assert report["received_at"] < was["received_at"]
        assert report["patient_id"].startswith("P-")
        shifts.add(shift)
    assert len(shifts) > 5


def test_rows_without_identities_are_in_an_order_that_tells_nothing(database, tmp_path):
    """Neither as they came, nor by date: else each date could be guessed from its neighbours."""
    export(database, request(Format.JSONL, What.REPORTS, deidentify=True), tmp_path / "out")
    export(database, request(Format.JSONL, What.REPORTS), tmp_path / "plain")
    key = Pseudonyms(read_key(database.beside("deidentification-key")))
    as_they_came = [key.uid(r["sop_instance_uid"]) for r in read_rows(tmp_path / "plain", Format.JSONL)]
    order = [as_they_came.index(r["sop_instance_uid"]) for r in read_rows(tmp_path / "out", Format.JSONL)]
    assert sorted(order) == list(range(24))
    rising = sum(b > a for a, b in itertools.pairwise(order))
    assert 4 < rising < 19


def test_a_report_whose_original_is_gone_is_withheld(database, tmp_path, monkeypatch):
    """Nobody knows then whom its text names; the others go out, and the manifest tells how many don't."""
    read = exports.read_objects

    def fail(of, ids):
        if 3 in ids:
            raise OriginalDamagedError("damaged")
        return read(of, ids)

    monkeypatch.setattr("dicomnlp.export.deidentified.read_objects", fail)
    for what, rows in ((What.REPORTS, 23), (What.FINDINGS, 46)):
        manifest = export(database, request(Format.JSONL, what, deidentify=True), tmp_path / what)
        assert manifest["rows"] == rows
        assert manifest["deidentified"]["reports_withheld"] == 1


def test_a_report_that_is_analysed_anew_meanwhile_is_withheld(database, tmp_path, monkeypatch):
    """Its findings would point into another text than the one that was cleaned."""
    read = exports.narratives_of
    monkeypatch.setattr(
        "dicomnlp.export.deidentified.narratives_of",
        lambda of, ids: {i: text if i != 3 else f"New. {text}" for i, text in read(of, ids).items()},
    )
    for what, rows in ((What.REPORTS, 23), (What.FINDINGS, 46)):
        manifest = export(database, request(Format.JSONL, what, deidentify=True), tmp_path / what)
        assert manifest["rows"] == rows
        assert manifest["deidentified"]["reports_withheld"] > 0


def test_manifest_is_beside_the_file_and_true(database, tmp_path):
    """Hash, size, rows, pipelines; filters as asked, but for those that would say whom a cleaned export is of."""
    filters = Filters(assertions=(Assertion.PRESENT,), calling_ae_title="PACS", text="nodule")
    manifest = export(database, request(Format.CSV, filters=filters), tmp_path / "a.csv")
    data = (tmp_path / "a.csv").read_bytes()
    assert manifest == json.loads((tmp_path / "a.csv.manifest.json").read_text("utf-8"))
    assert (manifest["sha256"], manifest["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert manifest["pipelines"] == {"en-1": manifest["rows"]}
    assert manifest["filters"] == {"assertion": ["present"], "calling_ae_title": "PACS", "text": "nodule"}
    assert manifest["deidentified"] is None
    cleaned = export(database, request(Format.CSV, filters=filters, deidentify=True), tmp_path / "b.csv")
    assert cleaned["filters"] == {"assertion": ["present"], "calling_ae_title": "[hidden]", "text": "[hidden]"}
    assert cleaned["rows"] == manifest["rows"] == 12
    assert oct((tmp_path / "a.csv").stat().st_mode & 0o777) == "0o600"
    assert oct((tmp_path / "a.csv.manifest.json").stat().st_mode & 0o777) == "0o600"


def test_filters_of_findings_choose_rows_and_reports(database, tmp_path):
    """A finding that fits is a row; a report that has one is, whole."""
    filters = Filters(concepts=("pulmonary_nodule",), assertions=(Assertion.PRESENT,))
    none = Filters(concepts=("pulmonary_nodule",), assertions=(Assertion.ABSENT,))
    for deidentify in (False, True):
        ask = {"deidentify": deidentify}
        assert export(database, request(Format.CSV, filters=filters, **ask), tmp_path / f"a{deidentify}")["rows"] == 24
        assert export(database, request(Format.CSV, filters=none, **ask), tmp_path / f"b{deidentify}")["rows"] == 0
        export(database, request(Format.JSONL, What.REPORTS, filters, **ask), tmp_path / f"c{deidentify}")
        rows = read_rows(tmp_path / f"c{deidentify}", Format.JSONL)
        assert [len(r["findings"]) for r in rows] == [2] * 24
        assert (
            export(database, request(Format.JSONL, What.REPORTS, none, **ask), tmp_path / f"d{deidentify}")["rows"] == 0
        )
    for file_format in Format:
        what = What.REPORTS if file_format is Format.FHIR else What.FINDINGS
        export(database, request(file_format, what, none), tmp_path / f"e.{file_format}")
        assert read_rows(tmp_path / f"e.{file_format}", file_format) == []


def test_labels_are_numbers_as_the_labeler_writes_them(database, tmp_path):
    """1 present, 0 absent, -1 possible, nothing where nothing is said."""
    export(database, request(Format.CSV, What.LABELS), tmp_path / "l.csv")
    for row in read_rows(tmp_path / "l.csv", Format.CSV):
        assert [row[label] for label in LABELS] == ["1", "0", "-1", ""]


def test_bundles_are_valid_and_their_references_lead_somewhere(database, tmp_path):
    """One a report; the same urn in two bundles is the same resource."""
    export(database, request(Format.FHIR, What.REPORTS), tmp_path / "b")
    for line in read_rows(tmp_path / "b", Format.FHIR):
        bundle = get_fhir_model_class("Bundle").model_validate(line)
        assert bundle.type == "collection"
        urls = {e["fullUrl"] for e in line["entry"]}
        references = re.findall(r'"reference": "([^"]*)"', json.dumps(line))
        assert set(references) <= urls
        kinds = [e["resource"]["resourceType"] for e in line["entry"]]
        assert kinds == ["DiagnosticReport", "Observation", "Observation", "ImagingStudy", "Patient"]
        for entry in line["entry"]:
            get_fhir_model_class(entry["resource"]["resourceType"]).model_validate(entry["resource"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r\n=1", "'\r\n=1"),
        (" =1", "' =1"),  # blanks before it are passed over
        ("\u3000＝1", "'\u3000＝1"),  # and full-width forms are taken for their plain ones
        ("\ufeff=1", "'\ufeff=1"),
        ("a=1", "a=1"),
        ("", ""),
        (-1, "-1"),  # a number is no formula
        (None, ""),
        (True, "true"),
    ],
)
def test_no_cell_is_a_formula(text, expected):
    """What a spreadsheet would run gets a quote before it."""
    assert cell(text) == expected


def test_excel_is_told_the_encoding(database, tmp_path):
    """By a byte order mark, where that is asked for."""
    export(database, request(Format.CSV, excel=True), tmp_path / "x.csv")
    export(database, request(Format.CSV), tmp_path / "y.csv")
    assert (tmp_path / "x.csv").read_bytes() == b"\xef\xbb\xbf" + (tmp_path / "y.csv").read_bytes()


def test_what_stands_in_the_way_is_told(database, tmp_path):
    """A file of that name, no such folder, an unfinished export of something else, another process."""
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        export(database, request(Format.CSV), tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(UsageError, match="does not exist"):
        export(database, request(Format.CSV), tmp_path / "no" / "out")

    def stop(_rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(database, request(Format.CSV), tmp_path / "out", progress=stop)
    (tmp_path / "out.unfinished" / "state.json").write_text(json.dumps({"request": {"format": "jsonl"}}))
    with pytest.raises(UsageError, match="something else"):
        export(database, request(Format.CSV), tmp_path / "out")
    with (tmp_path / "out.unfinished" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError):
            export(database, request(Format.CSV), tmp_path / "out")


def test_key_is_made_once_and_only_for_its_owner(tmp_path):
    """It is refused where others may read it, or where it is no key."""
    file = tmp_path / "var" / "key"
    made = read_key(file)
    assert len(made) == 32
    assert read_key(file) == made
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert [f.name for f in file.parent.iterdir()] == ["key"]
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_key(file)
    file.chmod(0o600)
    for content in ("", "abcd", "not hexadecimal at all"):
        file.write_text(content)
        with pytest.raises(ConfigurationError) as error:
            read_key(file)
        assert content not in str(error.value) or not content


def test_pseudonyms_depend_on_the_key_and_nothing_else():
    """The same in every process; another site's are others; the standard's own UIDs stay."""
    one, again, other = Pseudonyms(b"k" * 32), Pseudonyms(b"k" * 32), Pseudonyms(b"o" * 32)
    assert one.uid("1.2.3") == again.uid("1.2.3") != other.uid("1.2.3")
    assert re.fullmatch(r"2\.25\.\d{1,39}", one.uid("1.2.3"))
    assert one.uid("1.2.840.10008.5.1.4.1.1.88.11") == "1.2.840.10008.5.1.4.1.1.88.11"
    assert one.uid("") == one.identifier("patient", "") == ""
    assert one.identifier("patient", "7") != one.identifier("accession", "7")
    assert {one.shift_days(str(n)) for n in range(5000)} == set(range(-365, 0))
    assert one.number("finding", 812) < 2**53
    with pytest.raises(ConfigurationError):
        Pseudonyms(b"short")
