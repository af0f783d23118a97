"""Every route there is, by enumeration: none without a principal, none that tells of another site or of a patient."""

import json

import pytest
import sqlalchemy as sa

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.serve.access import Requirement, Role
from dicomnlp.serve.app import create_app
from dicomnlp.store import cohorts
from dicomnlp.store.schema import sop_instance
from dicomnlp.store.scope import Scope
from dicomnlp.store.search import Filters
from dicomnlp.store.status import read_failures

FOR_ALL = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/login/provider"),
    ("GET", "/login/callback"),
    ("GET", "/static/{name:path}"),
}
"""What needs nobody: liveness, the way in and out, and the pages' colours."""
UNKNOWN = "1.2.826.0.1.3680043.10.543.404"
COHORT = "nodules"


def routes_of(app):
    """(method, path, requirements) of every route, mounted applications refused: they would escape this list."""
    found = []
    for route in app.routes:
        assert hasattr(route, "dependant"), f"{route.path} is no plain route"
        found += [(method, route.path, list(requirements(route.dependant))) for method in sorted(route.methods)]
    return found


def requirements(dependant):
    """The requirements among all dependencies of a route."""
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requirement):
            yield inner.call
        yield from requirements(inner)


def reason_of(answer):
    """Why a request was refused, told by a problem document or by FHIR's outcome."""
    told = answer.json()
    return told["reason_code"] if "reason_code" in told else told["issue"][0]["details"]["coding"][0]["code"]


def scope_of_title(site):
    """That of whoever may see what a site sent."""
    return Scope(frozenset({site.title}), None)


@pytest.fixture
def all_routes(make_settings, database):
    """Those of a service with all there is, a provider included."""
    oidc = {
        "issuer": "https://login.example",
        "client_id": "dicomnlp",
        "public_url": "https://findings.example",
        "roles": {"radiologists": "reader"},
    }
    return routes_of(create_app(make_settings(oidc), lambda: database))


def filled(path, site, uid=None):
    """`path` with a site's own identifiers, or with `uid` in place of each of these."""
    values = {
        "study_instance_uid": site.study,
        "series_instance_uid": str(site.dataset.SeriesInstanceUID),
        "sop_instance_uid": site.instance,
    }
    values = {name: uid or value for name, value in values.items()} | {
        "name": COHORT,
        "place": "1",
        "uid": uid or site.instance,
        "identifier": uid or site.instance,
        "resource_id": uid or site.instance,
        "id": uid or site.instance,
        "item_id": 10**9 if uid else site.item,
        "number": 10**9,
    }
    return path.format(**values)


def ask(client, method, path, key=None):
    """A request of a program, that would be answered if it were allowed."""
    headers = {"Accept": "*/*", **({"Content-Type": "application/json"} if method in {"POST", "PUT"} else {})}
    return client.request(method, path, key=key, headers=headers, content=b"{}" if method in {"POST", "PUT"} else None)


def test_every_route_names_who_may_use_it(all_routes):
    """But for the few that are for all; a new route that forgets it fails here."""
    without = {(method, path) for method, path, required in all_routes if not required}
    assert without == FOR_ALL
    assert len(all_routes) > 50


def test_every_route_is_closed_without_a_key(client, all_routes, north):
    """Whatever it is asked with; what is asked for isn't looked at."""
    for method, path, required in all_routes:
        if required:
            answer = ask(client, method, filled(path, north))
            assert answer.status_code == 401, (method, path)
            assert not any(secret in answer.text for secret in north.secrets), path


@pytest.mark.parametrize("role", list(Role))
def test_every_route_refuses_the_roles_that_it_is_not_for(client, all_routes, make_key, north, trail, role):
    """403, recorded; and nobody else is refused for the role."""
    key = make_key(role.value)
    refused = 0
    for method, path, required in all_routes:
        if not required or "deidentified" in path:
            continue
        answer = ask(client, method, filled(path, north), key)
        forbidden = any(role not in each.roles for each in required)
        if forbidden:
            assert (answer.status_code, reason_of(answer)) == (403, "not_allowed"), (method, path)
            refused += 1
        else:
            assert answer.status_code not in {401, 403}, (method, path, answer.text)
    rows = trail(outcome=Outcome.REFUSED, principal=f"{role.value} key")
    assert len(rows) >= refused


