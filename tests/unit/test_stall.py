"""Stalls by example: what each kind of tunnel is suspected of, what probes make of it, and when it is released."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from towline.core.inquiry import DEAD_PAUSES, REST
from towline.core.policy import StallPolicy
from towline.core.stall import (
    ALONE,
    BULK,
    LOST_AFTER,
    VERDICT_LASTS,
    Beside,
    Cause,
    Hold,
    Probe,
    Release,
    Step,
    Verdict,
    Watch,
)
from towline.types import Role

POLICY = StallPolicy()
REQUEST = 500  # bytes
MANIFEST = 5_000  # bytes
LAYER = 10_000_000  # bytes
PROBE_TAKES = 0.5  # seconds


class Tunnel:
    """A tunnel over the route `vpn`, its watch and its clock. It is looked at once a second."""

    def __init__(self, role: Role = Role.BLOB, beside: Beside = ALONE) -> None:
        self.watch = Watch("vpn", role, POLICY, beside)
        self.now = 1000.0
        self.bytes_in = self.bytes_out = self.queued_in = 0
        self.last_in = self.last_out = self.now

    def client_sends(self, size: int = REQUEST) -> None:
        """Bytes come from the client."""
        self.bytes_out += size
        self.last_out = self.now

    def upstream_sends(self, size: int) -> None:
        """Bytes come from upstream."""
        self.bytes_in += size
        self.last_in = self.now

    def look(self) -> Step:
        """Look at it now."""
        return self.watch.look(
            now=self.now,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            last_in=self.last_in,
            last_out=self.last_out,
            queued_in=self.queued_in,
        )

    def each_second(self, seconds: float) -> Iterator[None]:
        """Let `seconds` pass, one by one; what the loop's body takes counts."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            yield

    def looks(self, seconds: float) -> Iterator[Step]:
        """Look once a second until `seconds` have passed."""
        for _ in self.each_second(seconds):
            yield self.look()

    def rests(self, seconds: float) -> list[Step]:
        """What is wanted while nothing moves, but to hold."""
        return [step for step in self.looks(seconds) if not isinstance(step, Hold)]

    def judge(self, *, here: bool, elsewhere: str | None, rate: float | None = None) -> Step:
        """Probes are made and judged, then looked at."""
        began = self.now
        self.now += PROBE_TAKES
        self.watch.judged(Verdict(here, elsewhere, began, rate), now=self.now)
        return self.look()


def answered(size: int, role: Role = Role.BLOB) -> Tunnel:
    """A tunnel on which a request has been answered by `size` bytes up to now."""
    tunnel = Tunnel(role)
    tunnel.client_sends()
    tunnel.look()
    tunnel.now += 0.5
    tunnel.upstream_sends(size)
    tunnel.look()
    return tunnel


def suspected(size: int = LAYER, role: Role = Role.BLOB) -> Tunnel:
    """A tunnel that fell silent after `size` bytes, and whose watch has just asked for a probe."""
    tunnel = answered(size, role)
    assert any(isinstance(step, Probe) for step in tunnel.looks(POLICY.dead_api_after))
    return tunnel


def waiting(size: int = REQUEST, role: Role = Role.API) -> Tunnel:
    """A tunnel whose request of `size` bytes has not been answered, and whose watch has just asked for a probe."""
    tunnel = answered(MANIFEST, role)
    tunnel.now += 0.5
    tunnel.client_sends(size)
    tunnel.look()
    assert [type(step) for step in tunnel.looks(POLICY.suspect_after)] == [Hold, Probe]
    return tunnel


def cause_of(step: Step) -> Cause | None:
    """What it is to be released for; None where it is not."""
    return step.cause if isinstance(step, Release) else None


def released_after(tunnel: Tunnel, seconds: float, *, here: bool = True) -> float | None:
    """The silence at which it is first to be released in the next `seconds`, where every probe finds the same."""
    for step in tunnel.looks(seconds):
        answer = tunnel.judge(here=here, elsewhere="leased") if isinstance(step, Probe) else step
        if isinstance(answer, Release):
            return answer.silence
    return None


