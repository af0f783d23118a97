"""An evaluation: annotated reports analysed, decided upon, counted and sliced."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicomnlp.analyse import analyse, choose_language, load_pack, pipeline_name
from dicomnlp.analyse.engine import load_engine
from dicomnlp.errors import UsageError
from dicomnlp.learn import metrics, scoring
from dicomnlp.learn.gold import PATIENT, GoldReport, patient_of
from dicomnlp.learn.metrics import Estimate, Rates
from dicomnlp.learn.scoring import Decision
from dicomnlp.model import Analysis, Narrative

CONTEXT = 80
"""Characters shown on either side of an error."""
MOST_SLICES = 25
"""A field with more values than this names reports rather than kinds of them."""
ABOUT = {
    scoring.SPANS: "How marked spans are judged when they are given. Taken together, the three figures are accuracy.",
    scoring.FINDINGS: "Findings of the whole report: a finding overlaps the marked span, with the right assertion.",
    scoring.CONCEPTS: "As findings, and the concept is the marked one or one below it.",
    scoring.LATERALITY: "The side of findings that were found.",
    scoring.SECTIONS: "Headings: the right name, starting within two characters.",
    scoring.MEASUREMENTS: "Quantities, by values and unit.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A class or slice and its rates."""

    name: str
    support: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer in its context."""

    report: str
    gold: str | None
    got: str | None
    section: str | None
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class Score:
    """One task over all reports that were annotated for it."""

    task: str
    about: str
    reports: int
    micro: Rates
    macro_f1: Estimate
    classes: tuple[Row, ...]
    slices: Mapping[str, tuple[Row, ...]]
    """Field of the reports (or "section") -> value -> rates."""
    confusion: Mapping[str, Mapping[str, int]]
    """The annotators' class -> the pipeline's -> how many; "none" where there was no answer, or nothing marked."""
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All tasks of a set."""

    reports: int
    pipelines: tuple[str, ...]
    scores: tuple[Score, ...]
    notes: tuple[str, ...]
    """What could not be scored."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The pipeline's answers to annotated reports, each right or wrong."""

    decisions: Mapping[str, Sequence[Decision]]
    """By task."""
    took_part: Mapping[str, Sequence[int]]
    """The reports that are annotated for each task, in order."""
    pipelines: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be scored."""
    patients: tuple[str, ...]
    """Of each report; one that names none stands for itself."""

    def place(self, task: str) -> dict[int, int]:
        """Report that takes part in `task` -> its patient's number: patients are drawn anew, not their reports."""
        numbers: dict[str, int] = {}
        return {i: numbers.setdefault(self.patients[i], len(numbers)) for i in self.took_part[task]}

    def counts(self, task: str, classes: Sequence[str]) -> metrics.Counts:
        """Of each patient of `task` and each class."""
        place = self.place(task)
        rows = [(place[d.report], d.gold, d.got, d.right) for d in self.decisions.get(task, ())]
        return metrics.count(rows, len(set(place.values())), classes)

    def classes(self, task: str) -> list[str]:
        """What is told apart in `task`; an accepted second answer counts for the first one's class."""
        decisions = self.decisions.get(task, ())
        return sorted({c for d in decisions for c in ((d.gold,) if d.right else (d.gold, d.got)) if c is not None})


def evaluate(
    reports: Sequence[GoldReport], *, default_language: str = "en", on_report: Callable[[], None] = lambda: None
) -> Evaluation:
    """Score the pipeline against annotated reports; parameters and errors as of `decide`."""
    return summarise(reports, decide(reports, default_language=default_language, on_report=on_report))


