"""A trained model's folder: what may be in it, and how it is read without trusting it.

======================  ==============================================================================================
``card.json``           what it is: language, parts, data, scores
``assertion.npy`` ...   weights of each part: one array of numbers
======================  ==============================================================================================

Nothing in the folder can name code. Weights are arrays of 32 bit floating point numbers in NumPy's format, whose size
the card tells beforehand; an array of objects, which NumPy would keep as a pickle, is refused before it is opened. What
the network looks like isn't read from anywhere: it is this program's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicomnlp.errors import ModelRefusedError
from dicomnlp.model import Assertion

CARD = "card.json"
FORMAT = 1
NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""A model's name is that of its folder."""
MOST_CARD_BYTES = 1 << 20
MOST_WEIGHTS = 1 << 25
"""Numbers of a part, 128 MiB."""
Weights = npt.NDArray[np.float32]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssertionPart(_Table):
    """Judges a finding in its sentence."""

    length: int = Field(gt=0, le=1 << 20)
    certain: dict[Assertion, _Share]
    """What the rules say -> the probability from which on another answer overrules them; what isn't there stands."""

    @property
    def outputs(self) -> int:
        """One for each assertion."""
        return len(Assertion)


class SpansPart(_Table):
    """Finds what the lexicon doesn't list."""

    length: int = Field(gt=0, le=1 << 20)
    certain: _Share
    """From this probability on a word belongs to a finding."""

    @property
    def outputs(self) -> int:
        """Outside, first word, further word."""
        return 3


class LabelOutput(_Table):
    """A label of a report."""

    set: str = Field(min_length=1, max_length=60)
    label: str = Field(min_length=1, max_length=60)
    ruled: bool
    """Whether the rules answer it too."""
    cut: _Share
    """Alone: present from this probability on."""
    low: float = Field(ge=-1, le=1)
    """Beside the rules: at or below it, what they call present isn't; -1 never."""
    high: float = Field(ge=0, le=2)
    """Beside the rules: at or above it, present whatever they say; 2 never."""


class LabelsPart(_Table):
    """Labels a report."""

    length: int = Field(gt=0, le=1 << 20)
    labels: tuple[LabelOutput, ...] = Field(min_length=1, max_length=200)

    @property
    def outputs(self) -> int:
        """One for each label."""
        return len(self.labels)


