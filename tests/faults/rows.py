"""The rows of the fault table: what goes wrong, over which kind of route, and what is asked of Towline then.

In most rows there are two routes: `first`, which misbehaves and is preferred, and `second`, which is healthy. The first
is the faulty proxy, or a link of its own for what only the kernel can do.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.rig.process import wait_until
from tests.e2e.rig.world import INTERFACE_LINK, SOURCE, SOURCE_LINK
from tests.faults.clients import signal_reader
from tests.faults.links import Hits, Lasting, Links, once
from tests.faults.row import RESUMING, Asked, Fault, Row
from tests.faults.scene import MIDWAY, Scene
from tests.faults.stage import FAULTY_PROXY

MB = 1_000_000
CUT = 6 * MB  # bytes of a tunnel: about a third of a layer

# The second costs a little: else measuring would soon make it the first, and the fault would strike nothing.
SECOND: dict[str, Any] = {"source": SOURCE, "cost": 0.3}
BY_PROXY = {"first": {"proxy": FAULTY_PROXY}, "second": SECOND}
BY_LINK = {"first": {"interface": INTERFACE_LINK}, "second": SECOND}
BY_SOURCE = {"first": {"source": SOURCE}, "second": {"interface": INTERFACE_LINK, "cost": 0.3}}
LINK_ALONE = {"first": {"interface": INTERFACE_LINK}}

CRIO = (*RESUMING, "crio")
OLD = ("podman", "skopeo")  # Debian 12's, which resume nothing
EVERYONE = (*RESUMING, *OLD)

CONNECT = Asked("connect", 0.5)
FLIGHT = Asked("first flight", 2.0)
CUTS = Asked("cut", 0.5, waits=True)
SILENCE = Asked("silence", 5.0, waits=True)
STUCK = Asked("silence", 10.0, waits=True)  # on a route that lives: core/stall.py waits 8 s for a connection
TRICKLE = Asked("trickle", 25.0, waits=True)  # core/stall.py watches for 20 s
HOLD = Asked("hold", releases=False)
COMPLETE = Asked("complete")


def at_link(fault: Callable[..., Lasting], *arguments: Any) -> Fault:
    """A method of Links as a fault."""
    return lambda scene: fault(scene.stage.links, *arguments)


def at_proxy(kind: str, after: int = 0) -> Fault:
    """The faulty proxy misbehaves toward new tunnels."""

    @contextmanager
    def misbehaving(scene: Scene) -> Iterator[Hits]:
        proxy = scene.stage.proxy
        proxy.order(fault=kind, after=after)
        yield lambda: proxy.order().hits

    return misbehaving


@contextmanager
def proxy_refuses(scene: Scene) -> Iterator[Hits]:
    """The proxy does not listen."""
    scene.stage.proxy.order(fault="refuse")
    yield once


def proxy_freezes(which: str, *, new_ones: bool) -> Fault:
    """Live tunnels stand still; new ones, too, where `new_ones` is set."""

    @contextmanager
    def freezing(scene: Scene) -> Iterator[Hits]:
        proxy = scene.stage.proxy
        if new_ones:
            proxy.order(fault="silent")
        proxy.order(freeze=which)
        yield lambda: proxy.order().hits

    return freezing


@contextmanager
def proxy_stopped(scene: Scene) -> Iterator[Hits]:
    """The process of the proxy stands still, while the kernel goes on accepting and acknowledging for it."""
    scene.stage.proxy.signal(signal.SIGSTOP)
    try:
        yield once
    finally:
        scene.stage.proxy.signal(signal.SIGCONT)


@contextmanager
def proxy_killed(scene: Scene) -> Iterator[Hits]:
    """The process of the proxy is gone."""
    scene.stage.proxy.kill()
    try:
        yield once
    finally:
        scene.stage.proxy.start()


def for_a_while(fault: Fault, seconds: float) -> Fault:
    """A fault that is over before the pull is."""

    @contextmanager
    def passing(scene: Scene) -> Iterator[Hits]:
        with fault(scene):
            scene.wait(seconds)
        yield once

    return passing


@contextmanager
def flapping(scene: Scene) -> Iterator[Hits]:
    """The first link is dead every other half second."""
    while scene.wait(0.5):
        with scene.stage.links.dead(INTERFACE_LINK):
            scene.wait(0.5)
    yield once


@contextmanager
def client_paused(scene: Scene) -> Iterator[Hits]:
    """The client reads nothing for 15 s."""
    assert scene.pull is not None
    signal_reader(scene.client, scene.pull, signal.SIGSTOP)
    scene.wait(15.0)
    signal_reader(scene.client, scene.pull, signal.SIGCONT)
    yield once


@contextmanager
def client_gone(scene: Scene) -> Iterator[Hits]:
    """A pull before this one was killed midway: its tunnels end within 5 s."""
    with scene.begin_pull() as pull:
        scene.wait_for_bytes(MIDWAY)
        pull.signal(signal.SIGKILL)
    wait_until(lambda: not _layers(scene), "the tunnels of a killed client are gone", timeout=5)
    yield once


def _layers(scene: Scene) -> list[dict[str, Any]]:
    """The open tunnels that bring layers; dockerd keeps idle ones to the API for a while."""
    return [tunnel for tunnel in scene.towline.status()["tunnels"] if tunnel["role"] == "blob"]


def towline_ends(number: signal.Signals) -> Fault:
    """Towline gets a signal, and another is started when it is gone."""

    @contextmanager
    def ending(scene: Scene) -> Iterator[Hits]:
        scene.restart_towline(number)
        yield once

    return ending


@contextmanager
def nothing(_: Scene) -> Iterator[Hits]:
    """No fault: the clean pull."""
    yield once


CLEAN = Row("none, by proxy", HOLD, BY_PROXY, nothing, clients=EVERYONE)
CLEAN_ALONE = Row("none, one route", HOLD, LINK_ALONE, nothing, clients=EVERYONE)
FIRST = INTERFACE_LINK

ROWS = (
    # Before the 200.
    Row("proxy refuses", CONNECT, BY_PROXY, proxy_refuses, clients=EVERYONE, short="skopeo"),
    Row("proxy accepts, then silence", CONNECT, BY_PROXY, at_proxy("silent"), clients=EVERYONE, short="podman"),
    Row("proxy accepts, then FIN", CONNECT, BY_PROXY, at_proxy("close"), clients=EVERYONE),
    Row("407 from proxy", CONNECT, BY_PROXY, at_proxy("407"), clients=EVERYONE, short="docker"),
    Row("502 from proxy", CONNECT, BY_PROXY, at_proxy("502"), clients=EVERYONE),
    Row("garbage from proxy", CONNECT, BY_PROXY, at_proxy("garbage"), clients=EVERYONE),
    Row("reply drips, a byte a second", CONNECT, BY_PROXY, at_proxy("drip"), clients=EVERYONE),
    Row("link refuses", CONNECT, BY_LINK, at_link(Links.refusing, FIRST), clients=EVERYONE),
    Row("SYN swallowed", CONNECT, BY_LINK, at_link(Links.swallowing, FIRST), clients=EVERYONE, short="ctr"),
    Row("link down from the start", CONNECT, BY_LINK, at_link(Links.down, FIRST), clients=EVERYONE),
    # After the 200, before a server's first byte.
    Row("200, then silence", FLIGHT, BY_PROXY, at_proxy("200-silent"), clients=EVERYONE, short="goclient"),
    Row("200, then FIN", FLIGHT, BY_PROXY, at_proxy("200-close"), clients=EVERYONE, short="skopeo"),
    Row("200, then RST", FLIGHT, BY_PROXY, at_proxy("200-reset"), clients=EVERYONE, short="ctr"),
    Row("200, then a block page", FLIGHT, BY_PROXY, at_proxy("200-page"), clients=EVERYONE, short="docker"),
    Row("MTU black hole", FLIGHT, BY_LINK, at_link(Links.narrow, FIRST), clients=EVERYONE),
    Row("200, then a TLS alert", FLIGHT, BY_PROXY, at_proxy("200-alert"), clients=EVERYONE),
    # In the middle: cuts, which say that they are some.
    Row("RST after 6 MB", CUTS, BY_PROXY, at_proxy("reset", CUT), clients=CRIO, told=OLD, short="ctr"),
    Row("RST after 1.5 MB", CUTS, BY_PROXY, at_proxy("reset", 1_500_000), clients=CRIO),
    Row("RST after 40 kB", CUTS, BY_PROXY, at_proxy("reset", 40_000), clients=CRIO),
    Row("FIN after 6 MB", CUTS, BY_PROXY, at_proxy("fin", CUT), clients=CRIO, told=OLD, short="goclient"),
    Row("FIN after 1.5 MB", CUTS, BY_PROXY, at_proxy("fin", 1_500_000), clients=CRIO),
    Row("proxy killed", CUTS, BY_PROXY, proxy_killed, midway=True, clients=CRIO, short="docker"),
    Row("link answers with RST", CUTS, BY_LINK, at_link(Links.resetting, FIRST), midway=True),
    # In the middle: silence.
    Row("route freezes", SILENCE, BY_PROXY, proxy_freezes("all", new_ones=True), midway=True, clients=CRIO, told=OLD,
        short="ctr"),
    Row("proxy stopped", SILENCE, BY_PROXY, proxy_stopped, midway=True, clients=CRIO),
    Row("silence after 20 MB of all", SILENCE, BY_LINK, at_link(Links.dead_after, FIRST, MIDWAY), short="goclient"),
    Row("link dead", SILENCE, BY_LINK, at_link(Links.dead, FIRST), midway=True),
    Row("link down", SILENCE, BY_LINK, at_link(Links.down, FIRST), midway=True, short="ctr"),
    Row("link unplugged", SILENCE, BY_LINK, at_link(Links.unplugged, FIRST), midway=True),
    Row("interface loses its address", SILENCE, BY_LINK, at_link(Links.without_address, FIRST), midway=True),
    Row("source address gone", SILENCE, BY_SOURCE, at_link(Links.without_address, SOURCE_LINK), midway=True),
    Row("MTU black hole midway", SILENCE, BY_LINK, at_link(Links.narrow, FIRST), midway=True),
    Row("all live tunnels freeze", STUCK, BY_PROXY, proxy_freezes("all", new_ones=False), midway=True, clients=CRIO),
    Row("one live tunnel freezes", STUCK, BY_PROXY, proxy_freezes("one", new_ones=False), midway=True),
    Row("silence after 6 MB of each tunnel", STUCK, BY_PROXY, at_proxy("stall", CUT), clients=CRIO),
    # In the middle: too slow.
    Row("5 kB/s after 6 MB of each tunnel", TRICKLE, BY_PROXY, at_proxy("trickle", CUT), deadline=90),
    Row("link throttled to 50 kB/s", TRICKLE, BY_LINK, at_link(Links.throttled, FIRST, 0.4), midway=True, deadline=90),
    Row("20 % loss", COMPLETE, BY_LINK, at_link(Links.losing, FIRST, 20), deadline=120),
    # What passes.
    Row("link unplugged for 2.5 s", COMPLETE, BY_LINK, for_a_while(at_link(Links.unplugged, FIRST), 2.5), midway=True),
    Row("link flaps at 1 Hz", COMPLETE, BY_LINK, flapping, midway=True, deadline=90),
    Row("all routes dead for 8 s", COMPLETE, BY_LINK, for_a_while(at_link(Links.dead, FIRST, SOURCE_LINK), 8.0),
        midway=True, short="ctr"),
    Row("the only route dead for 8 s", COMPLETE, LINK_ALONE, for_a_while(at_link(Links.dead, FIRST), 8.0), midway=True),
    # No fault of any route.
    CLEAN,
    CLEAN_ALONE,
    Row("none, by link", HOLD, BY_LINK, nothing, clients=EVERYONE),
    Row("slow reader", HOLD, BY_PROXY, nothing, clients=("slowreader",)),
    Row("client paused for 15 s", HOLD, BY_PROXY, client_paused, midway=True),
    Row("the only route slow, 16 Mbit/s", HOLD, LINK_ALONE, at_link(Links.throttled, FIRST, 16.0), deadline=90),
    Row("client gone", HOLD, BY_PROXY, client_gone, short="goclient"),
    # Towline itself.
    Row("Towline gets SIGTERM", COMPLETE, BY_PROXY, towline_ends(signal.SIGTERM), midway=True),
    Row("SIGTERM, its socket held", COMPLETE, BY_PROXY, towline_ends(signal.SIGTERM), midway=True, held=True),
    # Where nobody holds the socket, containerd's second and last try comes before a new Towline listens.
    Row("Towline gets SIGKILL", COMPLETE, BY_PROXY, towline_ends(signal.SIGKILL), midway=True, clients=("docker",),
        told=("ctr", "goclient")),
    # containerd resumes within a millisecond, while the kernel still closes what the killed process had open: in one
    # pull of eight it resumes over an idle tunnel that ends as the request is written; Go does not try again (strace).
    Row("SIGKILL, its socket held", COMPLETE, BY_PROXY, towline_ends(signal.SIGKILL), midway=True, held=True,
        clients=("docker", "goclient"), told=("ctr",), short="goclient"),
)  # fmt: skip