def test_flowing() -> None:
    """Nothing is wanted while bytes come."""
    tunnel = answered(LAYER)
    for _ in tunnel.each_second(30.0):
        tunnel.upstream_sends(LAYER)
        assert tunnel.look() == Hold("bytes move")


@pytest.mark.parametrize(("size", "silence"), [(BULK, POLICY.suspect_after), (BULK - 1, POLICY.dead_api_after)])
def test_when_a_probe_is_asked_for(size: int, silence: float) -> None:
    """In the middle of a body after 2 s; after a small answer, when it is most likely idle, after 10 s."""
    tunnel = answered(size)
    steps = list(tunnel.looks(silence))
    assert [type(step) for step in steps] == [Hold] * (int(silence) - 1) + [Probe]
    assert steps[-1].reason.startswith(f"silent for {silence:.1f} s after ")


def test_one_probe_at_a_time() -> None:
    """Until its verdict has come, no other probe is asked for."""
    assert suspected().rests(100.0) == []


def test_dead_here_and_alive_elsewhere() -> None:
    """A dead route is left at once where another is alive."""
    step = suspected().judge(here=False, elsewhere="leased")
    reason = "silent for 2.5 s after much of an answer, vpn is dead and leased is alive"
    assert step == Release(Cause.DEAD, "leased", 2.5, math.inf, reason)


def test_dead_everywhere() -> None:
    """Where no route is alive the tunnel is held, and probed for again after 2, 4, 8 and then every 15 s."""
    tunnel = suspected()
    for pause in (*DEAD_PAUSES, DEAD_PAUSES[-1], DEAD_PAUSES[-1]):
        step = tunnel.judge(here=False, elsewhere=None)
        assert isinstance(step, Hold)
        assert step.reason.endswith("vpn is dead and no other route is alive")
        assert [type(step) for step in tunnel.looks(pause)] == [Hold] * (int(pause) - 1) + [Probe]
    assert cause_of(tunnel.judge(here=False, elsewhere="leased")) is Cause.DEAD


@pytest.mark.parametrize(
    ("role", "silence"), [(Role.BLOB, 8.5), (Role.UNKNOWN, 8.5), (Role.API, 20.5), (Role.AUTH, 20.5)]
)
def test_stuck_connection(role: Role, silence: float) -> None:
    """Where its route is alive a connection is stuck after 8 s; at api and auth hosts 20 s are waited for."""
    tunnel = suspected(LAYER, role)
    assert isinstance(tunnel.judge(here=True, elsewhere="leased"), Hold)
    assert released_after(tunnel, 30.0) == pytest.approx(silence, abs=1.0)


