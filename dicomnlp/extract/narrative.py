"""The prose of a content tree as one text, with the headings that its codes stand for and the way back to its items.

Which TEXT is narrative: the target of CONTAINS, or an attribute of what is; never observation context, concept
modifiers or acquisition context, and nothing below them (PS3.3 C.17.3.2.4). Dose, acquisition and imaging agent reports
hold machine text throughout, except for comments.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from dicomnlp.extract.context import Context, Contexts
from dicomnlp.extract.headings import Heading, heading_of, is_never_narrative, section_of_words
from dicomnlp.extract.hygiene import plain_text
from dicomnlp.extract.prose import is_prose
from dicomnlp.extract.tree import Node, ancestors, children_of
from dicomnlp.model import Code, Narrative, Section, SectionName, Segment, Temporality

MACHINE_SOP_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.88.{suffix}" for suffix in ("67", "68", "71", "73", "74", "75", "76")
)
"""X-ray, radiopharmaceutical, patient and enhanced X-ray dose; acquisition context; planned and performed agents."""
_DOSE_TITLES = frozenset({"113701", "113500"})
"""X-Ray and Radiopharmaceutical Radiation Dose Report, which older systems send as Enhanced SR."""
_COMMENT = ("DCM", "121106")
_CONTEXT = frozenset({"HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "SELECTED FROM"})
_ATTRIBUTES = frozenset({"INFERRED FROM", "HAS PROPERTIES"})
_NOT_TEXT = frozenset({"DATETIME", "DATE", "TIME", "PNAME", "UIDREF", "NUM", "CODE"})
_OWN_HEADING = re.compile(r"^[ \t*#]*([^\W\d_][^\n:：]{0,59}?)[ \t]*(?:[:：]|$)", re.MULTILINE)
_GROUPS = frozenset({("DCM", "125005"), ("DCM", "125007")})
"""Biometry and measurement groups: containers of templates, whose names tell a reader nothing."""
_SHORT = 40
"""Characters of a text that may be punctuation or a number within a sentence."""


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    path: str
    context: Context


class _Subject(str):
    """The name of whom a paragraph is about, when that isn't the patient: a label that no heading hides."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph and what it stands under."""

    pieces: tuple[_Piece, ...]
    section: SectionName | None
    title: str
    title_path: str
    label: str
    """What is said of this paragraph only: an organ, a side, a fetus."""


def holds_prose(sop_class_uid: str, title: Code | None) -> bool:
    """Whether objects of this class and title tell what was seen, rather than how something was done."""
    is_dose_report = title is not None and title.scheme == "DCM" and title.value in _DOSE_TITLES
    return sop_class_uid not in MACHINE_SOP_CLASSES and not is_dose_report


def narrative_of(nodes: list[Node], contexts: Contexts, sop_class_uid: str, warnings: list[str]) -> Narrative:
    """Join the prose among `nodes`.

    Sections have a blank line between them and their heading on a line of its own, ended by a colon; items of a
    SEPARATE container are lines of their own, those of a CONTINUOUS one make one sentence.

    Parameters
    ----------
    nodes
        The content items in tree order, as `tree.walk` returns them.
    contexts
        Of the nodes.
    sop_class_uid
        Of the object: some classes hold no narrative but comments.
    warnings
        Gets ``code_meaning_conflict`` with the item's path.
    """
    if not nodes:
        return Narrative("")
    children = children_of(nodes)
    only_comments = not holds_prose(sop_class_uid, nodes[0].item.concept)
    excluded = [False] * len(nodes)
    sentences: dict[int, list[_Piece]] = {}
    """By the item that each begins with; the others of its items have none."""
    blocks: list[_Block] = []
    for index, node in enumerate(nodes):
        excluded[index] = node.item.relationship in _CONTEXT or (node.parent >= 0 and excluded[node.parent])
        if excluded[index]:
            continue
        if node.is_continuous and not only_comments:
            sentences.update(_sentences(nodes, children[index], contexts))
            continue
        if index in sentences:
            if sentences[index]:
                blocks.append(_block(nodes, node.parent, tuple(sentences[index]), contexts, warnings))
            continue
        text = _text_of(node)
        if text and (not only_comments or _is_comment(node.item.concept)):
            blocks.append(_block(nodes, index, (_Piece(text, node.item.path, contexts.of[index]),), contexts, warnings))
    return _compose(blocks, contexts.of[0].language)


def _is_comment(concept: Code | None) -> bool:
    return concept is not None and (concept.scheme, concept.value) == _COMMENT


