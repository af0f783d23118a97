"""What a model is trained on: findings, words and reports as hashed features, with what annotators or the rules say.

Annotated reports teach by their annotations. All reports, annotated or not, also teach by what the rules make of them
(weak supervision): that counts for less, and keeps a model that has seen few annotations at what the rules know.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dicomnlp.analyse import Pack, analyse, choose_language, load_pack
from dicomnlp.analyse import learned_features as features
from dicomnlp.analyse.labels import COUNTED
from dicomnlp.analyse.learned import ASSERTIONS, FIRST, FURTHER, OUTSIDE
from dicomnlp.analyse.learned_features import Keys
from dicomnlp.analyse.schema import Case
from dicomnlp.analyse.sentences import SentenceSplitter
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.learn.gold import GoldReport, patient_of
from dicomnlp.model import Analysis, Assertion, Finding, Narrative

WEAK = 0.03
"""What the rules' word weighs beside an annotator's."""
TRIAGE = "triage"
"""The label set that the rules teach where nobody annotates it."""
ABNORMAL, URGENT = "abnormal", "urgent"


@dataclass(frozen=True, slots=True)
class FindingExample:
    """A finding and its assertion."""

    patient: str
    around: Keys
    ruled: Keys
    ruled_assertion: int
    """What the rules say, as a place in `ASSERTIONS`."""
    accepted: tuple[int, ...]
    """What is right, the annotator's own answer first."""
    weight: float


@dataclass(frozen=True, slots=True)
class SentenceExample:
    """The words of a sentence, and which are findings."""

    tokens: list[Keys]
    classes: list[int]
    listed: tuple[tuple[int, int, str], ...]
    """Tokens [start, end) of the lexicon's findings, and their concepts."""
    weight: float


@dataclass(frozen=True, slots=True)
class ReportExample:
    """A report and its labels."""

    patient: str
    read: Keys
    found: Keys
    ruled: Mapping[tuple[str, str], str | None]
    """(set, label) -> what the rules say, for those that they know."""
    truth: Mapping[tuple[str, str], bool]
    """(set, label) -> whether it is present; what isn't there isn't known."""
    weight: float


@dataclass(slots=True)
class Examples:
    """All that a training sees."""

    findings: list[FindingExample] = field(default_factory=list)
    sentences: list[SentenceExample] = field(default_factory=list)
    reports: list[ReportExample] = field(default_factory=list)


def annotated(reports: Iterable[GoldReport], language: str, plans: Mapping[str, str]) -> Examples:
    """What the annotations of `reports` teach.

    Parameters
    ----------
    reports
        Annotated; those in another language are passed over.
    language
        Of the model.
    plans
        Label set as the annotators name it -> the set's own name.
    """
    pack = load_pack(language)
    examples = Examples()
    for report in reports:
        if choose_language(report.text, report.language or "", language) != language:
            continue
        marked = (*(report.findings or ()), *report.targets)
        if marked:
            spans = [(f.start, f.end) for f in marked]
            aimed = analyse(Narrative(report.text), language=language, targets=spans)
            said = {(f.start, f.end): f for f in aimed.findings}
            for target in marked:
                finding = said[target.start, target.end]
                example = _finding(report, finding, target.accepted, 1.0)
                if example is not None and target.accepted:
                    examples.findings.append(example)
        if report.findings is not None or report.labels:
            free = analyse(Narrative(report.text), language=language)
            if report.findings is not None:
                places = [(f.start, f.end) for f in report.findings]
                examples.sentences += _sentences(report.text, free, pack, places, 1.0)
            if report.labels:
                truth = {
                    (plans[name], label): value == "present"
                    for name, labels in report.labels.items()
                    if name in plans
                    for label, value in labels.items()
                }
                examples.reports.append(_report(report, free, truth, 1.0))
    return examples


def ruled(reports: Iterable[GoldReport], language: str, sets: Collection[str], most: int) -> Examples:
    """What the rules' answers to `reports` teach.

    Parameters
    ----------
    reports
        As many as are needed are read, in their order.
    sets
        Label sets that are taught; those that the rules don't know are passed over.
    most
        Findings, and sentences, after which no more reports are read.
    """
    pack = load_pack(language)
    known = {labels.set: tuple(labels.labels) for labels in pack.label_sets}
    examples = Examples()
    for report in reports:
        if min(len(examples.findings), len(examples.sentences)) >= most:
            break
        if choose_language(report.text, report.language or "", language) != language:
            continue
        free = analyse(Narrative(report.text), language=language)
        for finding in free.findings:
            entry = pack.concepts.get(finding.concept.id)
            if entry is not None and not entry.normal and _is_said(finding, free):
                example = _finding(report, finding, (finding.assertion,), WEAK)
                if example is not None:
                    examples.findings.append(example)
        examples.sentences += _sentences(report.text, free, pack, None, WEAK)
        truth = {
            (name, label): free.labels[name][label] == "present"
            for name in sets
            if name in known
            for label in known[name]
        }
        examples.reports.append(_report(report, free, {**truth, **triage(free, pack)}, WEAK))
    return examples


