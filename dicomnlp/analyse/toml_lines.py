"""On which line of a TOML file each key and each element of an array stands; tomllib doesn't tell."""

import re
from collections import defaultdict
from collections.abc import Sequence

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|\n|[\[\]{},=]|[^\s\[\]{},=#"\']+',
    re.DOTALL,
)

Path = tuple[str | int, ...]


def line_numbers(text: str) -> dict[Path, int]:
    """Lines, from 1, of the keys and array elements of `text`, which must be TOML.

    The path of an element ends in its number: ("cues", 0, "terms", 2) is the third term of the first group.
    """
    return _Scanner(text).read()


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int | None:
    """The line of `path`, or of the nearest thing that holds it; None where there is none."""
    at = tuple(path)
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, int]] = []
        line, seen = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", seen, match.start())
            seen = match.start()
            if not match.group().startswith("#"):
                self._tokens.append((match.group(), line))
        self._at = 0
        self._lines: dict[Path, int] = {}

    def read(self) -> dict[Path, int]:
        table: Path = ()
        groups: dict[Path, int] = defaultdict(int)
        while self._at < len(self._tokens):
            read, line = self._tokens[self._at]
            if read == "\n":
                self._at += 1
            elif read == "[":
                several = self._tokens[self._at + 1][0] == "["
                self._at += 1 + several
                table = self._key()
                self._at += 1 + several
                if several:
                    table = (*table, groups[table])
                    groups[table[:-1]] += 1
                self._lines.setdefault(table, line)
            else:
                self._pair(table)
        return self._lines

    def _key(self) -> Path:
        parts: list[str | int] = []
        while self._tokens[self._at][0] not in ("=", "]"):
            name = self._tokens[self._at][0]
            parts += [name[1:-1]] if name[0] in "\"'" else [part for part in name.split(".") if part]
            self._at += 1
        return tuple(parts)

    def _pair(self, table: Path) -> None:
        line = self._tokens[self._at][1]
        path = (*table, *self._key())
        self._at += 1
        self._lines.setdefault(path, line)
        self._value(path)

    def _value(self, path: Path) -> None:
        opens = self._tokens[self._at][0]
        self._at += 1
        if opens not in ("[", "{"):
            while self._at < len(self._tokens) and self._tokens[self._at][0] not in (",", "]", "}", "\n"):
                self._at += 1
            return
        number = 0
        while self._tokens[self._at][0] not in ("]", "}"):
            read, line = self._tokens[self._at]
            if read in ("\n", ","):
                self._at += 1
            elif opens == "{":
                self._pair(path)
            else:
                self._lines[(*path, number)] = line
                self._value((*path, number))
                number += 1
        self._at += 1
