"""Many phrases looked for at once, in the tokens of a sentence.

A table is a tree of words: a look-up costs what the sentence is long, however many phrases there are. spaCy's matchers
find the same, at several times the cost a sentence and a hundred times the cost to build: they make a document of each
phrase and a lexeme of each word. Nothing of a sentence is kept.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

ANY, NUMBER, END = 0, 1, 2
"""Beside words: any word that isn't a mark, any number, and what ends here. Words are text, none is equal to these."""

_Node = dict[Any, Any]
_Step = tuple[Sequence[str | int], bool]
"""What may stand there: words, `ANY` or `NUMBER`; and whether the step may be left out."""


def signs(patterns: Iterable[Sequence[_Step]], common: frozenset[str] = frozenset()) -> frozenset[str] | None:
    """Words one of which is in whatever any of `patterns` matches; None where a pattern asks for no word.

    Phrases of one step leave no choice. Of others, a step that is a sign already is enough, else it's the one of the
    longest words, `common` ones and marks left out: they are the rarest.
    """
    asked = [
        [frozenset(map(str, words)) for words, optional in steps if not optional and not {ANY, NUMBER} & set(words)]
        for steps in patterns
    ]
    chosen: set[str] = set()
    for choices in sorted(asked, key=len):
        if not choices:
            return None
        if not any(words <= chosen for words in choices):
            chosen |= max(
                choices,
                key=lambda words: (min(map(str.isalnum, words)), words.isdisjoint(common), min(map(len, words))),
            )
    return frozenset(chosen)


class PhraseTable(Generic[Value]):
    """Phrases, each with values.

    Parameters
    ----------
    marks
        Tokens that `ANY` doesn't stand for.
    """

    def __init__(self, marks: Iterable[str] = ()) -> None:
        self._root: _Node = {}
        self._marks = frozenset(marks)
        self._plain = True

    def add(self, words: Sequence[str], value: Value) -> None:
        """`value` is found where `words` stand one after another."""
        node = self._root
        for word in words:
            node = node.setdefault(word, {})
        node.setdefault(END, []).append(value)

    def add_pattern(self, steps: Sequence[_Step], value: Value) -> bool:
        """`value` is found where the steps match.

        Parameters
        ----------
        steps
            One for each token.
        value
            What is found.

        Returns
        -------
        bool
            False, and nothing is added, where the steps match no token at all or begin with `ANY`.
        """
        if all(optional for _, optional in steps) or ANY in steps[0][0]:
            return False
        self._plain = self._plain and not any({ANY, NUMBER} & set(words) for words, _ in steps)
        nodes: dict[int, _Node] = {id(self._root): self._root}
        for alternatives, optional in steps:
            reached = dict(nodes) if optional else {}
            for node in nodes.values():
                for edge in alternatives:
                    child = node.setdefault(edge, {})
                    reached[id(child)] = child
            nodes = reached
        for node in nodes.values():
            values = node.setdefault(END, [])
            if value not in values:
                values.append(value)
        return True

    def whole(self, words: Sequence[str]) -> Sequence[Value]:
        """The values of the phrase `words`, none where they are no phrase; not for patterns."""
        node = self._root
        for word in words:
            if word not in node:
                return ()
            node = node[word]
        values: Sequence[Value] = node.get(END, ())
        return values

    def find(self, words: Sequence[str]) -> list[tuple[Value, int, int]]:
        """(value, start, end) of each phrase in `words`, every overlap included; in order of start.

        A pattern that fits the same words in two ways is given twice.
        """
        if self._plain:
            # few sentences have a word that a phrase of a small table begins with
            return [] if self._root.keys().isdisjoint(words) else self._find_phrases(words)
        return self._find_patterns(words)

    def _find_phrases(self, words: Sequence[str]) -> list[tuple[Value, int, int]]:
        """As `find`, where no step stands for any word: one way through the tree."""
        found: list[tuple[Value, int, int]] = []
        first, number = self._root.get, len(words)
        for start, word in enumerate(words):
            node = first(word)
            end = start + 1
            while node is not None:
                if END in node:
                    found += [(value, start, end) for value in node[END]]
                if end == number:
                    break
                node = node.get(words[end])
                end += 1
        return found

    def _find_patterns(self, words: Sequence[str]) -> list[tuple[Value, int, int]]:
        found: list[tuple[Value, int, int]] = []
        root, number = self._root, len(words)
        numbers = NUMBER in root
        for start, word in enumerate(words):
            node = root.get(word)
            end = start + 1
            if numbers and word[0].isdigit():
                self._follow([root[NUMBER]] if node is None else [node, root[NUMBER]], words, start, end, found)
                continue
            # one way through the tree for as long as it has one
            while node is not None:
                if ANY in node or NUMBER in node:
                    self._follow([node], words, start, end, found)
                    break
                if END in node:
                    found += [(value, start, end) for value in node[END]]
                if end == number:
                    break
                node = node.get(words[end])
                end += 1
        return found

    def _follow(
        self, nodes: Sequence[_Node], words: Sequence[str], start: int, end: int, found: list[tuple[Value, int, int]]
    ) -> None:
        """All ways on from `nodes`, which the words [start, end) lead to."""
        while nodes:
            for node in nodes:
                if END in node:
                    found += [(value, start, end) for value in node[END]]
            if end == len(words):
                break
            nodes = self._next(nodes, words[end])
            end += 1

    def _next(self, nodes: Sequence[_Node], word: str) -> list[_Node]:
        reached: list[_Node] = []
        for node in nodes:
            if word in node:
                reached.append(node[word])
            if ANY in node and word not in self._marks:
                reached.append(node[ANY])
            if NUMBER in node and word[0].isdigit():
                reached.append(node[NUMBER])
        return reached
