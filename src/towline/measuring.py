"""Measures routes while registries are in use: probes (net/probe.py) what is due (core/probes.py), tells the ledger.

    asked(target, ...)      a client asks; what that makes due is probed from the next turn of the loop on
    changed()               the network is another one: what is under way is dropped, all that is in use is probed anew
    probe(target)           somebody asks at the command line: now, over every route

One timer is set, for the moment when the next probe is due. While no registry is in use there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from towline.core.allowance import Allowance
from towline.core.circuit import Circuit
from towline.core.evidence import Finding
from towline.core.health import Health
from towline.core.ledger import Ledger
from towline.core.probes import PULLING, Probes, Round, Standing
from towline.errors import Refused
from towline.net.alive import PLAIN_PORT
from towline.net.dialer import Dialer
from towline.net.sought import CrashedError, PublicImages, Sought
from towline.types import Classification, Ranking, Role, Target
from towline.views import FindingView, ProbedView, ProbesView

log = structlog.get_logger("towline")

MAX_TOLD = 256  # routes and hosts whose last finding is remembered, so that only news is logged at info


@dataclass(frozen=True, slots=True)
class Present:
    """What the configuration that serves now has."""

    rank: Callable[[Target], Ranking]
    """Raises Refused."""
    dialers: Mapping[str, Dialer]
    image: Callable[[Target], str | None]
    """The public image that can be read from at a host, where one is known."""


@dataclass(slots=True)
class Measuring:
    """Measures for one Service. `close()` before the loop ends."""

    ledger: Ledger
    present: Callable[[], Present]
    probes: Probes
    probed: Callable[[Sequence[Finding]], object] = lambda _: None
    """Told what was found of one host over all routes together."""
    count: int = 0
    """Probes of one host over one route, since the start."""
    failed: int = 0
    _images: PublicImages = field(default_factory=PublicImages)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _carried_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """When blobs of a registry that are open over a route last moved, by route and registry, at the last plan."""
    _timer: asyncio.Handle | None = None
    _closed: bool = False
    _told: dict[tuple[str, Target], bool] = field(default_factory=dict)

    def asked(self, target: Target, what: Classification) -> None:
        """A client asks for a host."""
        if self._note(target, what, self._now()):
            self._plan_soon()

    def changed(self) -> None:
        """The network is another one."""
        self._drop()
        self._images.passed_over.clear()  # what could not be read there may be readable here
        self._images.tokens.clear()  # and who asks from another address gets a token of its own
        self.probes.changed(now=self._now())
        self._plan_soon()

    def reloaded(self, limit: int, forgotten: Collection[str]) -> None:
        """Another configuration serves: so many bytes an hour, and by these names other ways out, or none."""
        self.probes.allowance.limit = limit
        self.probes.forget(forgotten)
        self._plan_soon()

    def view(self) -> ProbesView:
        """What it has cost."""
        allowance = self.probes.allowance
        return ProbesView(self.count, self.failed, allowance.spent(now=self._now()), allowance.limit)

    @property
    def in_use(self) -> list[Target]:
        """The hosts that are probed."""
        return self.probes.hosts

    async def probe(self, target: Target) -> ProbedView:
        """Probe a host over every route that may serve it, at once. Raises Refused."""
        ranking = self.present().rank(target)
        what = ranking.classification
        self._images.passed_over.clear()  # whoever asks wants to know
        found = await asyncio.gather(
            *(self._probe(candidate.route, target, what, read=True) for candidate in ranking.candidates)
        )
        findings = [finding for several in found for finding in several]
        self._learn(findings)
        self.probes.allowance.spend(sum(finding.spent for finding in findings), of=0, now=self._now())
        return ProbedView(str(target), what.registry, what.role, tuple(map(_view, findings)), ranking.excluded)

    def close(self) -> None:
        """Probe no more, and end what is under way."""
        self._closed = True
        self._drop()
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _note(self, target: Target, what: Classification, now: float) -> bool:
        """Note that a host is in use; True where that is news. One that is spoken to without TLS is not probed."""
        if target.port == PLAIN_PORT:
            return False
        readable = what.role is Role.API and self.present().image(target) is not None
        return self.probes.asked(target, what, readable=readable, now=now)

    def _plan_soon(self) -> None:
        """Plan in the next turn of the loop, however often that is called for in this one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_soon(self._plan)

    def _plan(self) -> None:
        """Begin what is due, and set the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._now()
        self._look_at_traffic(now)
        plan = self.probes.plan(self._standings, now=now)
        for round_ in plan.rounds:
            task = asyncio.get_running_loop().create_task(self._run(round_), name=f"probe {round_.target}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        self._timer = None
        if plan.next_at is not None:
            self._timer = asyncio.get_running_loop().call_at(plan.next_at, self._plan)

    def _look_at_traffic(self, now: float) -> None:
        """Tunnels that move keep their registry in use, and tell of their route."""
        self._carried_at.clear()
        for tunnel in self.ledger.tunnels.values():
            if tunnel.flow is None or tunnel.route is None or now - tunnel.flow.last_activity > PULLING:
                continue
            moved_at, what = tunnel.flow.last_activity, tunnel.classification
            self._note(tunnel.target, what, moved_at)
            if what.role is Role.BLOB:
                key = tunnel.route, what.registry
                self._carried_at[key] = max(moved_at, self._carried_at.get(key, moved_at))

    def _standings(self, target: Target, what: Classification) -> Sequence[Standing]:
        """How the routes that may serve a host stand, by what the ledger knows of them."""
        present = self.present()
        try:
            routes = [candidate.route for candidate in present.rank(target).candidates]
        except Refused:  # by a reload
            return ()
        return [self._standing(route, what) for route in routes if route in present.dialers]

    def _standing(self, route: str, what: Classification) -> Standing:
        known = self.ledger.learned.health
        health = known.get((route, what.registry, what.role)) or Health()
        blobs = known.get((route, what.registry, Role.BLOB)) or Health()
        return Standing(
            route,
            failing=health.circuit(now=self._now()) is not Circuit.CLOSED,
            heard_at=_latest(health.answer.measured_at, health.streak.last_failure if health.failures else None),
            read_at=_latest(blobs.rate.measured_at, self._carried_at.get((route, what.registry))),
        )

    async def _run(self, round_: Round) -> None:
        """Probe the routes of one host together, and learn."""
        heard: set[str] = set()
        spent = round_.most  # of what was given up it is not known
        try:
            found = await asyncio.gather(
                *(
                    self._probe(route, round_.target, round_.classification, read=route in round_.reads)
                    for route in round_.routes
                )
            )
            findings = [finding for several in found for finding in several]
            heard = {finding.route for finding in findings if finding.ok and finding.target == round_.target}
            spent = sum(finding.spent for finding in findings)
            self._learn(findings)
        finally:
            self.probes.ended(round_, heard=heard, spent=spent, now=self._now())

    async def _probe(self, route: str, target: Target, what: Classification, *, read: bool) -> tuple[Finding, ...]:
        """Probe one host over one route. A bug is shown, and the others go on."""
        await _load_probe()
        from towline.net.probe import probe

        present = self.present()
        dialer = present.dialers.get(route)
        if dialer is None:
            return ()
        sought = Sought(target, what, present.image(target) if read and what.role is Role.API else None)
        self.count += 1
        try:
            return await probe(route, dialer, sought, rank=present.rank, known=self._images)
        except CrashedError as crash:
            log.exception("probe_crashed", target=str(target), route=route)
            self.probes.allowance.spend(crash.spent, of=0, now=self._now())
            return ()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._closed:
            self._plan()
        if not task.cancelled():
            task.result()  # a bug is for the loop to show

    def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _learn(self, findings: Sequence[Finding]) -> None:
        """Tell the ledger, of each host what was found over all routes together; log what is news."""
        now = self._now()
        for target in dict.fromkeys(finding.target for finding in findings):
            together = [finding for finding in findings if finding.target == target]
            self.ledger.probed(together, now=now)
            self.probed(together)
            for finding in together:
                self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        self.failed += not finding.ok
        before = self._told.pop((finding.route, finding.target), True)
        self._told[finding.route, finding.target] = finding.ok
        while len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        tell = log.debug if finding.ok == before else log.info
        tell(
            "probe",
            target=str(finding.target),
            route=finding.route,
            role=finding.role.value,
            ok=finding.ok,
            found=finding.detail,
            bytes=finding.spent,
        )


def measuring(
    ledger: Ledger, present: Callable[[], Present], limit: int, probed: Callable[[Sequence[Finding]], object]
) -> Measuring:
    """One that may spend `limit` bytes an hour."""
    return Measuring(ledger, present, Probes(Allowance(limit), random.SystemRandom()), probed)


async def _load_probe() -> None:
    """Import probe.py, in a thread: httpx takes 60 ms, for which no start and no tunnel need wait."""
    with contextlib.suppress(RuntimeError):  # no thread is left: then without one
        await asyncio.to_thread(importlib.import_module, "towline.net.probe")


def _view(finding: Finding) -> FindingView:
    return FindingView(
        route=finding.route,
        target=str(finding.target),
        role=finding.role,
        ok=finding.ok,
        detail=finding.detail,
        dial_seconds=finding.dial,
        first_byte_seconds=finding.first_byte,
        rate_bytes_per_second=None if finding.carried is None else finding.carried.rate,
        bytes=finding.spent,
    )


def _latest(*times: float | None) -> float | None:
    return max((at for at in times if at is not None), default=None)
