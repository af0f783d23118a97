"""docs/reference/dicomweb.md says what is so."""

import re
from pathlib import Path

import pytest

from dicomnlp.config import Settings
from dicomnlp.serve import dicomweb_query, dicomweb_store
from dicomnlp.serve.app import create_app
from dicomnlp.serve.conditional import MINIMUM_GZIP_BYTES
from dicomnlp.store.dicomweb import ATTRIBUTES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dicomweb.md"


@pytest.fixture(scope="module")
def page():
    """Its text."""
    return PAGE.read_text(encoding="utf-8")


def test_page_lists_the_paths(page):
    """Those of the OpenAPI document, and no others."""
    document = create_app(Settings(), lambda: None).openapi()
    answered = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    answered = {each for each in answered if " /dicom-web" in each}
    listed = set(re.findall(r"`((?:GET|POST) /dicom-web[^`]*)`", page))
    retrieved = {
        path for path in listed if path.startswith("GET") and not re.search(r"(studies|series|instances)$", path)
    }
    listed |= {f"{path}/{what}" for path in retrieved for what in ("metadata", "rendered")}
    [instance] = (path for path in retrieved if "{sop_instance_uid}" in path)
    assert answered == listed | {f"{instance}/bulkdata/{{place}}"}


def test_page_lists_the_attributes_and_parameters(page):
    """With tag, VR and level."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| \((\w{4}),(\w{4})\) \| (\w\w) \|$", page, re.MULTILINE)
    listed = {keyword: (level, int(group + element, 16), vr) for level, keyword, group, element, vr in rows}
    assert listed == {name: (a.level.name.lower(), a.tag, a.vr) for name, a in ATTRIBUTES.items()}
    table = page.split("| parameter | meaning |")[1].split("\n\n")[0]
    named = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert set(named) == set(dicomweb_query.OPTIONS)


def test_page_tells_the_limits(page):
    """As they are."""
    assert f"{dicomweb_query.DEFAULT_LIMIT} unless told, at most {dicomweb_query.MAXIMUM_LIMIT}" in page
    assert f"{dicomweb_store.MAXIMUM_STORE_BYTES >> 20} MiB or {dicomweb_store.MAXIMUM_OBJECTS:,} objects" in page
    assert f"more than {MINIMUM_GZIP_BYTES:,} bytes" in (PAGE.parent / "http-api.md").read_text(encoding="utf-8")
