"""Descendants of concepts, parts of sites."""

import itertools
import tomllib

import pytest

from dicomnlp.analyse import expand_concept, expand_site
from dicomnlp.analyse.hierarchy import PARTS
from dicomnlp.analyse.pack import LANGUAGES, read_pack
from dicomnlp.errors import UsageError

TREE = tomllib.loads(PARTS.read_text(encoding="utf-8"))["parts"]


def test_concepts_have_their_descendants_of_every_generation():
    """Children and theirs, itself included, and nothing beside it."""
    fractures = expand_concept("fracture")
    assert {"fracture", "rib_fracture", "hip_fracture"} <= set(fractures)
    assert "pneumothorax" not in fractures
    assert set(expand_concept("pulmonary_nodule")) < set(expand_concept("lesion"))
    assert expand_concept("target") == ("target",)


@pytest.mark.parametrize(
    ("site", "part", "other"),
    [
        ("chest", "right_upper_lobe", "liver"),
        ("lung", "lingula", "pleura"),
        ("right_lung", "minor_fissure", "lingula"),
        ("abdomen", "pancreatic_tail", "heart"),
        # a part of two: it is found by both
        ("rib", "rib", "chest_wall"),
        ("bone", "rib", "lung"),
        ("chest_wall", "rib", "femur"),
        ("spine", "odontoid", "rib"),
    ],
)
def test_sites_have_their_parts(site, part, other):
    """Parts of parts too; not what they are parts of."""
    found = expand_site(site)
    assert site in found
    assert part in found
    assert other not in found


def test_parts_are_sites_of_a_pack_and_no_site_is_part_of_itself():
    """The table names nothing that no report can say."""
    known = set().union(*(read_pack(path.parent).anatomy for path in LANGUAGES.glob("*/pack.toml")))
    named = {*TREE, *itertools.chain.from_iterable(TREE.values())}
    assert named <= known
    for whole in TREE:
        assert not [part for part in TREE[whole] if whole in expand_site(part)], whole


@pytest.mark.parametrize(
    ("expand", "wrong", "right"), [(expand_concept, "fractur", "fracture"), (expand_site, "livr", "liver")]
)
def test_unknown_ids_are_refused_with_the_nearest(expand, wrong, right):
    """What was given is not repeated; of what is like nothing no suggestion is made."""
    with pytest.raises(UsageError) as caught:
        expand(wrong)
    assert str(caught.value).endswith(f"did you mean {right}?")
    with pytest.raises(UsageError) as caught:
        expand("zzzzzzzz")
    assert "mean" not in str(caught.value)
