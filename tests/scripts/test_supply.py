"""What dicomnlp is made of: the lock fits what is asked for, and the bill of materials names all that is there."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lock():
    """scripts/lock.py as a module."""
    spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_the_lock_has_a_version_and_a_hash(lock):
    """One without would be installed whatever it is."""
    lines = [line for line in lock.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(lock.read_lock(lock.LOCK.read_text()))
    assert len(lines) > 60


def test_lock_gives_what_the_project_asks_for(lock):
    """A requirement that was added or raised since needs `scripts/lock.py` to be run again."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert lock.faults_of(lock.LOCK.read_text(), wanted) == []


FAULTS = [
    (["nothing-of-that-name>=1"], "nothing-of-that-name is not locked"),
    (["fastapi>=99"], "fastapi is locked at"),
    (["fastapi"], None),
    (["Prometheus_Client"], None),
    (["no-such; python_version < '3'"], None),
]


@pytest.mark.parametrize(("wanted", "fault"), FAULTS)
def test_lock_that_does_not_fit_is_found(lock, wanted, fault):
    """What is missing, and what is of another version."""
    found = lock.faults_of(lock.LOCK.read_text(), wanted)
    assert (found == []) if fault is None else found[0].startswith(fault)


def test_what_is_installed_by_the_lock_has_a_hash_to_the_last_package(tmp_path):
    """Of each call of pip either every package is checked or none is fetched: none builds with what isn't locked."""
    pip = tmp_path / "bin" / "python"
    pip.parent.mkdir()
    pip.write_text(
        """#!/bin/sh
for file; do last=$file; done
[ -d "$last" ] || echo "$(wc -l < "$last") lines" >> "$(dirname "$0")/said"
echo "$@" >> "$(dirname "$0")/said"
"""
    )
    pip.chmod(0o755)
    subprocess.run([ROOT / "scripts" / "install_locked", tmp_path], check=True)
    said = (tmp_path / "bin" / "said").read_text().splitlines()
    calls = [line.split() for line in said if "lines" not in line]
    assert len(calls) == 3
    assert next(line for line in said if "lines" in line) == "1 lines"
    for call in calls:
        assert ("--require-hashes" in call and "-r" in call) != ("--no-deps" in call)
    # the first call brings the tool by which all others build
    assert ["--no-build-isolation" in call for call in calls] == [False, True, True]
    assert calls[-1][-1] == str(ROOT)


def test_image_is_made_by_the_lock():
    """Of the platform that it is of, with all that the script needs in what is sent to the engine."""
    deploy = ROOT / "docs/deploy"
    image = (deploy / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (?:(--platform=\S+) )?python:(\S+?)-", image, re.MULTILINE)) == {
        ("--platform=linux/amd64", "3.11")
    }
    assert "CPython 3.11 on Linux x86_64" in (ROOT / "requirements.lock").read_text().splitlines()[0]
    assert "scripts/install_locked /opt/dicomnlp" in image
    assert "pip install" not in image
    sent = {line[1:] for line in (deploy / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE)
    for path in " ".join(copied).split():
        assert any(path == known or path.startswith(f"{known}/") for known in sent), path


def test_lock_is_made_of_what_pip_would_install(lock):
    """But for this project itself, which has no file with a hash."""
    report = {
        "install": [
            {"download_info": {"dir_info": {}}, "metadata": {"name": "dicomnlp", "version": "1"}},
            {
                "download_info": {"archive_info": {"hashes": {"sha256": "ab" * 32}}},
                "metadata": {"name": "Some_Package", "version": "1.2"},
            },
        ]
    }
    assert lock.read_lock(lock.lock_of(report)) == {"some-package": "1.2"}


def test_bill_of_materials_names_packages_and_scripts_with_their_dependencies():
    """Each by its package URL; no reference leads to nothing; what the pages are shipped with is there by its hash."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bill_of_materials.py"], capture_output=True, text=True, check=True
    )
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    references = [c["bom-ref"] for c in bill["components"]] + [bill["metadata"]["component"]["bom-ref"]]
    assert len(references) == len(set(references))
    assert all(re.match(r"pkg:(pypi|npm)/[a-z0-9][a-z0-9.-]*@\d", r) for r in references)
    named = {c["name"] for c in bill["components"]}
    assert {"fastapi", "pydicom", "spacy", "sqlalchemy", "htmx", "uplot"} <= named
    assert {d["ref"] for d in bill["dependencies"]} <= set(references)
    assert {r for d in bill["dependencies"] for r in d["dependsOn"]} <= set(references)
    own = next(d for d in bill["dependencies"] if d["ref"].startswith("pkg:pypi/dicomnlp@"))
    assert any(r.startswith("pkg:npm/uplot@") for r in own["dependsOn"])
    assert all(c["hashes"][0]["content"] for c in bill["components"] if c["purl"].startswith("pkg:npm/"))
