"""The Internet in small, in one network namespace: every address there answers, and is watched.

    proxy     the one under attack, at every address of this machine, port 3128
    client    127.9.9.9, by which its connections are told from the proxy's
    canary    accepts at every other address, ports 80 and 443, and keeps what it was sent
    names     a DNS server with the names that attacks use
    strays    nftables counts every SYN of the proxy's that does not go to the registry's own addresses and ports

A proxy is safe where no SYN strays. That it answers with an error says little: it may have connected before.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import undone_on_failure
from tests.net.name_server import Server, Zone

CLIENT = "127.9.9.9"
PORT = 3128  # of the proxy
ADMIN_PORT = 3129  # of Towline's admin side
REGISTRY, REGISTRY_6 = "20.0.0.5", "2600::5"
OWN = "20.9.9.9"  # a public address of this machine's own
HOSTNAME = "proxyhost"
REBINDING = "rebind.test"
"""A name that is at the registry when it is asked for first, on loopback the second time, and so on in turns."""

NAMES: dict[str, Zone] = {
    "registry.test": Zone(A=[REGISTRY]),
    "private.test": Zone(A=["10.0.0.5"]),
    "metadata.test": Zone(A=["169.254.169.254"]),
    "loopback.test": Zone(A=["127.0.0.1"], AAAA=["::1"]),
    "mapped.test": Zone(AAAA=["::ffff:127.0.0.1"]),
    "nat64.test": Zone(AAAA=["64:ff9b::a00:5"]),
    "mixed.test": Zone(A=["10.0.0.5", REGISTRY], AAAA=["fd00::5"]),
    "alias.test": Zone(A=["10.0.0.5"], alias="inside.test"),
    "own.test": Zone(A=[OWN]),
    "registry.test.evil.test": Zone(A=["10.0.0.6"]),
    "evilregistry.test": Zone(A=["10.0.0.6"]),
    REBINDING: Zone(A=[REGISTRY], ttl=0),
}

BACKLOG = 4096  # connections that wait for the canary: a crowd's hundreds are not to wait for their SYN's repetition
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary"
TLS_ANSWER = bytes.fromhex("160303000402000000")  # as much of a ServerHello as makes one believed

type Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What a server does with one connection."""

RULES = f"""\
table inet witness {{
  counter strays {{ }}
  chain out {{
    type filter hook output priority 0;
    meta l4proto != tcp return
    tcp flags & (syn | ack) != syn return
    ip saddr {CLIENT} return
    ip daddr {REGISTRY} tcp dport {{ 80, 443 }} return
    ip6 daddr {REGISTRY_6} tcp dport {{ 80, 443 }} return
    counter name strays
  }}
}}
"""


@dataclass(slots=True)
class Visit:
    """One connection that reached the canary, and what it sent there."""

    address: str
    port: int
    data: bytearray = field(default_factory=bytearray)


class World:
    """The namespace with canary and names, up once made; `close()` takes all down."""

    def __init__(self, folder: Path) -> None:
        self.visits: list[Visit] = []
        self._strays_before = 0
        self.names = _Names(NAMES, port=53)
        self._owned = ExitStack()
        hosts = f"127.0.0.1 localhost\n::1 localhost\n{OWN} {HOSTNAME}\n"
        with undone_on_failure(self._owned):
            self.space = Namespace(
                "attacked", folder, {"/etc/hosts": hosts, "/etc/resolv.conf": "nameserver 127.0.0.1\n"}
            )
            self._owned.callback(self.space.close)
            anywhere = ("route add local 0.0.0.0/0 dev lo", "route add local ::/0 dev lo")
            self.space.ip(f"address add {OWN}/32 dev lo", *anywhere)
            self.space.run("nft", "-f", "-", stdin=RULES)
            self._serve()

    def forget(self) -> None:
        """Count from here on."""
        self._strays_before = 0
        self._strays_before = self.strays()
        self.visits.clear()

    def strays(self) -> int:
        """SYN packets so far that the proxy should not have sent."""
        listed = json.loads(self.space.run("nft", "--json", "list", "counters", "table", "inet", "witness"))
        packets = next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)
        return int(packets) - self._strays_before

    def connect(self, address: tuple[str, int] = ("127.0.0.1", PORT), timeout: float = 5.0) -> socket.socket:
        """A connection of the client's."""
        return self.space.connect(address, timeout, source=(CLIENT, 0))

    @contextlib.contextmanager
    def asking(self) -> Iterator[http.client.HTTPConnection]:
        """A connection of the client's to Towline's admin side."""
        connection = http.client.HTTPConnection("127.0.0.1", ADMIN_PORT, timeout=5)
        connection.sock = self.connect(("127.0.0.1", ADMIN_PORT))
        with contextlib.closing(connection):
            yield connection

    def serve(self, address: tuple[str, int], script: Script) -> None:
        """Have somebody else there, who does as the script says, until the end."""
        asyncio.run_coroutine_threadsafe(self._listen(address, script), self._loop).result(timeout=20)

    def _serve(self) -> None:
        """Start the canary and the names in a thread that lives in the namespace."""
        is_up, self._end = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()

        def live() -> None:
            descriptor = os.open(f"/proc/{self.space.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            os.setns(descriptor, os.CLONE_NEWNET)
            os.close(descriptor)
            with contextlib.closing(self._loop):
                self._loop.run_until_complete(self._live(is_up))

        thread = threading.Thread(target=live, name="canary")
        thread.start()
        self._owned.callback(thread.join)
        self._owned.callback(lambda: self._loop.call_soon_threadsafe(self._end.set))
        if not is_up.wait(timeout=20):
            raise AssertionError("the canary does not listen")

    async def _live(self, is_up: threading.Event) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.names)
            self._stack = stack
            for address in itertools.product(("0.0.0.0", "::"), (80, 443)):
                await self._listen(address, self._visited)
            is_up.set()
            await self._end.wait()

    async def _listen(self, address: tuple[str, int], script: Script) -> None:
        await self._stack.enter_async_context(await asyncio.start_server(script, *address, backlog=BACKLOG))

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(*writer.get_extra_info("sockname")[:2])
        self.visits.append(visit)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not visit.data:
                    writer.write(TLS_ANSWER if data.startswith(b"\x16\x03") else ANSWER)
                visit.data += data

    def close(self) -> None:
        """Take it down."""
        self._owned.close()


class _Names(Server):
    """The DNS server, whose REBINDING moves with every question for its IPv4 address."""

    _rebound = itertools.cycle(["127.0.0.1", REGISTRY])

    async def answer(self, wire: bytes, over: str) -> bytes | None:
        answer = await super().answer(wire, over)
        if self.asked and self.asked[-1][:2] == (REBINDING, "A"):
            self.zones[REBINDING] = Zone(A=[next(self._rebound)], ttl=0)
        return answer
