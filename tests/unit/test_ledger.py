"""The ledger by example: what a race teaches, who is to blame, and what adds up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from towline.core.choice import Choice
from towline.core.evidence import Carried, Finding
from towline.core.health import MISLEADING, Health
from towline.core.learned import TYPICAL
from towline.core.ledger import FLIGHT_WEIGHT, Ledger, Tunnel
from towline.types import (
    Attempt,
    Blame,
    Classification,
    Outcome,
    OutcomeKind,
    Phase,
    Role,
    RouteSpec,
    Target,
    TunnelPhase,
)
from towline.views import RouteRegistryView, Totals, TunnelView

TARGET = Target("registry.test", 443)
API = Classification("hub", Role.API, "registry.test", "api host of hub")
BLOB = Classification("hub", Role.BLOB, "registry.test", "blob host of hub")
NOW = 100.0  # seconds

ESTABLISHED = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, 0.2, "established")
OVERTAKEN = Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, 0.5, "no answer in 0.50 s, vpn was faster")
TIMEOUT = Outcome(OutcomeKind.TIMEOUT, Phase.CONNECT, Blame.ROUTE, 4.9, "timeout 4.9 s")
PROXY_TIMEOUT = Outcome(OutcomeKind.TIMEOUT, Phase.PROXY, Blame.ROUTE, 4.9, "timeout 4.9 s waiting for its answer")
REFUSED = Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, 0.1, "refused")
NO_DESCRIPTOR = Outcome(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, 0.0, "too many open files")


@dataclass(slots=True)
class Bytes:
    """The counters of a relay."""

    bytes_in: int
    bytes_out: int
    last_activity: float


def raced(attempts: list[Attempt], winner: str | None, ledger: Ledger | None = None) -> Ledger:
    """A ledger after one race."""
    ledger = ledger or Ledger(started_at=0.0)
    ledger.raced(opened(ledger), attempts, winner, now=NOW)
    return ledger


def opened(ledger: Ledger, *, now: float = NOW) -> Tunnel:
    """One more tunnel."""
    return ledger.open(TARGET, "127.0.0.1:50000", API, now=now)


def blamed(ledger: Ledger) -> set[str]:
    """The routes whose health counts a failure."""
    return {route for (route, _, _), health in ledger.health.items() if health.failures}


def health_of(ledger: Ledger, route: str) -> Health:
    """The health of a route for API hosts of the registry `hub`, from a tunnel that is open or was."""
    return ledger.health[route, "hub", Role.API]


def test_winner_is_measured() -> None:
    """An established dial is a success of its route for the registry, measured now."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    expected = Health()
    expected.dialed(0.2, now=NOW)
    assert ledger.health == {("direct", "hub", Role.API): expected}
    assert ledger.totals().failovers == {"connect": 0, "first_flight": 0, "release": 0}


def test_answered_flight_is_measured() -> None:
    """The route that answered first is timed and its streak ends; a flight that was not raced tells nothing yet."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    direct = health_of(ledger, "direct")
    direct.streak.silent = 2
    tunnel = opened(ledger)
    ledger.flown(tunnel, [], "direct", now=NOW)
    assert (direct.streak.weight, direct.answer.value) == (2, None)
    ledger.flown(tunnel, [Attempt("direct", 0.0, ESTABLISHED)], "direct", now=NOW)
    assert direct.answer.value == pytest.approx(0.2)
    assert direct.streak.weight == 0
    assert direct.attempts == 1, "a flight is no second dial"
    assert ledger.totals().failovers["first_flight"] == 0


def test_replayed_flight() -> None:
    """A silent route gets FLIGHT_WEIGHT; the one that answered is not timed, since its time has the dial in it."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    tunnel = opened(ledger)
    ledger.flown(tunnel, [Attempt("direct", 0.0, OVERTAKEN), Attempt("vpn", 1.5, ESTABLISHED)], "vpn", now=NOW)
    assert tunnel.route == "vpn"
    assert health_of(ledger, "direct").streak.weight == FLIGHT_WEIGHT
    assert health_of(ledger, "vpn").answer.value is None
    assert ledger.totals().failovers == {"connect": 0, "first_flight": 1, "release": 0}


