"""Compares documents of a study: a preliminary report with the final one, a report with the side of the images."""

from collections.abc import Collection, Iterator

from dicomnlp.remarks import Discrepancy, DiscrepancyKind
from dicomnlp.review.case import Case
from dicomnlp.review.laterality import side_of_images
from dicomnlp.review.versions import between_versions
from dicomnlp.store.database import Database
from dicomnlp.store.remarks_between import Between, read_between, write_between


def compare_studies(
    database: Database,
    study_instance_uids: Collection[str],
    kinds: Collection[DiscrepancyKind] = frozenset(DiscrepancyKind),
) -> None:
    """Write anew what contradicts each other between the documents of these studies.

    Raises
    ------
    DatabaseError
        Nothing is written.
    """
    found = read_between(database, study_instance_uids)
    write_between(database, study_instance_uids, [f for f in _found(found) if f[3].kind in kinds])


def _found(between: Between) -> Iterator[tuple[int, str, int | None, Discrepancy]]:
    for pair in between.pairs:
        final = pair.final
        for found in between_versions(
            Case(pair.preliminary.report, pair.preliminary.analysis), Case(final.report, final.analysis)
        ):
            yield final.analysis_id, final.study_date, pair.preliminary.object_id, found
    for sided in between.sided:
        read = sided.read
        contradicted = side_of_images(Case(read.report, read.analysis), sided.laterality, " ".join(sided.bodies))
        if contradicted is not None:
            yield read.analysis_id, read.study_date, None, contradicted
