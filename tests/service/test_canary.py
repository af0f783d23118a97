"""Words of a patient are planted in a report and sent down every path, errors and crashes included.

They may come back only where somebody asked for the report: never on standard output or error, in a log, in metrics
or in a problem document.
"""

import re
import socket
import warnings

import pytest
from pydicom import dcmread
from support.service import ROOT_UID, Service, make_report, write_report

pytestmark = pytest.mark.service

CANARIES = ("Zebulonqux", "Xylodont", "QZ77431", "Brimvale")


def planted(number, **changes):
    """A report with canaries in its text and header."""
    text = f"FINDINGS: {CANARIES[0]} has a left pleural effusion. IMPRESSION: {CANARIES[1]} no pneumothorax."
    dataset = make_report(number, text, patient_name=f"{CANARIES[0]}^{CANARIES[1]}", patient_id=CANARIES[2])
    dataset.InstitutionName = CANARIES[3]
    dataset.AccessionNumber = CANARIES[2]
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def test_planted_words_reach_no_output_log_or_metric(tmp_path):
    """Good report, bad header, broken files, poison for the reader, import, commands, HTTP errors."""
    service = Service(tmp_path).start()
    outputs = []
    try:
        assert service.send([planted(1)]) == [0]
        unlinked = planted(3)
        del unlinked.StudyInstanceUID
        with warnings.catch_warnings():
            # pydicom warns about what is odd on purpose: a date that is none, a character set that is a name
            warnings.simplefilter("ignore", UserWarning)
            odd = planted(2, StudyDate=CANARIES[0], SpecificCharacterSet=["", CANARIES[0].upper()])
            odd.ContentSequence[0].TextValue += "\x00\x1b[31m <script>" + CANARIES[1]
            assert service.send([odd, unlinked]) == [0x0000, 0xC000]
        files = tmp_path / "files"
        files.mkdir()
        good = write_report(planted(4), files / "good.dcm").read_bytes()
        (files / f"{CANARIES[0]}.txt").write_text(CANARIES[1])
        (files / "cut.dcm").write_bytes(good[:-40])
        (files / "empty.dcm").write_bytes(b"")
        (files / "noise.dcm").write_bytes(good[:300] + CANARIES[0].encode() * 50)
        broken_tree = planted(5)
        broken_tree.ContentSequence = []
        write_report(broken_tree, files / "no_text.dcm")
        imported = service.command("import", files)
        assert imported.returncode == 1
        # the file's own name is the caller's own word: it is the one thing that import may repeat
        outputs += [imported.stdout, imported.stderr.replace(f"{CANARIES[0]}.txt", "")]
        with socket.create_connection(("127.0.0.1", service.port)) as raw:
            raw.sendall(f"GET /{CANARIES[0]} HTTP/1.1\r\n\r\n".encode())
            raw.recv(100)
        service.wait_until_analysed()
        for path in (f"/{CANARIES[0]}", f"/api/v1/studies/{CANARIES[0]}/findings", f"/api/v1/status?x={CANARIES[1]}"):
            outputs.append(service.get(path)[1])
        outputs += [service.get(p)[1] for p in ("/metrics", "/api/v1/status", "/readyz", "/healthz")]
        for arguments in (["status"], ["failures"], ["check"], ["reprocess", "--all"], ["findings", CANARIES[2]]):
            done = service.command(*arguments)
            outputs += [done.stdout, done.stderr]
        told = service.command("findings", f"{ROOT_UID}.1.1", "--json").stdout
        assert CANARIES[0] in told  # the planted report did go all the way
    finally:
        service.stop()
    outputs += [service.stdout.read_text(), service.stderr.read_text()]
    everything = "\n".join(outputs)
    assert "object_received" in everything
    assert not re.search("|".join(CANARIES), everything, re.IGNORECASE)


def test_planted_file_is_what_the_canary_test_thinks(tmp_path):
    """The helper really plants: guards the test above against planting nothing."""
    back = dcmread(write_report(planted(9), tmp_path / "x.dcm"))
    assert CANARIES[0] in back.ContentSequence[0].TextValue
    assert CANARIES[2] == back.PatientID
