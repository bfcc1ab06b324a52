"""The rules of stalls, held against any order of bytes, queues, pauses and verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from towline.core.inquiry import DEAD_PAUSES
from towline.core.policy import StallPolicy
from towline.core.stall import (
    ALONE,
    BULK,
    HANDSHAKE_END,
    MAX_ALIVE,
    REUSED_AFTER,
    VERDICT_LASTS,
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
ROLES = st.sampled_from(Role)
SIZES = st.sampled_from([1, 500, 5_000, BULK, 20 * BULK])
HERE, ELSEWHERE = "vpn", "leased"
ROUNDING = 1e-6  # seconds


class WatchMachine(RuleBasedStateMachine):
    """Plays a tunnel, the prober and the caller, and remembers by itself what happened when."""

    @initialize(role=ROLES)
    def begin(self, role: Role) -> None:
        """A tunnel begins to relay."""
        self.role = role
        self.still_together = False
        self.watch = Watch(HERE, role, POLICY, ALONE._replace(still_together=lambda: self.still_together))
        self.now = 1000.0
        self.bytes_in = self.bytes_out = self.queued_in = 0
        self.last_in = self.last_out = self.emptied_at = self.now
        self.asked_at: float | None = None  # when the probe was asked for that has no verdict yet
        self.newest: Verdict | None = None
        self.pause_until = 0.0
        self.alive_in_a_row = 0
        self.born: float | None = None  # when the first look was
        self.request_at = self.now  # when a look first saw the request that waits, or waited last
        self.seen_out = HANDSHAKE_END
        self.waited = False

    def moves(self) -> None:
        """Something moves: what was found before is void."""
        self.pause_until = 0.0
        self.alive_in_a_row = 0

    @rule(still=st.booleans())
    def others_change(self, still: bool) -> None:
        """Other tunnels over the route come to a standstill, or move again."""
        self.still_together = still

    @rule(size=SIZES)
    def upstream_sends(self, size: int) -> None:
        """Bytes come from upstream."""
        self.moves()
        self.bytes_in += size
        self.last_in = self.now

    @rule(size=SIZES)
    def client_sends(self, size: int) -> None:
        """Bytes come from the client."""
        self.moves()
        self.bytes_out += size
        self.last_out = self.now

    @rule(size=st.integers(1, 10 * BULK))
    def client_stops_reading(self, size: int) -> None:
        """Bytes wait for the client, and a look sees it."""
        self.queued_in = size
        self.check(self.look())

    @precondition(lambda self: self.queued_in)
    @rule()
    def client_reads(self) -> None:
        """The client takes what waited."""
        self.moves()
        self.queued_in = 0
        self.emptied_at = self.now

    @rule(seconds=st.floats(0.1, 3.0), times=st.integers(1, 30))
    def time_passes(self, seconds: float, times: int) -> None:
        """The caller looks again and again, at even intervals."""
        for _ in range(times):
            self.now += seconds
            self.check(self.look())

    @precondition(lambda self: self.asked_at is not None)
    @rule(
        here=st.booleans(),
        elsewhere=st.booleans(),
        rate=st.none() | st.floats(1.0, 1e7),
        seconds=st.floats(0.0, 5.0),
    )
    def probe_ends(self, here: bool, elsewhere: bool, rate: float | None, seconds: float) -> None:
        """The verdict comes that was asked for; what moved meanwhile was looked at before."""
        assert self.asked_at is not None
        self.now += seconds
        self.check(self.look())
        if here:
            self.alive_in_a_row += 1
        else:
            self.pause_until = self.now + min(DEAD_PAUSES)
        began, self.asked_at = self.asked_at, None
        self.judge(Verdict(here, ELSEWHERE if elsewhere else None, began, rate))

    @precondition(lambda self: self.asked_at is None)
    @rule(here=st.booleans(), elsewhere=st.booleans(), age=st.floats(0.0, 20.0))
    def verdict_of_another(self, here: bool, elsewhere: bool, age: float) -> None:
        """Another watch had the same host probed over the same routes."""
        self.judge(Verdict(here, ELSEWHERE if elsewhere else None, self.now - age))

    def judge(self, verdict: Verdict) -> None:
        """Pass a verdict on, and look at once."""
        if self.newest is None or verdict.began >= self.newest.began:
            self.newest = verdict
        self.watch.judged(verdict, now=self.now)
        self.check(self.look())

    @property
    def waits(self) -> bool:
        """The client sent last, and more than the end of its handshake."""
        return self.last_out > self.last_in and self.bytes_out > HANDSHAKE_END

    def look(self) -> Step:
        """Look at the tunnel as it is."""
        self.born = self.now if self.born is None else self.born
        if self.bytes_out > self.seen_out and not self.waited:
            self.request_at = self.now
        self.seen_out, self.waited = max(self.seen_out, self.bytes_out), self.waits
        step = self.watch.look(
            now=self.now,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            last_in=self.last_in,
            last_out=self.last_out,
            queued_in=self.queued_in,
        )
        note(f"{self.now:.2f}: {step}")
        return step

    def check(self, step: Step) -> None:
        """Whatever is wanted is right."""
        assert step.reason
        if self.queued_in:
            assert isinstance(step, Hold), "a client that does not read is never released, nor probed for"
        elif isinstance(step, Probe):
            self.check_probe()
        elif isinstance(step, Release):
            self.check_release(step)

    def check_probe(self) -> None:
        """One probe at a time, with pauses, and not for ever where the route is alive."""
        assert self.asked_at is None
        assert self.now >= self.pause_until - ROUNDING
        assert self.alive_in_a_row < MAX_ALIVE
        self.asked_at = self.now

    def check_release(self, step: Release) -> None:
        """A release has a living replacement, for all that is known, and what it is for has happened."""
        assert self.newest is not None
        assert self.now - self.newest.began <= VERDICT_LASTS
        silence = self.now - max(self.last_in, self.last_out, self.emptied_at)
        assert step.silence <= silence + ROUNDING
        if step.cause is Cause.TRICKLE:
            assert step.replacement == self.newest.elsewhere
            assert self.newest.rate is not None
            assert self.now - self.last_out >= POLICY.trickle_window - ROUNDING
            assert self.bytes_in > 0
            assert step.gain > 0
            return
        assert self.newest.began >= max(self.last_in, self.last_out), "what was found before the silence is void"
        together = self.newest.here and self.still_together and step.replacement == ELSEWHERE
        if step.cause is Cause.DEAD or together:
            assert together or not self.newest.here
            assert step.replacement == self.newest.elsewhere
            assert self.born is not None
            first_request = self.waits and self.request_at - self.born <= REUSED_AFTER
            assert step.silence >= (POLICY.dead_api_after if first_request else POLICY.suspect_after)
        else:
            assert self.newest.here
            assert step.replacement == HERE
            is_api = self.role in (Role.API, Role.AUTH)
            assert step.silence >= (POLICY.stuck_api_after if is_api else POLICY.stuck_after)

    @rule(size=SIZES, here=st.booleans(), takes=st.integers(1, 5))
    def stalls_for_good(self, size: int, here: bool, takes: int) -> None:
        """Whatever was before: bytes come, then none for ever while another route is alive. It is released in time."""
        if self.queued_in:
            self.client_reads()
        self.now += 1.0
        self.upstream_sends(size)
        for _ in range(120):
            self.now += 1.0
            step = self.look()
            if self.asked_at is not None and self.now - self.asked_at >= takes:
                began, self.asked_at = self.asked_at, None
                self.judge(Verdict(here, ELSEWHERE, began))
                step = self.look()
            if isinstance(step, Probe):
                self.asked_at = self.now
            if isinstance(step, Release):
                return
        raise AssertionError("it hangs for ever")


WatchMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestWatch = WatchMachine.TestCase


def idle_for(seconds: float, verdicts: list[Verdict], role: Role, *, often: bool) -> list[tuple[float, str]]:
    """What is wanted, and when, of a tunnel that idles: looked at twice a second, or only when it has to be."""
    watch = Watch(HERE, role, POLICY)
    now, end, next_look = 0.0, seconds, 0.5
    rest = list(verdicts)
    judged_at = math.inf
    wanted: list[tuple[float, str]] = []
    while (now := min(next_look, judged_at)) <= end:
        if now >= judged_at:
            judged_at = math.inf
            watch.judged(replace(rest.pop(0) if rest else verdicts[-1], began=now - 0.2), now=now)
        step = watch.look(now=now, bytes_in=5_000, bytes_out=500, last_in=0.2, last_out=0.1, queued_in=0)
        if isinstance(step, Probe):
            judged_at = now + 0.2
        if not isinstance(step, Hold) and (not wanted or wanted[-1][1] != type(step).__name__):
            wanted.append((now, type(step).__name__))
        asleep = isinstance(step, Hold) and watch.is_idle and not often
        next_look = watch.next_step_at(now) if asleep else now + 0.5
    return wanted


@given(
    role=ROLES,
    verdicts=st.lists(
        st.builds(Verdict, here=st.booleans(), elsewhere=st.sampled_from([None, ELSEWHERE]), began=st.just(0.0)),
        min_size=1,
        max_size=8,
    ),
)
def test_an_idle_tunnel_may_sleep(role: Role, verdicts: list[Verdict]) -> None:
    """Looked at only when time may have changed something, it is probed and released as if it were looked at always."""
    often = idle_for(200.0, verdicts, role, often=True)
    seldom = idle_for(200.0, verdicts, role, often=False)
    assert often
    for (at, wanted), (seldom_at, seldom_wanted) in zip(often, seldom, strict=False):
        assert wanted == seldom_wanted
        assert abs(at - seldom_at) <= 0.5 * (1 + len(often))
    assert abs(len(often) - len(seldom)) <= 1
