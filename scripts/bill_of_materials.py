"""Writes a software bill of materials (CycloneDX 1.6, JSON) of what is installed for dicomnlp, to standard output.

Made of the metadata of the installed packages themselves, from dicomnlp down through what each requires, and of the
scripts that are part of the pages. It says what is there, not whether that is safe.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

VENDORED = Path(__file__).resolve().parents[1] / "dicomnlp" / "serve" / "static" / "vendor"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SCRIPT = re.compile(r"([a-z]+(?:\.[a-z]+)?)-(\d+(?:\.\d+)+)[.\w]*\.(js|css)")


def normalised(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reference(name: str, version: str) -> str:
    """The package URL of a Python package."""
    return f"pkg:pypi/{normalised(name)}@{version}"


def required_by(package: Distribution) -> list[str]:
    """Names of the packages that one asks for here, its extras left out."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    wanted = map(Requirement, package.requires or [])
    return sorted({normalised(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})})


def installed(root: str) -> dict[str, Distribution]:
    """Name -> distribution of `root` and of all that it needs; a name that isn't installed is left out."""
    found: dict[str, Distribution] = {}
    ahead = [root]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        ahead += required_by(found[name])
    return found


def component(package: Distribution) -> dict[str, Any]:
    """A package as CycloneDX has it."""
    metadata = package.metadata
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference(metadata["Name"], package.version),
        "name": normalised(metadata["Name"]),
        "version": package.version,
        "purl": reference(metadata["Name"], package.version),
    }
    if metadata.get("License-Expression"):
        made["licenses"] = [{"expression": metadata["License-Expression"]}]
    else:
        classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
        if classifiers:
            made["licenses"] = [{"license": {"name": name}} for name in sorted(set(classifiers))]
    return made


def scripts() -> Iterator[dict[str, Any]]:
    """The scripts and styles of others that the pages are shipped with."""
    for file in sorted(VENDORED.iterdir()):
        found = _SCRIPT.fullmatch(file.name)
        if found:
            purl = f"pkg:npm/{found[1]}@{found[2]}"
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            yield {
                "type": "library",
                "bom-ref": f"{purl}#{file.name}",
                "name": found[1],
                "version": found[2],
                "purl": purl,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }


def bill_of(root: str = "dicomnlp") -> dict[str, Any]:
    """The document."""
    packages = installed(root)
    own = component(packages[root]) | {"type": "application"}
    vendored = list(scripts())
    references = {name: component(p)["bom-ref"] for name, p in packages.items()}
    dependencies = [
        {"ref": references[name], "dependsOn": [references[r] for r in required_by(p) if r in references]}
        for name, p in sorted(packages.items())
    ]
    next(d for d in dependencies if d["ref"] == own["bom-ref"])["dependsOn"] += [s["bom-ref"] for s in vendored]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {"component": own},
        "components": [component(p) for name, p in sorted(packages.items()) if name != root] + vendored,
        "dependencies": dependencies,
    }


if __name__ == "__main__":
    json.dump(bill_of(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
