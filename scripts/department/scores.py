"""What the service noticed against what was planted: precision and recall of each kind, and every row of the ledger."""

import collections
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from department.records import Planted

NOT_PLANTED = 0.02
"""Share of reports that may be remarked on without a cause, of each kind."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that the service remarks."""

    kind: str
    study_instance_uid: str
    words: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Score:
    """Of one kind."""

    kind: str
    planted: int = 0
    found: list[Planted] = field(default_factory=list)
    missed: list[Planted] = field(default_factory=list)
    false: list[Flag] = field(default_factory=list)
    """Remarked on studies on which nothing of the kind was planted."""
    near: int = 0
    """Of these, on what only resembles it."""
    reports: int = 0
    """That were looked at."""

    @property
    def recall(self) -> float:
        """Share of what was planted that was found."""
        return len(self.found) / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of what was remarked that was planted."""
        remarked = len(self.found) + len(self.false)
        return len(self.found) / remarked if remarked else 1.0

    @property
    def elsewhere(self) -> float:
        """Reports on which it was remarked without a cause, as a share of all."""
        return len(self.false) / self.reports if self.reports else 0.0

    def in_language(self, language: str) -> tuple[int, int]:
        """Found and planted in one language."""
        found = sum(p.language == language for p in self.found)
        return found, found + sum(p.language == language for p in self.missed)

    def to_json(self) -> dict[str, Any]:
        """With every row that was missed, and everything that was remarked elsewhere."""
        return {
            "kind": self.kind,
            "planted": self.planted,
            "found": len(self.found),
            "recall": round(self.recall, 4),
            "precision": round(self.precision, 4),
            "elsewhere": round(self.elsewhere, 4),
            "on_near_misses": self.near,
            "missed": [
                {"study_instance_uid": p.study_instance_uid, "language": p.language, "wording": p.wording, **p.facts}
                for p in self.missed
            ],
            "remarked_elsewhere": [
                {"study_instance_uid": f.study_instance_uid, "words": f.words, **f.facts} for f in self.false
            ],
        }


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is scored."""

    name: str
    planted: str
    """Kind of the ledger."""
    flagged: str
    """Kind of the flags."""
    fits: Callable[[Planted, Flag], bool] | None = None
    """Whether a flag on its study is what was planted, as a function of the row and the flag; None: any is."""
    of: Callable[[Planted], bool] | None = None
    """Whether a row of the ledger counts, as a function of it; None: all do."""
    counts_elsewhere: bool = True
    """Whether flags on other studies are judged here; a kind that is scored in several ways is judged once."""


def score(kinds: Iterable[Kind], ledger: Collection[Planted], flags: Collection[Flag], reports: int) -> list[Score]:
    """Each kind's score.

    Parameters
    ----------
    ledger
        What was planted, near misses included.
    flags
        What the service remarked, each as often as it did.
    reports
        How many were looked at.
    """
    by_kind: dict[str, dict[str, list[Flag]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for flag in flags:
        by_kind[flag.kind][flag.study_instance_uid].append(flag)
    allowed: dict[str, set[str]] = collections.defaultdict(set)
    near: dict[str, set[str]] = collections.defaultdict(set)
    for row in ledger:
        allowed[row.study_instance_uid] |= set(row.allowed)
        (near if row.near else allowed)[row.study_instance_uid].add(row.kind)
    scores = []
    for kind in kinds:
        of_kind = Score(kind.name, reports=reports)
        flagged = by_kind[kind.flagged]
        for row in ledger:
            if row.kind != kind.planted or row.near or (kind.of and not kind.of(row)):
                continue
            of_kind.planted += 1
            there = flagged.get(row.study_instance_uid, [])
            hit = any(kind.fits is None or kind.fits(row, flag) for flag in there)
            (of_kind.found if hit else of_kind.missed).append(row)
        if kind.counts_elsewhere:
            for study, several in flagged.items():
                if kind.planted in allowed[study] or kind.flagged in allowed[study]:
                    continue
                of_kind.false.append(several[0])
                of_kind.near += any(kind.planted.startswith(n) or kind.flagged.startswith(n) for n in near[study])
        scores.append(of_kind)
    return scores


def as_table(scores: Iterable[Score]) -> str:
    """In Markdown."""
    lines = [
        "| kind | planted | found | recall | English | Chinese | precision | elsewhere | of reports |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in scores:
        languages = [f"{found}/{planted}" for found, planted in map(one.in_language, ("en", "zh"))]
        lines.append(
            f"| {one.kind} | {one.planted} | {len(one.found)} | {one.recall:.3f} | {languages[0]} | {languages[1]} "
            f"| {one.precision:.3f} | {len(one.false)} | {one.elsewhere:.2%} |"
        )
    return "\n".join(lines)
