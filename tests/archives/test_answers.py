"""What archives may answer: in part, too much, in odd character sets, or nothing that makes sense."""

import contextlib
import datetime as dt
import http.server
import json
import socket
import threading
import urllib.parse

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from support.archives import Archive

from dicomnlp.config import Settings
from dicomnlp.errors import PacsError
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive import archive_qido
from dicomnlp.receive.archive import list_reports

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
DAY = dt.date(2026, 1, 2)


def row(**values):
    """An answer."""
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def study(number, **values):
    """A study with a series of one report."""
    return row(**{"StudyInstanceUID": f"2.25.1{number}", "StudyTime": "", "ModalitiesInStudy": "SR", **values})


@contextlib.contextmanager
def find_archive(answer):
    """An archive by C-FIND: `answer(level, query)` yields (status, identifier)."""

    def find(event):
        query = event.identifier
        yield from answer(query.QueryRetrieveLevel, query)

    ae = AE("FAKE")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield Archive(server.socket.getsockname()[1], "FAKE").table()
    finally:
        server.shutdown()


def by_level(studies, series=None, instances=None):
    """Plain answers: a report in each study."""

    def answer(level, query):
        if level == "STUDY":
            yield from ((0xFF00, each) for each in studies)
        elif level == "SERIES":
            uid = str(query.StudyInstanceUID)
            yield from series(uid) if series else [(0xFF00, row(SeriesInstanceUID=uid + ".1", Modality="SR"))]
        else:
            uid = str(query.SeriesInstanceUID)
            plain = [(0xFF00, row(SOPInstanceUID=uid + ".1", SOPClassUID=SR))]
            yield from instances(uid) if instances else plain

    return answer


def listed(pacs):
    """What is made of the answers."""
    return list_reports(Settings(pacs=[pacs]), pacs, DAY)


def test_a_study_that_fails_leaves_the_others():
    """It is asked for once more, and then counted as not read: the day is in part, and says why."""
    asked = []

    def series(uid):
        asked.append(uid)
        if uid == "2.25.11":
            yield 0xC001, None
        else:
            yield 0xFF00, row(SeriesInstanceUID=uid + ".1", Modality="SR")

    with find_archive(by_level([study(n) for n in range(3)], series)) as pacs:
        found = listed(pacs)
    assert (found.studies, found.unread_studies, found.reason_code) == (3, 1, "pacs_failed")
    assert {each.study_instance_uid for each in found.objects.values()} == {"2.25.10", "2.25.12"}
    assert asked.count("2.25.11") == 2


def test_a_study_that_fails_once_is_read_the_second_time():
    """The day is whole then."""
    failures = iter([True])

    def series(uid):
        if next(failures, False):
            yield 0xA700, None
        else:
            yield 0xFF00, row(SeriesInstanceUID=uid + ".1", Modality="SR")

    with find_archive(by_level([study(n) for n in range(3)], series)) as pacs:
        found = listed(pacs)
    assert (len(found.objects), found.unread_studies, found.reason_code) == (3, 0, None)


@pytest.mark.parametrize(
    "answers",
    [
        {"series": lambda _uid: iter(())},  # though the study is said to have reports
        {"instances": lambda _uid: iter(())},
        {"series": lambda _uid: [(0xFF00, row(SeriesInstanceUID="", Modality="SR"))]},
        {"instances": lambda _uid: [(0xFF00, row(SOPInstanceUID=""))]},
    ],
)
def test_answers_that_contradict_themselves_are_not_taken_for_nothing(answers):
    """A report that isn't named wouldn't be missed."""
    with find_archive(by_level([study(1)], **answers)) as pacs:
        found = listed(pacs)
    assert (found.objects, found.unread_studies, found.reason_code) == ({}, 1, "pacs_answer")


@contextlib.contextmanager
def aborting_archive(studies, aborts):
    """One that aborts the association where `aborts(uid)` holds of the study whose series are asked for."""

    def find(event):
        query = event.identifier
        if query.QueryRetrieveLevel == "SERIES" and aborts(str(query.StudyInstanceUID)):
            event.assoc.abort()
            return
        yield from by_level(studies)(query.QueryRetrieveLevel, query)

    ae = AE("FAKE")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield Archive(server.socket.getsockname()[1], "FAKE").table()
    finally:
        server.shutdown()


