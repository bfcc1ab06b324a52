"""Measuring over real dialers, with a registry on loopback: what is asked for is probed, and the ledger learns."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
import trustme
from structlog.testing import capture_logs
from tests.net.fake_dialer import FakeDialer, Hang
from tests.net.peers import Script, says
from tests.net.registries import Registry, answer
from tests.net.ways import dialer_of

from towline import measuring as module
from towline.core.allowance import Allowance
from towline.core.circuit import Circuit
from towline.core.evidence import Finding
from towline.core.ledger import Ledger, Tunnel
from towline.core.probes import Probes, _Pace
from towline.errors import Refused
from towline.measuring import Measuring, Present
from towline.net import probe as probing
from towline.net.dialer import Dialer
from towline.types import Classification, Ranking, Role, Target, TunnelPhase

pytestmark = pytest.mark.usefixtures("system_roots", "no_complaint", "nothing_left")

LIMIT = 64 * 1024 * 1024


class Bench:
    """A Measuring of a registry, over the routes `direct` and `http`."""

    def __init__(self, registry: Registry, dialers: dict[str, Dialer]) -> None:
        self.registry = registry
        registry.routes = tuple(dialers)
        self.dialers = dialers
        self.ledger = Ledger(started_at=0.0)
        self.refused = False
        probes = Probes(Allowance(LIMIT), random.Random(1))
        self.told: list[Sequence[Finding]] = []
        self.measuring = Measuring(
            self.ledger, lambda: Present(self.rank, self.dialers, self.image), probes, self.told.append
        )

    def rank(self, target: Target) -> Ranking:
        if self.refused:
            raise Refused(403, "unlisted", "not any more")  # type: ignore[arg-type]
        return self.registry.rank(target)

    def image(self, target: Target) -> str | None:
        return "library/test" if target == self.registry.target else None

    def what(self, role: Role = Role.API) -> Classification:
        return self.registry.rank(self.registry.host(role)).classification

    def ask(self, role: Role = Role.API) -> None:
        self.measuring.asked(self.registry.host(role), self.what(role))

    async def rounds_ended(self) -> None:
        """Everything that is due has been probed."""
        async with asyncio.timeout(20):
            await asyncio.sleep(0)
            while self.measuring._tasks:
                await asyncio.wait(self.measuring._tasks)
                await asyncio.sleep(0)

    def known(self, role: Role) -> dict[str, float | None]:
        """Routes that something was learned of, and their rate."""
        return {
            route: health.rate.value
            for (route, registry, of), health in self.ledger.learned.health.items()
            if of is role and registry == "hub"
        }


@pytest.fixture
async def bench(authority: trustme.CA) -> AsyncIterator[Bench]:
    """Two routes to a registry that is well."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(Registry.open(authority))
        dialers = {kind: await stack.enter_async_context(dialer_of(kind, authority)) for kind in ("direct", "http")}
        bench = Bench(registry, dialers)
        stack.callback(bench.measuring.close)
        yield bench


async def test_idle_is_idle(bench: Bench) -> None:
    """Without a client there is no probe, no task and no timer."""
    assert bench.measuring._timer is None
    assert bench.measuring._tasks == set()
    assert bench.registry.api.heads == []
    assert bench.measuring.view().limit == LIMIT


async def test_what_is_asked_for_is_probed_over_every_route(bench: Bench) -> None:
    """The ledger learns of API, token host and blobs; the next moment is set, and the cost is told."""
    bench.ask()
    await bench.rounds_ended()
    for role in (Role.API, Role.AUTH, Role.BLOB):
        assert set(bench.known(role)) == {"direct", "http"}
    assert [head.split(" ")[1] for head in bench.registry.api.heads].count("/v2/") == 2
    assert len(bench.registry.blob.heads) == 2
    assert [[finding.route for finding in together] for together in bench.told] == [["direct", "http"]] * 3
    view = bench.measuring.view()
    assert (view.count, view.failed) == (2, 0)
    assert 2 * 256 * 1024 < view.bytes_last_hour < 1024 * 1024
    assert isinstance(bench.measuring._timer, asyncio.TimerHandle)
    assert 0 < bench.measuring._timer.when() - asyncio.get_running_loop().time() < 10


async def test_asked_again_it_waits(bench: Bench) -> None:
    """What was probed just now is not probed for the next client."""
    bench.ask()
    await bench.rounds_ended()
    bench.ask()
    await bench.rounds_ended()
    assert bench.measuring.view().count == 2


