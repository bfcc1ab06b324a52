"""When to release a tunnel: a stall is told from a slow reader, a dead route from a stuck connection.

One Watch for each tunnel that relays. Now and then it takes a `look` at the counters and says what to do next.
What probes found comes in by `judged`; a look right after it loses no time.

    look, judged   ->   Hold | Probe | Release

A tunnel is silent while nothing moves on it and nothing is queued toward its client. What silence means depends on what
was said last, and there is only ciphertext to tell that from:

    so far                             probe at   route dead, another alive   route alive
    64 KiB of an answer came           2 s        release                     release at 8 s (api, auth: 20 s)
    the client sent last               2 s        release at 10 s (1)         release at 60 s (2) (uploads: never)
    less came: idle, or cut early      10 s       release                     release at 60 s (2)

    (1) at 2 s on a connection that was used before: Go repeats such a request by itself (clients.md 0 fact 9)
    (2) at blob hosts at 20 s: they hand out what they have, and need no time to think about it

Several connections over one route that stand still together are not stuck each for itself: little passes, much does
not, as through a hole for large packets. They are treated as over a dead route, where another one is alive.

With no route alive: hold, and probe again. A whole answer looks like one that is stuck: releasing its idle tunnel costs
the client nothing (clients.md 0 fact 9). An answer that trickles is released where another route is alive and known to
be several times faster; one that does not, where another is far faster than all that the host sends over its own route
now. A Release is a wish: core/releases.py knows what the client can bear.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from towline.core.inquiry import Inquiry
from towline.core.pace import Pace
from towline.core.policy import StallPolicy
from towline.types import Role

BULK = 65536
"""Bytes of one answer from which on it is taken for a body that is still coming, and of one request from which on it is
an upload. Handshakes, tokens and manifests stay below, and with them the idle tunnels that carried nothing else; no
layer whose loss would matter does. Our choice."""
LOST_AFTER = 60.0
"""Seconds of silence that nothing explains any more: gateways give a server as long to answer, dockerd and containerd
close idle tunnels after 30 s (clients.md A.7), and by then a client has had the time it needs between two releases
(releases.py)."""
HANDSHAKE_END = 128
"""Bytes of a client that ask for nothing: the end of its TLS handshake takes 64 to 88 (RFC 8446 4.4.4), the least
request more. Go keeps connections that got no further, for later requests."""
REUSED_AFTER = 3.0
"""Seconds after a tunnel's first look from which on a new request is not its first: that follows the handshake."""
FAR_FASTER = 10.0
"""Times that another route is faster than a whole route has become, from which on it is worth a release at any pace:
what is measured of routes differs from one minute to the next by less (faults.md B.1); our choice."""
VERDICT_LASTS = 15.0
"""Seconds, from the beginning of its probes, for which a verdict is acted upon; our choice, as are the pauses."""
MAX_ALIVE = 3
"""Verdicts that may find a route alive in one silence: there is no end to the silence of an idle tunnel."""
MOMENT = 0.01
"""Seconds after which a bound has passed for certain, whatever the last digit of a float says."""


class Cause(StrEnum):
    """Why a tunnel is to be released."""

    DEAD = "dead route"
    GONE = "way out gone"
    """This machine lost the interface or the address that it left by: dead for certain, and no fault of the route."""
    STUCK = "stuck connection"
    TRICKLE = "trickle"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What probes of one host found: over the route of a tunnel, and over the next best ones."""

    here: bool
    """The tunnel's own route is alive."""
    elsewhere: str | None
    """The best other route that is alive."""
    began: float
    """When the first of the probes began: of what happened later they may not know."""
    rate: float | None = None
    """Bytes a second that `elsewhere` is known to deliver; None without evidence."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe the tunnel's host over its route and the next best, and have one verdict `judged`, whatever comes of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """End the tunnel if its client can bear it, once `replacement` is pinned for the host."""

    cause: Cause
    replacement: str
    """A route that was found alive: the tunnel's own where the connection alone is stuck."""
    silence: float
    """Seconds."""
    gain: float
    """Seconds that the client is expected to save; infinite where nothing more would come."""
    reason: str


type Step = Hold | Probe | Release


class Beside(NamedTuple):
    """What is known of a tunnel's host beside the tunnel itself, each as of now."""

    still_together: Callable[[], bool]
    """Do several tunnels to the host over its route stand still? Each is silent after much of an answer, none moves."""
    pace_together: Callable[[], float]
    """Bytes a second of all tunnels to the host over its route."""
    fastest: Callable[[], float]
    """Bytes a second that the fastest other route is known to deliver from the host's registry; 0 without evidence."""


ALONE = Beside(lambda: False, lambda: math.inf, lambda: 0.0)
"""Nothing is known."""


class _Patience(NamedTuple):
    """A line of the table above: when a tunnel fell silent, and the seconds until each step."""

    when: str
    probe: float
    dead: float
    alive: float


