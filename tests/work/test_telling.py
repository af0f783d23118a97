"""Telling others: webhooks, e-mail and HL7; what leaves, how often, and what a receiver that isn't there costs."""

import base64
import contextlib
import datetime as dt
import email
import hmac
import http.server
import json
import shutil
import socket
import socketserver
import ssl
import threading
import time

import pytest
import sqlalchemy as sa
from support.certificates import Certificates
from support.department_reports import Department, make_template, settings_of

from dicomnlp.errors import ConfigurationError, NotFoundError, UsageError
from dicomnlp.extract.hl7 import parse_message
from dicomnlp.extract.hl7_report import read_report, reports_of
from dicomnlp.model import State
from dicomnlp.store import deliveries
from dicomnlp.store.critical import acknowledge
from dicomnlp.store.deliveries import DeliveryState, add_deliveries, list_deliveries, retry_deliveries
from dicomnlp.store.schema_delivery import delivery
from dicomnlp.work.telling import findings_delivery, tellers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory):
    """A SQLite file with the schema."""
    file = tmp_path_factory.mktemp("template") / "test.db"
    make_template(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="module")
def postgres_template(postgres):
    """The same of PostgreSQL."""
    name = postgres.create_database()
    make_template(postgres.url(name))
    return name


@pytest.fixture
def sqlite_url(tmp_path, sqlite_template):
    """Of a SQLite database of one's own."""
    shutil.copy(sqlite_template, tmp_path / "test.db")
    return f"sqlite:///{tmp_path}/test.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Of either."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop_database(name)


def departments(tmp_path, url):
    """Makes departments with tables of the configuration."""
    made = []

    def make(**tables):
        (tmp_path / "hook.secret").write_text(SECRET)
        (tmp_path / "hook.secret").chmod(0o600)
        made.append(Department(settings_of(tmp_path, url, **tables)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def department(tmp_path, url):
    """On SQLite and on PostgreSQL."""
    yield from departments(tmp_path, url)


@pytest.fixture
def sqlite_department(tmp_path, sqlite_url):
    """Where the database makes no difference."""
    yield from departments(tmp_path, sqlite_url)


class Receiver:
    """An HTTP server that keeps what is posted to it, and answers as it is told."""

    def __init__(self, context=None):
        self.requests, self.statuses = [], []
        self.location = "http://127.0.0.1:1/elsewhere"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.do_POST()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.path, dict(self.headers), body))
                status = outer.statuses.pop(0) if outer.statuses else 204
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    """A receiver without TLS."""
    made = Receiver()
    yield made
    made.close()


def hook(receiver, **keys):
    """A table of [[webhooks]]."""
    return {"name": "alerts", "url": f"http://127.0.0.1:{receiver.port}/in", "secret_file": "hook.secret", **keys}


def run(department):
    """All duties once, until nothing more waits."""
    for each in tellers(department.settings, department.database):
        while each.run():
            pass


