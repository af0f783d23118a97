"""Status, liveness, readiness and metrics."""

import os
import re
import shutil
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from dicomnlp.errors import DatabaseError
from dicomnlp.store.database import Database
from dicomnlp.store.pressure import HINDRANCES
from dicomnlp.store.status import read_status


def samples(response):
    """Metrics by name and labels."""
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_status_is_what_the_store_reads(client, archive):
    """The same document as the command line prints."""
    archive.add()
    archive.receive(instance="1.2.3.9", keep=False)
    document = client.get("/api/v1/status").json()
    expected = {**read_status(archive.database).to_json(), "refused_overlays": {}, "models": [], "drift": []}
    assert set(document) == set(expected)
    assert document["objects"] == expected["objects"]
    assert document["objects"]["analysed"] == 1


def test_healthz_needs_no_database(make_client):
    """A database that is away is no reason to restart the process."""

    def open_database():
        raise DatabaseError("away", reason_code="database_unreachable")

    response = make_client(open_database).get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_ready_with_database_schema_and_dispatcher(client, database):
    """200, and each thing is ok."""
    with database.hold("dispatcher"):
        response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"database": "ok", "dispatcher": "ok", "intake": "ok"}}


def test_not_ready_without_a_dispatcher(client):
    """503, and it says that nothing is analysed."""
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["reason_code"] == "not_ready"
    assert document["checks"] == {"database": "ok", "dispatcher": "not_running", "intake": "ok"}
    assert "dicomnlp work" in document["detail"]
    assert len(document["missing"]) == 1


def test_not_ready_without_a_database(make_client, settings):
    """503, what is missing, and what to do."""
    response = make_client(lambda: Database.open(settings)).get("/readyz")
    assert response.status_code == 503
    document = response.json()
    assert document["checks"] == {"database": "database_missing", "dispatcher": "unknown", "intake": "unknown"}
    assert "dicomnlp db upgrade" in document["detail"]
    assert "dicomnlp.db" not in response.text


