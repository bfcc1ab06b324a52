"""A tunnel's upstream leg: the way that it leaves by, and how the kernel is made to ask whether anybody is there."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys

import pytest
from tests.net.namespace import in_namespace, ip, needs_namespace
from tests.net.tunnel import tcp_pair

from towline.net.leg import HURRIED, Leg, Way
from towline.net.sockets import KEEPALIVE_IDLE, USER_TIMEOUT, tune

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the options that Linux has")


def options(sock: socket.socket) -> tuple[int, int]:
    """Seconds of silence before the kernel asks, and milliseconds until it gives up."""
    return (
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )


@linux
def test_hurried_and_calmed() -> None:
    """The options are those of a hurry, and afterwards what they are for every connection."""
    near, far = tcp_pair()
    with near, far:
        tune(near)
        leg = Leg(near)
        leg.hurry()
        assert options(near) == (1, HURRIED * 1000)
        leg.calm()
        assert options(near) == (KEEPALIVE_IDLE, USER_TIMEOUT * 1000)


@linux
def test_bytes_on_their_way_are_not_cut() -> None:
    """Where the peer has not acknowledged everything nothing is changed: that finds out by itself."""
    near, far = tcp_pair(buffer=4096)
    with near, far:
        tune(near)
        with contextlib.suppress(BlockingIOError):
            while near.send(bytes(65536)):
                pass
        Leg(near).hurry()
        assert options(near) == (KEEPALIVE_IDLE, USER_TIMEOUT * 1000)


def test_the_way_of_a_connection() -> None:
    """Its own address, and no interface where it is bound to none; nothing for what is none of the Internet's."""
    near, far = tcp_pair()
    with near, far:
        assert Leg(near).way == Way(ipaddress.ip_address("127.0.0.1"), 0)
    assert Leg(near).way is None
    Leg(near).hurry()
    Leg(near).calm()
    one, other = socket.socketpair()
    with one, other:
        assert Leg(one).way is None


def test_no_interface_where_the_platform_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the address alone decides."""
    monkeypatch.setattr(sys, "platform", "darwin")
    near, far = tcp_pair()
    with near, far:
        assert Leg(near).way == Way(ipaddress.ip_address("127.0.0.1"), 0)


@needs_namespace
def test_a_peer_that_is_gone_without_a_word() -> None:
    """An idle connection ends within seconds of a hurry where its peer has vanished, and lives on where it has not."""

    async def body() -> None:
        ip("link add wan0 type veth peer name far0", "address add 10.7.0.1/24 dev wan0", "link set wan0 up")
        ip("link set far0 up", "address add 10.7.0.2/24 dev far0")
        # Both ends are in one namespace: their packets go over loopback, which is what is cut.
        with socket.create_server(("10.7.0.2", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        with near, far:
            near.setblocking(False)
            tune(near)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            leg = Leg(near)
            assert leg.way == Way(ipaddress.ip_address("10.7.0.2"), socket.if_nametoindex("lo"))
            leg.hurry()
            await asyncio.sleep(HURRIED / 2)
            with pytest.raises(BlockingIOError):
                near.recv(1)
            leg.calm()
            ip("link set lo down")
            leg.hurry()
            async with asyncio.timeout(HURRIED * 4):
                with pytest.raises(OSError):
                    await asyncio.get_running_loop().sock_recv(near, 1)

    in_namespace(body)
