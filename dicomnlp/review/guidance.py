"""What guidelines say of incidental findings, as far as a report tells what they ask, and what the report recommends.

A guideline is applied to the finding of each kind that decides: the largest of its concepts in a report. What the text
doesn't tell stays open, so that several answers may remain; what would decide between them is listed as missing.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cache

from dicomnlp.model import Assertion, Change, Finding, Measurement, Recommendation, RecommendationKind, SectionName
from dicomnlp.remarks import Advice, Guidance, GuidanceOutcome, Place
from dicomnlp.review.case import Case, lengths, parts_of, unsided
from dicomnlp.review.contradiction_rules import Bounds
from dicomnlp.review.denial import is_denied
from dicomnlp.review.guidance_rules import Answer, Feature, Guideline, guidance_rules
from dicomnlp.review.patient import age_of
from dicomnlp.review.phrases import Phrases

_SLACK_DAYS = 31
"""A window in words and one in days differ by so much: "three months" may be said of 12 weeks."""
_SLACK_FRACTION = 0.2
_CHANGES = {
    Change.NEW: "new",
    Change.INCREASED: "increased",
    Change.DECREASED: "stable",
    Change.STABLE: "stable",
    Change.RESOLVED: "stable",
}


def guidance(case: Case, modalities: Collection[str], off: Collection[str] = ()) -> Iterator[Guidance]:
    """Each guideline that is for a finding of this report.

    Parameters
    ----------
    modalities
        DICOM modalities by which the study was made; without any, no guideline is known to be for it.
    off
        Ids of guidelines that aren't asked.
    """
    present = {f.concept.id for f in case.stated if f.assertion is Assertion.PRESENT}
    for guideline in guidance_rules().guidelines:
        if guideline.id in off or present.isdisjoint(guideline.kinds):
            continue
        if not set(modalities) & set(guideline.modalities):
            continue
        found = [f for f in case.stated if _is_meant(case, guideline, f)]
        if found and not _is_excluded(case, guideline):
            yield _apply(case, guideline, found)


def _is_meant(case: Case, guideline: Guideline, finding: Finding) -> bool:
    return (
        finding.assertion is Assertion.PRESENT
        and finding.concept.id in guideline.kinds
        and not guideline.excluded_finding.search(case.sentence_around(finding.start, finding.end))
    )


def _is_excluded(case: Case, guideline: Guideline) -> bool:
    age = age_of(case)
    if age is not None and age < guideline.youngest:
        return True
    if any(f.concept.id in guideline.not_concepts and f.assertion is Assertion.PRESENT for f in case.analysis.findings):
        return True
    return any(not is_denied(case, *m.span()) for m in guideline.excluded.finditer(case.text))


def _apply(case: Case, guideline: Guideline, found: Sequence[Finding]) -> Guidance:
    sized = [(_size(guideline, m), f) for f in found for m in lengths(f, up_to=True)]
    size, finding = max(sized, key=lambda pair: pair[0]) if sized else (None, found[0])
    same = [f for f in found if f.laterality in {finding.laterality, None}]
    known: dict[str, str] = {}
    age = age_of(case)
    numbers = {
        "size_mm": size,
        "hu": _density(same),
        "age": float(int(age)) if age is not None and guideline.asks_age else None,
    }
    for feature in guideline.features:
        value = _value(case, feature, finding, same) or feature.untold
        if value is not None:
            known[feature.name] = value
    if guideline.counted:
        known["count"] = _count(found)
    possible = [a for a in guideline.answers if _is_possible(a, known, numbers)]
    missing = _missing(possible, known, numbers)
    told = {
        **known,
        **{n: f"{v:g}" for n, v in numbers.items() if v is not None},
    }
    outcome, recommendation = _compare(case, guideline, possible)
    return Guidance(
        guideline=guideline.id,
        source=guideline.source,
        outcome=outcome,
        finding=case.clause_of(finding),
        known=tuple(sorted((n, v) for n, v in told.items() if v != "none")),
        missing=missing,
        advice=tuple(_advice(a) for a in possible),
        recommendation=recommendation,
    )


# --- what the text tells ------------------------------------------------------------------------------------------


def _size(guideline: Guideline, measurement: Measurement) -> float:
    values = measurement.values
    if guideline.axes == "mean" and len(values) > 1:
        longest = sorted(values)[-2:]
        return float(round(sum(longest) / 2))
    return max(values)


def _density(found: Sequence[Finding]) -> float | None:
    """The attenuation of the finding in HU."""
    values = [v for f in found for m in f.measurements if m.unit in {"[hnsf'U]", "HU"} for v in m.values]
    return max(values) if values else None


def _count(found: Sequence[Finding]) -> str:
    """One, or several: by what the text counts, or by how many different ones it describes."""
    counts = {f.count for f in found if f.count}
    if any(c == "multiple" or (c.isdigit() and int(c) > 1) for c in counts):
        return "multiple"
    described = [f for f in found if f.section is not SectionName.IMPRESSION] or found
    sites = {
        (f.anatomy.id if f.anatomy else "", max((max(m.values) for m in lengths(f)), default=0)) for f in described
    }
    return "multiple" if len({s for s in sites if s[1]}) > 1 else "single"


def _value(case: Case, feature: Feature, finding: Finding, same: Sequence[Finding]) -> str | None:
    if feature.scope == "change":
        return next((_CHANGES[f.change] for f in same if f.change is not None), "none")
    if feature.scope == "finding":
        spans = [case.sentence_bounds(f.start, f.end) for f in (finding, *same)]
        own = _first(case, feature, spans[:1])
        return own or _first(case, feature, spans)
    told = _first(case, feature, [(0, len(case.text))])
    if told is None:
        return "no" if feature.scope == "report_present" else None
    return told


def _first(case: Case, feature: Feature, spans: Sequence[tuple[int, int]]) -> str | None:
    """The value whose words stand there: the longest words where those of several do, denied ones never."""
    stated: list[tuple[int, str]] = []
    for value, phrases in feature.phrases.items():
        # "no smoking history" is one of the words of a value; "no solid component" is none
        stated += [
            (match.end() - match.start(), value)
            for match in phrases.within(case.text, spans)
            if match[0][:2].casefold() in _DENYING or not is_denied(case, *match.span())
        ]
    return max(stated, key=lambda s: s[0])[1] if stated else None


_DENYING = {"no", "ne", "wi", "不吸", "无吸", "否认", "无肿", "无恶", "无肝"}
"""How words begin that deny by themselves."""


def _is_possible(answer: Answer, known: dict[str, str], numbers: dict[str, float | None]) -> bool:
    if any(known.get(name) not in {None, *values} for name, values in answer.when.items()):
        return False
    return all(
        bounds is None or numbers[name] is None or bounds.hold(numbers[name] or 0.0)
        for name, bounds in _bounds(answer).items()
    )


def _bounds(answer: Answer) -> dict[str, Bounds | None]:
    return {"size_mm": answer.size_mm, "hu": answer.hu, "age": answer.age}


def _missing(possible: Sequence[Answer], known: dict[str, str], numbers: dict[str, float | None]) -> tuple[str, ...]:
    """What isn't told and would leave fewer answers, or other ones."""
    if len({(a.modality, a.days, a.needed, a.text) for a in possible}) < 2:
        return ()
    asked: dict[str, set[Bounds | tuple[str, ...] | None]] = {}
    for answer in possible:
        for name in {n for a in possible for n in a.when} - known.keys():
            asked.setdefault(name, set()).add(answer.when.get(name))
        for name, bounds in _bounds(answer).items():
            if numbers[name] is None:
                asked.setdefault(name, set()).add(bounds)
    return tuple(sorted(name for name, conditions in asked.items() if len(conditions) > 1))