def test_stuck_connection_takes_its_route_again() -> None:
    """The route of a stuck connection is proven, so the replacement may take it, also where it is the only one."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere=None)
    (step, *_) = tunnel.rests(8.0)
    assert isinstance(step, Release)
    assert (step.cause, step.replacement) == (Cause.STUCK, "vpn")
    reason = "silent for 8.5 s after much of an answer, vpn is alive: this connection alone is stuck, or idle"
    assert step.reason == reason


def test_route_that_comes_back() -> None:
    """A route that was dead everywhere and is alive again leaves a stuck connection."""
    tunnel = suspected()
    for _ in range(4):
        tunnel.judge(here=False, elsewhere=None)
        next(step for step in tunnel.looks(20.0) if isinstance(step, Probe))
    assert cause_of(tunnel.judge(here=True, elsewhere=None)) is Cause.STUCK


def test_a_byte_ends_the_suspicion() -> None:
    """After a byte the verdict is void and silence counts anew."""
    tunnel = suspected()
    tunnel.now += 0.2
    began = tunnel.now
    tunnel.now += 0.2
    tunnel.upstream_sends(BULK)
    tunnel.watch.judged(Verdict(here=False, elsewhere="leased", began=began), now=tunnel.now)
    assert tunnel.look() == Hold("bytes move")
    assert [type(step) for step in tunnel.looks(2.0)] == [Hold, Probe]


def test_a_byte_ends_the_pauses() -> None:
    """After a byte a route is asked about at once again, however often it was found dead before."""
    tunnel = suspected()
    for _ in DEAD_PAUSES:
        tunnel.judge(here=False, elsewhere=None)
        next(step for step in tunnel.looks(20.0) if isinstance(step, Probe))
    tunnel.judge(here=False, elsewhere=None)
    tunnel.upstream_sends(1)
    assert [type(step) for step in tunnel.looks(POLICY.suspect_after)] == [Hold, Probe]
    tunnel.judge(here=False, elsewhere=None)
    assert [type(step) for step in tunnel.looks(DEAD_PAUSES[0])] == [Hold, Probe]


def test_much_of_an_answer_ends_the_rest() -> None:
    """A tunnel that was found well and has moved much since is suspected as soon as any other."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere="leased")
    tunnel.upstream_sends(BULK)
    tunnel.look()
    assert [type(step) for step in tunnel.looks(2.0)] == [Hold, Probe]


def test_older_verdict_does_not_undo_a_newer() -> None:
    """Verdicts of several watches come in any order; the one whose probes began last counts."""
    tunnel = suspected()
    tunnel.watch.judged(Verdict(here=False, elsewhere="leased", began=tunnel.now), now=tunnel.now)
    tunnel.watch.judged(Verdict(here=True, elsewhere=None, began=tunnel.now - 1.0), now=tunnel.now)
    assert cause_of(tunnel.look()) is Cause.DEAD


def test_verdict_of_another_watch() -> None:
    """An idle tunnel on a dead route is released with the one that found it dead, long before it would ask itself."""
    tunnel = answered(MANIFEST)
    assert tunnel.rests(3.0) == []
    assert cause_of(tunnel.judge(here=False, elsewhere="leased")) is Cause.DEAD


def test_verdicts_of_others_do_not_count() -> None:
    """However often others find the route alive, a tunnel asks for itself when a release may follow."""
    tunnel = answered(MANIFEST)
    for _ in range(5):
        tunnel.judge(here=True, elsewhere="leased")
    assert released_after(tunnel, 100.0) == pytest.approx(POLICY.stuck_api_after + 1.0, abs=1.0)


def test_old_verdict() -> None:
    """What probes found is forgotten after a while: no tunnel is released for what may no longer be so."""
    tunnel = suspected()
    assert cause_of(tunnel.judge(here=False, elsewhere="leased")) is Cause.DEAD
    tunnel.now += VERDICT_LASTS
    assert isinstance(tunnel.look(), Probe)


def test_client_that_does_not_read() -> None:
    """However long upstream is silent: while bytes wait for the client, nothing is wanted."""
    tunnel = answered(LAYER)
    tunnel.queued_in = 3000
    for step in tunnel.looks(300.0):
        assert step == Hold("3000 bytes wait for the client to read them")
    assert isinstance(tunnel.judge(here=False, elsewhere="leased"), Hold)


def test_silence_counts_from_when_the_queue_was_empty() -> None:
    """A client that reads again after a long pause gets the time that upstream needs to go on."""
    tunnel = answered(LAYER)
    tunnel.queued_in = 3000
    tunnel.rests(300.0)
    tunnel.queued_in = 0
    tunnel.judge(here=False, elsewhere="leased")
    steps = list(tunnel.looks(POLICY.suspect_after))
    assert [type(step) for step in steps] == [Hold, Probe]
    assert steps[-1].reason.startswith("silent for 2.0 s")


