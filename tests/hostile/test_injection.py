"""T19: what looks like SQL, full-text syntax or wild cards is only text, wherever text can be given."""

import asyncio
import contextlib
import sqlite3

import httpx
import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_processed, make_record
from typer.testing import CliRunner

from dicomnlp.config import DatabaseSettings, Settings, WebSettings
from dicomnlp.errors import UsageError
from dicomnlp.serve.app import create_app
from dicomnlp.store.admin import upgrade
from dicomnlp.store.cohorts import save_cohort
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.search import Filters

SQL = [
    "' OR 1=1--",
    '" OR ""="',
    "x'; DROP TABLE finding; --",
    "') UNION SELECT data FROM original --",
    "1); DELETE FROM ledger WHERE (1=1",
    "\\' OR 1=1 --",
    "%27%20OR%201=1",
    "$1 OR true",
    ":study",
    "{0}",
]
WILD = ["%", "_", "%%", "T%", "T_1", "_-1", "\\%", "[A-Z]*", "T-[0-9]"]
FULL_TEXT = [
    'nodule" OR "effusion',
    "nodule OR absentword",
    "nodule NOT lobe",
    "NEAR(nodule absentword)",
    "words:absentword",
    "absent*",
    "^absentword",
    "nodule & !absentword",
    "nodule | absentword",
    "absentword:*",
    "'absentword' <-> 'x'",
    '"',
    "(((",
    "nodule AND",
]
NOT_FILTERS = {"limit", "offset", "includefield", "fuzzymatching", "accept", "_format", "_count", "all_versions"}
"""They say how much is answered, and in which form."""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """With one report, whose patient is T-1, a cohort, and a ledger."""
    folder = tmp_path_factory.mktemp("injection")
    settings = Settings(database=DatabaseSettings(url=f"sqlite:///{folder}/dicomnlp.db"))
    upgrade(settings)
    database = Database.open(settings)
    [receipt] = record_arrivals(database, [make_record(1)])
    save_processed(database, [make_processed(receipt.object_id)])
    save_cohort(database, "nodules", Filters(concepts=("pulmonary_nodule",)), created_by="", replace=True)
    yield database
    database.close()


@pytest.fixture(scope="module")
def app(database):
    """An application on it that takes as many requests as come."""
    web = WebSettings(maximum_requests_per_minute=10**6)
    return create_app(Settings(web=web), lambda: database)


def ask(app, requests):
    """The answers to (path, query), in order."""

    async def all_of_them():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            return [await client.get(path, params=query) for path, query in requests]

    return asyncio.run(all_of_them())


def counts(database):
    """Rows of each table that something could have been done to."""
    with database.read() as connection:
        names = sa.inspect(connection).get_table_names()
        return {
            name: connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))
            for name in names
            if not name.startswith(("audit", "report_words_"))
        }


def text_parameters(app):
    """(path, name) of every query parameter that takes text; of a path the UIDs are filled in."""
    uids = {"study_instance_uid": STUDY, "sop_instance_uid": instance_uid(1), "series_instance_uid": "1.2.3"}
    for path, methods in app.openapi()["paths"].items():
        if "get" not in methods:
            continue
        filled = path.format(**uids, name="nodules", identifier="x", place="00420011", item_id=1, number=1)
        for parameter in methods["get"].get("parameters", []):
            kinds = [s.get("type") for s in parameter["schema"].get("anyOf", [parameter["schema"]])]
            if parameter["in"] == "query" and "string" in kinds:
                yield filled, parameter["name"]


PAGES = [
    (path, name)
    for path, names in {
        "/": ("patient_id", "patient", "accession_number", "station", "q", "text", "state"),
        "/search": ("text", "patient_id", "station", "institution", "calling_ae_title", "concept", "anatomy", "after"),
        "/follow-up": ("patient_id", "modality", "anatomy", "after"),
        "/ledger": ("calling_ae_title", "reason_code", "outcome", "after"),
    }.items()
    for name in names
]


def test_every_text_parameter_takes_it_as_text(app, database):
    """Of all interfaces and pages: nothing is found by it, nothing fails, and nothing changes."""
    before = counts(database)
    parameters = [*text_parameters(app), *PAGES]
    assert len(parameters) > 100
    asked = [(path, {name: payload}) for path, name in parameters for payload in (*SQL[:3], *WILD[:2])]
    for (path, query), response in zip(asked, ask(app, asked), strict=True):
        [(name, _)] = query.items()
        assert response.status_code < 500, (path, query)
        if response.status_code == 200 and name not in NOT_FILTERS and path not in {"/", "/ledger"}:
            # the patient, and the text of the one report
            assert "T-1" not in response.text, (path, query)
            assert "6 mm nodule" not in response.text, (path, query)
        assert "sqlite" not in response.text.lower(), (path, query)
        assert "syntax error" not in response.text.lower(), (path, query)
    assert counts(database) == before


@pytest.mark.parametrize("payload", SQL + WILD)
def test_identifiers_are_compared_and_nothing_more(app, payload):
    """A patient's identifier, by search, recommendations and QIDO-RS; the right one finds."""
    paths = ["/api/v1/findings", "/api/v1/findings/count", "/api/v1/recommendations"]
    found = ask(app, [*((path, {"patient_id": payload}) for path in paths)])
    findings, number, recommendations = (response.json() for response in found)
    assert findings["findings"] == recommendations["recommendations"] == []
    assert number["findings"] == 0
    [qido, right, right_qido] = ask(
        app,
        [
            ("/dicom-web/studies", {"PatientID": payload}),
            ("/api/v1/findings/count", {"patient_id": "T-1"}),
            ("/dicom-web/studies", {"PatientID": "T-1"}),
        ],
    )
    assert qido.status_code == 204
    assert right.json()["findings"] > 0
    assert len(right_qido.json()) == 1


@pytest.mark.parametrize("payload", FULL_TEXT)
def test_operators_of_full_text_search_are_words(app, payload):
    """Words that the report doesn't have keep it from being found, whatever stands between them."""
    [response] = ask(app, [("/api/v1/findings", {"text": payload})])
    assert response.status_code in {200, 400}
    if response.status_code == 200:
        assert response.json()["findings"] == []
    [right] = ask(app, [("/api/v1/findings", {"text": '"right upper lobe" nodule'})])
    assert len(right.json()["findings"]) > 0


def test_command_line_takes_it_as_text(database, tmp_path, monkeypatch):
    """Each option of `search` that takes text."""
    from dicomnlp.cli.main import app as commands

    with (
        contextlib.closing(sqlite3.connect(database.engine.url.database)) as held,
        contextlib.closing(sqlite3.connect(tmp_path / "dicomnlp.db")) as copy,
    ):
        held.backup(copy)
    (tmp_path / "config.toml").write_text('[database]\nurl = "sqlite:///dicomnlp.db"\n')
    monkeypatch.chdir(tmp_path)
    options = ["--patient-id", "--station", "--institution", "--calling-ae-title", "--body-part", "--text"]
    for option in options:
        for payload in ("' OR 1=1--", "%", "x'; DROP TABLE finding; --"):
            done = CliRunner().invoke(commands, ["search", option, payload, "--json"])
            # words without a letter are refused
            assert done.exit_code in {0, 2} or isinstance(done.exception, UsageError), (option, payload)
            assert "nodule" not in done.stdout
    done = CliRunner().invoke(commands, ["findings", "' OR 1=1--", "--json"])
    assert done.exit_code == 2
    right = CliRunner().invoke(commands, ["search", "--patient-id", "T-1", "--json"])
    assert "nodule" in right.stdout
