"""Reload and stop of a whole proxy on loopback (whole.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest
from structlog.testing import capture_logs
from tests.addon.embedded import DEADLINE
from tests.addon.whole import (
    DIRECT,
    ESTABLISHED,
    OTHER,
    StartProxy,
    Tunnel,
    Upstream,
    configuration,
    connect_to,
    free_port,
    status_of,
    until,
)

from towline import leaving
from towline.proxy.master import HEAD_GRACE
from towline.types import Address


async def test_routes_that_stay_are_not_touched(start: StartProxy, upstream: Upstream) -> None:
    """A tunnel goes on over a route that stays, with the health that was learned; the log has one line."""
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, DIRECT, OTHER, listen=listen), port)
    tunnel = await Tunnel.through(proxy, upstream)

    logs = await proxy.reload(configuration(upstream, DIRECT, "third: {mark: 7}", listen=listen))

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("reloaded", "info")]
    assert {name: logs[0][name] for name in ("added", "removed", "changed", "kept", "settings")} == {
        "added": ("third",),
        "removed": ("other",),
        "changed": (),
        "kept": ("direct",),
        "settings": (),
    }
    view = proxy.service.snapshot()
    assert [(route.name, route.tunnels, route.attempts) for route in view.routes] == [("direct", 1, 1), ("third", 0, 0)]
    assert [len(route.registries) for route in view.routes] == [1, 0], "health stays"
    assert (view.reload.count, view.reload.ok, view.reload.problems) == (1, True, ())
    await tunnel.echo(b"x" * 100_000)
    assert upstream.peers == ["127.0.0.1"]
    tunnel.close()


@pytest.mark.parametrize("after", [DIRECT, f"{DIRECT}, other: {{source: 127.0.0.2, disabled: true}}"])
async def test_route_that_leaves(
    monkeypatch: pytest.MonkeyPatch, start: StartProxy, upstream: Upstream, after: str
) -> None:
    """Removed or disabled: no new tunnel, FIN for idle ones, those at work go on, and the route shows as draining."""
    monkeypatch.setattr(leaving, "AFTER_RELOAD", 0.3)
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, OTHER, DIRECT, listen=listen), port)
    idle, working = await Tunnel.through(proxy, upstream), await Tunnel.through(proxy, upstream)

    await proxy.reload(configuration(upstream, after, listen=listen))

    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(idle.ends())
        while not ended.done():
            await working.echo()
            await asyncio.sleep(0.02)
    await until(lambda: len(proxy.service.snapshot().tunnels) == 1)
    views = {view.name: view for view in proxy.service.snapshot().routes}
    assert (views["other"].draining, views["other"].tunnels, views["direct"].draining) == (True, 1, False)
    fresh = await Tunnel.through(proxy, upstream)
    assert upstream.peers == ["127.0.0.2", "127.0.0.2", "127.0.0.1"]
    await working.echo(b"x" * 100_000)
    working.close()
    await until(lambda: len(proxy.service.snapshot().tunnels) == 1)
    views = {view.name: view for view in proxy.service.snapshot().routes}
    assert "other" not in views or not views["other"].draining
    fresh.close()


async def test_route_that_changes(monkeypatch: pytest.MonkeyPatch, start: StartProxy, upstream: Upstream) -> None:
    """Under its name another way out is used at once, its health begins anew, and the old tunnels go."""
    monkeypatch.setattr(leaving, "AFTER_RELOAD", 0.3)
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, OTHER, listen=listen), port)
    idle = await Tunnel.through(proxy, upstream)

    logs = await proxy.reload(configuration(upstream, "other: {source: 127.0.0.3}", listen=listen))

    assert logs[0]["changed"] == ("other",)
    assert proxy.service.snapshot().routes[0].registries == ()
    fresh = await Tunnel.through(proxy, upstream)
    assert upstream.peers == ["127.0.0.2", "127.0.0.3"]
    await idle.ends()
    await fresh.echo()
    fresh.close()


async def test_released_tunnel_is_watched_no_more(
    monkeypatch: pytest.MonkeyPatch, start: StartProxy, upstream: Upstream
) -> None:
    """A client that takes its time to close must not make the route that it used look dead."""
    monkeypatch.setattr(leaving, "AFTER_RELOAD", 0.1)
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, OTHER, listen=listen), port)
    tunnel = await Tunnel.through(proxy, upstream)
    watched = proxy.service._serving.watching._looks
    assert len(list(watched)) == 1
    await proxy.reload(configuration(upstream, DIRECT, listen=listen))
    await until(lambda: not list(watched))
    assert len(proxy.service.snapshot().tunnels) == 1
    await tunnel.ends()


async def test_bad_file_changes_nothing(start: StartProxy, upstream: Upstream) -> None:
    """Every problem is a line of the log with its place, and all goes on as before, until the file is right again."""
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    good = configuration(upstream, DIRECT, listen=listen)
    proxy = await start(good, port)
    tunnel = await Tunnel.through(proxy, upstream)

    logs = await proxy.reload(good.replace("direct: {}", "direct: {interfce: wg0}") + "limits: {drain: -1}\n")

    assert [(entry["event"], entry["log_level"], entry["place"], entry["key"]) for entry in logs] == [
        ("not_reloaded", "error", "towline.yaml:3", "routes.direct.interfce"),
        ("not_reloaded", "error", "towline.yaml:5", "limits.drain"),
    ]
    view = proxy.service.snapshot().reload
    assert (view.count, view.ok, len(view.problems)) == (1, False, 2)
    assert view.problems[0].startswith("towline.yaml:3: routes.direct.interfce: unknown key\n  hint: ")
    await tunnel.echo()
    assert await status_of(proxy, upstream) == 200
    await proxy.reload(good)
    assert proxy.service.snapshot().reload.ok
    tunnel.close()


async def test_settings_apply_to_the_next_request(start: StartProxy, upstream: Upstream) -> None:
    """Policy, access and limits are those of the new file; a tunnel that is open stays."""
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, DIRECT, listen=listen), port)
    tunnel = await Tunnel.through(proxy, upstream)
    for more, status in [
        ("access: {clients: [10.0.0.0/8]}", 403),
        ("limits: {tunnels: 1}", 503),
        ("failover: {budget_unlisted: 3}", 200),
    ]:
        logs = await proxy.reload(configuration(upstream, DIRECT, listen=listen, more=more))
        assert more.partition(":")[0] in logs[0]["settings"]
        assert await status_of(proxy, upstream) == status
    await tunnel.echo()
    tunnel.close()


async def test_reload_takes_less_than_its_bound(start: StartProxy, upstream: Upstream) -> None:
    """It is done 100 ms after the signal, whatever the tunnels do; the best of five, since the machine is shared."""
    port = free_port()
    listen = f"'127.0.0.1:{port}'"
    proxy = await start(configuration(upstream, DIRECT, OTHER, listen=listen), port)
    tunnels = [await Tunnel.through(proxy, upstream) for _ in range(20)]
    loop = asyncio.get_running_loop()
    taken = []
    for number in range(5):
        routes = (OTHER, DIRECT) if number % 2 else (DIRECT,)
        began = loop.time()
        await proxy.reload(configuration(upstream, *routes, listen=listen))
        taken.append(loop.time() - began)
    assert min(taken) < 0.1
    for tunnel in tunnels:
        tunnel.close()


async def test_listeners_follow_the_file(start: StartProxy, upstream: Upstream) -> None:
    """One is added, the other is removed, a wildcard takes over its port; one that stays loses no connection."""
    first, second = free_port(), free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{first}'"), first)
    waiting, _ = held = await proxy.connect()  # accepted, and silent during what follows

    await proxy.reload(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{first}', '127.0.0.1:{second}'"))
    assert proxy.service.snapshot().listen == (f"127.0.0.1:{first}", f"127.0.0.1:{second}")
    held[1].write(connect_to(upstream))
    async with asyncio.timeout(DEADLINE):
        assert await waiting.readexactly(len(ESTABLISHED)) == ESTABLISHED
    held[1].close()

    proxy.port = second
    logs = await proxy.reload(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{second}'"))
    assert [entry["settings"] for entry in logs if entry["event"] == "reloaded"] == [("listen",)]
    assert await status_of(proxy, upstream) == 200
    with pytest.raises(ConnectionRefusedError):
        await proxy.connect(first)

    wild = configuration(upstream, DIRECT, listen=f"'0.0.0.0:{second}'", more="access: {clients: [127.0.0.0/8]}\n")
    await proxy.reload(wild)
    assert proxy.service.snapshot().listen == (f"0.0.0.0:{second}",)
    assert await status_of(proxy, upstream) == 200


async def test_listener_that_cannot_be_opened(start: StartProxy, upstream: Upstream) -> None:
    """It is told like a problem of the file, and nothing is changed: neither the listeners nor the routes."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        logs = await proxy.reload(configuration(upstream, OTHER, listen=f"'127.0.0.1:{other}'"))
    failed = [entry for entry in logs if entry["event"] == "not_reloaded"]
    assert [(entry["place"], entry["key"]) for entry in failed] == [("towline.yaml", "listen")]
    assert failed[0]["why"] == f"cannot listen on 127.0.0.1:{other}: Address already in use"
    assert "is another proxy running there?" in failed[0]["hint"]
    view = proxy.service.snapshot()
    assert (view.ready, view.listen, view.reload.ok) == (True, (f"127.0.0.1:{port}",), False)
    assert await status_of(proxy, upstream) == 200
    assert upstream.peers == ["127.0.0.1"]


