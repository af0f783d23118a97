"""Reports as rows of numbers: TF-IDF of stems and n-grams, in files that need no program of ours to be read.

=================  ====================================================================================================
``matrix.npz``     the matrix, as ``scipy.sparse.load_npz`` reads it: compressed sparse rows, numbers of 64 bits
``features.json``  ``language``; ``reports``: the name of each row; ``vocabulary``: the stem or n-gram of each column;
                   ``in_reports`` and ``idf`` of each column
=================  ====================================================================================================
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicomnlp.errors import UsageError
from dicomnlp.learn.features import Preprocessor

LEAST_REPORTS = 2
MOST_FEATURES = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """TF-IDF of reports, compressed by rows."""

    language: str
    reports: tuple[str, ...]
    """Name of each row."""
    vocabulary: tuple[str, ...]
    """Stem or n-gram of each column, in order."""
    in_reports: tuple[int, ...]
    """Reports that have each."""
    idf: npt.NDArray[np.float64]
    data: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.reports), len(self.vocabulary)

    def row(self, number: int) -> dict[str, float]:
        """Feature -> weight of a report, the greatest first."""
        cells = slice(self.indptr[number], self.indptr[number + 1])
        weights = zip(self.indices[cells].tolist(), self.data[cells].tolist(), strict=True)
        return {self.vocabulary[i]: weight for i, weight in sorted(weights, key=lambda cell: (-cell[1], cell[0]))}


def make_matrix(
    texts: Iterable[tuple[str, str]],
    preprocessor: Preprocessor,
    *,
    least: int = LEAST_REPORTS,
    most: int = MOST_FEATURES,
    on_report: Callable[[], None] = lambda: None,
) -> FeatureMatrix:
    """TF-IDF (Salton & Buckley 1988): term frequency times ``ln((1 + n) / (1 + df)) + 1``, each row of length 1.

    Parameters
    ----------
    texts
        Name and text of each report.
    preprocessor
        Of their language.
    least
        Reports that a feature must be in.
    most
        Features at most: those in the most reports.
    on_report
        Told of each report that was read.

    Raises
    ------
    UsageError
        No feature is in so many reports.
    """
    names, rows = [], []
    number_of: dict[str, int] = {}
    in_reports: Counter[int] = Counter()
    for name, text in texts:
        counts = Counter(preprocessor.steps(text).features)
        # numbers rather than words: a feature is written in many reports
        row = {number_of.setdefault(feature, len(number_of)): times for feature, times in counts.items()}
        in_reports.update(row.keys())
        names.append(name)
        rows.append(row)
        on_report()
    features = list(number_of)
    often = [n for n, reports in in_reports.items() if reports >= least]
    chosen = sorted(sorted(often, key=lambda n: (-in_reports[n], features[n]))[:most], key=features.__getitem__)
    if not chosen:
        raise UsageError(f"no word is in {least} of the {len(names)} reports")
    column = {n: place for place, n in enumerate(chosen)}
    idf = np.array([math.log((1 + len(names)) / (1 + in_reports[n])) + 1 for n in chosen])
    data: list[npt.NDArray[np.float64]] = []
    indices: list[npt.NDArray[np.int32]] = []
    ends = [0]
    for row in rows:
        cells = sorted((column[n], times) for n, times in row.items() if n in column)
        places = np.array([place for place, _ in cells], dtype=np.int32)
        weights = np.array([times for _, times in cells], dtype=np.float64) * idf[places]
        data.append(weights / (np.linalg.norm(weights) or 1.0))
        indices.append(places)
        ends.append(ends[-1] + len(cells))
    return FeatureMatrix(
        language=preprocessor.pack.language,
        reports=tuple(names),
        vocabulary=tuple(features[n] for n in chosen),
        in_reports=tuple(in_reports[n] for n in chosen),
        idf=idf,
        data=np.concatenate(data),
        indices=np.concatenate(indices),
        indptr=np.array(ends, dtype=np.int32),
    )


def write_matrix(matrix: FeatureMatrix, folder: Path) -> None:
    """Write the two files into `folder`, which must not exist yet and bears its name only once it is whole.

    Raises
    ------
    UsageError
        There is such a folder, or it can't be made.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already; give another name")
    said = {
        "language": matrix.language,
        "reports": matrix.reports,
        "vocabulary": matrix.vocabulary,
        "in_reports": matrix.in_reports,
        "idf": [round(value, 6) for value in matrix.idf.tolist()],
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".features-") as place:
            whole = Path(place) / "whole"
            whole.mkdir()
            np.savez_compressed(
                whole / "matrix.npz",
                format=np.array(b"csr"),
                shape=np.array(matrix.shape),
                data=matrix.data,
                indices=matrix.indices,
                indptr=matrix.indptr,
            )
            (whole / "features.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
            whole.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error.strerror}") from None