def make_due(department):
    """Let the pause before the next attempt be over."""
    with department.database.write() as connection:
        connection.execute(
            sa.update(delivery)
            .where(delivery.c.state == "waiting")
            .values(due_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
        )


def states(department):
    """State and reason of each delivery, the oldest first."""
    found = list_deliveries(department.database).deliveries
    return [(d.state.value, d.reason_code) for d in reversed(found)]


# --- webhooks


def test_a_critical_result_is_posted_once_and_signed(department, receiver):
    """By Standard Webhooks; nothing of what came before the hook, nothing that isn't critical, nothing twice."""
    site = department(webhooks=[hook(receiver)])
    before = site.report("Large right pneumothorax.")
    run(site)
    assert receiver.requests == []
    uid = site.report("Large right tension pneumothorax.")
    site.report("No pneumothorax.")
    for _ in range(3):
        run(site)
    [(path, headers, body)] = receiver.requests
    assert path == "/in"
    document = json.loads(body)
    assert document["type"] == "critical_result"
    data = document["data"]
    assert data["study_instance_uid"] == uid != before
    assert (data["category"], data["documented"]) == (1, False)
    assert data["findings"][0]["concept"] == "tension_pneumothorax"
    assert data["findings"][0]["laterality"] == "right"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert states(site) == [("sent", None)]


@pytest.mark.parametrize("tells", [[], ["patient_id", "sentence", "accession_number"]])
def test_nothing_leaves_that_the_site_does_not_list(sqlite_department, receiver, tells):
    """Neither identity nor words of the report."""
    site = sqlite_department(webhooks=[hook(receiver, tells=tells)])
    run(site)
    uid = site.report("Large right tension pneumothorax, called Canary.")
    run(site)
    [(_, headers, body)] = receiver.requests
    told = json.dumps(dict(headers)) + body.decode()
    secrets = {"patient_id": f"P{uid}", "sentence": "Canary", "accession_number": f"A{uid}"}
    for name, value in secrets.items():
        assert (value in told) == (name in tells)
    for value in ("Rossi", "1950", "HOSP", "Chest radiograph", "2026-01-05"):
        assert value not in body.decode().replace('"received_at"', "")
    assert (uid in told) == bool(tells and uid in f"P{uid}")


def test_what_is_not_taken_is_sent_again_with_the_same_id(department, receiver):
    """After a pause that grows; each attempt is counted."""
    site = department(webhooks=[hook(receiver)])
    run(site)
    receiver.statuses = [503, 302, 500]
    site.report("Large right tension pneumothorax.")
    run(site)
    assert states(site) == [("waiting", "http_503")]
    run(site)
    assert len(receiver.requests) == 1  # not before its time
    pauses = []
    for _ in range(3):
        [waiting] = list_deliveries(site.database).deliveries
        pauses.append((waiting.due_at - waiting.changed_at).total_seconds())
        make_due(site)
        run(site)
    assert pauses == [5, 10, 20]
    assert len(receiver.requests) == 4
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    assert states(site) == [("sent", None)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_t33_a_webhook_that_points_elsewhere_is_not_followed(sqlite_department, receiver, status):
    """As to the metadata of a cloud's machine: nothing is sent there, nor asked, and the delivery waits."""
    elsewhere = Receiver()
    try:
        receiver.location = f"http://127.0.0.1:{elsewhere.port}/latest/meta-data/"
        site = sqlite_department(webhooks=[hook(receiver)])
        run(site)
        receiver.statuses = [status]
        site.report("Large right tension pneumothorax.")
        run(site)
        assert states(site) == [("waiting", f"http_{status}")]
        assert len(receiver.requests) == 1
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_what_is_refused_for_good_is_dead_and_can_be_tried_again(department, receiver):
    """410; and after three days of anything else. Dead ones are there for all to see."""
    site = department(webhooks=[hook(receiver)])
    run(site)
    receiver.statuses = [410]
    site.report("Large right tension pneumothorax.")
    run(site)
    assert states(site) == [("dead", "http_410")]
    assert retry_deliveries(site.database) == 1
    receiver.statuses = [503]
    with site.database.write() as connection:
        old = dt.datetime.now(dt.UTC) - deliveries.LIFETIME
        connection.execute(sa.update(delivery).values(created_at=old))
    run(site)
    assert states(site) == [("dead", "http_503")]
    [dead] = list_deliveries(site.database, state=DeliveryState.DEAD).deliveries
    assert retry_deliveries(site.database, [dead.id]) == 1
    with pytest.raises(NotFoundError):
        retry_deliveries(site.database, [dead.id])
    run(site)
    assert states(site) == [("sent", None)]
    outcomes = site.rows("SELECT outcome FROM audit_event WHERE action = 'tell critical_result' ORDER BY id")
    assert outcomes == [("failed",), ("failed",), ("success",)]


def test_a_receiver_that_is_not_there_costs_one_attempt_a_look(sqlite_department, receiver):
    """Others that wait aren't tried one after the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = sqlite_department(webhooks=[hook(receiver, url=f"http://127.0.0.1:{port}/")])
    run(site)
    for _ in range(3):
        site.report("Large right tension pneumothorax.")
    run(site)
    assert [reason for _, reason in states(site)].count(None) == 2
    assert ("waiting", "unreachable") in states(site)


def test_what_is_corrected_before_it_was_told_is_not_told(department, receiver):
    """What is sent is what counts at that moment."""
    site = department(webhooks=[hook(receiver)])
    run(site)
    receiver.statuses = [503]
    uid = site.report("Large right tension pneumothorax.")
    run(site)
    site.report("No pneumothorax. Skin fold.", uid=uid)
    make_due(site)
    run(site)
    assert len(receiver.requests) == 1
    assert states(site) == [("dropped", "no_longer_true")]


def test_a_further_version_tells_only_what_is_new(department, receiver):
    """The same finding in a corrected report is no news; another one is."""
    site = department(webhooks=[hook(receiver)])
    run(site)
    uid = site.report("Large right pneumothorax.")
    run(site)
    site.report("Large right pneumothorax. Skin fold on the left.", uid=uid)
    run(site)
    assert len(receiver.requests) == 1
    site.report("Large right pneumothorax. Acute pulmonary embolism.", uid=uid)
    run(site)
    assert len(receiver.requests) == 2
    concepts = [f["concept"] for f in json.loads(receiver.requests[1][2])["data"]["findings"]]
    assert "pulmonary_embolism" in concepts


def test_hooks_are_told_of_their_categories_and_of_what_nobody_was_told(sqlite_department, receiver):
    """And of what is documented only where they ask for it."""
    site = sqlite_department(webhooks=[hook(receiver, categories=[1]), hook(receiver, name="all", documented=True)])
    run(site)
    site.report("Acute calculous cholecystitis.")
    site.report("Large right tension pneumothorax. Findings discussed with Dr. Smith at 10:20.")
    run(site)
    told = {(d.destination, d.concept_ids) for d in list_deliveries(site.database).deliveries}
    assert {name for name, _ in told} == {"all"}
    assert len(receiver.requests) == 2


def test_reports_that_count_again_are_told_later(sqlite_department, receiver, monkeypatch):
    """Without a new analysis: what came within a day is looked at again now and then."""
    site = sqlite_department(webhooks=[hook(receiver)])
    [teller] = tellers(site.settings, site.database)
    teller.run()
    site.report("Large right tension pneumothorax.")
    with site.database.write() as connection:
        connection.execute(sa.text("UPDATE finding SET is_current = false"))
    teller.run()
    with site.database.write() as connection:
        connection.execute(sa.text("UPDATE finding SET is_current = true"))
    teller.run()
    assert receiver.requests == []
    monkeypatch.setattr("dicomnlp.work.telling.SWEEP_SECONDS", -1.0)
    teller.run()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("whsec_c2hvcnQ=", 0o600, "24 to 64 bytes"),
        ("no base64!", 0o600, "24 to 64 bytes"),
        (SECRET, 0o644, "others may read"),
        (None, 0o600, "can't be read"),
    ],
)
def test_a_secret_that_is_none_is_not_used(sqlite_department, receiver, tmp_path, text, mode, words):
    """The configuration's fault is told, nothing is sent, and the secret isn't repeated."""
    from dicomnlp.export.telling import read_secret

    site = sqlite_department(webhooks=[hook(receiver)])
    run(site)
    (tmp_path / "hook.secret").unlink()
    if text is not None:
        (tmp_path / "hook.secret").write_text(text)
        (tmp_path / "hook.secret").chmod(mode)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read_secret(site.settings, site.settings.webhooks[0])
    assert text is None or text not in str(refused.value)
    site.report("Large right tension pneumothorax.")
    run(site)
    assert receiver.requests == []
    assert states(site) == [("waiting", "configuration")]


def test_https_is_checked(sqlite_department, tmp_path):
    """A certificate of an authority that isn't trusted gets nothing."""
    (tmp_path / "tls").mkdir()
    certificates = Certificates(tmp_path / "tls")
    certificate, key = certificates.issue("server", "localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver = Receiver(context)
    url = f"https://localhost:{receiver.port}/in"
    trusting = hook(receiver, name="trusting", url=url, ca=str(certificates.authority_file))
    site = sqlite_department(webhooks=[hook(receiver, url=url), trusting])
    try:
        run(site)
        site.report("Large right tension pneumothorax.")
        run(site)
        assert len(receiver.requests) == 1
        found = {d.destination: (d.state.value, d.reason_code) for d in list_deliveries(site.database).deliveries}
        assert found == {"trusting": ("sent", None), "alerts": ("waiting", "certificate_not_trusted")}
    finally:
        receiver.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://alerts.example.org/",
        "ftp://127.0.0.1/",
        "https://user:pw@alerts.example.org/",
        "http://169.254.169.254/",
    ],
)
def test_urls_that_others_could_read_are_refused(tmp_path, url):
    """Plain HTTP only to this machine."""
    with pytest.raises(ValueError, match="https://"):
        settings_of(tmp_path, f"sqlite:///{tmp_path}/x.db", webhooks=[{"name": "a", "url": url, "secret_file": "s"}])


# --- e-mail


class MailServer:
    """An SMTP server that keeps what it is sent."""

    def __init__(self, refuse=None):
        self.messages, self.refuse = [], refuse
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                def say(line):
                    self.wfile.write(line.encode() + b"\r\n")

                say("220 test")
                recipients = []
                for raw in self.rfile:
                    line = raw.decode("utf-8", "replace").strip()
                    word = line.upper().split(" ")[0].split(":")[0]
                    if word in {"EHLO", "HELO"}:
                        say("250 test")
                    elif word == "RCPT":
                        recipients.append(line)
                        say(outer.refuse or "250 ok")
                    elif word == "DATA":
                        say("354 go on")
                        body = b""
                        for part in self.rfile:
                            if part == b".\r\n":
                                break
                            body += part
                        outer.messages.append((recipients, email.message_from_bytes(body, policy=email.policy.default)))
                        say("250 ok")
                    elif word == "QUIT":
                        say("221 bye")
                        return
                    else:
                        say("250 ok")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def mail_server():
    """One that takes everything."""
    made = MailServer()
    yield made
    made.close()


def mail(server, **keys):
    """A table of [[mails]]."""
    return {
        "name": "on-call",
        "host": "127.0.0.1",
        "port": server.port,
        "security": "none",
        "sender": "dicomnlp@example.org",
        "recipients": ["a@example.org", "b@example.org"],
        **keys,
    }


@pytest.mark.parametrize(("language", "words"), [("en", "Tension pneumothorax"), ("zh", "张力性气胸")])
def test_mail_tells_the_category_and_the_finding(sqlite_department, mail_server, language, words):
    """In the language that is asked for, to all recipients, and nothing of whose it is."""
    site = sqlite_department(
        mails=[mail(mail_server, language=language)], oidc={"public_url": "https://findings.example.org"}
    )
    run(site)
    uid = site.report("Large right tension pneumothorax.")
    run(site)
    [(recipients, message)] = mail_server.messages
    assert len(recipients) == 2
    body = message.get_content()
    assert words in body
    assert "1" in message["Subject"]
    assert "https://findings.example.org/critical-results" in body
    assert "Rossi" not in body
    assert f"P{uid}" not in body
    assert f": {uid}" not in body
    assert states(site) == [("sent", None)]


def test_mail_that_is_refused_is_dead_or_tried_again(sqlite_department, mail_server):
    """By what the server says of the recipients."""
    site = sqlite_department(mails=[mail(mail_server)])
    run(site)
    mail_server.refuse = "450 later"
    site.report("Large right tension pneumothorax.")
    run(site)
    assert states(site) == [("waiting", "recipients_refused")]
    mail_server.refuse = "550 nobody"
    make_due(site)
    run(site)
    assert states(site) == [("dead", "recipients_refused")]


def test_mail_is_not_sent_in_the_clear(sqlite_department, mail_server):
    """A server without STARTTLS gets nothing; and without encryption only this machine."""
    site = sqlite_department(mails=[mail(mail_server, security="starttls")])
    run(site)
    site.report("Large right tension pneumothorax.")
    run(site)
    assert states(site) == [("waiting", "no_starttls")]
    assert mail_server.messages == []
    with pytest.raises(ValueError, match="loopback"):
        settings_of(site.settings.folder, "sqlite:///x.db", mails=[mail(mail_server, host="smtp.example.org")])


# --- HL7


class HL7Receiver:
    """An MLLP peer that keeps messages, and acknowledges as it is told."""

    def __init__(self, context=None):
        self.messages, self.codes = [], []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                    connection = self.request
                    if context is not None:
                        connection = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
                        stack.enter_context(connection)
                        connection.do_handshake()
                    data = b""
                    while b"\x1c\r" not in data:
                        part = connection.recv(65536)
                        if not part:
                            return
                        data += part
                    message = data[1 : data.index(b"\x1c")]
                    outer.messages.append(message)
                    code = outer.codes.pop(0) if outer.codes else "AA"
                    control = message.split(b"\r")[0].split(b"|")[9].decode()
                    if code == "other":
                        code, control = "AA", "ELSE"
                    answer = f"MSH|^~\\&|RIS||DICOMNLP||20260101||ACK|1|P|2.5.1\rMSA|{code}|{control}\r"
                    if code != "none":
                        connection.sendall(b"\x0b" + answer.encode() + b"\x1c\r")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def ris():
    """An HL7 receiver."""
    made = HL7Receiver()
    yield made
    made.close()


def to_ris(ris, **keys):
    """A table of [[hl7_receivers]]."""
    return {"name": "ris", "host": "127.0.0.1", "port": ris.port, "automatic": True, **keys}


def test_findings_are_sent_and_corrections_take_their_place(department, ris):
    """ORU^R01, preliminary as a machine's word is; the same is not sent again, another version as C."""
    site = department(hl7_receivers=[to_ris(ris)])
    run(site)
    uid = site.report("Large right pneumothorax. No effusion.")
    run(site)
    run(site)
    [message] = ris.messages
    parsed = parse_message(message)
    assert parsed.header.component(9) == "ORU"
    assert parsed.first("OBR").component(25) == "P"
    assert parsed.first("OBR").component(18) == f"A{uid}"
    assert parsed.first("PID").component(3) == f"P{uid}"
    told = [(s.component(3, 2), s.component(5)) for s in parsed.all("OBX")]
    assert ("DICOM Study", uid) in told
    assert ("Finding", "36118008") in told
    assert ("Assertion", "absent") in told
    assert ("Laterality", "24028007") in told
    assert any(s.component(8) == "AA" for s in parsed.all("OBX"))
    site.report("Large right pneumothorax. Small effusion.", uid=uid)
    run(site)
    assert len(ris.messages) == 2
    assert parse_message(ris.messages[1]).first("OBR").component(25) == "C"


def test_own_message_that_comes_back_says_nothing(sqlite_department, ris):
    """By its coding scheme."""
    site = sqlite_department(hl7_receivers=[to_ris(ris)])
    run(site)
    site.report("Large right pneumothorax.")
    run(site)
    [report] = reports_of(parse_message(ris.messages[0]))
    narrative, state = read_report(report, [])
    assert (narrative.text, state) == ("", State.OWN)


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("AE", "dead", "hl7_ae"),
        ("AR", "waiting", "hl7_ar"),
        ("other", "waiting", "hl7_other_acknowledgement"),
        ("none", "waiting", "hl7_no_acknowledgement"),
        ("CA", "sent", None),
    ],
)
def test_acknowledgements_count(sqlite_department, ris, code, state, reason):
    """AE is the end, AR is tried again; an answer to something else is none."""
    site = sqlite_department(hl7_receivers=[to_ris(ris)])
    run(site)
    ris.codes = [code]
    site.report("Large right pneumothorax.")
    run(site)
    assert states(site) == [(state, reason)]


