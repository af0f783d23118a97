"""DICOM audit messages: each kind of row by the schema of PS3.15 A.5.1, with the codes of its message."""

import base64
import datetime as dt
import json
from pathlib import Path

import pytest
from lxml import etree

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.audit.messages import to_xml
from dicomnlp.audit.reading import Recorded

STUDY = "1.2.826.0.1.3680043.10.543.1"
SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).parent / "schema.rng"))


def row(kind, **given):
    """A row of that kind."""
    about = {
        "id": 7,
        "at": dt.datetime(2026, 11, 22, 16, 0, 0, 123456, dt.UTC),
        "action": "GET /api/v1/findings",
        "principal": "viewer",
        "role": "reader",
        "address": "10.1.2.3",
        "outcome": Outcome.SUCCESS,
        "study_instance_uid": None,
        "query": None,
        "count": None,
        "hash": "a" * 64,
        **given,
    }
    return Recorded(kind=kind, **about)


def parsed(made, patient_ids=()):
    """The message of a row, held against the schema."""
    root = etree.fromstring(to_xml(made, "findings.example.org", patient_ids))
    assert SCHEMA.validate(root), SCHEMA.error_log
    return root


MESSAGES = [
    (Kind.QUERY, {"query": {"concept": "nodule"}}, "110112", "E", None),
    (Kind.VIEW, {"study_instance_uid": STUDY}, "110103", "R", None),
    (Kind.VIEW, {}, "110103", "R", None),
    (Kind.EXPORT, {"action": "export"}, "110106", "R", None),
    (Kind.TRANSFER, {"study_instance_uid": STUDY}, "110104", "C", None),
    (Kind.ASSOCIATION, {"role": "", "query": {"called_ae_title": "US", "end": "released"}}, "110104", "C", None),
    (Kind.ASSOCIATION, {"outcome": Outcome.REFUSED, "query": {"reason": "calling_ae_title"}}, "110113", "E", "110126"),
    (Kind.LOGIN, {"action": "login by key"}, "110114", "E", "110122"),
    (Kind.LOGIN, {"action": "logout"}, "110114", "E", "110123"),
    (Kind.LOGIN, {"action": "api key", "principal": "unknown", "outcome": Outcome.REFUSED}, "110114", "E", "110122"),
    (Kind.ALERT, {"count": 10, "action": "locked after wrong keys"}, "110113", "E", "110126"),
    (Kind.ADMIN, {"action": "keys add"}, "110113", "E", "110137"),
    (Kind.ADMIN, {"action": "POST /api/v1/reprocess"}, "110103", "U", None),
    (Kind.ACTIVITY, {"action": "serve started", "address": ""}, "110100", "E", "110120"),
    (Kind.ACTIVITY, {"action": "serve stopped", "address": ""}, "110100", "E", "110121"),
    (Kind.AUDIT, {"action": "audit show"}, "110101", "R", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "event", "action", "event_type"), MESSAGES)
def test_each_kind_is_the_message_that_the_standard_has_for_it(kind, given, event, action, event_type):
    """Valid by the schema; event, action and type by their codes; who, and who reports."""
    root = parsed(row(kind, **given))
    identification = root.find("EventIdentification")
    assert identification.find("EventID").get("csd-code") == event
    assert identification.get("EventActionCode") == action
    found = identification.find("EventTypeCode")
    assert (found.get("csd-code") if found is not None else None) == event_type
    requestors = [p for p in root.findall("ActiveParticipant") if p.get("UserIsRequestor") == "true"]
    assert [p.get("UserID") for p in requestors] == [given.get("principal", "viewer")]
    assert root.find("AuditSourceIdentification").get("AuditSourceID") == "dicomnlp"


def test_every_kind_of_row_has_its_message():
    """A new kind without one fails here."""
    assert {kind for kind, *_ in MESSAGES} == set(Kind)


@pytest.mark.parametrize(
    ("outcome", "indicator"), [(Outcome.SUCCESS, "0"), (Outcome.REFUSED, "4"), (Outcome.FAILED, "8")]
)
def test_outcomes_are_the_standards(outcome, indicator):
    """Nothing, minor failure, serious failure."""
    root = parsed(row(Kind.VIEW, outcome=outcome))
    assert root.find("EventIdentification").get("EventOutcomeIndicator") == indicator


def test_study_and_patient_are_named_by_identifier():
    """Study Instance UID and patient's number; no name."""
    root = parsed(row(Kind.VIEW, study_instance_uid=STUDY, count=3), ["P-17", "P-18"])
    objects = root.findall("ParticipantObjectIdentification")
    assert [o.get("ParticipantObjectID") for o in objects] == [STUDY, "P-17", "P-18"]
    assert [o.find("ParticipantObjectIDTypeCode").get("csd-code") for o in objects] == ["110180", "2", "2"]
    assert [o.get("ParticipantObjectTypeCode") for o in objects] == ["2", "1", "1"]
    assert objects[0].find(".//StudyIDs").get("UID") == STUDY


def test_query_is_told_with_what_was_asked():
    """Base64 of the filters, words as they are in the trail."""
    query = {"concept": "nodule", "text": "sha256:0123456789abcdef"}
    root = parsed(row(Kind.QUERY, query=query, count=12))
    asked = root.find("ParticipantObjectIdentification")
    assert json.loads(base64.b64decode(asked.findtext("ParticipantObjectQuery"))) == query


@pytest.mark.parametrize(
    ("address", "kind"), [("10.1.2.3", "2"), ("2001:db8::7", "2"), ("ward-7.example.org", "1"), ("beef", "1")]
)
def test_addresses_are_told_as_numbers_or_names(address, kind):
    """1 is a machine's name, 2 an IP address."""
    participant = parsed(row(Kind.QUERY, address=address)).find("ActiveParticipant")
    assert participant.get("NetworkAccessPointTypeCode") == kind


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\x0bb", "张\U0001f600", "\"&'", "a\ufffeb"])
def test_whatever_somebody_calls_himself_the_message_is_xml(text):
    """AE titles and names are other people's text."""
    root = parsed(row(Kind.ASSOCIATION, principal=text, query={"called_ae_title": text, "end": "released"}), [text])
    assert root.find("ActiveParticipant").get("UserID").startswith(text[0])