def test_a_study_at_which_the_archive_aborts_leaves_the_others():
    """They are asked for over another association."""
    with aborting_archive([study(n) for n in range(5)], lambda uid: uid == "2.25.11") as pacs:
        found = listed(pacs)
    assert (len(found.objects), found.unread_studies, found.reason_code) == (4, 1, "pacs_timeout")


def test_an_archive_that_goes_away_in_the_middle_is_told():
    """What it told before is kept, of the rest nothing is known; it isn't asked for ever."""
    asked = []

    def aborts(uid):
        asked.append(uid)
        return len(asked) > 2

    with aborting_archive([study(n) for n in range(50)], aborts) as pacs:
        found = listed(pacs)
    assert (found.studies, len(found.objects), found.unread_studies) == (50, 2, 48)
    assert found.reason_code == "pacs_timeout"
    assert len(asked) == 7


def test_an_archive_that_tells_no_modalities_is_asked_for_the_series():
    """Optional keys may be left out (PS3.4 C.2.2.1.3): then the series tell, and images are passed by."""

    def series(uid):
        yield 0xFF01, row(SeriesInstanceUID=uid + ".1", Modality="CT")
        yield 0xFF01, row(SeriesInstanceUID=uid + ".2", Modality="SR")
        yield 0xFF01, row(SeriesInstanceUID=uid + ".3")

    def instances(uid):
        assert not uid.endswith(".1.1")
        yield 0xFF01, row(SOPInstanceUID=uid + ".7")

    plain = [row(StudyInstanceUID="2.25.11")]
    with find_archive(by_level(plain, series, instances)) as pacs:
        found = listed(pacs)
    assert sorted(found.objects) == ["2.25.11.2.7", "2.25.11.3.7"]
    assert {each.sop_class_uid for each in found.objects.values()} == {""}


def test_thousands_of_matches_are_all_taken():
    """They come faster than they are looked at."""
    studies = [study(n, ModalitiesInStudy="CT\\MR") for n in range(1100)] + [study(1100, ModalitiesInStudy="CT\\SR")]
    with find_archive(by_level(studies)) as pacs:
        found = listed(pacs)
    assert (found.studies, len(found.objects), found.reason_code) == (1101, 1, None)


@pytest.mark.filterwarnings("ignore:Unknown encoding")
@pytest.mark.parametrize("character_set", ["GB18030", "ISO_IR 999", "ISO_IR 192", ""])
def test_text_in_any_character_set_is_nobodys_trouble(character_set):
    """Declared wrongly or not at all: of an answer only UIDs and codes are looked at."""
    names = "胸部^ CT".encode("gb18030")

    def answer(level, query):
        for status, identifier in by_level([study(1)])(level, query):
            if character_set:
                identifier.SpecificCharacterSet = character_set
            identifier.add_new(0x00100020, "LO", names)
            identifier.add_new(0x00081030, "LO", b"\xff\xfe\x80\x81")
            yield status, identifier

    with find_archive(answer) as pacs:
        found = listed(pacs)
    assert (len(found.objects), found.reason_code) == (1, None)


# --- QIDO-RS


class Qido(http.server.BaseHTTPRequestHandler):
    """An archive by QIDO-RS: `answer(path, parameters)` gives (status, headers, body)."""

    answer = None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer."""
        url = urllib.parse.urlsplit(self.path)
        status, headers, body = self.server.answer(url.path, dict(urllib.parse.parse_qsl(url.query)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def qido_archive(answer):
    """The archive, while the block lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Qido)
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield PacsSettings(name="web", qido_url=f"http://127.0.0.1:{server.server_port}/rs")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def element(value, vr="UI"):
    """An element of DICOM JSON."""
    return {"vr": vr, "Value": [value]}


def web_studies(count):
    """Studies as DICOM JSON."""
    return [{"0020000D": element(f"2.25.1{n}"), "00080061": element("SR", "CS")} for n in range(count)]


def web_answers(studies, page=500, encoding="utf-8", headers=None, patient="Ä^Ö"):
    """Plain answers, in pages."""

    def answer(path, parameters):
        parts = path.split("/")
        first = int(parameters.get("offset", 0))
        if parts[-1] == "studies":
            rows = [{**s, "00100010": {"vr": "PN", "Value": [{"Alphabetic": patient}]}} for s in studies]
        elif parts[-1] == "series":
            rows = [{"0020000E": element(parts[-2] + ".1"), "00080060": element("SR", "CS")}]
        else:
            rows = [{"00080018": element(parts[-2] + ".1"), "00080016": element(SR)}]
        rows = rows[first : first + page]
        if not rows:
            return 204, {}, b""
        body = json.dumps(rows, ensure_ascii=False).encode(encoding)
        return 200, {"Content-Type": "application/dicom+json", **(headers or {})}, body

    return answer


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_json_in_another_encoding_is_read(encoding):
    """JSON is UTF-8 (RFC 8259), which not every server keeps to; no UID suffers from it."""
    with qido_archive(web_answers(web_studies(3), encoding=encoding)) as pacs:
        assert len(listed(pacs).objects) == 3


