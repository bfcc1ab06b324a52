"""Watches the tunnels that relay: releases those whose route is dead or that are stuck, and learns from those cut.

The decisions are core/stall.py's (what is a stall?) and core/releases.py's (what can the client bear?). This looks at
every relay's counters (looks.py says when), probes (net/alive.py), asks who the client is (net/process.py), and acts:

    look -> Probe    the tunnel's host over its route and the next best ones; one probe serves all tunnels that ask
         -> Release  FIN to the client (RST for the few that want it), the route's failure in the ledger before that,
                     so that the client, which may be back in the same millisecond, finds another route
    a cut           (upstream reset, or FIN without close_notify in the middle of an answer) teaches the same
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from towline.core.clients import ClientKind, Identity
from towline.core.ledger import Ledger, Tunnel
from towline.core.policy import StallPolicy
from towline.core.releases import Past, Releases, may_release
from towline.core.stall import BULK, Beside, Cause, Hold, Probe, Release, Verdict, Watch
from towline.core.stranded import Stranded
from towline.looks import Looks
from towline.net.dialer import Dialer
from towline.net.ends import End
from towline.net.flight import Flown
from towline.net.leg import HURRIED
from towline.net.process import processes_of
from towline.net.relay import Relay
from towline.probing import Probing
from towline.types import Address, Target
from towline.watched import Watched, pace_together, stand_still_together

log = structlog.get_logger("towline")

EXCUSED = HURRIED + 1.0  # seconds after a sleep or a change of the network in which no cut is the fault of its route
MAX_STUCK = 1024  # clients and targets that are remembered with the route that they were stuck on
AGAIN = (0.3, 0.8)
"""Seconds after the end of a tunnel at which its client's other ones are looked at again: before containers/image is
back, which waits for 1 s (clients.md A.2)."""


@dataclass(slots=True)
class Watching:
    """Watches every tunnel of one Service. `close()` before the loop ends."""

    ledger: Ledger
    policy: Callable[[], StallPolicy]
    """Gives what the present configuration has."""
    probing: Probing
    _releases: Releases = field(default_factory=Releases)
    _looks: Looks = field(init=False)
    _tasks: dict[tuple[Dialer | None, Target], asyncio.Task[None]] = field(default_factory=dict)
    """Probes under way, by way out and target."""
    _unknown: list[Watched] = field(default_factory=list)
    """Those whose client's process is to be found."""
    _search: asyncio.Task[None] | None = None
    _stuck: dict[tuple[str, Target], tuple[str, float]] = field(default_factory=dict)
    """Client and target -> the route of their last tunnel that was released as stuck, and how long it stood still."""

    _excused_until: float = -math.inf  # what is cut until then is no fault of its route

    def __post_init__(self) -> None:
        self._looks = Looks(self._look, self.woke)

    def opened(self, tunnel: Tunnel, client: str, ends: tuple[Address, Address]) -> Watched:
        """A client asks for a tunnel: remember who, and what its layer may have been through."""
        now = asyncio.get_running_loop().time()
        past = self._releases.opened(client, tunnel.target.host, now=now)
        self._blame_if_back(tunnel, client, past, now)
        return Watched(tunnel, client, ends, past)

    def _blame_if_back(self, tunnel: Tunnel, client: str, past: Past, now: float) -> None:
        """A client that is back as one that was interrupted had not finished: the route it was stuck on is at fault."""
        if not past.returned:
            return
        route, lost = self._stuck.pop((client, tunnel.target), (None, 0.0))
        if route is None:
            return
        self.ledger.failovers["release"] += 1
        self.ledger.broke(route, tunnel, "stood still in the middle of an answer", lost=lost, now=now)

    def relaying(self, watched: Watched, relay: Relay, flown: Flown, dialer: Dialer) -> None:
        """The tunnel's route is pinned and its bytes begin to move: watch it from now on."""
        watched.dialer, watched.raced = dialer, bool(flown.attempts)
        tunnel = watched.tunnel
        watched.relay, watched.tls, watched.http2 = relay, flown.tls, flown.http2
        beside = Beside(
            lambda: stand_still_together(watched, self._looks, suspect_after=self.policy().suspect_after),
            lambda: pace_together(watched, self._looks),
            partial(self.ledger.fastest_other, tunnel),
        )
        watched.watch = Watch(flown.route, tunnel.classification.role, self.policy(), beside)
        self._looks.add(watched)

    def ended(self, watched: Watched, end: End) -> None:
        """The relay's first end, before its client knows of it (Relay's `on_end`)."""
        if end is not End.CLIENT_FIN:  # nothing more comes from upstream: there is nothing left to watch
            self._looks.drop(watched)
        if end is End.RELEASED:  # by this, or because it is to go (leaving.py): that says nothing of its route
            return
        now = asyncio.get_running_loop().time()
        relay = watched.relay
        if relay is None:
            return
        self._looks.notice_sleep()
        if watched.is_cut(end, now=now):
            self._cut(watched, relay, end, now)
        elif relay.bytes_in and not watched.raced:  # a raced flight has told so already
            self.ledger.alive(watched.tunnel.route or "", watched.tunnel, now=now)
        self._learn(watched, relay, now)

    def _cut(self, watched: Watched, relay: Relay, end: End, now: float) -> None:
        """An end that is the route's fault: known before the client can be back."""
        tunnel = watched.tunnel
        error = f"{end} after {relay.bytes_in} bytes"
        if now < self._excused_until:
            self.ledger.failovers["release"] += 1
            error += ", after a sleep or a change of the network"
        else:
            self.ledger.cut(tunnel, error, now=now)
        self._stuck.pop((watched.client, tunnel.target), None)  # it is back because of this
        self._ended_early(watched, relay, now)
        who = self._identity(watched)
        self._let_go_of_idle(watched, of_all=False)
        log.info(
            "cut", target=str(tunnel.target), route=tunnel.route, why=error, client=f"{watched.client} ({who.kind})"
        )
        if who.certain and who.kind is ClientKind.CONTAINERS_IMAGE:
            relay.reset()

    def under_way(self) -> list[tuple[Watched, Relay]]:
        """Every tunnel that relays."""
        return [(watched, watched.relay) for watched in self._looks if watched.relay is not None]

    def strand(self, watched: Watched, stranded: Stranded | None) -> bool:
        """A tunnel has lost its way out, or has it back (None). True where it was ended at once."""
        watched.stranded = stranded
        self._look(watched)
        return watched not in self._looks

    def woke(self) -> None:
        """Nobody looked while the machine slept or this process was stopped: no tunnel was silent in that time."""
        now = asyncio.get_running_loop().time()
        for watched in self._looks:
            if watched.watch is not None:
                watched.watch.woke(now=now)
        self.excuse()

    def excuse(self) -> None:
        """What is cut in the next seconds is no fault of its route: the network has changed, or the machine slept."""
        self._excused_until = asyncio.get_running_loop().time() + EXCUSED

    def forget(self, watched: Watched) -> None:
        """The tunnel is over: learn what it brought last."""
        self._looks.drop(watched)
        if watched.relay is not None:
            self._learn(watched, watched.relay, asyncio.get_running_loop().time())
        watched.relay = watched.watch = None

    def _learn(self, watched: Watched, relay: Relay, now: float) -> None:
        """Tell the ledger what upstream delivered since the last time: a long layer teaches before it ends."""
        tunnel = watched.tunnel
        if carried := relay.take(known=self.ledger.rate(tunnel.route or "", tunnel)):
            self.ledger.carried(tunnel, carried, now=now)

    def close(self) -> None:
        """Look no more, and end what is under way."""
        self._looks.close()
        for task in (*self._tasks.values(), self._search):
            if task is not None:
                task.cancel()

    def _look(self, watched: Watched) -> None:
        relay, watch = watched.relay, watched.watch
        if relay is None or watch is None:
            return
        if relay.bytes_in >= BULK and not watched.process_asked:
            self._ask_for_process(watched)
        now = asyncio.get_running_loop().time()
        self._learn(watched, relay, now)
        step = watch.look(
            now=now,
            bytes_in=relay.bytes_in,
            bytes_out=relay.bytes_out,
            last_in=relay.last_in,
            last_out=relay.last_out,
            queued_in=relay.queued_in,
        )
        if watched.stranded is not None:
            if watched.is_idle(now):
                self._looks.drop(watched)
                relay.release()
                return
            step = watched.stranded.step(watch, silence=now - relay.last_activity) or step
        match step:
            case Hold() if watch.is_idle:
                self._looks.sleep(watched, until=watch.next_step_at(now))
                return
            case Hold():
                pass
            case Probe(reason):
                self._probe(watched, reason)
            case Release():
                self._release(watched, relay, step)
        self._looks.wake(watched)

    def _release(self, watched: Watched, relay: Relay, release: Release) -> None:
        """End the client's side, if the client can bear it; the ledger knows of it first."""
        now = asyncio.get_running_loop().time()
        tunnel = watched.tunnel
        decision = may_release(self._identity(watched), watched.past, release, moved=relay.bytes_in, now=now)
        facts = {"target": str(tunnel.target), "route": tunnel.route, "cause": release.cause.value}
        if not decision.allowed:
            if release.cause is not watched.refused:
                log.info("held", **facts, why=release.reason, client=watched.client, because=decision.reason)
            watched.refused = release.cause
            return
        if release.cause is Cause.STUCK:
            # Most that seem so have finished and idle: only a client that is back can tell.
            self._remember_stuck(watched, release.silence)
        elif release.cause is Cause.GONE:
            self.ledger.failovers["release"] += 1
        else:
            self._stuck.pop((watched.client, tunnel.target), None)  # it is back because of this
            self.ledger.cut(tunnel, f"{release.cause}: {release.reason}", now=now)
        # Not its own route again: all that was opened over it is as good as dead.
        self._let_go_of_idle(watched, of_all=release.replacement != tunnel.route)
        self._ended_early(watched, relay, now)
        client = f"{watched.client}, {decision.reason}"
        tell = log.info if release.cause is Cause.STUCK else log.warning
        tell("released", **facts, why=release.reason, to=release.replacement, client=client, bytes_in=relay.bytes_in)
        self._looks.drop(watched)
        if decision.reset:
            relay.reset()
        else:
            relay.release()

    def _remember_stuck(self, watched: Watched, silence: float) -> None:
        tunnel = watched.tunnel
        if tunnel.route is not None:
            self._stuck[watched.client, tunnel.target] = tunnel.route, silence
        while len(self._stuck) > MAX_STUCK:
            del self._stuck[next(iter(self._stuck))]

    def _close_idle(self, gone: Watched, *, of_all: bool) -> None:
        """Close idle tunnels over the route of one that was released or cut, before a client sends a request over one.

        `of_all` where the route is dead or its tunnels stand still together; else those that its own client has: it is
        to come back by a CONNECT, for which a route is chosen anew, and it asks the API for the blob first (fact 10),
        perhaps by a connection that is stuck like this one. That costs the clients nothing (clients.md 0 fact 9), so
        it needs no probe of the tunnels' own hosts. One that is too fresh to be called idle is asked again in a moment.
        """
        now = asyncio.get_running_loop().time()
        for other in self._looks:
            if other is gone or other.relay is None or not other.is_idle(now):
                continue
            if gone.same_way(other) and (of_all or gone.client == other.client):
                self._looks.drop(other)
                other.relay.release()

    def _let_go_of_idle(self, gone: Watched, *, of_all: bool) -> None:
        self._close_idle(gone, of_all=of_all)
        for pause in AGAIN:
            asyncio.get_running_loop().call_later(pause, partial(self._close_idle, gone, of_all=of_all))

    def _ended_early(self, watched: Watched, relay: Relay, now: float) -> None:
        host = watched.tunnel.target.host
        self._releases.ended_early(watched.client, host, watched.past, moved=relay.bytes_in, now=now)

    def _identity(self, watched: Watched) -> Identity:
        return self._releases.identify(watched.client, watched.process, http2=watched.http2)

    def _probe(self, watched: Watched, reason: str) -> None:
        """Probe for this tunnel, unless a probe of the same host over the same route is under way."""
        tunnel = watched.tunnel
        key = (watched.dialer, tunnel.target)
        if key not in self._tasks:
            log.debug("probe", target=str(tunnel.target), route=tunnel.route, why=reason)
            task = asyncio.get_running_loop().create_task(self._find_verdict(watched), name=f"probe {tunnel.target}")
            self._tasks[key] = task
            task.add_done_callback(lambda _task: self._tasks.pop(key, None))

    async def _find_verdict(self, watched: Watched) -> None:
        """Probe a host over a tunnel's route and the next best, and judge every tunnel of that host and route by it."""
        began = asyncio.get_running_loop().time()
        verdict = Verdict(here=False, elsewhere=None, began=began)  # of a probe that crashed: hold, and ask again
        try:
            verdict = await self._verdict(watched, began)
        except Exception:
            log.exception("probe_crashed", target=str(watched.tunnel.target), route=watched.tunnel.route)
        self._judge(watched, verdict)

    async def _verdict(self, watched: Watched, began: float) -> Verdict:
        """What probes find; the ledger learns it as well."""
        tunnel = watched.tunnel
        here, *others = found = await self.probing.find(tunnel, watched.dialer, plain=not watched.tls)
        now = asyncio.get_running_loop().time()
        for route, alive in found:
            if alive.ok:
                self.ledger.alive(route, tunnel, now=now)
            elif any(other.ok for _, other in found) and route != tunnel.route:
                self.ledger.unreachable(route, tunnel, f"probe: {alive.detail}", now=now)
        elsewhere = next((route for route, alive in others if alive.ok), None)
        rate = None if elsewhere is None else self.ledger.rate(elsewhere, tunnel)
        told = {route: alive.detail for route, alive in found}
        log.info("probed", target=str(tunnel.target), route=tunnel.route, found=told)
        return Verdict(here=here[1].ok, elsewhere=elsewhere, began=began, rate=rate)

    def _judge(self, watched: Watched, verdict: Verdict) -> None:
        """Judge every tunnel to the same host over the same route by it, and look at once what follows."""
        now = asyncio.get_running_loop().time()
        for other in self._looks:
            if other.goes_as(watched) and other.watch is not None:
                other.watch.judged(verdict, now=now)
                self._looks.look_safely(other)

    def _ask_for_process(self, watched: Watched) -> None:
        """Find out the client's process, beside everything else."""
        watched.process_asked = True
        self._unknown.append(watched)
        if self._search is None or self._search.done():
            self._search = asyncio.get_running_loop().create_task(self._find_processes(), name="processes of clients")

    async def _find_processes(self) -> None:
        """One search at a time, for all that were asked for meanwhile."""
        while self._unknown:
            asked, self._unknown = self._unknown, []
            names = await processes_of([watched.ends for watched in asked])
            for watched, name in zip(asked, names, strict=True):
                watched.process = name
