"""Socket options as the kernel reports them back, and the ways out that cannot be had."""

from __future__ import annotations

import ipaddress
import socket
import sys

import pytest

from towline.errors import DialError
from towline.net.sockets import apply_way_out, open_socket, tune, tune_client
from towline.types import Blame, OutcomeKind, Phase, RouteSpec

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's socket options")


class Unprivileged(socket.socket):
    """A socket of a process without capabilities: the kernel refuses marks (and interfaces, before Linux 5.7)."""

    def setsockopt(self, *_: object) -> None:
        """Refuse."""
        raise PermissionError(1, "Operation not permitted")


def refusal(sock: socket.socket, spec: RouteSpec) -> DialError:
    """The error of a way out that cannot be had."""
    with pytest.raises(DialError) as caught:
        apply_way_out(sock, spec)
    assert caught.value.phase is Phase.CONNECT
    return caught.value


@linux
def test_tunes_for_a_dead_peer() -> None:
    """Keepalive and user timeout end an idle and a busy connection alike, 30 s after its peer is gone."""
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


@linux
def test_takes_a_user_timeout_in_seconds() -> None:
    """The kernel's unit is milliseconds, ours is not."""
    with socket.socket() as sock:
        tune(sock, user_timeout=2.5)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500


@linux
def test_does_not_time_a_client_that_does_not_read() -> None:
    """The client's side has keepalive and no user timeout, which would cut off a client that only pauses."""
    with socket.socket() as sock:
        tune_client(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


def test_leaves_out_what_the_platform_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a user timeout (macOS) the rest is still set."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_opens_non_blocking_tcp(family: int) -> None:
    """A plain route's socket is unbound and non-blocking."""
    with open_socket(family, RouteSpec("direct")) as sock:
        assert (sock.family, sock.type) == (family, socket.SOCK_STREAM)
        assert sock.getblocking() is False


def test_binds_to_the_source() -> None:
    """The socket leaves from the route's source address, by a port that the kernel picks."""
    with open_socket(socket.AF_INET, RouteSpec("leased", source=ipaddress.ip_address("127.0.0.9"))) as sock:
        assert sock.getsockname()[0] == "127.0.0.9"


def test_a_source_that_is_gone_is_the_routes_fault() -> None:
    """An address that this machine has lost makes the route unreachable (192.0.2.0/24 is nobody's, RFC 5737)."""
    spec = RouteSpec("leased", source=ipaddress.ip_address("192.0.2.7"))
    with pytest.raises(DialError) as caught:
        open_socket(socket.AF_INET, spec)
    assert (caught.value.kind, caught.value.blame) == (OutcomeKind.UNREACHABLE, Blame.ROUTE)
    assert caught.value.detail == "source 192.0.2.7 is not an address of this machine"


def test_an_interface_that_is_gone_is_the_routes_fault() -> None:
    """So does an interface that is down for good."""
    with socket.socket() as sock:
        error = refusal(sock, RouteSpec("vpn", interface="nosuch0"))
    assert (error.kind, error.blame, error.detail) == (OutcomeKind.UNREACHABLE, Blame.ROUTE, "no interface nosuch0")


@linux
def test_want_of_a_capability_is_this_machines_fault() -> None:
    """Where the kernel forbids the option, the detail says which capability is wanted."""
    with Unprivileged() as sock:
        mark = refusal(sock, RouteSpec("tagged", mark=0x20))
        interface = refusal(sock, RouteSpec("vpn", interface="lo"))
    assert {mark.kind, interface.kind} == {OutcomeKind.LOCAL}
    assert {mark.blame, interface.blame} == {Blame.LOCAL}
    assert mark.detail == "mark 0x20 needs CAP_NET_ADMIN: run Towline with it"
    assert interface.detail == "interface lo needs CAP_NET_RAW: run Towline with it"


def test_a_platform_without_the_option_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks and interfaces exist only where the kernel has them."""
    monkeypatch.delattr(socket, "SO_MARK", raising=False)
    monkeypatch.delattr(socket, "SO_BINDTODEVICE", raising=False)
    with socket.socket() as sock:
        mark = refusal(sock, RouteSpec("tagged", mark=1))
        interface = refusal(sock, RouteSpec("vpn", interface="lo")) if sys.platform == "linux" else None
    assert (mark.kind, mark.detail) == (
        OutcomeKind.LOCAL,
        "only Linux has routing marks: use interface or source instead",
    )
    assert interface is None or "use source instead" in interface.detail