def test_pages_are_turned_however_small_they_are():
    """A server may have smaller ones than were asked for."""
    with qido_archive(web_answers(web_studies(25), page=4)) as pacs:
        found = listed(pacs)
    assert (found.studies, len(found.objects), found.reason_code) == (25, 25, None)


def test_thousands_of_matches_come_in_pages():
    """2,500 studies, of which one has reports."""
    studies = [{**each, "00080061": element("CT", "CS")} for each in web_studies(2500)]
    studies[7]["00080061"] = element("SR", "CS")
    with qido_archive(web_answers(studies)) as pacs:
        found = listed(pacs)
    assert (found.studies, len(found.objects)) == (2500, 1)


def test_a_server_without_pages_is_not_asked_for_ever():
    """It answers the same each time."""
    answers = web_answers(web_studies(3))
    with qido_archive(lambda path, parameters: answers(path, {**parameters, "offset": 0})) as pacs:
        assert len(listed(pacs).objects) == 3


def test_a_server_that_has_more_than_it_gives_leaves_the_day_in_part():
    """Warning 299 (PS3.18 8.3.4.4) on the last page."""
    answers = web_answers(web_studies(3), headers={"Warning": '299 rs "There are additional results"'})
    with qido_archive(lambda path, parameters: answers(path, {**parameters, "offset": 0})) as pacs:
        found = listed(pacs)
    assert found.reason_code == "pacs_cut_short"


@pytest.mark.parametrize(
    ("status", "body", "reason_code"),
    [
        (200, b"<html>", "pacs_answer"),
        (200, b'{"error": 1}', "pacs_answer"),
        (200, b"[1, 2]", "pacs_answer"),
        (200, b'[{"0020000D": {"Value": "2.25.1"}}]', "pacs_answer"),
        (200, b'[{"0020000D": {"vr": "UI"}}]', "pacs_answer"),
        (200, b"[" * 100_000, "pacs_answer"),
        (401, b"", "pacs_not_authorized"),
        (503, b"", "pacs_busy"),
        (500, b"secret words", "pacs_failed"),
    ],
)
def test_answers_that_make_no_sense_are_told(status, body, reason_code):
    """Nothing of them is repeated."""
    with qido_archive(lambda _path, _parameters: (status, {}, body)) as pacs, pytest.raises(PacsError) as caught:
        listed(pacs)
    assert caught.value.reason_code == reason_code
    assert "secret" not in str(caught.value)


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch):
    """Only so many bytes."""
    monkeypatch.setattr(archive_qido, "MAXIMUM_PAGE_BYTES", 1000)
    with qido_archive(web_answers(web_studies(100))) as pacs, pytest.raises(PacsError, match="more than"):
        listed(pacs)


def test_the_authorization_is_sent_and_kept_secret(tmp_path):
    """From a file that others may not read."""
    from dicomnlp import config
    from dicomnlp.errors import ConfigurationError

    seen = []
    answers = web_answers(web_studies(1))

    class Noting(Qido):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Noting)
    server.answer = answers
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        (tmp_path / "config.toml").write_text(
            f'[[pacs]]\nname = "web"\nqido_url = "http://127.0.0.1:{server.server_port}/rs"\n'
            'authorization_file = "token"\n'
        )
        settings = config.load(tmp_path / "config.toml")
        token = tmp_path / "token"
        token.write_text("Bearer abc\n")
        token.chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod"):
            list_reports(settings, settings.pacs[0], DAY)
        token.chmod(0o600)
        assert len(list_reports(settings, settings.pacs[0], DAY).objects) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(seen) == {"Bearer abc"}


def test_an_address_where_something_else_listens_is_told():
    """It speaks no DICOM, and closes."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        server.settimeout(0.1)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"220 mail.example.org ready\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(PacsError, match="speak DICOM there") as caught:
            listed(Archive(server.getsockname()[1], "MAIL").table())
    finally:
        stop.set()
        thread.join()
        server.close()
    assert caught.value.reason_code == "pacs_aborted"