async def test_plain_hosts_are_not_probed(bench: Bench) -> None:
    """At port 80 there is no TLS to hear."""
    bench.measuring.asked(Target("registry.test", 80), bench.what())
    await bench.rounds_ended()
    assert bench.measuring.view().count == 0


async def test_a_dead_route_is_told_from_a_dead_host(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two routes to a host the one that does not reach it is at fault; where neither does, none is."""
    bench.registry.blob.now("/layer", answer(503))
    with FakeDialer(Hang()) as dead:
        monkeypatch.setattr("towline.net.probe.HEAR_TIME", 0.3)
        bench.dialers["http"] = dead
        bench.registry.routes = ("direct", "http")
        with capture_logs() as logs:
            bench.ask()
            await bench.rounds_ended()
    health = bench.ledger.learned.health
    assert health["http", "hub", Role.API].failures == 1
    assert health["direct", "hub", Role.API].failures == 0
    assert health["direct", "hub", Role.BLOB].failures == 0
    told = [entry for entry in logs if entry["event"] == "probe" and entry["log_level"] == "info"]
    assert sorted((entry["route"], entry["role"]) for entry in told) == [("direct", "blob"), ("http", "api")]
    assert not any(entry["ok"] for entry in told)
    assert bench.measuring.view().failed == 2


@pytest.mark.parametrize("first", [answer(500), None], ids=["broken", "well"])
async def test_only_news_is_told(bench: Bench, first: Script | None) -> None:
    """What is as it was is for debug; a change of either kind is told, and that a host is well at first is none."""
    told: list[list[bool]] = []
    for script in (first, first, answer(500), None, None):
        bench.registry.behave()
        if script is not None:
            bench.registry.api.now("/v2/", script)
        with capture_logs() as logs:
            await bench.measuring.probe(bench.registry.target)
        told.append([entry["ok"] for entry in logs if entry["log_level"] == "info"])
    broken = [] if first is None else [False, False]
    worse = [False, False] if first is None else []
    assert told == [broken, [], worse, [True, True], []]


async def test_a_change_of_network_drops_what_is_under_way(bench: Bench) -> None:
    """Its findings are not learned; everything is probed anew."""
    bench.registry.api.now("/v2/", says(b""))
    bench.ask()
    await asyncio.wait_for(bench.registry.api.reached.wait(), 10)
    bench.registry.behave()
    passed_over = bench.measuring._images.passed_over
    passed_over["direct", (bench.registry.target, "library/test")] = math.inf
    bench.measuring.changed()
    assert not passed_over, "what could not be read on one network may be readable on the next"
    await asyncio.wait_for(bench.rounds_ended(), 20)
    while bench.measuring.view().count < 4:  # the next plan is made when what was dropped has closed
        await bench.rounds_ended()
    await bench.rounds_ended()
    assert set(bench.known(Role.API)) == {"direct", "http"}
    assert bench.ledger.learned.health["direct", "hub", Role.API].failures == 0


async def test_tokens_of_another_network_are_not_shown_here(bench: Bench) -> None:
    """They were given to another address; the digest of a layer is the same in any network."""
    bench.ask()
    await bench.rounds_ended()
    images = bench.measuring._images
    assert images.tokens
    bench.measuring.changed()
    assert not images.tokens
    assert images.layers


async def test_an_open_tunnel_keeps_its_registry_in_use(bench: Bench) -> None:
    """While its bytes move; and it tells of its route, which is not read over then."""
    now = asyncio.get_running_loop().time()

    class Flow:
        bytes_in = bytes_out = 1
        last_activity = now

    tunnel = Tunnel(1, "127.0.0.1:5", bench.registry.host(Role.BLOB), bench.what(Role.BLOB), now - 5000.0)
    tunnel.phase, tunnel.route, tunnel.flow = TunnelPhase.RELAYING, "direct", Flow()
    bench.ledger.tunnels[1] = tunnel
    bench.ask()
    await bench.rounds_ended()
    assert len(bench.registry.blob.heads) == 1
    assert bench.measuring.view().count == 4  # the API and the blob's host, over two routes each


async def test_by_hand_everything_is_probed(bench: Bench) -> None:
    """At once, whatever was probed before, and over a single route as well."""
    bench.registry.routes = ("direct",)
    view = await bench.measuring.probe(bench.registry.target)
    assert (view.target, view.registry, view.role) == (str(bench.registry.target), "hub", "api")
    assert [(found.route, found.role, found.ok) for found in view.findings] == [
        ("direct", "api", True),
        ("direct", "auth", True),
        ("direct", "blob", True),
    ]
    assert bench.measuring.in_use == []
    assert bench.measuring.view().bytes_last_hour == sum(found.bytes for found in view.findings)


async def test_a_reload_may_forbid_what_is_in_use(bench: Bench) -> None:
    """It is not probed any more; and with no bytes to spend nothing is."""
    bench.ask()
    await bench.rounds_ended()
    bench.refused = True
    bench.measuring.reloaded(LIMIT, ["direct"])
    await bench.rounds_ended()
    assert bench.measuring.view().count == 2
    bench.refused = False
    bench.ledger.forget(["direct", "http"])
    bench.measuring.reloaded(0, ["direct", "http"])
    await bench.rounds_ended()
    assert (bench.measuring.view().count, bench.measuring.view().limit) == (2, 0)
    bench.measuring.reloaded(LIMIT, [])
    await bench.rounds_ended()
    assert bench.measuring.view().count == 4


async def test_a_route_that_a_reload_took_is_not_probed(bench: Bench) -> None:
    """Between a plan and its probes."""
    del bench.dialers["http"]
    view = await bench.measuring.probe(bench.registry.target)
    assert {found.route for found in view.findings} == {"direct"}


async def test_a_reload_while_the_probes_are_imported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they go over is what serves when they begin."""
    load = module._load_probe

    async def reloaded() -> None:
        bench.dialers = {"http": bench.dialers["http"]}
        await load()

    monkeypatch.setattr(module, "_load_probe", reloaded)
    view = await bench.measuring.probe(bench.registry.target)
    assert {found.route for found in view.findings} == {"http"}


async def test_a_bug_is_shown_and_the_others_go_on(bench: Bench) -> None:
    """A dialer that crashes costs its own probe."""

    class Broken:
        async def dial(self, target: Target, *, deadline: float) -> None:
            raise RuntimeError("a bug")

    bench.dialers["http"] = Broken()  # type: ignore[assignment]
    with capture_logs() as logs:
        bench.ask()
        await bench.rounds_ended()
    assert "probe_crashed" in [entry["event"] for entry in logs]
    assert set(bench.known(Role.API)) == {"direct"}


async def test_what_a_crashed_probe_has_read_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allowance is of bytes, whoever is to blame for them."""

    def crash(*args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(probing, "why_no_registry", crash)
    with capture_logs() as logs:
        bench.ask()
        await bench.rounds_ended()
    assert [entry["event"] for entry in logs].count("probe_crashed") == 2
    assert bench.measuring.view().bytes_last_hour > 2000  # two handshakes


async def test_a_failing_route_is_heard_again_soon(bench: Bench) -> None:
    """Its circuit is open: that is what the plan is told."""
    health = bench.ledger.learned.of("http", "hub", Role.API)
    for _ in range(3):
        health.failed("reset", now=asyncio.get_running_loop().time())
    assert health.circuit(now=asyncio.get_running_loop().time()) is Circuit.OPEN
    standing = next(s for s in bench.measuring._standings(bench.registry.target, bench.what()) if s.route == "http")
    assert standing.failing
    assert standing.heard_at is not None
    bench.ask()
    await bench.rounds_ended()
    assert health.circuit(now=asyncio.get_running_loop().time()) is Circuit.CLOSED


async def test_a_route_that_is_back_is_read_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a route that was silent no read was made; once it is heard, it is made, and not with the next turn."""
    monkeypatch.setattr("towline.net.probe.HEAR_TIME", 0.3)
    monkeypatch.setattr("towline.core.probes._WHILE_PULLING", _Pace(0.1, 0.1, read=3600.0, read_first=3600.0))
    back = bench.dialers["http"]
    with FakeDialer(Hang()) as dead:
        bench.dialers["http"] = dead
        bench.ask()
        await bench.rounds_ended()
    assert bench.known(Role.BLOB).keys() == {"direct"}
    read = asyncio.Event()

    def told(findings: Sequence[Finding]) -> None:
        if any(finding.route == "http" and finding.carried for finding in findings):
            read.set()

    bench.measuring.probed = told
    bench.dialers["http"] = back
    async with asyncio.timeout(20):
        await read.wait()


async def test_closed_it_does_nothing_more(bench: Bench) -> None:
    """What is under way ends, and nothing begins."""
    bench.registry.api.now("/v2/", says(b""))
    bench.ask()
    await asyncio.wait_for(bench.registry.api.reached.wait(), 10)
    bench.measuring.close()
    await bench.rounds_ended()
    assert bench.measuring.view().count == 2


async def test_the_usual_one(bench: Bench) -> None:
    """As the service makes it."""
    made = module.measuring(bench.ledger, bench.measuring.present, 1000, bench.told.append)
    assert made.view().limit == 1000
