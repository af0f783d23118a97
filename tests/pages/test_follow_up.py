"""The pages of follow-up and of the course of lesions, without a script."""

from html.parser import HTMLParser

import pytest
from support.app_client import Client

from dicomnlp.serve.app import create_app


@pytest.fixture
def client(hall):
    """A browser without scripts."""
    return Client(create_app(hall.settings, lambda: hall.database))


class Forms(HTMLParser):
    """The forms of a page: action, and the fields that they carry."""

    def __init__(self, text):
        super().__init__()
        self.found = {}
        self._fields = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Fields belong to the form before them."""
        told = dict(attributes)
        if tag == "form":
            self._fields = self.found.setdefault(told.get("action"), {})
        elif tag in {"input", "select"} and "name" in told:
            self._fields[told["name"]] = told.get("value")


def test_an_item_is_dismissed_and_opened_again_by_forms(client, hall):
    """Each with the page's token; the reason stands on the page afterwards."""
    path = f"/follow-up/{hall.item}"
    form = Forms(client.get(path).text).found[f"{path}/dismiss"]
    assert {"csrf_token", "reason", "note"} <= form.keys()
    sent = {"csrf_token": form["csrf_token"], "reason": "declined", "note": "<b>by letter</b>"}
    assert client.post(f"{path}/dismiss", data={**sent, "csrf_token": "x"}).status_code == 403
    assert client.post(f"{path}/dismiss", data={**sent, "reason": "because"}).status_code == 400
    assert client.post(f"{path}/dismiss", data=sent).status_code == 303
    text = client.get(path).text
    assert "declined by the patient: &lt;b&gt;by letter&lt;/b&gt;" in text
    assert f'href="/follow-up/{hall.item}"' in client.get("/follow-up?state=dismissed").text
    assert f'href="/follow-up/{hall.item}"' not in client.get("/follow-up").text
    token = Forms(text).found[f"{path}/reopen"]["csrf_token"]
    assert client.post(f"{path}/reopen", data={"csrf_token": token}).status_code == 303
    assert f'href="/follow-up/{hall.item}"' in client.get("/follow-up").text


@pytest.mark.parametrize(
    ("query", "status"),
    [("state=lost", 422), ("category=any", 422), ("unknown=1", 400), ("anatomy=nosuchplace", 422), ("state=done", 200)],
)
def test_filters_of_the_list(client, query, status):
    """What is none is refused, in words."""
    assert client.get(f"/follow-up?{query}").status_code == status


def test_course_of_a_study_that_is_not_held(client):
    """404, as every page of what isn't there."""
    assert client.get("/studies/1.2.3.4/timeline").status_code == 404
    assert client.get("/follow-up/99999").status_code == 404