def test_flight_that_nobody_answered() -> None:
    """Without an answer there is no failover, and every silent route is told so."""
    ledger = Ledger(started_at=0.0)
    tunnel = opened(ledger)
    ledger.flown(tunnel, [Attempt("direct", 0.0, TIMEOUT)], None, now=NOW)
    assert tunnel.route is None
    assert blamed(ledger) == {"direct"}
    assert ledger.totals().failovers["first_flight"] == 0


@pytest.mark.parametrize("failure", [TIMEOUT, REFUSED], ids=["timeout", "refused"])
def test_failure_that_another_route_disproves(failure: Outcome) -> None:
    """What another route could do is the failed route's fault, also where the target seemed to refuse."""
    ledger = raced([Attempt("direct", 0.0, failure), Attempt("vpn", 0.1, ESTABLISHED)], "vpn")
    assert blamed(ledger) == {"direct"}
    assert health_of(ledger, "direct").last_error == failure.detail
    assert ledger.totals().failovers["connect"] == 1


def test_lost_head_start() -> None:
    """A route that began first and had not answered when a later one won is at fault."""
    ledger = raced([Attempt("direct", 0.0, OVERTAKEN), Attempt("vpn", 0.25, ESTABLISHED)], "vpn")
    assert blamed(ledger) == {"direct"}
    assert health_of(ledger, "direct").last_error == "no answer in 0.50 s, vpn was faster"


def test_cancelled_before_its_time_was_up() -> None:
    """A route that began after the winner and was cancelled is not at fault, and nothing is learned about it."""
    ledger = raced([Attempt("vpn", 0.0, ESTABLISHED), Attempt("direct", 0.25, OVERTAKEN)], "vpn")
    assert blamed(ledger) == set()
    assert ("direct", "hub", Role.API) not in ledger.health
    assert (ledger.routes["direct"].attempts, ledger.routes["direct"].failures) == (1, 0)
    assert ledger.totals().failovers["connect"] == 0, "the best route won"


def test_begun_together() -> None:
    """Of two routes dialled in the same moment neither had a head start."""
    ledger = raced([Attempt("direct", 0.25, OVERTAKEN), Attempt("vpn", 0.25, ESTABLISHED)], "vpn")
    assert blamed(ledger) == set()


@pytest.mark.parametrize("winner", ["vpn", None])
def test_fault_of_this_machine(winner: str | None) -> None:
    """A failure of this machine counts against no route's health; it is shown all the same."""
    attempts = [Attempt("direct", 0.0, NO_DESCRIPTOR), Attempt("vpn", 0.0, ESTABLISHED if winner else TIMEOUT)]
    ledger = raced(attempts, winner)
    assert "direct" not in blamed(ledger)
    assert ledger.routes["direct"].failures == 1
    assert ledger.routes["direct"].last_error == "too many open files"


@pytest.mark.parametrize(
    ("direct", "vpn", "expected"),
    [
        (TIMEOUT, TIMEOUT, set()),
        (REFUSED, REFUSED, set()),
        (TIMEOUT, REFUSED, {"direct"}),
        (TIMEOUT, PROXY_TIMEOUT, {"direct", "vpn"}),
    ],
    ids=["same way", "target says no", "one names the target", "another phase"],
)
def test_every_route_failed(direct: Outcome, vpn: Outcome, expected: set[str]) -> None:
    """Where every route failed, those are at fault whose outcome names them and that did not fail as another did."""
    ledger = raced([Attempt("direct", 0.0, direct), Attempt("vpn", 0.25, vpn)], None)
    assert blamed(ledger) == expected
    assert [ledger.routes[route].failures for route in ("direct", "vpn")] == [1, 1], "the reader sees both"