async def test_admin_address_waits_for_a_restart(start: StartProxy, upstream: Upstream) -> None:
    """A reload says so and applies the rest."""
    port = free_port()
    before = configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'")
    proxy = await start(before, port)
    logs = await proxy.reload(before.replace("admin: null", f"admin: '127.0.0.1:{free_port()}'"))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("reloaded", "info"),
        ("restart_needed", "warning"),
    ]
    assert proxy.service.snapshot().reload.restart == ("admin",)


async def test_reload_that_breaks(start: StartProxy, upstream: Upstream) -> None:
    """A bug in it is logged, costs no tunnel, and the next reload is served."""
    port = free_port()
    text = configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'")
    proxy = await start(text, port)
    tunnel = await Tunnel.through(proxy, upstream)
    proxy.text = None  # type: ignore[assignment]
    with capture_logs() as logs:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: bool(logs))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("reload_broke", "error")]
    await tunnel.echo()
    await proxy.reload(text)
    assert proxy.service.snapshot().reload.ok
    tunnel.close()


async def test_reload_without_a_signal(start: StartProxy, upstream: Upstream) -> None:
    """Awaited to its end, good or bad; two that are asked for at once are one."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    proxy.text = configuration(upstream, DIRECT, OTHER, listen=f"'127.0.0.1:{port}'")
    assert all(await asyncio.gather(proxy.master.reload(), proxy.master.reload()))
    view = proxy.service.snapshot().reload
    assert (view.count, view.ok, view.added) == (1, True, ("other",))
    proxy.text = "nonsense: 1"
    assert await proxy.master.reload()
    view = proxy.service.snapshot().reload
    assert (view.count, view.ok) == (2, False)


async def test_no_reload_at_a_stop(start: StartProxy, upstream: Upstream) -> None:
    """Whoever waits for one is not kept waiting."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    begun = asyncio.Event()

    async def listen_on(_addresses: object) -> list[str]:
        begun.set()
        await asyncio.Event().wait()
        return []

    proxy.master.listen_on = listen_on  # type: ignore[method-assign, assignment]
    asked = asyncio.get_running_loop().create_task(proxy.master.reload())
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
        proxy.master.stop()
        assert await asked is False
        assert await proxy.master.reload() is False


