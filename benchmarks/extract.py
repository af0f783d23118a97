"""How fast extract reads, and how its cost grows: a report of 5 kB, and 3,000, 30,000 and 200,000 content items.

Run `python benchmarks/extract.py`. Each size is read by dicomnlp (everything: text, items, measurements), by pydicom
(`dcmread` and a walk over all elements) and, where DCMTK is installed, by `dsrdump`, in one run and as ratios, since
times alone say most about the machine. Every reading is a process of its own, whose processor time and memory count;
what the process costs before it reads is taken off. The small report is read many times in each.
"""

import multiprocessing
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, generate_uid

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dicomnlp.extract import extract, read_file
from dicomnlp.model import StoredObject

SIZES = {"5 kB": (20, 200), "3,000 items": (3_000, 3), "30,000 items": (30_000, 1), "200,000 items": (200_000, 1)}
"""Content items, and how often they are read."""


def code(value: str, scheme: str, meaning: str) -> Sequence:
    """A code sequence."""
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = value, scheme, meaning
    return Sequence([entry])


def item(value_type: str, concept: tuple[str, str, str]) -> Dataset:
    """A contained item without its value."""
    content = Dataset()
    content.RelationshipType, content.ValueType = "CONTAINS", value_type
    content.ConceptNameCodeSequence = code(*concept)
    return content


def group(number: int) -> Dataset:
    """A measurement group: with itself ten items, a third of them text."""
    children = []
    for n in range(3):
        length = item("NUM", ("103339001", "SCT", "Long Axis"))
        measured = Dataset()
        measured.NumericValue = str((number + n) % 97)
        measured.MeasurementUnitsCodeSequence = code("mm", "UCUM", "millimeter")
        length.MeasuredValueSequence = Sequence([measured])
        finding = item("CODE", ("121071", "DCM", "Finding"))
        finding.ConceptCodeSequence = code("27925004", "SCT", "Nodule")
        comment = item("TEXT", ("121106", "DCM", "Comment"))
        comment.TextValue = f"Nodule {number}.{n} without change since the last study."
        children += [length, finding, comment]
    container = item("CONTAINER", ("125007", "DCM", "Measurement Group"))
    container.ContinuityOfContent = "SEPARATE"
    container.ContentSequence = Sequence(children)
    return container


def write(file: Path, items: int) -> None:
    """A report of so many items."""
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = ComprehensiveSRStorage, generate_uid()
    report.StudyInstanceUID, report.SeriesInstanceUID = generate_uid(), generate_uid()
    report.StudyDate = report.StudyTime = report.PatientID = report.PatientName = report.AccessionNumber = ""
    report.Modality, report.InstanceNumber, report.CompletionFlag = "SR", "1", "COMPLETE"
    report.VerificationFlag = "UNVERIFIED"
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = code("126000", "DCM", "Imaging Measurement Report")
    report.ContentSequence = Sequence([group(n) for n in range(items // 10)])
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(file, report, enforce_file_format=True)


def by_dicomnlp(file: Path) -> int:
    """Read with dicomnlp; the number of items found."""
    content = read_file(file)
    stored = StoredObject(0, "", content.sop_class_uid, content.transfer_syntax_uid, content.data)
    return len(extract(stored).items)


def by_pydicom(file: Path) -> int:
    """Read with pydicom and look at every element; the number of items found."""
    return sum(element.keyword == "ValueType" for element in pydicom.dcmread(file).iterall())


def peak_memory() -> float:
    """The most memory that this process has held, in MiB; getrusage would tell that of its parent too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(reader: Callable[[Path], int], file: Path, times: int, answer: "multiprocessing.Queue[object]") -> None:
    """Seconds of processor time a reading, and by how many MiB the process grew; runs in a process of its own."""
    before = peak_memory()
    found = reader(file) if times > 1 else 0
    start = time.process_time()
    for _ in range(times):
        found = reader(file)
    seconds = (time.process_time() - start) / times
    answer.put((found, seconds, peak_memory() - before))


def in_process(reader: Callable[[Path], int], file: Path, times: int) -> tuple[int, float, float]:
    """What `measure` answers."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=measure, args=(reader, file, times, answer))
    process.start()
    result = answer.get()
    process.join()
    return result


def by_dsrdump(files: list[Path]) -> float:
    """Seconds of processor time that one call of dsrdump takes for `files`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["dsrdump", "-q", *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one line a size."""
    print(f"Python {platform.python_version()}, pydicom {pydicom.__version__}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (items, times) in SIZES.items():
            file = Path(folder) / f"{items}.dcm"
            write(file, items)
            found, seconds, grown = in_process(by_dicomnlp, file, times)
            also_found, pydicom_seconds, pydicom_grown = in_process(by_pydicom, file, times)
            if found != also_found:
                raise SystemExit(f"{name}: dicomnlp finds {found} items, pydicom {also_found}")
            line = (
                f"{name:>14} ({file.stat().st_size / 1000:,.0f} kB): dicomnlp {seconds * 1000:,.2f} ms "
                f"({seconds / found * 1e6:.0f} us an item, {grown:.0f} MiB); "
                f"pydicom {pydicom_seconds * 1000:,.2f} ms ({pydicom_seconds / seconds:.1f} x, {pydicom_grown:.0f} MiB)"
            )
            if shutil.which("dsrdump"):
                several = by_dsrdump([file] * (times + 1)) - by_dsrdump([file])
                line += f"; dsrdump {several / times * 1000:,.2f} ms ({several / times / seconds:.1f} x)"
            print(line, flush=True)


if __name__ == "__main__":
    main()
