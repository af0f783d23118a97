"""Every screen in a real browser: opens, complains of nothing, is accessible, and runs nothing that a report says."""

import re

import pytest
from support.service import make_report

from dicomnlp.serve.interface_language import HTML_LANGUAGES, catalogue

api = pytest.importorskip("playwright.sync_api")
REPEATED = ".document section:nth-of-type(n+4):not(:last-of-type)"
CLEAN = ("serious", "critical")


def screens(hall):
    """Name -> path of every screen."""
    return {
        "worklist": "/",
        "study": f"/studies/{hall.study}",
        "beside": f"/studies/{hall.study}?beside={hall.chinese_instance}",
        "chinese": f"/studies/{hall.chinese}",
        "versions": f"/studies/{hall.chain}?report={hall.preliminary}",
        "search": "/search?concept=nodule&assertion=present",
        "counts": "/search/counts?concept=nodule",
        "follow_up": "/follow-up?state=all",
        "follow_up_item": f"/follow-up/{hall.item}",
        "timeline": f"/studies/{hall.study}/timeline",
        "critical": "/critical-results?state=all",
        "deliveries": "/deliveries",
        "second_look": "/second-look",
        "guidance": "/second-look/guidance",
        "quality": "/second-look/quality",
        "status": "/status",
        "ledger": "/ledger",
        "quarantine": "/quarantine",
        "annotations": "/annotations",
        "annotate": f"/studies/{hall.study}/annotate/{hall.instance}",
        "agreement": "/annotations/agreement",
        "pipelines": "/pipelines",
        "pipeline": "/pipelines/next",
        "docs": "/docs",
        "error": "/studies/1.2.3.4",
    }


_IDENTIFIERS = ("study", "instance", "chinese_instance", "chinese", "chain", "preliminary", "item")
NAMES = tuple(screens(type("Hall", (), dict.fromkeys(_IDENTIFIERS))))


def serious_findings(page):
    """What axe finds of it that is serious: rule, impact, and the first elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found if v["impact"] in CLEAN]


@pytest.mark.parametrize("name", NAMES)
def test_screens_are_accessible_in_both_themes_and_languages(name, open_page, hall):
    """Axe finds nothing serious; no error in the console, nothing that the content policy had to stop."""
    status = 404 if name == "error" else 200
    page = open_page(screens(hall)[name], status=status)
    # contrast is the theme's, names are the language's: two of the four show all
    for language, theme in (("en", "light"), ("zh", "dark")):
        path = screens(hall)[name]
        page.goto(f"{path}{'&' if '?' in path else '?'}lang={language}&theme={theme}")
        # one operation is described as the other
        page.evaluate(f"for (const section of document.querySelectorAll('{REPEATED}')) section.remove()")
        if name == "search":
            page.locator("#counts b").first.wait_for()
        assert serious_findings(page) == [], (language, theme)
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[language]
        assert page.locator("h1").count() == 1
    if status != 200:
        page.watched.complaints.clear()


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_pages_of_the_login_are_accessible_in_both_themes_and_languages(language, theme, open_page, guarded_address):
    """The form, the form after a wrong key and after a login that the provider refused, and the page that leads on."""
    shown = f"lang={language}&theme={theme}"
    words = catalogue(language).words

    def look(page, says):
        if says is not None:
            page.get_by_text(words[says]).first.wait_for()
        assert serious_findings(page) == []
        assert page.locator("html").get_attribute("lang") == HTML_LANGUAGES[language]
        assert page.locator("h1").count() == 1

    page = open_page(f"/login?next=/search&{shown}", base_url=guarded_address)
    look(page, "login.lead")
    page.get_by_label(words["login.key"]).fill("dicomnlp_wrong")
    page.locator("form[action='/login'] button").click()
    look(page, "login.reason.not_authenticated")
    page.goto("/login/callback?code=code&state=of-another-browser")
    look(page, "login.reason.state_unknown")
    page.watched.complaints.clear()  # that both are refusals is told too
    # the page that leads on is left at once: what it is made of is looked at where it stays
    page.goto("/login?next=/search")
    way = page.locator("a[href^='/login/provider']").get_attribute("href")
    body = page.request.get(way).text()
    refresh = '<meta http-equiv="refresh" content="0; url=/search">'
    assert refresh in body
    page.route("**/leads-on", lambda route: route.fulfill(body=body.replace(refresh, ""), content_type="text/html"))
    page.goto("/leads-on")
    look(page, "login.done")
    page.goto("/search")
    look(page, None)


@pytest.mark.parametrize("name", NAMES)
def test_screens_work_without_script(name, open_page, hall):
    """Their content is there, and no link leads nowhere."""
    status = 404 if name == "error" else 200
    page = open_page(screens(hall)[name], status=status, java_script_enabled=False)
    assert page.locator("main").inner_text().strip()
    for link in page.locator("main a[href^='#']").all()[:50]:
        assert page.locator(link.get_attribute("href")).count() == 1
    page.watched.complaints.clear()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_report_says_becomes_markup(name, open_page, hall):
    """T20: script in text, names, titles and AE titles is shown as it is written, and never runs."""
    status = 404 if name == "error" else 200
    page = open_page(screens(hall)[name], status=status)
    for mark in page.locator(".report-text .mark").all()[:3]:
        mark.hover()
    assert page.evaluate("window.ran") is None
    assert page.locator("img, svg, b[onload], main script").count() == 0


def test_hostile_words_are_shown_as_they_are_written(open_page, hall):
    """What isn't shown can't run either: that would prove nothing."""
    page = open_page("/")
    assert '">' + '<img src=x onerror="window.ran=1">' in page.locator("#list").inner_text()
    assert "<svg/onload=a()>" in page.locator("#list").inner_text()
    page.goto(f"/studies/{hall.study}")
    assert '<img src=x onerror="window.ran=1">' in page.locator(".report-text").inner_text()


@pytest.mark.parametrize("study", ["study", "chinese", "chain"])
def test_marks_are_the_words_of_their_findings(study, open_page, hall):
    """Each finding's pieces in the page, put together, are its text: returns, astral characters and Chinese too."""
    uid = getattr(hall, study)
    page = open_page(f"/studies/{uid}")
    findings = page.request.get(f"/api/v1/studies/{uid}/findings").json()["findings"]
    assert findings
    for finding in findings:
        pieces = page.locator(f"[data-findings~='{finding['id']}']").all()
        assert "".join(piece.evaluate("e => e.textContent") for piece in pieces) == finding["text"]


