"""Drift in a real browser: accessible, plotted, told as a table, and acknowledged by a button."""

import pytest
from support.drifted import WEEK, count_weeks

from dicomnlp.store.drift import read_alarms
from dicomnlp.store.queries import reports_of_study

api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def drifted(hall):
    """The hall, with an alarm in each of two languages: of the reports of a study that it has."""
    first = next(iter(reports_of_study(hall.database, hall.study))).object_id
    for language in ("en", "zh"):
        count_weeks(hall.database, language, objects=(first, first))
    return hall


def test_the_page_is_accessible_in_both_languages_and_themes(open_page, drifted):
    """Axe finds nothing serious, with an alarm and its plots."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page("/drift")
    for path in ("/drift", "/status"):
        for language, theme in (("en", "light"), ("zh", "dark")):
            page.goto(f"{path}?lang={language}&theme={theme}")
            page.locator(".plot canvas").first.wait_for()
            found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
            assert [v["id"] for v in found if v["impact"] in {"serious", "critical"}] == [], (path, language)
            assert page.locator("h1").count() == 1


def test_weeks_are_plotted_by_their_dates_and_told_as_a_table(open_page, drifted):
    """Three plots; the axis tells days, not minutes."""
    page = open_page("/drift?language=en")
    page.locator(".plot canvas").nth(2).wait_for()
    assert page.locator(".plot canvas").count() == 3
    page.locator(".plot .u-over").first.hover()
    page.wait_for_function("/^2026-1[01]-/.test(document.querySelector('.plot .u-value').textContent)")
    assert page.locator(f"tbody th:has-text('{WEEK}')").count() == 1
    assert page.locator("tbody tr:has-text('ROOM2')").count() > 0


def test_an_example_leads_to_its_report_and_the_button_acknowledges(open_page, drifted):
    """Without a script, too; whoever did it is named, and the other language's alarm stands."""
    page = open_page("/drift?language=en", java_script_enabled=False)
    link = page.locator("a:has-text('Report 1')").first
    assert f"/studies/{drifted.study}?report=" in link.get_attribute("href")
    page.get_by_role("button", name="Acknowledge").click()
    page.locator("text=acknowledged").first.wait_for()
    assert {(a.language, a.acknowledged_by) for a in read_alarms(drifted.database)} == {("en", "local"), ("zh", "")}
    link.click()
    assert drifted.study in page.url
