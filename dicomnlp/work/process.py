"""One object's way from stored bytes to an outcome: a pure function that runs in a worker process."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dicomnlp.analyse import analyse, pipeline_name
from dicomnlp.errors import DicomnlpError
from dicomnlp.extract import extract
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Processed, Report, State, StoredObject


def process(
    batch: Sequence[StoredObject],
    fallbacks: Sequence[str],
    language: str,
    fallbacks_by_ae_title: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Processed]:
    """Extract and analyse each object of `batch`.

    Parameters
    ----------
    batch
        Objects as stored.
    fallbacks
        Python codecs tried for text that no declared character set fits.
    language
        The site's: of texts that declare none and whose script doesn't tell. Objects without an analysis are filed
        under its pipeline, so that they too are outdated when it changes.
    fallbacks_by_ae_title
        Calling AE title -> the codecs for what it sent, in place of `fallbacks`.

    Returns
    -------
    list of Processed
        One for each object, in order. Never raises: an engine would log the arguments of a failed task, and these
        are reports.
    """
    return [
        _process(stored, fallbacks_by_ae_title.get(stored.calling_ae_title.strip(), fallbacks), language)
        for stored in batch
    ]


def _process(stored: StoredObject, fallbacks: Sequence[str], language: str) -> Processed:
    pipeline = ""
    report: Report | None = None
    override = stored.character_set_override
    try:
        pipeline = pipeline_name(language)
        report = extract(stored, fallbacks=fallbacks, character_set=override or None)
        if report.state is not State.PENDING:
            return Processed(stored.object_id, report.state, pipeline, report, character_set_override=override)
        analysis = analyse(report.narrative, language=report.language or None, default_language=language)
        return Processed(
            stored.object_id, State.ANALYSED, analysis.pipeline, report, analysis, character_set_override=override
        )
    except DicomnlpError as error:
        reason_code = error.reason_code
    except Exception as error:  # noqa: BLE001  whatever it is, it is this object's, and the others go on
        where = describe(error)
        log(Event.OBJECT_CRASHED, object_id=stored.object_id, sop_instance_uid=stored.sop_instance_uid, **where)
        reason_code = "internal_error"
    return Processed(
        stored.object_id, State.FAILED, pipeline, report, reason_code=reason_code, character_set_override=override
    )
