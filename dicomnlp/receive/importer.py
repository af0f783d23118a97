"""Objects from disk, through the same intake as those from the network."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dicomnlp.errors import ObjectError, UsageError
from dicomnlp.extract.file import read_file
from dicomnlp.model import Arrival, Door, Outcome, Receipt
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason


@dataclass(slots=True)
class ImportSummary:
    """How many files ended how."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reason_codes: Counter[str] = field(default_factory=Counter)
    """Of files that were refused or quarantined."""

    @property
    def total(self) -> int:
        """Files met."""
        return self.outcomes.total()


def import_paths(
    intake: Intake, paths: Iterable[Path], *, on_receipt: Callable[[Path, Receipt], None]
) -> ImportSummary:
    """Hand every file at or below `paths` to `intake`; each leaves a ledger row, whatever it turns out to be.

    Parameters
    ----------
    intake
        Open; it stays the caller's to close.
    paths
        Files and folders. Folders are gone through in the order of names; links to folders in them are not followed.
    on_receipt
        Called for each file once it is decided, durably.

    Raises
    ------
    UsageError
        One of `paths` doesn't exist; nothing is imported then.
    """
    given = list(paths)
    for number, path in enumerate(given, 1):
        if not path.exists():
            raise UsageError(f"path {number} of {len(given)} does not exist; nothing was imported")
    summary = ImportSummary()
    for path in given:
        for file in _files(path):
            receipt = _import_file(intake, file)
            summary.outcomes[receipt.outcome] += 1
            if receipt.reason_code is not None:
                summary.reason_codes[receipt.reason_code] += 1
            on_receipt(file, receipt)
    return summary


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _import_file(intake: Intake, path: Path) -> Receipt:
    nothing = Arrival(data=b"", transfer_syntax_uid="", sop_class_uid="", sop_instance_uid="", door=Door.IMPORT)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or device could be read from for ever
            return intake.refuse(nothing, *Reason.NOT_A_FILE.answer)
        if status.st_size > intake.maximum_object_bytes:
            return intake.refuse(nothing, *Reason.OBJECT_TOO_LARGE.answer)
        content = read_file(path)
    except ObjectError as error:
        return intake.refuse(nothing, error.dimse_status, error.reason_code)
    except OSError:
        return intake.refuse(nothing, *Reason.FILE_UNREADABLE.answer)
    return intake.accept(
        Arrival(
            data=content.data,
            transfer_syntax_uid=content.transfer_syntax_uid,
            sop_class_uid=content.sop_class_uid,
            sop_instance_uid=content.sop_instance_uid,
            door=Door.IMPORT,
        )
    )
