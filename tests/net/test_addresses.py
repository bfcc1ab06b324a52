"""The race of addresses on loopback, with silent, closed and open ports."""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
from contextlib import ExitStack

import pytest
from tests.net.peers import Peer, closed_port, echo, silent_listener

from towline.errors import DialError
from towline.net.addresses import ATTEMPT_DELAY, MAX_ATTEMPTS, admitted, check_literal, connect_first
from towline.net.resolve import Endpoint
from towline.types import Address, Blame, IPAddress, OutcomeKind, RouteSpec, Target

DIRECT = RouteSpec("direct")
TARGET = Target("registry.test", 443)


def endpoint(address: Address) -> Endpoint:
    """The endpoint at `address`."""
    return Endpoint(ipaddress.ip_address(address[0]), address[1])


async def timed_connect(*endpoints: Endpoint) -> tuple[Endpoint, float]:
    """Which endpoint wins, and after how many seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    sock, winner = await connect_first(endpoints, DIRECT)
    sock.close()
    return winner, loop.time() - began


async def failure(*endpoints: Endpoint, spec: RouteSpec = DIRECT) -> DialError:
    """The error when none can be reached."""
    with pytest.raises(DialError) as caught:
        await connect_first(endpoints, spec)
    return caught.value


async def test_takes_the_first_that_connects() -> None:
    """With all addresses well, the first wins and no other is tried."""
    async with Peer(echo) as first, Peer(echo) as second:
        winner, seconds = await timed_connect(endpoint(first.address), endpoint(second.address))
        assert winner == endpoint(first.address)
        assert second.clients == []
        assert seconds < ATTEMPT_DELAY


async def test_goes_on_at_once_after_a_failure() -> None:
    """A refused address costs no delay."""
    async with Peer(echo) as peer:
        winner, seconds = await timed_connect(endpoint(("127.0.0.1", closed_port())), endpoint(peer.address))
        assert winner == endpoint(peer.address)
        assert seconds < ATTEMPT_DELAY


async def test_goes_on_after_the_delay_beside_a_silent_address() -> None:
    """An address that does not answer costs the connection attempt delay, and no more."""
    async with Peer(echo) as peer:
        with silent_listener() as silent:
            winner, seconds = await timed_connect(endpoint(silent), endpoint(peer.address))
        assert winner == endpoint(peer.address)
        assert ATTEMPT_DELAY - 0.01 <= seconds < 4 * ATTEMPT_DELAY


async def test_a_failure_beside_a_silent_address_starts_the_next() -> None:
    """The second address starts after the delay; its refusal starts the third at once."""
    async with Peer(echo) as peer:
        with silent_listener() as silent:
            closed = endpoint(("127.0.0.1", closed_port()))
            winner, seconds = await timed_connect(endpoint(silent), closed, endpoint(peer.address))
        assert winner == endpoint(peer.address)
        assert seconds < 2 * ATTEMPT_DELAY


async def test_has_no_more_than_four_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four silent addresses keep the fifth from being tried."""
    monkeypatch.setattr("towline.net.addresses.ATTEMPT_DELAY", 0.01)
    async with Peer(echo) as peer:
        with ExitStack() as stack:
            silent = [endpoint(stack.enter_context(silent_listener())) for _ in range(MAX_ATTEMPTS)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await connect_first([*silent, endpoint(peer.address)], DIRECT)
            winner, _ = await timed_connect(*silent[1:], endpoint(peer.address))
        assert winner == endpoint(peer.address)
        assert len(peer.clients) == 1


async def test_reports_the_most_telling_failure() -> None:
    """A refusal, which came from the other end, tells more than an address that no packet ever left for."""
    refused = endpoint(("127.0.0.1", closed_port()))
    unreachable = endpoint(("224.0.0.1", 443))  # multicast: Linux refuses to connect TCP to it, and sends nothing
    alone = await failure(unreachable)
    assert (alone.kind, alone.blame) == (OutcomeKind.UNREACHABLE, Blame.ROUTE)
    assert "addresses" not in alone.detail
    both = await failure(unreachable, refused)
    assert (both.kind, both.blame, both.detail) == (OutcomeKind.REFUSED, Blame.TARGET, "refused (2 addresses)")


async def test_uses_addresses_of_the_source_family_alone() -> None:
    """A route with an IPv4 source cannot use IPv6 addresses, and says so when there are no others."""
    spec = RouteSpec("leased", source=ipaddress.ip_address("127.0.0.9"))
    error = await failure(endpoint(("::1", 443)), spec=spec)
    assert (error.kind, error.blame) == (OutcomeKind.UNREACHABLE, Blame.ROUTE)
    assert error.detail == "no address of the family of source 127.0.0.9"
    async with Peer(echo) as peer:
        sock, _ = await connect_first([endpoint(("::1", peer.port)), endpoint(peer.address)], spec)
        assert sock.getsockname()[0] == "127.0.0.9"
        sock.close()


async def test_reports_a_way_out_that_is_gone_for_every_address() -> None:
    """An interface that does not exist fails each attempt before a packet leaves."""
    spec = RouteSpec("vpn", interface="nosuch0")
    error = await failure(endpoint(("127.0.0.1", 443)), endpoint(("127.0.0.2", 443)), spec=spec)
    assert (error.kind, error.detail) == (OutcomeKind.UNREACHABLE, "no interface nosuch0 (2 addresses)")


async def test_reports_want_of_descriptors_as_local() -> None:
    """Where the process may open no more sockets, no route is to blame."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
    try:
        error = await failure(endpoint(("127.0.0.1", 443)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error.kind, error.blame, error.detail) == (OutcomeKind.LOCAL, Blame.LOCAL, "too many open files")


def test_admits_what_the_guard_lets_pass() -> None:
    """Every address is judged; the allowed ones keep their order."""
    found = [endpoint((f"192.0.2.{last}", 443)) for last in (1, 2, 3)]
    asked: list[tuple[Target, IPAddress]] = []

    def admit(target: Target, ip: IPAddress) -> str | None:
        asked.append((target, ip))
        return "even" if ip.packed[-1] % 2 == 0 else None

    assert admitted(TARGET, found, admit) == [found[0], found[2]]
    assert asked == [(TARGET, each.ip) for each in found]


def test_denies_a_target_whose_every_address_is_refused() -> None:
    """The guard's own words are the detail."""
    with pytest.raises(DialError, match=r"10\.0\.0\.5 is private") as caught:
        admitted(TARGET, [endpoint(("10.0.0.5", 443))], lambda _, ip: f"{ip} is private")
    assert (caught.value.kind, caught.value.blame) == (OutcomeKind.DENIED, Blame.TARGET)


def test_checks_literals_alone_before_a_proxy() -> None:
    """A name passes unseen: what it leads to is for the proxy to find out."""
    check_literal(TARGET, lambda *_: "refused")
    check_literal(Target("192.0.2.1", 443), lambda *_: None)
    with pytest.raises(DialError, match="refused"):
        check_literal(Target("192.0.2.1", 443), lambda *_: "refused")