class Watch:
    """Watches one tunnel. All times are on the caller's clock, in seconds."""

    def __init__(self, route: str, role: Role, policy: StallPolicy, beside: Beside = ALONE) -> None:
        """`beside` is asked where it decides."""
        self._route = route
        self._role = role
        self._policy = policy
        self._beside = beside
        self._pace = Pace(policy.trickle_window)
        self._inquiry = Inquiry()
        self._verdict: Verdict | None = None
        self._bytes_in = self._bytes_out = 0
        self._answer_from = 0  # bytes_in when the answer under way began
        self._request_from = 0  # bytes_out when the request before it began
        self._asked_from = 0  # bytes_in when a probe was last asked for
        self._born: float | None = None  # when the first look was
        self._asked_at = 0.0  # when the request under way began
        self._waits = False  # the client sent last: its request waits for an answer
        self._emptied_at = -math.inf  # when nothing was queued any more; inf while something is
        self._since = -math.inf  # when it fell silent
        self._woke_at = -math.inf  # when it was last looked at again after a time without looks

    def judged(self, verdict: Verdict, *, now: float) -> None:
        """Take what probes found: those asked for, or another watch's of the same host and route."""
        self._inquiry.judged(alive=verdict.here, now=now)
        if self._verdict is None or verdict.began >= self._verdict.began:
            self._verdict = verdict

    def woke(self, *, now: float) -> None:
        """Nobody looked for long, since the machine slept or this process was stopped: that time was no silence."""
        self._woke_at = now
        self._pace.restart()

    def look(
        self, *, now: float, bytes_in: int, bytes_out: int, last_in: float, last_out: float, queued_in: int
    ) -> Step:
        """Say what to do now.

        `bytes_in` and `last_in` are how many bytes came from upstream so far and when the last of them did; `bytes_out`
        and `last_out` are the client's; `queued_in` is what the client has yet to acknowledge, in bytes.
        """
        self._born = now if self._born is None else self._born
        self._note(now, bytes_in, bytes_out, queued_in)
        self._waits = last_out > last_in and bytes_out > HANDSHAKE_END
        if queued_in:
            self._emptied_at = math.inf
            return Hold(f"{queued_in} bytes wait for the client to read them")
        self._emptied_at = min(self._emptied_at, now)
        since = max(last_in, last_out, self._emptied_at, self._woke_at)
        if since > self._since:
            self._since = since
            self._inquiry.silence_ended()
        return self._moving(now) if now - since < self._policy.suspect_after else self._silent(now)

    def _note(self, now: float, bytes_in: int, bytes_out: int, queued_in: int) -> None:
        """Take in what moved since the last look."""
        arrived = bytes_in - self._bytes_in
        spoke = bytes_out > max(self._bytes_out, HANDSHAKE_END)
        is_new_request = spoke and not self._waits  # as the last look saw it
        if spoke:
            self._answer_from = self._bytes_in
        if is_new_request:
            self._request_from = self._bytes_out
            self._asked_at = now
        # Some bytes are always on their way to a client that reads. A queue of more than came in a whole look is one
        # that does not keep up: the pace is the client's then, and so it is between an answer and the next request.
        if spoke or (queued_in and queued_in >= arrived):
            self._pace.restart()
        self._pace.note(now, bytes_in)
        if is_new_request or (bytes_in - self._asked_from >= BULK and not self._is_slow()):
            self._inquiry.end_rest()
        self._bytes_in, self._bytes_out = bytes_in, bytes_out

    def next_step_at(self, now: float) -> float:
        """When time alone may change what a look says, if nothing moves and no verdict comes; infinity for never.

        Of a tunnel that is idle: of others it changes with what their clients read. Rather too early than too late.
        """
        patience, verdict, since = self._patience(), self._verdict, self._since
        is_judged = verdict is not None and verdict.began >= since
        bounds = (patience.dead if is_judged else patience.probe, patience.alive, LOST_AFTER)
        times = [*(since + seconds for seconds in bounds), *self._inquiry.next_times]
        if verdict is not None:
            times.append(verdict.began + VERDICT_LASTS)
        return min((time + MOMENT for time in times if time + MOMENT > now), default=math.inf)

    @property
    def bears_release_after(self) -> float:
        """Seconds of silence after which its client bears a release over a dead route, as of the last look."""
        return self._patience().dead if self._waits else 0.0

    @property
    def is_idle(self) -> bool:
        """As of the last look: nothing waits for its client, it waits for nothing, and no body is on its way."""
        return not self._waits and self._answer < BULK and self._emptied_at < math.inf

    @property
    def stands_still(self) -> bool:
        """As of the last look: much of an answer has come, and nothing waits for its client."""
        return self._answer >= BULK and self._emptied_at < math.inf

    @property
    def pace(self) -> float:
        """Bytes a second over the last `trickle_window` of an answer, as of the last look; 0 while that is not full."""
        return self._pace.rate

    @property
    def _answer(self) -> int:
        """Bytes that came since the client sent."""
        return self._bytes_in - self._answer_from

    def _is_slow(self) -> bool:
        return 0 < self._pace.rate < self._policy.trickle_rate

    def _moving(self, now: float) -> Step:
        """The step for a tunnel that is not silent: its answer may trickle."""
        is_body = self._answer >= BULK or self._role is Role.BLOB
        rate, policy = self._pace.rate, self._policy
        is_slow = self._is_slow()
        if not (is_body and rate and (is_slow or self._is_left_behind(self._beside.fastest()))):
            return Hold("bytes move")
        what = f"{rate / 1000:.1f} kB/s over {policy.trickle_window:g} s"
        verdict = self._fresh_verdict(now)
        if verdict is None:
            return self._ask(what) if self._inquiry.may_ask(now) and self._inquiry.has_rested(now) else Hold(what)
        other = verdict.rate or 0.0
        if verdict.elsewhere and (other >= policy.trickle_factor * rate if is_slow else self._is_left_behind(other)):
            # How much is still to come is not known. As much again as has come is the guess that needs no knowledge of
            # layers: it is too high as often as too low.
            gain = self._answer / rate - self._answer / other
            reason = f"{what}, {verdict.elsewhere} does {other / 1000:.1f} kB/s"
            return Release(Cause.TRICKLE, verdict.elsewhere, 0.0, gain, reason)
        factor = policy.trickle_factor if is_slow else FAR_FASTER
        return Hold(f"{what}, and no other route is alive and known to be {factor:g} times faster")

    def _is_left_behind(self, other: float) -> bool:
        """Whether `other` bytes a second are far more than this tunnel, and all those with it, get over their route."""
        rate = self._pace.rate if self._policy.trickle_rate else 0.0
        return 0 < FAR_FASTER * rate <= other and FAR_FASTER * self._beside.pace_together() <= other

    def _silent(self, now: float) -> Step:
        """The step for a tunnel that is silent."""
        silence = now - self._since
        patience = self._patience()
        what = f"silent for {silence:.1f} s {patience.when}"
        verdict = self._fresh_verdict(now)
        if verdict is None or verdict.began < self._since:
            return self._ask(what) if self._is_probe_due(silence, patience, now) else Hold(what)
        if verdict.here:
            what += f", {self._route} is alive"
            if verdict.elsewhere and silence >= patience.dead and self._beside.still_together():
                what += f" for little, but all tunnels over it stand still, and {verdict.elsewhere} is alive"
                return Release(Cause.STUCK, verdict.elsewhere, silence, math.inf, what)
            if silence >= patience.alive:
                reason = f"{what}: this connection alone is stuck, or idle"
                return Release(Cause.STUCK, self._route, silence, math.inf, reason)
            return Hold(what)
        what += f", {self._route} is dead and {verdict.elsewhere or 'no other route'} is alive"
        if verdict.elsewhere and silence >= patience.dead:
            return Release(Cause.DEAD, verdict.elsewhere, silence, math.inf, what)
        return self._ask(what) if self._inquiry.may_ask(now) else Hold(what)

    def _is_probe_due(self, silence: float, patience: _Patience, now: float) -> bool:
        """Whether there is something to be gained from a verdict.

        Early, to find a dead route. Again when a living one would be reason enough for a release, if that verdict has
        become old: the client could not bear it. A last time when it can, if only time is needed.
        """
        inquiry = self._inquiry
        early = silence >= patience.probe and inquiry.alive < 1 and inquiry.has_rested(now)
        again = silence >= patience.alive and inquiry.alive < MAX_ALIVE - 1
        last = silence >= LOST_AFTER and inquiry.alive < MAX_ALIVE
        return inquiry.may_ask(now) and (early or again or last)

    def _patience(self) -> _Patience:
        policy = self._policy
        lost_after = policy.stuck_api_after if self._role is Role.BLOB else LOST_AFTER
        if self._waits:
            uploads = self._bytes_out - self._request_from >= BULK
            alive = math.inf if uploads else lost_after
            reused = self._born is not None and self._asked_at - self._born > REUSED_AFTER
            dead = policy.suspect_after if reused else policy.dead_api_after
            return _Patience("with a request unanswered", policy.suspect_after, dead, alive)
        if self._answer < BULK:
            return _Patience("after a small answer", policy.dead_api_after, policy.suspect_after, lost_after)
        is_api = self._role in (Role.API, Role.AUTH)
        stuck_after = policy.stuck_api_after if is_api else policy.stuck_after
        return _Patience("after much of an answer", policy.suspect_after, policy.suspect_after, stuck_after)

    def _fresh_verdict(self, now: float) -> Verdict | None:
        verdict = self._verdict
        return verdict if verdict and now - verdict.began < VERDICT_LASTS else None

    def _ask(self, reason: str) -> Probe:
        self._inquiry.asked()
        self._asked_from = self._bytes_in
        return Probe(reason)
