"""The whole service from outside: real C-STORE in, findings out by command line and HTTP, clean stop."""

import json
import signal
import time

import psutil
import pytest
from support.service import ROOT_UID, Service, make_report

pytestmark = pytest.mark.service

TEXT = "FINDINGS: Small left pleural effusion. No pneumothorax.\nIMPRESSION: Possible pneumonia."


# for services whose reports nobody reads: the pack that is loaded soonest
QUICK = {"analyse__language": "de"}


def test_report_sent_by_c_store_is_asked_for_by_command_line_and_http(service):
    """The main job, and both answers are the same."""
    assert service.send([make_report(1, TEXT)]) == [0x0000]
    service.wait_until_analysed()
    study = f"{ROOT_UID}.1.1"
    told = json.loads(service.command("findings", study, "--json").stdout)
    status, body = service.get(f"/api/v1/studies/{study}/findings")
    assert status == 200
    assert json.loads(body)["findings"] == told
    said = {(f["concept"]["id"], f["assertion"]) for f in told}
    assert {("pleural_effusion", "present"), ("pneumothorax", "absent"), ("pneumonia", "possible")} <= said
    effusion = next(f for f in told if f["concept"]["id"] == "pleural_effusion")
    assert effusion["laterality"] == "left"
    assert effusion["section"] == "findings"


def test_offsets_point_into_the_narrative_that_http_gives(service):
    """text[start:end] is always the finding's text."""
    service.send([make_report(2, TEXT)])
    service.wait_until_analysed()
    study = f"{ROOT_UID}.1.2"
    (report,) = json.loads(service.get(f"/api/v1/studies/{study}/reports")[1])["reports"]
    findings = json.loads(service.get(f"/api/v1/studies/{study}/findings")[1])["findings"]
    assert findings
    assert all(report["text"][f["start"] : f["end"]] == f["text"] for f in findings)
    status, body = service.get(f"/api/v1/reports/{ROOT_UID}.3.2")
    assert status == 200
    assert json.loads(body)["reports"] == [report]


def test_same_object_again_changes_nothing_and_other_content_is_a_new_version(service):
    """A resend costs nothing; a correction replaces what is current and keeps what was."""
    study = f"{ROOT_UID}.1.3"
    service.send([make_report(3, "There is a pneumothorax.")])
    service.wait_until_analysed()
    first = service.told("findings", study, "--json")
    service.send([make_report(3, "There is a pneumothorax.")])
    service.wait_until_analysed()
    assert service.told("findings", study, "--json") == first
    service.send([make_report(3, "There is no pneumothorax.")])
    service.wait_until_analysed()
    (now,) = json.loads(service.told("findings", study, "--json"))
    assert now["assertion"] == "absent"
    every = json.loads(service.told("findings", study, "--all-versions", "--json"))
    assert {f["assertion"] for f in every} == {"present", "absent"}


def test_reprocess_while_the_service_runs_gives_the_same_findings(service):
    """The service does the work; nothing is doubled."""
    study = f"{ROOT_UID}.1.4"
    service.send([make_report(4, TEXT)])
    service.wait_until_analysed()
    before = json.loads(service.told("findings", study, "--json"))
    service.told("reprocess", "--all")
    after = json.loads(service.told("findings", study, "--json"))
    strip = lambda fs: [{k: v for k, v in f.items() if k not in {"id", "analysed_at"}} for f in fs]  # noqa: E731
    assert strip(after) == strip(before)


def test_new_report_is_queryable_within_five_seconds(service):
    """From acknowledgement to findings, on an idle service."""
    started = time.monotonic()
    service.send([make_report(5, TEXT)])
    while service.get(f"/api/v1/studies/{ROOT_UID}.1.5/findings")[1].find('"pneumothorax"') < 0:
        assert time.monotonic() - started < 5
        time.sleep(0.05)


def test_health_readiness_status_and_metrics_answer(service):
    """What a load balancer and a Prometheus ask."""
    assert service.get("/healthz")[0] == 200
    assert service.get("/readyz")[0] == 200
    assert json.loads(service.get("/api/v1/status")[1])["objects"]["failed"] == 0
    assert "dicomnlp_" in service.get("/metrics")[1]


def test_unknown_study_is_404_and_exit_1(service):
    """A problem document, and a message; neither is an empty list."""
    status, body = service.get(f"/api/v1/studies/{ROOT_UID}.99/findings")
    assert (status, json.loads(body)["status"]) == (404, 404)
    done = service.command("findings", f"{ROOT_UID}.99")
    assert done.returncode == 1
    assert f"{ROOT_UID}.99" in done.stderr


def test_second_service_on_the_same_database_is_refused(service, tmp_path):
    """Before it can disturb the first."""
    done = service.command("serve")
    assert done.returncode == 1
    assert "another service works on this database" in done.stderr


