"""Numbers that count findings: "there are 3 nodules"."""

from collections.abc import Iterator, Sequence

from dicomnlp.analyse.matches import Match
from dicomnlp.analyse.pack import Pack

_COUNTED_AT_MOST = 50
"""Greatest number that counts findings."""


class NumeralReader:
    """Finds counts written in digits by the words of one pack.

    Parameters
    ----------
    pack
        What stands before such a number, what shows that it counts something else, and how plurals end.
    """

    def __init__(self, pack: Pack) -> None:
        self._before = frozenset(word.lower() for word in pack.attributes.before_counts)
        self._not_counted = frozenset(word.lower() for word in pack.attributes.not_counted)
        self._plurals = tuple(sorted({plural for _, plural in pack.about.inflections}))

    def read(self, words: Sequence[str], targets: Sequence[Match], said: Sequence[tuple[int, int]]) -> Iterator[Match]:
        """The counts among `words`, in order.

        Parameters
        ----------
        words
            The sentence's tokens, in lower case.
        targets
            The findings; only several of one kind are counted.
        said
            Tokens [start, end) of measurements, levels and references to images, whose numbers count nothing.
        """
        if not targets or not any(map(str.isdecimal, words)):
            return
        taken = {token for start, end in said for token in range(start, end)}
        # a number behind the last finding counts none
        for place, word in enumerate(words[: max(t.predicate[0] for t in targets)]):
            if not (word.isdecimal() and 2 <= int(word) <= _COUNTED_AT_MOST) or place in taken:
                continue
            opens = place == 0 or words[place - 1] in self._before
            ahead = next((t for t in targets if t.predicate[0] > place), None)
            if not opens or ahead is None or not (words[place + 1].isalpha() or place + 1 in taken):
                continue
            start, end = ahead.predicate
            several = words[end - 1].endswith(self._plurals)
            if several and self._not_counted.isdisjoint(words[place + 1 : start]):
                yield Match(str(int(word)), place, place + 1, (place, place + 1))
