from __future__ import annotations

import pytest

from towline.admin.text import MAX_TEXT, escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ghcr.io", "ghcr.io"),
        ("two words", "two words"),
        ("代理", "代理"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m\x07", r"\x1b[31m\x07"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\udc80", r"\udc80"),
        ("a\u00a0b", r"a\xa0b"),
        ("", ""),
    ],
)
def test_escape_shows_what_cannot_be_printed(text: str, shown: str) -> None:
    """Printable text of any script stays, everything else becomes visible."""
    assert escape(text) == shown


@pytest.mark.parametrize(("length", "shown"), [(256, "a" * 256), (257, "a" * 253 + "..."), (10**6, "a" * 253 + "...")])
def test_escape_cuts(length: int, shown: str) -> None:
    """What is longer than the limit ends in dots, within the limit."""
    assert escape("a" * length) == shown


def test_escape_counts_what_is_shown() -> None:
    """Escapes are longer than what they stand for, and the limit holds for the result."""
    assert len(escape("\x00" * 200)) == MAX_TEXT
