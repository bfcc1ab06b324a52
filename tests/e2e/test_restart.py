"""Reload and restart as operators do them: pulls go on, routes change behind them, and nobody is refused."""

from __future__ import annotations

import http.client
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import HUB_REFERENCE, ContainerClient
from tests.e2e.rig.image import LAYERS, Image
from tests.e2e.rig.needs import require
from tests.e2e.rig.process import environment
from tests.e2e.rig.registry import API_HOST
from tests.e2e.rig.routes import ROUTE, Witnesses
from tests.e2e.rig.towline import ADMIN_ADDRESS, PROXY_ADDRESS, StartTowline, Towline
from tests.e2e.rig.world import DEFAULT_LINK, SOURCE_LINK, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LINK_MEGABITS = 150  # the 128 MiB take 7 s: longer than any silence after which a tunnel counts as idle
PULL_SECONDS = 40.0
LONG_DRAIN = 30.0  # seconds; a stop that takes them has waited for an idle tunnel
ADMIN = "{}:{}".format(*ADMIN_ADDRESS)

DIRECT, SOURCE = {"direct": ROUTE["direct"].settings}, {"source": ROUTE["source"].settings}


UNLISTED_TOO = {"unlisted": "route"}  # no `direct` of Towline's own making beside the test's routes

ASK = b"GET /v2/ HTTP/1.1\r\nHost: registry-1.docker.io\r\n\r\n"


@contextmanager
def kept_alive(world: World, authority: Authority) -> Iterator[ssl.SSLSocket]:
    """A tunnel to the registry that has served a request and waits for the next.

    containerd and dockerd with its store keep theirs so for 30 s; Debian's dockerd and ctr keep none.
    """
    target = f"{API_HOST}:443"
    context = ssl.create_default_context(cafile=authority.ca)
    with world.near.connect(PROXY_ADDRESS) as plain:
        plain.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert plain.recv(4096).startswith(b"HTTP/1.1 200 ")
        with context.wrap_socket(plain, server_hostname=API_HOST) as connection:
            ask(connection)
            yield connection


def ask(connection: ssl.SSLSocket) -> None:
    """One request and its whole answer."""
    connection.sendall(ASK)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 401, "the registry wants a token"
    answer.read()


def rewrite(towline: Towline, **sections: Any) -> None:
    """Change sections of the configuration file."""
    file = towline.home.parent / "towline.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | sections, sort_keys=False))


def reload(world: World, towline: Towline) -> tuple[int, str]:
    """`towline reload`: its exit code and what it printed."""
    return command(world, towline, "reload")


def command(world: World, towline: Towline, *args: str) -> tuple[int, str]:
    """A command of the user that Towline runs as: its exit code and what it printed."""
    argv = (sys.executable, "-m", "towline", *args, "--admin", ADMIN)
    done = world.near.run_any(*argv, env=environment(towline.home))
    return done.returncode, done.stdout + done.stderr


def layers_under_way(towline: Towline) -> int:
    """Tunnels that have brought a good part of a layer."""
    return sum(tunnel["role"] == "blob" and tunnel["bytes_in"] > 2**20 for tunnel in towline.status()["tunnels"])


def test_pull_goes_on_over_a_route_that_left(
    world: World,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
    witnesses: Witnesses,
) -> None:
    """A pull under way ends over the route it began on, though that one is gone; the next pull takes the new one."""
    puller = client("ctr")
    towline = start_towline(DIRECT, policy=UNLISTED_TOO)
    with world.slowed(DEFAULT_LINK, LINK_MEGABITS), puller.start_pull() as pull:
        pull.wait_until(lambda: layers_under_way(towline) == LAYERS, "every layer is under way", timeout=20)
        rewrite(towline, routes=SOURCE)
        assert reload(world, towline) == (0, "reloaded\n  added     source\n  removed   direct\n")
        views = {view["name"]: view["draining"] for view in towline.status()["routes"]}
        assert views == {"source": False, "direct": True}
        assert pull.join(PULL_SECONDS) == 0, pull.output()
    assert puller.digest(HUB_REFERENCE) == image.digest
    assert {tunnel["route"] for tunnel in towline.tunnels()} == {"direct"}
    before = witnesses.seen()[DEFAULT_LINK]

    assert puller.pull() == image.digest
    assert witnesses.seen()[DEFAULT_LINK] == before
    assert witnesses.seen()[SOURCE_LINK] >= LAYERS
    assert {tunnel["route"] for tunnel in towline.finish()} == {"direct", "source"}


def test_idle_tunnel_of_a_route_that_left_is_closed(
    world: World, authority: Authority, start_towline: StartTowline, witnesses: Witnesses
) -> None:
    """A client that keeps its tunnel sees a clean end, and cannot send its next request over the route that is gone."""
    towline = start_towline(DIRECT, policy=UNLISTED_TOO)
    with kept_alive(world, authority) as connection:
        rewrite(towline, routes=SOURCE)
        assert reload(world, towline)[0] == 0
        ask(connection)  # in time: it is not idle yet
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert 1.5 < time.monotonic() - began < 4
    with kept_alive(world, authority):
        # A check of the certificate (verifying.py) meets each address as well: both links were used, is what counts.
        assert {link for link, seen in witnesses.seen().items() if seen} == {DEFAULT_LINK, SOURCE_LINK}


