"""What is held as DICOMweb asks for it: studies, series and instances by their attributes, and the originals.

Reports are held whole, of images the header; an instance is one of either. Names of people are in no table, so they
can't be searched for, and are read from the originals where an answer has them.
"""

import enum
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import UsageError
from dicomnlp.model import State, is_uid
from dicomnlp.store.batches import batches
from dicomnlp.store.columns import clean
from dicomnlp.store.database import Database
from dicomnlp.store.originals import read_original
from dicomnlp.store.schema import image, original, sop_instance
from dicomnlp.store.scope import Scope, visible


class Level(enum.IntEnum):
    """What a search is for (PS3.18 10.6)."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that can be searched by."""

    tag: int
    vr: str
    level: Level
    column: str
    """Of the tables; one that has no such column holds nothing."""


_STUDY, _SERIES, _INSTANCE = Level.STUDY, Level.SERIES, Level.INSTANCE
ATTRIBUTES: Final[dict[str, Attribute]] = {
    "StudyDate": Attribute(0x00080020, "DA", _STUDY, "study_date"),
    "StudyTime": Attribute(0x00080030, "TM", _STUDY, "study_time"),
    "AccessionNumber": Attribute(0x00080050, "SH", _STUDY, "accession_number"),
    "ModalitiesInStudy": Attribute(0x00080061, "CS", _STUDY, "modality"),
    "StudyDescription": Attribute(0x00081030, "LO", _STUDY, "study_description"),
    "PatientID": Attribute(0x00100020, "LO", _STUDY, "patient_id"),
    "IssuerOfPatientID": Attribute(0x00100021, "LO", _STUDY, "issuer_of_patient_id"),
    "PatientBirthDate": Attribute(0x00100030, "DA", _STUDY, "patient_birth_date"),
    "PatientSex": Attribute(0x00100040, "CS", _STUDY, "patient_sex"),
    "StudyInstanceUID": Attribute(0x0020000D, "UI", _STUDY, "study_instance_uid"),
    "SeriesDate": Attribute(0x00080021, "DA", _SERIES, "series_date"),
    "SeriesTime": Attribute(0x00080031, "TM", _SERIES, "series_time"),
    "Modality": Attribute(0x00080060, "CS", _SERIES, "modality"),
    "Manufacturer": Attribute(0x00080070, "LO", _SERIES, "manufacturer"),
    "InstitutionName": Attribute(0x00080080, "LO", _SERIES, "institution_name"),
    "StationName": Attribute(0x00081010, "SH", _SERIES, "station_name"),
    "SeriesDescription": Attribute(0x0008103E, "LO", _SERIES, "series_description"),
    "BodyPartExamined": Attribute(0x00180015, "CS", _SERIES, "body_part_examined"),
    "ProtocolName": Attribute(0x00181030, "LO", _SERIES, "protocol_name"),
    "SeriesInstanceUID": Attribute(0x0020000E, "UI", _SERIES, "series_instance_uid"),
    "SeriesNumber": Attribute(0x00200011, "IS", _SERIES, "series_number"),
    "Laterality": Attribute(0x00200060, "CS", _SERIES, "laterality"),
    "SOPClassUID": Attribute(0x00080016, "UI", _INSTANCE, "sop_class_uid"),
    "SOPInstanceUID": Attribute(0x00080018, "UI", _INSTANCE, "sop_instance_uid"),
    "AcquisitionDate": Attribute(0x00080022, "DA", _INSTANCE, "acquisition_date"),
    "ContentDate": Attribute(0x00080023, "DA", _INSTANCE, "content_date"),
    "AcquisitionTime": Attribute(0x00080032, "TM", _INSTANCE, "acquisition_time"),
    "ContentTime": Attribute(0x00080033, "TM", _INSTANCE, "content_time"),
    "InstanceNumber": Attribute(0x00200013, "IS", _INSTANCE, "instance_number"),
    "ImageLaterality": Attribute(0x00200062, "CS", _INSTANCE, "image_laterality"),
    "NumberOfFrames": Attribute(0x00280008, "IS", _INSTANCE, "number_of_frames"),
}
"""By keyword (PS3.6): what a search may name, at its own level and those below."""

