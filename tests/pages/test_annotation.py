"""Annotation in a browser: three reports by keys alone, a second reader who is blind, and a decision."""

import re

import pytest
from support.web_server import run_server

from dicomnlp.model import Assertion
from dicomnlp.store.annotations import read_reading
from dicomnlp.store.keys import add_key
from dicomnlp.store.scope import Scope

api = pytest.importorskip("playwright.sync_api")
expect = api.expect
SENDER = "ANNOTATED"


@pytest.fixture(scope="module")
def closed(hall):
    """The service with logging in."""
    with run_server(hall.settings, authentication="on") as found:
        yield found


@pytest.fixture
def sign_in(browser, closed, hall, reports):
    """A page of somebody who logged in; in the end none has complained, and no script of a report has run."""
    opened = []

    def make(name, role="reader"):
        context = browser.new_context(base_url=closed, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        opened.append((context, page))
        page.set_default_timeout(20_000)
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        secret = add_key(hall.database, name, role, Scope(calling_ae_titles=frozenset({SENDER})))[1]
        page.goto("/login")
        page.locator("input[name=key]").fill(secret)
        page.locator("input[name=key]").press("Enter")
        expect(page).not_to_have_url(re.compile("login"))
        return page

    yield make
    for context, page in opened:
        assert page.evaluate("window.ran") is None
        assert page.complaints == []
        context.close()


def press(page, *keys):
    """Keys, one after the other."""
    for key in keys:
        page.keyboard.press(key)


def place(page, words, concept=None):
    """The list's entry of a finding."""
    found = page.locator(".judged", has_text=f"“{words}”")
    return found.filter(has_text=concept).first if concept else found.first


def begin(page):
    """To the first report of the queue, by keys."""
    page.goto("/annotations")
    press(page, "j", "Enter")
    page.wait_for_url("**/annotate/*")
    return page.url.rsplit("/", 1)[1].partition("?")[0]


def done(page):
    """Mark the report as read; the SOP Instance UID of the next, None when there is none."""
    address = page.url
    press(page, "d")
    expect(page).not_to_have_url(address)
    return page.url.rsplit("/", 1)[1].partition("?")[0] if "/annotate/" in page.url else None


def said(hall, sop, reader):
    """(verdict, words, concept, assertion, side) of what is held of a reader."""
    return [
        (a.verdict.value, a.text, a.concept, a.assertion.value if a.assertion else None, a.laterality)
        for a in read_reading(hall.database, sop, reader).own
    ]


def test_the_whole_loop_by_keys_alone(sign_in, hall, reports):
    """Confirm, reject, undo, relabel, add, confirm the rest, done; a blind second reader; adjudication."""
    page = sign_in("ann")
    order = []
    sop = begin(page)
    while sop is not None:
        order.append(sop)
        text = reports[sop]
        nodule, effusion = place(page, "nodule"), place(page, "effusion")
        expect(nodule).to_have_attribute("aria-current", "true")
        press(page, "y")
        expect(nodule.locator(".verdict")).to_contain_text("confirmed")
        # the next that waits is the current one by itself
        expect(effusion).to_have_attribute("aria-current", "true")
        press(page, "n")
        expect(effusion.locator(".verdict")).to_contain_text("rejected")
        press(page, "u")
        expect(effusion).to_have_class(re.compile("undecided"))
        expect(effusion).to_have_attribute("aria-current", "true")
        if "atelectasis" in text:
            press(page, "r", "3")
            expect(effusion.locator(".verdict")).to_contain_text("possible")
            press(page, "r", "9")
            expect(effusion.locator(".verdict")).to_contain_text("both sides")
            press(page, "a")
            expect(page.locator("#a-words")).to_be_focused()
            page.keyboard.type("basal  Atelectasis")
            press(page, "Tab", "Tab")
            page.keyboard.type("atelectasis")
            press(page, "Enter")
            expect(place(page, "Basal atelectasis").locator(".verdict")).to_contain_text("added")
        press(page, "Y")
        expect(page.locator(".judged.undecided")).to_have_count(0)
        sop = done(page)
    assert sorted(order) == sorted(reports)
    hard = next(sop for sop, text in reports.items() if "atelectasis" in text)
    assert said(hall, hard, "ann") == [
        ("confirm", "nodule", "pulmonary_nodule", "present", None),
        ("relabel", "effusion", "pleural_effusion", "possible", "bilateral"),
        ("add", "Basal atelectasis", "atelectasis", "present", None),
    ]
    expect(page.locator("tr", has_text="ann")).to_contain_text("3")

    # the second reader is led to the same reports, and sees nothing of the first one's answers
    second = sign_in("ben")
    sop, seen = begin(second), []
    while sop is not None:
        seen.append(sop)
        expect(second.locator(".judged")).to_have_count(2)
        assert "ann" not in second.locator("#annotating").inner_text()
        assert second.locator(".verdict").count() == 0
        if sop == hard:
            press(second, "y", "n")
            expect(place(second, "effusion").locator(".verdict")).to_contain_text("rejected")
        else:
            press(second, "Y")
        expect(second.locator(".judged.undecided")).to_have_count(0)
        sop = done(second)
    assert seen == order
    study = read_reading(hall.database, hard, "ben").report.study_instance_uid
    second.goto(f"/studies/{study}/annotate/{hard}")
    expect(place(second, "effusion")).to_contain_text("ann")
    expect(second.locator("#done")).to_have_count(0)

    # agreement, and a decision by keys
    chief = sign_in("chief", "operator")
    chief.goto("/annotations/agreement")
    row = chief.locator("tr", has_text="ann · ben")
    expect(row).to_have_count(1)
    expect(row.locator("td").first).to_have_text("3")
    differing = chief.locator(".disagreements tbody tr", has_text="effusion").first
    expect(differing).to_contain_text("rejected")
    expect(differing).to_contain_text("possible, both sides")
    differing.get_by_role("button", name="possible, both sides").focus()
    press(chief, "Enter")
    chief.wait_for_url("**/agreement#*")
    expect(chief.locator(".disagreements tbody tr", has_text="effusion").first).to_contain_text("Decided")
    [settled] = read_reading(hall.database, hard, "ben").adjudications
    assert (settled.assertion, settled.laterality) == (Assertion.POSSIBLE, "bilateral")


def test_words_selected_in_the_text_are_added_at_their_place(sign_in, hall, reports):
    """Returns and characters beyond 16 bits before them count as the narrative counts them; the second "nodule" too."""
    page = sign_in("cleo")
    hard, text = next((sop, text) for sop, text in reports.items() if "atelectasis" in text)
    study = read_reading(hall.database, hard, "cleo").report.study_instance_uid
    page.goto(f"/studies/{study}/annotate/{hard}")
    at = text.rindex("nodule")
    page.evaluate(
        """() => {
            const walker = document.createTreeWalker(document.querySelector(".report-text"), NodeFilter.SHOW_TEXT);
            let last = null;
            while (walker.nextNode()) if (walker.currentNode.data.includes("nodule again")) last = walker.currentNode;
            const range = document.createRange();
            range.setStart(last, last.data.indexOf("nodule"));
            range.setEnd(last, last.data.indexOf("nodule") + 7);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
        }"""
    )
    press(page, "a")
    expect(page.locator("#a-words")).to_have_value("nodule")
    press(page, "Enter")
    expect(page.locator(".judged .verdict")).to_contain_text("added")
    [added] = read_reading(hall.database, hard, "cleo").own
    assert (added.start, added.end, added.text) == (at, at + 6, "nodule")
    # what no concept is called is told, and what was typed stays
    page.keyboard.press("a")
    page.keyboard.type("again")
    press(page, "Enter")
    expect(page.locator("[data-wrong]")).to_contain_text("No concept is called so")
    expect(page.locator("#a-words")).to_have_value("again")
    page.complaints.clear()  # 422 is told in the console


def test_keys_of_annotation_are_listed_and_turned_off(sign_in, hall, reports):
    """As those of every page."""
    page = sign_in("dora")
    begin(page)
    press(page, "?")
    expect(page.locator("#keys")).to_contain_text("confirm, reject the finding")
    page.locator("#keys-on").uncheck()
    page.locator("h1").click()
    press(page, "y", "n", "d")
    expect(page.locator(".verdict")).to_have_count(0)
    assert all(said(hall, sop, "dora") == [] for sop in reports)
