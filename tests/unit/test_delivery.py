"""What upstream delivered, by example: what counts, what does not, and when it is evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from towline.core.delivery import (
    ASKS,
    ENOUGH_BYTES,
    ENOUGH_SECONDS,
    LEAST_TURN,
    LONGEST_START,
    PAUSE,
    REMARK,
    ROUNDS,
    START_BYTES,
    Delivery,
)
from towline.core.evidence import Carried

ROUND_TRIP = 0.05  # seconds
RATE = 2_000_000  # bytes a second
STEP = 0.01  # seconds between two turns of the relay in which something comes
WINDOW_UPDATE = 35  # bytes


@dataclass
class Tunnel:
    """A tunnel whose relay tells its totals after every turn."""

    delivery: Delivery = field(default_factory=lambda: Delivery(now=0.0))
    now: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    def turn(self, *, came: int = 0, said: int = 0, held: bool = False) -> None:
        """One turn of the relay."""
        self.bytes_in += came
        self.bytes_out += said
        self.delivery.note(now=self.now, bytes_in=self.bytes_in, bytes_out=self.bytes_out, held=held)

    def ask(self, wait: float = ROUND_TRIP) -> Tunnel:
        """A request in two parts, and the first byte of its answer."""
        self.turn(said=250)
        self.turn(said=250)
        self.now += wait
        self.turn(came=1)
        return self

    def flow(self, seconds: float, rate: int = RATE, *, says: int = 0) -> None:
        """Bytes come at an even rate; after each turn the client says something."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.turn(came=round(rate * STEP))
            if says:
                self.turn(said=says)

    def take(self, known: float | None = None) -> Carried | None:
        """What there is to tell."""
        return self.delivery.take(known=known)

    def told(self, known: float | None = None) -> tuple[int, float] | None:
        """The same in bytes and seconds."""
        carried = self.take(known)
        return None if carried is None else (carried.bytes, round(carried.seconds, 6))


def started() -> Tunnel:
    """A tunnel in an answer whose slow start is over."""
    tunnel = Tunnel().ask()
    tunnel.flow(ROUNDS * ROUND_TRIP)
    return tunnel


