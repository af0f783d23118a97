"""Settings: precedence, messages, and the generated config.toml."""

import os
from pathlib import Path

import pytest

from dicomnlp import config, config_file
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
    """`python -m dicomnlp.config_file > config.toml` was run after the last change of a key."""
    assert (ROOT / "config.toml").read_text() == config_file.default_file()


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
    assert config.load(file(config_file.default_file())).model_dump() == config.load(file("")).model_dump()


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
        ('[web]\nhost = "192.168.0.1"\n', ["web", "authentication"]),
        ('[web]\nhost = "192.168.0.1"\nauthentication = "on"\n', ["web", "certificate", "allow_remote"]),
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
        ("DICOMNLP_WEB__HOST", "0.0.0.0", "authentication"),
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


def test_wrong_codecs_and_fallbacks_are_refused_at_the_start(file):
    """Rather than failing every object that needs them."""
    for text in (
        '[extract]\ncharacter_set_fallbacks = ["klingon"]',
        '[[peers]]\nae_title = "OLD"\ncharacter_set_fallbacks = ["rot13"]',
    ):
        with pytest.raises(ConfigurationError, match=r"character_set_fallbacks.*Python codec"):
            config.load(file(text))


FINGERPRINT = "sha256:" + "AB:" * 31 + "ab"
TLS = '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\nclient_ca = "ca.pem"\n'


def test_peers_and_further_addresses_are_lists_of_tables(file):
    """With what is left out as the defaults say."""
    settings = config.load(
        file(
            "[[listener.also]]\nhost = '0.0.0.0'\nport = 2762\ntls = true\n"
            f"{TLS}[[peers]]\nae_title = 'CT1'\nnetworks = ['10.0.0.0/8', '::1']\ncertificates = ['{FINGERPRINT}']\n"
            "[[peers]]\nae_title = '*'\nimages = 'index'\n"
        )
    )
    assert [(a.host, a.port, a.tls) for a in settings.listener.addresses] == [
        ("127.0.0.1", 11112, False),
        ("0.0.0.0", 2762, True),
    ]
    known, other = settings.peer_of("CT1"), settings.peer_of("MR1")
    assert (known.networks, known.certificates) == (["10.0.0.0/8", "::1/128"], ["sha256:" + "ab" * 32])
    assert (known.images, other.images) == ("refuse", "index")


def test_archives_are_known_by_name(file):
    """By DICOM, by DICOMweb, or both."""
    settings = config.load(
        file(
            "[[pacs]]\nname = 'archive'\nae_title = 'PACS'\nhost = '10.0.0.7'\nreconcile = true\n"
            "[[pacs]]\nname = 'web'\nqido_url = 'https://pacs/rs/'\nwado_url = 'http://[::1]:8042/rs'\n"
        )
    )
    archive, web = settings.pacs_of("archive"), settings.pacs_of("web")
    assert (archive.port, archive.retrieve, archive.reconcile) == (104, "move", True)
    assert (web.ae_title, web.qido_url, web.wado_url, web.reconcile) == (
        "",
        "https://pacs/rs",
        "http://[::1]:8042/rs",
        False,
    )
    assert settings.pacs_of("nobody") is None


def test_whoever_is_not_listed_is_nobody_once_somebody_is(file):
    """Without peers everybody is accepted."""
    assert config.load(file("")).peer_of("ANYBODY").images == "refuse"
    assert config.load(file("[[peers]]\nae_title = 'CT1'")).peer_of("ANYBODY") is None


