"""Who sees what on pages: a researcher no identities, a reader of one sender nothing of another."""

import pytest
from support.app_client import Client

from dicomnlp.serve.app import create_app
from dicomnlp.store.cohorts import save_cohort
from dicomnlp.store.keys import add_key
from dicomnlp.store.scope import EVERYTHING, Scope
from dicomnlp.store.search import Filters
from dicomnlp.web_settings import WebSettings

SECRETS = ("T-100", "A100", "Clinic", "PACS", "1960")
"""Of report 100: patient, accession number, institution, sender, date of birth."""
REPORT = "1.2.826.0.1.3680043.10.1511"


@pytest.fixture(scope="module")
def pages(hall):
    """A page as somebody gets it who has a key of a role and scope: (status, text)."""
    settings = hall.settings.model_copy(update={"web": WebSettings(authentication="on")})
    client = Client(create_app(settings, lambda: hall.database))
    keys = {}

    def get(path, role, scope=EVERYTHING):
        if (role, scope) not in keys:
            keys[role, scope] = add_key(hall.database, f"pages {len(keys)}", role, scope)[1]
        answer = client.request("GET", path, key=keys[role, scope], headers={"Accept": "text/html"})
        return answer.status_code, answer.text

    return get


PATHS = (
    "/",
    f"/studies/{REPORT}.1.100",
    "/search?concept=nodule",
    "/search/counts?concept=nodule",
    "/status",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_researcher_sees_no_identities(path, pages):
    """Findings and cleaned text alone; a reader sees who it is."""
    status, text = pages(path, "researcher")
    assert status == 200
    assert not [secret for secret in SECRETS if secret in text]
    assert "odule" in text or path == "/status"
    status, text = pages(path, "reader")
    assert status == 200
    assert path == "/status" or [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "path",
    ["/search?patient_id=T-100", "/search?text=nodule", "/search?institution=Clinic", "/follow-up?patient_id=T-100"],
)
def test_a_researcher_can_not_ask_for_a_person(path, pages):
    """By identifier, words or place."""
    assert pages(path, "researcher")[0] == 400
    assert pages(path, "reader")[0] == 200


def test_a_researcher_finds_no_patient_by_identifier(pages):
    """The field of the worklist knows UIDs only."""
    assert f"{REPORT}.1.100" not in pages("/?find=T-100", "researcher")[1]
    assert f"{REPORT}.1.100" in pages("/?find=T-100", "reader")[1]
    assert "Patient ID, accession number or UID" not in pages("/?find=T-100", "researcher")[1]
    assert "Patient ID, accession number or UID" in pages("/?find=T-100", "reader")[1]


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/follow-up", ("reader", "researcher", "operator", "admin")),
        ("/ledger", ("operator", "admin")),
        ("/quarantine", ("operator", "admin")),
    ],
)
def test_pages_are_for_their_roles(path, roles, pages):
    """The others are told so, and don't have them in the bar."""
    for role in ("reader", "researcher", "operator", "admin"):
        assert pages(path, role)[0] == (200 if role in roles else 403), role
        if path != "/quarantine":
            assert (f'<a href="{path}"' in pages("/search", role)[1]) == (role in roles)


def test_a_researcher_keeps_cohorts_and_forgets_none(pages, hall):
    """As over HTTP, where DELETE is for readers: a cohort may be somebody else's."""
    save_cohort(hall.database, "nodules of all", Filters(concepts=("nodule",)), created_by="somebody")
    for role, may in (("reader", True), ("researcher", False)):
        text = pages("/search", role)[1]
        assert "nodules of all" in text
        assert ("/search/cohorts/forget" in text) == may
    settings = hall.settings.model_copy(update={"web": WebSettings(authentication="on")})
    client = Client(create_app(settings, lambda: hall.database))
    for name, role, status in (("forgets", "researcher", 403), ("another", "reader", 400), ("somebody", "reader", 303)):
        key = add_key(hall.database, name, role, EVERYTHING)[1]
        answer = client.post("/search/cohorts/forget", key=key, data={"name": "nodules of all"})
        assert answer.status_code == status


def test_failures_are_for_operators(pages):
    """A reader's status page has counts and plots."""
    assert "/status/retry" in pages("/status", "operator")[1]
    assert "/status/retry" not in pages("/status", "reader")[1]


def test_a_reader_of_one_sender_sees_nothing_of_another(pages, hall):
    """T30: as if it weren't held."""
    scope = Scope(calling_ae_titles=frozenset({"<svg/onload=a()>"}))
    assert pages(f"/studies/{hall.study}", "reader", scope)[0] == 200
    assert pages(f"/studies/{REPORT}.1.100", "reader", scope)[0] == 404
    for path in ("/", "/search?concept=nodule", "/follow-up"):
        status, text = pages(path, "reader", scope)
        assert status == 200
        assert "T-100" not in text
    # the Chinese report is the same patient's, but came from somebody else
    assert pages(f"/studies/{hall.study}?beside={hall.chinese_instance}", "reader", scope)[0] == 404


def test_a_researcher_sees_recommendations_without_their_patients(pages):
    """As the interface for programs answers them: the words cleaned, no patient, no date of a study."""
    text = pages("/follow-up", "researcher")[1]
    assert "Follow-up" in text
    assert 'name="patient_id"' not in text
    assert 'class="patient"' not in text
    assert 'class="patient"' in pages("/follow-up", "reader")[1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ledger?from=0001-01-01&to=9999-12-31", 200),  # no day comes after the last
        ("/follow-up?conditional=perhaps", 422),
    ],
)
def test_odd_values_of_filters_are_answered(path, status, pages):
    """With what there is or what is wrong, never by a failure."""
    assert pages(path, "operator")[0] == status
