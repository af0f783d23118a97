"""Readiness of the listener's addresses, as they are seen from outside."""

import contextlib
import socket
import threading

import pytest
import structlog
from support.certificates import Certificates
from support.service import free_port

from dicomnlp import config
from dicomnlp.receive.listener import run_listener
from dicomnlp.serve import listening
from dicomnlp.serve.app import create_app


@contextlib.contextmanager
def _listener(settings, database):
    """A listener in this process."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=run_listener, args=(settings, database), kwargs={"on_ready": lambda _: ready.set(), "stop": stop}
    )
    thread.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def served(settings, tmp_path):
    """Settings with a plain address and one with TLS, where nobody of this machine may come."""
    certificates = Certificates(tmp_path)
    certificates.issue("server", "localhost", "127.0.0.1")
    return settings.model_copy(
        update={
            "listener": config.ListenerSettings(
                port=free_port(), also=[config.DICOMAddress(port=free_port(), tls=True)]
            ),
            "tls": config.TLSSettings(**certificates.table()),
            "peers": [config.PeerSettings(ae_title="FAR", networks=["192.0.2.0/24"])],
        }
    )


@pytest.fixture
def ask(served, database, client):
    """Asks the web part beside a listener for its readiness; a new one each time, so that nothing is remembered."""

    def ask(settings=served):
        app = create_app(settings, lambda: database, beside_listener=True)
        with database.hold("dispatcher"):
            return type(client)(app).get("/readyz")

    return ask


@pytest.mark.parametrize("admits", [True, False])
def test_ready_while_each_address_accepts_and_it_is_no_event(served, database, ask, admits):
    """Plain and by TLS; nothing is logged, counted or an alert, also where no peer of this machine may come."""
    if admits:
        served = served.model_copy(update={"peers": []})
    with structlog.testing.capture_logs() as lines, _listener(served, database):
        response = ask()
    assert response.status_code == 200, response.text
    checks = response.json()["checks"]
    assert {name: checks[name] for name in checks if name.startswith("listener")} == {
        "listener": "ok",
        "listener.also.0": "ok",
    }
    assert [line["event"] for line in lines] == ["request"]


def test_not_ready_while_nobody_listens(served, ask):
    """503, each address by the name of its table and not by itself; the rest is as it is."""
    response = ask()
    assert response.status_code == 503
    document = response.json()
    assert document["checks"] == {
        "database": "ok",
        "dispatcher": "ok",
        "intake": "ok",
        "listener": "not_accepting",
        "listener.also.0": "not_accepting",
    }
    assert [("[listener]" in text, "[listener.also.0]" in text) for text in document["missing"]] == [
        (True, False),
        (False, True),
    ]
    assert str(served.listener.port) not in response.text


def test_not_ready_when_the_port_is_open_and_nobody_accepts(served, database, ask, monkeypatch):
    """The system takes connections for a process that hangs; that is not enough."""
    monkeypatch.setattr(listening, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", served.listener.port)):
        assert ask().json()["checks"]["listener"] == "not_accepting"


def test_an_address_for_all_networks_is_looked_at_on_this_machine(database):
    """0.0.0.0 and :: are no addresses to connect to everywhere."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(30)

        def accept():
            server.accept()[0].close()

        thread = threading.Thread(target=accept)
        thread.start()
        address = config.DICOMAddress(host="0.0.0.0", port=server.getsockname()[1], allow_remote=True)
        assert listening.who_accept([address]) == [True]
        thread.join()
    assert [listening._reachable(host) for host in ("::", "::1", "10.0.0.1", "pacs.example", "")] == [
        "::1",
        "::1",
        "10.0.0.1",
        "pacs.example",
        "127.0.0.1",
    ]


def test_web_part_alone_does_not_look(client, database):
    """The listener may be on another machine."""
    with database.hold("dispatcher"):
        assert set(client.get("/readyz").json()["checks"]) == {"database", "dispatcher", "intake"}
