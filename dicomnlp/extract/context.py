"""Observation context (PS3.16 TID 1000 to 1010): who says it, of whom, about which procedure, in which language.

Context is inherited: what an item declares holds for it and for everything below it until something below declares
otherwise (PS3.3 C.17.5). A fetus's finding isn't the mother's, a device's isn't a physician's, and what is quoted from
another procedure's report isn't a finding of this one.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from dicomnlp.extract.headings import Heading, heading_of, section_of_words
from dicomnlp.extract.tree import Node
from dicomnlp.model import Code, ContentItem, SectionName, Temporality

_CAD_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{suffix}" for suffix in ("50", "65", "69"))
"""Mammography, chest and colon CAD: their templates name no observer, because it is the algorithm."""
_OBSERVER_TYPE = ("DCM", "121005")
_OBSERVERS = {"121006": "person", "121007": "device"}
_PERSON_NAMES = frozenset(("DCM", code) for code in ("121008", "128774"))
_DEVICE_NAMES = frozenset(("DCM", code) for code in ("121012", "121013", "121014", "121015", "121016", "121017"))
_SUBJECT_CLASS = ("DCM", "121024")
_SUBJECTS = {"121025": "", "121026": "fetus", "121027": "specimen", "121192": "device"}
_SUBJECT_NAMES = {
    ("DCM", "121037"): "fetus",
    ("LN", "11951-1"): "fetus",
    ("DCM", "121041"): "specimen",
    ("DCM", "121193"): "device",
    ("DCM", "121030"): "",
}
"""Identifiers, and the subject class that each implies; the last is any subject's."""
_PROCEDURE_STUDY, _PROCEDURE_ACCESSION = ("DCM", "121018"), ("DCM", "121022")
_QUOTATION_MODE = ("DCM", "121001")
_LANGUAGE, _COUNTRY = ("DCM", "121049"), ("DCM", "121046")
_EQUIVALENT_NAME = ("DCM", "121050")
_CONTEXTUAL = frozenset({"HAS OBS CONTEXT", "HAS CONCEPT MOD"})
_THREE_LETTERS = {
    "eng": "en", "zho": "zh", "chi": "zh", "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "spa": "es", "por": "pt",
    "ita": "it", "nld": "nl", "dut": "nl", "pol": "pl", "rus": "ru", "jpn": "ja", "kor": "ko", "tur": "tr", "ara": "ar",
}  # fmt: skip
"""ISO 639-2, which RFC 3066 lists wrote, to the two letters that RFC 5646 wants."""