def _text_of(node: Node) -> str:
    """The plain text of a TEXT item (or of an unknown value type that holds text); "" when it is no prose."""
    item = node.item
    if not isinstance(item.value, str) or item.value_type in _NOT_TEXT or is_never_narrative(item.concept):
        return ""
    return plain_text(item.value) if is_prose(item.value) else ""


def _sentences(nodes: list[Node], children: list[int], contexts: Contexts) -> dict[int, list[_Piece]]:
    """What the items of a CONTINUOUS container read as, in order (PS3.3 C.17.3.2.3); a container within divides them.

    Empty when the container is continuous in name only: without any text, or with texts under headings of their own,
    as whole reports have it whose writer chose the word at random.
    """
    found: dict[int, list[_Piece]] = {}
    first: int | None = None
    texts = 0
    headings: set[SectionName] = set()
    for child in children:
        item = nodes[child].item
        if item.value_type == "CONTAINER":
            first = None
        if not _is_part_of_sentence(nodes[child]):
            continue
        if item.value_type in _NOT_TEXT:
            words = _words(nodes[child])
        else:
            words = _text_of(nodes[child])
            texts += bool(words)
            if not words and isinstance(item.value, str) and len(item.value) <= _SHORT:
                # a full stop or a number is no prose by itself, and part of this sentence
                words = "" if is_never_narrative(item.concept) else plain_text(item.value).strip()
            heading = heading_of(item.concept) if item.concept else None
            if words and heading is not None and heading.section is not None and not heading.is_generic:
                headings.add(heading.section)
        found[child] = []
        if words:
            first = child if first is None else first
            found[first].append(_Piece(words, item.path, contexts.of[child]))
    return found if texts and len(headings) < 2 else {}


def _is_part_of_sentence(node: Node) -> bool:
    """Whether a child of a CONTINUOUS container is read in line: not what explains it, nor a container of its own."""
    relationship = node.item.relationship
    return relationship not in _CONTEXT | _ATTRIBUTES and node.item.value_type != "CONTAINER"


def _words(node: Node) -> str:
    """A coded or numeric item as it reads within a sentence."""
    value = node.item.value
    if isinstance(value, dict):
        return plain_text(str(value.get("meaning") or ""))
    if node.item.value_type == "NUM":
        numbers = value if isinstance(value, list) else [value or ""]
        unit = node.item.unit.value if node.item.unit else ""
        # "1" and annotations in braces are UCUM's words for having no unit
        unit = "" if unit == "1" or unit.startswith("{") else unit
        return f"{' x '.join(numbers)} {unit}".strip()
    if node.item.value_type == "PNAME":
        return " ".join(str(value or "").split("=")[0].replace("^", " ").split())
    return str(value or "")


def _block(
    nodes: list[Node], index: int, pieces: tuple[_Piece, ...], contexts: Contexts, warnings: list[str]
) -> _Block:
    """Place a paragraph: its section by the nearest concept name that names one, and the words that stand above it."""
    chain: list[tuple[str, str, Heading | None]] = []
    """(label, path, heading) from the paragraph's own concept name outwards; the document title is no heading."""
    for place in (index, *ancestors(nodes, index)):
        item = nodes[place].item
        subject = contexts.of[place].subject
        if subject and (nodes[place].parent < 0 or contexts.of[nodes[place].parent].subject != subject):
            chain.append((_Subject(subject[0].upper() + subject[1:]), item.path, None))
        if item.concept is None or nodes[place].parent < 0:
            continue
        if place != index and item.value_type not in {"CONTAINER", ""}:
            continue
        heading = heading_of(item.concept) or contexts.equivalents.get(place)
        if heading is not None and heading.is_conflict:
            warnings.append(f"code_meaning_conflict at {item.path}")
        is_group = (item.concept.scheme, item.concept.value) in _GROUPS
        chain.append(("" if is_group else _label(item.concept.meaning), item.path, heading))

    known = [i for i, (_, _, heading) in enumerate(chain) if heading is not None and heading.section is not None]
    strong = [i for i in known if not (chain[i][2] or Heading(None)).is_generic] or known
    deciding = strong[0] if strong else None
    if len(strong) > 1 and _are_one_name(chain[strong[0]][0], chain[strong[1]][0]):
        deciding = strong[1]
    for i in strong:
        heading = chain[i][2]
        # what stands below a previous finding is previous, whatever it is called there
        if heading is not None and heading.section is SectionName.COMPARISON:
            deciding = i
    if deciding is not None:
        title, title_path, heading = chain[deciding]
        section = heading.section if heading else None
        # an organ, a side or an examination that the section stands in is part of what its text says
        labels = [*chain[:deciding], *chain[deciding + 1 :]]
    else:
        named = [i for i, (label, _, heading) in enumerate(chain) if label and heading is None]
        if named:
            title, title_path, _ = chain[named[-1]]
            section = SectionName.OTHER
            labels = chain[: named[-1]]
        else:
            title, title_path, section, labels = "", "", None, []
    if contexts.of[index].temporality is Temporality.PRIOR:
        section = SectionName.COMPARISON
    own_words, own_sections = _own_headings(pieces[0].text)
    if own_sections and section not in {SectionName.COMPARISON, SectionName.ADDENDUM}:
        if own_sections == {section}:
            title = own_words
        else:
            # a whole report in one text: its own headings say more than the code it was put under
            title, title_path, section, labels = "", "", None, []
    words = [label for label, _, heading in reversed(labels) if label and heading is None]
    return _Block(pieces, section, title, title_path, ", ".join(dict.fromkeys(words)))


