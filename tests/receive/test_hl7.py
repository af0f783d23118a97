"""The HL7 door: what is kept of a message, how each is answered, and what a hostile peer can't do."""

import contextlib
import io
import re
import shutil
import socket
import ssl
import threading
import time

import pytest
import sqlalchemy as sa
from support.certificates import Certificates
from support.hl7_messages import MLLPPeer, fields, obr, obx, oru, pid, report, study_uid

from dicomnlp import config
from dicomnlp.extract import extract
from dicomnlp.model import State, StoredObject
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.hl7_listener import HL7Server
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.listener import bind_address
from dicomnlp.receive.pdu import Timeouts
from dicomnlp.receive.traffic import Traffic
from dicomnlp.store import queries
from dicomnlp.store.database import Database
from dicomnlp.store.queue import save_processed, take_pending
from dicomnlp.terms import HL7_MESSAGE_STORAGE
from dicomnlp.work.process import process

QUICK = Timeouts(artim=1.0, network=1.0, message=1.0, bytes_per_second=1024.0, half_close=0.2, drain=5.0)


class Running:
    """A server on a free port, on a database of its own."""

    def __init__(self, settings, timeouts=None):
        self.settings = settings
        self.database = Database.open(settings)
        self._listening = bind_address("127.0.0.1", 0, "hl7")
        self.port = self._listening.getsockname()[1]
        self._intake = Intake(settings, self.database)
        self._traffic, self._trail = Traffic(self.database), AssociationTrail(self.database)
        self.server = HL7Server(settings, self._listening, self._intake, self._traffic, self._trail, timeouts)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.server.serve, args=(self._stop,))
        self._thread.start()
        self._peers = []

    def peer(self, context=None):
        """A new connection."""
        self._peers.append(MLLPPeer(self.port, context=context))
        return self._peers[-1]

    def rows(self, query):
        """What the database answers."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def ledger(self):
        """(outcome, reason) of each arrival."""
        return self.rows("SELECT outcome, reason_code FROM ledger ORDER BY id")

    def analyse(self):
        """Have what is pending read and saved, as a worker would."""
        taken = take_pending(self.database, maximum_objects=100, maximum_bytes=10**9, exclude=())
        save_processed(self.database, process(taken, ("gb18030", "cp1252"), "en"))

    def stop(self):
        """Ask it to end, and wait."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def end(self):
        """Give everything back."""
        for peer in self._peers:
            peer.close()
        self.stop()
        self._intake.close()
        self._traffic.close()
        self._trail.close()
        self.database.close()


@pytest.fixture
def start(tmp_path, empty_database):
    """Starts a server with keys of [hl7]."""
    running = []

    def start_one(*, timeouts=None, listener=None, tls_table=None, url=None, **hl7):
        if url is None:
            shutil.copy(empty_database, tmp_path / "test.db")
        settings = config.Settings(
            database=config.DatabaseSettings(
                url=url or f"sqlite:///{tmp_path}/test.db", large_object_directory=tmp_path / "objects"
            ),
            listener=config.ListenerSettings(**(listener or {})),
            tls=config.TLSSettings(**(tls_table or {})),
            hl7={"port": 2575, **hl7},
        )
        running.append(Running(settings, timeouts))
        return running[-1]

    yield start_one
    for each in running:
        each.end()


def test_a_report_is_durable_when_it_is_accepted(start):
    """AA with the control ID, after the commit; the message is kept byte for byte, and read into findings."""
    running = start()
    message = report("No pneumothorax. Right lung nodule of 8 mm.")
    answer = running.peer().ask(message)
    assert answer["MSA"] == ["MSA", "AA", "C1"]
    assert "ERR" not in answer
    assert running.ledger() == [("stored", None)]
    [stored] = take_pending(running.database, maximum_objects=1, maximum_bytes=1, exclude=())
    assert message.encode() in stored.data
    assert stored.sop_class_uid == HL7_MESSAGE_STORAGE
    running.analyse()
    found = queries.findings_of_study(running.database, "1.2.3.4")
    stated = {(f.finding.concept.id, f.finding.assertion.value) for f in found}
    assert {("pneumothorax", "absent"), ("pulmonary_nodule", "present")} <= stated


