"""NUM and CODE content items as statements: what the object says in codes, with no language between."""

from collections.abc import Mapping
from typing import Any

from dicomnlp.extract.context import Contexts
from dicomnlp.extract.headings import is_never_finding
from dicomnlp.extract.tree import Node
from dicomnlp.model import Code, CodedFinding, CodedMeasurement

_SITES = frozenset({("SCT", "363698007"), ("SRT", "G-C0E3"), ("SCT", "272741003"), ("SRT", "G-C171")})
"""Finding site and laterality, which groups of measurements may also just contain."""
_EQUIVALENTS = frozenset({("DCM", "121050"), ("DCM", "121051"), ("DCM", "121049")})
"""Other words for the same (TID 1210) and their language: they modify the words, not what is said."""
_MODIFYING = frozenset({"HAS CONCEPT MOD"})
_QUALIFYING = frozenset({"HAS CONCEPT MOD", "HAS PROPERTIES", "HAS ACQ CONTEXT"})
_STATING = frozenset({"CONTAINS", "INFERRED FROM", ""})
_IMAGE_LIBRARY = frozenset({("DCM", "111028"), ("DCM", "126200")})
_NOTHING: tuple[int, ...] = ()

Modifiers = tuple[tuple[Code, Code], ...]


def statements_of(
    nodes: list[Node], contexts: Contexts, *, has_findings: bool
) -> tuple[tuple[CodedMeasurement, ...], tuple[CodedFinding, ...]]:
    """Every NUM item, and every CODE item that states something, each with the codes that qualify it (TID 300).

    What qualifies the group that an item stands in (finding site, laterality, method: TID 1501) qualifies the item too,
    unless the item says otherwise itself.

    Parameters
    ----------
    nodes
        The content items in tree order.
    contexts
        Of the nodes.
    has_findings
        False for objects whose codes describe how something was done, not what was seen: dose, acquisition, agents.

    Returns
    -------
    tuple
        Measurements, with or without a value; and findings: CODE items that are contained, or that others are inferred
        from. Context, modifiers, image libraries and what stands below them state nothing (PS3.3 C.17.3.2.4).
    """
    coded_children: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        if node.item.value_type == "CODE" and node.item.concept is not None and isinstance(node.item.value, dict):
            coded_children.setdefault(node.parent, []).append(index)
    of_group: dict[int, Modifiers] = {}
    silent = [False] * len(nodes)
    measurements: list[CodedMeasurement] = []
    findings: list[CodedFinding] = []
    for index, node in enumerate(nodes):
        item, parent = node.item, node.parent
        key = (item.concept.scheme, item.concept.value) if item.concept is not None else ("", "")
        if parent >= 0:
            silent[index] = silent[parent] or item.relationship not in _STATING or key in _IMAGE_LIBRARY
        if item.value_type != "NUM" and (
            item.value_type != "CODE"
            or not has_findings
            or silent[index]
            or key in _SITES
            or not isinstance(item.value, dict)
            or is_never_finding(item.concept)
        ):
            continue
        own = _modifiers(nodes, coded_children, index, _QUALIFYING)
        if parent >= 0:
            if parent not in of_group:
                of_group[parent] = _modifiers(nodes, coded_children, parent, _MODIFYING)
            if of_group[parent]:
                said = {(name.scheme, name.value) for name, _ in own}
                own += tuple(pair for pair in of_group[parent] if (pair[0].scheme, pair[0].value) not in said)
        context = contexts.of[index]
        about = (own, context.subject, context.observer, context.temporality)
        if item.value_type == "NUM":
            measurements.append(
                CodedMeasurement(item.path, item.concept, node.numbers, item.unit, node.qualifier, *about)
            )
        else:
            findings.append(CodedFinding(item.path, item.concept, _code(item.value), *about))
    return tuple(measurements), tuple(findings)


def _modifiers(
    nodes: list[Node], coded_children: Mapping[int, list[int]], index: int, relationships: frozenset[str]
) -> Modifiers:
    """(name, value) of the CODE items below `index`, each followed by what modifies it in turn (a site's side)."""
    found: list[tuple[Code, Code]] = []
    for child in coded_children.get(index, _NOTHING):
        item = nodes[child].item
        name = item.concept
        if name is None or (name.scheme, name.value) in _EQUIVALENTS:
            continue
        if item.relationship in relationships or (name.scheme, name.value) in _SITES:
            found.append((name, _code(item.value)))
            for grandchild in coded_children.get(child, _NOTHING):
                inner = nodes[grandchild].item
                if inner.relationship == "HAS CONCEPT MOD" and inner.concept is not None:
                    found.append((inner.concept, _code(inner.value)))
    return tuple(found)


def _code(value: Any) -> Code:
    """The value of a CODE item as a code."""
    return Code(value["code"], value["scheme"], value["meaning"])
