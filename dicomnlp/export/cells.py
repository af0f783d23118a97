"""Cells of tables that spreadsheets open: none of them runs as a formula."""

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
"""What begins a formula or a command in some spreadsheet, full-width forms included, or is passed over before one."""

_PASSED_OVER = " \u00a0\u3000\ufeff"


def cell(value: Any) -> str:
    """`value` as a cell; a text that a spreadsheet would run as a formula gets a leading quote."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, str) and (
        text.startswith(_FORMULA) or text.lstrip(" \u00a0\u3000\ufeff").startswith(_FORMULA)
    ):
        return "'" + text
    return text
