"""Any bytes: the readers of TLS answer, and chunking never changes what they say in the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_tls import HELLO

from towline.core.tls import Answer, Flight, ended_cleanly, judge_answer, read_flight

ANYTHING = st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda more: HELLO[: len(HELLO) - 50] + more))


@given(ANYTHING)
def test_flight_is_decided_once(data: bytes) -> None:
    """A beginning that is decided stays as it is decided, but for a hello that more bytes follow."""
    verdicts = [read_flight(data[:length]) for length in range(len(data) + 1)]
    decided = [verdict for verdict in verdicts if verdict is not Flight.INCOMPLETE]
    assert decided == sorted(decided, key=[Flight.HELLO, Flight.EARLY_DATA, Flight.OTHER].index)
    assert len(set(decided) - {Flight.HELLO}) <= 1


@given(st.binary(max_size=64))
def test_answer_is_decided_once(data: bytes) -> None:
    """More bytes never change a verdict on the first ones."""
    verdicts = [judge_answer(data[:length]) for length in range(len(data) + 1)]
    decided = [verdict for verdict in verdicts if verdict is not Answer.INCOMPLETE]
    assert len(set(decided)) <= 1


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=200))
def test_only_the_end_counts(before: bytes, tail: bytes) -> None:
    """What stands before the tail changes nothing."""
    long = bytes(85) + tail
    assert ended_cleanly(before + long) is ended_cleanly(long)