SCOPES = [
    ("AE title", lambda site: {"titles": [site.title]}),
    ("institution", lambda site: {"institutions": [site.institution]}),
    ("both", lambda site: {"titles": [site.title], "institutions": [site.institution]}),
]
QUERIES = [
    ("/api/v1/findings", {}),
    ("/api/v1/findings", {"patient_id": "{patient_id}"}),
    ("/api/v1/findings", {"study_instance_uid": "{study}"}),
    ("/api/v1/findings", {"institution": "{institution}"}),
    ("/api/v1/findings", {"calling_ae_title": "{title}"}),
    ("/api/v1/findings", {"text": "{name}"}),
    ("/api/v1/findings", {"modality": "CT"}),
    ("/api/v1/findings/count", {"patient_id": "{patient_id}"}),
    ("/api/v1/findings/facets", {}),
    ("/api/v1/findings/facets", {"patient_id": "{patient_id}"}),
    ("/api/v1/recommendations", {}),
    ("/api/v1/recommendations", {"patient_id": "{patient_id}"}),
    ("/dicom-web/studies", {}),
    ("/dicom-web/studies", {"StudyInstanceUID": "{study}"}),
    ("/dicom-web/studies", {"PatientID": "{patient_id}"}),
    ("/dicom-web/series", {"StudyInstanceUID": "{study}"}),
    ("/dicom-web/instances", {"SOPInstanceUID": "{instance}"}),
    ("/", {}),
    ("/", {"find": "{patient_id}"}),
    ("/", {"find": "{accession}"}),
    ("/search", {"patient_id": "{patient_id}"}),
    ("/search", {"concept": ""}),
    ("/follow-up", {}),
    ("/follow-up", {"state": "all"}),
    ("/api/v1/follow-up", {}),
    ("/api/v1/follow-up", {"patient_id": "{patient_id}"}),
    ("/api/v1/follow-up", {"study_instance_uid": "{study}"}),
    ("/api/v1/follow-up.csv", {}),
    ("/critical-results", {"state": "all"}),
    ("/api/v1/critical-results", {}),
    ("/deliveries", {}),
    ("/api/v1/deliveries", {}),
    ("/second-look", {}),
    ("/second-look/guidance", {}),
    ("/second-look/quality", {}),
    ("/api/v1/discrepancies", {}),
    ("/api/v1/discrepancies", {"patient_id": "{patient_id}"}),
    ("/api/v1/guidance", {"study_instance_uid": "{study}"}),
    ("/api/v1/quality-measures", {}),
    ("/ledger", {}),
    ("/quarantine", {}),
    ("/status", {}),
    ("/status/rates", {}),
    ("/live", {}),
]


@pytest.mark.parametrize("scope", [s for _, s in SCOPES], ids=[name for name, _ in SCOPES])
def test_another_site_is_as_if_it_were_not_there(client, database, all_routes, make_key, north, south, scope):
    """Each route with an identifier answers for another site's exactly as for one that nobody has: 404, never 403."""
    key = make_key("operator", name="north", **scope(north))
    cohorts.save_cohort(database.within(Scope(frozenset({south.title}), None)), COHORT, Filters(), created_by="south")
    own = asked = 0
    for method, path, required in all_routes:
        if method != "GET" or not required or "{" not in path:
            continue
        theirs = ask(client, method, filled(path, south), key)
        unknown = ask(client, method, filled(path, south, UNKNOWN), key)
        # QIDO-RS says 204 where nothing fits (PS3.18 10.6.3)
        assert theirs.status_code == unknown.status_code, path
        assert theirs.status_code in ({404, 204} if path.startswith("/dicom-web") else {404}), (
            path,
            theirs.status_code,
        )
        told = theirs.text
        for uid in (south.study, south.instance, str(south.dataset.SeriesInstanceUID)):
            if uid in filled(path, south):
                told = told.replace(uid, UNKNOWN)
        assert told == unknown.text, path
        assert not any(secret in told for secret in south.secrets), path
        own += ask(client, method, filled(path, north), key).status_code == 200
        asked += 1
    # the same paths do answer for one's own site: the test would else hold of a service that answers nothing
    assert own >= asked // 2