def protected(cases: Iterable[Case], language: str) -> list[FindingExample]:
    """The protected cases: a model is taught what it must not break."""
    found = []
    for case in cases:
        start = case.text.find(case.span)
        place = start, start + len(case.span)
        finding = analyse(Narrative(case.text), language=language, targets=[place]).findings[0]
        report = GoldReport(id="", text=case.text, fields={"patient": ""})
        example = _finding(report, finding, (case.assertion,), 1.0)
        found += [example] if example is not None else []
    return found


def triage(analysis: Analysis, pack: Pack) -> dict[tuple[str, str], bool]:
    """Whether the rules found anything abnormal, and anything actionable, in what the report says is seen."""
    seen = [
        f
        for f in analysis.findings
        if f.section in COUNTED and f.assertion in (Assertion.PRESENT, Assertion.POSSIBLE) and not f.subject
    ]
    abnormal = [f for f in seen if f.concept.id in pack.concepts and not pack.concepts[f.concept.id].normal]
    return {(TRIAGE, ABNORMAL): bool(abnormal), (TRIAGE, URGENT): any(f.critical for f in seen)}


def _is_said(finding: Finding, analysis: Analysis) -> bool:
    """Whether the finding is said, not implied by a statement of normality at its place."""
    return not any(
        other is not finding and (other.start, other.end) == (finding.start, finding.end) for other in analysis.findings
    )


def place_in_sentence(text: str, finding: Finding) -> tuple[int, int] | None:
    """Where `finding` stands in its sentence; None for one that goes over the sentence's ends."""
    sentence = finding.sentence
    at = sentence.find(finding.text)
    while at >= 0:
        begins = finding.start - at
        if begins >= 0 and text.startswith(sentence, begins):
            return at, at + len(finding.text)
        at = sentence.find(finding.text, at + 1)
    return None


def _finding(
    report: GoldReport, finding: Finding, accepted: Sequence[Assertion], weight: float
) -> FindingExample | None:
    place = place_in_sentence(report.text, finding)
    if place is None or not accepted:
        return None
    return FindingExample(
        patient_of(report),
        features.around(finding.sentence, *place, finding.section),
        features.ruled(finding.text, finding.section, finding.assertion, finding.cues),
        ASSERTIONS.index(finding.assertion),
        tuple(ASSERTIONS.index(a) for a in accepted),
        weight,
    )


def _sentences(
    text: str, analysis: Analysis, pack: Pack, places: Sequence[tuple[int, int]] | None, weight: float
) -> Iterator[SentenceExample]:
    """The sentences of a report; `places` are the findings of an annotator, None for the lexicon's."""
    split = SentenceSplitter(pack.sentences, pack.about.limits.sentence_characters).split
    folded = text.translate(pack.about.folding)
    listed = [f for f in analysis.findings if f.concept.id in pack.concepts and not pack.concepts[f.concept.id].normal]
    spans = sorted({(f.start, f.end) for f in listed} if places is None else set(places))
    for section in analysis.sections:
        for begins, ends in split(folded, section.body_start, section.end):
            tokens = tokenize(folded[begins:ends])
            classes = [OUTSIDE] * len(tokens)
            for start, end in spans:
                if begins <= start and end <= ends:
                    first, last = tokens.span(start - begins, end - begins)
                    classes[first:last] = [FIRST, *[FURTHER] * (last - first - 1)][: last - first]
            words = ["#" if word[0].isdigit() else word for word in tokens.lower]
            inside = tuple(
                (*tokens.span(f.start - begins, f.end - begins), f.concept.id)
                for f in listed
                if begins <= f.start and f.end <= ends
            )
            if words:
                yield SentenceExample(features.tokens_of(words), classes, inside, weight)


def _report(
    report: GoldReport, analysis: Analysis, truth: Mapping[tuple[str, str], bool], weight: float
) -> ReportExample:
    return ReportExample(
        patient_of(report),
        features.read(report.text, analysis.sections),
        features.found(analysis.findings, analysis.labels),
        {(name, label): value for name, said in analysis.labels.items() for label, value in said.items()},
        truth,
        weight,
    )