def decide(
    reports: Sequence[GoldReport], *, default_language: str = "en", on_report: Callable[[], None] = lambda: None
) -> Decided:
    """Analyse annotated reports and compare with what annotators say.

    Parameters
    ----------
    reports
        What annotators say.
    default_language
        The site's language, for a text that declares none and whose script doesn't tell.
    on_report
        Called after each report.

    Raises
    ------
    UsageError
        Nothing in `reports` can be scored.
    LanguageNotSupportedError, LanguagePackError
        A report can't be analysed.
    """
    notes: Counter[str] = Counter()
    codes = [choose_language(report.text, report.language or "", default_language) for report in reports]
    plans = _label_plans(reports, sorted(set(codes)), notes)
    decisions: list[Decision] = []
    took_part: dict[str, set[int]] = defaultdict(set)
    pipelines = set()
    for i, (report, language) in enumerate(zip(reports, codes, strict=True)):
        pipelines.add(pipeline_name(language))
        for task, found in _judged(i, report, language, plans, notes):
            took_part[task].add(i)
            decisions += found
        on_report()
    if not took_part:
        raise UsageError("no report has findings, targets, labels, sections or measurements to score")
    by_task: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_task[decision.task].append(decision)
    order = {task: n for n, task in enumerate(ABOUT)}
    return Decided(
        by_task,
        {task: sorted(took_part[task]) for task in sorted(took_part, key=lambda t: order.get(t, len(order)))},
        tuple(sorted(pipelines)),
        tuple(f"{note} ({n} times)" if n > 1 else note for note, n in notes.items()),
        tuple(patient_of(report) for report in reports),
    )


def summarise(reports: Sequence[GoldReport], decided: Decided) -> Evaluation:
    """Rates with intervals, slices, confusion and mistakes of what was decided of `reports`."""
    return Evaluation(
        len(reports),
        decided.pipelines,
        tuple(_score(task, decided, reports) for task in decided.took_part),
        decided.notes,
    )


LabelPlans = dict[str, tuple[str, tuple[str, ...]]]
"""Label set as the gold names it -> the set's own name, and the values to score."""


def _label_plans(reports: Sequence[GoldReport], codes: Iterable[str], notes: Counter[str]) -> LabelPlans:
    """Which label set each name of the gold stands for; one without name is the set with most labels in common."""
    known = {labels.set: set(labels.labels) for labels in load_pack().label_sets}
    for code in codes:
        for name, more in load_engine(code).model_labels.items():
            known.setdefault(name, set()).update(more)
    used: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str | None]] = defaultdict(set)
    for report in reports:
        for name, labels in (report.labels or {}).items():
            used[name] |= labels.keys()
            values[name] |= set(labels.values())
    plans: LabelPlans = {}
    for name, wanted in used.items():
        best = name or max(known, key=lambda s: len(known[s] & wanted))
        if not known.get(best, set()) & wanted:
            notes[f"no label set {name!r} with these labels; there are {', '.join(known)}"] += 1
            continue
        unknown = sorted(wanted - known[best])
        if unknown:
            notes[f"{best} has no label {', '.join(unknown)}"] += 1
        scored = ["present"]
        scored += ["possible"] if "possible" in values[name] else []
        scored += ["absent"] if {"absent", None} <= values[name] else []
        plans[name] = best, tuple(scored)
    return plans


def _judged(
    i: int, report: GoldReport, language: str, plans: LabelPlans, notes: Counter[str]
) -> Iterator[tuple[str, list[Decision]]]:
    """(task, its decisions) of each task that the report is annotated for."""
    pack = load_pack(language)
    marked = (*(report.findings or ()), *report.targets)
    if marked:
        spans = [(f.start, f.end) for f in marked]
        aimed = analyse(Narrative(report.text), language=language, targets=spans)
        yield scoring.SPANS, list(scoring.judge_targets(i, report, marked, aimed))
    free: Analysis = analyse(Narrative(report.text), language=language)
    if report.findings is not None:
        unknown = sum(f.concept not in pack.concepts for f in report.findings if f.concept)
        notes.update({"a marked span's type is no concept of the pack and isn't scored": unknown} if unknown else {})
        found = list(scoring.judge_findings(i, report, free, pack))
        for task in (scoring.FINDINGS, scoring.CONCEPTS, scoring.LATERALITY):
            mine = [d for d in found if d.task == task]
            if mine or task == scoring.FINDINGS:
                yield task, mine
    for name, labels in (report.labels or {}).items():
        if name in plans:
            own, values = plans[name]
            got = free.labels.get(own, {})
            wanted = {k: v for k, v in labels.items() if k in got}
            for value in values:
                task = f"{scoring.LABELS} {own}" + ("" if value == "present" else f" {value}")
                yield task, list(scoring.judge_labels(i, wanted, got, task, value))
    if report.sections is not None:
        yield scoring.SECTIONS, list(scoring.judge_sections(i, report, free))
    if report.measurements is not None:
        yield scoring.MEASUREMENTS, list(scoring.judge_measurements(i, report, free))


