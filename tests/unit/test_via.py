"""The names of proxies on the way, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.core.via import MAX_HOPS, read, write


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], ()),
        (["1.1 5f0c9d1e"], ("5f0c9d1e",)),
        (["1.1 one, HTTP/1.0 Two.example:3128 (squid/5.7)", "2 three"], ("one", "two.example:3128", "three")),
        (["nonsense", "1.1", "1.1 " + " " * 9000 + "(x)", "1.1 (a)", "1.1 bad\x7fname", " , "], ()),
    ],
)
def test_read(values: list[str], names: tuple[str, ...]) -> None:
    """RFC 9110 7.6.3: protocol, name, comment, in one field or several; what is none of that is passed over."""
    assert read(values) == names


def test_a_long_chain_is_cut_at_its_oldest() -> None:
    """The latest names are kept: ours is among them while the circle is short."""
    assert read([write([f"p{n}" for n in range(40)])]) == tuple(f"p{n}" for n in range(40 - MAX_HOPS, 40))


@given(st.lists(st.text(max_size=80), max_size=5))
def test_whatever_a_client_sends_may_be_sent_on(values: list[str]) -> None:
    """What is written is plain ASCII, bounded, and read again the same."""
    names = read(values)
    text = write(names)
    assert text.isascii()
    assert not text or text.isprintable()
    assert len(text) <= MAX_HOPS * 70
    assert read([text]) == names
