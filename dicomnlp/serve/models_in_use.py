"""Which trained models are promoted, and which of these are refused, as workers find when they read with them."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnlp.analyse.learned_registry import fingerprint, read_registry
from dicomnlp.config import Settings
from dicomnlp.errors import ModelRefusedError


@dataclass(frozen=True, slots=True)
class ModelState:
    """A promoted model, or a registry that can't be read."""

    language: str
    """"" for the registry."""
    name: str
    digest: str
    promoted_at: str
    promoted_by: str
    in_use: bool
    reason_code: str | None
    """Why reports are read by the rules alone."""

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        return {
            "language": self.language,
            "name": self.name,
            "digest": self.digest,
            "promoted_at": self.promoted_at,
            "promoted_by": self.promoted_by,
            "in_use": self.in_use,
            "reason_code": self.reason_code,
        }


class ModelsInUse:
    """Looks at the promoted models, again whenever their registry or a file of them has changed.

    Parameters
    ----------
    settings
        Tables learn and analyse.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.models
        self._overlays = settings.overlays
        self._lock = threading.Lock()
        self._seen: str | None = None
        self._found: list[ModelState] = []

    def read(self) -> list[ModelState]:
        """The promoted models by language; a second's work where any is new, else none."""
        with self._lock:
            seen = self._state_of_files()
            if seen != self._seen:
                self._found = self._look()
                self._seen = seen
            return self._found

    def _state_of_files(self) -> str:
        try:
            promoted = read_registry(self._folder).promoted()
        except ModelRefusedError:
            promoted = {}
        folders = [self._folder / model.name for model in promoted.values()]
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
        return " ".join([fingerprint(self._folder), *(fingerprint(path.parent, path.name) for path in files)])

    def _look(self) -> list[ModelState]:
        try:
            registry = read_registry(self._folder)
        except ModelRefusedError as error:
            return [ModelState("", "", "", "", "", in_use=False, reason_code=error.reason_code)]
        promoted = registry.promoted()
        if not promoted:
            return []
        refused = _refused(self._folder, self._overlays)
        last = {promotion.language: promotion for promotion in registry.promotions}
        return [
            ModelState(
                language,
                model.name,
                model.digest,
                last[language].at,
                last[language].by,
                in_use=language not in refused,
                reason_code=refused.get(language),
            )
            for language, model in sorted(promoted.items())
        ]


def _refused(models: Path, overlays: Path | None) -> dict[str, str]:
    """Language -> why its model isn't used."""
    # a second's work, where there is any model
    from dicomnlp.analyse import models_changed, refused_models, use_models, use_overlays  # noqa: PLC0415

    use_overlays(overlays)
    use_models(models)
    models_changed()
    return {language: error.reason_code for language, error in refused_models().items()}
