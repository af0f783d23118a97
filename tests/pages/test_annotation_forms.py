"""Annotation without a script: forms, what is refused and how, and for whom the pages are."""

import pytest
from support.app_client import Client

from dicomnlp.errors import UsageError
from dicomnlp.serve.annotating import find_words, named_concept, trimmed
from dicomnlp.serve.app import create_app
from dicomnlp.store.annotations import read_reading
from dicomnlp.store.keys import add_key
from dicomnlp.store.scope import Scope
from dicomnlp.web_settings import WebSettings

SENDERS = frozenset({"ANNOTATED", "FORMS"})


def said(hall, sop, reader):
    """(verdict, words, concept, assertion, side) of what is held of a reader."""
    return [
        (a.verdict.value, a.text, a.concept, a.assertion.value if a.assertion else None, a.laterality)
        for a in read_reading(hall.database, sop, reader).own
    ]


@pytest.fixture(scope="module")
def ask(hall, reports):
    """Requests with a key of a role, by a browser without scripts."""
    settings = hall.settings.model_copy(update={"web": WebSettings(authentication="on")})
    client = Client(create_app(settings, lambda: hall.database))
    keys = {}

    def request(method, path, reader, role="reader", **arguments):
        if reader not in keys:
            keys[reader] = add_key(hall.database, reader, role, Scope(calling_ae_titles=SENDERS))[1]
        return client.request(method, path, key=keys[reader], headers={"Accept": "text/html"}, **arguments)

    return request


def test_forms_alone_do_it_too(ask, hall, lone_report):
    """Without a script: decide, relabel, add, take back, done, reopen; each leads back to its place."""
    sop, text = lone_report
    study = read_reading(hall.database, sop, "eve").report.study_instance_uid
    base = f"/studies/{study}/annotate/{sop}"
    at = text.index("effusion")
    effusion = {"start": at, "end": at + 8, "finding_concept": "pleural_effusion"}
    answer = ask("POST", f"{base}/decide", "eve", data={**effusion, "verdict": "reject"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{base}?at={at}-{at + 8}-pleural_effusion#at")
    assert 'id="at"' in ask("GET", answer.headers["location"].partition("#")[0], "eve").text
    ask("POST", f"{base}/relabel", "eve", data={**effusion, "assertion": "present"})
    ask("POST", f"{base}/relabel", "eve", data={**effusion, "laterality": "left"})
    ask("POST", f"{base}/relabel", "eve", data={**effusion, "concept": "Pneumothorax"})
    # one after the other, and nothing of it is lost
    assert said(hall, sop, "eve") == [("relabel", "effusion", "pneumothorax", "present", "left")]
    ask("POST", f"{base}/relabel", "eve", data={**effusion, "laterality": "none"})
    assert said(hall, sop, "eve")[0][4] is None
    ask("POST", f"{base}/add", "eve", data={"words": "cardiomegaly", "assertion": "present"})
    [_, added] = read_reading(hall.database, sop, "eve").own
    assert (added.verdict.value, added.concept) == ("add", "cardiomegaly")
    assert ask("POST", f"{base}/withdraw", "eve", data={"annotation": added.id}).status_code == 303
    assert len(said(hall, sop, "eve")) == 1
    assert ask("POST", f"{base}/done", "eve").status_code == 303
    assert ask("POST", f"{base}/undo", "eve").status_code == 422
    assert ask("POST", f"{base}/reopen", "eve").status_code == 303
    assert len(said(hall, sop, "eve")) == 1


@pytest.mark.parametrize(
    ("act", "form"),
    [
        ("decide", {"start": 0, "end": 4, "finding_concept": "nothing", "verdict": "confirm"}),
        ("relabel", {"start": 0, "end": 4, "finding_concept": "nothing", "assertion": "absent"}),
        ("add", {"words": "nothing of the kind", "concept": "cardiomegaly", "assertion": "present"}),
        ("add", {"words": "nodule", "nth": 9, "assertion": "present"}),
        ("add", {"words": " ", "assertion": "present"}),
        ("add", {"start": 0, "end": 99999, "concept": "cardiomegaly", "assertion": "present"}),
        ("add", {"words": "nodule", "concept": "no such thing", "assertion": "present"}),
        ("add", {"words": "nodule", "assertion": "present", "laterality": "upper"}),
        ("withdraw", {"annotation": 999999}),
        ("undo", {}),
    ],
)
def test_what_can_not_be_kept_is_told_on_the_page(act, form, ask, hall, reports):
    """422 with the page, and nothing is written."""
    sop = next(iter(reports))
    study = read_reading(hall.database, sop, "fay").report.study_instance_uid
    answer = ask("POST", f"/studies/{study}/annotate/{sop}/{act}", "fay", data=form)
    assert answer.status_code == 422
    assert "data-wrong" in answer.text
    assert said(hall, sop, "fay") == []


def test_pages_of_annotation_are_for_readers(ask, hall, reports):
    """Not for researchers, not under another study's address, and forms of other pages are refused."""
    sop = next(iter(reports))
    study = read_reading(hall.database, sop, "gus").report.study_instance_uid
    for path in ("/annotations", "/annotations/agreement", f"/studies/{study}/annotate/{sop}"):
        assert ask("GET", path, "gus").status_code == 200
        assert ask("GET", path, "hal", "researcher").status_code == 403
    assert ask("GET", f"/studies/{hall.study}/annotate/{sop}", "gus").status_code == 404
    assert ask("GET", f"/studies/{study}/annotate/{hall.instance}", "gus").status_code == 404
    client = Client(create_app(hall.settings, lambda: hall.database))
    assert client.post(f"/studies/{study}/annotate/{sop}/undo", data={"csrf_token": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("words", "nth", "found"),
    [
        ("A b", 1, (0, 4)),
        ("a  B", 2, (6, 10)),
        ("\U0001f600", 1, (5, 6)),
        ("b.c", 1, None),
        ("a", 3, None),
        ("", 1, None),
    ],
)
def test_words_are_found_as_they_are_typed(words, nth, found):
    """Any blanks and letter case; nothing in them is a pattern."""
    text = "A\r\nb \U0001f600a\r\nb"
    if found is None:
        with pytest.raises(UsageError, match="words"):
            find_words(text, words, nth)
    else:
        assert find_words(text, words, nth) == found


def test_a_place_has_no_blanks_at_its_ends():
    """As a selection by double click has them."""
    assert trimmed("a nodule ", 1, 9) == (2, 8)
    for start, end in ((1, 2), (5, 4), (0, 99)):
        with pytest.raises(UsageError, match="words"):
            trimmed("a nodule ", start, end)


def test_a_concept_is_named_by_the_whole_of_a_name():
    """In either language; part of a name might mean another."""
    assert named_concept("Pleural effusion", "zh") == "pleural_effusion"
    assert named_concept("胸腔积液", "en") == "pleural_effusion"
    assert named_concept("pleural effus", "en") is None
