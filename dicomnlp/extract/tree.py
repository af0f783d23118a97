"""The content tree of a structured report (PS3.3 C.17.3), walked leniently and without recursion.

Nothing is checked against a template: whatever hangs in a ContentSequence becomes an item, with or without a value
type, a relationship or a concept name, so that no text is lost to a rule that its writer didn't know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dicomnlp.extract.charset import Declared, declared_in
from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.values import Reader, items_of
from dicomnlp.model import Code, ContentItem

MAX_ITEMS = 500_000

_CONTENT_SEQUENCE = 0x0040A730
_VALUE_TYPE = 0x0040A040
_RELATIONSHIP = 0x0040A010
_CONCEPT_NAME = 0x0040A043
_CONTINUITY = 0x0040A050
_TEXT_VALUE = 0x0040A160
_CONCEPT_CODE = 0x0040A168
_MEASURED_VALUE = 0x0040A300
_NUMERIC_VALUE = 0x0040A30A
_FLOATING_POINT_VALUE = 0x0040A161
_UNITS = 0x004008EA
_QUALIFIER = 0x0040A301
_DATE_TIME, _DATE, _TIME, _PERSON_NAME, _UID = 0x0040A120, 0x0040A121, 0x0040A122, 0x0040A123, 0x0040A124
_REFERENCED_SOP = 0x00081199
_REFERENCED_CONTENT_ITEM = 0x0040DB73
_GRAPHIC_DATA = 0x00700022
_GRAPHIC_TYPE = 0x00700023
_TEMPORAL_RANGE_TYPE = 0x0040A130

_TEXTUAL = {
    "TEXT": _TEXT_VALUE,
    "DATETIME": _DATE_TIME,
    "DATE": _DATE,
    "TIME": _TIME,
    "PNAME": _PERSON_NAME,
    "UIDREF": _UID,
}
_INFERRED = (
    (_TEXT_VALUE, "TEXT"),
    (_MEASURED_VALUE, "NUM"),
    (_CONCEPT_CODE, "CODE"),
    (_PERSON_NAME, "PNAME"),
    (_DATE_TIME, "DATETIME"),
    (_DATE, "DATE"),
    (_TIME, "TIME"),
    (_UID, "UIDREF"),
    (_GRAPHIC_DATA, "SCOORD"),
    (_TEMPORAL_RANGE_TYPE, "TCOORD"),
    (_REFERENCED_SOP, "COMPOSITE"),
    (_CONTINUITY, "CONTAINER"),
    (_CONTENT_SEQUENCE, "CONTAINER"),
)
"""What an item without a value type is, by the first of these elements that it holds."""


@dataclass(frozen=True, slots=True)
class Node:
    """A content item with what its neighbours need to know of it."""

    item: ContentItem
    parent: int
    """Index of the parent in the list of nodes; -1 at the root."""
    is_continuous: bool
    numbers: tuple[float, ...] = ()
    qualifier: Code | None = None


def walk(root: DataSet, reader: Reader, warnings: list[str]) -> list[Node]:
    """All content items in tree order, the root first.

    Parameters
    ----------
    root
        The scanned data set; the root content item is part of it.
    reader
        Reads its values.
    warnings
        Gets ``missing_value_type``, ``dangling_reference``, ``reference_cycle``, ``too_many_items``,
        ``value_in_another_unit`` with their places.
    """
    nodes: list[Node] = []
    references: list[tuple[str, str]] = []
    stack: list[tuple[DataSet, str, int, Declared | None]] = [(root, "1", -1, None)]
    while stack:
        elements, path, parent, inherited = stack.pop()
        if len(nodes) >= MAX_ITEMS:
            warnings.append(f"too_many_items at {path}")
            break
        own = declared_in(elements) if parent >= 0 else None
        declared = inherited if own is None else own
        target = reader.numbers(elements, _REFERENCED_CONTENT_ITEM)
        if target and parent >= 0:
            target_path = ".".join(str(int(n)) for n in target)
            references.append((path, target_path))
            relationship = reader.word(elements, _RELATIONSHIP)
            item = ContentItem(path, relationship, "", None, {"by_reference": target_path})
            nodes.append(Node(item, parent, is_continuous=False))
            continue
        nodes.append(_node(elements, path, parent, declared, reader, warnings))
        content = elements.get(_CONTENT_SEQUENCE)
        if content is not None and content.items:
            index = len(nodes) - 1
            stack.extend(
                (child, f"{path}.{number}", index, declared)
                for number, child in zip(range(len(content.items), 0, -1), reversed(content.items), strict=True)
            )
    _check_references(references, {node.item.path for node in nodes}, warnings)
    return nodes


def _check_references(references: list[tuple[str, str]], paths: set[str], warnings: list[str]) -> None:
    """Warn of by-reference relationships that lead nowhere or back up (PS3.3 C.17.3.2.5); none is ever followed."""
    for source, target in references:
        if target not in paths:
            warnings.append(f"dangling_reference at {source}")
        elif source == target or source.startswith(f"{target}."):
            warnings.append(f"reference_cycle at {source}")


def _node(
    elements: DataSet, path: str, parent: int, declared: Declared | None, reader: Reader, warnings: list[str]
) -> Node:
    value_type = reader.word(elements, _VALUE_TYPE).upper()
    if not value_type:
        value_type = next((name for tag, name in _INFERRED if tag in elements), "")
        if value_type:
            warnings.append(f"missing_value_type at {path}")
    relationship = reader.word(elements, _RELATIONSHIP).upper() if parent >= 0 else ""
    concept = reader.code(elements, _CONCEPT_NAME, declared)
    is_continuous = value_type == "CONTAINER" and reader.word(elements, _CONTINUITY).upper() == "CONTINUOUS"
    if value_type == "NUM":
        numbers, value, unit = _numeric(elements, path, reader, declared, warnings)
        qualifier = reader.code(elements, _QUALIFIER, declared)
        item = ContentItem(path, relationship, value_type, concept, value, unit)
        return Node(item, parent, is_continuous, numbers, qualifier)
    value = _value(elements, value_type, reader, declared)
    return Node(ContentItem(path, relationship, value_type, concept, value), parent, is_continuous)


def _value(elements: DataSet, value_type: str, reader: Reader, declared: Declared | None) -> Any:
    """The value of an item that isn't NUM; text wherever there is text, whatever the value type says."""
    tag = _TEXTUAL.get(value_type)
    if tag is not None and tag in elements:
        return reader.text(elements, tag, declared)
    if value_type == "CODE" or (not value_type and _CONCEPT_CODE in elements):
        code = reader.code(elements, _CONCEPT_CODE, declared)
        if code is not None:
            return {"code": code.value, "scheme": code.scheme, "meaning": code.meaning}
    if _TEXT_VALUE in elements:
        return reader.text(elements, _TEXT_VALUE, declared)
    if value_type in {"SCOORD", "SCOORD3D"}:
        points = len(reader.numbers(elements, _GRAPHIC_DATA)) // (3 if value_type == "SCOORD3D" else 2)
        return {"graphic_type": reader.word(elements, _GRAPHIC_TYPE), "points": points}
    if value_type == "TCOORD":
        return {"temporal_range_type": reader.word(elements, _TEMPORAL_RANGE_TYPE)}
    if value_type in {"IMAGE", "COMPOSITE", "WAVEFORM"} or not value_type:
        return reader.reference(elements, _REFERENCED_SOP)
    return next((text for tag in _TEXTUAL.values() if (text := reader.text(elements, tag, declared))), None)


