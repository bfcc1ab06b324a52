"""Each peer does what its docstring says that it does: by hand, on traces of a few lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.bench.policy.peers_probing import Dae, Glider, MihomoFallback, MihomoUrlTest, SingBox, Xray
from tests.bench.policy.peers_simple import Randomly
from tests.bench.policy.peers_traffic import Bandit, Surge
from tests.bench.policy.policy import Policy, Run, run
from tests.bench.policy.trace import Line, Request, State, Trace
from tests.bench.policy.world import Paths

from towline.types import Role


def line(t: float, route: str, delay: float | None, rate: float = 1000.0, *, probe: bool = True) -> State:
    """A route whose dial and first byte take half of `delay` each; None: it is down."""
    half = None if delay is None else delay / 2
    return State(t, route, half, half, rate, probe=probe)


def calls(*times: float) -> list[Request]:
    """Requests of one byte."""
    return [Request(t, "hub", Role.API, 1) for t in times]


def play(policy: Policy, *lines: Line) -> Run:
    """Run a policy over a few lines."""
    return run(Paths(Trace.of(lines)), policy)


def ways(played: Run) -> list[str]:
    """The routes that its tunnels went over, in the order of the requests."""
    return [way for transfer in played.transfers for way in transfer.ways]


def routes(policy: Policy, *lines: Line) -> list[str]:
    """The routes that a policy takes."""
    return ways(play(policy, *lines))


def test_sing_box_moves_for_more_than_its_tolerance() -> None:
    """40 ms better is not enough to leave the first route, 60 ms are; probes come every 180 s."""
    first = line(0.0, "a", 0.2)
    assert routes(SingBox(), first, line(0.0, "b", 0.16), line(100.0, "b", 0.14), *calls(10.0, 170.0, 190.0)) == [
        "a",
        "a",
        "b",
    ]


def test_sing_box_stays_on_a_dead_route_until_its_probes() -> None:
    """A failed dial is the client's error, the next one too, until the next probes are done: 15 s after they began."""
    played = play(
        SingBox(), line(0.0, "a", 0.1), line(0.0, "b", 0.2), line(20.0, "a", None), *calls(10.0, 30.0, 100.0, 200.0)
    )
    assert [transfer.ok for transfer in played.transfers] == [True, False, False, True]
    assert played.transfers[1].seconds == pytest.approx(5.0)
    assert ways(played) == ["a", "b"]


def test_mihomo_takes_the_fastest_and_stays_within_its_tolerance() -> None:
    """The least delay of the first probes; from then on only for 150 ms more."""
    lines = [line(0.0, "a", 0.2), line(0.0, "b", 0.1), line(200.0, "b", 0.34), line(500.0, "b", 0.36)]
    assert routes(MihomoUrlTest(), *lines, *calls(10.0, 290.0, 310.0, 590.0, 620.0)) == ["b", "b", "b", "b", "a"]


def test_mihomo_probes_after_five_failures() -> None:
    """Five dials that fail within 5 s have all routes probed, long before their time."""
    dead = line(20.0, "a", None)
    played = play(
        MihomoFallback(), line(0.0, "a", 0.1), line(0.0, "b", 0.2), dead, *calls(30.0, 30.1, 30.2, 30.3, 30.4, 60.0)
    )
    assert [transfer.ok for transfer in played.transfers] == [False] * 5 + [True]
    assert ways(played) == ["b"]


def test_mihomo_fallback_returns_to_the_first_at_once() -> None:
    """The first that is alive, however slow; undamped."""
    lines = [line(0.0, "a", 0.9), line(0.0, "b", 0.1), line(100.0, "a", None), line(400.0, "a", 0.9)]
    assert routes(MihomoFallback(), *lines, *calls(10.0, 310.0, 590.0, 610.0)) == ["a", "b", "b", "a"]


def test_glider_averages_ten_checks() -> None:
    """One fast check among slow ones moves nothing."""
    lines = [line(0.0, "a", 0.2), line(0.0, "b", 0.3), line(110.0, "b", 0.01), line(125.0, "b", 0.3)]
    assert routes(Glider(), *lines, *calls(100.0, 140.0)) == ["a", "a"]


