"""Sends a hundred studies of demonstration to a running service and shows what it found in them.

    python scripts/demo.py [--config FILE] [--host H] [--port N] [--ae-title AE] [--web URL]

It is a client like any other: the reports go over a DICOM association, the findings come back over HTTP. Where the
service listens is read from its configuration; each address can be given instead. Run again it changes nothing, for
the service knows the objects by then.
"""

import argparse
import http.client
import ipaddress
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import demo_reports
import make_samples
from pydicom.config import disable_value_validation
from pydicom.dataset import FileDataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dicomnlp import config
from dicomnlp.errors import ConfigurationError
from dicomnlp.export.reactor import hold_reactor

STARTUP_SECONDS = 180.0
"""How long a service that is starting may take: the first start loads the language packs and makes the workers."""
ANALYSIS_SECONDS = 180.0
"""How long all reports together may take from sent to analysed."""
PAUSE_SECONDS = 0.3
SHOWN_STUDIES = 4
STYLES = {
    "present": "bold red",
    "absent": "green",
    "possible": "yellow",
    "hypothetical": "cyan",
    "historical": "magenta",
    "family": "blue",
}

Answer = TypeVar("Answer")

# into a file or a pipe there is no terminal to fit, and sentences in 16 columns can hardly be read
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


class DemoError(Exception):
    """The demonstration can't go on; the message says why and what to do."""


class NotReadyError(DemoError):
    """The service isn't there, or not yet."""


