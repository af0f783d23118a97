"""What `dicomnlp check` says of the addresses, the certificates and the peers."""

import datetime as dt
import sys

import pytest
from support.certificates import Certificates
from support.service import free_port

from dicomnlp import config
from dicomnlp.cli.checking import EXPIRY_DAYS, run_checks


@pytest.fixture
def certificates(tmp_path):
    """With one for the service, valid for years."""
    made = Certificates(tmp_path)
    made.issue("server", "localhost")
    return made


def _results(certificates, **tables):
    ports = [free_port() for _ in range(3)]
    settings = config.Settings(
        listener=config.ListenerSettings(port=ports[0], also=[config.DICOMAddress(port=ports[1], tls=True)]),
        web=config.WebSettings(port=ports[2]),
        tls=config.TLSSettings(**certificates.table()),
        database=config.DatabaseSettings(url=f"sqlite:///{certificates.folder}/none.db"),
        **tables,
    )
    return ports, [(r.name, r.ok, r.message) for r in run_checks(settings)]


def test_write_back_needs_what_makes_its_documents(certificates, monkeypatch):
    """Of an archive that gets DICOM documents; a FHIR server needs none of it."""
    tables = {
        "pacs": [{"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1"}],
        "write_back": {"to": ["archive"]},
    }
    assert ("write-back", True, "to archive") in _results(certificates, **tables)[1]
    monkeypatch.setitem(sys.modules, "highdicom.sr", None)
    [(ok, message)] = [(ok, m) for name, ok, m in _results(certificates, **tables)[1] if name == "write-back"]
    assert not ok
    assert 'pip install "dicomnlp[write-back]"' in message
    tables["pacs"] = [{"name": "archive", "fhir_url": "https://fhir.example.org/r4"}]
    assert ("write-back", True, "to archive") in _results(certificates, **tables)[1]


def test_each_address_is_looked_at(certificates):
    """And said to speak TLS if it does."""
    ports, results = _results(certificates)
    assert ("DICOM port", True, f"127.0.0.1:{ports[0]} is free") in results
    assert ("DICOM port with TLS", True, f"127.0.0.1:{ports[1]} is free") in results
    assert [ok for name, ok, _ in results if name == "TLS"] == [True]


@pytest.mark.parametrize("days", [-1, EXPIRY_DAYS - 1, EXPIRY_DAYS + 2])
def test_a_certificate_that_ends_soon_is_to_be_renewed(certificates, days):
    """Before senders begin to refuse it."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    certificates.issue("server", "localhost", not_after=end)
    _, results = _results(certificates)
    ((ok, message),) = [(ok, message) for name, ok, message in results if name == "TLS"]
    assert f"{end:%Y-%m-%d}" in message
    assert ok is (days >= EXPIRY_DAYS)
    assert ("renew it" in message) is not ok


def test_certificates_that_can_not_be_used_are_said(certificates):
    """Before the service is started with them."""
    (certificates.folder / "server.key").chmod(0o644)
    _, results = _results(certificates)
    assert [(ok, "chmod" in message) for name, ok, message in results if name == "TLS"] == [(False, True)]


def test_a_peer_s_language_needs_a_pack(certificates):
    """As the site's own does."""
    _, results = _results(certificates, peers=[config.PeerSettings(ae_title="CT1", language="tlh")])
    ((ok, message),) = [(ok, message) for name, ok, message in results if name == "peers, CT1"]
    assert not ok
    assert "no language pack tlh" in message