def test_only_route_failed() -> None:
    """With one route there is nothing to compare: its own outcome decides."""
    assert blamed(raced([Attempt("direct", 0.0, TIMEOUT)], None)) == {"direct"}
    assert blamed(raced([Attempt("direct", 0.0, REFUSED)], None)) == set()


def test_cut_tunnel() -> None:
    """A route that failed under its tunnel is at fault, with the weight of a flight, and that is one failover."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    tunnel = next(iter(ledger.tunnels.values()))
    ledger.cut(tunnel, "upstream reset", now=NOW + 5)
    assert ledger.totals().failovers == {"connect": 0, "first_flight": 0, "release": 1}
    assert health_of(ledger, "direct").streak.cuts == FLIGHT_WEIGHT
    view = ledger.route_view(RouteSpec("direct"), (), draining=False, now=NOW + 6)
    assert (view.attempts, view.failures, view.last_error, view.last_error_seconds_ago) == (2, 1, "upstream reset", 1.0)


def test_route_found_dead_and_alive_again() -> None:
    """A probe that fails counts against its route without a failover; one that succeeds ends the streak."""
    ledger = Ledger(started_at=0.0)
    tunnel = opened(ledger)
    ledger.unreachable("vpn", tunnel, "probe: timeout 2.0 s", now=NOW)
    assert (health_of(ledger, "vpn").streak.weight, ledger.routes["vpn"].failures) == (FLIGHT_WEIGHT, 1)
    assert ledger.totals().failovers["release"] == 0
    ledger.alive("vpn", tunnel, now=NOW + 1)
    assert health_of(ledger, "vpn").streak.weight == 0


def test_rates() -> None:
    """What a tunnel carried a second is known for its route, registry and role, and for no other."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    tunnel = next(iter(ledger.tunnels.values()))
    assert ledger.rate("direct", tunnel) is None
    ledger.carried(tunnel, Carried(10_000_000, 2.0), now=NOW)
    assert ledger.rate("direct", tunnel) == pytest.approx(5e6)
    assert ledger.rate("vpn", tunnel) is None
    assert ledger.fastest_other(tunnel) == 0.0, "its own does not count"
    tunnel.route = "vpn"
    assert ledger.fastest_other(tunnel) == pytest.approx(5e6)


