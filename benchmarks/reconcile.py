"""An archive with 500 reports, of which 37 never came: exactly these are listed, and fetched.

    python benchmarks/reconcile.py                         Orthanc, C-FIND and C-MOVE
    python benchmarks/reconcile.py --way qido              QIDO-RS and WADO-RS, with Orthanc's DICOMweb plugin
    python benchmarks/reconcile.py --reports 5000 --withheld 200

Orthanc gets all reports and forwards all but the withheld ones by C-STORE to a running service. `dicomnlp reconcile`
must then list those and no other, `--fetch` must bring them, and a third call must find nothing wanting; each fetched
report must have its findings. Exit code 1: it was otherwise.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from measured import about
from support.archives import DAY, Archive, reports, run_orthanc
from support.dicom_files import to_file
from support.service import Service

WAYS = {
    "move": 'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {port}\nretrieve = "move"\n',
    "get": 'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {port}\nretrieve = "get"\n',
    "qido": 'qido_url = "http://127.0.0.1:{web}/dicom-web"\nwado_url = "http://127.0.0.1:{web}/dicom-web"\n',
}


def forward(archive: Archive, names: list[str]) -> None:
    """Let Orthanc send these of its objects to the service."""
    body = json.dumps({"Resources": names, "Synchronous": True}).encode()
    done = archive.ask("/modalities/dicomnlp/store", body)
    if done["FailedInstancesCount"]:
        raise SystemExit(f"{done['FailedInstancesCount']} reports were not taken")


def reconcile(service: Service, *options: str) -> tuple[dict[str, object], set[str], float]:
    """What the command tells of the day, the reports it lists, and how long it took."""
    day = f"{DAY[:4]}-{DAY[4:6]}-{DAY[6:]}"
    begun = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dicomnlp", "--config", str(service.config)),
            *("reconcile", "--date", day, "--json", *options),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    line = json.loads(done.stdout)
    return line, {each["sop_instance_uid"] for each in line["wanting"]}, time.monotonic() - begun


def run(folder: Path, way: str, count: int, withheld: int) -> list[str]:
    """All of it; what was not as it should be."""
    wrong = []
    service = Service(folder, work__workers=0, logs__level="warning")
    with run_orthanc(folder / "orthanc", destination=service.port) as archive:
        table = WAYS[way].format(port=archive.port, web=archive.web_port)
        with service.config.open("a", encoding="utf-8") as file:
            file.write(f'[[pacs]]\nname = "archive"\n{table}')
        service.start(timeout=600)
        try:
            every = reports(count)
            kept_back = {str(d.SOPInstanceUID) for d in random.Random(37).sample(every, withheld)}  # noqa: S311
            names = {str(d.SOPInstanceUID): archive.ask("/instances", to_file(d))["ID"] for d in every}
            forward(archive, [name for uid, name in names.items() if uid not in kept_back])
            service.wait_until_analysed(timeout=1800)
            line, listed, seconds = reconcile(service)
            print(f"listed in {seconds:.1f} s: {line['objects']} reports, {line['never_received']} never received")
            if listed != kept_back:
                wrong.append(f"{len(listed - kept_back)} listed that came, {len(kept_back - listed)} not listed")
            line, _, seconds = reconcile(service, "--fetch")
            print(f"fetched in {seconds:.1f} s: {line['fetch']}")
            service.wait_until_analysed(timeout=1800)
            line, listed, seconds = reconcile(service)
            print(f"again in {seconds:.1f} s: {line['objects']} reports, {len(listed)} wanting")
            if listed:
                wrong.append(f"{len(listed)} still wanting")
            for dataset in every:
                if str(dataset.SOPInstanceUID) in kept_back:
                    status, body = service.get(f"/api/v1/studies/{dataset.StudyInstanceUID}/findings")
                    if status != 200 or not json.loads(body)["findings"]:
                        wrong.append(f"{dataset.SOPInstanceUID}: no findings")
        finally:
            service.stop()
    return wrong


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=500)
    parser.add_argument("--withheld", type=int, default=37)
    parser.add_argument("--way", choices=WAYS, default="move")
    asked = parser.parse_args()
    print(about(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        wrong = run(Path(name), asked.way, asked.reports, asked.withheld)
    for each in wrong:
        print(each)
    print("MISSED" if wrong else f"exactly the {asked.withheld} withheld were listed, fetched and analysed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