def test_a_mark_tells_of_its_finding_by_pointer_and_by_keyboard(open_page, hall):
    """Cue, code, site and sizes beside the words, and the cue lit in the text; gone with Escape."""
    page = open_page(f"/studies/{hall.study}")
    card = page.locator("#card")
    assert not card.is_visible()
    mark = page.locator(".mark.absent").first
    mark.hover()
    assert "Pleural effusion" in card.inner_text()
    assert "“No”" in card.inner_text()
    assert "negation" in card.inner_text()
    assert page.locator(".cue.lit").inner_text() == "No"
    page.keyboard.press("Escape")
    assert not card.is_visible()
    assert page.locator(".lit").count() == 0
    page.locator(".mark.critical").first.focus()
    told = card.inner_text()
    for words in (
        "Pulmonary nodule",
        "critical",
        "427359005",
        "Upper lobe of right lung",
        "right",
        "6 mm",
        "before: 4 mm",
    ):
        assert words in told
    assert page.locator(".mark.critical").first.get_attribute("aria-describedby") == "card"


def test_keys_reach_everything(open_page, hall):
    """Skip link first, focus seen; j and k walk, ? lists, digits go; all of it can be turned off."""
    page = open_page("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    # it slides in
    api.expect(page.locator(".skip")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.id")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert first.startswith("study-")
    assert page.evaluate("document.activeElement.id") == first
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.press("j")
    assert page.locator("#find").input_value() == "j"
    page.locator("h1").click()
    page.keyboard.press("?")
    assert page.locator("#keys-on").is_visible()
    page.locator("#keys-on").uncheck()
    page.locator("h1").click()
    page.keyboard.press("2")
    assert page.evaluate("location.pathname") == "/"
    page.locator("#keys-on").check()
    page.locator("h1").click()
    page.keyboard.press("2")
    page.wait_for_url("**/search")
    page.goto(f"/studies/{hall.study}")
    page.keyboard.press("]")
    assert page.evaluate("document.activeElement.getAttribute('href')").startswith("#section-")
    page.keyboard.press("c")
    assert "critical" in page.evaluate("document.activeElement.className")


def test_the_worklist_shows_what_comes_in(open_page, hall):
    """Without a reload, and only when something has changed."""
    page = open_page("/")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    row = page.locator("#list tbody tr").first
    assert "T-9001" not in row.inner_text()
    with page.expect_request("**/live?**"):
        pass
    assert not [url for url in asked if not re.search(r"/live\?|/static/", url)]
    hall.receive(9001, make_report(9001, "x", patient_id="T-9001"))
    page.locator("#list tbody tr", has_text="T-9001").wait_for()
    assert page.locator("#list tbody tr").first.inner_text().count("waiting") == 1


def test_search_counts_and_results_follow_the_form(open_page):
    """A filter ticked changes results, counts, facets and address; a facet is a link to the narrower search."""
    page = open_page("/search")
    page.locator("#f-concept").fill("nodule")
    page.locator("#f-concept").press("Enter")
    page.locator("#counts b").first.wait_for()
    everything = int(page.locator("#counts b").first.inner_text())
    page.locator("input[name=assertion][value=possible]").check()
    page.wait_for_url(re.compile("assertion=possible"))
    api.expect(page.locator("#counts b").first).not_to_have_text(str(everything))
    assert 0 < int(page.locator("#counts b").first.inner_text()) < everything
    assert set(page.locator("#results tbody td:nth-child(2)").all_inner_texts()) == {"possible"}
    page.goto("/search?concept=nodule")
    page.locator("#counts a", has_text="Chinese").click()
    page.wait_for_url(re.compile("language=zh"))
    assert "右肺上叶见一结节" in page.locator("#results").inner_text()


def test_concepts_are_found_by_words_of_either_language(open_page):
    """Suggestions while typing, and words instead of ids."""
    page = open_page("/search?lang=zh")
    page.locator("#f-concept").press_sequentially("肺结")
    page.locator("#o-concept option[value=pulmonary_nodule]").wait_for(state="attached")
    page.goto("/search?concept=肺结节&assertion=present")
    assert page.locator("#f-concept").input_value() == "pulmonary_nodule"
    assert page.locator("#results tbody tr").count() >= 12
    page.goto("/search?concept=no+such+thing&lang=en")
    assert page.locator("[role=alert]").inner_text() == "Finding: nothing is called so."
    page.watched.complaints.clear()  # 422 is told in the console


def test_a_search_is_kept_and_forgotten(open_page):
    """By forms, with and without script."""
    for script in (True, False):
        page = open_page("/search?concept=nodule&assertion=present", java_script_enabled=script)
        page.locator("#cohort-name").fill("<i>nodules")
        page.get_by_role("button", name="Keep", exact=True).click()
        link = page.get_by_role("link", name="<i>nodules")
        assert "assertion=present" in link.get_attribute("href")
        page.get_by_role("button", name="Forget").click()
        assert page.get_by_role("link", name="<i>nodules").count() == 0


def test_failed_objects_are_tried_again_by_the_button(open_page, hall):
    """The row goes, and the object waits."""
    page = open_page("/status")
    assert "bad_xml" in page.locator("main").inner_text()
    page.get_by_role("button", name="Try failed ones again").click()
    page.wait_for_url("**/status")
    assert "bad_xml" not in page.locator("main").inner_text()


def test_plots_are_drawn_and_told_as_tables(open_page):
    """Three canvases with script; the tables are there in any case."""
    page = open_page("/status")
    page.locator(".u-wrap canvas").nth(2).wait_for()
    page.locator(".plots details summary").first.click()
    assert page.locator(".plots tbody tr").first.is_visible()


def test_refusals_are_in_the_ledger_and_filtered_by_reason(open_page):
    """Each reason is a link to all arrivals of it."""
    page = open_page("/ledger?outcome=refused")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="object too large").click()
    page.wait_for_url(re.compile("reason=object_too_large"))
    assert page.locator("tbody tr").count() == 1


def test_versions_and_what_they_changed_are_told(open_page, hall):
    """The final report counts; the preliminary one can be read; the difference is a table."""
    page = open_page(f"/studies/{hall.chain}")
    assert "A nodule" in page.locator(".report-text").inner_text()
    versions = page.locator("section", has_text="Everything received").locator("tbody tr").all_inner_texts()
    assert ["superseded" in row for row in versions] == [True, False]
    changed = page.locator("section", has_text="What the latest report changed")
    assert "absent" in changed.inner_text()
    assert "present" in changed.inner_text()
    page.goto(f"/studies/{hall.chain}?report={hall.preliminary}")
    assert "No nodule" in page.locator(".report-text").inner_text()


def test_another_patients_report_is_never_put_beside(open_page, hall):
    """Only of the patient's own; else as if it weren't there."""
    page = open_page(f"/studies/{hall.study}?beside={hall.final}", status=404)
    page.goto(f"/studies/{hall.study}?beside={hall.chinese_instance}")
    assert page.locator(".report-text").count() == 2
    page.watched.complaints.clear()


def test_preferences_are_kept(open_page):
    """Language and theme by a link, then on every page; text fits where Chinese is wider or narrower."""
    page = open_page("/")
    page.get_by_role("link", name="中文").click()
    page.get_by_role("link", name="深色").click()
    page.goto("/status")
    assert page.locator("h1").inner_text() == "状态"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 100
    for path in ("/", "/search?concept=nodule", "/follow-up", "/status", "/ledger"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_sizes_are_plotted(open_page, hall):
    """One canvas a lesion with two sizes or more, and the table that says the same."""
    page = open_page(f"/studies/{hall.study}/timeline")
    assert page.locator(".plot canvas").count() == page.locator(".plot").count() == 1
    assert page.locator("section.panel").filter(has=page.locator("canvas")).locator(".scroll tbody tr").count() == 2
