"""What the service tells of a year: everything that it remarks, asked for over its interface and its command line."""

import datetime as dt
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from department.records import Planted
from department.runs import RunError, Service
from department.scores import Flag

PAGE = "200"
SETTLE_SECONDS = 900.0


def pages(service: Service, path: str, key: str, **parameters: str) -> Iterator[Any]:
    """Each entry of a list that comes in pages."""
    after: dict[str, str] = {}
    while True:
        page = service.get(path, limit=PAGE, **parameters, **after)
        yield from page[key]
        if not page.get("next"):
            return
        after = {"after": page["next"]}


def observe(service: Service, ledger: Iterable[Planted], spans: Iterable[tuple[dt.date, dt.date]]) -> list[Flag]:
    """All that the service remarks on a year.

    Parameters
    ----------
    ledger
        Of the year: of patients with a course and of studies with corrections in it, these are asked for.
    spans
        First and last days of which the archive is compared with what came.
    """
    rows = [row for row in ledger if not row.near]
    return [
        *follow_up(service),
        *critical(service),
        *discrepancies(service),
        *guidance(service),
        *timelines(service, rows),
        *versions(service, rows),
        *(flag for first, last in spans for flag in losses(service, first, last)),
    ]


def follow_up(service: Service) -> Iterator[Flag]:
    """Open items and closed ones, once everything that came was looked at."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not service.get("/api/v1/follow-up", limit="1")["complete"]:
        if time.monotonic() > deadline:
            raise RunError("follow-up is not complete")
        time.sleep(0.2)
    for item in pages(service, "/api/v1/follow-up", "items"):
        yield Flag("follow_up", item["study_instance_uid"], item["text"], item)


def critical(service: Service) -> Iterator[Flag]:
    """The worklist of critical results."""
    for result in pages(service, "/api/v1/critical-results", "results"):
        yield Flag("critical", result["study_instance_uid"], result.get("sentence", ""), result)


def discrepancies(service: Service) -> Iterator[Flag]:
    """Contradictions."""
    for one in pages(service, "/api/v1/discrepancies", "discrepancies"):
        words = f"{one['first']['words']} | {one['second']['words']}"
        yield Flag(one["kind"], one["study_instance_uid"], words, one)


def guidance(service: Service) -> Iterator[Flag]:
    """What guidelines say to findings whose report doesn't."""
    for one in pages(service, "/api/v1/guidance", "guidance"):
        if one["outcome"] in {"not_stated", "undecided", "different"}:
            yield Flag("guidance", one["study_instance_uid"], one["finding"]["words"], one)


def timelines(service: Service, rows: Iterable[Planted]) -> Iterator[Flag]:
    """Courses of lesions, of the patients who have one in the ledger."""
    for row in rows:
        if row.kind == "timeline" and row.facts["counts"]:
            answer = service.get(f"/api/v1/studies/{row.study_instance_uid}/timeline")
            for lesion in answer["lesions"]:
                yield Flag("timeline", row.study_instance_uid, lesion.get("concept", {}).get("meaning", ""), lesion)


def versions(service: Service, rows: Iterable[Planted]) -> Iterator[Flag]:
    """Which of a study's reports count, of those with corrections and addenda in the ledger."""
    for row in rows:
        if row.kind in {"correction", "addendum"}:
            answer = service.get(f"/api/v1/studies/{row.study_instance_uid}/reports", all_versions="true")
            standing = {report["sop_instance_uid"]: report["status"] for report in answer["reports"]}
            yield Flag(row.kind, row.study_instance_uid, "", {"standing": standing})


def losses(service: Service, first: dt.date, last: dt.date) -> Iterator[Flag]:
    """What the archive has and the service lacks."""
    told = service.command("reconcile", "--from", f"{first}", "--to", f"{last}", "--json")
    for line in told.splitlines():
        for one in json.loads(line)["wanting"]:
            yield Flag(str(one["kind"]), one["study_instance_uid"], one["sop_instance_uid"], one)
