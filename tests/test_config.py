"""Settings: precedence, messages, and the generated config.toml."""

import os
from pathlib import Path

import pytest

from dicomnlp import config
from dicomnlp.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A configuration file in a folder of its own, and no variables of the environment's."""
    for name in [n for n in os.environ if n.startswith("DICOMNLP_")]:
        monkeypatch.delenv(name)

    def write(text):
        path = tmp_path / "site.toml"
        path.write_text(text)
        return path

    return write


def test_config_toml_is_the_generated_file():
    """`python -m dicomnlp.config > config.toml` was run after the last change of a key."""
    assert (ROOT / "config.toml").read_text() == config.default_file()


def test_defaults_are_those_of_the_public_contract(file):
    """Clients rely on these without reading config.toml."""
    settings = config.load(file(""))
    assert (settings.listener.ae_title, settings.listener.host, settings.listener.port) == (
        "DICOMNLP",
        "127.0.0.1",
        11112,
    )
    assert settings.listener.processes == 1
    assert settings.database.url == "sqlite:///var/dicomnlp.db"
    assert (settings.work.workers, settings.work.scheduler) == (0, "")
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)


def test_generated_file_loads_as_the_defaults(file):
    """The file that people edit says the same as no file at all."""
    assert config.load(file(config.default_file())).model_dump() == config.load(file("")).model_dump()


def test_environment_comes_before_the_file_key_by_key(file, monkeypatch):
    """A variable replaces its key only; the other keys of the table stay the file's."""
    monkeypatch.setenv("DICOMNLP_LISTENER__PORT", "104")
    settings = config.load(file('[listener]\nport = 11113\nae_title = "ARCHIVE"\n'))
    assert (settings.listener.port, settings.listener.ae_title) == (104, "ARCHIVE")


def test_relative_paths_are_relative_to_the_file(file, tmp_path):
    """The service finds its database from whatever folder it is started."""
    settings = config.load(file(""))
    assert settings.database_url == f"sqlite:///{tmp_path}/var/dicomnlp.db"
    assert settings.large_object_directory == tmp_path / "var/objects"


def test_absolute_and_postgresql_urls_are_left_alone(file):
    """Only relative SQLite paths are completed."""
    for url in ("sqlite:////data/x.db", "postgresql+psycopg://u:p@h/d"):
        assert config.load(file(f'[database]\nurl = "{url}"\n')).database_url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[listener]\nprot = 1\n", ["site.toml", "listener.prot", "did you mean port?"]),
        ("[listner]\nport = 1\n", ["listner", "did you mean listener?"]),
        ('[listener]\nport = "x"\n', ["listener.port", "integer"]),
        ("[listener]\nport = 70000\n", ["listener.port", "65535"]),
        ('[listener]\nae_title = "   "\n', ["listener.ae_title", "16 printable"]),
        ('[listener]\nae_title = "SEVENTEEN_LETTERS"\n', ["listener.ae_title"]),
        ('[listener]\nae_title = "A\\\\B"\n', ["listener.ae_title"]),
        ('[listener]\nhost = "0.0.0.0"\n', ["listener", "allow_remote"]),
        ('[web]\nhost = "192.168.0.1"\n', ["web", "allow_remote"]),
        ('[logs]\nlevel = "loud"\n', ["logs.level"]),
        ("listener = [\n", ["site.toml", "TOML"]),
    ],
)
def test_message_names_the_key_and_what_to_do(file, text, words):
    """Every wrong configuration is refused with a message that finds the place."""
    with pytest.raises(ConfigurationError) as caught:
        config.load(file(text))
    for word in words:
        assert word in str(caught.value)


def test_all_wrong_keys_are_named_at_once(file):
    """Nobody mends a file one restart a key."""
    with pytest.raises(ConfigurationError) as caught:
        config.load(file("[listener]\nport = 0\n[web]\nport = 0\n"))
    assert "listener.port" in str(caught.value)
    assert "web.port" in str(caught.value)


