"""What reprocessing would change, told finding by finding."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.progress import track

from dicomnlp.cli.context import err, write_line
from dicomnlp.model import State

if TYPE_CHECKING:
    from dicomnlp.config import Settings
    from dicomnlp.store.answers import StoredFinding
    from dicomnlp.store.database import Database
    from dicomnlp.work.difference import Difference


def show_differences(settings: "Settings", database: "Database", object_ids: Sequence[int], *, as_json: bool) -> None:
    """Print what would change of these objects; as text followed by what changed most often."""
    from dicomnlp.work.difference import differences

    reports = findings = 0
    kinds: Counter[tuple[str, str]] = Counter()
    watched = track(
        differences(settings, database, object_ids), "comparing", total=len(object_ids), console=err, transient=True
    )
    for difference in watched:
        if as_json:
            write_line(json.dumps(difference.to_json(), ensure_ascii=False))
        elif not difference.is_none or difference.state is State.FAILED:
            _print(difference)
        reports += not difference.is_none
        findings += difference.unchanged
        kinds.update(_kinds(difference))
    if as_json:
        return
    for (sign, concept), number in kinds.most_common():
        write_line(f"{sign} {number:6} {concept}")
    write_line(
        f"{reports} of {len(object_ids)} reports differ: "
        f"{_total(kinds, '+')} findings added, {_total(kinds, '-')} gone, {_total(kinds, '~')} changed, "
        f"{findings} unchanged"
    )


def _total(kinds: Counter[tuple[str, str]], sign: str) -> int:
    return sum(number for (its, _), number in kinds.items() if its == sign)


def _kinds(difference: "Difference") -> Counter[tuple[str, str]]:
    return Counter(
        [("+", _stated(f)) for f in difference.added]
        + [("-", _stated(f)) for f in difference.gone]
        + [("~", f"{_stated(a)} -> {_stated(b)}") for a, b in difference.changed]
    )


def _print(difference: "Difference") -> None:
    failed = f": would fail ({difference.reason_code})" if difference.state is State.FAILED else ""
    write_line(f"{difference.sop_instance_uid}{failed}")
    for f in difference.added:
        write_line(f"  + {_stated(f)}: {_sentence(f)}")
    for f in difference.gone:
        write_line(f"  - {_stated(f)}: {_sentence(f)}")
    for before, after in difference.changed:
        write_line(f"  ~ {_stated(before)} -> {_stated(after)}: {_sentence(after)}")


def _sentence(stored: "StoredFinding") -> str:
    return " ".join(stored.finding.sentence.split())


def _stated(stored: "StoredFinding") -> str:
    f = stored.finding
    return f"{f.concept.id} {f.assertion.value}{f' {f.laterality.value}' if f.laterality else ''}"
