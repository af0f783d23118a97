"""NUM content items as measurements: numbers that come out of the object as they are, with no language between."""

from typing import Any

from dicomnlp.extract.tree import Node, children_of
from dicomnlp.model import Code, CodedMeasurement

_SITES = frozenset({("SCT", "363698007"), ("SRT", "G-C0E3"), ("SCT", "272741003"), ("SRT", "G-C171")})
"""Finding site and laterality, which groups of measurements may also just contain."""
_QUALIFYING = frozenset({"HAS CONCEPT MOD", "HAS PROPERTIES", "HAS ACQ CONTEXT"})


def measurements_of(nodes: list[Node]) -> list[CodedMeasurement]:
    """Every NUM item, with or without a value, and the coded children that qualify it (PS3.16 TID 300).

    What qualifies the group that an item stands in (finding site, laterality, method: TID 1501) qualifies the item too,
    unless the item says otherwise itself.
    """
    children = children_of(nodes)
    measurements: list[CodedMeasurement] = []
    of_group: dict[int, tuple[tuple[Code, Code], ...]] = {}
    for index, node in enumerate(nodes):
        if node.item.value_type != "NUM":
            continue
        own = _modifiers(nodes, children, index, _QUALIFYING)
        if node.parent >= 0:
            if node.parent not in of_group:
                of_group[node.parent] = _modifiers(nodes, children, node.parent, frozenset({"HAS CONCEPT MOD"}))
            said = {(name.scheme, name.value) for name, _ in own}
            own += tuple(pair for pair in of_group[node.parent] if (pair[0].scheme, pair[0].value) not in said)
        item = node.item
        measurements.append(CodedMeasurement(item.path, item.concept, node.numbers, item.unit, node.qualifier, own))
    return measurements


def _modifiers(
    nodes: list[Node], children: list[list[int]], index: int, relationships: frozenset[str]
) -> tuple[tuple[Code, Code], ...]:
    """(name, value) of the CODE items among `children`, each followed by what modifies it in turn (a site's side)."""
    found: list[tuple[Code, Code]] = []
    for child in children[index]:
        item = nodes[child].item
        if item.concept is None or not isinstance(item.value, dict) or "code" not in item.value:
            continue
        if item.relationship in relationships or (item.concept.scheme, item.concept.value) in _SITES:
            found.append((item.concept, _code(item.value)))
            for grandchild in children[child]:
                inner = nodes[grandchild].item
                is_code = isinstance(inner.value, dict) and "code" in inner.value
                if inner.relationship == "HAS CONCEPT MOD" and inner.concept and is_code:
                    found.append((inner.concept, _code(inner.value)))
    return tuple(found)


def _code(value: Any) -> Code:
    """The value of a CODE item as a code."""
    return Code(value["code"], value["scheme"], value["meaning"])