_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_DATE = re.compile(r"(?:\d{8})?(?:-(?:\d{8})?)?\Z")
_A_TIME = r"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?[0-5]\d(?:\.\d{1,6})?)?)?"
_TIME = re.compile(rf"(?:{_A_TIME})?(?:-(?:{_A_TIME})?)?\Z")
_LISTS = frozenset({"UI"})
_LISTED = frozenset({"ModalitiesInStudy", "Modality"})
"""Beside UIDs: what clients ask several values of at once (PS3.18 8.3.4.6)."""
MAXIMUM_VALUES: Final = 500
"""In a list."""


@dataclass(frozen=True, slots=True)
class Match:
    """What an attribute must be: any of `values`, or within `first` to `last`."""

    keyword: str
    values: tuple[str, ...] = ()
    """With "*" and "?" where the attribute's VR takes wild cards."""
    first: str | None = None
    """Of dates and times; "" is an open end."""
    last: str | None = None


def read_match(keyword: str, text: str) -> Match | None:
    """What a query asks of an attribute (PS3.4 C.2.2.2); None when any value is right (universal matching).

    Parameters
    ----------
    keyword
        Of `ATTRIBUTES`.
    text
        A value with wild cards, a range of dates or times, or a list of UIDs or modalities.

    Raises
    ------
    UsageError
        `text` isn't of the attribute's VR.
    """
    vr = ATTRIBUTES[keyword].vr
    text = text.strip()
    if not text or (vr in _WILD and set(text) == {"*"}):
        return None
    if vr in {"DA", "TM"}:
        if (_DATE if vr == "DA" else _TIME).match(text) is None or text == "-":
            raise UsageError(
                f"{keyword} takes a {'date (YYYYMMDD)' if vr == 'DA' else 'time (HHMMSS)'} or a range of it"
            )
        first, dash, last = text.replace(":", "").partition("-")
        return Match(keyword, first=first, last=last if dash else first)
    values = [text]
    if vr in _LISTS or keyword in _LISTED:
        values = [value.strip() for value in re.split(r"[,\\]", text) if value.strip()]
    if vr == "UI" and not all(is_uid(value) for value in values):
        raise UsageError(f"{keyword} takes a UID, or several with commas between them")
    if vr == "IS" and re.fullmatch(r"[+-]?\d{1,11}", text) is None:
        raise UsageError(f"{keyword} takes a whole number")
    if len(values) > MAXIMUM_VALUES:
        raise UsageError(f"{keyword} takes at most {MAXIMUM_VALUES} values")
    return Match(keyword, tuple(values))


@dataclass(frozen=True, slots=True)
class Entity:
    """A study, series or instance that was found."""

    study_instance_uid: str
    series_instance_uid: str
    """"" of a study, and of an instance whose header names none."""
    sop_instance_uid: str
    """"" of a study or series."""
    values: dict[str, str]
    """Of `ATTRIBUTES`, those that the tables know; "" where the header says nothing."""
    report: "Original | None"
    """A report of it: the instance itself, or one from whose header more can be read."""
    instances: int
    """Of the study or series; those within one's scope, as all that is counted here."""
    series: int
    """Of the study."""
    modalities: tuple[str, ...]
    """Of the study or series."""
    reports: int
    """How many of the instances are held whole; of the others there is only the header."""


@dataclass(frozen=True, slots=True)
class Original:
    """A report as it came in."""

    object_id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size: int


_ORIGINAL = tuple(
    sop_instance.c[name]
    for name in (
        "id",
        "study_instance_uid",
        "series_instance_uid",
        "sop_instance_uid",
        "sop_class_uid",
        "transfer_syntax_uid",
        "sha256",
        "size",
    )
)
_KEYS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
_VALUES = tuple(dict.fromkeys(attribute.column for attribute in ATTRIBUTES.values()))


def find(
    database: Database, level: Level, matches: Sequence[Match], *, limit: int, offset: int = 0
) -> tuple[list[Entity], bool]:
    """The entities of a level of which an instance fits all `matches`, the newest study first, and whether more follow.

    Parameters
    ----------
    matches
        Of attributes at this level or above it.
    limit, offset
        How many at most, and how many are left out before them.
    """
    with database.read() as connection:
        keys = [
            tuple(row)
            for row in connection.execute(_keys(connection, database.scope, level, matches, limit + 1, offset))
        ]
        found = _describe(connection, database.scope, level, keys[:limit])
    return found, len(keys) > limit


