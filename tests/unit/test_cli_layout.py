from __future__ import annotations

import pytest

from towline.cli.layout import COLUMNS, Column, byte_count, duration, fit, table, width


@pytest.mark.parametrize(
    ("text", "columns"), [("direct", 6), ("代理", 4), ("\uff57", 2), ("e\u0301", 1), ("한국", 4), ("", 0)]
)
def test_width(text: str, columns: int) -> None:
    """East Asian characters take two columns, combining marks none."""
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("direct", 6, "direct"),
        ("leased-line", 8, "lease..."),
        ("办公室代理", 10, "办公室代理"),
        ("办公室代理", 9, "办公室..."),
        ("办公室代理", 8, "办公..."),
        ("a\x1b[31m", 80, r"a\x1b[31m"),
    ],
)
def test_fit(text: str, columns: int, shown: str) -> None:
    """Text is cut by columns, not by characters, and carries no control sequence."""
    assert fit(text, columns) == shown


def test_table_lines_up_across_scripts() -> None:
    """Columns are as wide as their widest cell in terminal columns; numbers stand right."""
    lines = table(
        (Column("ROUTE"), Column("STATE"), Column("TUNNELS", right=True)), [("代理", "open", "3"), ("b", "-", "12")]
    )
    assert lines == [
        "ROUTE  STATE  TUNNELS",
        "代理   open         3",
        "b      -           12",
    ]


def test_first_column_gives_way() -> None:
    """A long first cell is cut so that the line keeps to 80 columns; the others are cut at their own limit."""
    lines = table((Column("TARGET"), Column("ROUTE"), Column("SIZE", right=True)), [("t" * 90, "r" * 40, "1.0 MiB")])
    assert lines[1] == "t" * 54 + "..." + "  " + "r" * 9 + "..." + "  1.0 MiB"
    assert width(lines[1]) == COLUMNS


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**6, "3072.0 PiB"),
    ],
)
def test_byte_count(count: int, shown: str) -> None:
    """One decimal of the binary unit that keeps the number below 1024."""
    assert byte_count(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (0.25, "0.2 s"), (12.4, "12 s"), (119, "119 s"), (120, "2 min"), (7384, "2 h"), (200_000, "2 d")],
)
def test_duration(seconds: float, shown: str) -> None:
    """One unit, with a decimal only where it matters."""
    assert duration(seconds) == shown