async def test_readiness_goes_first(monkeypatch: pytest.MonkeyPatch, start: StartProxy, upstream: Upstream) -> None:
    """When the listener closes, the proxy has said already that it is not ready; the supervisor knows for how long."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    listeners = proxy.master.addons.get("proxyserver")
    closed_at: list[tuple[bool, list[str]]] = []
    close = listeners.update

    async def update(addresses: list[Address]) -> None:
        closed_at.append((proxy.service.snapshot().ready, list(proxy.listener.told)))
        await close(addresses)

    monkeypatch.setattr(listeners, "update", update)
    proxy.master.stop()
    await asyncio.wait_for(asyncio.shield(proxy.serving), DEADLINE)
    assert closed_at == [(False, ["ready", "stopping within 36.5 s"])]


async def test_accepted_client_is_served(start: StartProxy, upstream: Upstream) -> None:
    """Who was accepted before the stop and asks after it gets its tunnel; who asks nothing is waited for shortly."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    reader, writer = await proxy.connect()
    _, silent = await proxy.connect()
    connections = proxy.master.addons.get("proxyserver").connections
    await until(lambda: len(connections) == 2)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: not proxy.service.snapshot().ready)
    with pytest.raises(ConnectionRefusedError):
        await proxy.connect()
    writer.write(connect_to(upstream))
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED
    tunnel = Tunnel(reader, writer)
    for _ in range(int(HEAD_GRACE / 0.1) + 2):
        await tunnel.echo()
        await asyncio.sleep(0.1)
    assert not proxy.serving.done(), "an open tunnel is waited for"
    tunnel.close()
    await asyncio.wait_for(asyncio.shield(proxy.serving), DEADLINE)
    silent.close()