def _score(task: str, decided: Decided, reports: Sequence[GoldReport]) -> Score:
    decisions = decided.decisions.get(task, ())
    members = decided.took_part[task]
    place = decided.place(task)
    classes = decided.classes(task)
    micro, macro, each = metrics.rates(decided.counts(task, classes))
    confusion: dict[str, Counter[str]] = defaultdict(Counter)
    for d in decisions:
        confusion[d.gold or "none"][(d.gold if d.right else d.got) or "none"] += 1
    return Score(
        task=task,
        about=ABOUT.get(task) or f"Reports that are given a label as {(*task.split(), 'present')[2]}.",
        reports=len(members),
        micro=micro,
        macro_f1=macro,
        classes=_rows(classes, each),
        slices=_slices(decisions, reports, place),
        confusion=confusion,
        mistakes=tuple(mistake(d, reports[d.report]) for d in decisions if not d.right),
    )


def _slices(
    decisions: Sequence[Decision], reports: Sequence[GoldReport], place: Mapping[int, int]
) -> dict[str, tuple[Row, ...]]:
    """Rates by section and by each field of the reports that tells kinds of them apart."""
    values: dict[str, dict[int, str]] = defaultdict(dict)
    for i in place:
        for field, value in (reports[i].fields or {}).items():
            if field != PATIENT:
                values[field][i] = value
    names = {f: sorted(set(v.values())) for f, v in values.items() if 1 < len(set(v.values())) <= MOST_SLICES}
    slices = {field: _sliced(((d, values[field].get(d.report)) for d in decisions), place) for field in names}
    if any(d.section for d in decisions):
        slices = {"section": _sliced(((d, d.section) for d in decisions), place), **slices}
    return {field: rows for field, rows in slices.items() if len(rows) > 1}


def _sliced(assigned: Iterable[tuple[Decision, str | None]], place: Mapping[int, int]) -> tuple[Row, ...]:
    rows = [
        (place[d.report], value if d.gold is not None else None, value if d.got is not None else None, d.right)
        for d, value in assigned
        if value is not None
    ]
    names = sorted({name for _, gold, got, _ in rows for name in (gold, got) if name is not None})
    if not names:
        return ()
    return _rows(names, metrics.rates(metrics.count(rows, len(set(place.values())), names))[2])


def _rows(names: Sequence[str], each: Sequence[Rates]) -> tuple[Row, ...]:
    """Rows, the best supported first."""
    rows = [Row(name, r.support, r) for name, r in zip(names, each, strict=True)]
    return tuple(sorted(rows, key=lambda r: (-r.support, r.name)))


def mistake(decision: Decision, report: GoldReport) -> Mistake:
    """A wrong answer with what stands around it."""
    if decision.span is None:
        before, what, after = "", decision.what or "", "\n" + _cut(report.text[: 5 * CONTEXT + 1], 5 * CONTEXT)
    else:
        start, end = decision.span
        before = _cut(report.text[max(0, start - CONTEXT - 1) : start][::-1], CONTEXT)[::-1]
        what, after = report.text[start:end], _cut(report.text[end : end + CONTEXT + 1], CONTEXT)
    return Mistake(report.id, decision.gold, decision.got, decision.section, before, what, after)


def _cut(passage: str, most: int) -> str:
    """`passage`, or where it is longer than `most`, its whole words within and an ellipsis."""
    if len(passage) <= most:
        return passage
    words = passage[: most + 1]
    spaces = [i for i, c in enumerate(words) if c.isspace()]
    # a text without spaces, such as Chinese, is cut anywhere
    return words[: spaces[-1] if spaces and spaces[-1] > most // 2 else most] + "\N{HORIZONTAL ELLIPSIS}"
