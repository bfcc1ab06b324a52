"""Finds out whether addresses are the host's, and keeps what is known of it: poisoned ones are avoided.

    a first flight was answered     its address, when it is met first, is checked: by a TLS handshake of our own, aside
    ... with an alert or no TLS     the address is marked at once, and checked
    an address is marked            other hosts of its registry are met over the route too, ahead of the client
    a probe failed, another not     so it is over the route that failed
    a name has marked addresses     they are not dialled where its others, or another route, are better (core/poison.py)

TLS 1.3 hides a server's certificate from whoever is on the way, and that is what we are. So a check asks for it anew,
over the same route at the same address. A client that met a forged address fails by itself, as it should; when it is
back, which takes most of them a second, the address is known, and its next route is tried instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from towline.core.evidence import Finding
from towline.core.poison import Mark, Poison, Proof
from towline.dialers import Dialers
from towline.errors import DialError, Refused
from towline.net.alive import Alive, is_alive
from towline.net.dialer import Dialed, Dialer
from towline.types import UNLISTED, Attempt, IPAddress, OutcomeKind, Ranking, Target

log = structlog.get_logger("towline")

CHECK_TIME = 5.0  # seconds that a check may take: as long as an api host's CONNECT
AWAITED = 0.3
"""Seconds that a dial waits for the check of an address that was met a moment ago, about as long as the race gives it
before it tries the next route (policy.py, attempt_delay). Rejected: a second, which every CONNECT paid where the check
hung, since the other route was dead that was asked for a second opinion."""
MAX_CHECKS = 8  # under way at once; what is met meanwhile is checked when it is met again
SYSTEM, REMOTE = "system", "remote"  # by whom a route may have names resolved (RouteSpec.names)
OTHERS = 2  # routes that are asked whether they lead to the host, where one does not


@dataclass(slots=True)
class Verifying:
    """Checks addresses with what the present configuration has. `close()` before the loop ends."""

    rank: Callable[[Target], Ranking]
    family: Callable[[Target], Sequence[Target]]
    """Other hosts of a target's registry."""
    dialers: Callable[[], Dialers]
    _poison: Poison = field(default_factory=Poison)
    _checks: set[asyncio.Task[None]] = field(default_factory=set)
    _checking: dict[tuple[str, str, IPAddress], asyncio.Task[None]] = field(default_factory=dict)
    """Those of an address, by route, host and address."""
    _hinted: set[str] = field(default_factory=set)
    """Routes for which it was said already what to do."""

    async def sound(self, route: str, host: str, port: int, addresses: Sequence[IPAddress]) -> Sequence[IPAddress]:
        """Those of a name's addresses that are to be dialled over a route; none where another route is better.

        An address that was met first a moment ago is waited for, where there is another route: its client may be back
        at once, because of its certificate.
        """
        checks = [
            task for (over, at, ip), task in self._checking.items() if (over, at) == (route, host) and ip in addresses
        ]
        if checks and len(self._ranked(Target(host, port))) > 1:
            await asyncio.wait(checks, timeout=AWAITED)
        sound = self._poison.sound(route, host, addresses, now=_now())
        if len(sound) < len(addresses):
            for address in set(addresses).difference(sound):
                self._check(route, Target(host, port), address)
        return sound

    def answered(self, route: str, target: Target, dialed: Dialed) -> None:
        """A first flight was answered over a route as a TLS server does."""
        self._poison.answered(route, target.host, now=_now())
        if dialed.address is not None and target.ip is None:
            self._check(route, target, dialed.address)

    def wrong_answer(self, route: str, target: Target, dialed: Dialed, error: DialError) -> None:
        """A first flight was answered with something that the target does not say."""
        address = dialed.address
        if address is None or target.ip is not None:  # a proxy has resolved the name, or there was none
            return
        if self._poison.marked(route, target.host, address, Mark.WRONG_ANSWER):
            self._tell(route, target, f"{address}: {error.detail}", known=Mark.WRONG_ANSWER)
            self._look_around(route, target)
        self._check(route, target, address)

    def raced(self, target: Target, attempts: Sequence[Attempt]) -> None:
        """A race was won. Where the guard forbade every address that a route found, that answer may well be forged."""
        for attempt in attempts:
            if attempt.outcome.kind is OutcomeKind.DENIED and attempt.route not in self._hinted:
                self._tell(attempt.route, target, attempt.outcome.detail, known=Mark.NONE)

    def probed(self, findings: Sequence[Finding]) -> None:
        """One host was probed over several routes: it is met over those that failed where others did not."""
        if not any(finding.ok for finding in findings):
            return
        for finding in findings:
            if finding.ok:  # its certificate was checked
                self._poison.verified(finding.route, finding.target.host, None, now=_now())
            else:
                self._meet(finding.route, finding.target)

    def forget_routes(self, routes: Collection[str]) -> None:
        """These names mean other ways out now, or none."""
        self._poison.forget_routes(routes)
        self._hinted.difference_update(routes)

    def forget(self) -> None:
        """The network has changed: names lead elsewhere there."""
        self.close()
        self._poison.forget()
        self._hinted.clear()

    def close(self) -> None:
        """End the checks under way."""
        for task in self._checks:
            task.cancel()

    def _check(self, route: str, target: Target, address: IPAddress) -> None:
        """Check an address in the background, if it is time to, and the target is a registry's."""
        if not self._poison.is_due(route, target.host, address, now=_now()) or len(self._checks) >= MAX_CHECKS:
            return
        dialer = self.dialers().at(route, address)
        if dialer is not None and self._ranked(target):
            self._poison.checking(route, target.host, address, now=_now())
            key = (route, target.host, address)
            self._checking[key] = task = self._start(self._verify(route, target, address, dialer))
            task.add_done_callback(partial(self._checked, key))

    def _checked(self, key: tuple[str, str, IPAddress], task: asyncio.Task[None]) -> None:
        if self._checking.get(key) is task:  # and not one that was begun since it was cancelled
            del self._checking[key]

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="check")
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)
        return task

    def _look_around(self, route: str, target: Target) -> None:
        """Meet the rest of a registry: who forges one name forges others, and a pull needs them all."""
        for other in self.family(target):
            if not self._poison.is_met(route, other.host):
                self._meet(route, other)

    def _meet(self, route: str, target: Target) -> None:
        """Find the address that a client would reach over a route, and check it."""
        dialers = self.dialers()
        if route in dialers.by_route and dialers.specs[route].names != REMOTE and len(self._checks) < MAX_CHECKS:
            self._start(self._find(route, target, dialers.by_route[route]))

    async def _find(self, route: str, target: Target, dialer: Dialer) -> None:
        with contextlib.suppress(DialError):
            dialed = await dialer.dial(target, deadline=_now() + CHECK_TIME)
            dialed.close()
            if dialed.address is not None:
                self._check(route, target, dialed.address)

    def _ranked(self, target: Target) -> Sequence[str]:
        """The routes for a registry's host; none for another, which is not asked anything that no client asked."""
        try:
            ranking = self.rank(target)
        except Refused:
            return ()
        unlisted = ranking.classification.registry == UNLISTED
        return () if unlisted else [candidate.route for candidate in ranking.candidates]

    async def _verify(self, route: str, target: Target, address: IPAddress, dialer: Dialer) -> None:
        alive = await _try(target, dialer)
        if alive.ok:
            self._poison.verified(route, target.host, address, now=_now())
        elif alive.untrusted:
            is_news = self._poison.marked(route, target.host, address, Mark.WRONG_CERTIFICATE)
            await self._verify_others(route, target)
            if is_news:
                self._tell(route, target, f"{address}: {alive.detail}", known=Mark.WRONG_CERTIFICATE)
                self._look_around(route, target)

    async def _verify_others(self, but: str, target: Target) -> None:
        """Find a route that leads to the host, unless one is known."""
        if self._poison.proof(target.host, but=but, now=_now()) is Proof.VERIFIED:
            return
        dialers = self.dialers().by_route
        others = [route for route in self._ranked(target) if route != but and route in dialers][:OTHERS]
        tries = [_try(target, dialers[route]) for route in others]
        for route, alive in zip(others, await asyncio.gather(*tries), strict=True):
            if alive.ok:
                self._poison.verified(route, target.host, None, now=_now())

    def _tell(self, route: str, target: Target, why: str, *, known: Mark) -> None:
        """Say what was found; and once for each route what to do about it, where there is something."""
        is_better_elsewhere = known <= self._poison.proof(target.host, but=route, now=_now())
        spec = self.dialers().specs.get(route)
        hint = ""
        if spec is not None and spec.names == SYSTEM and route not in self._hinted:
            hint = f"if this network forges answers, have names resolved elsewhere: set routes.{route}.dns: https://..."
        self._hinted.add(route)
        log.warning(
            "poisoned" if is_better_elsewhere else "suspect", route=route, target=str(target), why=why, hint=hint
        )


async def _try(target: Target, dialer: Dialer) -> Alive:
    return await is_alive(target, dialer, deadline=_now() + CHECK_TIME)


def _now() -> float:
    return asyncio.get_running_loop().time()
