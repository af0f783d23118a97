"""What the things of the vocabulary are called on pages, in the reader's language."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from dicomnlp.analyse.names import concept_name, site_name, states_normality
from dicomnlp.model import Concept, Measurement, Temporality
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.store.worklist import Statement


class Names:
    """Names in one language.

    Parameters
    ----------
    words
        The pages' catalogue of it.
    """

    def __init__(self, words: Catalogue) -> None:
        self._words = words

    def concept(self, identifier: str, meaning: str | None = None) -> str:
        """A concept: as its pack calls it, else its meaning, else its id."""
        return concept_name(identifier, self._words.language) or meaning or concept_name(identifier, "en") or identifier

    def notable(self, statements: Sequence[Statement]) -> list[Statement]:
        """What is worth naming of a report: not what only says that something is as it should be."""
        return [s for s in statements if not states_normality(s.concept_id)]

    def is_normal(self, identifier: str) -> bool:
        """Whether a concept says that something is as it should be."""
        return states_normality(identifier)

    def site(self, site: Concept | str | None) -> str:
        """A site, likewise; "" for none."""
        if site is None:
            return ""
        identifier, meaning = (site, None) if isinstance(site, str) else (site.id, site.meaning)
        return site_name(identifier, self._words.language) or meaning or site_name(identifier, "en") or identifier

    def word(self, group: str, name: str | None) -> Markup:
        """A word of a closed list."""
        return self._words.named(group, name)

    def sizes(self, measurements: Iterable[Measurement], temporality: str | None = None) -> str:
        """Values with their units: "9 × 8 mm"; all, or those of now or of then alone."""
        found = [
            f"{_BOUNDS.get(m.comparator or '', '')}{' × '.join(f'{value:g}' for value in m.values)} {m.unit}"
            for m in measurements
            if temporality is None or m.temporality is Temporality(temporality)
        ]
        return ", ".join(found)


_BOUNDS = {"<": "< ", "<=": "≤ ", ">": "> ", ">=": "≥ "}
