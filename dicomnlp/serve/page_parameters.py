"""What forms of pages send: names that a page doesn't know are refused, empty fields are as good as not there."""

import datetime as dt
import enum
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TypeVar

from fastapi import Request

from dicomnlp.errors import UsageError
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import PREFERENCES

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)
MAXIMUM_VALUE = 500
"""Characters of a value."""


class Values(dict[str, str]):
    """Values of a form, for templates: one that isn't given is "" there."""

    def __missing__(self, name: str) -> str:
        return ""


def asked(request: Request, names: Collection[str], *, several: Collection[str] = ()) -> Values:
    """The values of a page's query parameters; what is empty is left out, the reader's preferences too.

    Parameters
    ----------
    names
        Those that the page takes.
    several
        Of these the ones that may come more than once, as ticked boxes do; their values are joined by commas.

    Raises
    ------
    ProblemError
        unknown_parameter, repeated_parameter, or invalid_parameter for a value that is too long.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in request.query_params.multi_items():
        if name not in names and name not in PREFERENCES:
            raise ProblemError("unknown_parameter", f"This page takes {', '.join(names) or 'none'}.")
        if len(value) > MAXIMUM_VALUE:
            raise ProblemError("invalid_parameter", f"{name} is longer than {MAXIMUM_VALUE} characters.")
        if value.strip():
            found[name].append(value.strip())
    if any(len(values) > 1 and name not in several for name, values in found.items()):
        raise ProblemError("repeated_parameter")
    return Values((name, ",".join(values)) for name, values in found.items() if name not in PREFERENCES)


def one_of(kind: type[E], values: dict[str, str], name: str) -> E | None:
    """The value under `name` as a member of `kind`; None where it isn't given.

    Raises
    ------
    ProblemError
        invalid_parameter.
    """
    return _read(kind, values, name, f"one of {', '.join(kind)}")


def a_day(values: dict[str, str], name: str) -> dt.date | None:
    """The value under `name` as a date; raises as `one_of`."""
    return _read(dt.date.fromisoformat, values, name, "a date as YYYY-MM-DD")


def _read(reader: Callable[[str], T], values: dict[str, str], name: str, form: str) -> T | None:
    if name not in values:
        return None
    try:
        return reader(values[name])
    except ValueError:
        raise ProblemError("invalid_parameter", f"{name} is {form}.") from None


def told(work: Callable[[], T]) -> T:
    """What `work` gives; its UsageError as a problem."""
    try:
        return work()
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None