def test_carried_by_a_tunnel_that_was_cut() -> None:
    """What a tunnel brought before it was cut is measured, and proves no route well."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    tunnel = next(iter(ledger.tunnels.values()))
    ledger.cut(tunnel, "upstream reset", now=NOW)
    ledger.carried(tunnel, Carried(10_000_000, 2.0), now=NOW)
    assert ledger.rate("direct", tunnel) == pytest.approx(5e6)
    assert health_of(ledger, "direct").streak.cuts == FLIGHT_WEIGHT


def test_broke() -> None:
    """A route that was found out later to have failed a tunnel is told so, as a cut, without a failover."""
    ledger = Ledger(started_at=0.0)
    ledger.broke("vpn", opened(ledger), "stood still", lost=8.0, now=NOW)
    assert (health_of(ledger, "vpn").streak.cuts, ledger.routes["vpn"].failures) == (FLIGHT_WEIGHT, 1)
    assert ledger.totals().failovers["release"] == 0


def found(route: str, *, ok: bool, registry: str = "hub", blame: Blame = Blame.ROUTE) -> Finding:
    """What a probe found."""
    return Finding(route, TARGET, registry, Role.API, ok, route, blame, dial=0.1 if ok else None)


def test_probes() -> None:
    """Probes are measured; one that failed where another went well counts against its route, and in no sums."""
    ledger = Ledger(started_at=0.0)
    ledger.probed([found("direct", ok=False), found("vpn", ok=True)], now=NOW)
    assert blamed(ledger) == {"direct"}
    assert health_of(ledger, "vpn").dial.value == pytest.approx(0.1)
    assert {health.probed_at for health in ledger.health.values()} == {NOW}
    assert ledger.routes == {}


def test_probes_that_traffic_disproved() -> None:
    """Where traffic to any host of the registry disproved probes over a route, one that fails counts no more."""
    ledger = Ledger(started_at=0.0)
    ledger.learned.of("direct", "hub", Role.BLOB).misled = MISLEADING
    ledger.probed([found("direct", ok=False), found("vpn", ok=True)], now=NOW)
    assert blamed(ledger) == set()


def test_no_probes() -> None:
    """Nothing found teaches nothing."""
    ledger = Ledger(started_at=0.0)
    ledger.probed([], now=NOW)
    assert ledger.health == {}


def test_network_is_down() -> None:
    """Where two registries fail over every route nobody is blamed; once something is reached, routes are again."""
    ledger = Ledger(started_at=0.0)
    ledger.probed([found("direct", ok=False, blame=Blame.TARGET), found("vpn", ok=False, blame=Blame.TARGET)], now=NOW)
    ledger.probed([found("direct", ok=False, registry="quay"), found("vpn", ok=False, registry="quay")], now=NOW + 1)
    attempts = [Attempt("direct", 0.0, TIMEOUT), Attempt("vpn", 0.1, PROXY_TIMEOUT)]
    raced(attempts, None, ledger)
    assert blamed(ledger) == set()
    assert ledger.routes["direct"].failures == 1, "the reader sees it"
    ledger.probed([found("direct", ok=True)], now=NOW + 2)
    raced(attempts, None, ledger)
    assert blamed(ledger) == {"direct", "vpn"}


def test_another_network() -> None:
    """What failed on another network is forgiven, and no control for what fails on this one."""
    ledger = raced([Attempt("direct", 0.0, REFUSED), Attempt("vpn", 0.1, ESTABLISHED)], "vpn")
    raced([Attempt("direct", 0.0, REFUSED)], None, ledger)
    ledger.network_changed(now=NOW)
    assert health_of(ledger, "direct").streak.weight == 0
    ledger.probed([found("direct", ok=False, registry="quay")], now=NOW)
    assert ledger.health["direct", "quay", Role.API].failures == 1


def test_size_of_tunnels() -> None:
    """What tunnels brought is known for their registry and role."""
    ledger = Ledger(started_at=0.0)
    tunnel = opened(ledger)
    tunnel.flow = Bytes(20_000, 0, NOW)
    ledger.end(tunnel, now=NOW)
    assert ledger.learned.typical("hub", Role.API) > TYPICAL[Role.API]


def test_layers_share_routes() -> None:
    """Tunnels that bring layers are counted from their first answer until they end, with what they carry."""
    ledger = Ledger(started_at=0.0)
    tunnel = ledger.open(TARGET, "127.0.0.1:50000", BLOB, now=NOW)
    ledger.flown(tunnel, [Attempt("vpn", 0.0, ESTABLISHED)], "vpn", now=NOW)
    ledger.carried(tunnel, Carried(0, 1.0), now=NOW)
    sharing = ledger.learned.shared("hub")
    assert (sharing.count("vpn", now=NOW), sharing.rates) == (1, {})
    ledger.carried(tunnel, Carried(8_000_000, 1.0), now=NOW)
    assert sharing.rates["vpn"].alone.value == pytest.approx(8e6)
    ledger.end(tunnel, now=NOW)
    assert sharing.count("vpn", now=NOW) == 0


@pytest.mark.parametrize(("cut", "short"), [(False, 1), (True, 0)])
def test_layers_that_end_at_once(cut: bool, short: int) -> None:
    """One that ends at once over another route than the API's may have been refused, unless its route failed."""
    ledger = Ledger(started_at=0.0)
    ledger.learned.choices["hub", Role.API] = Choice("direct", NOW)
    ledger.learned.shared("hub").began(99, "direct", now=NOW)
    tunnel = ledger.open(TARGET, "127.0.0.1:50000", BLOB, now=NOW)
    ledger.flown(tunnel, [Attempt("vpn", 0.0, ESTABLISHED)], "vpn", now=NOW)
    tunnel.flow = Bytes(5_000, 700, NOW)
    if cut:
        ledger.cut(tunnel, "reset", now=NOW)
    ledger.end(tunnel, now=NOW)
    assert ledger.learned.shared("hub").short == short