def test_header_says_whose_it_is(start):
    """Identity, state and people of the message, in the attributes that every object has."""
    running = start()
    running.peer().ask(report())
    row = running.rows(
        "SELECT patient_id, issuer_of_patient_id, patient_birth_date, patient_sex, accession_number,"
        " study_instance_uid, modality, study_date, content_date, content_time,"
        " institution_name, calling_ae_title, door, study_description"
        " FROM sop_instance"
    )
    identity = ("P1", "HIS", "19500203", "F", "A1", "1.2.3.4")
    dates = ("20260105", "20260105", "082000")
    assert row == [(*identity, "CR", *dates, "HOSP", "RIS", "hl7", "Chest radiograph")]
    [stored] = take_pending(running.database, maximum_objects=1, maximum_bytes=1, exclude=())
    read = extract(stored)
    assert (read.state, read.verification_flag, read.preliminary_flag) == (State.PENDING, "VERIFIED", "FINAL")
    assert read.verification_date_time == "20260105082000"
    assert read.accession_numbers == ("A1",)
    assert read.title == "Chest radiograph"


@pytest.mark.parametrize(
    ("message", "code", "error", "reason"),
    [
        (report(kind="ADT^A01"), "AR", "200", "hl7_message_type"),
        (report(kind="ORU^W01"), "AR", "201", "hl7_event"),
        (report(kind=""), "AE", "101", "hl7_no_message_type"),
        (report(control_id=""), "AE", "101", "hl7_no_control_id"),
        (report(processing_id="T"), "AR", "202", "hl7_processing_id"),
        (report(processing_id="D^T"), "AR", "202", "hl7_processing_id"),
        (report(version="3.0"), "AR", "203", "hl7_version"),
        (report(version=""), "AE", "101", "hl7_no_version"),
        (oru(obr(), obx(1, "Normal.")), "AE", "100", "hl7_no_patient"),
        (oru(pid(), obx(1, "Normal.")), "AE", "100", "hl7_no_order"),
        (oru(pid(), obr(), obx(1, "Normal."), "DSC|17|F"), "AR", "207", "hl7_continuation"),
        (
            oru(pid(), *(s for n in range(101) for s in (obr(n, filler=f"F{n}"), obx(1, "N")))),
            "AE",
            "207",
            "hl7_too_many_reports",
        ),
    ],
)
def test_what_is_not_taken_is_answered_with_its_cause(start, message, code, error, reason):
    """AE where the message is at fault, AR where it is of a kind that isn't taken; ERR since 2.5 (table 0357)."""
    running = start()
    peer = running.peer()
    answer = peer.ask(message)
    assert answer["MSA"][1] == code
    assert answer["MSA"][3] == reason
    if "ERR" in answer:
        assert answer["ERR"][3].split("^")[0] == error
    assert running.ledger() == [("refused", reason)]
    # and the connection goes on
    assert peer.ask(report())["MSA"][1] == "AA"


def test_bytes_that_are_no_message_are_answered_all_the_same(start):
    """Whoever waits for an answer gets one; it has no control ID."""
    running = start()
    answer = running.peer().ask(b"hello")
    assert answer["MSA"] == ["MSA", "AE", "", "not_hl7"]
    assert running.ledger() == [("refused", "not_hl7")]


def test_an_answer_says_what_it_is_of(start):
    """Applications and facilities change places; processing ID, version and character set are the sender's."""
    running = start()
    answer = running.peer().ask(report(version="2.3.1", character_set="UNICODE UTF-8", kind="ORU^R01"))
    header = answer["MSH"]
    assert header[2:6] == ["DICOMNLP", "HERE", "RIS", "HOSP"]
    assert header[8] == "ACK^R01^ACK"
    assert header[10:12] == ["P", "2.3.1"]
    assert header[17] == "UNICODE UTF-8"
    assert re.fullmatch(r"\d{14}\+0000", header[6])
    assert len(header[9]) <= 20
    # before version 2.5 there is no ERR of this form
    assert "ERR" not in running.peer().ask(report(version="2.3.1", kind="ADT^A01"))