def count(database: Database, level: Level, matches: Sequence[Match]) -> int:
    """How many entities `find` would give if nothing limited it."""
    with database.read() as connection:
        query = _keys(connection, database.scope, level, matches, None, 0).order_by(None).subquery()
        return int(connection.scalar(sa.select(sa.func.count()).select_from(query)) or 0)


def originals(
    database: Database,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> list[Original]:
    """The reports of a study, of one of its series, or one by its UID, in the order in which they came.

    The current versions of those that are not in quarantine; none where nothing is held, or of images alone.
    """
    wanted = {"study_instance_uid": study_instance_uid, "series_instance_uid": series_instance_uid}
    wanted["sop_instance_uid"] = sop_instance_uid
    columns = sop_instance.c
    query = (
        sa.select(*_ORIGINAL)
        .where(*(columns[name] == value for name, value in wanted.items() if value is not None))
        .where(*_held(database.scope))
        .order_by(columns.id)
    )
    with database.read() as connection:
        return [Original(*row) for row in connection.execute(query)]


def is_known(database: Database, study_instance_uid: str, series_instance_uid: str | None = None) -> bool:
    """Whether the header of an image of the study, or of the series, is held."""
    columns = image.c
    conditions = [columns.study_instance_uid == study_instance_uid, *visible(database.scope, image)]
    if series_instance_uid is not None:
        conditions.append(columns.series_instance_uid == series_instance_uid)
    with database.read() as connection:
        return bool(connection.scalar(sa.select(sa.exists().where(*conditions))))


def read_data(database: Database, held: Original) -> bytes:
    """The encoded data set of a report, exactly as it came in.

    Raises
    ------
    ObjectError
        The file of a large one is missing or damaged.
    """
    with database.read() as connection:
        data = connection.scalar(sa.select(original.c.data).where(original.c.object_id == held.object_id))
    return bytes(data) if data is not None else read_original(database.large_object_directory, held.sha256)


def _held(scope: Scope) -> list[sa.ColumnElement[bool]]:
    columns = sop_instance.c
    return [columns.is_current, columns.state != State.QUARANTINED.value, *visible(scope)]


def _parts(scope: Scope) -> Iterator[tuple[sa.Table, list[sa.ColumnElement[bool]]]]:
    """The two tables of instances, and what their rows must be."""
    yield sop_instance, _held(scope)
    yield image, visible(scope, image)


def _column(table: sa.Table, name: str) -> sa.ColumnElement[str]:
    return table.c[name] if name in table.c else sa.literal("", sa.Text())


def _keys(
    connection: Connection, scope: Scope, level: Level, matches: Sequence[Match], limit: int | None, offset: int
) -> sa.Select[Any]:
    """UIDs of the entities, in order."""
    names = _KEYS[: int(level)]
    selects = []
    for table, conditions in _parts(scope):
        fitting = [_condition(connection, scope, table, match) for match in matches]
        if level is Level.SERIES:
            fitting.append(table.c.series_instance_uid != "")
        columns = (*(table.c[name] for name in names), table.c.study_date)
        selects.append(sa.select(*columns).where(*conditions, *fitting))
    each = sa.union_all(*selects).subquery()
    keys = [each.c[name] for name in names]
    date = sa.func.max(each.c.study_date)
    return sa.select(*keys).group_by(*keys).order_by(date.desc(), *keys).limit(limit).offset(offset)


def _condition(connection: Connection, scope: Scope, table: sa.Table, match: Match) -> sa.ColumnElement[bool]:
    attribute = ATTRIBUTES[match.keyword]
    if match.keyword != "ModalitiesInStudy":
        return _fits(connection, _column(table, attribute.column), match)
    studies = sa.union_all(
        *(
            sa.select(other.c.study_instance_uid).where(*conditions, _fits(connection, other.c.modality, match))
            for other, conditions in _parts(scope)
        )
    )
    return table.c.study_instance_uid.in_(studies)


def _fits(connection: Connection, column: sa.ColumnElement[str], match: Match) -> sa.ColumnElement[bool]:
    vr = ATTRIBUTES[match.keyword].vr
    if match.first is not None:
        return _within(column, vr, match.first, match.last or "")
    if vr == "IS":
        number = int(match.values[0])
        return column.in_([str(number), f"{number:+d}", match.values[0]])
    wild = [value for value in match.values if vr in _WILD and ("*" in value or "?" in value)]
    plain = [clean(value) for value in match.values if value not in wild]
    fitting = [column.in_(plain)] if plain else []
    return sa.or_(*fitting, *(_like(connection, column, value) for value in wild))


def _within(column: sa.ColumnElement[str], vr: str, first: str, last: str) -> sa.ColumnElement[bool]:
    if vr == "TM":
        # to the second, whatever precision either side has
        value: sa.ColumnElement[str] = sa.func.substr(column + "000000", 1, 6)
        first, last = first[:6].ljust(6, "0") if first else "", _end_of_time(last)
    else:
        value = column
    conditions = [column != ""]
    if first:
        conditions.append(value >= first)
    if last:
        conditions.append(value <= last)
    return sa.and_(*conditions)


def _end_of_time(last: str) -> str:
    return last[:6] + "235959"[len(last[:6]) :] if last else ""


def _like(connection: Connection, column: sa.ColumnElement[str], value: str) -> sa.ColumnElement[bool]:
    """Wild cards, with regard to case (PS3.4 C.2.2.2.4)."""
    value = clean(value)
    if connection.dialect.name == "sqlite":
        # its LIKE has no regard to case
        pattern = re.sub(r"\[", "[[]", value)
        return column.op("GLOB", return_type=sa.Boolean())(pattern)
    pattern = re.sub(r"([\\%_])", r"\\\1", value).replace("*", "%").replace("?", "_")
    return column.like(pattern, escape="\\")


def _describe(connection: Connection, scope: Scope, level: Level, keys: Sequence[tuple[str, ...]]) -> list[Entity]:
    """The entities of `keys`, in their order."""
    names = _KEYS[: int(level)]
    numbers: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    series: dict[tuple[str, ...], set[str]] = defaultdict(set)
    modalities: dict[tuple[str, ...], set[str]] = defaultdict(set)
    chosen: dict[sa.Table, dict[tuple[str, ...], int]] = {sop_instance: {}, image: {}}
    # of studies there may be many series, of series many instances: counted by the database
    grouped = _KEYS[:2] if level is not Level.INSTANCE else _KEYS
    for table, conditions in _parts(scope):
        columns = [table.c[name] for name in grouped]
        query = (
            sa.select(*columns, table.c.modality, sa.func.count(), sa.func.min(table.c.id))
            .where(*conditions)
            .group_by(*columns, table.c.modality)
        )
        for batch in batches(keys):
            of_batch = [table.c[name].in_({key[n] for key in batch}) for n, name in enumerate(names) if n != 1]
            for *uids, modality, number, row_id in connection.execute(query.where(*of_batch)):
                key = tuple(uids[: int(level)])
                numbers[key][0] += number
                numbers[key][1] += number if table is sop_instance else 0
                series[key] |= {uids[1]} - {""}
                modalities[key] |= {modality} - {""}
                chosen[table][key] = min(row_id, chosen[table].get(key, row_id))
    rows = {table: _rows(connection, table, list(chosen[table].values())) for table in chosen}
    found = []
    for key in keys:
        report = rows[sop_instance].get(chosen[sop_instance].get(key, 0))
        header = report or rows[image][chosen[image][key]]
        found.append(
            Entity(
                study_instance_uid=key[0],
                series_instance_uid=key[1] if len(key) > 1 else "",
                sop_instance_uid=key[2] if len(key) > 2 else "",
                values={name: header[a.column] for name, a in ATTRIBUTES.items() if a.column in header},
                report=Original(*(report[column.name] for column in _ORIGINAL)) if report else None,
                instances=numbers[key][0],
                series=len(series[key]),
                modalities=tuple(sorted(modalities[key])),
                reports=numbers[key][1],
            )
        )
    return found


def _rows(connection: Connection, table: sa.Table, ids: Sequence[int]) -> dict[int, Any]:
    names = {*_VALUES, *(column.name for column in _ORIGINAL)}
    columns = [column for column in table.c if column.name in names]
    return {
        row["id"]: row
        for batch in batches(ids)
        for row in connection.execute(sa.select(*columns).where(table.c.id.in_(batch))).mappings()
    }
