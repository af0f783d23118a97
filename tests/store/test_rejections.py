"""Rejections that an administrator revokes."""

import datetime as dt

import pytest
import sqlalchemy as sa
from support.lives import REJECTED_FOR_QUALITY, Document, arrive
from support.records import STUDY, instance_uid

from dicomnlp.errors import NotFoundError
from dicomnlp.store import queries
from dicomnlp.store.rejections import revoke_rejection, undo_revocation
from dicomnlp.store.schema import rejection_revocation

REPORT = Document(1, preliminary_flag="FINAL")
OTHER = Document(2, concepts=("cardiomegaly",), title=None)
NOTE = Document(5, title=REJECTED_FOR_QUALITY, rejects=(1, 2))


def concepts(database, as_of=None):
    """What counts for the study."""
    return sorted(f.finding.concept.id for f in queries.findings_of_study(database, STUDY, as_of=as_of))


def test_revoked_rejection_gives_one_report_back_and_is_undone(database):
    """The other report of the note stays withdrawn; each state is known in its time, and both steps are recorded."""
    arrive(database, REPORT, OTHER, NOTE)
    assert concepts(database) == []
    moments = [dt.datetime.now(dt.UTC)]
    assert revoke_rejection(database, REPORT.uid) == (NOTE.uid,)
    assert concepts(database) == ["pulmonary_nodule"]
    moments.append(dt.datetime.now(dt.UTC))
    assert undo_revocation(database, REPORT.uid) == (NOTE.uid,)
    assert concepts(database) == []
    moments.append(dt.datetime.now(dt.UTC))
    assert [concepts(database, m) for m in moments] == [[], ["pulmonary_nodule"], []]
    with database.read() as connection:
        [row] = connection.execute(sa.select(rejection_revocation)).all()
    assert (row.sop_instance_uid, row.note_sop_instance_uid) == (REPORT.uid, NOTE.uid)
    assert moments[0] < row.revoked_at < moments[1] < row.undone_at < moments[2]


def test_revocation_outlives_what_comes_and_is_read_again(database):
    """The report, the note once more, and others that have nothing to do with it."""
    arrive(database, REPORT, NOTE)
    revoke_rejection(database, REPORT.uid)
    arrive(database, REPORT, NOTE, OTHER)
    assert concepts(database) == ["pulmonary_nodule"]


def test_later_note_rejects_the_report_again(database):
    """Only what was known to the administrator is revoked."""
    arrive(database, REPORT, NOTE)
    revoke_rejection(database, REPORT.uid)
    arrive(database, Document(6, title=REJECTED_FOR_QUALITY, rejects=(1,)))
    assert concepts(database) == []
    assert revoke_rejection(database, REPORT.uid) == (instance_uid(6),)
    assert concepts(database) == ["pulmonary_nodule"]


def test_what_is_not_rejected_can_not_be_revoked(database):
    """Nor is undone what was not done, nor revoked twice; text that is no UID isn't repeated."""
    arrive(database, REPORT)
    for change in (revoke_rejection, undo_revocation):
        with pytest.raises(NotFoundError):
            change(database, REPORT.uid)
        with pytest.raises(NotFoundError, match="not a well-formed UID"):
            change(database, "Meyer")
    arrive(database, NOTE)
    revoke_rejection(database, REPORT.uid)
    with pytest.raises(NotFoundError):
        revoke_rejection(database, REPORT.uid)