@pytest.mark.parametrize("scope", [s for _, s in SCOPES], ids=[name for name, _ in SCOPES])
def test_no_list_or_search_tells_of_another_site(client, make_key, north, south, scope):
    """Whatever is searched for, its other site's identifiers and names are in no answer."""
    key = make_key("operator", name="north", **scope(north))
    told = ""
    for path, query in QUERIES:
        values = vars(south) | {"name": south.name}
        given = {name: value.format(**values) for name, value in query.items()}
        answer = client.get(path, params=given, key=key, headers={"Accept": "*/*"})
        assert answer.status_code in {200, 204}, (path, answer.text)
        text = answer.text
        for value in given.values():
            # a form shows again what was asked with
            text = text.replace(value, "") if value and "html" in answer.headers.get("content-type", "") else text
        leaked = [secret for secret in south.secrets if secret in text]
        assert not leaked, (path, query, leaked)
        told += answer.text
    assert north.study in told
    assert north.patient_id in told


def test_counts_are_of_the_scope(client, make_key, north, south):
    """Numbers tell of others, too."""
    everything, scoped = make_key(name="all"), make_key(name="north", titles=[north.title])
    counts = [client.get("/api/v1/findings/count", key=key).json() for key in (everything, scoped)]
    assert [c["studies"] for c in counts] == [2, 1]
    facets = client.get("/api/v1/findings/facets", key=scoped).json()["facets"]
    assert facets["calling_ae_title"] == [{"value": "NORTH", "findings": 2}]
    assert facets["institution"] == [{"value": "North Clinic", "findings": 2}]


def test_history_of_another_site_is_not_told_by_without(client, make_key, north, south, database):
    """A patient without a finding is one without it in what may be seen."""
    key = make_key(name="north", titles=[north.title])
    query = {"without": "pneumothorax"}
    assert client.get("/api/v1/findings/count", params=query, key=key).json()["studies"] == 1


def test_reprocessing_is_of_the_scope(client, make_key, north, south, database):
    """Another site's study is not found, and all is all of one's own."""
    key = make_key("operator", titles=[north.title])

    def reprocess(body):
        return client.post("/api/v1/reprocess", key=key, json=body)

    assert reprocess({"uids": [south.study]}).status_code == 404
    assert reprocess({"everything": True}).json()["total"] == 1


def test_nobody_puts_another_sites_objects_in_order(client, database, make_key, north, south):
    """Failures, another try, and quarantine are those of the scope, on pages too."""
    for site in (north, south):
        with database.write() as connection:
            connection.execute(
                sa.update(sop_instance)
                .where(sop_instance.c.sop_instance_uid == site.instance)
                .values(state="failed" if site is south else "quarantined", reason_code="unreadable")
            )
    key = make_key("operator", titles=[north.title])
    assert len(read_failures(database, 10)) == 2
    assert [f.sop_instance_uid for f in read_failures(database.within(scope_of_title(north)), 10)] == [north.instance]
    assert client.post("/status/retry", key=key).status_code == 303
    assert {f.sop_instance_uid for f in read_failures(database, 10)} == {north.instance, south.instance}

    def assign(uid, key):
        form = {"sop_instance_uid": uid, "study_instance_uid": UNKNOWN}
        return client.post("/quarantine/assign", key=key, data=form, headers={"Accept": "*/*"}).status_code

    with database.write() as connection:
        connection.execute(sa.update(sop_instance).values(state="quarantined"))
    assert assign(south.instance, key) == assign(UNKNOWN, key) == 404
    assert assign(north.instance, key) == 303


