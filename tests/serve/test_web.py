"""The real server on loopback: binding, stopping, limits of time and size."""

import json
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from support.service import free_port

from dicomnlp.config import WebSettings
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.serve import protocol, web
from dicomnlp.store.admin import upgrade
from dicomnlp.store.status import read_status


def on_port(settings, **web_settings):
    """`settings` with a web port of its own."""
    return settings.model_copy(update={"web": WebSettings(**{"port": free_port(), **web_settings})})


class Server:
    """run_web in a thread of this process."""

    def __init__(self, settings):
        self.stop = threading.Event()
        self.addresses = []
        self.failure = None
        ready = threading.Event()

        def note(address):
            self.addresses.append(address)
            ready.set()

        def run():
            try:
                web.run_web(settings, on_ready=note, stop=self.stop)
            except BaseException as error:
                self.failure = error
                raise

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert ready.wait(10)
        self.port = settings.web.port

    def end(self):
        """Stop and wait."""
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.failure is None


@pytest.fixture
def server(settings, archive):
    """A server on an archive with one study."""
    archive.add()
    server = Server(on_port(settings))
    yield server
    server.end()


def test_server_says_where_it_is_and_answers_there(server, archive):
    """The address of on_ready is the one to ask."""
    (address,) = server.addresses
    assert address == f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=address) as client:
        response = client.get(f"/api/v1/studies/{archive.study}/findings")
        assert [f["text"] for f in response.json()["findings"]] == ["nodule", "effusion"]
        assert "server" not in response.headers
        again = client.get(response.request.url.path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head("/healthz")
        assert (head.status_code, head.content) == (200, b"")


def test_server_starts_without_a_database_and_finds_it_when_it_comes(settings):
    """503 with what to do, then answers, without a restart."""
    server = Server(on_port(settings))
    try:
        with httpx.Client(base_url=server.addresses[0]) as client:
            response = client.get("/api/v1/status")
            assert (response.status_code, response.json()["reason_code"]) == (503, "database_missing")
            upgrade(settings)
            deadline = time.monotonic() + 10
            while (response := client.get("/api/v1/status")).status_code == 503 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert response.status_code == 200
    finally:
        server.end()


def test_taken_port_is_refused_with_what_to_do(settings):
    """Before anything is answered."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"{port}.*web\.port"):
            web.run_web(on_port(settings, port=port), on_ready=lambda _: None, stop=threading.Event())


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_address_of_no_interface_is_refused_with_what_to_do(settings, host):
    """An address kept for documentation (RFC 5737), a name that never resolves (RFC 6761)."""
    with pytest.raises(ConfigurationError, match=r"web\.host"):
        web.run_web(
            on_port(settings, host=host, authentication="on", allow_remote=True),
            on_ready=lambda _: None,
            stop=threading.Event(),
        )


def test_wrong_database_url_is_refused_at_the_start(settings):
    """Not in each answer."""
    wrong = settings.model_copy(update={"database": settings.database.model_copy(update={"url": "mysql://x/y"})})
    with pytest.raises(ConfigurationError, match=r"database\.url"):
        web.run_web(on_port(wrong), on_ready=lambda _: None, stop=threading.Event())


def test_port_is_free_again_after_the_end(settings, database):
    """A second server takes it at once."""
    chosen = on_port(settings)
    for _ in range(2):
        Server(chosen).end()


def test_request_under_way_is_answered_before_the_end(settings, archive, monkeypatch):
    """Stop comes while the answer is being made; the client still gets it whole."""
    archive.add()
    under_way, go_on = threading.Event(), threading.Event()

    def slow(database):
        under_way.set()
        assert go_on.wait(10)
        return read_status(database)

    monkeypatch.setattr("dicomnlp.serve.app.read_status", slow)
    server = Server(on_port(settings))
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{server.addresses[0]}/api/v1/status", timeout=20))
    )
    asking.start()
    assert under_way.wait(10)
    server.stop.set()
    time.sleep(0.3)
    go_on.set()
    asking.join(20)
    server.end()
    assert answers[0].status_code == 200
    assert answers[0].json()["objects"]["analysed"] == 1


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /healthz HT",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
    ],
    ids=["silence", "half a line", "half a head", "half a body"],
)
def test_connection_that_brings_no_whole_request_is_closed(settings, database, monkeypatch, start):
    """Slow-loris; also when a byte comes now and then."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.6)
    server = Server(on_port(settings))
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(start)
            started = time.monotonic()
            for _ in range(50):
                connection.settimeout(0.1)
                try:
                    if connection.recv(65536) == b"":
                        break
                except TimeoutError:
                    pass
                except ConnectionResetError:
                    break
                try:
                    connection.sendall(b"x")
                except OSError:
                    break
            assert time.monotonic() - started < 3
        assert httpx.get(f"{server.addresses[0]}/healthz").status_code == 200
    finally:
        server.end()


def test_kept_connection_outlives_the_time_for_one_request(settings, database, monkeypatch):
    """The limit is for each request, not for the connection."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.4)
    server = Server(on_port(settings))
    try:
        with httpx.Client(base_url=server.addresses[0]) as client:
            client.get("/healthz")
            (pooled,) = client._transport._pool.connections
            for _ in range(4):
                time.sleep(0.2)
                assert client.get("/healthz").status_code == 200
            assert client._transport._pool.connections == [pooled]
    finally:
        server.end()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"z" * 70000 + b"\r\n\r\n",
        b"\x00\x01\x02 not http\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
    ],
    ids=["endless head", "garbage", "TLS"],
)
def test_what_is_no_request_is_refused_and_harms_nobody(server, request_bytes):
    """400, 431, or an end of the connection; the next client is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert b"zzz" not in answer
    assert httpx.get(f"{server.addresses[0]}/healthz").status_code == 200


def test_announced_body_of_four_gigabytes_is_refused_unread(server):
    """The answer comes before a byte of it was sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"POST /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4294967296\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer


PROCESS = """
import signal, sys, threading
from pathlib import Path
from dicomnlp import config, logs
from dicomnlp.serve.web import run_web
logs.configure("debug", "web")
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run_web(config.load(Path(sys.argv[1])), on_ready=lambda a: print("ready", a, flush=True), stop=stop)
print("ended", flush=True)
"""


def test_process_prints_only_catalogued_lines_and_ends_by_its_callers_signal(settings, archive, tmp_path):
    """Uvicorn says nothing of its own, whatever it is sent; SIGTERM is the caller's to handle."""
    archive.add()
    file = tmp_path / "config.toml"
    file.write_text(f'[web]\nport = {free_port()}\n[database]\nurl = "{settings.database.url}"\n')
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().split()[1]
        port = int(address.rpartition(":")[2])
        for path in (f"/api/v1/studies/{archive.study}/findings", f"/{archive.canary}?{archive.canary}", "/metrics"):
            httpx.get(address + path, headers={"User-Agent": archive.canary})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"{archive.canary} \x00\r\n\r\n".encode())
            connection.recv(65536)
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == "ended\n"
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["route"] for line in lines if line["event"] == "request"] == [
        "/api/v1/studies/{study_instance_uid}/findings",
        "unmatched",
        "/metrics",
    ]
    assert {line["event"] for line in lines} <= {"request", "library_message"}
    assert archive.canary not in err


def test_address_of_ipv6_is_in_brackets():
    """As a URL needs it (RFC 3986 3.2.2)."""
    assert web._address("http", "::1", 8080) == "http://[::1]:8080"
    assert web._address("http", "127.0.0.1", 80) == "http://127.0.0.1:80"
