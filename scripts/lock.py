"""Writes requirements.lock: every package that dicomnlp needs to run, by version and by the SHA-256 of its file.

Run with the Python for which it is to be: what is locked is what pip would install there now. `--check` only compares
the lock with pyproject.toml, and asks no registry.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
_ENTRY = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+) --hash=sha256:([0-9a-f]{64})$", re.MULTILINE)


def read_lock(text: str) -> dict[str, str]:
    """Normalised name -> version of what a lock holds."""
    return {name: version for name, version, _ in _ENTRY.findall(text)}


def normalised(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_of(report: dict[str, Any]) -> str:
    """The lock that pip's installation report (PEP 610 download information) makes."""
    lines = []
    for item in report["install"]:
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        if "sha256" in hashes:  # all but this project itself
            name = normalised(item["metadata"]["name"])
            lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{hashes['sha256']}")
    made_for = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
    head = (
        f"# Made by scripts/lock.py for {made_for} on {platform.system()} {platform.machine()}; "
        "scripts/install_locked installs it\n"
    )
    return head + "\n".join(sorted(lines)) + "\n"


def faults_of(text: str, requirements: Iterable[str]) -> list[str]:
    """What `requirements` (of pyproject.toml) ask for and the lock doesn't give."""
    from packaging.requirements import Requirement  # noqa: PLC0415  pip has it, a bare Python not

    locked = read_lock(text)
    faults = []
    for line in requirements:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        version = locked.get(normalised(wanted.name))
        if version is None:
            faults.append(f"{wanted.name} is not locked")
        elif not wanted.specifier.contains(version, prereleases=True):
            faults.append(f"{wanted.name} is locked at {version}, which isn't {wanted.specifier}")
    return faults


def main() -> int:
    """Make the lock, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the lock with pyproject.toml")
    if parser.parse_args().check:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        faults = faults_of(LOCK.read_text(encoding="utf-8"), project["dependencies"])
        print("\n".join(faults) or "requirements.lock fits pyproject.toml")
        return 1 if faults else 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", report, ROOT], check=True)
        LOCK.write_text(lock_of(json.loads(report.read_text(encoding="utf-8"))), encoding="utf-8")
    print(LOCK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
