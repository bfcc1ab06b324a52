"""Probes by example: what is probed when, what traffic spares, and what bytes allow."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from towline.core.allowance import Allowance
from towline.core.probes import (
    HEAR_COST,
    IN_USE,
    MAX_HOSTS,
    MAX_ROUTES,
    PULLING,
    READ_COST,
    SHORT_OF_BYTES,
    Plan,
    Probes,
    Round,
    Standing,
)
from towline.types import UNLISTED, Classification, Role, Target

MIB = 1024 * 1024
API = Classification("dockerhub", Role.API, "registry.test", "")
BLOB = Classification("dockerhub", Role.BLOB, "blob.test", "")
REGISTRY = Target("registry.test", 443)
CDN = Target("blob.test", 443)


class NoChance(random.Random):
    """Every period in full."""

    def random(self) -> float:
        return 0.0


@dataclass
class Bench:
    """Probes whose rounds take no time and cost nothing, unless a test says otherwise."""

    limit: int = 100 * MIB
    rng: random.Random = field(default_factory=NoChance)
    standings: list[Standing] = field(default_factory=lambda: [Standing("direct"), Standing("vpn"), Standing("office")])
    silent: set[str] = field(default_factory=set)
    """Routes over which nothing is heard."""

    def __post_init__(self) -> None:
        self.probes = Probes(Allowance(self.limit), self.rng)

    def ask(self, now: float, target: Target = REGISTRY, what: Classification = API) -> bool:
        return self.probes.asked(target, what, readable=target == REGISTRY, now=now)

    def plan(self, now: float) -> Plan:
        return self.probes.plan(lambda _target, _what: self.standings, now=now)

    def end(self, rounds: Iterable[Round], now: float, *, spent: int = 0) -> None:
        for round_ in rounds:
            heard = set(round_.routes) - self.silent
            self.probes.ended(round_, heard=heard, spent=spent, now=now)

    def run(self, now: float, *, spent: int = 0) -> tuple[Round, ...]:
        """Plan, and end what was planned."""
        rounds = self.plan(now).rounds
        self.end(rounds, now, spent=spent)
        return rounds

    def run_until(self, end: float) -> list[tuple[float, Round]]:
        """Follow the plans until `end`: when each round began."""
        log: list[tuple[float, Round]] = []
        now = 0.0
        while now < end:
            plan = self.plan(now)
            self.end(plan.rounds, now)
            log += [(now, round_) for round_ in plan.rounds]
            if not plan.rounds:
                now = end if plan.next_at is None else plan.next_at
        return log


def test_nothing_in_use_is_nothing_to_do() -> None:
    """Without clients there is no round and no time to wake at."""
    assert Bench().plan(0.0) == Plan((), None)


def test_the_first_request_has_all_routes_read_over() -> None:
    """Of routes that nothing is known of, all is asked at once."""
    bench = Bench()
    assert bench.ask(0.0)
    (round_,) = bench.plan(0.0).rounds
    assert (round_.target, round_.classification) == (REGISTRY, API)
    assert round_.routes == ("direct", "vpn", "office")
    assert round_.reads == {"direct", "vpn", "office"}


def test_a_host_has_one_round_at_a_time() -> None:
    """Until it has ended nothing else is due, and its end is what the next is planned after."""
    bench = Bench()
    bench.ask(0.0)
    rounds = bench.plan(0.0).rounds
    assert bench.plan(50.0) == Plan((), None)
    bench.end(rounds, 50.0)
    assert bench.plan(50.0).rounds


def test_only_what_is_not_readable_is_heard_alone() -> None:
    """A blob host is no API: its routes are heard."""
    bench = Bench()
    bench.ask(0.0, CDN, BLOB)
    (round_,) = bench.plan(0.0).rounds
    assert round_.routes == ("direct", "vpn", "office")
    assert round_.reads == frozenset()


def test_while_pulls_go_on_the_first_route_is_read_over_most_often() -> None:
    """Every 7 s over the first, every 20 s over the others; and all are heard in each of these rounds."""
    bench = Bench()
    bench.ask(0.0)
    log = bench.run_until(30.0)
    assert [(now, sorted(round_.reads)) for now, round_ in log] == [
        (0.0, ["direct", "office", "vpn"]),
        (7.0, ["direct"]),
        (14.0, ["direct"]),
        (20.0, ["office", "vpn"]),
        (21.0, ["direct"]),
        (28.0, ["direct"]),
    ]
    assert all(len(round_.routes) == 3 for _, round_ in log)


def test_the_pace_slows_when_nobody_pulls_and_ends_with_the_use() -> None:
    """Heard every minute, read over every five; after IN_USE seconds nothing is due any more."""
    bench = Bench()
    bench.ask(0.0)
    log = [(now, round_) for now, round_ in bench.run_until(10 * IN_USE) if now > PULLING]
    assert max(now for now, _ in log) <= IN_USE
    times = [now for now, round_ in log if "vpn" in round_.reads]
    assert [after - before for before, after in pairwise(times)] == [300.0]
    assert max(after - before for (before, _), (after, _) in pairwise(log)) == 60.0
    assert bench.plan(10 * IN_USE) == Plan((), None)


def test_what_traffic_told_is_not_asked() -> None:
    """A route that just answered and carried is not due before that is old; another one is."""
    bench = Bench()
    bench.ask(0.0)
    bench.run(0.0)
    bench.standings = [
        Standing("direct", heard_at=18.0, read_at=18.0),
        Standing("vpn", heard_at=18.0),
        Standing("office"),
    ]
    (round_,) = bench.plan(20.0).rounds
    assert round_.reads == {"vpn", "office"}
    bench.end([round_], 20.0)
    assert bench.plan(20.0).next_at == 25.0


def test_a_failing_route_is_first_and_found_again_soon() -> None:
    """While the registry is in use it is heard every 20 s, whatever its circuit's cool-down, and others beside it."""
    bench = Bench()
    bench.ask(0.0)
    bench.run(0.0)
    bench.standings = [
        Standing("direct", read_at=100.0),
        Standing("vpn", read_at=100.0),
        Standing("office", failing=True),
    ]
    bench.run(100.0)
    assert bench.plan(100.0).next_at == 120.0
    (round_,) = bench.plan(120.0).rounds
    assert round_.routes == ("office", "direct", "vpn")