def test_an_answer_repeats_the_sender_s_bytes(start):
    """Separators and names as they came, in their character set."""
    running = start()
    peer = running.peer()
    peer.send(report(application="放射科", control_id="号1", character_set="GB 18030-2000"), "gb18030")
    answer = fields(peer.receive(), "gb18030")
    assert answer["MSA"][1:] == ["AA", "号1"]
    assert answer["MSH"][4] == "放射科"
    other = report().replace("|", "#").replace("^", "@").replace("@~\\&", "@~\\&")
    peer.send(other)
    assert peer.receive().decode().split("\r")[1] == "MSA#AA#C1"


@pytest.mark.parametrize(
    ("modes", "codes"),
    [("AL|NE", ["CA"]), ("NE|AL", ["AA"]), ("NE|NE", []), ("ER|NE", []), ("SU|NE", ["CA"]), ("AL|AL", ["CA", "AA"])],
)
def test_the_enhanced_mode_is_as_the_sender_wishes(start, modes, codes):
    """MSH-15 and MSH-16 (2.9.3): commit acknowledgements, application acknowledgements, both or none."""
    running = start()
    peer = running.peer()
    peer.send(report(modes=modes))
    peer.send(report(modes="|", control_id="C2"))
    answers = []
    while not answers or answers[-1][2] != "C2":
        answers.append(fields(peer.receive())["MSA"])
    assert [a[1] for a in answers[:-1]] == codes
    peer.send(report(modes=modes, kind="ADT^A01", control_id="C3"))
    peer.send(report(modes="|", control_id="C4"))
    answers = []
    while not answers or answers[-1][2] != "C4":
        answers.append(fields(peer.receive())["MSA"])
    refused = {"AL|NE": ["CR"], "NE|AL": ["AR"], "ER|NE": ["CR"], "AL|AL": ["CR", "AR"]}.get(modes, [])
    assert [a[1] for a in answers[:-1]] == refused


def test_the_same_again_changes_nothing_and_a_correction_is_a_version(start):
    """A sender that didn't hear the answer sends again; what comes later of the same order counts."""
    running = start()
    peer = running.peer()
    for message in (report("Nodule."), report("Nodule."), report("No nodule.", control_id="C2")):
        assert peer.ask(message)["MSA"][1] == "AA"
    assert [outcome for outcome, _ in running.ledger()] == ["stored", "duplicate", "new_version"]
    running.analyse()
    found = queries.findings_of_study(running.database, "1.2.3.4")
    assert {f.finding.assertion.value for f in found} == {"absent"}


@pytest.mark.parametrize("order", [("P", "F"), ("F", "P")])
def test_a_final_report_counts_whichever_comes_first(start, order):
    """A preliminary one is another object, that gives way to it."""
    running = start()
    peer = running.peer()
    texts = {"P": "Pneumothorax.", "F": "No pneumothorax."}
    for status in order:
        message = oru(pid(), obr(status=status), obx(1, texts[status]), study_uid(2, "1.2.3.4"))
        assert peer.ask(message)["MSA"][1] == "AA"
        running.analyse()
    found = queries.findings_of_study(running.database, "1.2.3.4")
    assert [f.finding.assertion.value for f in found] == ["absent"]


def test_several_reports_of_a_message_are_several_objects(start):
    """Of their own studies."""
    running = start()
    message = oru(
        pid(),
        obr(1, filler="F1", accession="A1"),
        obx(1, "Nodule."),
        obr(2, filler="F2", accession="A2"),
        obx(1, "Normal."),
    )
    assert running.peer().ask(message)["MSA"][1] == "AA"
    assert len(running.ledger()) == 2
    assert running.rows("SELECT accession_number FROM sop_instance ORDER BY id") == [("A1",), ("A2",)]
    running.analyse()
    states = running.rows("SELECT DISTINCT state FROM sop_instance")
    assert states == [("analysed",)]