def test_glider_disables_after_three_failures() -> None:
    """Each of them a 502 after 3 s; the fourth goes elsewhere."""
    lines = [line(0.0, "a", 0.1), line(0.0, "b", 0.2), line(31.0, "a", None)]
    played = play(Glider(), *lines, *calls(32.0, 32.1, 32.2, 40.0))
    assert [transfer.ok for transfer in played.transfers] == [False, False, False, True]
    assert played.transfers[0].seconds == pytest.approx(3.0)


def test_dae_moves_by_its_average() -> None:
    """Half of a jump counts at once, three quarters after two checks."""
    lines = [line(0.0, "a", 0.1), line(0.0, "b", 0.2), line(25.0, "a", 0.32)]
    assert routes(Dae(), *lines, *calls(20.0, 35.0, 65.0)) == ["a", "a", "b"]  # averages of a: 0.1, 0.21, 0.265


def test_dae_lets_a_dead_route_back_after_two_checks() -> None:
    """One success is not enough."""
    lines = [line(0.0, "a", 0.01), line(0.0, "b", 0.2), line(20.0, "a", None), line(45.0, "a", 0.01)]
    assert routes(Dae(), *lines, *calls(42.0, 75.0)) == ["b", "b"]


def test_xray_prefers_the_steady_route() -> None:
    """A slow route that never varies comes before a fast one that does."""
    shaking = [line(7.0 * i, "a", 0.05 + 0.05 * (i % 2)) for i in range(200)]
    assert routes(Xray(), *shaking, line(0.0, "b", 0.5), *calls(1300.0)) == ["b"]


def test_surge_retries_unseen_and_remembers() -> None:
    """A dial that fails goes on over the next route; the one after it begins there."""
    lines = [line(0.0, "a", 0.1), line(0.0, "b", 0.2), line(20.0, "a", None)]
    played = play(Surge(), *lines, *calls(10.0, 30.0, 40.0))
    assert [round(transfer.seconds, 3) for transfer in played.transfers] == [0.101, 5.201, 0.201]


def test_surge_adds_fifty_milliseconds_for_each_percent_lost() -> None:
    """A route that loses 3 % is taken to be 150 ms slower than it is."""
    losing = State(0.0, "a", 0.05, 0.05, 1000.0, loss=0.03)
    assert routes(Surge(), losing, line(0.0, "b", 0.2), *calls(10.0, 20.0)) == ["a", "b"]


def test_the_bandit_goes_where_the_bytes_came_from() -> None:
    """After enough tunnels most go over the route of the higher rate, whatever its latency; some still explore."""
    layers = [Request(20.0 * i, "hub", Role.BLOB, 1_000_000) for i in range(200)]
    taken = routes(Bandit(), line(0.0, "a", 0.1, 50_000.0), line(0.0, "b", 0.9, 100_000.0), *layers)
    assert 0.8 < taken[50:].count("b") / 150 < 1.0


def test_probes_see_what_lines_without_registry_say() -> None:
    """A route that is dead for one registry, and one whose probes fail, look to their probes as they are told to."""
    narrow = State(0.0, "a", None, None, 0.0, registry="hub")
    played = play(MihomoUrlTest(), line(0.0, "a", 0.1), narrow, line(0.0, "b", 0.2), *calls(10.0))
    assert not played.transfers[0].ok
    assert routes(MihomoUrlTest(), line(0.0, "a", 0.1, probe=False), line(0.0, "b", 0.2), *calls(10.0)) == ["b"]


@pytest.mark.parametrize("make", [SingBox, MihomoUrlTest, Glider, Dae, Surge, Xray])
def test_probes_are_paid_for(make: Callable[[], Policy]) -> None:
    """Every probe of a peer costs bytes."""
    counts = play(make(), line(0.0, "a", 0.1), line(0.0, "b", 0.2), *calls(0.0, 600.0)).counts
    assert counts.probes >= 2
    assert counts.probe_bytes >= 1000 * counts.probes


def test_random_takes_all() -> None:
    """In a hundred tunnels each route has its share."""
    taken = routes(Randomly(), line(0.0, "a", 0.1), line(0.0, "b", 0.1), *calls(*range(100)))
    assert 30 < taken.count("a") < 70