@dataclass(frozen=True, slots=True)
class Context:
    """What holds for an item; "" where nothing is declared, which means the patient and the report's own observer."""

    subject: str = ""
    observer: str = ""
    temporality: Temporality = Temporality.CURRENT
    language: str = ""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The context of every node, and concept names that items declare to mean the same as their own (TID 1210)."""

    of: list[Context]
    equivalents: dict[int, Heading]


def contexts_of(
    nodes: list[Node], sop_class_uid: str, studies: Collection[str] = (), accession_numbers: Collection[str] = ()
) -> Contexts:
    """The observation context of each of `nodes`, inherited from above.

    Parameters
    ----------
    nodes
        The content items in tree order.
    sop_class_uid
        Of the object: in CAD objects the device is the observer.
    studies, accession_numbers
        Those that the report is about; what an item below the root says of any other procedure is quoted.
    """
    declared: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        concept = node.item.concept
        if concept is None or node.parent < 0:
            continue
        key = (concept.scheme, concept.value)
        if node.item.relationship in _CONTEXTUAL or key in _SUBJECT_NAMES or key == _LANGUAGE:
            declared.setdefault(node.parent, []).append(index)
    root = Context(observer="device" if sop_class_uid in _CAD_CLASSES else "")
    of: list[Context] = []
    equivalents: dict[int, Heading] = {}
    headings: dict[int, Heading | None] = {}
    """By identity of the concept: the reader makes one object of equal codes."""
    for index, node in enumerate(nodes):
        context = root if node.parent < 0 else of[node.parent]
        concept = node.item.concept
        if index in declared:
            items = [nodes[child].item for child in declared[index]]
            context = _declare(context, items, studies, accession_numbers, is_root=index == 0)
            for child in declared[index]:
                context = _declare_language(context, nodes, child)
            heading = next(filter(None, map(_equivalent, items)), None)
            if heading is not None:
                equivalents[index] = heading
        if index and concept is not None and context.temporality is Temporality.CURRENT:
            if id(concept) not in headings:
                headings[id(concept)] = heading_of(concept)
            heading = headings[id(concept)] or equivalents.get(index)
            if heading is not None and heading.section is SectionName.COMPARISON:
                context = replace(context, temporality=Temporality.PRIOR)
        of.append(context)
    return Contexts(of, equivalents)


def _declare(
    context: Context, items: list[ContentItem], studies: Collection[str], accessions: Collection[str], *, is_root: bool
) -> Context:
    """`context` with what one item's children declare."""
    observers: set[str] = set()
    subject_class: str | None = None
    name = ""
    is_quoted = False
    for item in items:
        if item.concept is None:
            continue
        key, word = (item.concept.scheme, item.concept.value), _word(item)
        if key in _SUBJECT_NAMES:
            name = word or name
            subject_class = subject_class or _SUBJECT_NAMES[key] or None
        elif key == _SUBJECT_CLASS:
            subject_class = _SUBJECTS.get(word, subject_class)
        elif key == _OBSERVER_TYPE:
            observers.add(_OBSERVERS.get(word, ""))
        elif key in _PERSON_NAMES:
            observers.add("person")
        elif key in _DEVICE_NAMES:
            observers.add("device")
        elif key == _QUOTATION_MODE:
            is_quoted = True
        elif key == _PROCEDURE_STUDY:
            is_quoted = is_quoted or bool(studies and word and word not in studies)
        elif key == _PROCEDURE_ACCESSION:
            is_quoted = is_quoted or bool(accessions and word and word not in accessions)
    if observers - {""}:
        # what a person and a device say together has been looked at by a person
        context = replace(context, observer="person" if "person" in observers else "device")
    if subject_class is not None:
        if name.casefold().startswith(subject_class):
            # "Fetus A" is its whole name
            name = name[len(subject_class) :].strip(" :#-")
        context = replace(context, subject=f"{subject_class} {name}".strip() if subject_class else "")
    if is_quoted and not is_root:
        context = replace(context, temporality=Temporality.PRIOR)
    return context


def _declare_language(context: Context, nodes: list[Node], index: int) -> Context:
    """`context` with the language that the item at `index` declares for its parent, if it does (TID 1204)."""
    concept = nodes[index].item.concept
    if concept is None or (concept.scheme, concept.value) != _LANGUAGE:
        return context
    country = ""
    for node in nodes[index + 1 : index + 5]:
        below = node.item.concept
        if node.parent == index and below is not None and (below.scheme, below.value) == _COUNTRY:
            country = _word(node.item)
    language = language_tag(_word(nodes[index].item), country)
    return replace(context, language=language) if language else context


def _word(item: ContentItem) -> str:
    """The one value of a context item: a code's value, a text, the first number."""
    value = item.value
    if isinstance(value, dict):
        return str(value.get("code") or "")
    if isinstance(value, list):
        return value[0] if value else ""
    return (value or "").strip()


def _equivalent(item: ContentItem) -> Heading | None:
    """What the parent's concept name is declared to mean in other words, if these name a section."""
    if item.concept is None or (item.concept.scheme, item.concept.value) != _EQUIVALENT_NAME:
        return None
    if isinstance(item.value, dict) and "code" in item.value:
        return heading_of(Code(item.value["code"], item.value["scheme"], item.value["meaning"]))
    return section_of_words(item.value) if isinstance(item.value, str) else None


def language_tag(code: str, country: str = "") -> str:
    """A language code of TID 1204 as RFC 5646 writes it; "" when it is none."""
    code = code.strip()
    if not re.fullmatch(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*", code):
        return ""
    language, *rest = re.split("[-_]", code)
    tag = "-".join([_THREE_LETTERS.get(language.lower(), language.lower()), *rest])
    return f"{tag}-{country.upper()}" if not rest and re.fullmatch(r"[A-Za-z]{2}", country) else tag
