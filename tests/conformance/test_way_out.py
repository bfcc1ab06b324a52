"""Interface, source and mark apply on every kind, to the connection that this machine makes itself.

Interface and mark want a network where packets are seen to obey: a namespace that belongs to one thread of the test and
vanishes with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest
from tests.conformance.conftest import PROXY_KINDS, Lab
from tests.net.namespace import in_namespace, needs_namespace
from tests.net.peers import Peer

from towline.errors import DialError
from towline.net.dialer import Dialed
from towline.net.sockets import apply_way_out
from towline.types import Blame, OutcomeKind, RouteSpec, Target

MARK = 0x20

every_kind = pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
needs_nft = pytest.mark.skipif(not shutil.which("nft"), reason="tells marks apart by nftables: needs the command nft")


def run(command: str) -> None:
    """Run a command in the caller's namespace."""
    subprocess.run(shlex.split(command), check=True, timeout=10, capture_output=True)


async def dial(lab: Lab, kind: str, target: Peer, *, seconds: float = 10) -> Dialed:
    """Dial the target over a new dialer of this kind."""
    dialer = await lab.dialer(kind)
    return await dialer.dial(Target(*target.address), deadline=asyncio.get_running_loop().time() + seconds)


@every_kind
async def test_leaves_from_the_source(lab: Lab, kind: str) -> None:
    """The first peer on the way sees the route's source address."""
    lab.template = RouteSpec("leased", source=ipaddress.ip_address("127.0.0.9"))
    target = await lab.target()
    dialed = await dial(lab, kind, target)
    dialed.close()
    first = lab.proxy_peer or target
    assert [host for host, _ in first.clients] == ["127.0.0.9"]


@every_kind
@pytest.mark.parametrize(
    ("template", "detail"),
    [
        (RouteSpec("vpn", interface="nosuch0"), "no interface nosuch0"),
        (
            RouteSpec("leased", source=ipaddress.ip_address("192.0.2.7")),
            "source 192.0.2.7 is not an address of this machine",
        ),
    ],
    ids=["interface", "source"],
)
async def test_blames_the_route_for_a_way_out_that_is_gone(
    lab: Lab, kind: str, template: RouteSpec, detail: str
) -> None:
    """An interface or address that this machine has lost is found before a packet leaves."""
    lab.template = template
    target = await lab.target()
    with pytest.raises(DialError) as caught:
        await dial(lab, kind, target)
    assert (caught.value.kind, caught.value.blame) == (OutcomeKind.UNREACHABLE, Blame.ROUTE)
    assert caught.value.detail.removeprefix("proxy: ") == detail
    assert (lab.proxy_peer or target).clients == []


@needs_namespace
@every_kind
def test_leaves_by_the_interface(kind: str, ca_file: str, proxy_tls: ssl.SSLContext) -> None:
    """Bound to loopback a dial to loopback succeeds; bound to another interface the same dial does not."""

    async def body() -> None:
        run("ip link add va type veth peer name vb")
        run("ip link set va up")
        run("ip link set vb up")
        async with AsyncExitStack() as stack:
            lab = Lab(stack, ca_file, proxy_tls, template=RouteSpec("vpn", interface="lo"))
            target = await lab.target()
            dialed = await dial(lab, kind, target)
            assert dialed.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
            dialed.close()
            lab.template = RouteSpec("vpn", interface="va")
            with pytest.raises(DialError) as caught:
                await dial(lab, kind, target, seconds=0.2)
            assert caught.value.kind in {OutcomeKind.TIMEOUT, OutcomeKind.UNREACHABLE}
            assert caught.value.blame is Blame.ROUTE

    in_namespace(body)


@needs_namespace
@needs_nft
@every_kind
def test_carries_the_mark(kind: str, ca_file: str, proxy_tls: ssl.SSLContext) -> None:
    """A firewall that lets marked packets alone through lets this route through, and no other."""

    async def body() -> None:
        async with AsyncExitStack() as stack:
            lab = Lab(stack, ca_file, proxy_tls, template=RouteSpec("tagged", mark=MARK))
            target = await lab.target()
            dialer = await lab.dialer(kind)
            first = lab.proxy_peer or target
            run("nft add table inet towline")
            run("nft add chain inet towline out { type filter hook output priority 0 ; }")
            rule = f"tcp dport {first.port} meta mark != {MARK} reject with tcp reset"
            run(f"nft add rule inet towline out {rule}")
            soon = asyncio.get_running_loop().time() + 10
            dialed = await dialer.dial(Target(*target.address), deadline=soon)
            assert dialed.sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == MARK
            dialed.close()
            lab.template = RouteSpec("plain")
            unmarked = lab.make(kind, None if kind == "direct" else first.address)
            with pytest.raises(DialError) as caught:
                await unmarked.dial(Target(*target.address), deadline=soon)
            assert caught.value.kind is OutcomeKind.REFUSED

    in_namespace(body)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_mark_without_the_capability_is_this_machines_fault() -> None:
    """The kernel itself refuses the mark to a thread that has given up its capabilities."""

    def thread() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # capset(2): version 3, this thread
        nothing = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two words each
        assert libc.capset(header, nothing) == 0
        with socket.socket() as sock, pytest.raises(DialError) as caught:
            apply_way_out(sock, RouteSpec("tagged", mark=MARK))
        assert (caught.value.kind, caught.value.blame) == (OutcomeKind.LOCAL, Blame.LOCAL)
        assert caught.value.detail == "mark 0x20 needs CAP_NET_ADMIN: run Towline with it"

    with ThreadPoolExecutor(1) as threads:
        threads.submit(thread).result(10)
