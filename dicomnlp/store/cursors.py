"""Places in an ordered answer, as opaque text: where the next page begins, whatever was added or taken away."""

import base64
import binascii
import re
from collections.abc import Sequence

from sqlalchemy.engine import RowMapping

from dicomnlp.errors import UsageError

_KINDS = {"date": r"((?:[0-9]{8})?)", "number": r"([0-9]{1,18})"}
"""Eighteen digits: what both databases' integers hold for certain."""


def encode(place: Sequence[str | int]) -> str:
    """A place, given by the values by which the answer is ordered, as text for URLs."""
    return base64.urlsafe_b64encode(":".join(map(str, place)).encode()).decode().rstrip("=")


def check_page(limit: int, maximum: int, of: str) -> None:
    """Raise UsageError unless a page may hold `limit` of what `of` names."""
    if not 1 <= limit <= maximum:
        raise UsageError(f"a page holds 1 to {maximum} {of}")


def place_after(rows: Sequence[RowMapping], limit: int, *names: str) -> str | None:
    """Where the page after `limit` of `rows` begins, by the columns of its order; None when there are no more rows."""
    return encode([rows[limit - 1][name] for name in names]) if len(rows) > limit else None


def decode(cursor: str, *kinds: str) -> list[str]:
    """The values of a place that `encode` wrote, as text.

    Parameters
    ----------
    kinds
        What each value is: "date" (YYYYMMDD or nothing) or "number".

    Raises
    ------
    UsageError
        It is no place of an answer of this order.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    found = re.fullmatch(":".join(_KINDS[kind] for kind in kinds), text)
    if found is None:
        raise UsageError("this is no place in an answer; ask without it to begin anew")
    return list(found.groups())
