"""HTTPS by BCP 195 on the web port, its files, and the doors that stay shut without authentication."""

import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from support.certificates import Certificates
from support.web_server import free_port, run_server

from dicomnlp.config import load
from dicomnlp.errors import ConfigurationError
from dicomnlp.serve import web
from dicomnlp.web_settings import AuditSettings, OIDCSettings, WebSettings


@pytest.fixture
def certificates(tmp_path):
    """An authority, and a certificate for this machine called "web"."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    made = Certificates(folder)
    made.issue("web", "127.0.0.1")
    return made


@pytest.fixture
def files(certificates):
    """Keys of [web] that name them."""
    return {"certificate": str(certificates.folder / "web.pem"), "key": str(certificates.folder / "web.key")}


def connect(address, certificates, *, minimum=None, maximum=None, ciphers=None):
    """A TLS connection; what was agreed."""
    context = ssl.create_default_context(cafile=str(certificates.authority_file))
    if maximum is not None:
        context.minimum_version, context.maximum_version = minimum or maximum, maximum
    if ciphers:
        context.set_ciphers(ciphers)
    host, port = address.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        return connection.version(), connection.cipher()[0]


def test_https_is_spoken_where_there_is_a_certificate(settings, database, files, certificates):
    """By programs that trust its authority; with the header that keeps browsers from plain HTTP; and nothing else."""
    with run_server(settings, **files) as address:
        assert address.startswith("https://127.0.0.1:")
        answer = httpx.get(f"{address}/healthz", verify=ssl.create_default_context(cafile=certificates.authority_file))
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{address.replace('https', 'http')}/healthz")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_only_what_bcp_195_allows_is_agreed_on(settings, database, files, certificates):
    """TLS 1.2 with forward secrecy and authenticated encryption, and 1.3; nothing older or weaker."""
    with run_server(settings, **files) as address:
        assert connect(address, certificates)[0] == "TLSv1.3"
        version, cipher = connect(address, certificates, maximum=ssl.TLSVersion.TLSv1_2)
        assert version == "TLSv1.2"
        assert cipher.startswith("ECDHE")
        with pytest.raises(OSError):  # noqa: PT011  refused by the peer, or by this OpenSSL itself
            connect(address, certificates, maximum=ssl.TLSVersion.TLSv1_1)
        for weak in ("AES128-SHA:@SECLEVEL=0", "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0", "DHE:@SECLEVEL=0"):
            with pytest.raises(OSError):  # noqa: PT011
                connect(address, certificates, maximum=ssl.TLSVersion.TLSv1_2, ciphers=weak)


def test_client_that_never_shakes_hands_is_let_go(settings, database, files, monkeypatch, certificates):
    """A silent client holds its socket for seconds, and nobody waits for it."""
    monkeypatch.setattr(web, "HANDSHAKE_SECONDS", 0.5)
    with run_server(settings, **files) as address:
        host, port = address.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as silent:
            assert connect(address, certificates)[0] == "TLSv1.3"
            assert silent.recv(1) == b""


def test_key_that_others_may_read_is_refused(settings, database, files):
    """Before anything is answered, with what to do."""
    Path(files["key"]).chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"web\.key: others may read or write .*chmod o="):
        web.web_context(settings.model_copy(update={"web": WebSettings(authentication="on", **files)}))


WRONG_WEB = [
    ("no authentication for all the network", {"host": "0.0.0.0"}, "authentication"),
    ("not even with allow_remote", {"host": "0.0.0.0", "allow_remote": True}, "authentication"),
    ("not even by HTTPS", {"host": "192.0.2.1", "certificate": "a", "key": "b"}, "authentication"),
    ("keys over the network as they are", {"host": "0.0.0.0", "authentication": "on"}, "allow_remote"),
    ("certificate without key", {"certificate": "a"}, "certificate and key"),
    ("key without certificate", {"key": "a"}, "certificate and key"),
    ("another word", {"authentication": "yes"}, "off"),
]


@pytest.mark.parametrize(("values", "word"), [w[1:] for w in WRONG_WEB], ids=[w[0] for w in WRONG_WEB])
def test_doors_that_must_not_be_open_are_refused(values, word):
    """By the configuration itself, in words that say what to set."""
    with pytest.raises(ValidationError, match=word):
        WebSettings(**values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"host": "localhost"},
        {"host": "::1"},
        {"host": "0.0.0.0", "authentication": "on", "certificate": "a", "key": "b"},
        {"host": "0.0.0.0", "authentication": "on", "allow_remote": True},
    ],
)
def test_doors_that_may_be_open(values):
    """Loopback as it is; other addresses with authentication, and encryption of one's own or of a proxy."""
    WebSettings(**values)


WRONG_OIDC = [
    {"issuer": "https://login.example"},
    {"issuer": "http://login.example", "client_id": "c", "public_url": "https://a", "roles": {"a": "reader"}},
    {"issuer": "https://login.example", "client_id": "c", "public_url": "http://a", "roles": {"a": "reader"}},
    {"issuer": "https://login.example", "client_id": "c", "public_url": "https://a", "roles": {"a": "god"}},
]


@pytest.mark.parametrize("values", WRONG_OIDC)
def test_providers_that_could_be_listened_to_or_let_anybody_in_are_refused(values):
    """HTTPS but on loopback; a role for somebody; only roles that there are."""
    with pytest.raises(ValidationError):
        OIDCSettings(**values)


def test_collector_is_a_host_and_a_port():
    """Anything else is a mistake."""
    AuditSettings(collector="audit.example.org:6514")
    with pytest.raises(ValidationError):
        AuditSettings(collector="audit.example.org")


def test_service_without_authentication_for_the_network_does_not_start(tmp_path):
    """Exit code 1 and one sentence on standard error (T35)."""
    (tmp_path / "config.toml").write_text('[web]\nhost = "0.0.0.0"\nallow_remote = true\n')
    for command in ("serve", "web"):
        done = subprocess.run(
            [sys.executable, "-m", "dicomnlp", "--config", str(tmp_path / "config.toml"), command],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert 'set authentication = "on"' in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.service
def test_renewed_certificate_is_shown_after_a_hangup(make_settings, tmp_path, certificates, files):
    """Without closing the port, and not when the new files can't be used."""
    make_settings()
    port = free_port()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///var/dicomnlp.db"\n'
        f'[web]\nport = {port}\nauthentication = "on"\ncertificate = "{files["certificate"]}"\nkey = "{files["key"]}"\n'
    )
    load(config)
    process = subprocess.Popen(
        [sys.executable, "-m", "dicomnlp", "--config", str(config), "web"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == f"ready web https://127.0.0.1:{port}\n"

        def shown():
            return ssl.get_server_certificate(("127.0.0.1", port))

        before = shown()
        key = Path(files["key"])
        good = key.read_text()
        key.write_text("no key")
        process.send_signal(signal.SIGHUP)
        lines = iter(process.stderr.readline, "")
        assert "configuration_refused" in next(line for line in lines if "configuration_" in line)
        assert shown() == before
        key.write_text(good)
        certificates.issue("web", "127.0.0.1")
        process.send_signal(signal.SIGHUP)
        assert "configuration_reloaded" in next(line for line in lines if "configuration_" in line)
        deadline = time.monotonic() + 30
        while shown() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert shown() != before
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
