"""Routes that the operator drains, in a whole proxy on loopback (whole.py)."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.addon.whole import (
    DIRECT,
    OTHER,
    Proxy,
    StartProxy,
    Tunnel,
    Upstream,
    configuration,
    free_port,
    status_of,
    until,
)

from towline import leaving
from towline.views import RouteView

pytestmark = pytest.mark.usefixtures("short_silence")


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle tunnels of a route that is left go after 0.3 s."""
    monkeypatch.setattr(leaving, "AFTER_RELOAD", 0.3)


def route(proxy: Proxy, name: str) -> RouteView:
    """The route as status.json has it."""
    return next(view for view in proxy.service.snapshot().routes if view.name == name)


async def test_drained_route_finishes_what_it_carries(start: StartProxy, upstream: Upstream) -> None:
    """No new tunnel; the idle one sees FIN, the one at work goes on and is waited for; resume puts the route back."""
    port = free_port()
    proxy = await start(configuration(upstream, OTHER, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    idle, working = await Tunnel.through(proxy, upstream), await Tunnel.through(proxy, upstream)

    with capture_logs() as logs:
        drained = proxy.service.drain_route("other")

    assert drained is not None
    assert (drained.route.draining, drained.route.tunnels, drained.in_use) == (True, 2, ("direct",))
    assert logs == [
        {"event": "route_draining", "log_level": "info", "name": "other", "tunnels": 2, "in_use": ("direct",)}
    ]
    fresh = await Tunnel.through(proxy, upstream)
    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(idle.ends())
        while not ended.done():
            await working.echo()
            await asyncio.sleep(0.02)
    await until(lambda: route(proxy, "other").tunnels == 1)
    assert (route(proxy, "other").draining, route(proxy, "direct").draining) == (True, False)
    await working.echo(b"x" * 100_000)

    resumed = proxy.service.resume_route("other")

    assert resumed is not None
    assert (resumed.route.draining, resumed.in_use) == (False, ("other", "direct"))
    await asyncio.sleep(2 * leaving.AFTER_RELOAD)
    await working.echo()  # idle as it was, it may stay
    assert upstream.peers == ["127.0.0.2", "127.0.0.2", "127.0.0.1"]
    for tunnel in (working, fresh):
        tunnel.close()


async def test_drain_says_so_in_explain(start: StartProxy, upstream: Upstream) -> None:
    """The route is left out, in the words of the answer."""
    port = free_port()
    proxy = await start(configuration(upstream, OTHER, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    proxy.service.drain_route("other")
    explained = proxy.service.explain("127.0.0.1", upstream.port)
    assert explained["excluded"] == [{"route": "other", "reason": "drained by the operator"}]


async def test_last_route_is_drained_too(start: StartProxy, upstream: Upstream) -> None:
    """Whoever drains a route is about to take it away: a request gets 503 with the reason, until it is resumed."""
    port = free_port()
    proxy = await start(configuration(upstream, OTHER, listen=f"'127.0.0.1:{port}'"), port)
    drained = proxy.service.drain_route("other")
    assert drained is not None
    assert drained.in_use == ()
    with capture_logs() as logs:
        assert await status_of(proxy, upstream) == 503
    (told,) = [entry for entry in logs if entry["event"] == "no_route"]
    assert "(other: drained by the operator) - towline explain 127.0.0.1" in told["why"]
    proxy.service.resume_route("other")
    assert await status_of(proxy, upstream) == 200


async def test_drain_outlives_a_reload(start: StartProxy, upstream: Upstream) -> None:
    """Whatever else changes, also about the route itself; a route that left and returns begins anew."""
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, OTHER, DIRECT, listen=listen), port)
    proxy.service.drain_route("other")
    for other in (OTHER, "other: {source: 127.0.0.2, cost: 1}"):
        await proxy.reload(configuration(upstream, other, DIRECT, listen=listen))
        assert route(proxy, "other").draining
        assert await status_of(proxy, upstream) == 200
    assert set(upstream.peers) == {"127.0.0.1"}
    for routes in ((DIRECT,), (OTHER, DIRECT)):
        await proxy.reload(configuration(upstream, *routes, listen=listen))
    assert not route(proxy, "other").draining


async def test_route_that_does_not_exist(start: StartProxy, upstream: Upstream) -> None:
    """None, and nothing is kept of the name."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    assert (proxy.service.drain_route("other"), proxy.service.resume_route("other")) == (None, None)
    await proxy.reload(configuration(upstream, DIRECT, OTHER, listen=f"'127.0.0.1:{port}'"))
    assert not route(proxy, "other").draining