def test_sharing_is_of_layers_over_known_routes() -> None:
    """Other tunnels share no layers' route, nor does one whose route means something else by now."""
    ledger = Ledger(started_at=0.0)
    api = opened(ledger)
    blob = ledger.open(TARGET, "127.0.0.1:50000", BLOB, now=NOW)
    for tunnel in (api, blob):
        ledger.raced(tunnel, [Attempt("vpn", 0.0, ESTABLISHED)], "vpn", now=NOW)
    ledger.forget({"vpn"})
    for tunnel in (api, blob):
        ledger.carried(tunnel, Carried(8_000_000, 1.0), now=NOW)
        ledger.end(tunnel, now=NOW)
    assert ledger.learned.sharing == {}


def test_forget() -> None:
    """Health of routes that mean something else now is forgotten; of the others, and the sums, it is not."""
    ledger = raced([Attempt("direct", 0.0, REFUSED), Attempt("vpn", 0.1, ESTABLISHED)], "vpn")
    ledger.forget({"direct"})
    assert set(ledger.health) == {("vpn", "hub", Role.API)}
    assert ledger.routes["direct"].failures == 1


def test_old_tunnels_tell_nothing_of_a_route_that_means_something_else() -> None:
    """What was opened before its route was forgotten counts in the sums and not in the health of the new way out."""
    ledger = raced([Attempt("direct", 0.0, ESTABLISHED)], "direct")
    (old,) = ledger.tunnels.values()
    ledger.forget({"direct"})
    ledger.cut(old, "upstream reset", now=NOW)
    assert ledger.health == {}
    assert ledger.routes["direct"].failures == 1
    ledger.raced(opened(ledger), [Attempt("direct", 0.0, ESTABLISHED)], "direct", now=NOW)
    assert health_of(ledger, "direct").streak.weight == 0


def test_nothing_was_tried() -> None:
    """A race without attempts teaches nothing."""
    ledger = raced([], None)
    assert ledger.health == {}
    assert ledger.totals().failovers["connect"] == 0


def test_life_of_a_tunnel() -> None:
    """A tunnel is shown from its request on, with the bytes of its relay, and counts for its route once ended."""
    ledger = Ledger(started_at=0.0)
    tunnel = opened(ledger, now=10.0)
    assert ledger.tunnel_views(now=12.0) == (
        TunnelView(
            id=1,
            client="127.0.0.1:50000",
            target="registry.test:443",
            registry="hub",
            role="api",
            route=None,
            phase="racing",
            bytes_in=0,
            bytes_out=0,
            age_seconds=2.0,
            idle_seconds=2.0,
        ),
    )
    ledger.raced(tunnel, [Attempt("direct", 0.0, ESTABLISHED)], "direct", now=12.0)
    tunnel.phase = TunnelPhase.RELAYING
    tunnel.flow = Bytes(700, 30, last_activity=14.0)
    (view,) = ledger.tunnel_views(now=15.0)
    assert (view.route, view.phase, view.bytes_in, view.bytes_out) == ("direct", "relaying", 700, 30)
    assert (view.age_seconds, view.idle_seconds) == (5.0, 1.0)
    assert ledger.totals() == Totals(1, {}, {"connect": 0, "first_flight": 0, "release": 0}, 700, 30)
    ledger.end(tunnel, now=15.0)
    assert ledger.tunnel_views(now=15.0) == ()
    assert tunnel.phase is TunnelPhase.ENDED
    assert (ledger.totals().bytes_in, ledger.totals().bytes_out) == (700, 30)
    assert (ledger.routes["direct"].bytes_in, ledger.routes["direct"].bytes_out) == (700, 30)