def test_without_study_and_accession_number_it_is_kept_in_quarantine(start):
    """As over DICOM: kept, and the sender is told."""
    running = start(accession_number=["OBR-18"])
    answer = running.peer().ask(oru(pid(), obr(accession=""), obx(1, "Normal.")))
    assert answer["MSA"][1:] == ["AE", "C1", "no_study_instance_uid"]
    assert running.ledger() == [("quarantined", "no_study_instance_uid")]


def test_a_study_that_is_not_told_is_found_by_its_accession_number(start, objects):
    """The report is the study's as soon as an object of it is held, whichever comes first."""
    from dicomnlp.model import Arrival, Door

    running = start()
    assert running.peer().ask(oru(pid(), obr(accession="A7"), obx(1, "Nodule in the right lung.")))["MSA"][1] == "AA"
    running.analyse()
    data_set = objects.data_set(
        AccessionNumber="A7", StudyInstanceUID="1.2.777", PatientID="P1", IssuerOfPatientID="HIS"
    )
    running._intake.accept(
        Arrival(
            objects.encode(data_set), "1.2.840.10008.1.2.1", data_set.SOPClassUID, data_set.SOPInstanceUID, Door.IMPORT
        )
    )
    running.analyse()
    found = queries.findings_of_study(running.database, "1.2.777")
    assert "pulmonary_nodule" in {f.finding.concept.id for f in found}


@pytest.mark.parametrize("message_first", [True, False])
@pytest.mark.parametrize(("study", "asked"), [("", "A7"), ("1.2.777", "other")], ids=["by request", "by study"])
def test_a_report_that_comes_as_message_and_as_object_counts_once(start, message_first, study, asked):
    """The object's findings are the study's, whichever came first; the message is held, and tells what stands for it.

    A corrected message that repeats nothing of the object stays to be seen.
    """
    from support.service import make_report

    from dicomnlp.model import Arrival, Door

    running = start()
    text = "Nodule in the right lung, 6 mm. Tension pneumothorax."
    data_set = make_report(1, text, patient_id="P1")
    data_set.StudyInstanceUID = "1.2.777"
    data_set.AccessionNumber, data_set.IssuerOfPatientID = "A7", "HIS"
    data_set.save_as(encoded := io.BytesIO(), implicit_vr=False, little_endian=True)
    arrival = Arrival(
        encoded.getvalue(), "1.2.840.10008.1.2.1", data_set.SOPClassUID, data_set.SOPInstanceUID, Door.IMPORT
    )
    parts = [pid(), obr(accession=asked), obx(1, text), *([study_uid(2, study)] if study else [])]

    def tell():
        assert running.peer().ask(oru(*parts))["MSA"][1] == "AA"
        running.analyse()

    def store():
        running._intake.accept(arrival)
        running.analyse()

    for step in (tell, store) if message_first else (store, tell):
        step()
    found = queries.findings_of_study(running.database, "1.2.777")
    assert [f.finding.concept.id for f in found].count("pulmonary_nodule") == 1
    assert {f.sop_instance_uid for f in found} == {data_set.SOPInstanceUID}
    standings = dict(
        running.rows(
            "SELECT s.sop_class_uid, r.status FROM report_standing r JOIN sop_instance s ON s.id = r.object_id"
        )
    )
    assert standings == {HL7_MESSAGE_STORAGE: "identical", str(data_set.SOPClassUID): "prevailing"}
    assert len(queries.reports_of_study(running.database, "1.2.777", all_versions=True)) == 2
    parts[2] = obx(1, "Nodule in the left lung.")
    tell()
    laterality = {f.finding.laterality for f in queries.findings_of_study(running.database, "1.2.777")}
    assert "left" in {str(side) for side in laterality}


