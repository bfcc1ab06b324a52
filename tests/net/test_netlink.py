"""The kernel's word that something has changed: heard, dropped unread, and done without where it is not to be had."""

from __future__ import annotations

import errno
import select
import socket
import sys

import pytest
from tests.net.namespace import in_namespace, ip, needs_namespace

from towline.net import netlink


def is_readable(sock: socket.socket, seconds: float = 5.0) -> bool:
    """Whether something comes within so many seconds."""
    return bool(select.select([sock], [], [], seconds)[0])


@needs_namespace
@pytest.mark.parametrize(
    "change",
    [
        "link add wan0 type veth peer name wan1",
        "address add 192.0.2.7/32 dev lo",
        "-6 address add 2001:db8::7/128 dev lo",
        "route add unreachable 192.0.2.0/24",
        "-6 route add unreachable 2001:db8::/64",
        "rule add from 192.0.2.7 table 77",
        "-6 rule add from 2001:db8::7 table 77",
    ],
)
def test_every_kind_of_change_is_heard(change: str) -> None:
    """Links, addresses, routes and rules of both families wake the listener; drained, it is quiet again."""

    async def body() -> None:
        sock = netlink.subscribe()
        assert sock is not None
        with sock:
            assert netlink.drain(sock)
            assert not is_readable(sock, 0.0)
            ip(change)
            assert is_readable(sock)
            assert netlink.drain(sock)
            assert not is_readable(sock, 0.0)

    in_namespace(body)


@needs_namespace
def test_what_the_kernel_had_to_drop_does_no_harm() -> None:
    """More messages than the socket holds are one more reason to look, and nothing else."""

    async def body() -> None:
        sock = netlink.subscribe()
        assert sock is not None
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            for number in range(1, 60):
                ip(f"address add 192.0.2.{number}/32 dev lo")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENOBUFS
            ip("address add 192.0.2.99/32 dev lo")
            assert netlink.drain(sock)
            ip("address add 192.0.2.100/32 dev lo")
            assert is_readable(sock)

    in_namespace(body)


def test_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another platform, in a sandbox without AF_NETLINK, or where binding is forbidden there is no socket."""

    class Forbidden(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError

    def without(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", Forbidden)
    assert netlink.subscribe() is None
    monkeypatch.setattr(socket, "socket", without)
    assert netlink.subscribe() is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert netlink.subscribe() is None


def test_a_socket_that_is_of_no_use() -> None:
    """One that fails otherwise is to be given up."""
    sock = socket.socket()
    sock.close()
    assert not netlink.drain(sock)


def test_a_flood_is_dropped_in_part() -> None:
    """Draining ends, whatever comes meanwhile."""

    class Flood:
        def recv(self, size: int) -> bytes:
            return bytes(min(size, 16))

    assert netlink.drain(Flood())  # type: ignore[arg-type]