def test_port_in_use_is_a_clear_message_and_exit_1(service, tmp_path):
    """The key to change is named."""
    other = Service(tmp_path, listener__port=service.port)
    other.told("db", "upgrade")
    done = other.command("listen")
    assert done.returncode == 1
    assert str(service.port) in done.stderr
    assert "listener.port" in done.stderr


def test_service_whose_part_can_not_start_says_so_last(service, tmp_path):
    """After all parts have ended: which one it was, the reason standing above; nobody is ready once it ends."""
    other = Service(tmp_path, listener__port=service.port, **QUICK)
    other.told("db", "upgrade")
    done = other.command("serve")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert "`listen` could not start" in lines[-1]
    (reason,) = (n for n, line in enumerate(lines) if line.startswith("dicomnlp: ") and "listener.port" in line)
    assert reason < len(lines) - 1
    events = [json.loads(line)["event"] for line in lines if line.startswith("{")]
    assert "component_died" in events
    assert "ready" not in events[events.index("component_died") :]


def test_missing_database_says_what_to_do(tmp_path):
    """No command makes an empty database by the way."""
    idle = Service(tmp_path)
    for command in (["status"], ["findings", "1.2.3"], ["serve"], ["import", str(tmp_path)]):
        done = idle.command(*command)
        assert done.returncode == 1, command
        assert "dicomnlp db upgrade" in done.stderr
    assert not (tmp_path / "dicomnlp.db").exists()


def test_wrong_key_is_refused_with_the_nearest_name(tmp_path):
    """Exit code 1 and the key's place."""
    idle = Service(tmp_path, listener__prot=1)
    done = idle.command("status")
    assert done.returncode == 1
    assert "did you mean port" in done.stderr


def test_part_that_dies_is_started_again(tmp_path):
    """The port answers again after the listener was killed."""
    running = Service(tmp_path, **QUICK).start()
    try:
        listener = next(p for p in psutil.Process(running.process.pid).children() if "listen" in p.cmdline())
        listener.kill()
        listener.wait(5)
        deadline = time.monotonic() + 30
        while not running.answers():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert running.send([make_report(1, TEXT)]) == [0]
    finally:
        assert running.stop() == 0


def test_supervisor_killed_takes_its_parts_along(tmp_path):
    """No half of a service goes on unseen, and a new one can start at once."""
    running = Service(tmp_path, **QUICK).start()
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.process.send_signal(signal.SIGKILL)
    running.process.wait(5)
    running.start()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert running.send([make_report(1, TEXT)]) == [0]
    assert running.stop() == 0


def test_several_listener_processes_share_the_port(tmp_path):
    """SO_REUSEPORT: one ready line, and objects arrive whoever takes them."""
    running = Service(tmp_path, listener__processes=2, **QUICK).start()
    try:
        for number in range(6):
            assert running.send([make_report(number, TEXT)]) == [0]
        assert running.wait_until_analysed()["analysed"] == 6
    finally:
        assert running.stop() == 0


def test_hangup_puts_another_configuration_into_effect_without_ending_anything(tmp_path):
    """The supervisor passes SIGHUP on to its parts; web and work start afresh if it concerns them."""
    running = Service(tmp_path, **QUICK).start()
    family = {p.pid for p in psutil.Process(running.process.pid).children()}

    def await_event(event, component):
        deadline = time.monotonic() + 120  # a start of the work part
        while not any(
            x["event"] == event and x.get("component") == component
            for x in map(json.loads, filter(lambda line: line.startswith("{"), lines()))
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def lines():
        return running.stderr.read_text()[seen:].splitlines()

    try:
        text = running.config.read_text()
        seen = len(running.stderr.read_text())
        running.config.write_text(text + "[listner]\n")
        running.process.send_signal(signal.SIGHUP)
        await_event("configuration_refused", "supervisor")
        running.config.write_text(text.replace('"debug"', '"info"') + '[[peers]]\nae_title = "NOBODY"\n')
        running.process.send_signal(signal.SIGHUP)
        for component in ("listen", "work", "web"):
            await_event("configuration_reloaded", component)
        for component in ("work", "web"):
            await_event("ready", component)
        # SENDER is no peer any more
        assert running.send([make_report(1, TEXT)]) == [None]
        running.config.write_text(text)
        seen = len(running.stderr.read_text())
        running.process.send_signal(signal.SIGHUP)
        for component in ("work", "web"):
            await_event("ready", component)
        assert running.send([make_report(1, TEXT)]) == [0]
        assert running.wait_until_analysed()["analysed"] == 1
        assert "component_died" not in running.stderr.read_text()
        assert {p.pid for p in psutil.Process(running.process.pid).children()} == family
    finally:
        assert running.stop() == 0