@pytest.mark.parametrize(
    "codec", [("GB 18030-2000", "gb18030"), ("UNICODE UTF-8", "utf-8"), ("", "gb18030")], ids=lambda c: c[0] or "none"
)
def test_chinese_reports_are_read(start, codec):
    """Whatever they are written in."""
    name, encoding = codec
    running = start()
    message = report("右肺上叶见结节,大小约8mm。未见气胸。", character_set=name)
    peer = running.peer()
    peer.send(message, encoding)
    assert fields(peer.receive(), encoding)["MSA"][1] == "AA"
    running.analyse()
    found = queries.findings_of_study(running.database, "1.2.3.4")
    stated = {(f.finding.concept.id, f.finding.assertion.value) for f in found}
    assert {("pulmonary_nodule", "present"), ("pneumothorax", "absent")} <= stated


def test_postgresql_takes_them_too(start, postgres):
    """The same door on the other database."""
    from dicomnlp.store import admin

    name = postgres.create_database()
    try:
        admin.upgrade(config.Settings(database=config.DatabaseSettings(url=postgres.url(name))))
        running = start(url=postgres.url(name))
        peer = running.peer()
        assert peer.ask(report("Nodule."))["MSA"][1] == "AA"
        assert peer.ask(report("Nodule."))["MSA"][1] == "AA"
        assert [outcome for outcome, _ in running.ledger()] == ["stored", "duplicate"]
        running.analyse()
        assert queries.findings_of_study(running.database, "1.2.3.4")
        running.end()
        running._peers, running.end = [], lambda: None
    finally:
        postgres.drop_database(name)


# --- hostile and unlucky peers


def test_a_database_that_takes_nothing_is_no_acceptance(start):
    """AR: the sender is to try again; and what was answered with AA is held."""
    running = start()
    running.database.fence.close_store()
    answer = running.peer().ask(report())
    assert answer["MSA"][1] == "AR"
    assert answer["MSA"][3] == "store_read_only"
    assert answer["ERR"][3].startswith("207^")


def test_a_message_above_the_limit_is_refused_before_it_is_read(start):
    """AE, for it would be too large the next time as well; the connection ends."""
    running = start(listener={"maximum_object_bytes": 65536})
    peer = running.peer()
    with contextlib.suppress(ConnectionError):
        peer.socket.sendall(b"\x0b" + report("x" * 400000).encode())
    answer = fields(peer.receive())
    assert answer["MSA"] == ["MSA", "AE", "C1", "message_too_large"]
    assert peer.receive() is None
    assert running.peer().ask(report())["MSA"][1] == "AA"


def test_a_large_message_within_the_limit_is_taken(start):
    """Of megabytes, in pieces of any size."""
    running = start()
    text = "Heart size is normal. " * 100000
    peer = running.peer()
    encoded = b"\x0b" + report(text + "Pneumothorax.").encode() + b"\x1c\r"
    for at in range(0, len(encoded), 300001):
        peer.socket.sendall(encoded[at : at + 300001])
    assert fields(peer.receive())["MSA"][1] == "AA"
    [stored] = take_pending(running.database, maximum_objects=1, maximum_bytes=1, exclude=())
    assert extract(stored).narrative.text.endswith("Pneumothorax.")


def test_a_peer_that_stops_within_a_message_is_let_go(start):
    """And nobody else waits for it."""
    running = start(timeouts=QUICK)
    stalled = running.peer()
    stalled.socket.sendall(b"\x0bMSH|^~\\&|RIS")
    assert running.peer().ask(report())["MSA"][1] == "AA"
    assert stalled.receive() is None


