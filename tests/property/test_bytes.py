"""Whatever reads bytes from outside, on any bytes and on what is nearly right: only documented errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.targets import TARGETS


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some of its bytes replaced, repeated or taken out."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[start:end]) * 3)))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_beginnings_are_read(name: str) -> None:
    """What a fuzzing run begins with is read to its end, cut anywhere."""
    for seed in TARGETS[name].seeds:
        for length in range(0, len(seed) + 1, 3):
            TARGETS[name].read(seed[:length])


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Bytes of no kind at all."""

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def check(data: bytes) -> None:
        TARGETS[name].read(data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_nearly_right(name: str) -> None:
    """Bytes that are nearly what is usually read."""

    @settings(max_examples=100)
    @given(mutated(TARGETS[name].seeds))
    def check(data: bytes) -> None:
        TARGETS[name].read(data)

    check()