def test_tunnel_that_found_no_route() -> None:
    """A tunnel without a route ends without bytes."""
    ledger = Ledger(started_at=0.0)
    ledger.end(opened(ledger), now=NOW)
    assert (ledger.totals().tunnels, ledger.totals().bytes_in, ledger.routes) == (1, 0, {})


def test_forgotten_health() -> None:
    """A route that is another way out now has no health, for any registry; its sums and other routes stay."""
    ledger = raced([Attempt("direct", 0.0, TIMEOUT), Attempt("vpn", 0.25, ESTABLISHED)], "vpn")
    ledger.learned.of("direct", "quay", Role.API)
    ledger.forget(["direct", "office"])
    assert ledger.health.keys() == {("vpn", "hub", Role.API)}
    assert ledger.routes["direct"].failures == 1


def test_refusals_are_counted_by_code() -> None:
    """Every refusal counts under its code."""
    ledger = Ledger(started_at=0.0)
    for code in ("port", "no_route", "port"):
        ledger.refuse(code)
    assert ledger.totals().refused == {"port": 2, "no_route": 1}


def test_route_view() -> None:
    """A route's view has its description, its counts and bytes with those of open tunnels, and its last error."""
    ledger = Ledger(started_at=0.0)
    open_one, ended = opened(ledger), opened(ledger)
    ledger.raced(open_one, [Attempt("direct", 0.0, REFUSED), Attempt("vpn", 0.1, ESTABLISHED)], "vpn", now=NOW)
    ledger.raced(ended, [Attempt("vpn", 0.0, ESTABLISHED)], "vpn", now=NOW)
    open_one.flow, ended.flow = Bytes(5, 1, NOW), Bytes(70, 20, NOW)
    ledger.end(ended, now=NOW)
    row = RouteRegistryView("hub", 1.0, None, None, 0.2, "dials in 200 ms", None)
    vpn = ledger.route_view(RouteSpec("vpn", interface="wg0"), (row,), draining=True, now=NOW + 3)
    assert (vpn.name, vpn.description, vpn.circuit, vpn.draining) == ("vpn", "direct by interface wg0", "closed", True)
    assert (vpn.tunnels, vpn.bytes_in, vpn.bytes_out, vpn.attempts, vpn.failures) == (1, 75, 21, 2, 0)
    assert (vpn.last_error, vpn.last_error_seconds_ago, vpn.registries) == (None, None, (row,))
    direct = ledger.route_view(RouteSpec("direct"), (), draining=False, now=NOW + 3)
    assert (direct.attempts, direct.failures) == (1, 1)
    assert (direct.last_error, direct.last_error_seconds_ago) == ("refused", 3.0)


def test_route_view_of_an_unused_route() -> None:
    """A route that was never tried has counts of zero and a closed circuit."""
    view = Ledger(started_at=0.0).route_view(RouteSpec("direct"), (), draining=False, now=NOW)
    assert (view.circuit, view.tunnels, view.attempts, view.failures) == ("closed", 0, 0, 0)


@pytest.mark.parametrize(
    ("failures", "expected"),
    [({"hub": 0, "quay": 2}, "closed"), ({"hub": 3, "quay": 4}, "open"), ({"hub": 3, "quay": 0}, "half-open")],
)
def test_worst_circuit(failures: dict[str, int], expected: str) -> None:
    """A route's circuit is the worst among its registries, and other routes' do not matter."""
    ledger = Ledger(started_at=0.0)
    for registry, times in (failures | {"ghcr": 0}).items():
        for _ in range(times):
            ledger.learned.of("direct", registry, Role.API).failed("refused", now=NOW)
    for _ in range(9):
        ledger.learned.of("vpn", "hub", Role.BLOB).failed("refused", now=NOW)
    assert ledger.route_view(RouteSpec("direct"), (), draining=False, now=NOW + 7).circuit == expected
