"""Archives for tests: the real Orthanc and DCMTK's dcmqrscp on loopback, filled with reports."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pynetdicom import AE
from support.dicom_files import to_file
from support.service import BASIC_TEXT_SR, free_port, make_report

from dicomnlp.export.reactor import hold_reactor
from dicomnlp.pacs_settings import PacsSettings

DAY = "20260102"
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TEXT = "FINDINGS: Nodule of {size} mm in the right upper lobe. No pleural effusion.\nIMPRESSION: Nodule."
START_SECONDS = 60


@dataclass
class Archive:
    """A running archive."""

    port: int
    ae_title: str
    web_port: int = 0

    def table(self, **keys):
        """What [[pacs]] says of it by DICOM, and `keys`."""
        return PacsSettings(
            **{"name": "archive", "ae_title": self.ae_title, "host": "127.0.0.1", "port": self.port, **keys}
        )

    def web_table(self, **keys):
        """What [[pacs]] says of it by DICOMweb."""
        base = f"http://127.0.0.1:{self.web_port}/dicom-web"
        return PacsSettings(**{"name": "archive", "qido_url": base, "wado_url": base, **keys})

    def ask(self, path, body=None, method=None):
        """What Orthanc's own interface answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def put(self, datasets):
        """Store objects."""
        if self.web_port:
            for dataset in datasets:
                self.ask("/instances", to_file(dataset))
            return
        ae = AE("FILLER")
        ae.add_requested_context(BASIC_TEXT_SR)
        association = ae.associate("127.0.0.1", self.port, ae_title=self.ae_title)
        assert association.is_established
        hold_reactor(association)
        for dataset in datasets:
            assert association.send_c_store(dataset).Status == 0
        association.release()


def reports(count, first=1, **values):
    """Numbered reports, each of a study of its own, a minute after the one before it."""
    made = []
    for number in range(first, first + count):
        dataset = make_report(number, TEXT.format(size=number % 30 + 3))
        dataset.StudyDate, dataset.StudyTime = DAY, f"{number // 60 % 24:02}{number % 60:02}00"
        dataset.SOPInstanceUID = f"2.25.77{number:06}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        made.append(dataset)
    return made


@contextlib.contextmanager
def run_orthanc(folder, *, destination=0, **options):
    """Orthanc with an empty store; `destination` is the port of the listener that it calls DICOMNLP."""
    port, web_port = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": web_port,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"dicomnlp": ["DICOMNLP", "127.0.0.1", destination]} if destination else {},
        "Plugins": [str(DICOMWEB_PLUGIN)] if DICOMWEB_PLUGIN.exists() else [],
        "DicomThreadsCount": 4,
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    archive = Archive(port, "ORTHANC", web_port)
    with _running(["Orthanc", "orthanc.json"], folder, archive, lambda: archive.ask("/system")):
        yield archive


@contextlib.contextmanager
def run_dcmqrscp(folder, *, destination=0):
    """DCMTK's archive with an empty store."""
    port = free_port()
    (folder / "store").mkdir(parents=True)
    # the listener's port is wanted even of a host that is never called
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nnlp = (DICOMNLP, 127.0.0.1, {destination or 104})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder}/store RW (20000, 1024mb) ANY\nAETable END\n"
    )
    archive = Archive(port, "ARCHIVE")

    def probe():
        socket.create_connection(("127.0.0.1", port), 10).close()

    with _running(["dcmqrscp", "-c", "dcmqrscp.cfg"], folder, archive, probe):
        yield archive


@contextlib.contextmanager
def _running(command, folder, archive, probe):
    # without Nagle's algorithm, which makes tools built on DCMTK wait 40 ms a message
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                assert process.poll() is None, (folder / "log").read_text(errors="replace")
                try:
                    probe()
                    break
                except OSError:
                    assert time.monotonic() < deadline, (folder / "log").read_text(errors="replace")
                    time.sleep(0.1)
            yield archive
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)
