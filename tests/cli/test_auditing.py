"""Commands of keys and of the audit trail, and the rows that other commands leave."""

import json
import re

import pytest
import sqlalchemy as sa

from dicomnlp.audit.reading import TrailFilters, read_trail
from dicomnlp.config import load
from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.keys import find_key


@pytest.fixture
def folder(tmp_path):
    """A configuration and an empty database."""
    (tmp_path / "config.toml").write_text('[database]\nurl = "sqlite:///var/dicomnlp.db"\n')
    admin.upgrade(load(tmp_path / "config.toml"))
    return tmp_path


@pytest.fixture
def database(folder):
    """That database."""
    opened = Database.open(load(folder / "config.toml"))
    yield opened
    opened.close()


@pytest.fixture
def rows(database):
    """The rows of the trail."""
    return lambda: read_trail(database, TrailFilters(), 1000)


def test_key_is_printed_once_and_works(run, database, rows):
    """Alone on standard output, so that a script can take it; what is said of it goes to standard error."""
    result = run("keys", "add", "viewer", "--role", "reader", "--scope-ae", "NORTH", "--expires", "2999-01-01")
    assert result.exit_code == 0
    key = result.stdout.strip()
    assert re.fullmatch(r"dnk_[0-9a-f]{12}_[0-9A-Za-z_-]{43}", key)
    found = find_key(database, key)
    assert (found.role, found.scope.calling_ae_titles, found.scope.institutions) == ("reader", {"NORTH"}, None)
    listed = run("keys", "list", "--json").stdout
    assert key not in listed
    assert json.loads(listed)["prefix"] == found.prefix
    assert "NORTH" in run("keys", "list").stdout
    (row,) = rows()
    assert (row.kind, row.action, row.outcome) == ("admin", "keys add", "success")
    assert row.principal.startswith("local:")
    assert row.query["role"] == "reader"
    assert key not in json.dumps([r.to_json() for r in rows()])


def test_revoked_key_is_listed_as_such(run, database, rows):
    """By name or by prefix; an unknown one is said and recorded."""
    key = run("keys", "add", "viewer", "--role", "admin").stdout.strip()
    assert run("keys", "revoke", key[4:16]).exit_code == 0
    assert find_key(database, key) is None
    assert json.loads(run("keys", "list", "--json").stdout)["revoked_at"] is not None
    assert isinstance(run("keys", "revoke", "nobody").exception, NotFoundError)
    assert [row.outcome for row in rows()] == ["success", "success", "refused"]


@pytest.mark.parametrize(
    "arguments",
    [("x", "--role", "king"), ("", "--role", "reader"), ("x", "--role", "reader", "--expires", "2001-01-01")],
)
def test_keys_that_make_no_sense_are_refused(run, arguments):
    """Another role, no name, an end that has passed."""
    assert isinstance(run("keys", "add", *arguments).exception, UsageError)


COMMANDS = [
    (("findings", "1.2.3"), "view", "findings"),
    (("report", "1.2.3"), "view", "report"),
    (("search", "--concept", "pulmonary_nodule"), "query", "search"),
    (("search", "--text", "Quetzalcoatlus", "--count"), "query", "search"),
    (("cohort", "list"), "query", "cohort list"),
    (("failures",), "query", "failures"),
    (("failures", "--retry"), "admin", "failures"),
    (("quarantine",), "query", "quarantine"),
    (("patients", "show", "P-17"), "view", "patients show"),
    (("patients", "merge", "P-17", "P-18"), "admin", "patients merge"),
    (("reprocess", "--failed"), "admin", "reprocess"),
]


@pytest.mark.parametrize(("arguments", "kind", "action"), COMMANDS, ids=[" ".join(c[0]) for c in COMMANDS])
def test_commands_about_patients_are_in_the_trail(run, rows, arguments, kind, action):
    """Also when nothing is found: that somebody asked is what counts. Words that were searched for aren't in it."""
    run(*arguments)
    (row,) = rows()
    assert (row.kind, row.action) == (kind, action)
    assert row.principal.startswith("local:")
    assert "Quetzalcoatlus" not in json.dumps(row.to_json())
    assert row.study_instance_uid == ("1.2.3" if "1.2.3" in arguments else None)


@pytest.mark.parametrize("arguments", [("status",), ("languages",), ("db", "check")])
def test_commands_about_the_service_are_not(run, rows, arguments):
    """They show nothing of anybody."""
    run(*arguments)
    assert rows() == []


def test_trail_is_shown_by_what_is_asked_for(run, rows):
    """As a table and as JSON lines; that it was read is a row."""
    run("search", "--concept", "pulmonary_nodule")
    run("findings", "1.2.3")
    shown = run("audit", "show", "--kind", "query", "--json").stdout.splitlines()
    assert [json.loads(line)["action"] for line in shown] == ["search"]
    assert "findings" in run("audit", "show", "--study", "1.2.3").stdout
    assert run("audit", "show", "--since", "2999-01-01").stdout.strip() == "no such rows"
    assert isinstance(run("audit", "show", "--kind", "nothing").exception, UsageError)
    assert [row.action for row in rows()].count("audit show") == 3


def test_whole_trail_is_verified(run):
    """Exit code 0, and the last row's number and hash to be written down."""
    run("search", "--concept", "pulmonary_nodule")
    result = run("audit", "verify")
    assert result.exit_code == 0
    place = re.search(r"the last is (1:[0-9a-f]{64})", result.stdout)[1]
    assert run("audit", "verify", "--expect", place).exit_code == 0
    assert run("audit", "verify", "--expect", place[:-1] + ("0" if place[-1] != "0" else "1")).exit_code == 1
    assert isinstance(run("audit", "verify", "--expect", "1").exception, UsageError)


def test_broken_trail_is_told_by_exit_code_and_row(run, database):
    """Where it is broken stands on standard error."""
    for _ in range(3):
        run("search", "--concept", "pulmonary_nodule")
    with database.write() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_event_no_update"))
        connection.execute(sa.text("UPDATE audit_event SET principal = 'somebody else' WHERE id = 2"))
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "BROKEN: row 2 was changed" in result.stderr