def test_a_peer_that_drips_is_let_go(start):
    """A byte now and then isn't the least rate."""
    running = start(timeouts=QUICK)
    peer = running.peer()
    peer.socket.sendall(b"\x0bMSH|^~\\&|RIS|")
    deadline = time.monotonic() + 30
    peer.socket.settimeout(0.2)
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            try:
                peer.socket.sendall(b"x")
                if not peer.socket.recv(1):
                    return
            except ConnectionError:
                return
    pytest.fail("the connection is still held")


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\r\n" * 40000, b"MSH|^~\\&|"]
)
def test_what_is_no_frame_ends_the_connection(start, garbage):
    """Without an answer; HTTP, TLS, endless line ends, a message without its frame."""
    running = start()
    peer = running.peer()
    with contextlib.suppress(ConnectionError):
        peer.socket.sendall(garbage)
    assert peer.receive() is None
    assert running.peer().ask(report())["MSA"][1] == "AA"
    assert running.ledger() == [("stored", None)]


def test_silence_between_messages_ends_no_connection(start):
    """Interfaces are quiet at night."""
    running = start(timeouts=QUICK)
    peer = running.peer()
    assert peer.ask(report())["MSA"][1] == "AA"
    time.sleep(1.5)
    assert peer.ask(report(control_id="C2"))["MSA"][1] == "AA"


def test_a_flood_of_connections_ends_its_own(start, eventually):
    """One more than there may be ends the one that was silent longest, of the address that has most."""
    running = start(maximum_connections=3)
    peers = [running.peer() for _ in range(3)]
    assert peers[0].ask(report())["MSA"][1] == "AA"
    late = running.peer()
    assert late.ask(report(control_id="C2"))["MSA"][1] == "AA"
    assert peers[1].receive() is None
    assert peers[0].ask(report(control_id="C3"))["MSA"][1] == "AA"


def test_messages_may_come_before_the_last_was_answered(start):
    """They are answered in their order."""
    running = start()
    peer = running.peer()
    for number in range(20):
        peer.send(report(f"Nodule {number}.", control_id=f"C{number}", uid=f"1.2.{number}"))
    assert [fields(peer.receive())["MSA"][2] for _ in range(20)] == [f"C{n}" for n in range(20)]


def test_a_message_that_was_begun_anew_counts_from_its_second_begin(start):
    """A sender that died within one, behind a device that keeps the connection."""
    running = start()
    peer = running.peer()
    peer.socket.sendall(b"\x0b" + report("Pneumothorax.", control_id="OLD").encode()[:200])
    assert peer.ask(report("Normal.", control_id="NEW"))["MSA"] == ["MSA", "AA", "NEW"]
    assert len(running.ledger()) == 1


def test_only_senders_and_networks_that_are_listed_are_answered_well(start):
    """By MSH-3; and whoever comes from elsewhere isn't talked to."""
    running = start(sending_applications=["RIS", "RIS2"])
    peer = running.peer()
    assert peer.ask(report())["MSA"][1] == "AA"
    answer = peer.ask(report(application="EVIL"))
    assert answer["MSA"][1:] == ["AR", "C1", "hl7_sender_not_allowed"]
    elsewhere = start(networks=["192.0.2.0/24"])
    assert elsewhere.peer().receive() is None


def test_stop_lets_a_message_be_answered_and_ends_the_silent(start):
    """What has begun is finished; nobody is kept waiting."""
    running = start()
    silent, busy = running.peer(), running.peer()
    assert silent.ask(report())["MSA"][1] == "AA"
    encoded = b"\x0b" + report(control_id="LAST").encode() + b"\x1c\r"
    busy.socket.sendall(encoded[:100])
    time.sleep(0.3)
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    time.sleep(0.5)
    busy.socket.sendall(encoded[100:])
    assert fields(busy.receive())["MSA"][1:] == ["AA", "LAST"]
    assert silent.receive() is None
    stopper.join(20)
    assert not stopper.is_alive()


