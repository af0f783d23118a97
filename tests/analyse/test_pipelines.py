"""Pipelines are named without being loaded, kept as archives, and used in turn."""

import io
import zipfile

import pytest

from dicomnlp.analyse import Source, analyse, languages, pipeline_name, use_source
from dicomnlp.analyse.archive import names_of, pack_archive, unpack_archive
from dicomnlp.analyse.engine import loaded_by
from dicomnlp.analyse.pack import LANGUAGES, codes_in
from dicomnlp.analyse.pipelines import is_name, pipeline_names
from dicomnlp.errors import UsageError
from dicomnlp.model import Narrative

OVERLAY = '[concepts.pulmonary_nodule]\nterms = ["spotlet"]\n'


@pytest.fixture(autouse=True)
def _as_configured():
    """Whatever a test reads by, the next reads by the program's packs alone."""
    yield
    use_source(Source())


@pytest.fixture
def overlays(tmp_path):
    """A folder with an overlay of German, whose pack is the quickest to load."""
    (tmp_path / "overlays" / "de").mkdir(parents=True)
    (tmp_path / "overlays" / "de" / "concepts.toml").write_text(OVERLAY, encoding="utf-8")
    return tmp_path / "overlays"


def test_name_is_the_one_that_findings_bear(overlays):
    """With and without an overlay; languages that it isn't of keep theirs."""
    alone, with_it = pipeline_names(Source()), pipeline_names(Source(overlays=overlays))
    assert set(alone) == set(languages())
    assert {code for code in alone if alone[code] != with_it[code]} == {"de"}
    assert alone["de"] == pipeline_name("de")
    use_source(Source(overlays=overlays))
    assert with_it["de"] == pipeline_name("de")
    assert analyse(Narrative("Ein Spotlet."), language="de").pipeline == with_it["de"]


def test_pack_of_a_folder_takes_the_place_of_the_programs(tmp_path):
    """Also one that is based on a pack that only the program has; others stay."""
    folder = tmp_path / "packs" / "de"
    folder.mkdir(parents=True)
    for file in (LANGUAGES / "de").glob("*.toml"):
        (folder / file.name).write_bytes(file.read_bytes())
    for part in (p for p in (LANGUAGES / "de").iterdir() if p.is_dir()):
        (folder / part.name).mkdir()
        for file in part.glob("*.toml"):
            (folder / part.name / file.name).write_bytes(file.read_bytes())
    source = Source(packs=tmp_path / "packs")
    assert pipeline_names(source)["de"] == pipeline_names(Source())["de"]  # the same files are the same pipeline
    with (folder / "context.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    archive, _ = pack_archive(source)
    names = names_of(archive, None)
    assert names["de"] != pipeline_names(Source())["de"]
    assert names["en"] == pipeline_names(Source())["en"]
    use_source(unpack_archive(archive, tmp_path / "laid"))
    assert pipeline_name("de") == names["de"]


def test_new_language_comes_with_a_folder_of_packs(tmp_path):
    """It is one of those that are read, as long as the folder is."""
    (tmp_path / "xx").mkdir()
    about = (LANGUAGES / "de" / "pack.toml").read_text(encoding="utf-8")
    (tmp_path / "xx" / "pack.toml").write_text(about.replace('language = "de"', 'language = "xx"'), encoding="utf-8")
    use_source(Source(packs=tmp_path))
    assert "xx" in languages()
    use_source(Source())
    assert "xx" not in languages()


def test_archive_is_what_was_packed_whenever_that_was(overlays, tmp_path):
    """The same files, the same digest; another file, another."""
    archive, sha256 = pack_archive(Source(overlays=overlays))
    assert pack_archive(Source(overlays=overlays)) == (archive, sha256)
    source = unpack_archive(archive, tmp_path / "laid")
    assert source.packs is None
    assert (source.overlays / "de" / "concepts.toml").read_text(encoding="utf-8") == OVERLAY
    assert names_of(archive, None) == pipeline_names(Source(overlays=overlays))
    (overlays / "de" / "context.toml").write_text("", encoding="utf-8")
    assert pack_archive(Source(overlays=overlays))[1] != sha256


@pytest.mark.parametrize("name", ["../packs/de/x.toml", "packs/../x.toml", "elsewhere/de/x.toml", "x.toml"])
def test_archive_that_would_write_elsewhere_is_refused(tmp_path, name):
    """Nothing is written outside of the folder, and nothing that isn't of a pipeline."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(UsageError):
        unpack_archive(held.getvalue(), tmp_path / "laid")
    assert not list(tmp_path.rglob("x.toml"))


def test_folder_without_files_and_too_large_ones_are_refused(tmp_path, monkeypatch, overlays):
    """Before anything is kept."""
    with pytest.raises(UsageError):
        pack_archive(Source(overlays=tmp_path / "empty"))
    monkeypatch.setattr("dicomnlp.analyse.archive.MAXIMUM_BYTES", 3)
    with pytest.raises(UsageError):
        pack_archive(Source(overlays=overlays))


def test_two_pipelines_in_turn_are_loaded_once_each(overlays):
    """A worker that reads by both by turns isn't loading all the time; a third takes their place."""
    loaded_by.cache_clear()
    for _ in range(3):
        for source in (Source(), Source(overlays=overlays)):
            use_source(source)
            pipeline_name("de")
    assert loaded_by.cache_info().misses == 2


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("thyroid-terms", True),
        ("2026.12_b", True),
        ("a", True),
        ("", False),
        ("-a", False),
        ("a b", False),
        ("a/b", False),
        ("a" * 65, False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_names_can_stand_in_addresses(text, fits):
    """Letters, digits, and . _ - between them."""
    assert is_name(text) is fits


def test_codes_are_of_both_folders(tmp_path):
    """The program's, and the site's."""
    (tmp_path / "xx").mkdir()
    (tmp_path / "xx" / "pack.toml").write_text("", encoding="utf-8")
    assert set(codes_in(tmp_path)) == {*codes_in(), "xx"}