def test_cohorts_are_told_to_those_who_may_see_as_much(client, make_key, north, south):
    """A cohort of everything isn't for one site; one of a site is for whoever may see all; a name isn't taken over."""
    everything, one = make_key(name="all"), make_key(name="north", titles=[north.title])
    body = {"filters": {"assertion": ["present"]}}

    def save(name, key):
        return client.request("PUT", f"/api/v1/cohorts/{name}", key=key, json=body)

    assert save("everyone", everything).status_code == 200
    assert save("ours", one).status_code == 200

    def names(key):
        return [c["name"] for c in client.get("/api/v1/cohorts", key=key).json()["cohorts"]]

    assert names(everything) == ["everyone", "ours"]
    assert names(one) == ["ours"]
    assert client.get("/api/v1/cohorts/everyone", key=one).status_code == 404
    assert client.request("DELETE", "/api/v1/cohorts/everyone", key=one).status_code == 404
    assert save("everyone", one).status_code == 400
    made = client.get("/api/v1/cohorts/ours", key=everything).json()
    assert made["created_by"] == "north"
    assert client.get("/api/v1/cohorts/ours/findings", key=everything).json()["findings"]


def test_cohorts_are_changed_by_whoever_keeps_them_and_by_operators(client, make_key, north):
    """Another researcher or reader, who may use them, is told to choose another name."""
    body = {"filters": {"concept": ["nodule"]}}
    keys = {name: make_key(role, name=name) for name, role in
            (("ann", "researcher"), ("ben", "researcher"), ("cat", "reader"), ("dan", "operator"))}  # fmt: skip

    def put(name):
        return client.request("PUT", f"/api/v1/cohorts/{COHORT}", key=keys[name], json=body)

    assert [put(name).status_code for name in ("ann", "ann", "ben", "cat", "dan")] == [200, 200, 400, 400, 200]
    kept = client.get(f"/api/v1/cohorts/{COHORT}", key=keys["ben"]).json()
    assert kept["created_by"] == "dan"
    assert put("ann").json()["reason_code"] == "bad_request"
    assert client.request("DELETE", f"/api/v1/cohorts/{COHORT}", key=keys["cat"]).status_code == 400
    assert client.request("DELETE", f"/api/v1/cohorts/{COHORT}", key=keys["dan"]).status_code == 204


def test_metrics_of_all_senders_are_not_for_one_site(client, make_key, north):
    """They are counted by AE title."""
    assert client.get("/metrics", key=make_key("researcher", name="prometheus")).status_code == 200
    assert client.get("/metrics", key=make_key(name="north", titles=[north.title])).status_code == 403


RESEARCHERS_ROUTES = (
    "/api/v1/findings",
    "/api/v1/recommendations",
    "/api/v1/findings/facets",
    "/api/v1/findings/count",
)


def test_researchers_see_no_identity_on_any_route(client, all_routes, make_key, north, south):
    """No name, number or date of birth of header or text, whatever route they may use, and all dates are shifted."""
    key = make_key("researcher")
    answered = 0
    for method, path, required in all_routes:
        if method == "GET" and required and all(Role.RESEARCHER in each.roles for each in required):
            answer = ask(client, method, filled(path, north), key)
            assert answer.status_code < 500, (path, answer.text)
            found = [identity for identity in north.identities if identity in answer.text]
            assert not found, (path, found)
            if path.startswith("/api/v1/"):
                assert "01/02/2026" not in answer.text, path
            answered += answer.status_code == 200
    assert answered >= 12


def test_researchers_offsets_are_true_in_the_text_that_they_see(client, make_key, north):
    """`text[start:end]` is the finding's text, though the name before it is gone; the sentence stands in the text."""
    key = make_key("researcher")
    (report,) = client.get(f"/api/v1/reports/{north.instance}", key=key).json()["reports"]
    assert "nodule of 5 mm" in report["text"]
    found = client.get(f"/api/v1/studies/{north.study}/findings", key=key).json()["findings"]
    assert [f["text"] for f in found] == ["nodule", "effusion"]
    for finding in found:
        assert report["text"][finding["start"] : finding["end"]] == finding["text"]
        assert finding["sentence"] in report["text"]
        for cue in finding["cues"]:
            assert report["text"][cue["start"] : cue["end"]] == cue["text"]
    (advice,) = client.get("/api/v1/recommendations", key=key).json()["recommendations"]
    assert report["text"][advice["start"] : advice["end"]] == advice["text"]
    # shifted, by the same number of days as the text's own dates
    assert advice["study_date"] < "2026-01-02"
    full = client.get(f"/api/v1/reports/{north.instance}", key=make_key(name="full")).json()["reports"][0]
    assert full["text"] == north.text


