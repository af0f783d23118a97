"""The PACS: an Orthanc in a folder of its own, which keeps everything and forwards what it is told to."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

START_SECONDS = 60.0
FORWARD_SECONDS = 600.0
FORWARDED_AT_ONCE = 200


class ArchiveError(RuntimeError):
    """The archive doesn't start, or didn't do what it was asked."""


class Orthanc:
    """An Orthanc, for as long as the block lasts.

    Parameters
    ----------
    folder
        Where its storage, configuration and log are; what is there already stays.
    port, web_port
        Of DICOM and of its REST interface, on loopback.
    ae_title
        Its own.
    peer
        AE title and port of the service that it forwards to.
    """

    def __init__(self, folder: Path, port: int, web_port: int, *, ae_title: str, peer: tuple[str, int]) -> None:
        self.folder, self.port, self.web_port, self.ae_title = folder, port, web_port, ae_title
        self._peer = peer
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{web_port}", timeout=FORWARD_SECONDS)

    def __enter__(self) -> Self:
        storage = self.folder / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(storage)), encoding="utf-8")
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(["Orthanc", str(configuration)], stdout=log, stderr=log)  # noqa: S607
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError, OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self._client.get("/system").raise_for_status()
                return self
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.__exit__(None, None, None)
                raise ArchiveError(f"Orthanc doesn't start: see {self.folder / 'orthanc.log'}")
            time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _configuration(self, storage: Path) -> dict[str, Any]:
        title, port = self._peer
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "StorageCompression": False,
            "HttpPort": self.web_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"service": [title, "127.0.0.1", port]},
            "StableAge": 60,
            "SynchronousCMove": True,
            "DefaultEncoding": "Utf8",
        }

    def keep(self, objects: Iterable[bytes]) -> list[str]:
        """Store DICOM files; its names for them, in order."""
        names = []
        for written in objects:
            answer = self._client.post("/instances", content=written)
            answer.raise_for_status()
            names.append(str(answer.json()["ID"]))
        return names

    def forward(self, names: Sequence[str]) -> int:
        """Send what it keeps by these names to the service, by C-STORE; how many the service took.

        Raises
        ------
        ArchiveError
            Something wasn't taken.
        """
        sent = 0
        for first in range(0, len(names), FORWARDED_AT_ONCE):
            some = list(names[first : first + FORWARDED_AT_ONCE])
            answer = self._client.post(
                "/modalities/service/store", json={"Resources": some, "Synchronous": True, "Permissive": True}
            )
            answer.raise_for_status()
            result = answer.json()
            if result.get("FailedInstancesCount"):
                raise ArchiveError(f"{result['FailedInstancesCount']} of {len(some)} objects were not taken")
            sent += len(some)
        return sent

    def count(self) -> int:
        """Objects that it keeps."""
        return int(self._client.get("/statistics").raise_for_status().json()["CountInstances"])
