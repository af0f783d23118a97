"""Folders of word vectors: trained, registered by their digest, and read without trusting them.

==============  =======================================================================================================
``card.json``   what they are: language, data, shape of the table
``units.json``  words and phrases, with how often each was written, the commonest first
``table.npy``   the floret table: rows times dimensions numbers of 32 bits, one row after another
==============  =======================================================================================================

As with models (`dicomnlp.analyse.learned_files`) nothing in the folder can name code, and nothing is unpickled: the
table's bytes are compared with what the card says they must be. They stand in ``vectors/`` of the models' folder,
beside a ``registry.json`` of their own.
"""

import datetime as dt
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dicomnlp.analyse import pipeline_name
from dicomnlp.analyse.learned_files import CARD, FORMAT, NAME, header
from dicomnlp.analyse.learned_registry import Registered, read_registry
from dicomnlp.errors import ModelRefusedError, NotFoundError, UsageError
from dicomnlp.learn.features import Preprocessor, joined, tokens_of
from dicomnlp.learn.models import changing
from dicomnlp.learn.units import Words, find_units, read_corpus
from dicomnlp.learn.vectors import (
    ROWS,
    SUBWORDS,
    SUBWORDS_UNSPACED,
    Floats,
    Subwords,
    train_vectors,
)

VECTORS = "vectors"
UNITS = "units.json"
TABLE = "table.npy"
MOST_BYTES = {CARD: 1 << 20, UNITS: 1 << 23, TABLE: (1 << 27) + 4096}
LEAST_UNITS = 20
"""Fewer have nothing to be compared with."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VectorCard(_Table):
    """``card.json``."""

    format: int = Field(ge=FORMAT, le=FORMAT)
    name: str = Field(pattern=NAME)
    language: str
    created_at: str
    pipeline: str
    """Whose lexicon's terms are units."""
    rows: int = Field(gt=0, le=1 << 20)
    dimensions: int = Field(gt=0, le=1000)
    least_letters: int = Field(gt=0, le=10)
    most_letters: int = Field(gt=0, le=10)
    """Of the n-grams whose rows make a vector."""
    data: dict[str, int]
    """Reports, sentences, distinct sentences, units."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorFolder:
    """A folder that was read."""

    path: Path
    card: VectorCard
    units: Mapping[str, int]
    table: Floats
    digest: str
    """SHA-256 of all files, hexadecimal."""

    @property
    def subwords(self) -> Subwords:
        """How a word finds its rows."""
        return Subwords(self.card.least_letters, self.card.most_letters)


def make_vectors(
    texts: Iterable[str],
    models: Path,
    name: str,
    language: str,
    *,
    rows: int = ROWS,
    on_report: Callable[[], None] = lambda: None,
    on_step: Callable[[str], None] = lambda _: None,
) -> VectorFolder:
    """Train vectors on `texts`, write their folder, and register it.

    Parameters
    ----------
    texts
        Reports in one language.
    models
        Folder of the site's models.
    name
        Of the new vectors.
    language
        Of the pack that reads `texts`.
    rows
        Of the table.
    on_report, on_step
        Told of each report that was read, and of what is being done.

    Raises
    ------
    UsageError
        The name is taken or malformed, or the texts are too few.
    LanguageNotSupportedError
        There is no such pack.
    """
    folder = models / VECTORS
    if re.match(NAME, name) is None:
        raise UsageError("a name has small letters, digits, dots, hyphens and underscores, 63 at the most")
    if (folder / name).exists() or read_registry(folder).find(name) is not None:
        raise UsageError(f"there are vectors {name} already; they are never overwritten, give another name")
    on_step("reading")
    preprocessor = Preprocessor(language)
    corpus = read_corpus(texts, preprocessor, on_report)
    on_step("finding phrases")
    units = find_units(corpus, preprocessor, lexicon_terms(preprocessor))
    if len(units) < LEAST_UNITS:
        raise UsageError(
            f"{corpus.reports} reports in {language} have {len(units)} words that are written often enough"
        )
    unspaced = preprocessor.pack.about.unspaced
    written = {joined(words): count for words, count in units.items()}
    table = train_vectors(corpus, units, list(written), unspaced=unspaced, rows=rows, on_step=on_step)
    subwords = SUBWORDS_UNSPACED if unspaced else SUBWORDS
    card = VectorCard(
        format=FORMAT,
        name=name,
        language=language,
        created_at=_now(),
        pipeline=pipeline_name(language),
        rows=rows,
        dimensions=table.shape[1],
        least_letters=subwords.least,
        most_letters=subwords.most,
        data={
            "reports": corpus.reports,
            "sentences": corpus.written,
            "distinct_sentences": len(corpus.sentences),
            "units": len(written),
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".training-") as place:
        # whole or not at all: a folder bears its name once all of it is written
        write_vectors(Path(place) / name, card, written, table).path.rename(folder / name)
    found = read_vectors(folder / name)
    with changing(folder) as registry:
        entry = Registered(name=name, language=language, digest=found.digest, registered_at=_now())
        registry.value = registry.value.model_copy(update={"models": (*registry.value.models, entry)})
    return found


def lexicon_terms(preprocessor: Preprocessor) -> set[Words]:
    """Tokens of the terms of all concepts, and of their plurals."""
    about = preprocessor.pack.about
    terms = (term for entry in preprocessor.pack.concepts.values() for term in entry.terms)
    return {tokens_of(form) for term in terms for form in (term, about.plural(term)) if form}


def open_vectors(models: Path, name: str = "", language: str = "") -> VectorFolder:
    """Registered vectors: those called `name`, or the newest of `language`.

    Raises
    ------
    NotFoundError
        There are none.
    ModelRefusedError
        See `read_vectors`.
    """
    folder = models / VECTORS
    known = [v for v in read_registry(folder).models if (v.name == name if name else v.language == language)]
    if not known:
        said = f"called {name}" if name else f"for {language}"
        raise NotFoundError(f"no vectors {said} are registered; make some with `dicomnlp features train`")
    return read_vectors(folder / known[-1].name, known[-1].digest)


def read_vectors(path: Path, digest: str | None = None) -> VectorFolder:
    """The vectors in the folder `path`, whose digest must be `digest` if one is given.

    Raises
    ------
    ModelRefusedError
        With the reason codes of `learned_files.read_folder`; nothing of the folder was run, whatever it holds.
    """
    if not path.is_dir() or path.is_symlink():
        raise ModelRefusedError(f"vectors {path.name}: there is no such folder", reason_code="model_missing")
    contents = {}
    for entry in sorted(path.iterdir()):
        if entry.name not in MOST_BYTES or entry.is_symlink() or not entry.is_file():
            message = f"vectors {path.name} hold {entry.name}: only {', '.join(MOST_BYTES)} are ever opened"
            raise ModelRefusedError(message, reason_code="model_unsafe")
        if entry.stat().st_size > MOST_BYTES[entry.name]:
            raise _malformed(path, f"{entry.name} is larger than {MOST_BYTES[entry.name]} bytes")
        contents[entry.name] = entry.read_bytes()
    missing = [name for name in MOST_BYTES if name not in contents]
    if missing:
        raise _malformed(path, f"there is no {missing[0]}")
    found = _digest(contents)
    if digest is not None and found != digest:
        message = (
            f"vectors {path.name} were changed since they were registered: "
            f"their digest is {found[:12]}, not {digest[:12]}"
        )
        raise ModelRefusedError(message, reason_code="model_changed")
    try:
        card = VectorCard.model_validate_json(contents[CARD])
        units = dict(_UNITS.validate_json(contents[UNITS]))
    except ValidationError as error:
        # where it is wrong, and never what stands there: words are of reports
        places = "; ".join(f"{'.'.join(map(str, e['loc'][:2]))}: {e['type']}" for e in error.errors()[:3])
        raise _malformed(path, places) from None
    if card.name != path.name:
        raise _malformed(path, f"its card is that of {card.name}; the folder bears the vectors' name")
    return VectorFolder(path, card, units, _array(path, contents[TABLE], card), found)


_UNITS = TypeAdapter(list[tuple[str, int]])


def _array(path: Path, data: bytes, card: VectorCard) -> Floats:
    size = card.rows * card.dimensions
    expected = header(size)
    if not data.startswith(expected) or len(data) != len(expected) + 4 * size:
        if not data.startswith(b"\x93NUMPY") or b"O'" in data[:256]:
            message = f"vectors {path.name}: {TABLE} holds pickled objects or no array; it was not opened"
            raise ModelRefusedError(message, reason_code="model_unsafe")
        raise _malformed(path, f"{TABLE} isn't an array of {size} numbers of 32 bits")
    table: Floats = np.frombuffer(data, dtype="<f4", offset=len(expected)).astype(np.float32)
    if not np.isfinite(table).all():
        raise _malformed(path, f"{TABLE} holds what is no number")
    return table.reshape(card.rows, card.dimensions)


def _malformed(path: Path, message: str) -> ModelRefusedError:
    return ModelRefusedError(f"vectors {path.name}: {message}", reason_code="model_malformed")


def _digest(contents: Mapping[str, bytes]) -> str:
    seen = hashlib.sha256()
    for name in sorted(contents):
        seen.update(f"{name}\0{len(contents[name])}\0".encode() + contents[name])
    return seen.hexdigest()


def write_vectors(path: Path, card: VectorCard, units: Mapping[str, int], table: Floats) -> VectorFolder:
    """Write vectors into `path`, which must not exist yet, and read them as they will be read."""
    path.mkdir(parents=True)
    (path / TABLE).write_bytes(header(table.size) + table.astype("<f4").tobytes())
    (path / UNITS).write_text(json.dumps(list(units.items()), ensure_ascii=False), encoding="utf-8")
    (path / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return read_vectors(path)


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