def test_peers_can_come_from_the_environment(file, monkeypatch):
    """As JSON, in place of the file's."""
    monkeypatch.setenv("DICOMNLP_PEERS", '[{"ae_title": "MR1", "language": "zh"}]')
    settings = config.load(file("[[peers]]\nae_title = 'CT1'"))
    assert [(p.ae_title, p.language) for p in settings.peers] == [("MR1", "zh")]
    monkeypatch.setenv("DICOMNLP_PEERS", "MR1")
    with pytest.raises(ConfigurationError, match="DICOMNLP_PEERS: must be JSON"):
        config.load(file(""))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[peers]]\nnetworks = []", ["peers.0.ae_title", "required"]),
        ("[[peers]]\nae_title = 'A'\nnetwork = ['10.0.0.0/8']", ["peers.0.network", "did you mean networks?"]),
        ("[[peers]]\nae_title = 'A'\nnetworks = ['10.1.0.0/8']", ["peers.0.networks.0", "host bits"]),
        ("[[peers]]\nae_title = 'A'\nnetworks = ['pacs']", ["peers.0.networks.0", "network"]),
        ("[[peers]]\nae_title = 'A'\ncertificates = ['abcd']", ["peers.0.certificates.0", "sha256:"]),
        ("[[peers]]\nae_title = 'A'\nimages = 'keep'", ["peers.0.images", "refuse"]),
        ("[[peers]]\nae_title = 'A'\nrefused_sop_classes = ['SR']", ["peers.0.refused_sop_classes.0", "UID"]),
        ("[[peers]]\nae_title = 'A'\n[[peers]]\nae_title = 'A '", ["peers", "listed twice"]),
        (f"[[peers]]\nae_title = 'A'\ncertificates = ['{FINGERPRINT}']", ["tls.client_ca"]),
        ("[listener]\ntls = true", ["tls.certificate, tls.key, tls.client_ca"]),
        ("[listener]\ntls = true\n[tls]\nrequire_client_certificate = false", ["tls.certificate, tls.key: "]),
        ("[[listener.also]]\nport = 2762\nhost = '0.0.0.0'", ["listener.also.0", "allow_remote"]),
        ("[[listener.also]]\nport = 11112", ["listener.also", "listed twice"]),
        ("[[listener.also]]\nprot = 2762", ["listener.also.0.prot", "did you mean port?"]),
        ("[[pacs]]\nae_title = 'A'\nhost = 'a'", ["pacs.0.name", "required"]),
        ("[[pacs]]\nname = '../a'\nqido_url = 'https://a/q'", ["pacs.0.name", "letters"]),
        ("[[pacs]]\nname = 'a'", ["pacs.0", "or a URL"]),
        ("[[pacs]]\nname = 'a'\nae_title = 'A'", ["pacs.0", "belong together"]),
        ("[[pacs]]\nname = 'a'\nstow_url = 'https://a/s'\nreconcile = true", ["pacs.0", "qido_url"]),
        ("[[pacs]]\nname = 'a'\nqido_url = 'http://pacs/q'", ["pacs.0.qido_url", "https://"]),
        ("[[pacs]]\nname = 'a'\nqido_url = 'https://me:secret@pacs/q'", ["pacs.0.qido_url", "without user"]),
        ("[[pacs]]\nname = 'a'\nqido_url = 'https://pacs/q'\nreport_modalities = ['*']", ["pacs.0.report_modalities"]),
        ("[[pacs]]\nname = 'a'\nae_title = 'A'\nhost = 'a'\ntls = true", ["pacs: ", "tls.client_ca"]),
        (2 * "[[pacs]]\nname = 'a'\nqido_url = 'https://pacs/q'\n", ["pacs", "listed twice"]),
        ("[reconcile]\nat = '24:00'", ["reconcile.at", "02:30"]),
    ],
)
def test_wrong_peers_and_addresses_are_named_with_their_number(file, text, words):
    """Counted from 0."""
    with pytest.raises(ConfigurationError) as caught:
        config.load(file(text))
    for word in ["site.toml", *words]:
        assert word in str(caught.value)


def test_a_passcode_in_the_place_of_its_hash_is_not_repeated(file):
    """The message goes to a screen, a log or a ticket."""
    with pytest.raises(ConfigurationError, match="hash-passcode") as caught:
        config.load(file("[[peers]]\nae_title = 'A'\nusers = {pacs = 'hunter2'}"))
    assert "hunter2" not in str(caught.value)


def test_an_address_that_speaks_tls_may_be_reached(file):
    """allow_remote is about addresses without it."""
    settings = config.load(file(f"[listener]\nhost = '0.0.0.0'\ntls = true\n{TLS}"))
    assert settings.listener.tls


def test_private_sop_classes_are_uids_outside_the_standard_s_own(file):
    """A misspelt one would never be proposed by a sender; a standard one that isn't offered can't be read."""
    settings = config.load(file('[listener]\nprivate_sop_classes = ["2.25.4711"]'))
    assert settings.listener.private_sop_classes == ["2.25.4711"]
    for wrong in ("SR", "1.02.3", "", "1.2.840.10008.5.1.4.1.1.2"):
        with pytest.raises(ConfigurationError) as caught:
            config.load(file(f'[listener]\nprivate_sop_classes = ["{wrong}"]'))
        assert "private_sop_classes" in str(caught.value)
