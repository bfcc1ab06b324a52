"""Probes under any sequence of requests, rounds and changes: bytes, hosts and routes at once keep their bounds."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from towline.core.allowance import HOUR, Allowance
from towline.core.probes import IN_USE, MAX_HOSTS, MAX_ROUTES, Plan, Probes, Round, Standing
from towline.types import Classification, Role, Target

ROUTES = ("direct", "vpn", "office", "far")
REGISTRIES = ("dockerhub", "ghcr")
TARGETS = [(Target(f"{registry}{n}.test", 443), registry) for registry in REGISTRIES for n in range(MAX_HOSTS + 2)]

times = st.none() | st.floats(0.0, 600.0)
ages = st.tuples(st.booleans(), times, times)


@dataclass
class Spent:
    """What a round cost, and when that was known."""

    at: float
    size: int


class ProbesMachine(RuleBasedStateMachine):
    """Clients ask, rounds begin and end in any order, the network changes, time passes."""

    @initialize(limit=st.integers(0, 4 * 1024 * 1024), seed=st.integers(0, 99))
    def begin(self, limit: int, seed: int) -> None:
        """A Towline starts."""
        self.now = 1000.0
        self.probes = Probes(Allowance(limit), random.Random(seed))
        self.asked: dict[str, float] = {}
        self.under_way: list[Round] = []
        self.spent: list[Spent] = []
        self.standings = [Standing(route) for route in ROUTES]
        self.next_at: float | None = None

    @rule(wanted=st.sampled_from(TARGETS), readable=st.booleans())
    def ask(self, wanted: tuple[Target, str], readable: bool) -> None:
        """A client asks for a host."""
        host, registry = wanted
        self.probes.asked(host, Classification(registry, Role.API, "", ""), readable=readable, now=self.now)
        self.asked[registry] = self.now

    @rule(ages=st.lists(ages, max_size=len(ROUTES)), seed=st.integers(0, 99))
    def learn(self, ages: list[tuple[bool, float | None, float | None]], seed: int) -> None:
        """The ledger knows something else of the routes, which are in another order."""
        names = random.Random(seed).sample(ROUTES, len(ages))
        self.standings = [
            Standing(name, failing, *(None if age is None else self.now - age for age in since))
            for name, (failing, *since) in zip(names, ages, strict=True)
        ]

    @rule(seconds=st.sampled_from([0.0, 0.1, 5.0, 30.0, 300.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @precondition(lambda self: self.next_at is not None)
    @rule()
    def wake(self) -> None:
        """The moment comes that the last plan named."""
        self.now = max(self.now, self.next_at or 0.0)

    @rule()
    def plan(self) -> None:
        """What is due begins; what begins is allowed to, and never only half a comparison."""
        plan: Plan = self.probes.plan(lambda _target, _what: self.standings, now=self.now)
        for round_ in plan.rounds:
            assert self.now - self.asked[round_.classification.registry] <= IN_USE
            assert sorted(round_.routes) == sorted(known.route for known in self.standings)
            assert len(round_.routes) > 1
            assert round_.reads <= set(round_.routes)
        self.under_way += plan.rounds
        self.next_at = plan.next_at
        assert plan.next_at is None or plan.next_at > self.now
        again = self.probes.plan(lambda _target, _what: self.standings, now=self.now)
        assert (again.rounds, again.next_at) == ((), plan.next_at)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """A round ends, after some of the bytes that it may cost; some of its routes were silent."""
        round_ = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        size = data.draw(st.integers(0, round_.most))
        heard = data.draw(st.sets(st.sampled_from(round_.routes)))
        self.probes.ended(round_, heard=heard, spent=size, now=self.now)
        self.spent.append(Spent(self.now, size))

    @rule()
    def change(self) -> None:
        """The network is another one."""
        self.probes.changed(now=self.now)

    @rule(route=st.sampled_from(ROUTES))
    def reload(self, route: str) -> None:
        """A route has another meaning."""
        self.probes.forget([route])

    @invariant()
    def bytes_are_within_the_limit(self) -> None:
        """In any hour, what was spent and what may yet be spent by what is under way."""
        hour = sum(spent.size for spent in self.spent if self.now - spent.at < HOUR)
        promised = sum(round_.most for round_ in self.under_way)
        limit = self.probes.allowance.limit
        assert hour + promised <= limit
        assert self.probes.allowance.spent(now=self.now) >= hour
        assert self.probes.allowance.left(now=self.now) <= limit - hour - promised

    @invariant()
    def few_at_once(self) -> None:
        """Routes that are probed at once are few."""
        running = [len(round_.routes) for round_ in self.under_way]
        assert sum(running) <= MAX_ROUTES or len(running) == 1

    @invariant()
    def little_is_remembered(self) -> None:
        """However many hosts are asked for."""
        assert len(self.probes._hosts) <= MAX_HOSTS * len(REGISTRIES)


ProbesMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestProbes = ProbesMachine.TestCase