def test_drained_route_finishes_its_pull(
    world: World,
    authority: Authority,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
    witnesses: Witnesses,
) -> None:
    """A pull under way ends over it, an idle tunnel is closed, the next pull goes elsewhere, until it is resumed."""
    puller = client("ctr")
    dear = {"source": {**SOURCE["source"], "cost": 60.0}}  # not to be tried while `direct` is there
    towline = start_towline(DIRECT | dear, policy=UNLISTED_TOO)
    with (
        world.slowed(DEFAULT_LINK, LINK_MEGABITS),
        kept_alive(world, authority) as idle,
        puller.start_pull() as pull,
    ):
        pull.wait_until(lambda: layers_under_way(towline) == LAYERS, "every layer is under way", timeout=20)
        code, said = command(world, towline, "drain", "direct")
        assert code == 0, said
        idle.settimeout(8)
        assert idle.recv(1) == b""
        assert pull.running, "the pull must still be under way when the idle tunnel ends"
        assert pull.join(PULL_SECONDS) == 0, pull.output()
    assert puller.digest(HUB_REFERENCE) == image.digest
    assert {tunnel["route"] for tunnel in towline.tunnels()} == {"direct"}
    assert command(world, towline, "drain", "direct", "--wait")[1].endswith("direct is drained\n")
    before = witnesses.seen()[DEFAULT_LINK]

    assert puller.pull() == image.digest
    assert witnesses.seen()[DEFAULT_LINK] == before
    assert command(world, towline, "resume", "direct") == (0, "in use: direct, source\n")
    assert command(world, towline, "drain", "source")[0] == 0
    with kept_alive(world, authority):
        assert witnesses.seen()[DEFAULT_LINK] == before + 1


def test_bad_file_is_told_and_changes_nothing(
    world: World, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """`towline reload` prints every problem with its line and ends with 78; pulls go on as before."""
    towline = start_towline(DIRECT)
    rewrite(towline, routes={"direct": {"interfce": "wg0"}}, limits={"drain": -1})
    code, said = reload(world, towline)
    assert code == 78
    assert said.count(f"{towline.home.parent}/towline.yaml:") == 2
    assert "routes.direct.interfce: unknown key\n  hint: did you mean interface?" in said
    assert client("skopeo").pull() == image.digest
    logged = [record for record in towline.records() if record["event"] == "not_reloaded"]
    assert [record["key"] for record in logged] == ["routes.direct.interfce", "limits.drain"]


def test_stop_waits_for_pulls_and_not_for_idle_tunnels(
    world: World,
    authority: Authority,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
) -> None:
    """An idle tunnel goes within seconds, ctr's pull is finished, and then Towline ends, long before its limit."""
    towline = start_towline(DIRECT, limits={"drain": LONG_DRAIN})
    with (
        world.slowed(DEFAULT_LINK, LINK_MEGABITS),
        kept_alive(world, authority) as idle,
        client("ctr").start_pull() as pull,
    ):
        pull.wait_until(lambda: layers_under_way(towline) == LAYERS, "every layer is under way", timeout=20)
        towline.terminate()
        idle.settimeout(8)
        assert idle.recv(1) == b""
        assert pull.running, "the pull must still be under way when the idle tunnel ends"
        assert pull.join(PULL_SECONDS) == 0, pull.output()
        assert towline.process.join(10) == 0
    assert client("ctr").digest(HUB_REFERENCE) == image.digest
    waited = [name for record in towline.records() if record["event"] == "draining" for name in record["waiting_for"]]
    assert len(waited) >= LAYERS
    assert all(name.endswith(":443 over direct") for name in waited)


def test_socket_activation(
    world: World, client: Callable[[str], ContainerClient], image: Image, folder: Path, start_towline: StartTowline
) -> None:
    """systemd-socket-activate holds the listener: the first pull starts Towline, which uses it without `listen`."""
    require("systemd-socket-activate")
    home = folder / "activated"
    home.mkdir()
    config = home / "towline.yaml"
    config.write_text(f"admin: '{ADMIN}'\npolicy: {{private_targets: [10.77.0.0/16]}}\nlog: {{format: json}}\n")
    listen = "{}:{}".format(*PROXY_ADDRESS)
    argv = ("systemd-socket-activate", "-l", listen, sys.executable, "-m", "towline", "run", "-c", str(config))
    with world.near.start("towline-activated", *argv, env=environment(home)) as activated:
        activated.wait_until(lambda: f"Listening on {listen}" in activated.output(), "systemd listens", timeout=5)
        assert client("skopeo").pull() == image.digest
        assert '"addresses": ["127.0.0.1:3128"]' in activated.output()
        activated.signal(signal.SIGTERM)
        assert activated.join(10) == 0
