"""Which trained model reads a language beside the rules, in this process.

What a pipeline is called with a model beside it is told without loading the model's networks, or spaCy.
"""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dicomnlp.analyse.learned_files import ModelFolder
from dicomnlp.analyse.learned_registry import open_model, read_registry
from dicomnlp.errors import ModelRefusedError

if TYPE_CHECKING:
    from dicomnlp.analyse.learned import Learned


@dataclass(slots=True)
class _Process:
    """What holds for the process."""

    site: Path | None = None
    """Folder of the site's models."""
    own: Path | None = None
    """Folder of the models of what reports are read by, in place of the site's."""
    given: dict[str, "Learned"] = field(default_factory=dict)
    """Language -> the model that is used in place of a promoted one, unchecked."""
    opened: dict[str, ModelFolder | None] = field(default_factory=dict)
    """Language -> the promoted model's folder, or that none is used."""
    made: dict[str, "Learned"] = field(default_factory=dict)
    refused: dict[str, ModelRefusedError] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """Where the registry is that counts."""
        return self.own or self.site


_PROCESS = _Process()


def use_models(folder: Path | None) -> None:
    """Read with the models that the registry in `folder` says are promoted, from here on; None: by the rules alone.

    What brings models of its own is read with these instead, see `use_own`.
    """
    if folder != _PROCESS.site or _PROCESS.given:
        _PROCESS.site = folder
        _reset({})


def use_own(folder: Path | None) -> None:
    """Read with the models of `folder` in place of those of the site, from here on; None: with those of the site."""
    if folder != _PROCESS.own:
        _PROCESS.own = folder
        _reset(_PROCESS.given)


def forget_models() -> None:
    """Read the registry anew when a model is next asked for: another may be promoted by now."""
    if not _PROCESS.given:
        _reset({})


def use_learned(models: Mapping[str, "Learned"]) -> None:
    """Read with exactly these models (language -> model) from here on, promoted or not: to train and to compare."""
    _PROCESS.site = None
    _reset(dict(models))


def _reset(given: dict[str, "Learned"]) -> None:
    _PROCESS.given = given
    _PROCESS.opened, _PROCESS.made, _PROCESS.refused = {}, {}, {}


def model_of(language: str) -> "Learned | None":
    """The model that reads `language`; None for the rules alone, also where the promoted one is refused."""
    if _PROCESS.given:
        return _PROCESS.given.get(language)
    folder = _promoted(language)
    if folder is None:
        return None
    if language not in _PROCESS.made:
        from dicomnlp.analyse.learned import Learned  # noqa: PLC0415  a second's work, where there is a model

        _PROCESS.made[language] = Learned(folder)
    return _PROCESS.made[language]


def names_beside(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """`names` of pipelines by language, each as it is with the model beside it that the registry in `folder` promotes.

    A model or registry that is refused changes none.
    """
    named_so = dict(names)
    try:
        promoted = read_registry(folder).promoted()
    except ModelRefusedError:
        return named_so
    for language in promoted.keys() & named_so.keys():
        with contextlib.suppress(ModelRefusedError):
            named_so[language] = named(named_so[language], open_model(folder, promoted[language]).digest)
    return named_so


def _promoted(language: str) -> ModelFolder | None:
    if _PROCESS.folder is None:
        return None
    if language not in _PROCESS.opened:
        _PROCESS.opened[language] = None
        try:
            model = read_registry(_PROCESS.folder).promoted().get(language)
            if model is not None:
                _PROCESS.opened[language] = open_model(_PROCESS.folder, model)
        except ModelRefusedError as error:
            _PROCESS.refused["" if error.reason_code == "model_registry" else language] = error
    return _PROCESS.opened[language]


def is_checked(learned: "Learned") -> bool:
    """Whether `learned` must get the protected cases right: it was promoted, not given to be compared."""
    return learned not in _PROCESS.given.values()


def refuse(learned: "Learned", error: ModelRefusedError) -> None:
    """Read by the rules alone in place of `learned`."""
    _PROCESS.opened[learned.language] = None
    _PROCESS.refused[learned.language] = error


def promoted_languages() -> list[str]:
    """The languages for which a model is promoted, whether or not it is refused."""
    if _PROCESS.folder is None:
        return []
    try:
        return sorted(read_registry(_PROCESS.folder).promoted())
    except ModelRefusedError as error:
        _PROCESS.refused[""] = error
        return []


def refusals() -> dict[str, ModelRefusedError]:
    """Language -> why its model isn't used, as far as it was asked for; "" -> what is wrong with the registry."""
    return dict(_PROCESS.refused)


def named(pipeline: str, identity: str) -> str:
    """The name of a pipeline of rules with a model beside it: the digest is that of both."""
    pack, _, rules = pipeline.rpartition("+")
    both = hashlib.sha256(f"{rules} {identity}".encode()).hexdigest()
    return f"{pack}+{both[:12]}"
