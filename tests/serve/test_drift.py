"""Drift by HTTP, in the metrics and in the status; and which trained models are in use."""

import dataclasses
import json

import numpy as np
import pytest
from support.drifted import WEEK, count_weeks

from dicomnlp.analyse import use_models
from dicomnlp.analyse.learned_files import AssertionPart, Card, Split, write_folder
from dicomnlp.config import Settings
from dicomnlp.learn.models import put_in_use, register
from dicomnlp.reading_settings import LearnSettings
from dicomnlp.serve.models_in_use import ModelsInUse
from dicomnlp.store.drift import acknowledge_drift

from .conftest import INSTANCE, STUDY


@pytest.fixture
def drifted(archive):
    """An archive with a report, and an alarm of the week that it is said to be of."""
    count_weeks(archive.database, objects=(archive.add(), 9))
    return archive


def test_weeks_are_told_with_what_moved_and_reports_that_show_it(client, drifted):
    """The latest first; the reference, and the shares over all reports."""
    weeks = client.get("/api/v1/drift", params={"language": "en"}).json()["weeks"]
    assert [week["state"] for week in weeks] == ["alarm", "stable", "stable", *["no_reference"] * 4]
    alarm, stable = weeks[:2]
    assert (alarm["week"], alarm["reference_to"], alarm["reports"]) == (WEEK, stable["week"], 40)
    assert alarm["shares"] == {"assertion.present": 1.0, "words.unknown": 0.0}
    assert stable["shares"]["assertion.absent"] == 0.8
    move = next(m for m in alarm["moves"] if (m["source"], m["measure"]) == ("station_name:ROOM2", "present"))
    assert (move["item"], move["before"], move["now"]) == ("pleural_effusion", 0.2, 1.0)
    everywhere = next(m for m in alarm["moves"] if (m["source"], m["measure"]) == ("all", "present"))
    assert everywhere["examples"] == [{"study_instance_uid": STUDY, "sop_instance_uid": INSTANCE}]
    assert client.get("/api/v1/drift", params={"limit": 1}).json()["weeks"] == weeks[:1]
    assert client.get("/api/v1/drift", params={"language": "zh"}).json()["weeks"] == []


NO_ALARM = (
    ({"language": "en", "week": "2026-11-09"}, 404),  # a stable week
    ({"language": "zh", "week": WEEK}, 404),
    ({"language": "en"}, 422),
    ({"language": "en", "week": "now"}, 422),
)


def test_an_alarm_is_in_metrics_and_status_until_it_is_acknowledged(client, drifted):
    """Then the status says that somebody has seen it, and who is told with the week."""
    assert 'dicomnlp_drift_alarms{language="en"} 1.0' in client.get("/metrics").text
    [told] = client.get("/api/v1/status").json()["drift"]
    assert (told["language"], told["week"], told["acknowledged"]) == ("en", WEEK, False)
    assert told["moves"] > 0
    for wrong, status in NO_ALARM:
        answer = client.request("POST", "/api/v1/drift/acknowledgements", json=wrong)
        assert answer.status_code == status, wrong
    assert client.get("/api/v1/status").json()["drift"] == [told]
    body = {"language": "en", "week": "2026-11-18"}  # any day of it
    answer = client.request("POST", "/api/v1/drift/acknowledgements", json=body)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["acknowledged_by"]) == ("acknowledged", "local")
    assert 'dicomnlp_drift_alarms{language="en"} 0.0' in client.get("/metrics").text
    assert client.get("/api/v1/status").json()["drift"] == [{**told, "acknowledged": True}]


def test_the_page_names_what_moved_and_acknowledges(client, drifted):
    """With a link to a report; the form takes whoever operates the service."""
    page = client.get("/drift").text
    assert f'href="/studies/{STUDY}?report={INSTANCE}"' in page
    assert "ROOM2" in page
    form = {"language": "en", "week": WEEK}
    sent = client.request("POST", "/drift/acknowledgements", data=form)
    assert sent.status_code in {303, 403}  # without the page's token it is none of ours
    acknowledge_drift(drifted.database, "en", WEEK, "anna")
    assert "anna" in client.get("/drift").text
    plots = client.get("/drift/plots").json()
    assert plots["assertion.absent"] == [80.0] * 6 + [None]
    assert len(plots["start"]) == 7


def test_an_empty_archive_has_a_page_and_no_weeks(client):
    """Before anything was counted."""
    assert client.get("/drift").status_code == 200
    assert client.get("/api/v1/drift").json() == {"weeks": []}
    assert client.get("/drift/plots").json()["start"] == []
    assert client.get("/api/v1/status").json()["drift"] == []


# --- models --------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path):
    """A site's folder with a model that was promoted for English; no test leaves it to the next."""
    folder = tmp_path / "models"
    part = AssertionPart(length=16, certain={})
    card = Card(
        format=1,
        name="chest-1",
        language="en",
        created_at="2026-11-20T08:00:00Z",
        pipeline="en-1",
        assertion=part,
        split=Split(seed="1", held_out=0.2),
        data={},
        scores={},
    )
    folder.mkdir()
    write_folder(folder / "chest-1", card, {"assertion": np.zeros(part.outputs * 17, dtype=np.float32)})
    register(folder, "chest-1")
    put_in_use(folder, "en", "chest-1", "promote", "passed")
    yield folder
    use_models(None)


@pytest.fixture
def site(database, settings, models, make_client):
    """A client of a service that has these models."""
    return make_client(lambda: database, settings.model_copy(update={"learn": LearnSettings(models=models)}))


def told(client):
    """Name, whether it is in use, and why not, of each model of the status."""
    return [(m["name"], m["in_use"], m["reason_code"]) for m in client.get("/api/v1/status").json()["models"]]


def test_status_lists_models_in_use_and_those_that_were_refused(site, models):
    """With the reason: changed, poisoned, gone; each is seen without a restart."""
    assert told(site) == [("chest-1", True, None)]
    weights = models / "chest-1" / "assertion.npy"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-4] + b"\0\0\x80\x3f")
    assert told(site) == [("chest-1", False, "model_changed")]
    assert "model_changed" in site.get("/status").text
    weights.write_bytes(sound)
    (models / "chest-1" / "weights.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert told(site) == [("chest-1", False, "model_unsafe")]
    (models / "chest-1").rename(models / "elsewhere")
    assert told(site) == [("chest-1", False, "model_missing")]


def test_status_tells_of_a_registry_that_can_not_be_read(site, models):
    """No model is used then."""
    (models / "registry.json").write_text("{")
    assert told(site) == [("", False, "model_registry")]


def test_models_are_looked_at_once(models, monkeypatch):
    """A status that is asked for again and again reads no weights."""
    looked = []
    known = ModelsInUse(Settings(learn=LearnSettings(models=models)))
    monkeypatch.setattr("dicomnlp.serve.models_in_use._refused", lambda *_: looked.append(1) or {})
    assert known.read() == known.read()
    assert len(looked) == 1
    registry = json.loads((models / "registry.json").read_text())
    (models / "registry.json").write_text(json.dumps(registry, indent=1))
    assert [dataclasses.astuple(m)[1] for m in known.read()] == ["chest-1"]
    assert len(looked) == 2
