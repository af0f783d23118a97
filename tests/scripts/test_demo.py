"""The demonstration against a service of the tests: a real Storage SCP and a real HTTP server with canned states."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom.uid import EncapsulatedCDAStorage
from pynetdicom import AE, evt
from pynetdicom.events import Event
from rich.console import Console

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FINDING = {
    "concept": {"id": "pulmonary_nodule", "code": None, "scheme": None, "meaning": "Pulmonary nodule"},
    "assertion": "present",
    "laterality": "right",
    "section": "findings",
    "sentence": "The nodule measures 9 x 8 mm,\r\nwas [5] mm.",
    "measurements": [
        {"values": [9.0, 8.0], "unit": "mm", "temporality": "current"},
        {"values": [5.0], "unit": "mm", "temporality": "prior"},
    ],
}


@dataclass
class Service:
    """What the client meets: ports, what came in, and how it answers."""

    port: int = 0
    web: str = ""
    status: int = 0x0000
    received: list[tuple[str, str, str]] = field(default_factory=list)
    """(StudyInstanceUID, SOPInstanceUID, transfer syntax) of each C-STORE."""
    state: Callable[[str, int], str] = lambda _instance, _asked: "analysed"
    """State of an instance at the n-th question about its study."""
    asked: dict[str, int] = field(default_factory=dict)
    ready: bool = True

    def take(self, event: Event) -> int:
        """C-STORE."""
        dataset, instance = event.dataset, event.request.AffectedSOPInstanceUID
        self.received.append((dataset.get("StudyInstanceUID", ""), instance, event.context.transfer_syntax))
        return self.status

    def answer(self, path: str) -> tuple[int, Any]:
        """GET."""
        if path == "/readyz":
            return (200, {"status": "ready"}) if self.ready else (503, {"detail": "There is no dispatcher."})
        *_, study, what = path.split("/")
        self.asked[study] = self.asked.get(study, 0) + 1
        instances = dict.fromkeys(i for s, i, _ in self.received if s == study)
        if not instances:
            return 404, {"detail": "Nothing is held."}
        if what == "findings":
            return 200, {"study_instance_uid": study, "findings": [FINDING]}
        rows = [
            {"sop_instance_uid": i, "state": self.state(i, self.asked[study]), "reason_code": "unreadable"}
            for i in instances
        ]
        return 200, {"study_instance_uid": study, "reports": rows}


@pytest.fixture
def service(make_samples: ModuleType) -> Iterator[Service]:
    """A running service that takes everything and has analysed it at once."""
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = made.answer(self.path)
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    entity = AE("DICOMNLP")
    entity.require_called_aet = True
    for sop_class in (*make_samples.SOP_CLASSES.values(), EncapsulatedCDAStorage):
        entity.add_supported_context(sop_class, list(make_samples.TRANSFER_SYNTAXES.values()))
    scp = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, made.take)])
    assert scp is not None
    made.port, made.web = scp.socket.getsockname()[1], f"http://127.0.0.1:{web.server_port}"
    yield made
    scp.shutdown()
    web.shutdown()
    web.server_close()


@pytest.fixture
def start(
    demo: ModuleType, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the demonstration against the service; gives exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(demo.demo_reports, "STUDIES", {"en": 3, "zh": 3})

    def run(*arguments: str) -> tuple[int, str, str]:
        for name in ("out", "err"):
            monkeypatch.setattr(demo, name, Console(record=True, width=160, file=io.StringIO()))
        code = demo.main(["--port", str(service.port), "--web", service.web, *arguments])
        return code, demo.out.export_text(), demo.err.export_text()

    return run


def test_every_sample_is_sent_as_encoded_and_the_first_findings_are_shown(
    service: Service, start: Callable[..., tuple[int, str, str]], demo: ModuleType
) -> None:
    """The whole way: C-STORE of each object in its own transfer syntax, then tables and where to go on."""
    code, out, err = start()
    objects = [*demo.demo_reports.build_reports().values(), *demo.demo_reports.build_faults().values()]
    assert code == 0, err
    assert service.received == [
        (o.get("StudyInstanceUID", ""), o.SOPInstanceUID, o.file_meta.TransferSyntaxUID) for o in objects
    ]
    first = objects[0].StudyInstanceUID
    assert out.count("Pulmonary nodule") == 4
    assert "9 x 8 mm (5 mm)" in out
    # brackets are text, not markup; line breaks of the report don't break the table
    assert "The nodule measures 9 x 8 mm, was [5] mm." in out
    assert f"{service.web}/\n" in out
    assert f"{service.web}/studies/{first}\n" in out
    assert f"{service.web}/api/v1/studies/{first}/findings\n" in out
    assert f"dicomnlp findings {first}\n" in out
    assert "3 faulty objects were sent as well, to show what becomes of such: refused, quarantined, failed." in out


def test_it_waits_until_all_reports_are_analysed(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """Pending reports are asked for again."""
    service.state = lambda _instance, asked: "analysed" if asked >= 3 else "pending"
    code, _, err = start()
    assert code == 0, err
    assert set(service.asked.values()) <= {3, 4}  # a fourth question where findings are shown


def test_a_report_that_fails_ends_it(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """The report is named by UID, with the reason and where to look."""
    service.state = lambda _instance, _asked: "failed"
    code, out, err = start()
    assert (code, out) == (1, "")
    assert f"report {service.received[0][1]} ended as failed (unreadable); see `dicomnlp failures`" in err


def test_waiting_for_the_analysis_has_an_end(
    demo: ModuleType,
    service: Service,
    start: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service that never gets on doesn't hold the client for ever."""
    monkeypatch.setattr(demo, "ANALYSIS_SECONDS", 0.0)
    # behind the reports come three that have faults, for which nobody waits
    service.state = lambda instance, _asked: "pending" if instance == service.received[-4][1] else "analysed"
    code, _, err = start()
    assert code == 1
    assert f"1 of {len(service.received) - 3} reports are not analysed after 0 s" in err


