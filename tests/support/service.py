"""A whole dicomnlp service as processes of its own, for tests that look at it from outside."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from typer.testing import CliRunner

from dicomnlp import config
from dicomnlp.cli.main import app
from dicomnlp.export.reactor import hold_reactor
from dicomnlp.store import admin

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ROOT_UID = "1.2.826.0.1.3680043.10.1511"


def free_port():
    """A TCP port that nobody listens on now.

    Below those that systems give to connections and to sockets bound to port 0, and at random: until it is used, nobody
    is likely to take it, tests that run in parallel included.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def make_report(number, text, *, study=None, patient_name="TEST^PATIENT", patient_id="T-1", revision=""):
    """A Basic Text SR with one paragraph; `number` makes its UIDs."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = BASIC_TEXT_SR
    dataset.SOPInstanceUID = f"{ROOT_UID}.3.{number}"
    dataset.StudyInstanceUID = f"{ROOT_UID}.1.{number if study is None else study}"
    dataset.SeriesInstanceUID = f"{ROOT_UID}.2.{number}"
    dataset.PatientName, dataset.PatientID = patient_name, patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20260102", "0900", f"A{number}"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "SR", 1, 1
    dataset.ContentDate, dataset.ContentTime = "20260102", "0910"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.StudyID, dataset.ReferringPhysicianName, dataset.Manufacturer = "1", "", revision
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging report")]
    paragraph = Dataset()
    paragraph.RelationshipType, paragraph.ValueType, paragraph.TextValue = "CONTAINS", "TEXT", text
    paragraph.ConceptNameCodeSequence = [_code("121071", "DCM", "Finding")]
    dataset.ContentSequence = [paragraph]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _code(value, scheme, meaning):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def write_report(dataset, path):
    """`dataset` as a DICOM file, for DCMTK's senders."""
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


class Service:
    """`dicomnlp serve` in a folder of its own."""

    def __init__(self, folder: Path, url: str | None = None, **settings):
        self.folder = folder
        self.port, self.web_port = free_port(), free_port()
        tables = {
            "listener": {"port": self.port},
            "database": {"url": url or "sqlite:///dicomnlp.db"},
            "work": {"workers": 1},
            "web": {"port": self.web_port},
            "logs": {"level": "debug"},
        }
        for key, value in settings.items():
            table, _, name = key.partition("__")
            tables.setdefault(table, {})[name] = value
        self.config = folder / "config.toml"
        self.config.write_text(
            "".join(
                f"[{table}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
                for table, values in tables.items()
            )
        )
        self.process = None
        self.stdout, self.stderr = folder / "stdout.txt", folder / "stderr.txt"

    def command(self, *arguments):
        """Run one `dicomnlp` command with this service's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "dicomnlp", "--config", str(self.config), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def told(self, *arguments):
        """What a `dicomnlp` command prints that succeeds; in this process, as a new one takes a second to start."""
        done = CliRunner().invoke(app, ["--config", str(self.config), *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def start(self, timeout=90.0):
        """Migrate the database, start, and wait for the ready line."""
        admin.upgrade(config.load(self.config))
        already = self.stdout.stat().st_size if self.stdout.exists() else 0
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicomnlp", "--config", str(self.config), "serve"],
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while b"\nready" not in b"\n" + self.stdout.read_bytes()[already:]:
            assert self.process.poll() is None, self.stderr.read_text()[-2000:]
            assert time.monotonic() < deadline, self.stderr.read_text()[-2000:]
            time.sleep(0.05)
        return self

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self):
        """Kill -9 of the whole service: every process of its session at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def get(self, path):
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answers(self):
        """Whether the DICOM port takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
        except OSError:
            return False
        return True

    def send(self, datasets):
        """Send by pynetdicom on one association; the statuses in order, None where the connection broke."""
        ae = AE(ae_title="SENDER")
        for sop_class_uid in {str(d.SOPClassUID) for d in datasets if "SOPClassUID" in d} | {BASIC_TEXT_SR}:
            ae.add_requested_context(sop_class_uid, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self.port, ae_title="DICOMNLP")
        hold_reactor(association)
        statuses = []
        for dataset in datasets:
            try:
                status = association.send_c_store(dataset) if association.is_established else None
            except (RuntimeError, ValueError):
                status = None
            statuses.append(status.Status if status else None)
        if association.is_established:
            association.release()
        return statuses

    def wait_until_analysed(self, timeout=120.0):
        """Wait until nothing is pending; the counts by state."""
        deadline = time.monotonic() + timeout
        while True:
            status = json.loads(self.get("/api/v1/status")[1])
            if not status["objects"]["pending"]:
                return status["objects"]
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
