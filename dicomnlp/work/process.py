"""One object's way from stored bytes to an outcome: a pure function that runs in a worker process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dicomnlp.analyse import analyse, languages, pipeline_name
from dicomnlp.analyse.modality import exam_modalities
from dicomnlp.config import Settings
from dicomnlp.errors import DicomnlpError, LanguagePackError
from dicomnlp.extract import extract
from dicomnlp.extract.own import is_own
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Analysis, Processed, Report, SectionName, State, StoredObject
from dicomnlp.remarks import DiscrepancyKind, Remarks
from dicomnlp.review.reading import EVERYTHING, Switches, read_again

_NOT_IMAGES = frozenset({"", "SR", "KO", "PR", "DOC", "OT", "SC", "SEG", "REG", "RWV", "M3D", "PLAN", "ASMT"})
"""Modalities (PS3.3 C.7.3.1.1.1) that don't say how a study was made."""
ANY_OTHER = "*"
"""In place of a calling AE title: of all senders that aren't named."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts are read that don't tell it themselves."""

    fallbacks: tuple[str, ...]
    """Python codecs tried for text that no declared character set fits."""
    language: str
    """Of texts that declare none and whose script doesn't tell."""


def readings(settings: Settings) -> dict[str, Reading]:
    """What `[[peers]]` says of single senders, what it leaves open filled from the tables of the site."""
    unknown = {p.language for p in settings.peers} - {"", *languages()}
    if unknown:
        raise LanguagePackError(f"peers: no language pack {', '.join(sorted(unknown))}; see `dicomnlp languages`")
    return {
        p.ae_title.strip(): Reading(
            tuple(p.character_set_fallbacks or settings.extract.character_set_fallbacks),
            p.language or settings.analyse.language,
        )
        for p in settings.peers
    }


def switches_of(settings: Settings) -> Switches:
    """What `[contradictions]` and `[guidance]` say of what a second reader looks for."""
    wanted = settings.contradictions.model_dump()
    asked = settings.guidance.model_dump()
    return Switches(
        kinds=frozenset(kind for kind in DiscrepancyKind if wanted[kind.value]),
        guidelines_off=frozenset(name for name, on in asked.items() if not on),
        quality=asked["quality_measures"],
    )


def process(
    batch: Sequence[StoredObject],
    fallbacks: Sequence[str],
    language: str,
    by_ae_title: Mapping[str, Reading] = MappingProxyType({}),
    switches: Switches = EVERYTHING,
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
    by_ae_title
        Calling AE title, or `ANY_OTHER`, -> what counts for what it sent, in place of `fallbacks` and `language`.
    switches
        What a second reader looks for.

    Returns
    -------
    list of Processed
        One for each object, in order. Raises nothing but MemoryError: an engine would log the arguments of a failed
        task, and these are reports.
    """
    usual = Reading(tuple(fallbacks), language)
    results = []
    for stored in batch:
        ae_title = stored.calling_ae_title.strip()
        # what was imported has no sender
        named = by_ae_title.get(ae_title, by_ae_title.get(ANY_OTHER)) if ae_title else None
        results.append(_process(stored, named or usual, switches))
    return results


def _process(stored: StoredObject, reading: Reading, switches: Switches) -> Processed:
    pipeline = ""
    language = reading.language
    report: Report | None = None
    override = stored.character_set_override
    try:
        pipeline = pipeline_name(language)
        report = extract(stored, fallbacks=reading.fallbacks, character_set=override or None)
        if stored.is_own or is_own(report.items):
            # nothing of it: what it says of a report would count beside the report itself
            return Processed(stored.object_id, State.OWN, pipeline, character_set_override=override)
        if report.state is not State.PENDING:
            return Processed(stored.object_id, report.state, pipeline, report, character_set_override=override)
        analysis = analyse(report.narrative, language=report.language or None, default_language=language)
        modalities = _modalities(report, analysis)
        return Processed(
            stored.object_id,
            State.ANALYSED,
            analysis.pipeline,
            report,
            analysis,
            character_set_override=override,
            modalities=modalities,
            remarks=_remarks(stored, report, analysis, modalities, switches),
        )
    except DicomnlpError as error:
        reason_code = error.reason_code
    except MemoryError:
        raise  # the process is full, perhaps of what others left: see `preload.run`
    except Exception as error:  # noqa: BLE001  whatever it is, it is this object's, and the others go on
        where = describe(error)
        log(Event.OBJECT_CRASHED, object_id=stored.object_id, sop_instance_uid=stored.sop_instance_uid, **where)
        reason_code = "internal_error"
    return Processed(
        stored.object_id, State.FAILED, pipeline, report, reason_code=reason_code, character_set_override=override
    )


def _remarks(
    stored: StoredObject, report: Report, analysis: Analysis, modalities: tuple[str, ...], switches: Switches
) -> Remarks | None:
    """What a second reader would remark; a fault of a rule leaves the report analysed, and says so in the log."""
    try:
        return read_again(report, analysis, modalities, switches)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  what was found must not be lost to a remark on it
        where = describe(error)
        log(Event.REVIEW_CRASHED, object_id=stored.object_id, sop_instance_uid=stored.sop_instance_uid, **where)
        return None


def _modalities(report: Report, analysis: Analysis) -> tuple[str, ...]:
    """How the study was made: what the header says, else what the words say that name the exam."""
    own = report.identity.modality
    if own not in _NOT_IMAGES:
        return (own,)
    sections = [s for s in analysis.sections if s.name is SectionName.EXAM]
    return exam_modalities(
        (
            report.title,
            report.identity.study_description,
            *(report.narrative.text[s.start : s.end] for s in sections),
            report.identity.series_description,
        ),
        analysis.language,
    )