class Web:
    """GET of JSON from the service.

    Parameters
    ----------
    address
        Such as "http://127.0.0.1:8080".
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        # a proxy of the environment is for the world outside, not for the service on this machine
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """The decoded body under `path`.

        Raises
        ------
        NotReadyError
            Nothing answers at the address, or the service says that it can't answer now (503).
        DemoError
            It answers with another error, or with something that isn't JSON.
        """
        url = self.address + path
        try:
            with self._opener.open(url, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                kind = NotReadyError if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE else DemoError
                raise kind(f"GET {url} is answered with {error.code} {_explanation(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise NotReadyError(f"nothing answers at {self.address} ({reason})") from None
        except ValueError:
            raise DemoError(f"GET {url} gives no JSON; is it the address of dicomnlp?") from None

    def reports(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """The reports of a study."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/studies/{study_instance_uid}/reports")["reports"]
        return found

    def findings(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """The findings of a study."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/studies/{study_instance_uid}/findings")["findings"]
        return found


def _explanation(error: urllib.error.HTTPError) -> str:
    """The detail of a problem document (RFC 9457), else the words of the status line."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def when_ready(attempt: Callable[[], Answer], *, seconds: float, still_starting: Callable[[], bool]) -> Answer:
    """What `attempt` gives, tried until it no longer raises NotReadyError.

    Parameters
    ----------
    attempt
        Asks the service for something.
    seconds
        How long to go on trying; 0 tries once.
    still_starting
        Asked before each further attempt; when it is false there is nothing to wait for.

    Raises
    ------
    DemoError
        The service isn't ready in time, or its process has ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except NotReadyError as error:
            if not still_starting():
                raise DemoError("the service has ended before it was ready; its own message says why") from None
            if time.monotonic() >= deadline:
                waited = f" after {seconds:.0f} s" if seconds else ""
                raise DemoError(
                    f"the service is not ready{waited}: {str(error).rstrip('.')}. Start it with scripts/serve"
                ) from None
        time.sleep(PAUSE_SECONDS)


def associate(objects: Iterable[FileDataset], *, host: str, port: int, ae_title: str) -> Association:
    """An association on which `objects` can be sent as they are encoded (PS3.8 7.1).

    Raises
    ------
    NotReadyError
        Nothing takes associations there.
    DemoError
        The association is rejected.
    """
    entity = AE("DICOMNLP_DEMO")
    entity.connection_timeout = 10
    entity.acse_timeout = 30
    entity.dimse_timeout = 60
    kinds = sorted({(o.SOPClassUID, o.file_meta.TransferSyntaxUID) for o in objects})
    # one context per pair: with both transfer syntaxes in one, the acceptor would choose for all objects of the class
    contexts = [build_context(sop_class, transfer_syntax) for sop_class, transfer_syntax in kinds]
    association = entity.associate(host, port, contexts=contexts, ae_title=ae_title)
    if association.is_rejected:
        raise DemoError(f"{host}:{port} rejects an association with {ae_title}; is the AE title right?")
    if not association.is_established:
        raise NotReadyError(f"{ae_title} takes no association at {host}:{port}")
    hold_reactor(association)
    return association


def send(
    objects: Iterable[FileDataset],
    association: Association,
    *,
    faulty: Iterable[FileDataset] = (),
    on_sent: Callable[[], None] = lambda: None,
) -> None:
    """Send `objects` by C-STORE (PS3.4 B.2), then release the association.

    Parameters
    ----------
    objects
        With file meta information.
    association
        Established, with a presentation context for each.
    faulty
        Sent after them, whatever is answered: what becomes of these is to be seen on the pages.
    on_sent
        Called after each of `objects` that was answered with 0x0000.

    Raises
    ------
    DemoError
        An object is not taken.
    """
    try:
        for dataset in objects:
            instance = dataset.SOPInstanceUID
            try:
                status = association.send_c_store(dataset).get("Status")
            except (RuntimeError, ValueError) as error:
                raise DemoError(f"the service does not take {instance}: {error}") from None
            if status is None:
                raise DemoError(f"the service gave no answer to {instance}; the connection is lost")
            if status != 0x0000:
                raise DemoError(f"the service answers 0x{status:04X} to {instance}; see `dicomnlp failures`")
            on_sent()
        for dataset in faulty:
            with disable_value_validation():
                association.send_c_store(dataset)
    finally:
        if association.is_established:
            association.release()


def wait_until_analysed(
    web: Web, studies: Mapping[str, set[str]], *, seconds: float, on_progress: Callable[[int], None] = lambda _: None
) -> None:
    """Return when every report of `studies` is analysed.

    Parameters
    ----------
    web
        The service.
    studies
        StudyInstanceUID -> SOPInstanceUIDs that were sent.
    seconds
        How long to wait for all of them.
    on_progress
        Called with the number of reports analysed so far.

    Raises
    ------
    DemoError
        A report ended otherwise than analysed, or some still wait when the time is over.
    """
    deadline = time.monotonic() + seconds
    total, done = sum(map(len, studies.values())), 0
    # one after the other: by the time that the first is done the others nearly are, and are asked for once
    for study, instances in studies.items():
        while waiting := _waiting(web.reports(study), instances):
            if time.monotonic() >= deadline:
                raise DemoError(
                    f"{total - done - len(instances) + len(waiting)} of {total} reports are not analysed after "
                    f"{seconds:.0f} s; they stay pending and `dicomnlp status` tells how they get on"
                )
            time.sleep(PAUSE_SECONDS)
        done += len(instances)
        on_progress(done)


def _waiting(reports: Iterable[Mapping[str, Any]], instances: Collection[str]) -> set[str]:
    """Those of `instances` that aren't analysed yet."""
    states = {r["sop_instance_uid"]: r for r in reports}
    waiting = set()
    for uid in instances:
        state = states[uid]["state"] if uid in states else "superseded"
        if state == "pending":
            waiting.add(uid)
        elif state not in {"analysed", "superseded"}:
            reason = f" ({states[uid]['reason_code']})" if states[uid]["reason_code"] else ""
            raise DemoError(f"report {uid} ended as {state}{reason}; see `dicomnlp failures`")
    return waiting


def findings_table(title: str, findings: Sequence[Mapping[str, Any]]) -> Table:
    """The findings of a study as a table, one row each, the assertion in its colour."""
    table = Table(title=Text(title), title_justify="left", show_lines=False)
    for heading in ("concept", "assertion", "side", "size", "section"):
        table.add_column(heading)
    table.add_column("sentence", ratio=1, overflow="fold")
    for finding in findings:
        table.add_row(
            Text(finding["concept"]["meaning"]),
            Text(finding["assertion"], style=STYLES.get(finding["assertion"], "")),
            Text(finding["laterality"] or ""),
            Text(_sizes(finding["measurements"])),
            Text(finding["section"]),
            Text(" ".join(finding["sentence"].split()), style="dim"),
        )
    return table


def _sizes(measurements: Sequence[Mapping[str, Any]]) -> str:
    """Current values and, in brackets, earlier ones: "9 x 8 mm (5 x 4 mm)"."""
    texts = []
    for measurement in measurements:
        text = " x ".join(f"{value:g}" for value in measurement["values"]) + f" {measurement['unit']}"
        texts.append(f"({text})" if measurement["temporality"] == "prior" else text)
    return " ".join(texts)


def run(
    *, host: str, port: int, ae_title: str, web: Web, command: str, startup_seconds: float, running: Callable[[], bool]
) -> None:
    """The whole demonstration.

    Raises
    ------
    DemoError
        With a message for people.
    """
    objects = list(demo_reports.build_reports().values())
    faults = demo_reports.build_faults()
    faulty = list(faults.values())
    studies: dict[str, set[str]] = {}
    for dataset in objects:
        studies.setdefault(str(dataset.StudyInstanceUID), set()).add(str(dataset.SOPInstanceUID))

    def ready(attempt: Callable[[], Answer]) -> Answer:
        return when_ready(attempt, seconds=startup_seconds, still_starting=running)

    ready(lambda: web.get("/readyz"))
    association = ready(lambda: associate([*objects, *faulty], host=host, port=port, ae_title=ae_title))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        sent = progress.add_task(f"sent to {ae_title}", total=len(objects))
        analysed = progress.add_task("analysed", total=len(objects))
        send(objects, association, faulty=faulty, on_sent=lambda: progress.advance(sent))
        wait_until_analysed(
            web, studies, seconds=ANALYSIS_SECONDS, on_progress=lambda n: progress.update(analysed, completed=n)
        )

    shown = list(studies)[:SHOWN_STUDIES]
    descriptions = {str(dataset.StudyInstanceUID): str(dataset.StudyDescription) for dataset in objects}
    for study in shown:
        out.print()
        out.print(findings_table(f"{descriptions[study]}  {study}", web.findings(study)))
    out.print()
    out.print(
        f"{len(objects)} reports of {len(studies)} studies are analysed; above are the first {len(shown)}. Go on with:"
    )
    for line in (
        f"{web.address}/",
        f"{web.address}/search?concept=pulmonary_nodule&assertion=present",
        f"{web.address}/studies/{shown[0]}",
        f"{web.address}/api/v1/studies/{shown[0]}/findings",
        f"{command} findings {shown[0]}",
        f"{command} report {shown[-1]}",
    ):
        # never wrapped, so that it can be copied whole
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    # they came last and head the worklist: who doesn't know of them takes them for a fault of the program
    out.print(
        f"{len(faults)} faulty objects were sent as well, to show what becomes of such: {', '.join(faults)}. "
        f"{web.address}/status tells of them.",
        soft_wrap=True,
    )


def _reachable(host: str) -> str:
    """An address to connect to for one to listen on: "every interface" is none that can be called."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 done, 1 something failed and it says what, 2 wrong usage."""
    parser = argparse.ArgumentParser(description="Send the sample reports to a running service and show the findings.")
    parser.add_argument("--config", type=Path, help="the service's configuration file; default: config.toml here")
    parser.add_argument("--host", help="address of the DICOM port, instead of the configured one")
    parser.add_argument("--port", type=int, help="DICOM port, instead of the configured one")
    parser.add_argument("--ae-title", help="title to call, instead of the configured one")
    parser.add_argument("--web", help="address of the service over HTTP, such as http://127.0.0.1:8080")
    parser.add_argument(
        "--service-process", type=int, help="process id of a service that is starting: wait for it while it runs"
    )
    given = parser.parse_args(arguments)
    if given.web is not None and not given.web.startswith(("http://", "https://")):
        parser.error("--web must begin with http:// or https://")
    try:
        settings = config.load(given.config)
        web_host = _reachable(settings.web.host)
        bracketed = f"[{web_host}]" if ":" in web_host else web_host
        dicomnlp = shlex.quote(str(Path(sys.executable).with_name("dicomnlp")))
        file = f" --config {shlex.quote(str(settings.file))}" if settings.file else ""
        process = given.service_process
        run(
            host=given.host or _reachable(settings.listener.host),
            port=settings.listener.port if given.port is None else given.port,
            ae_title=given.ae_title or settings.listener.ae_title,
            web=Web(given.web or f"http://{bracketed}:{settings.web.port}"),
            command=dicomnlp + file,
            startup_seconds=0.0 if process is None else STARTUP_SECONDS,
            running=lambda: process is None or _is_running(process),
        )
    except (DemoError, ConfigurationError, make_samples.SampleError) as error:
        err.print(f"demo: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        err.print("demo: stopped")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
