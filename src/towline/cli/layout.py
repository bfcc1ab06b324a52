"""Plain text for a terminal: columns that line up whatever the script, numbers with units, lines of 80 columns at most.

Not rich: for two tables, its import (47 ms) would add two fifths to the 120 ms that `status` takes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from towline.admin.text import escape

COLUMNS = 80  # of the narrowest terminal that is still in use, and of a paste into an issue
GAP = "  "
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; the first of a table gives way when the line gets too long."""

    title: str
    right: bool = False
    limit: int = 12
    """Columns at most, where it is not the first."""


def width(text: str) -> int:
    """Terminal columns that `text` takes: two for wide East Asian characters (UAX 11), none for combining ones."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int = COLUMNS) -> str:
    """`text`, escaped, in at most `columns` columns; a cut ends in `...`."""
    safe = escape(text)
    if width(safe) <= columns:
        return safe
    kept, room = "", columns - len("...")
    for character in safe:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + "..."


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, its head first, each within COLUMNS."""
    grid = [[column.title for column in columns], *rows]
    widths = [max(map(width, cells)) for cells in zip(*grid, strict=True)]
    widths[1:] = [min(wanted, column.limit) for wanted, column in zip(widths[1:], columns[1:], strict=True)]
    widths[0] = min(widths[0], COLUMNS - sum(widths[1:]) - len(GAP) * (len(columns) - 1))
    return [GAP.join(map(_pad, columns, row, widths)).rstrip() for row in grid]


def _pad(column: Column, cell: str, columns: int) -> str:
    text = fit(cell, columns)
    space = " " * (columns - width(text))
    return space + text if column.right else text + space


def byte_count(count: int) -> str:
    """Bytes with a binary unit (IEC 80000-13): `512 B`, `1.5 GiB`."""
    if count < 1024:
        return f"{count} B"
    size, power = count / 1024, 0
    while size >= 1023.95 and power < len(UNITS) - 1:  # what would be rounded to 1024.0 goes to the next unit
        size, power = size / 1024, power + 1
    return f"{size:.1f} {UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds in the one unit that says enough: `0.4 s`, `95 s`, `12 min`, `30 h`, `4 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit, below in ((1, "s", 120), (60, "min", 120), (3600, "h", 48)):
        if seconds < size * below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
