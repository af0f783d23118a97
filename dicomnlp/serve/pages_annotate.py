"""A report's page in the mode of annotation: its findings confirmed, rejected, relabelled, and others added.

Each act is a form that works without a script and leads back to the page; with it keys press the buttons (annotate.js)
and only what changed is put in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Laterality
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.annotating import (
    Judged,
    find_words,
    judged_places,
    marked,
    named_concept,
    relabelling,
    trimmed,
)
from dicomnlp.serve.annotations import checked_concept
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import Values, asked
from dicomnlp.serve.parameters import SOPInstanceUID, StudyInstanceUID
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.annotation_queue import next_for
from dicomnlp.store.annotation_records import UNSAID, Key, Mark, Reading, Verdict
from dicomnlp.store.annotations import annotate, confirm_rest, mark_done, read_reading, reopen, undo
from dicomnlp.store.database import Database

PATH = "/studies/{study_instance_uid}/annotate/{sop_instance_uid}"
_ID = re.compile(r"[a-z0-9_]{1,64}")
_NO_SIDE = "none"
_MAXIMUM_WORDS = 500

Reader = Annotated[Principal, Depends(require(Role.READER))]


@dataclass(frozen=True, slots=True)
class _Place:
    """What a form says of where it belongs."""

    key: Key
    text_sha256: str


def _place(
    start: Annotated[int, Form(ge=0)],
    end: Annotated[int, Form(ge=0)],
    finding_concept: Annotated[str, Form(max_length=64)] = "",
    text_sha256: Annotated[str, Form(max_length=64)] = "",
) -> _Place:
    return _Place((start, end, finding_concept), text_sha256)


Place = Annotated[_Place, Depends(_place)]


@dataclass(frozen=True, slots=True)
class _Desk:
    """A report before its reader."""

    request: Request
    who: Principal
    database: Database
    study_instance_uid: str
    sop_instance_uid: str

    @property
    def address(self) -> str:
        return PATH.format(study_instance_uid=self.study_instance_uid, sop_instance_uid=self.sop_instance_uid)

    @property
    def words(self) -> Catalogue:
        return words_of(self.request)

    def reading(self) -> Reading:
        """The report as the reader may have it now; not under the address of another study."""
        reading = read_reading(self.database, self.sop_instance_uid, self.who.name)
        own = {reading.report.study_instance_uid, *(link.study_instance_uid for link in reading.report.studies)}
        if self.study_instance_uid not in own:
            raise ProblemError("not_found")
        return reading

    def judged(self, key: Key) -> Judged:
        """The place under `key`."""
        found = next((p for p in judged_places(self.reading()) if p.key == key), None)
        if found is None:
            raise UsageError("Nothing is to be judged there any more")
        return found

    def page(self, *, wrong: str = "", added: Values | None = None) -> Response:
        """The page; `wrong` is what hindered an act, `added` what its form had."""
        values = asked(self.request, ("at",))
        try:
            reading = self.reading()
        except UsageError as error:
            raise ProblemError("bad_request", f"{error}.") from None
        names = Names(self.words)
        places = judged_places(reading)
        audited(self.request, study_instance_uid=self.study_instance_uid, count=len(places))
        return render(
            self.request,
            "annotate.html",
            status_code=422 if wrong else 200,
            principal=self.who,
            names=names,
            base=self.address,
            study_instance_uid=self.study_instance_uid,
            reading=reading,
            stored=reading.report,
            text=marked(reading, places, names),
            places=places,
            undecided=len(reading.undecided),
            at=next((p for p in places if p.address == values["at"]), None),
            wrong=wrong,
            added=added or Values(),
            assertions=list(Assertion),
            lateralities=list(Laterality),
        )

    def act(self, work: Callable[[], Key | None], added: Values | None = None) -> Response:
        """The page after `work`, at the place that it names; with what was wrong if it can't be done."""
        try:
            key = work()
        except UsageError as error:
            return self.page(wrong=f"{error}.", added=added)
        audited(self.request, study_instance_uid=self.study_instance_uid, count=1)
        at = f"?at={'-'.join(map(str, key))}#at" if key else ""
        return RedirectResponse(f"{self.address}{at}", status_code=303)


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    def desk(
        request: Request, who: Reader, study_instance_uid: StudyInstanceUID, sop_instance_uid: SOPInstanceUID
    ) -> _Desk:
        return _Desk(request, who, connection.within(who.scope), study_instance_uid, sop_instance_uid)

    Desk = Annotated[_Desk, Depends(desk)]  # noqa: N806 - an annotation, of this connection

    @app.get(PATH, include_in_schema=False)
    def report(at: Desk) -> Response:
        """A report with what is to be judged of it."""
        return at.page()

    @app.post(f"{PATH}/decide", include_in_schema=False)
    def decide(at: Desk, place: Place, verdict: Annotated[Verdict, Form()]) -> Response:
        """Confirm or reject a finding."""
        if verdict not in {Verdict.CONFIRM, Verdict.REJECT}:
            raise ProblemError("bad_request", "A finding is confirmed or rejected.")
        return at.act(lambda: _annotated(at, Mark(verdict, *place.key), place.text_sha256))

    @app.post(f"{PATH}/relabel", include_in_schema=False)
    def relabel(
        at: Desk,
        place: Place,
        assertion: Annotated[Assertion | None, Form()] = None,
        laterality: Annotated[str, Form()] = "",
        concept: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        """Say what a finding is instead: one of its three labels, or more."""

        def work() -> Key:
            changes = Mark(
                Verdict.RELABEL,
                *place.key,
                concept=concept_called(concept, at.words) if concept else None,
                assertion=assertion,
                laterality=side_called(laterality) if laterality else UNSAID,
            )
            return _annotated(at, relabelling(at.judged(place.key), changes), place.text_sha256)

        return at.act(work)

    @app.post(f"{PATH}/withdraw", include_in_schema=False)
    def withdraw(at: Desk, annotation: Annotated[int, Form(ge=1)]) -> Response:
        """Take back one act of one's own, as an added finding."""
        return at.act(lambda: undo(at.database, at.sop_instance_uid, at.who.name, annotation).key)

    @app.post(f"{PATH}/add", include_in_schema=False)
    def add(
        at: Desk,
        assertion: Annotated[Assertion, Form()],
        words: Annotated[str, Form(max_length=_MAXIMUM_WORDS)] = "",
        nth: Annotated[int, Form(ge=1, le=999)] = 1,
        start: Annotated[str, Form(pattern="^[0-9]{0,9}$")] = "",
        end: Annotated[str, Form(pattern="^[0-9]{0,9}$")] = "",
        concept: Annotated[str, Form(max_length=200)] = "",
        laterality: Annotated[str, Form()] = _NO_SIDE,
        text_sha256: Annotated[str, Form(max_length=64)] = "",
    ) -> Response:
        """Add a finding: at a place that was selected, else where the words stand."""

        def work() -> Key:
            stored = at.reading().report
            text = stored.report.narrative.text if stored.report else ""
            selected = bool(start and end)
            place = trimmed(text, int(start), int(end)) if selected else find_words(text, words, nth)
            # what is called as the words are needs no other name
            meant = concept_called(concept or text[slice(*place)], at.words)
            mark = Mark(Verdict.ADD, *place, concept=meant, assertion=assertion, laterality=side_called(laterality))
            return _annotated(at, mark, text_sha256)

        kept = Values(words=words, nth=str(nth), concept=concept, assertion=assertion.value, laterality=laterality)
        return at.act(work, kept)

    @app.post(f"{PATH}/undo", include_in_schema=False)
    def take_back(at: Desk) -> Response:
        """Take back the reader's last act."""
        return at.act(lambda: undo(at.database, at.sop_instance_uid, at.who.name).key)

    @app.post(f"{PATH}/confirm-rest", include_in_schema=False)
    def confirm_others(at: Desk, text_sha256: Annotated[str, Form(max_length=64)] = "") -> Response:
        """Confirm all that the reader hasn't judged."""

        def work() -> None:
            confirm_rest(at.database, at.sop_instance_uid, at.who.name, text_sha256=text_sha256 or None)

        return at.act(work)

    @app.post(f"{PATH}/done", include_in_schema=False)
    def done(at: Desk) -> Response:
        """Mark the report as read, and open the next of the queue."""
        try:
            at.reading()
            mark_done(at.database, at.sop_instance_uid, at.who.name)
        except UsageError as error:
            return at.page(wrong=f"{error}.")
        audited(at.request, study_instance_uid=at.study_instance_uid, count=1)
        following = next_for(at.database, at.who.name, besides=at.sop_instance_uid)
        if following is None:
            return RedirectResponse("/annotations", status_code=303)
        return RedirectResponse(address_of(following.study_instance_uid, following.sop_instance_uid), status_code=303)

    @app.post(f"{PATH}/reopen", include_in_schema=False)
    def open_again(at: Desk) -> Response:
        """Go on with a report that was marked as read."""

        def work() -> None:
            at.reading()
            reopen(at.database, at.sop_instance_uid, at.who.name)

        return at.act(work)


def address_of(study_instance_uid: str, sop_instance_uid: str) -> str:
    """Where a report is annotated."""
    return PATH.format(study_instance_uid=study_instance_uid, sop_instance_uid=sop_instance_uid)


def _annotated(at: _Desk, mark: Mark, text_sha256: str) -> Key:
    at.reading()
    made = annotate(at.database, at.sop_instance_uid, at.who.name, mark, text_sha256=text_sha256 or None)
    return made.key


def concept_called(words: str, catalogue: Catalogue) -> str:
    """The id of the concept that is called `words` or has them as its id.

    Raises
    ------
    UsageError
        There is none; in the reader's language.
    """
    words = words.strip()
    known = named_concept(words, catalogue.language)
    if known is None and _ID.fullmatch(words):
        try:
            known = checked_concept(words)
        except ProblemError:
            known = None
    if known is None:
        raise UsageError(str(catalogue("annotate.no_concept")))
    return known


def side_called(value: str) -> Laterality | None:
    """The side that a form's value means.

    Raises
    ------
    UsageError
        None is called so.
    """
    if value == _NO_SIDE:
        return None
    try:
        return Laterality(value)
    except ValueError:
        raise UsageError(f"A side is {', '.join((*Laterality, _NO_SIDE))}") from None