class Split(_Table):
    """Which patients are held out: those whose hash with the seed falls into the share."""

    seed: str
    held_out: float = Field(gt=0, lt=1)

    def holds_out(self, patient: str) -> bool:
        """Whether the reports of `patient` are kept for testing."""
        drawn = hashlib.sha256(f"{self.seed}\0{patient}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < self.held_out * 2**64


class Card(_Table):
    """What a model says of itself."""

    format: Literal[1]
    name: str = Field(pattern=NAME)
    language: str = Field(pattern=r"^[a-z]{2,8}$")
    created_at: str
    pipeline: str
    """The rules beside which it was trained."""
    assertion: AssertionPart | None = None
    spans: SpansPart | None = None
    labels: LabelsPart | None = None
    split: Split
    data: dict[str, int]
    """How many reports, patients and annotations of each kind it was trained and tested on."""
    scores: dict[str, Any]
    """Of the held-out patients: task, way of reading ("rules", "model", "both"), figures."""

    @model_validator(mode="after")
    def _has_parts(self) -> "Card":
        if not self.parts:
            raise ValueError("a model has at least one part")
        return self

    @property
    def parts(self) -> dict[str, AssertionPart | SpansPart | LabelsPart]:
        """The parts that it has, by the names of their files."""
        named = {"assertion": self.assertion, "spans": self.spans, "labels": self.labels}
        return {name: part for name, part in named.items() if part is not None}


@dataclass(frozen=True, slots=True, eq=False)
class ModelFolder:
    """A folder that was read, with nothing in it that could harm."""

    path: Path
    card: Card
    weights: Mapping[str, Weights]
    digest: str
    """SHA-256 of all files, hexadecimal."""


def read_folder(path: Path, digest: str | None = None) -> ModelFolder:
    """The model in the folder `path`.

    Parameters
    ----------
    path
        The folder.
    digest
        That which the registry knows; None for a folder that isn't registered yet.

    Raises
    ------
    ModelRefusedError
        ``model_missing``: there is no such folder. ``model_unsafe``: it holds a file that a model doesn't have, a link,
        or pickled objects. ``model_changed``: its digest isn't the registry's. ``model_malformed``: card or weights
        aren't what they should be. Nothing of the folder was run, whatever it holds.
    """
    contents = contents_of(path, digest)
    found = _digest(contents)
    card = _card(path, contents)
    missing = [name for name in card.parts if f"{name}.npy" not in contents]
    extra = [name for name in contents if name != CARD and name.removesuffix(".npy") not in card.parts]
    if missing or extra:
        said = f"lacks {missing[0]}.npy" if missing else f"holds {extra[0]}, of which its card knows nothing"
        raise ModelRefusedError(f"model {path.name} {said}", reason_code="model_malformed")
    weights = {
        name: _weights(path.name, name, contents[f"{name}.npy"], part.outputs * (part.length + 1))
        for name, part in card.parts.items()
    }
    return ModelFolder(path, card, weights, found)


def contents_of(path: Path, digest: str | None = None) -> dict[str, bytes]:
    """The files of the model in the folder `path` by name, as bytes.

    Raises
    ------
    ModelRefusedError
        ``model_missing``, ``model_unsafe`` or ``model_changed``, as of `read_folder`.
    """
    if not path.is_dir() or path.is_symlink():
        raise ModelRefusedError(f"model {path.name}: there is no such folder", reason_code="model_missing")
    contents = _contents(path)
    found = _digest(contents)
    if digest is not None and found != digest:
        message = (
            f"model {path.name} was changed since it was registered: its digest is {found[:12]}, not {digest[:12]}"
        )
        raise ModelRefusedError(message, reason_code="model_changed")
    return contents


_KNOWN = frozenset({CARD, "assertion.npy", "spans.npy", "labels.npy"})


def _contents(path: Path) -> dict[str, bytes]:
    """The files, read as bytes; refused where there is anything else."""
    contents = {}
    for entry in sorted(path.iterdir()):
        if entry.name not in _KNOWN or entry.is_symlink() or not entry.is_file():
            message = f"model {path.name} holds {entry.name}: only {', '.join(sorted(_KNOWN))} are ever opened"
            raise ModelRefusedError(message, reason_code="model_unsafe")
        most = MOST_CARD_BYTES if entry.name == CARD else 4 * MOST_WEIGHTS + 4096
        if entry.stat().st_size > most:
            message = f"model {path.name}: {entry.name} is larger than {most} bytes"
            raise ModelRefusedError(message, reason_code="model_malformed")
        contents[entry.name] = entry.read_bytes()
    return contents


def _digest(contents: Mapping[str, bytes]) -> str:
    seen = hashlib.sha256()
    for name in sorted(contents):
        seen.update(f"{name}\0{len(contents[name])}\0".encode() + contents[name])
    return seen.hexdigest()


def _card(path: Path, contents: Mapping[str, bytes]) -> Card:
    try:
        card = Card.model_validate(json.loads(contents[CARD]))
    except KeyError:
        raise ModelRefusedError(f"model {path.name} has no {CARD}", reason_code="model_malformed") from None
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        message = f"model {path.name}: {CARD}: {places}"
        raise ModelRefusedError(message, reason_code="model_malformed") from None
    except (ValueError, RecursionError):
        raise ModelRefusedError(f"model {path.name}: {CARD} isn't JSON", reason_code="model_malformed") from None
    if card.name != path.name:
        message = f"model {path.name}: its card is that of {card.name}; the folder bears the model's name"
        raise ModelRefusedError(message, reason_code="model_malformed")
    return card


_MAGIC = b"\x93NUMPY\x01\x00"


def header(size: int) -> bytes:
    """What an array of `size` numbers begins with in NumPy's format, version 1.0; the only one that is read."""
    described = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size},), }}"
    blank = -(len(_MAGIC) + 2 + len(described) + 1) % 64
    described += " " * blank + "\n"
    return _MAGIC + len(described).to_bytes(2, "little") + described.encode("latin-1")


def _weights(model: str, part: str, data: bytes, size: int) -> Weights:
    """The array in `data`, compared with what it has to be and never interpreted."""
    expected = header(size)
    if not data.startswith(expected) or len(data) != len(expected) + 4 * size:
        # NumPy's own format with dtype object, or bare, whichever protocol
        pickled = not data.startswith(b"\x93NUMPY") or b"'|O'" in data[:256] or b"'O'" in data[:256]
        if pickled:
            message = f"model {model}: {part}.npy holds pickled objects or no array; it was not opened"
            raise ModelRefusedError(message, reason_code="model_unsafe")
        message = f"model {model}: {part}.npy isn't an array of {size} numbers of 32 bits"
        raise ModelRefusedError(message, reason_code="model_malformed")
    weights: Weights = np.frombuffer(data, dtype="<f4", offset=len(expected)).astype(np.float32)
    if not np.isfinite(weights).all():
        raise ModelRefusedError(f"model {model}: {part}.npy holds what is no number", reason_code="model_malformed")
    return weights


def write_folder(path: Path, card: Card, weights: Mapping[str, Weights]) -> ModelFolder:
    """Write a model into `path`, which must not exist yet, and read it as it will be read.

    Raises
    ------
    FileExistsError
        There is such a folder.
    """
    path.mkdir(parents=True)
    for name, numbers in weights.items():
        data = header(numbers.size) + numbers.astype("<f4").tobytes()
        (path / f"{name}.npy").write_bytes(data)
    (path / CARD).write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
    return read_folder(path)