# --- what the report recommends -----------------------------------------------------------------------------------


def _compare(case: Case, guideline: Guideline, possible: Sequence[Answer]) -> tuple[GuidanceOutcome, Place | None]:
    asked = [r for r in case.analysis.recommendations if _is_about(guideline, r, possible)]
    fitting = [r for r in asked if any(_fits(r, answer) for answer in possible if answer.needed)]
    if fitting:
        return GuidanceOutcome.FOLLOWED, case.place(fitting[0].start, fitting[0].end)
    needed = [a for a in possible if a.needed and not a.optional]
    if asked:
        return GuidanceOutcome.DIFFERENT, case.place(asked[0].start, asked[0].end)
    if not needed:
        return GuidanceOutcome.NONE_NEEDED, None
    if len(needed) == len(possible):
        return GuidanceOutcome.NOT_STATED, None
    return GuidanceOutcome.UNDECIDED, None


def _is_about(guideline: Guideline, asked: Recommendation, possible: Sequence[Answer]) -> bool:
    if asked.anatomy is not None:
        region = {s for site in guideline.region for s in parts_of(site)}
        if unsided(asked.anatomy.id) not in region:
            return False
    words = (asked.procedure or "") + " " + asked.text
    return (
        asked.modality is not None
        or asked.guideline is not None
        or asked.interval_days_max is not None
        or any(_procedures(a.procedures).search(words) for a in possible)
    ) and asked.kind is not RecommendationKind.GUIDELINE


@cache
def _procedures(words: tuple[str, ...]) -> Phrases:
    return Phrases(words, beginnings=True)


def _fits(asked: Recommendation, answer: Answer) -> bool:
    if answer.procedures and _procedures(answer.procedures).search((asked.procedure or "") + " " + asked.text):
        return True
    if asked.modality is not None and asked.modality not in {answer.modality, *answer.also_modalities}:
        return False
    if asked.interval_days_max is None or answer.days is None:
        # a guideline that is named tells the time
        return answer.days is None or asked.guideline is not None or asked.modality is not None
    first, last = answer.days
    earliest = asked.interval_days_min if asked.interval_days_min is not None else asked.interval_days_max
    slack = max(_SLACK_DAYS, _SLACK_FRACTION * last)
    return earliest <= last + slack and asked.interval_days_max >= first - slack


def _advice(answer: Answer) -> Advice:
    first, last = answer.days or (None, None)
    return Advice(answer.name, answer.text, answer.modality, first, last, answer.needed and not answer.optional)