@lru_cache(maxsize=4096)
def _label(meaning: str) -> str:
    """A concept name's meaning as words above a text; "" when it is a number or a letter only."""
    label = " ".join(plain_text(meaning).split()).rstrip(" :：.")
    return label if len(re.findall(r"[^\W\d_]", label)) > 1 and len(label) <= 120 else ""


def _own_headings(text: str) -> tuple[str, set[SectionName]]:
    """The heading that `text` begins with, as written, and all sections that its lines open; "" and none without."""
    first = _OWN_HEADING.match(text)
    if first is None or not _names_section(first[1]):
        return "", set()
    headings = (section_of_words(match[1]) for match in _OWN_HEADING.finditer(text))
    return first[1], {heading.section for heading in headings if heading is not None and heading.section is not None}


def _names_section(words: str) -> bool:
    heading = section_of_words(words)
    return heading is not None and heading.section is not None


def _are_one_name(element: str, container: str) -> bool:
    """Whether they are a heading and its singular: "Impression" (CID 7002) under "Impressions" (CID 7001)."""
    return element.casefold().rstrip("s") == container.casefold().rstrip("s")


def _starts_with(text: str, words: str) -> bool:
    """Whether `text` itself begins with the heading."""
    start = text.lstrip(" *#-")[: len(words) + 2].casefold()
    return start[: len(words)] == words.casefold() and start[len(words) :].lstrip()[:1] in {":", "：", "\n", "-", ""}


_NO_CONTEXT = Context()


class _Composer:
    """Grows the text and keeps account of where each character came from."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[str] = []
        self.length = 0
        self.segments: list[Segment] = []

    def write(self, text: str, path: str = "", context: Context = _NO_CONTEXT) -> None:
        """Append `text`; `path` is the item it came from, "" for what only holds the items apart."""
        if text and path:
            language = context.language if context.language != self.language else ""
            end = self.length + len(text)
            self.segments.append(Segment(self.length, end, path, context.subject, context.observer, language))
        self.parts.append(text)
        self.length += len(text)


def _compose(blocks: list[_Block], language: str) -> Narrative:
    composer = _Composer(language)
    sections: list[Section] = []
    previous: _Block | None = None
    for block in blocks:
        first = block.pieces[0].text
        same = previous is not None and (block.section, block.title) == (previous.section, previous.title)
        if previous is not None:
            composer.write("\n" if same else "\n\n")
        if not same:
            start = body_start = composer.length
            if block.title and not _starts_with(first, block.title):
                composer.write(f"{block.title}:", block.title_path, block.pieces[0].context)
                composer.write("\n")
                body_start = composer.length
            elif block.title:
                body_start = start + _end_of_own_heading(first, block.title)
            if block.section is not None:
                sections.append(Section(block.section, block.title or None, start, start, body_start))
        is_said = same and previous is not None and previous.label == block.label
        if block.label and not is_said and not _starts_with(first, block.label):
            composer.write(f"{block.label}:", block.pieces[0].path, block.pieces[0].context)
            composer.write(" ")
        for number, piece in enumerate(block.pieces):
            if number and not re.match(r"[.,;:!?)\]%。，、；：]", piece.text):
                composer.write(" ")
            composer.write(piece.text, piece.path, piece.context)
        if block.section is not None:
            last = sections[-1]
            sections[-1] = Section(last.name, last.title, last.start, composer.length, last.body_start)
        previous = block
    return Narrative("".join(composer.parts), tuple(sections), tuple(composer.segments))


def _end_of_own_heading(text: str, title: str) -> int:
    """Where the body starts in a text that begins with its own heading."""
    match = re.match(r"[ *#-]*" + re.escape(title) + r"\s*[:：-]?\s*", text, re.IGNORECASE)
    return match.end() if match else 0
