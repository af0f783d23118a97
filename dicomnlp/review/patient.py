"""Sex and age of the patient: what the header says, what the text says, and what its organs say."""

import datetime as dt
import itertools
import re
from collections.abc import Iterator
from functools import cache

from dicomnlp.model import Assertion, SectionName
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place
from dicomnlp.review.case import Case, header_place, kinds_of, parts_of, sites_meet, unsided
from dicomnlp.review.contradiction_rules import contradiction_rules
from dicomnlp.review.denial import is_denied
from dicomnlp.review.phrases import Phrases

_SEXES = {"F": "female", "M": "male"}
_TOLD_OF_PATIENT = frozenset(
    {SectionName.INDICATION, SectionName.HISTORY, SectionName.EXAM, SectionName.FINDINGS, SectionName.OTHER}
)
_OF_OTHER_TIMES = frozenset({Assertion.HISTORICAL, Assertion.FAMILY, Assertion.HYPOTHETICAL})
OLDEST = 130


@cache
def _pattern(name: str) -> Phrases:
    return Phrases(getattr(contradiction_rules().sex, name))


@cache
def _organs() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Sex -> sites and concepts that only it has."""
    rules = contradiction_rules().sex
    return {
        sex: (
            frozenset(s for site in sites for s in parts_of(site)),
            frozenset(c for concept in concepts for c in kinds_of(concept)),
        )
        for sex, sites, concepts in (
            ("M", rules.male_sites, rules.male_concepts),
            ("F", rules.female_sites, rules.female_concepts),
        )
    }


def sex_discrepancies(case: Case) -> Iterator[Discrepancy]:
    """Sex in the header against sex in the text, and either against an organ that only the other sex has."""
    found = next(_sexes(case), None)
    if found is not None and not _pattern("unless").search(case.text):
        yield found


def _sexes(case: Case) -> Iterator[Discrepancy]:
    stated = [d for d in case.analysis.demographics if d.sex in _SEXES and _is_of_patient(case, d.start)]
    known = case.report.identity.patient_sex.strip().upper()
    places: dict[str, Place] = {}
    for statement in stated:
        assert statement.sex is not None
        places.setdefault(statement.sex, case.place(statement.start, statement.end))
    for sex, words in (("F", "female_person"), ("M", "male_person")):
        match = _pattern(words).search(case.text)
        if match and sex not in places and _is_of_patient(case, match.start()):
            places[sex] = case.place(*match.span())
    for sex, words in (("F", "female_pronouns"), ("M", "male_pronouns")):
        pronoun = _pronoun(case, words)
        if pronoun is not None:
            places.setdefault(sex, pronoun)
    for sex, place in _first_words(case):
        places.setdefault(sex, place)
    if known in _SEXES:
        other = "F" if known == "M" else "M"
        if other in places and known not in places:
            yield _sex("header_and_text", 0.95, header_place("PatientSex", known), places[other], known, other)
            return
        places = {known: header_place("PatientSex", known)}
    elif len(places) == 2:
        first, second = places.values()
        yield _sex("text_and_text", 0.8, first, second, *places)
        return
    for sex, place in places.items():
        organ = _organ_of_other(case, sex)
        if organ is not None:
            yield _sex("organ", 0.85, place, organ, sex, "F" if sex == "M" else "M")


def _told_before(case: Case) -> Iterator[tuple[int, int]]:
    """The bodies of indications and histories."""
    for section in case.analysis.sections:
        if section.name in {SectionName.INDICATION, SectionName.HISTORY}:
            yield section.body_start, section.end


def _pronoun(case: Case, words: str) -> Place | None:
    """A pronoun that can only mean the patient: its section tells of nobody else, and has none of the other sex."""
    other = "male_pronouns" if words == "female_pronouns" else "female_pronouns"
    for start, end in _told_before(case):
        body = case.text[start:end]
        if any(_pattern(name).search(body) for name in ("others", "staff", other)):
            continue
        for match in _pattern(words).finditer(body):
            # HE is a stain, HER-2 a receptor, and a bundle is called after His
            if not (match[0].isupper() or body[match.end() :].startswith(("-", " bundle")) or _BUNDLE.search(body)):
                return case.place(start + match.start(), start + match.end())
    return None


_BUNDLE = re.compile(r"\bbundle of\b", re.IGNORECASE)


def _first_words(case: Case) -> Iterator[tuple[str, Place]]:
    """Sex and place, where the first word of an indication or history tells it, and not of a relative."""
    rules = contradiction_rules().sex
    for section in case.analysis.sections:
        if section.name in {SectionName.INDICATION, SectionName.HISTORY}:
            start = _BLANK.match(case.text, section.body_start).end()  # type: ignore[union-attr]  # matches nothing, too
            match = _WORD.match(case.text, start, section.end)
            # few words tell a sex, and to find the sentence around one takes long
            for sex, words in (("F", rules.female_first), ("M", rules.male_first)):
                if match and match[0].lower() in words and not _is_of_other(case, *match.span()):
                    yield sex, case.place(*match.span())


_BLANK = re.compile(r"\s*")
_WORD = re.compile(r"[A-Za-z]+|[\u3400-\u9fff](?=[,，、;；。\s]|\Z)")
"""A Latin word, or a Chinese character that stands alone."""


def _sex(rule: str, confidence: float, first: Place, second: Place, one: str, other: str) -> Discrepancy:
    facts = (("first", _SEXES[one]), ("second", _SEXES[other]))
    return Discrepancy(DiscrepancyKind.SEX, rule, confidence, first, second, facts)


def _organ_of_other(case: Case, sex: str) -> Place | None:
    """What the text says of an organ that only the other sex has; None where it names both, as templates do."""
    other = "F" if sex == "M" else "M"
    found = _organ_found(case, other) or _organ_words(case, other) or _history_words(case, other)
    if found is None or any(own(case, sex) is not None for own in (_organ_words, _organ_found, _history_words)):
        return None
    return found


def _history_words(case: Case, sex: str) -> Place | None:
    """What an indication or history tells of the patient that is only of that sex; a form's question isn't."""
    for match in _pattern("female_history" if sex == "F" else "male_history").within(case.text, _told_before(case)):
        asked = _QUESTION.match(case.text, match.end())
        if not (asked or is_denied(case, *match.span()) or _is_of_other(case, *match.span())):
            return case.place(*match.span())
    return None


_QUESTION = re.compile(r"[^\S\n]*(?:[:：?？]|status\b|test\b|状态|试验)", re.IGNORECASE)
"""After the words of a form: "Pregnant: no"."""


def _organ_found(case: Case, sex: str) -> Place | None:
    sites, concepts = _organs()[sex]
    for f in case.stated:
        of_it = f.anatomy is not None and unsided(f.anatomy.id) in sites
        # "内膜增厚" of a vein isn't of the uterus
        if f.concept.id in concepts and (f.anatomy is None or _near(sex, f.anatomy.id)):
            of_it = True
        if of_it and f.assertion not in _OF_OTHER_TIMES and not _is_of_other(case, f.start, f.end):
            return case.place(f.start, f.end)
    return None


def _near(sex: str, site: str) -> bool:
    """Whether what only that sex has may be said to be there."""
    if unsided(site) in contradiction_rules().sex.near_sites:
        return True
    return any(sites_meet(site, own) for own in _organs()[sex][0])


def _organ_words(case: Case, sex: str) -> Place | None:
    words = _pattern("female_words" if sex == "F" else "male_words")
    for match in words.within(case.text, case.stretches):
        if not _is_of_other(case, *match.span()):
            return case.place(*match.span())
    return None


def _is_of_other(case: Case, start: int, end: int) -> bool:
    others = _pattern("others")
    return bool(others.search(case.text) and others.search(case.sentence_around(start, end)))


def _is_of_patient(case: Case, start: int) -> bool:
    if case.section_at(start) not in _TOLD_OF_PATIENT:
        return False
    return not _is_of_other(case, start, start)


def age_discrepancies(case: Case) -> Iterator[Discrepancy]:
    """Age in the text against the age that birth date and study date give, or against another age in the text."""
    stated = [d for d in case.analysis.demographics if d.age_years is not None and _is_of_patient(case, d.start)]
    ages = [(d.age_years or 0.0, case.place(d.start, d.end)) for d in stated]
    identity = case.report.identity
    computed = _age(identity.patient_birth_date, identity.study_date or identity.content_date)
    if computed is not None and ages and all(_differs(case, age, computed) for age, _ in ages):
        told, place = ages[0]
        first = header_place("PatientBirthDate", identity.patient_birth_date)
        facts = (("computed", _years(computed)), ("stated", _years(told)))
        confidence = 0.95 if abs(told - computed) >= 5 else 0.8
        yield Discrepancy(DiscrepancyKind.AGE, "header_and_text", confidence, first, place, facts)
        return
    for (one, first), (other, second) in itertools.pairwise(ages):
        if _differs(case, one, other):
            facts = (("first", _years(one)), ("second", _years(other)))
            yield Discrepancy(DiscrepancyKind.AGE, "text_and_text", 0.75, first, second, facts)
            return


def age_of(case: Case) -> float | None:
    """The patient's age in years: by the header's dates, else as the text states it."""
    identity = case.report.identity
    computed = _age(identity.patient_birth_date, identity.study_date or identity.content_date)
    if computed is not None:
        return computed
    return next(
        (d.age_years for d in case.analysis.demographics if d.age_years is not None and _is_of_patient(case, d.start)),
        None,
    )


def _differs(case: Case, told: float, other: float) -> bool:
    """Whether no way of counting explains both ages, in years."""
    rules = contradiction_rules().age
    if max(told, other) < rules.infant_years:
        return abs(told - other) >= rules.tolerance_infant
    tolerance = rules.tolerance_zh if case.analysis.language == "zh" else rules.tolerance
    if case.report.identity.patient_birth_date.endswith("0101"):
        tolerance = max(tolerance, rules.tolerance_new_year)
    return abs(int(told) - int(other)) >= tolerance


def _age(birth_date: str, date: str) -> float | None:
    """Years from one date to the other, both YYYYMMDD; None where one is none, or nobody is that old."""
    try:
        born, then = (dt.date(int(d[:4]), int(d[4:6]), int(d[6:8])) for d in (birth_date, date))
    except ValueError:
        return None
    years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
    fraction = (then - born).days / 365.25 % 1
    return years + fraction if 0 <= years <= OLDEST else None


def _years(age: float) -> str:
    return f"{age:.1f}" if age < 3 else str(int(age))