def test_chinese_findings_are_written_in_the_receiver_s_character_set(sqlite_department, ris):
    """GB 18030, as MSH-18 says."""
    site = sqlite_department(hl7_receivers=[to_ris(ris, character_set="GB 18030-2000")])
    run(site)
    site.report("右侧大量气胸。", language="zh")
    run(site)
    message = parse_message(ris.messages[0])
    assert message.character_set.used == "gb18030"
    assert message.header.component(18) == "GB 18030-2000"
    assert "右侧大量气胸。" in [s.component(5) for s in message.all("OBX")]


def test_where_it_is_not_automatic_only_what_is_asked_for_is_sent(sqlite_department, ris):
    """By command; twice the same isn't kept twice."""
    site = sqlite_department(hl7_receivers=[to_ris(ris, automatic=False)])
    run(site)
    site.report("Large right pneumothorax.")
    run(site)
    assert ris.messages == []
    [(sop,)] = site.rows("SELECT sop_instance_uid FROM sop_instance")
    asked = findings_delivery(site.database, "ris", sop)
    assert add_deliveries(site.database, "ris", [asked]) == 1
    assert findings_delivery(site.database, "ris", sop) is None
    run(site)
    assert len(ris.messages) == 1
    assert findings_delivery(site.database, "ris", "1.2.3.99") is None