def test_the_route_not_heard_of_for_longest_is_first() -> None:
    """Whatever its rank."""
    bench = Bench()
    bench.ask(0.0)
    bench.standings = [Standing("direct", heard_at=-20.0), Standing("vpn", heard_at=-90.0), Standing("office")]
    (round_,) = bench.plan(0.0).rounds
    assert round_.routes == ("office", "vpn", "direct")


def test_hosts_with_failing_routes_have_their_rounds_first() -> None:
    """Of two hosts that are due, the one where a route fails begins."""
    bench = Bench()
    bench.ask(0.0)
    bench.ask(0.0, CDN, BLOB)

    def standings(target: Target, _what: Classification) -> list[Standing]:
        return [Standing("direct"), Standing("vpn", failing=target == CDN)]

    assert [round_.target for round_ in bench.probes.plan(standings, now=0.0).rounds] == [CDN, REGISTRY]


def test_where_there_is_no_choice_nothing_is_probed() -> None:
    """One route, or none, is taken whatever a probe would find."""
    bench = Bench(standings=[Standing("direct")])
    bench.ask(0.0)
    assert bench.plan(0.0) == Plan((), None)


def test_unlisted_hosts_are_not_probed() -> None:
    """They are nobody's registry."""
    bench = Bench()
    assert not bench.ask(0.0, what=Classification(UNLISTED, Role.UNKNOWN, "", ""))
    assert bench.plan(0.0) == Plan((), None)


def test_hosts_in_use() -> None:
    """The one that was asked for last is the last."""
    bench = Bench()
    bench.ask(0.0)
    bench.ask(1.0, CDN, BLOB)
    bench.ask(2.0)
    assert bench.probes.hosts == [CDN, REGISTRY]


def test_what_is_news() -> None:
    """A host that was not asked for of late, or the first request after a pause."""
    bench = Bench()
    assert bench.ask(0.0)
    assert not bench.ask(1.0)
    assert bench.ask(2.0, CDN, BLOB)
    assert not bench.ask(PULLING, CDN, BLOB)
    assert bench.ask(2 * PULLING + 1.0)


def test_times_may_come_out_of_order() -> None:
    """A byte that moved earlier does not take back the latest use."""
    bench = Bench()
    bench.ask(100.0)
    bench.ask(0.0)
    assert bench.plan(100.0 + IN_USE).rounds


def test_hosts_of_a_registry_are_few() -> None:
    """The ones asked for last are kept."""
    bench = Bench()
    hosts = [Target(f"cdn{number}.test", 443) for number in range(MAX_HOSTS + 1)]
    for host in hosts:
        bench.ask(0.0, host, BLOB)
    bench.ask(0.0, hosts[1], BLOB)
    bench.ask(0.0, REGISTRY)
    probed = {round_.target for now in range(100) for round_ in bench.run(float(now))}
    assert probed == {*hosts[3:], hosts[1], REGISTRY}


def test_a_round_of_a_host_that_is_known_no_more_ends_all_the_same() -> None:
    """What it had set aside comes back, and the host's next round is another one."""
    bench = Bench()
    bench.ask(0.0)
    rounds = bench.plan(0.0).rounds
    bench.plan(2 * IN_USE)
    bench.ask(2 * IN_USE)
    again = bench.plan(2 * IN_USE).rounds
    bench.end(rounds, 2 * IN_USE)
    assert bench.plan(3 * IN_USE - 1.0).rounds == ()
    bench.end(again, 3 * IN_USE - 1.0)
    assert bench.probes.allowance.left(now=3 * IN_USE) == bench.limit


