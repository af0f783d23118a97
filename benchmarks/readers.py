"""dsrdump, a plain pydicom walk and dicomnlp on the same objects: which content items each finds.

    .venv/bin/python benchmarks/readers.py ../shared/gold/sr

An item is a place in the content tree with its value: text, the meaning of a code, a number, a name, a date, a UID.
Nobody knows the truth about objects of unknown writers, so an item counts when at least two of the three readers find
the same value at the same place; the share that each has of these is what the table compares.
"""

import argparse
import platform
import re
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pydicom
from pydicom.dataset import Dataset

from dicomnlp import __version__
from dicomnlp.errors import ObjectError
from dicomnlp.extract import extract, read_file
from dicomnlp.model import StoredObject

Items = dict[str, tuple[str, str]]
"""Position -> (value type, value without white space)."""

_LINE = re.compile(r"^(\d+(?:\.\d+)*)\s*<(?:[a-z ]+ )?([A-Z0-9]+):(.*)>\s*$", re.DOTALL)
_KINDS = ("TEXT", "CODE", "NUM", "PNAME", "DATE", "TIME", "DATETIME", "UIDREF")
_KEYWORDS = {
    "TEXT": "TextValue",
    "PNAME": "PersonName",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
}


def flat(value: object) -> str:
    """`value` as it can be compared: without white space, and without the ways in which a dump writes it."""
    text = re.sub(r"\\[nrt]|&#\d+;", "", str(value))
    return re.sub(r"[\s\\\0]+", "", text)


def by_dsrdump(path: Path) -> Items | None:
    """What DCMTK prints when asked to be as lenient as it can; None when it gives the object up."""
    command = ["dsrdump", "-q", "+Pl", "+Pn", "-Ph", "-Er", "-Ev", "-Ec", "-Ee", str(path)]
    # +U8 fails for character sets that the conversion library lacks, and for text in undeclared ones
    done = subprocess.run([command[0], "+U8", *command[1:]], capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        return None
    found: Items = {}
    lines: list[str] = []
    for line in _decoded(done.stdout).split("\n"):
        if re.match(r"\d+(\.\d+)*\s*<", line):
            lines.append(line)
        elif lines:
            lines[-1] += line
    for line in lines:
        match = _LINE.match(line)
        if match is None or match[2] not in _KINDS:
            continue
        # the concept name comes first, in parentheses that may hold a quoted meaning with anything in it
        value = re.sub(r'^\((?:[^"()]*(?:"[^"]*")?)*\)=', "", match[3])
        if match[2] == "CODE":
            quoted = re.search(r',"(.*)"\)$', value)
            value = quoted[1] if quoted else ""
        elif value.startswith('"'):
            value = value[1 : value.rindex('"')] if match[2] != "NUM" else value[1 : value.index('"', 1)]
        # what dsrdump prints for a number that isn't there
        if flat(value) and not value.startswith("empty"):
            found[match[1]] = (match[2], flat(value))
    return found


def _decoded(output: bytes) -> str:
    try:
        return output.decode("utf_8")
    except UnicodeDecodeError:
        return output.decode("latin_1")


def by_pydicom(path: Path) -> Items | None:
    """What the usual walk over ContentSequence gives; None when pydicom or Python give the object up."""
    try:
        data_set = pydicom.dcmread(path, force=True)
        return dict(_walk(data_set, "1"))
    except Exception:  # noqa: BLE001 - whatever it raises, this reader has no answer for the object
        return None


def _walk(item: Dataset, position: str) -> Iterator[tuple[str, tuple[str, str]]]:
    kind = str(item.get("ValueType", ""))
    value: object = ""
    if kind in _KEYWORDS:
        value = item.get(_KEYWORDS[kind], "")
    elif kind == "CODE" and item.get("ConceptCodeSequence"):
        value = item.ConceptCodeSequence[0].get("CodeMeaning", "")
    elif kind == "NUM" and item.get("MeasuredValueSequence"):
        value = item.MeasuredValueSequence[0].get("NumericValue", "")
        value = "".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else value
    if value is not None and flat(value):
        yield position, (kind, flat(value))
    for number, child in enumerate(item.get("ContentSequence") or (), 1):
        yield from _walk(child, f"{position}.{number}")


def by_dicomnlp(path: Path) -> Items | None:
    """What extract finds; None when it refuses the object."""
    try:
        content = read_file(path)
        report = extract(StoredObject(1, "", content.sop_class_uid, content.transfer_syntax_uid, content.data))
    except ObjectError:
        return None
    found: Items = {}
    for item in report.items:
        if item.value_type not in _KINDS or not item.value:
            continue
        if isinstance(item.value, dict):
            value = item.value.get("meaning", "")
        else:
            value = "".join(item.value) if isinstance(item.value, list) else item.value
        if flat(value):
            found[item.path] = (item.value_type, flat(value))
    return found


READERS: dict[str, Callable[[Path], Items | None]] = {
    "dsrdump": by_dsrdump,
    "pydicom walk": by_pydicom,
    "dicomnlp": by_dicomnlp,
}


def compare(paths: list[Path]) -> None:
    """Print how many of the items that two readers agree on each reader finds."""
    answered: Counter[str] = Counter()
    total: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    hits: dict[str, Counter[str]] = defaultdict(Counter)
    missed: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        answers = {name: read(path) for name, read in READERS.items()}
        votes: dict[tuple[str, str], list[str]] = defaultdict(list)
        kinds: dict[tuple[str, str], str] = {}
        for name, items in answers.items():
            answered[name] += items is not None
            total[name] += len(items or ())
            for position, (kind, value) in (items or {}).items():
                votes[position, value].append(name)
                kinds[position, value] = kind
        for key, names in votes.items():
            if len(names) < 2:
                alone[names[0]] += 1
                continue
            agreed[kinds[key]] += 1
            for name in READERS:
                if name in names:
                    hits[name][kinds[key]] += 1
                else:
                    missed[name][path.name] += 1
    print(f"{len(paths)} objects, {sum(agreed.values())} items that at least two readers agree on\n")
    print("| | " + " | ".join(READERS) + " |\n|---|" + "---|" * len(READERS))
    print("| objects answered | " + " | ".join(str(answered[name]) for name in READERS) + " |")
    print("| items found | " + " | ".join(str(total[name]) for name in READERS) + " |")
    everything = sum(agreed.values())
    cells = (f"{sum(hits[name].values())} ({sum(hits[name].values()) / everything:.2%})" for name in READERS)
    print("| **of those agreed on** | " + " | ".join(cells) + " |")
    for kind, count in agreed.most_common():
        cells = (f"{hits[name][kind]} ({hits[name][kind] / count:.2%})" for name in READERS)
        print(f"| … {kind} ({count}) | " + " | ".join(cells) + " |")
    print("| found by nobody else | " + " | ".join(str(alone[name]) for name in READERS) + " |")
    for name in READERS:
        where = ", ".join(f"{file} {count}" for file, count in missed[name].most_common(5))
        print(f"\nmissed most by {name}: {where or 'none'}")


def main() -> None:
    """Read all objects below a folder with all readers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    banner = subprocess.run(["dsrdump", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    print(f"{banner}; pydicom {pydicom.__version__}; dicomnlp {__version__}; Python {platform.python_version()}\n")
    paths = sorted(folder.rglob("*.dcm"))
    compare(paths)


if __name__ == "__main__":
    main()
