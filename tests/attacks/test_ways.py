"""Attacks by those whom Towline asks: name servers, routes, and another Towline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attacks.conftest import OpenDoor
from tests.attacks.doors import TowlineDoor
from tests.attacks.row import Row, Safe, attempt
from tests.attacks.rows import connect
from tests.attacks.world import OWN, PORT, REBINDING, REGISTRY, Script
from tests.net.name_server import Zone
from tests.unit.test_tls import HELLO

from towline.core.pacing import PAUSES

ROUNDS = 1 + len(PAUSES)  # in which the one route is tried
DEADLINE = 5.0  # seconds; limits of the configuration that end a dial are lower


def test_a_name_that_moves(towline: TowlineDoor) -> None:
    """DNS rebinding: each CONNECT asks once, and what was checked is what is dialled; loopback never is."""
    statuses = []
    for _ in range(4):
        questions = towline.world.names.asked.count((REBINDING, "A", "udp"))
        seen = attempt(
            towline.world, Row(16, "", connect(f"{REBINDING}:443") + b"hello", safe=Safe.EITHER, behind=b"hello")
        )
        assert list(seen.faults(Row(16, "", b"", safe=Safe.EITHER, behind=b"hello"))) == []
        assert towline.world.names.asked.count((REBINDING, "A", "udp")) == questions + 1
        assert [address for address, _ in seen.arrived] == ([REGISTRY] if seen.status == 200 else [])
        statuses.append(seen.status)
    assert statuses == [200, 403, 200, 403]


def test_a_name_with_addresses_of_both_kinds(towline: TowlineDoor) -> None:
    """Only the public address is dialled, whatever the order, and the private ones on no retry either."""
    for _ in range(4):
        seen = attempt(towline.world, Row(17, "", connect("mixed.test:443") + b"hello"))
        assert (seen.status, seen.strays, seen.arrived) == (200, 0, ((REGISTRY, b"hello"),))


def test_each_others_route(open_door: OpenDoor) -> None:
    """Two ways into itself as its only route: a request that comes back is known by name, and refused at that hop."""
    policy: dict[str, Any] = {"unlisted": "route", "ports": [443]}
    access = {"clients": ["0.0.0.0/0"]}
    door = open_door(routes={"friend": {"proxy": f"http://{OWN}:{PORT}"}}, policy=policy, access=access)
    began = time.monotonic()
    seen = attempt(door.world, Row(22, "", connect("registry.test:443")))
    assert (seen.status, seen.is_closed) == (502, True)
    assert b"508" in seen.answer
    assert time.monotonic() - began < DEADLINE
    assert 1 <= seen.strays <= ROUNDS  # each to its route, as it was told; a circle would make hundreds
    status = door.status()
    assert status["tunnels"] == []
    assert status["totals"]["refused"]["loop"] == seen.strays


def says(*parts: bytes, pause: float = 0.0) -> Script:
    """A server that sends these parts, whatever it is asked, and waits for the end."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return script


OK = b"HTTP/1.1 200 OK\r\n"
HOSTILE: dict[str, tuple[str, Script]] = {
    "a page in the place of TLS": ("http", says(OK + b"\r\n", b"<html>pay here</html>")),
    "a page as the reply": ("http", says(OK + b"Content-Length: 22\r\n\r\n<html>pay here</html>\n")),
    "1xx without end": ("http", says(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 1000] * 100)),
    "a head of 10 MB": ("http", says(OK, *[b"X-Filler: " + b"x" * 8000 + b"\r\n"] * 1300)),
    "a reply in drips": ("http", says(*(bytes([byte]) for byte in OK * 20), pause=0.2)),
    "an escape in its reason": ("http", says(b"HTTP/1.1 403 \x1b[2Jgone\x07\r\n\r\n")),
    "no HTTP": ("http", says(bytes(range(1, 256)) * 8)),
    "silence": ("http", says()),
    "a bogus length": ("socks5h", says(b"\x05\x00", b"\x05\x00\x00\x03\xff" + b"x" * 10)),
    "an address type that is none": ("socks5h", says(b"\x05\x00", b"\x05\x00\x00\x09" + bytes(6))),
    "another method than offered": ("socks5h", says(b"\x05\x02")),
    "answers unasked": ("socks5h", says(b"\x05\x00\x05\x00\x00\x01" + bytes(6))),
}


@pytest.fixture(scope="module")
def surrounded(machine: None) -> Iterator[TowlineDoor]:
    """A Towline with a hostile route for each registry of its own, and a good one for all."""
    routes: dict[str, Any] = {"good": {"cost": 0.5}}
    registries: dict[str, Any] = {}
    for number, (scheme, _) in enumerate(HOSTILE.values()):
        routes[f"bad-{number}"] = {"proxy": f"{scheme}://20.0.2.{number}:1080"}
        registries[f"r{number}"] = {"api": [f"r{number}.test"], "routes": [f"bad-{number}", "good"]}
    door = TowlineDoor({"routes": routes, "registries": registries, "failover": {"dial_timeout": 3.0}})
    with door:
        for number, (_, script) in enumerate(HOSTILE.values()):
            door.world.serve((f"20.0.2.{number}", 1080), script)
            door.world.names.zones[f"r{number}.test"] = Zone(A=[REGISTRY])
        yield door


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_route(surrounded: TowlineDoor, name: str) -> None:
    """A route that misbehaves is left for the next, in time, with an outcome in the log that drives no terminal."""
    number = list(HOSTILE).index(name)
    row = Row(39, name, connect(f"r{number}.test:443") + HELLO, safe=Safe.SERVED, behind=HELLO)
    began = time.monotonic()
    seen = attempt(surrounded.world, row, count=False)
    assert time.monotonic() - began < DEADLINE
    assert (seen.status, HELLO in [data for _, data in seen.arrived]) == (200, True), seen.answer
    tunnel = surrounded.await_record("tunnel", target=f"r{number}.test:443")
    assert tunnel["route"] == "good"
    assert tunnel["why"].startswith(f"bad-{number}: ")
    assert "\x1b" not in surrounded.process.output()