def test_an_object_that_is_refused_ends_it(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """No further object is sent after a failure status."""
    service.status = 0xA700
    code, _, err = start()
    assert code == 1
    assert len(service.received) == 1
    assert f"answers 0xA700 to {service.received[0][1]}" in err


def test_a_wrong_ae_title_is_said_so(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """A rejected association is told from a port where nothing listens."""
    code, _, err = start("--ae-title", "OTHER")
    assert code == 1
    assert "rejects an association with OTHER" in err


def test_a_service_that_is_not_ready_says_why(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """Nothing is sent to a service that could not work on it, and its own reason is passed on."""
    service.ready = False
    code, _, err = start()
    assert code == 1
    assert service.received == []
    assert "503 There is no dispatcher." in err
    assert "scripts/serve" in err


def test_a_service_that_is_starting_is_waited_for(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """With the process named, "not ready" means "not yet"."""
    service.ready = False
    timer = threading.Timer(0.2, setattr, (service, "ready", True))
    timer.start()
    code, _, err = start("--service-process", str(threading.get_native_id()))
    timer.join()
    assert code == 0, err


def test_a_service_that_ended_is_not_waited_for(service: Service, start: Callable[..., tuple[int, str, str]]) -> None:
    """The wait for the start ends with the process, not after minutes."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    service.ready = False
    code, _, err = start("--service-process", str(ended.pid))
    assert code == 1
    assert "has ended before it was ready" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        # port 9 (discard) is below those that tests are given
        (["--web", "http://127.0.0.1:9"], 1, "nothing answers at http://127.0.0.1:9"),
        (["--web", "127.0.0.1:8080"], 2, "must begin with http://"),
        (["--port", "http"], 2, "invalid int value"),
        (["--config", "absent.toml"], 1, "does not exist"),
    ],
)
def test_what_can_not_work_is_said_in_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    """As a command: the exit code tells usage from failure, the message what to mend; never a traceback."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "demo.py", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("listening", "called"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("pacs.example.org", "pacs.example.org"),
    ],
)
def test_the_address_called_is_one_that_can_be_called(demo: ModuleType, listening: str, called: str) -> None:
    """All interfaces at once is an address for listening only."""
    assert demo._reachable(listening) == called