@pytest.mark.parametrize("name", ["patient_id", "text", "institution", "station", "calling_ae_title"])
def test_researchers_cannot_ask_for_a_person_or_place(client, make_key, north, name):
    """A hit would tell whose reports they are, or where somebody was, whatever is shown of them."""
    query = {name: "Smith"}
    key = make_key("researcher")
    for path in RESEARCHERS_ROUTES:
        if path == "/api/v1/recommendations" and name != "patient_id":
            continue
        answer = client.get(path, params=query, key=key)
        assert (answer.status_code, answer.json()["reason_code"]) == (403, "not_allowed"), path
    kept = {"filters": query}
    assert client.request("PUT", "/api/v1/cohorts/mine", key=key, json=kept).status_code == 403


def test_researchers_see_no_places_among_the_counts(client, make_key, north):
    """What a cleaned text doesn't say, the facets don't say either; a reader sees it."""
    places = {"institution", "station", "calling_ae_title"}
    shown = client.get("/api/v1/findings/facets", key=make_key("researcher")).json()["facets"]
    assert shown["concept"]
    assert not places & shown.keys()
    assert places <= client.get("/api/v1/findings/facets", key=make_key(name="full")).json()["facets"].keys()


def test_cohorts_that_name_a_person_are_not_there_for_researchers(client, make_key, north):
    """A reader may keep a patient's search; to a researcher it doesn't exist."""
    reader, researcher = make_key(), make_key("researcher")
    body = {"filters": {"patient_id": north.patient_id}}
    assert client.request("PUT", "/api/v1/cohorts/one", key=reader, json=body).status_code == 200
    assert client.get("/api/v1/cohorts", key=researcher).json()["cohorts"] == []
    assert client.get("/api/v1/cohorts/one", key=researcher).status_code == 404
    assert client.get("/api/v1/cohorts/one/findings", key=researcher).status_code == 404


def test_researchers_see_what_holds_now_only(client, make_key, north):
    """Texts are cleaned by the header of the version that holds."""
    key = make_key("researcher")
    path = f"/api/v1/studies/{north.study}/reports"
    assert client.get(path, params={"all_versions": "true"}, key=key).status_code == 403
    assert client.get(path, params={"as_of": "2026-11-22T06:00:00Z"}, key=key).status_code == 403


def test_every_answer_about_patients_is_in_the_trail_before_it_is_given(client, make_key, north, trail, all_routes):
    """Each route for readers, by enumeration: who, from where, which study, how it ended, with codes and no words."""
    key = make_key("admin", name="auditor")
    for method, path, required in all_routes:
        if not required or not all(each.is_audited for each in required):
            continue
        before = len(trail())
        answer = ask(client, method, filled(path, north), key)
        rows = trail()[before:]
        assert len(rows) == 1, (method, path, answer.status_code)
        (row,) = rows
        assert (row.principal, row.role, row.address) == ("auditor", "admin", "203.0.113.5")
        assert row.action == f"{method} {path}"
        expected = Outcome.SUCCESS if answer.status_code < 400 else Outcome.REFUSED
        assert row.outcome is expected, (path, answer.status_code)
        if "{study_instance_uid}" in path:
            assert row.study_instance_uid == north.study, path
        assert not any(name in json.dumps(row.to_json()) for name in ("Quetzalcoatlus",))


def test_what_is_searched_for_is_in_the_trail(client, make_key, north, trail):
    """Codes and identifiers as given, words as a digest, and how many rows went out."""
    key = make_key()
    client.get("/api/v1/findings", params={"concept": "pulmonary_nodule", "text": "Quetzalcoatlus"}, key=key)
    client.get(f"/api/v1/studies/{north.study}/findings", key=key)
    client.get(f"/api/v1/reports/{north.instance}", key=key)
    search, view, report = trail()
    assert search.kind is Kind.QUERY
    assert search.query["concept"] == "pulmonary_nodule"
    assert search.query["text"].startswith("sha256:")
    assert (view.kind, view.study_instance_uid, view.count) == (Kind.VIEW, north.study, 2)
    assert (report.kind, report.study_instance_uid, report.count) == (Kind.VIEW, north.study, 1)
    assert report.query == {"sop_instance_uid": north.instance}
