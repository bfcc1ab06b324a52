"""What upstream delivered, against any course of a tunnel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towline.core.delivery import CLIENT_SHARE, ENOUGH_BYTES, ENOUGH_SECONDS, Delivery

turns = st.tuples(
    st.floats(0.0, 5.0),  # seconds since the last turn
    st.integers(0, 2_000_000),  # bytes that came
    st.sampled_from([0, 0, 0, 35, 500]),  # bytes that the client sent
    st.booleans(),  # whether the client takes no more
    st.booleans(),  # whether it is asked
)


@given(course=st.lists(turns, max_size=80))
def test_no_more_is_told_than_there_was(course: list[tuple[float, int, int, bool, bool]]) -> None:
    """Never more bytes than came or more seconds than passed, and never less than is evidence."""
    delivery = Delivery(now=0.0)
    now, bytes_in, bytes_out = 0.0, 0, 0
    told_bytes, told_seconds = 0, 0.0
    for seconds, came, said, held, asked in course:
        now, bytes_in, bytes_out = now + seconds, bytes_in + came, bytes_out + said
        delivery.note(now=now, bytes_in=bytes_in, bytes_out=bytes_out, held=held)
        carried = delivery.take(known=None) if asked else None
        if carried is not None:
            assert carried.bytes >= ENOUGH_BYTES or carried.seconds >= ENOUGH_SECONDS
            told_bytes += carried.bytes
            told_seconds += carried.seconds
    assert told_bytes <= bytes_in
    assert told_seconds <= now + 1e-6


@given(
    rate=st.integers(100_000, 50_000_000),
    step=st.floats(0.001, 0.2),
    round_trip=st.floats(0.0001, 0.4),
    held=st.floats(0.0, CLIENT_SHARE * 0.9),
)
def test_an_even_flow_is_told_at_its_rate(rate: int, step: float, round_trip: float, held: float) -> None:
    """Whatever the rate, the distance, and how often the relay wakes; a client that is a little slow changes little."""
    delivery = Delivery(now=0.0)
    now, bytes_in = 0.0, 1
    delivery.note(now=now, bytes_in=0, bytes_out=500, held=False)
    now += round_trip
    delivery.note(now=now, bytes_in=bytes_in, bytes_out=500, held=False)
    rates = []
    while now < 6.0:
        now += step * (1 - held)
        bytes_in += round(rate * step)
        delivery.note(now=now, bytes_in=bytes_in, bytes_out=500, held=held > 0)
        now += step * held
        delivery.note(now=now, bytes_in=bytes_in, bytes_out=500, held=False)
        if carried := delivery.take(known=None):
            rates.append(carried.rate)
    assert rates
    assert all(0.98 * rate <= told <= 1.02 * rate for told in rates)