def test_few_routes_at_once() -> None:
    """What finds no room waits for a round's end; a round that is too large for any goes alone."""
    bench = Bench(standings=[Standing(f"route{number}") for number in range(MAX_ROUTES + 1)])
    bench.ask(0.0)
    bench.ask(0.0, CDN, BLOB)
    rounds = bench.plan(0.0).rounds
    assert [round_.target for round_ in rounds] == [REGISTRY]
    assert bench.plan(0.0) == Plan((), None)
    bench.end(rounds, 1.0)
    assert [round_.target for round_ in bench.plan(1.0).rounds] == [CDN]


def test_a_change_of_network_has_all_probed_at_once() -> None:
    """What was found before it, and what traffic told before it, holds no more."""
    bench = Bench()
    bench.ask(0.0)
    bench.run(0.0)
    bench.standings = [Standing("direct", heard_at=1.0, read_at=1.0), Standing("vpn", heard_at=1.0, read_at=1.0)]
    assert bench.plan(1.0).rounds == ()
    bench.probes.changed(now=1.0)
    (round_,) = bench.run(1.0)
    assert round_.reads == {"direct", "vpn"}
    assert bench.plan(1.5).rounds == ()


def test_a_route_of_another_meaning_is_probed_at_once() -> None:
    """A reload that gives its name to another way out makes it unknown."""
    bench = Bench()
    bench.ask(0.0)
    bench.run(0.0)
    bench.probes.forget(["vpn", "unheard of"])
    (round_,) = bench.plan(1.0).rounds
    assert round_.reads == {"vpn"}


def test_chance_shortens_a_period() -> None:
    """Rounds do not fall on the same second; none is later than its period."""
    bench = Bench(rng=random.Random(7))
    bench.ask(0.0)
    times = [now for now, round_ in bench.run_until(PULLING) if "direct" in round_.reads]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(set(gaps)) == len(gaps) > 3
    assert all(7.0 * 3 / 4 <= gap <= 7.0 for gap in gaps)


def test_a_limit_of_0_is_no_probe() -> None:
    """Active probes can be turned off."""
    bench = Bench(limit=0)
    bench.ask(0.0)
    assert bench.plan(0.0) == Plan((), None)


def test_reads_leave_a_quarter_of_the_bytes_for_hearing() -> None:
    """The first of the routes is read over while there are bytes for it; then all are heard alone."""
    bench = Bench(limit=2 * READ_COST)
    bench.ask(0.0)
    (round_,) = bench.run(0.0, spent=READ_COST)
    assert round_.reads == {"direct"}
    (round_,) = bench.run(10.0)
    assert (round_.routes, round_.reads) == (("direct", "vpn", "office"), frozenset())


def test_reads_become_rarer_as_bytes_run_out() -> None:
    """With half of the hour's bytes left, half as often."""
    bench = Bench(limit=100 * MIB)
    bench.ask(0.0)
    bench.run(0.0, spent=50 * MIB)
    assert not any(round_.reads for now in range(1, 14) for round_ in bench.run(float(now)))
    (round_,) = bench.run(14.0)
    assert round_.reads == {"direct"}


def test_without_bytes_nothing_is_probed_for_a_while() -> None:
    """What cannot be paid for is tried again later, not at once."""
    bench = Bench(limit=3 * HEAR_COST)
    bench.ask(0.0)
    bench.run(0.0, spent=HEAR_COST)
    bench.ask(30.0)
    assert bench.plan(30.0) == Plan((), 30.0 + SHORT_OF_BYTES)


def test_the_most_that_a_round_may_cost() -> None:
    """Each route at the price of what is asked over it."""
    assert Round(REGISTRY, API, ("a", "b", "c"), frozenset({"b"})).most == 2 * HEAR_COST + READ_COST


def test_a_route_that_is_back_is_read_over_at_once() -> None:
    """A read that was not made, for its route was silent, is due as soon as that is heard: once, and not before."""
    bench = Bench(silent={"vpn"})
    bench.ask(0.0)
    assert [round_.reads for round_ in bench.run(0.0)] == [{"direct", "vpn", "office"}]
    assert [round_.reads for round_ in bench.run(7.0)] == [{"direct"}]
    assert bench.run(7.0) == (), "it is silent still"
    bench.silent.clear()
    assert [round_.reads for round_ in bench.run(14.0)] == [{"direct"}]
    assert [round_.reads for round_ in bench.run(14.0)] == [{"vpn"}]
    assert bench.run(14.0) == ()


def test_what_was_missed_elsewhere_is_nothing_to_make_up_for() -> None:
    """Reads that were missed on another network, or over a route that meant something else, are forgotten."""
    bench = Bench(silent={"vpn", "office"})
    bench.ask(0.0)
    bench.run(0.0)
    bench.probes.forget(["vpn"])
    bench.silent = {"office"}
    assert [round_.reads for round_ in bench.run(1.0)] == [{"vpn"}], "this one is new"
    assert bench.run(1.0) == ()
    bench.probes.changed(now=2.0)
    bench.silent.clear()
    assert [round_.reads for round_ in bench.run(2.0)] == [{"direct", "vpn", "office"}]
    assert bench.run(2.0) == ()
