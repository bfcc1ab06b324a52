"""What a tunnel that is over leaves behind: nothing, not even for the garbage collector to find."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from tests.addon.whole import DIRECT, Proxy, StartProxy, Tunnel, Upstream, configuration, free_port, until


@contextlib.contextmanager
def kept_garbage() -> Iterator[None]:
    """What only the collector can free is kept in gc.garbage meanwhile, and forgotten afterwards."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def open_and_close(proxy: Proxy, upstream: Upstream) -> None:
    """One tunnel, from its connection to the end of its record."""
    tunnel = await Tunnel.through(proxy, upstream)
    tunnel.close()
    connections = proxy.master.addons.get("proxyserver").connections
    await until(lambda: not connections and not proxy.service.snapshot().tunnels)


async def test_a_tunnel_leaves_no_garbage(start: StartProxy, upstream: Upstream) -> None:
    """Its objects hold each other in no circle: they are gone with it, and the collector never has to stop the loop."""
    port = free_port()
    proxy = await start(configuration(upstream, DIRECT, listen=f"'127.0.0.1:{port}'"), port)
    await open_and_close(proxy, upstream)
    with kept_garbage():
        for _ in range(3):
            await open_and_close(proxy, upstream)
        gc.collect()
        ours = [one for one in gc.garbage if type(one).__module__.partition(".")[0] in {"towline", "mitmproxy"}]
    assert ours == []
