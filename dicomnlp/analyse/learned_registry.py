"""The registry of a site's trained models: which there are, with their digests, and which is in use.

``registry.json`` stands beside the models' folders. What isn't in it is never loaded, and what is must have the digest
that it had when it was registered. Reading it is all that analysis does; it is written by `dicomnlp.learn.models`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dicomnlp.analyse.learned_files import NAME, ModelFolder, read_folder
from dicomnlp.errors import ModelRefusedError

REGISTRY = "registry.json"


class Registered(BaseModel):
    """A model that may be used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    language: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    registered_at: str


class Promotion(BaseModel):
    """That from a time on a model reads a language, or none does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    name: str | None
    """None: the rules alone."""
    at: str
    by: str
    """The operating system's user."""
    why: Literal["promote", "rollback"]
    gate: str = ""
    """What the gate said."""


class Registry(BaseModel):
    """All models and promotions, the oldest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[Registered, ...] = ()
    promotions: tuple[Promotion, ...] = ()

    def find(self, name: str) -> Registered | None:
        """The model called `name`."""
        return next((model for model in self.models if model.name == name), None)

    def promoted(self) -> dict[str, Registered]:
        """Language -> the model that reads it; languages that the rules read alone aren't there."""
        last = {promotion.language: promotion.name for promotion in self.promotions}
        found = {language: self.find(name) for language, name in last.items() if name is not None}
        return {language: model for language, model in found.items() if model is not None}


def read_registry(folder: Path) -> Registry:
    """The registry of the models in `folder`; empty where there is none.

    Raises
    ------
    ModelRefusedError
        ``model_registry``: it is there and can't be understood.
    """
    try:
        return Registry.model_validate(json.loads((folder / REGISTRY).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Registry()
    except (OSError, ValueError, ValidationError, RecursionError):
        message = f"{folder / REGISTRY} can't be read as a registry of models"
        raise ModelRefusedError(message, reason_code="model_registry") from None


def fingerprint(folder: Path, name: str = REGISTRY) -> str:
    """What a file there is known by without reading it: another after each promotion; "" where there is none."""
    try:
        status = (folder / name).stat()
    except OSError:
        return ""
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"


def only(models: Iterable[Registered]) -> Registry:
    """A registry in which just these models are promoted, one of a language; the same whenever it is made."""
    chosen = tuple(models)
    promotions = (Promotion(language=m.language, name=m.name, at=m.registered_at, by="", why="promote") for m in chosen)
    return Registry(models=chosen, promotions=tuple(promotions))


def open_model(folder: Path, model: Registered) -> ModelFolder:
    """The files of a registered model; see `read_folder` for what is refused."""
    found = read_folder(folder / model.name, model.digest)
    if found.card.language != model.language:
        message = f"model {model.name} is registered for {model.language} and reads {found.card.language}"
        raise ModelRefusedError(message, reason_code="model_malformed")
    return found