def test_misspelt_environment_variable_is_refused(file, monkeypatch):
    """It would otherwise be without effect and without a word."""
    monkeypatch.setenv("DICOMNLP_LISTENER__PROT", "104")
    with pytest.raises(ConfigurationError, match="DICOMNLP_LISTENER__PORT"):
        config.load(file(""))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DICOMNLP_LISTENER__PORT", "abc", "listener.port: Input should be a valid integer"),
        ("dicomnlp_web__port", "70000", "web.port"),
        ("DICOMNLP_LISTENER", '{"port": "abc"}', "listener.port"),
        # wrong with the table as a whole, because of this key
        ("DICOMNLP_WEB__HOST", "0.0.0.0", "allow_remote"),
        ("DICOMNLP_EXTRACT__CHARACTER_SET_FALLBACKS", '["klingon"]', "Python codec"),
        ("DICOMNLP_EXTRACT__CHARACTER_SET_FALLBACKS", "klingon", "JSON"),
        ("DICOMNLP_LISTENER", "{", "JSON"),
    ],
)
def test_wrong_variable_is_named_and_not_the_file(file, monkeypatch, name, value, words):
    """The file is where nobody would find it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        config.load(file("[work]\nworkers = 1\n"))
    assert str(caught.value).startswith(f"environment variable {name}: ")
    assert words in str(caught.value)
    assert "site.toml" not in str(caught.value)


def test_wrong_key_of_the_file_is_not_blamed_on_variables_of_other_keys(file, monkeypatch):
    """Even of the same table."""
    monkeypatch.setenv("DICOMNLP_LISTENER__AE_TITLE", "ARCHIVE")
    with pytest.raises(ConfigurationError, match=r"^site\.toml: listener\.port"):
        config.load(file("[listener]\nport = 0\n"))


def test_named_file_must_exist(tmp_path):
    """--config with a wrong path doesn't mean the defaults."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        config.load(tmp_path / "none.toml")


def test_open_address_is_allowed_on_purpose(file):
    """allow_remote in the same table says that it is meant."""
    settings = config.load(file('[listener]\nhost = "0.0.0.0"\nallow_remote = true\n'))
    assert settings.listener.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.9.1", True), ("0.0.0.0", False), ("pacs", False)],
)
def test_loopback_is_recognised(host, expected):
    """A name other than localhost may resolve to anything."""
    assert config.is_loopback(host) is expected


def test_character_sets_are_configurable_for_each_sender(file):
    """As a table of calling AE titles, in the file as the default shows it or as a table of its own."""
    settings = config.load(file('[extract]\ncharacter_set_fallbacks_by_ae_title = {"OLD PACS" = ["cp1250"]}\n'))
    assert settings.extract.character_set_fallbacks_by_ae_title == {"OLD PACS": ["cp1250"]}
    settings = config.load(file('[extract.character_set_fallbacks_by_ae_title]\nOLD = ["big5", "cp1252"]\n'))
    assert settings.extract.character_set_fallbacks_by_ae_title == {"OLD": ["big5", "cp1252"]}


@pytest.mark.parametrize(
    "text",
    [
        'character_set_fallbacks = ["klingon"]',
        'character_set_fallbacks_by_ae_title = {"OLD" = ["rot13"]}',
        'character_set_fallbacks_by_ae_title = {"longer than sixteen characters" = ["cp1250"]}',
    ],
)
def test_a_codec_that_does_not_exist_is_refused_at_the_start(file, text):
    """Rather than failing every object that needs it."""
    with pytest.raises(ConfigurationError, match="character_set_fallbacks"):
        config.load(file(f"[extract]\n{text}\n"))


def test_private_sop_classes_are_uids_outside_the_standard_s_own(file):
    """A misspelt one would never be proposed by a sender; a standard one that isn't offered can't be read."""
    settings = config.load(file('[listener]\nprivate_sop_classes = ["2.25.4711"]'))
    assert settings.listener.private_sop_classes == ["2.25.4711"]
    for wrong in ("SR", "1.02.3", "", "1.2.840.10008.5.1.4.1.1.2"):
        with pytest.raises(ConfigurationError) as caught:
            config.load(file(f'[listener]\nprivate_sop_classes = ["{wrong}"]'))
        assert "private_sop_classes" in str(caught.value)