@pytest.mark.parametrize("role", list(Role))
def test_request_on_a_dead_route(role: Role) -> None:
    """A request that waits for its answer over a dead route is given 10 s: not every client repeats it."""
    tunnel = waiting(role=role)
    assert isinstance(tunnel.judge(here=False, elsewhere="leased"), Hold)
    assert released_after(tunnel, 30.0, here=False) == pytest.approx(POLICY.dead_api_after, abs=1.0)


@pytest.mark.parametrize("role", list(Role))
def test_request_on_a_living_route(role: Role) -> None:
    """A server may think for a minute before it answers, but not where layers are only handed out."""
    tunnel = waiting(role=role)
    tunnel.judge(here=True, elsewhere="leased")
    expected = POLICY.stuck_api_after if role is Role.BLOB else LOST_AFTER
    assert released_after(tunnel, 100.0) == pytest.approx(expected + 1.0, abs=1.0)


def test_upload_on_a_living_route() -> None:
    """After an upload a server may check what it got for as long as it takes."""
    tunnel = waiting(BULK)
    tunnel.judge(here=True, elsewhere="leased")
    assert released_after(tunnel, 1000.0) is None


def test_upload_in_parts() -> None:
    """What is sent while the answer is awaited belongs to the same request."""
    tunnel = waiting(BULK // 2)
    tunnel.judge(here=True, elsewhere="leased")
    tunnel.client_sends(BULK // 2)
    assert released_after(tunnel, 1000.0) is None


@pytest.mark.parametrize(("role", "seconds"), [(Role.API, LOST_AFTER), (Role.BLOB, POLICY.stuck_api_after)])
def test_small_answer_on_a_living_route(role: Role, seconds: float) -> None:
    """A tunnel that carried little and is silent for long is given up, though it is most likely idle."""
    tunnel = suspected(MANIFEST, role)
    tunnel.judge(here=True, elsewhere=None)
    assert released_after(tunnel, 100.0) == pytest.approx(seconds + 1.0, abs=1.0)


@pytest.mark.parametrize("size", [MANIFEST, LAYER])
def test_idle_tunnel_costs_three_probes(size: int) -> None:
    """A tunnel whose client cannot bear a release is not asked about for ever."""
    tunnel = answered(size)
    probes = 0
    for step in tunnel.looks(3600.0):
        if isinstance(step, Probe):
            probes += 1
            tunnel.judge(here=True, elsewhere="leased")
    assert probes == 3


def test_new_request_on_an_idle_tunnel() -> None:
    """When an idle tunnel is used again, it is suspected as soon as any other."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere="leased")
    tunnel.client_sends()
    assert [type(step) for step in tunnel.looks(2.0)] == [Hold, Probe]


def test_fits_and_starts() -> None:
    """A tunnel that is found well and falls silent again before it has moved much is not asked about each time."""
    tunnel = answered(LAYER)
    asked = []
    for number, _ in enumerate(tunnel.each_second(600.0)):
        if number % 5 == 0:
            tunnel.upstream_sends(1)
        if isinstance(tunnel.look(), Probe):
            asked.append(tunnel.now)
            tunnel.judge(here=True, elsewhere="leased")
    assert 10 <= len(asked) <= 16
    assert min(later - earlier for earlier, later in pairwise(asked)) >= REST


def test_stall_after_fits_and_starts() -> None:
    """Yet when it falls silent for good it is asked about, and released as any other."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere="leased")
    tunnel.upstream_sends(1)
    assert released_after(tunnel, 30.0) == pytest.approx(POLICY.stuck_after + PROBE_TAKES, abs=1.0)


def test_release_that_is_not_allowed_yet() -> None:
    """While its client cannot bear it, a release is wished for again: when the verdict is new, and after a minute."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere="leased")
    wished = set()
    for step in tunnel.looks(120.0):
        answer = tunnel.judge(here=True, elsewhere="leased") if isinstance(step, Probe) else step
        if isinstance(answer, Release):
            wished.add(int(answer.silence))
    assert {8, 16, 20, 30, 62, 70} <= wished
    assert max(wished) <= LOST_AFTER + VERDICT_LASTS + 1.0


class Trickled(NamedTuple):
    """How a trickle ended."""

    step: Release
    seconds: float
    answer: int


def trickles(
    rate: int, *, faster: float | None, role: Role = Role.BLOB, size: int = BULK, queued_in: int = 0
) -> Trickled | None:
    """How an answer is released in a minute that comes at `rate` bytes a second, where another route does `faster`."""
    tunnel = answered(size, role)
    began = tunnel.now
    tunnel.queued_in = queued_in
    for _ in tunnel.each_second(60.0):
        tunnel.upstream_sends(rate)
        step = tunnel.look()
        if isinstance(step, Probe):
            step = tunnel.judge(here=True, elsewhere="leased", rate=faster)
        if isinstance(step, Release):
            return Trickled(step, tunnel.now - began, tunnel.bytes_in)
    return None


def test_trickle() -> None:
    """After 20 s below 20 kB/s the answer moves to a route that is known to be four times faster."""
    found = trickles(10_000, faster=1_000_000.0)
    assert found is not None
    assert found.seconds == pytest.approx(21.0, abs=2.0)
    assert (found.step.cause, found.step.replacement, found.step.silence) == (Cause.TRICKLE, "leased", 0.0)
    assert found.step.reason.endswith("kB/s over 20 s, leased does 1000.0 kB/s")


@pytest.mark.parametrize(
    ("together", "fastest", "proven", "released"),
    [
        pytest.param(50_000, 1e6, 1e6, True, id="alone, and another does twenty times as much"),
        pytest.param(150_000, 1e6, 1e6, False, id="its route carries three times as much"),
        pytest.param(50_000, 4e5, 4e5, False, id="another does eight times as much"),
        pytest.param(50_000, 1e6, 3e5, False, id="the fast one is not alive, another does six times as much"),
        pytest.param(50_000, 1e6, None, False, id="nothing is known of the one that is alive"),
    ],
)
def test_far_faster_route(*, together: float, fastest: float, proven: float | None, released: bool) -> None:
    """At any pace a layer moves where another route does ten times what all tunnels over its own get together."""
    tunnel = Tunnel(beside=Beside(lambda: False, lambda: together, lambda: fastest))
    tunnel.client_sends()
    tunnel.upstream_sends(BULK)
    steps: list[Step] = []
    for _ in tunnel.each_second(60.0):
        tunnel.upstream_sends(50_000)
        step = tunnel.look()
        steps.append(tunnel.judge(here=True, elsewhere="leased", rate=proven) if isinstance(step, Probe) else step)
    wanted = {(step.cause, step.replacement) for step in steps if isinstance(step, Release)}
    assert wanted == ({(Cause.TRICKLE, "leased")} if released else set())
    assert tunnel.watch.pace == pytest.approx(50_000, rel=0.1)
    assert steps[:15] == [Hold("bytes move")] * 15, "not before its pace is known"


def test_trickles_turned_off() -> None:
    """Where no pace is called a trickle, no route is too slow for its tunnels."""
    watch = Watch("vpn", Role.BLOB, StallPolicy(trickle_rate=0.0), Beside(lambda: False, lambda: 1e3, lambda: 1e9))
    steps = [
        watch.look(now=float(at), bytes_in=BULK + at * 1000, bytes_out=0, last_in=float(at), last_out=0.0, queued_in=0)
        for at in range(60)
    ]
    assert steps == [Hold("bytes move")] * 60


def test_gain_of_a_trickle() -> None:
    """As much is expected to come as has come: here at the pace of late, there at what the other route does."""
    found = trickles(10_000, faster=1_000_000.0)
    assert found is not None
    rate = float(found.step.reason.split()[0]) * 1000
    assert found.step.gain == pytest.approx(found.answer / rate - found.answer / 1_000_000, rel=0.01)


@pytest.mark.parametrize(("rate", "faster"), [(21_000, 1_000_000.0), (10_000, 36_000.0), (10_000, None)])
def test_no_trickle(rate: int, faster: float | None) -> None:
    """Nothing is released at 20 kB/s and above, nor for a route that is not four times faster or not known to be."""
    assert trickles(rate, faster=faster) is None


def test_trickle_to_a_client_that_reads_slowly() -> None:
    """The pace of a client that does not read is its own."""
    assert trickles(10_000, faster=1_000_000.0, queued_in=100_000) is None


def test_pace_of_a_client_that_has_caught_up() -> None:
    """The time in which a client set the pace is not held against the route."""
    tunnel = answered(BULK)
    for number, _ in enumerate(tunnel.each_second(POLICY.trickle_window * 2 - 1.0)):
        tunnel.upstream_sends(10_000)
        tunnel.queued_in = 100_000 if number < POLICY.trickle_window else 0
        assert isinstance(tunnel.look(), Hold)


@pytest.mark.parametrize(("role", "released"), [(Role.BLOB, True), (Role.API, False), (Role.UNKNOWN, False)])
def test_trickle_of_a_small_answer(role: Role, released: bool) -> None:
    """What comes so slowly that it is not yet much is a body at blob hosts alone."""
    assert (trickles(1_000, faster=1_000_000.0, role=role, size=1) is not None) is released


def test_trickle_of_much_at_an_api_host() -> None:
    """An API host that sends much sends a blob."""
    assert trickles(10_000, faster=1_000_000.0, role=Role.API) is not None


def test_pauses_between_requests_are_no_trickle() -> None:
    """Small answers to one request after another are as slow as their client asks."""
    tunnel = answered(BULK)
    for _ in tunnel.each_second(60.0):
        tunnel.client_sends()
        tunnel.upstream_sends(MANIFEST)
        assert tunnel.look() == Hold("bytes move")


def test_bytes_on_their_way_are_no_queue() -> None:
    """A few unacknowledged bytes now and then do not hide a trickle."""
    tunnel = answered(BULK)
    steps: list[Step] = []
    for _ in tunnel.each_second(40.0):
        tunnel.upstream_sends(10_000)
        tunnel.queued_in = 1_400 if tunnel.now % 3 < 1 else 0
        steps.append(tunnel.look())
    assert any(isinstance(step, Probe) for step in steps)


def test_long_trickle_is_asked_about_seldom() -> None:
    """A trickle that nothing can be done about costs a probe in 40 s."""
    tunnel = answered(BULK)
    probes = 0
    for _ in tunnel.each_second(600.0):
        tunnel.upstream_sends(10_000)
        if isinstance(tunnel.look(), Probe):
            probes += 1
            assert isinstance(tunnel.judge(here=True, elsewhere=None), Hold)
    assert 10 <= probes <= 16


def test_trickle_that_ends() -> None:
    """Once it flows again, no old slowness is held against it."""
    tunnel = answered(BULK)
    for _ in tunnel.each_second(120.0):
        tunnel.upstream_sends(10_000)
        if isinstance(tunnel.look(), Probe):
            tunnel.judge(here=True, elsewhere="leased")
    for number, _ in enumerate(tunnel.each_second(30.0)):
        tunnel.upstream_sends(100_000)
        step = tunnel.look()
        assert number < 5 or step == Hold("bytes move")


def test_connections_that_stand_still_together() -> None:
    """Over a route that answers little, all tunnels that stand still are released as soon as another route is alive."""
    others_move = True
    watch = Watch("vpn", Role.BLOB, StallPolicy(), ALONE._replace(still_together=lambda: not others_move))
    seen: dict[str, Any] = {"bytes_in": BULK, "bytes_out": 600, "last_in": 0.0, "last_out": -1.0, "queued_in": 0}
    watch.look(now=0.0, **seen)
    assert watch.stands_still
    assert not watch.is_idle
    assert isinstance(watch.look(now=2.0, **seen), Probe)
    watch.judged(Verdict(here=True, elsewhere="leased", began=2.0), now=2.5)
    assert isinstance(watch.look(now=2.5, **seen), Hold)
    others_move = False
    step = watch.look(now=3.0, **seen)
    assert isinstance(step, Release)
    assert (step.cause, step.replacement) == (Cause.STUCK, "leased")


def test_request_on_a_connection_that_was_used_before() -> None:
    """Go repeats it by itself, so a dead route is not waited for; the first request of a connection gets 10 s."""
    for asked_at, released in ((0.5, False), (5.0, True)):
        watch = Watch("vpn", Role.API, StallPolicy())
        quiet: dict[str, Any] = {"bytes_in": 900, "last_in": 0.0, "queued_in": 0}
        watch.look(now=0.0, bytes_out=88, last_out=0.1, **quiet)
        assert watch.is_idle, "the end of a handshake asks for nothing"
        watch.look(now=asked_at, bytes_out=500, last_out=asked_at, **quiet)
        assert not watch.is_idle
        now = asked_at + 2.5
        assert isinstance(watch.look(now=now, bytes_out=500, last_out=asked_at, **quiet), Probe)
        watch.judged(Verdict(here=False, elsewhere="leased", began=now), now=now + 0.5)
        step = watch.look(now=now + 0.5, bytes_out=500, last_out=asked_at, **quiet)
        assert isinstance(step, Release) is released


def test_idle_tunnel_may_sleep_until_something_is_due() -> None:
    """Until it is suspected, then until the route's life is old news, then until it is given up, then for ever."""
    tunnel = answered(MANIFEST, Role.API)
    began = tunnel.now
    assert tunnel.watch.next_step_at(tunnel.now) == pytest.approx(began + POLICY.dead_api_after, abs=0.02)
    tunnel.now = began + POLICY.dead_api_after
    assert isinstance(tunnel.look(), Probe)
    assert isinstance(tunnel.judge(here=True, elsewhere="leased"), Hold)
    old_news = began + POLICY.dead_api_after + VERDICT_LASTS
    assert tunnel.watch.next_step_at(tunnel.now) == pytest.approx(old_news, abs=0.02)
    tunnel.now = began + 2 * LOST_AFTER
    assert tunnel.watch.next_step_at(tunnel.now) == math.inf


def test_time_without_looks_is_no_silence() -> None:
    """After a sleep of an hour a layer is suspected as if it had just fallen silent, by a probe of its own."""
    tunnel = suspected()
    tunnel.judge(here=True, elsewhere="direct")
    tunnel.now += 3600.0
    tunnel.watch.woke(now=tunnel.now)
    assert isinstance(tunnel.look(), Hold)
    steps = tunnel.rests(POLICY.suspect_after)
    assert [type(step) for step in steps] == [Probe]
    assert isinstance(tunnel.judge(here=True, elsewhere="direct"), Hold)


def test_a_sleep_makes_no_trickle() -> None:
    """What came before it and what comes after are not divided by its length."""
    tunnel = answered(LAYER)
    for _ in tunnel.looks(POLICY.trickle_window + 5):
        tunnel.upstream_sends(200_000)
    tunnel.now += 600.0
    tunnel.watch.woke(now=tunnel.now)
    for step in tunnel.looks(POLICY.trickle_window):
        assert isinstance(step, Hold)
        tunnel.upstream_sends(200_000)


def test_what_its_client_bears_over_a_dead_route() -> None:
    """A release at once, but for a request that waits: a first one for long, a repeated one for a moment."""
    assert answered(LAYER).watch.bears_release_after == 0.0
    first = waiting()
    first.look()
    assert first.watch.bears_release_after == POLICY.dead_api_after
    later = answered(MANIFEST, Role.API)
    list(later.looks(5))
    later.client_sends()
    later.look()
    assert later.watch.bears_release_after == POLICY.suspect_after