def test_tls_with_certificates(start, tmp_path):
    """Only whose certificate is listed; plain bytes on the port end the connection, and others aren't kept."""
    certificates = Certificates(tmp_path)
    for name in ("server", "ris", "other"):
        certificates.issue(name, "localhost", "127.0.0.1")
    running = start(tls_table=certificates.table(), tls=True, certificates=[certificates.fingerprint("ris")])
    assert running.peer(certificates.client("ris")).ask(report())["MSA"][1] == "AA"
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert running.peer(certificates.client("other")).receive() is None
    stalled, plain = running.peer(), running.peer()
    with contextlib.suppress(ConnectionError):
        plain.send(report())
        # what comes is an alert of TLS, or nothing
        assert not plain.socket.recv(65536).startswith(b"\x0b")
    assert running.peer(certificates.client("ris")).ask(report(control_id="C2"))["MSA"][1] == "AA"
    stalled.close()
    assert [outcome for outcome, _ in running.ledger()] == ["stored", "new_version"]


def test_connections_are_in_the_audit_trail(start, eventually):
    """One row each, with how many messages were accepted."""
    running = start()
    peer = running.peer()
    peer.ask(report())
    peer.ask(report(kind="ADT^A01"))
    peer.close()
    query = "SELECT kind, principal, outcome, count FROM audit_event WHERE action = 'association'"
    eventually(lambda: running.rows(query) == [("association", "RIS", "success", 1)])


def test_no_word_of_a_message_reaches_a_log(start, capfd):
    """Neither of one that is taken nor of one that isn't."""
    from dicomnlp import logs

    logs.configure("debug")
    running = start()
    peer = running.peer()
    peer.ask(report("CanaryText pneumothorax.", application="CanaryApp"))
    peer.ask(report("CanaryText", kind="CanaryKind^R01"))
    peer.ask(b"CanaryBytes")
    peer.close()
    running.end()
    running.end = lambda: None
    said = capfd.readouterr()
    assert "hl7_message_refused" in said.err
    assert "CanaryText" not in said.err + said.out
    assert "Canary" not in said.err.replace("CanaryApp", "")
    assert "Rossi" not in said.err + said.out


def test_the_object_is_read_again_as_it_is(start):
    """What is kept can be exported as a DICOM file, and imported elsewhere."""
    running = start()
    running.peer().ask(report("Nodule."))
    [stored] = take_pending(running.database, maximum_objects=1, maximum_bytes=1, exclude=())
    import io

    import pydicom

    data_set = pydicom.dcmread(io.BytesIO(stored.data), force=True)
    assert data_set.SOPClassUID == HL7_MESSAGE_STORAGE
    assert str(data_set.PatientName) == "Rossi^Ada"
    assert data_set.MIMETypeOfEncapsulatedDocument == "x-application/hl7-v2+er7"
    assert data_set.EncapsulatedDocument[: data_set.EncapsulatedDocumentLength] == report("Nodule.").encode()
    assert data_set.VerifyingObserverSequence[0].VerifyingObserverName == "Mayer^Eva"


def test_an_override_of_the_character_set_is_for_the_message_and_not_for_its_header():
    """The header is ours."""
    from dicomnlp.extract.hl7 import parse_message
    from dicomnlp.extract.hl7_report import ACCESSION_FIELDS, reports_of
    from dicomnlp.receive.hl7_object import encode_report

    encoded = report("双肺未见结节。", character_set="8859/1").replace("Rossi", "王").encode("gb18030")
    message = parse_message(encoded)
    [found] = reports_of(message)
    made = encode_report(message, found, encoded, ACCESSION_FIELDS)
    stored = StoredObject(1, made.sop_instance_uid, HL7_MESSAGE_STORAGE, "1.2.840.10008.1.2.1", made.data)
    for override in (None, "gb18030"):
        read = extract(stored, character_set=override)
        assert "双肺未见结节。" in read.narrative.text
        assert read.character_set.used == "gb18030"
        assert read.identity.patient_id == "P1"


def test_two_servers_on_one_port_are_refused():
    """With what to do about it."""
    from dicomnlp.errors import PortInUseError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUseError, match=r"hl7\.port"):
            bind_address("127.0.0.1", taken.getsockname()[1], "hl7")