def _numeric(
    elements: DataSet, path: str, reader: Reader, declared: Declared | None, warnings: list[str]
) -> tuple[tuple[float, ...], str | list[str] | None, Code | None]:
    """Numbers, their text and unit (PS3.3 C.18.1); a value that isn't a number stays as text only.

    The standard allows one measured value; of several those in the unit of the first count, and others are told.
    """
    measured = items_of(elements, _MEASURED_VALUE)
    if not measured:
        return (), None, None
    units = [reader.code(item, _UNITS, declared) for item in measured]
    numbers: list[float] = []
    texts: list[str] = []
    for item, unit in zip(measured, units, strict=True):
        if unit != units[0]:
            warnings.append(f"value_in_another_unit at {path}")
            continue
        found, words = _numbers_of(item, reader, declared)
        numbers += found
        texts += words
    finite = tuple(number for number in numbers if abs(number) != float("inf") and number == number)  # noqa: PLR0124
    value: str | list[str] | None = texts[0] if len(texts) == 1 else (texts or None)
    return finite, value, units[0]


def _numbers_of(measured: DataSet, reader: Reader, declared: Declared | None) -> tuple[list[float], list[str]]:
    texts = [t.strip() for t in reader.text(measured, _NUMERIC_VALUE, declared).split("\\") if t.strip()]
    numbers: list[float] = []
    for text in texts:
        try:
            # some writers use a decimal comma, which DS does not know
            numbers.append(float(text.replace(",", ".")))
        except ValueError:
            continue
    exact = reader.numbers(measured, _FLOATING_POINT_VALUE)
    if exact and len(exact) == max(len(texts), 1):
        # DS has 16 characters; FloatingPointValue holds what didn't fit
        numbers = exact
        texts = texts or [repr(number) for number in exact]
    return numbers, texts


def children_of(nodes: list[Node]) -> list[list[int]]:
    """For every node the indices of its children, in order."""
    children: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        if node.parent >= 0:
            children[node.parent].append(index)
    return children


def ancestors(nodes: list[Node], index: int) -> Iterator[int]:
    """Indices of the nodes above `index`, nearest first."""
    parent = nodes[index].parent
    while parent >= 0:
        yield parent
        parent = nodes[parent].parent
