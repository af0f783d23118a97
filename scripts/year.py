"""A department's year through the real service: what was planted in it, what was noticed, and what was not.

    python scripts/year.py FOLDER                     2,000 patients, about 8,000 reports: half an hour on two cores
    python scripts/year.py FOLDER --patients 40       in small
    python scripts/year.py FOLDER --score             only looks again at a year that has come

Invents patients, their reports in two languages and what happens to them (see `department/`), and writes the ledger of
what was planted to FOLDER/ledger.jsonl before anything is sent. An Orthanc is the PACS: it gets everything and forwards
it by C-STORE to `dicomnlp serve`, month by month, but for reports that are withheld. Then the service is asked for all
that it remarks, and each kind is scored: FOLDER/scores.json has every row that was missed and all that was remarked
elsewhere, FOLDER/scores.md the table.

Stopped, it goes on from the month in which it was when the same command is given. A year ends on the day on which it
was begun, as follow-up is due by the calendar. Needs Orthanc (the Debian package). Exit code 1: something was remarked
without a cause on more than two in a hundred reports.
"""

import argparse
import datetime as dt
import json
import sys
from pathlib import Path

from department.archive import Orthanc
from department.course import FULL, Year
from department.kinds import KINDS
from department.observing import observe
from department.records import read_ledger, write_ledger
from department.runs import AE_TITLE, ARCHIVE, Service, feed, free_ports, today
from department.scores import NOT_PLANTED, as_table, score
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def main() -> int:
    """Let the year come, and score it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--score", action="store_true", help="send nothing: look again at a year that has come")
    asked = parser.parse_args()
    console = Console(stderr=True)
    asked.folder.mkdir(parents=True, exist_ok=True)
    year = _year(asked.folder / "year.json", asked.seed, asked.patients)
    courses = year.courses()
    documents = [document for course in courses for document in course.documents]
    ledger_file = asked.folder / "ledger.jsonl"
    if not ledger_file.exists():
        write_ledger((row for course in courses for row in course.planted), ledger_file)
    ledger = list(read_ledger(ledger_file))
    console.print(f"{len(documents)} documents of {year.patients} patients; {len(ledger)} rows in the ledger")
    ports = free_ports()
    with (
        Service(asked.folder / "service", ports) as service,
        Orthanc(asked.folder / "archive", *ports[2:], ae_title=ARCHIVE, peer=(AE_TITLE, ports[0])) as archive,
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as progress,
    ):
        if not asked.score:
            task = progress.add_task("the year", total=len(documents))
            feed(
                documents,
                archive,
                service,
                asked.folder / "months.json",
                lambda what, done, total: progress.update(task, description=what, completed=done, total=total),
            )
        progress.add_task("what is remarked", total=None)
        flags = observe(service, ledger, [(year.last_day - dt.timedelta(days=366), year.last_day)])
    reports = sum(not document.is_image for document in documents)
    scores = score(KINDS, ledger, flags, reports)
    table = as_table(scores)
    (asked.folder / "scores.json").write_text(
        json.dumps([one.to_json() for one in scores], ensure_ascii=False, indent=1), encoding="utf-8"
    )
    (asked.folder / "scores.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    too_many = [one.kind for one in scores if one.elsewhere > NOT_PLANTED]
    if too_many:
        console.print(f"remarked elsewhere on more than {NOT_PLANTED:.0%} of reports: {', '.join(too_many)}")
    return int(bool(too_many))


def _year(file: Path, seed: int, patients: int) -> Year:
    """The year that `file` tells of; it is written where there is none yet."""
    if not file.exists():
        file.write_text(
            json.dumps({"seed": seed, "patients": patients, "last_day": f"{today():%Y-%m-%d}"}), encoding="utf-8"
        )
    told = json.loads(file.read_text(encoding="utf-8"))
    if (told["seed"], told["patients"]) != (seed, patients):
        raise SystemExit(f"{file} is of another year: --seed {told['seed']} --patients {told['patients']}")
    return Year(told["seed"], told["patients"], dt.date.fromisoformat(told["last_day"]))


if __name__ == "__main__":
    sys.exit(main())