def _paused(client):
    """The reason codes of which the metrics say that no objects are taken."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [s for f in families if f.name == "dicomnlp_intake_paused" for s in f.samples]
    assert {s.labels["reason_code"] for s in samples} == set(HINDRANCES)
    return [s.labels["reason_code"] for s in samples if s.value]


def test_not_ready_when_the_disk_is_full(client, database, settings, monkeypatch):
    """Less than the watermark: everything can be read, and the next object is refused; the metrics say so too."""
    usage, least = shutil.disk_usage("."), settings.database.minimum_free_bytes
    monkeypatch.setattr("dicomnlp.serve.readiness.KEEP_SECONDS", -1.0)
    with database.hold("dispatcher"):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=least - 1))
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"] == {"database": "ok", "dispatcher": "ok", "intake": "disk_full"}
        assert "disk space" in response.json()["missing"][0]
        assert _paused(client) == ["disk_full"]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=least))
        assert client.get("/readyz").status_code == 200
        assert _paused(client) == []


def test_not_ready_after_a_disk_has_failed_a_commit(client, database, settings, monkeypatch):
    """Whichever process found it: red until that has ended."""
    monkeypatch.setattr("dicomnlp.serve.readiness.KEEP_SECONDS", -1.0)
    monkeypatch.setattr("dicomnlp.store.fence.KEEP_SECONDS", -1.0)
    listener = Database.open(settings)
    listener.fence.prepare()
    with database.hold("dispatcher"):
        assert client.get("/readyz").status_code == 200
        listener.fence.close_store()
        assert client.get("/readyz").json()["checks"]["intake"] == "store_read_only"
        assert _paused(client) == ["store_read_only"]
        listener.close()
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("denied", ["dicomnlp.db", "var"])
def test_not_ready_when_the_database_may_not_be_written(client, database, monkeypatch, denied):
    """Its file, or the folder in which the log beside it is made; what else is missing is said too."""
    real = os.access  # permissions don't bind the superuser, who may be running this
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != denied and real(path, mode))
    response = client.get("/readyz")
    assert response.status_code == 503
    document = response.json()
    assert document["checks"] == {"database": "database_read_only", "dispatcher": "not_running", "intake": "ok"}
    assert len(document["missing"]) == 2
    assert "Permission" in document["missing"][0]


def test_looking_for_a_dispatcher_does_not_keep_one_from_starting(client, database):
    """The lock is let go at once."""
    assert client.get("/readyz").status_code == 503
    with database.hold("dispatcher"):
        pass


def test_readiness_follows_the_dispatcher(client, database, monkeypatch):
    """Red, green, red."""
    monkeypatch.setattr("dicomnlp.serve.readiness.KEEP_SECONDS", -1.0)
    assert client.get("/readyz").status_code == 503
    with database.hold("dispatcher"):
        assert client.get("/readyz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_metrics_tell_objects_and_arrivals(client, archive):
    """By state, outcome and reason; states that nothing is in are 0, so that a graph starts there."""
    archive.add()
    archive.receive(instance=f"{archive.instance}.2")
    archive.receive(instance="1.2.3.9", keep=False)
    found = samples(client.get("/metrics"))
    assert found[("dicomnlp_database_up", ())] == 1
    assert found[("dicomnlp_objects", (("state", "analysed"),))] == 1
    assert found[("dicomnlp_objects", (("state", "pending"),))] == 1
    assert found[("dicomnlp_objects", (("state", "failed"),))] == 0
    assert found[("dicomnlp_arrivals", (("outcome", "stored"),))] == 2
    assert found[("dicomnlp_arrivals", (("outcome", "refused"),))] == 1
    assert found[("dicomnlp_arrivals_not_taken", (("reason_code", "unreadable"),))] == 1
    assert found[("dicomnlp_analyses", (("pipeline", archive.pipeline),))] == 1
    assert found[("dicomnlp_oldest_pending_seconds", ())] >= 0
    assert found[("dicomnlp_original_bytes", ())] > 0
    assert found[("dicomnlp_database_bytes", ())] > 0


def test_metrics_count_requests_by_route_and_status(client, archive):
    """Route templates; whatever was asked for that is no route is one label."""
    archive.add()
    client.get(f"/api/v1/studies/{archive.study}/findings")
    client.get(f"/api/v1/studies/{archive.study}/findings")
    client.get("/api/v1/studies/1.2.3.4/findings")
    client.get(f"/{archive.canary}/{archive.canary}")
    response = client.get("/metrics")
    found = samples(response)
    route = ("route", "/api/v1/studies/{study_instance_uid}/findings")
    assert found[("dicomnlp_http_requests_total", (route, ("status", "200")))] == 2
    assert found[("dicomnlp_http_requests_total", (route, ("status", "404")))] == 1
    assert found[("dicomnlp_http_requests_total", (("route", "unmatched"), ("status", "404")))] == 1
    assert found[("dicomnlp_http_request_seconds_count", (route, ("status", "200")))] == 2
    assert archive.canary not in response.text
    assert archive.study not in response.text


def test_metrics_answer_while_the_database_is_away(make_client):
    """With dicomnlp_database_up 0 and the requests of this process."""

    def open_database():
        raise DatabaseError("away", reason_code="database_unreachable")

    found = samples(make_client(open_database).get("/metrics"))
    assert found[("dicomnlp_database_up", ())] == 0
    assert not any(name == "dicomnlp_objects" for name, _ in found)


def test_nothing_of_a_patient_is_in_logs_metrics_status_or_problems(client, archive):
    """The canary is in every object's text and header, and comes out where findings and reports are asked for only."""
    archive.add()
    archive.receive(instance="1.2.3.9", keep=False)
    with structlog.testing.capture_logs() as entries:
        asked = [
            client.get(f"/api/v1/studies/{archive.study}/findings"),
            client.get(f"/api/v1/studies/{archive.study}/reports"),
        ]
        silent = [
            client.get(path)
            for path in (
                "/metrics",
                "/api/v1/status",
                "/readyz",
                "/healthz",
                "/docs",
                "/openapi.json",
                f"/api/v1/studies/{archive.canary}/findings",
                f"/api/v1/studies/{archive.study}/findings?concept={archive.canary}",
                f"/api/v1/studies/{archive.study}/findings?assertion={archive.canary}",
                f"/api/v1/studies/{archive.study}/findings?{archive.canary}={archive.canary}",
            )
        ]
    assert all(archive.canary in response.text for response in asked)
    assert not any(re.search(archive.canary, r.text + str(r.headers), re.IGNORECASE) for r in silent)
    assert archive.canary not in str(entries)
