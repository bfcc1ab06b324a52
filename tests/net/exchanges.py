"""Plays handshakes that are written without I/O (hop.py's exchanges)."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from towline.errors import DialError
from towline.net.hop import Exchange


def play(exchange: Exchange, chunks: Iterable[bytes]) -> bytes | DialError | None:
    """Feed `chunks`: the bytes past the end together with what was not fed, the error, or None where more is wanted."""
    next(exchange)
    rest = list(chunks)
    while rest:
        try:
            exchange.send(rest.pop(0))
        except DialError as error:
            return error
        except StopIteration as end:
            return bytes(end.value + b"".join(rest))
    return None


def cut(data: st.DataObject, whole: bytes) -> list[bytes]:
    """`whole` in pieces of any size, none empty."""
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=8), label="cuts"))
    pieces = [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]
    return [piece for piece in pieces if piece]