def test_hl7_over_tls(sqlite_department, tmp_path):
    """The receiver's certificate is checked, name included."""
    (tmp_path / "tls").mkdir()
    certificates = Certificates(tmp_path / "tls")
    certificate, key = certificates.issue("server", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ris = HL7Receiver(context)
    authority = str(certificates.authority_file)
    site = sqlite_department(
        hl7_receivers=[
            to_ris(ris, host="localhost", tls=True, ca=authority),
            to_ris(ris, name="other", host="127.0.0.1", tls=True, ca=authority),
        ]
    )
    try:
        run(site)
        site.report("Large right pneumothorax.")
        run(site)
        found = {d.destination: (d.state.value, d.reason_code) for d in list_deliveries(site.database).deliveries}
        assert found == {"ris": ("sent", None), "other": ("waiting", "certificate_not_trusted")}
    finally:
        ris.close()


def test_another_machine_without_tls_must_be_meant(tmp_path):
    """As for addresses that are listened on."""
    with pytest.raises(ValueError, match="allow_remote"):
        settings_of(tmp_path, "sqlite:///x.db", hl7_receivers=[{"name": "ris", "host": "ris.example.org"}])


def test_names_of_destinations_are_told_apart(tmp_path, ris, mail_server):
    """One name, one row of progress."""
    with pytest.raises(ValueError, match="listed twice"):
        settings_of(tmp_path, "sqlite:///x.db", mails=[mail(mail_server, name="ris")], hl7_receivers=[to_ris(ris)])


def test_pages_of_deliveries(sqlite_department, receiver):
    """The latest first; a place that isn't ours is refused."""
    site = sqlite_department(webhooks=[hook(receiver)])
    run(site)
    for _ in range(5):
        site.report("Large right tension pneumothorax.")
    run(site)
    first = list_deliveries(site.database, limit=3)
    rest = list_deliveries(site.database, limit=3, after=first.next)
    ids = [d.id for d in (*first.deliveries, *rest.deliveries)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5
    assert rest.next is None
    assert deliveries.count_deliveries(site.database) == {"waiting": 0, "sent": 5, "dead": 0, "dropped": 0}
    with pytest.raises(UsageError):
        list_deliveries(site.database, after="x")


def test_an_acknowledged_result_is_told_all_the_same(sqlite_department, receiver):
    """A hook is told what is in reports; who answers for it is another matter."""
    site = sqlite_department(webhooks=[hook(receiver)])
    run(site)
    site.report("Large right tension pneumothorax.")
    [(sop,)] = site.rows("SELECT sop_instance_uid FROM sop_instance")
    acknowledge(site.database, sop, ["tension_pneumothorax"], by="anna", recipient="ward 3", note="")
    run(site)
    assert len(receiver.requests) == 1


def test_no_teller_without_a_destination(sqlite_department):
    """A duty that isn't configured isn't there."""
    assert tellers(sqlite_department().settings, None) == []