def test_a_steady_answer_is_told_at_its_rate() -> None:
    """Bytes over the time they took, once; what comes next is told next."""
    tunnel = started()
    tunnel.flow(3.0)
    assert tunnel.told() == (3 * RATE, 3.0)
    assert tunnel.take() is None
    tunnel.flow(1.1, RATE // 10)
    assert tunnel.told() == (round(1.1 * RATE / 10), 1.1)


def test_slow_start_does_not_count() -> None:
    """The first round trips of an answer are not told, however much they bring..."""
    tunnel = Tunnel().ask()
    tunnel.flow(ROUNDS * ROUND_TRIP, 8 * RATE)
    assert tunnel.take() is None
    tunnel.flow(1.0)
    assert tunnel.told() == (RATE, 1.0)


def test_slow_start_is_over_when_much_has_come() -> None:
    """...until the window must be as large as it gets."""
    tunnel = Tunnel().ask()
    tunnel.flow(0.3, START_BYTES * 10)
    carried = tunnel.take()
    assert carried is not None
    assert carried.rate == pytest.approx(START_BYTES * 10)


@pytest.mark.parametrize(("turn", "start"), [(LEAST_TURN / 10, ROUNDS * LEAST_TURN), (5.0, LONGEST_START)])
def test_slow_start_has_bounds(turn: float, start: float) -> None:
    """A server on the same machine answers in no time, one that thinks for seconds is not that far away."""
    tunnel = Tunnel().ask(turn)
    tunnel.flow(start, RATE // 10)
    assert tunnel.take() is None
    tunnel.flow(STEP)
    tunnel.flow(1.0)
    carried = tunnel.take()
    assert carried is not None
    assert carried.seconds == pytest.approx(1.0, abs=1.5 * STEP)
    assert carried.rate == pytest.approx(RATE)


def test_a_tunnel_whose_distance_is_unknown_starts_for_longest() -> None:
    """Where bytes come that nobody asked for since the relay began: the first flight was answered before."""
    tunnel = Tunnel()
    tunnel.flow(LONGEST_START)
    assert tunnel.take() is None
    tunnel.flow(1.0)
    assert tunnel.told() == (RATE, 1.0)


def test_little_is_no_evidence() -> None:
    """Less than a mebibyte in less than a second; a second of a trickle is."""
    tunnel = started()
    tunnel.flow(ENOUGH_SECONDS - 0.1, (ENOUGH_BYTES - 10_000))
    assert tunnel.take() is None
    tunnel.flow(0.2, 10_000)
    assert tunnel.take() is not None
    tunnel.flow(1.1, 10_000)
    carried = tunnel.take()
    assert carried is not None
    assert carried.rate == pytest.approx(10_000)


def test_much_in_no_time_is_no_evidence() -> None:
    """On a clock that stands still there is no rate."""
    tunnel = started()
    tunnel.turn(came=2 * ENOUGH_BYTES)
    assert tunnel.take() is None


def test_an_idle_pause_between_two_answers_does_not_count() -> None:
    """Nor does the round trip of the request, nor slow start again."""
    tunnel = started()
    tunnel.flow(1.0)
    tunnel.now += 20.0
    tunnel.ask()
    tunnel.flow(ROUNDS * ROUND_TRIP, RATE // 50)
    tunnel.flow(1.0)
    assert tunnel.told() == (2 * RATE, 2.0)


def test_small_answers_in_quick_succession_are_no_evidence() -> None:
    """A tunnel of turns tells of the distance only."""
    tunnel = Tunnel()
    for _ in range(100):
        tunnel.ask()
        tunnel.flow(0.1)
    assert tunnel.take() is None


def test_silence_in_an_answer_is_upstreams() -> None:
    """Bytes that nobody asked for again were late."""
    tunnel = started()
    tunnel.flow(1.0)
    tunnel.now += 3.0
    tunnel.flow(1.0)
    assert tunnel.told() == (2 * RATE, 5.0)


def test_the_last_words_of_an_idle_connection_are_no_slow_answer() -> None:
    """A server's GOAWAY and close_notify after a minute; a body goes on with at least a segment."""
    tunnel = started()
    tunnel.flow(1.0)
    tunnel.now += 60.0
    tunnel.turn(came=REMARK)
    assert tunnel.told() == (RATE, 1.0)
    tunnel.now += PAUSE
    tunnel.turn(came=REMARK + 1)
    assert tunnel.told() == (REMARK + 1, PAUSE)


@pytest.mark.parametrize("says", [WINDOW_UPDATE, 3 * WINDOW_UPDATE])
def test_window_updates_are_no_requests(says: int) -> None:
    """HTTP/2's, small or several at once: what comes next comes sooner than an answer could."""
    tunnel = started()
    tunnel.flow(2.0, says=says)
    assert tunnel.told() == (2 * RATE, 2.0)


def test_small_words_of_the_client_are_no_request_however_long_the_next_bytes_take() -> None:
    """On a slow way HTTP/2's updates are far between, and so are the bytes."""
    tunnel = started()
    for _ in range(8):
        tunnel.turn(said=ASKS - 1)
        tunnel.now += 2 * ROUND_TRIP
        tunnel.turn(came=2000)
    tunnel.flow(1.0)
    assert tunnel.told() == (16_000 + RATE, 1.8)


def test_a_request_in_the_middle_of_another_answer_is_no_turn() -> None:
    """Two layers over one HTTP/2 connection: bytes of the first come all the while."""
    tunnel = started()
    tunnel.flow(1.0)
    tunnel.turn(said=500)
    tunnel.flow(1.0)
    assert tunnel.told() == (2 * RATE, 2.0)


def test_a_client_that_hardly_waits_is_not_the_limit() -> None:
    """It took what there was within a tenth of the time: the rate is upstream's."""
    tunnel = started()
    for _ in range(20):
        tunnel.flow(0.1)
        tunnel.turn(held=True)
        tunnel.now += STEP / 2
        tunnel.turn()
    carried = tunnel.take()
    assert carried is not None
    assert carried.rate == pytest.approx(RATE, rel=0.06)


def slowed_by_its_client() -> Tunnel:
    """A tunnel whose client took nothing for half of the time, and then all at once."""
    tunnel = started()
    for _ in range(5):
        tunnel.flow(0.2)
        tunnel.turn(held=True)
        tunnel.now += 0.2
        tunnel.turn(came=RATE // 10)
    return tunnel


def test_a_slow_client_says_nothing_of_its_route() -> None:
    """Neither where nothing is known, nor where more is; and the next stretch counts for itself."""
    for known in (None, 2.0 * RATE):
        tunnel = slowed_by_its_client()
        assert tunnel.take(known) is None
        tunnel.flow(1.0)
        carried = tunnel.take(known)
        assert carried is not None
        assert carried.rate == pytest.approx(RATE)


def test_a_slow_client_shows_what_the_route_can_do_at_least() -> None:
    """That is news where less was known: the route has recovered."""
    carried = slowed_by_its_client().take(known=RATE / 10)
    assert carried is not None
    assert RATE / 2 < carried.rate <= RATE


def test_a_hold_belongs_to_the_stretch_in_which_it_ends() -> None:
    """What came before it is upstream's; what piled up in it came in all of its time, and the client was the limit."""
    tunnel = started()
    tunnel.flow(2.0)
    tunnel.turn(held=True)
    assert tunnel.told() == (2 * RATE, 2.0)
    tunnel.now += 5.0
    tunnel.turn(came=5 * RATE)
    assert tunnel.take() is None


def test_a_client_that_never_takes_all_is_the_limit_all_the_time() -> None:
    """It takes a part again and again; that is told as it goes on, where less was known."""
    tunnel = started()
    for known, news in ((None, None), (2.0 * RATE, None), (RATE / 2, (2 * RATE, 2.0)), (RATE / 2, (2 * RATE, 2.0))):
        for _ in range(200):
            tunnel.now += STEP
            tunnel.turn(came=round(RATE * STEP), held=True)
        assert tunnel.told(known) == news