async def test_idle_tunnels_hold_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, start: StartProxy, upstream: Upstream
) -> None:
    """They get FIN after some silence, one at work goes on, and the log names what is waited for."""
    monkeypatch.setattr(leaving, "AT_STOP", 0.3)
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    idle, working = await Tunnel.through(proxy, upstream), await Tunnel.through(proxy, upstream)
    with capture_logs() as logs:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(idle.ends())
            while not ended.done():
                await working.echo()
                await asyncio.sleep(0.02)
        assert not proxy.serving.done()
        await working.ends()
        await asyncio.wait_for(asyncio.shield(proxy.serving), DEADLINE)
    (first, *_) = [entry for entry in logs if entry["event"] == "draining"]
    assert (first["tunnels"], first["waiting_for"]) == (2, [f"127.0.0.1:{upstream.port} over direct"] * 2)
    assert [entry["end"] for entry in logs if entry["event"] == "tunnel"] == ["released", "released"]


async def test_terminal_that_closes_ends_it(start: StartProxy, upstream: Upstream) -> None:
    """SIGHUP means the end where it comes from the loss of the terminal that Towline was started in."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    proxy.master._on_terminal = True  # stderr is none by now: pytest has it
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.wait_for(asyncio.shield(proxy.serving), DEADLINE)
    assert proxy.service.snapshot().reload.count == 0


async def test_passed_socket_outlives_the_proxy(start: StartProxy, upstream: Upstream) -> None:
    """A socket that was open before is listened on, kept over reloads that drop and take it, and left listening."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        text = configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'")
        proxy = await start(text, port, {held.getsockname(): held.fileno()})
        assert await status_of(proxy, upstream) == 200

        await proxy.reload(text.replace(str(port), str(free_port()), 1))
        _, writer = waiting = await proxy.connect(port)  # in the backlog
        writer.write(connect_to(upstream))
        await proxy.reload(text)
        async with asyncio.timeout(DEADLINE):
            assert await waiting[0].readexactly(len(ESTABLISHED)) == ESTABLISHED
        writer.close()

        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.shield(proxy.serving), DEADLINE)
        reader, writer = await proxy.connect(port)
        writer.write(connect_to(upstream))
        await start(text, port, {held.getsockname(): held.fileno()})
        async with asyncio.timeout(DEADLINE):
            assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED
        writer.close()
