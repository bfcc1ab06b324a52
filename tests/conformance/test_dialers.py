"""What every dialer does: connects, hands over, keeps bytes, and says how it failed."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.conformance.conftest import KINDS, NAME, PROXY_KINDS, USER, Lab
from tests.net.fake_dialer import Establish, Fail, FakeDialer
from tests.net.peers import banner, closed_port
from tests.net.proxies import SocksProxy
from tests.net.resolvers import TableResolver

from towline.errors import DialError
from towline.net.dialer import Dialed, Dialer
from towline.net.wire import receive, send_all
from towline.types import Blame, IPAddress, OutcomeKind, Phase, Target

every_kind = pytest.mark.parametrize("kind", KINDS)
networked_kind = pytest.mark.parametrize("kind", ["direct", *PROXY_KINDS])
proxy_kind = pytest.mark.parametrize("kind", PROXY_KINDS)


def soon(seconds: float = 10.0) -> float:
    """A deadline on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


async def read_exactly(dialed: Dialed, size: int) -> bytes:
    """The first `size` bytes from the target: the early ones, then the socket's."""
    received = dialed.early
    while len(received) < size:
        chunk = await receive(dialed.sock)
        assert chunk, f"the connection ended after {received!r}"
        received += chunk
    return received


async def round_trip(dialer: Dialer, dialed: Dialed, data: bytes) -> bytes:
    """Send `data` to an echoing target and return what comes back."""
    await send_all(dialed.sock, data)
    if isinstance(dialer, FakeDialer):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(dialer.far_ends[-1], await loop.sock_recv(dialer.far_ends[-1], len(data)))
    return await read_exactly(dialed, len(data))


async def failure(dialer: Dialer, target: Target) -> DialError:
    """The error that a dial ends in."""
    with pytest.raises(DialError) as caught:
        await dialer.dial(target, deadline=soon())
    return caught.value


@networked_kind
async def test_says_at_which_address_the_target_is(lab: Lab, kind: str) -> None:
    """Where this machine has resolved its name; a proxy that does so keeps it to itself."""
    target = await lab.target()
    dialed = await (await lab.dialer(kind)).dial(Target(NAME, target.port), deadline=soon())
    dialed.close()
    assert str(dialed.address) == ("127.0.0.1" if kind in {"direct", "socks5"} else "None")


@every_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", NAME])
async def test_connects_to_literals_and_names(lab: Lab, kind: str, host: str) -> None:
    """A dialled connection carries bytes both ways, whatever the target's host looks like."""
    target = await lab.target(host="::1" if host == "::1" else "127.0.0.1")
    dialer = await lab.dialer(kind)
    dialed = await dialer.dial(Target(host, target.port), deadline=soon())
    try:
        assert await round_trip(dialer, dialed, b"ping") == b"ping"
    finally:
        dialed.close()


@every_kind
async def test_hands_over_a_non_blocking_socket(lab: Lab, kind: str) -> None:
    """The socket is non-blocking, TCP (the fake's is a pair), and closed by its receiver alone."""
    target = await lab.target()
    dialer = await lab.dialer(kind)
    dialed = await dialer.dial(Target("127.0.0.1", target.port), deadline=soon())
    assert dialed.sock.getblocking() is False
    assert dialed.early == b""
    if kind != "fake":
        assert dialed.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert dialed.peer == Target(*dialed.sock.getpeername()).authority
    dialed.close()
    assert dialed.sock.fileno() == -1


@every_kind
async def test_serves_many_dials_at_once(lab: Lab, kind: str) -> None:
    """Concurrent dials get a connection each, and none is mixed up."""
    target = await lab.target()
    dialer = await lab.dialer(kind)
    dials = [dialer.dial(Target("127.0.0.1", target.port), deadline=soon()) for _ in range(40)]
    all_dialed = await asyncio.gather(*dials)
    try:
        assert len({dialed.sock.fileno() for dialed in all_dialed}) == len(all_dialed)
        if not isinstance(dialer, FakeDialer):
            words = [f"word {position}".encode() for position in range(len(all_dialed))]
            pairs = zip(all_dialed, words, strict=True)
            echoed = await asyncio.gather(*(round_trip(dialer, dialed, word) for dialed, word in pairs))
            assert echoed == words
    finally:
        for dialed in all_dialed:
            dialed.close()


@networked_kind
@pytest.mark.parametrize("size", [5, 40_000])
async def test_keeps_the_bytes_of_a_target_that_speaks_first(lab: Lab, kind: str, size: int) -> None:
    """Nothing is lost of what follows the proxy's reply in the same segment, nor of what follows that."""
    data = bytes(position % 251 for position in range(size))
    target = await lab.target(banner(data))
    dialer = await lab.dialer(kind, coalesce=True)
    dialed = await dialer.dial(Target("127.0.0.1", target.port), deadline=soon())
    try:
        assert bool(dialed.early) is (kind != "direct")
        assert await read_exactly(dialed, size) == data
    finally:
        dialed.close()


async def test_the_fake_plays_its_steps(lab: Lab) -> None:
    """The fake fails and succeeds as its steps say, repeats the last one, and knows what was dialled."""
    refused = DialError(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, "refused")
    dialer = lab.stack.enter_context(FakeDialer(Fail(refused), Establish(early=b"hello")))
    error = await failure(dialer, Target(NAME, 443))
    assert error.outcome(0.0) == refused.outcome(0.0)
    for port in (80, 443):
        dialed = await dialer.dial(Target(NAME, port), deadline=soon())
        dialed.close()
        assert dialed.early == b"hello"
    assert [target.port for target in dialer.targets] == [443, 80, 443]


@proxy_kind
async def test_reads_a_reply_that_comes_byte_by_byte(lab: Lab, kind: str) -> None:
    """The size of TCP segments does not matter."""
    target = await lab.target()
    dialer = await lab.dialer(kind, bytewise=True)
    dialed = await dialer.dial(Target(NAME, target.port), deadline=soon())
    try:
        assert await round_trip(dialer, dialed, b"ping") == b"ping"
    finally:
        dialed.close()


@networked_kind
async def test_says_that_the_target_refused(lab: Lab, kind: str) -> None:
    """A target that refuses is to blame for it, as far as the answer shows."""
    error = await failure(await lab.dialer(kind), Target("127.0.0.1", closed_port()))
    expected = {
        "direct": (OutcomeKind.REFUSED, Phase.CONNECT, "refused"),
        "http": (OutcomeKind.PROXY_REFUSED, Phase.PROXY, "502 from proxy"),
        "https": (OutcomeKind.PROXY_REFUSED, Phase.PROXY, "502 from proxy"),
    }.get(kind, (OutcomeKind.REFUSED, Phase.PROXY, "refused by target"))
    assert (error.kind, error.phase, error.detail) == expected
    assert error.blame is Blame.TARGET


@networked_kind
async def test_says_that_the_name_does_not_exist(lab: Lab, kind: str) -> None:
    """A name without an address is the target's fault, whoever looked it up."""
    error = await failure(await lab.dialer(kind), Target("nowhere.test", 443))
    expected = {
        "http": (OutcomeKind.PROXY_REFUSED, "502 from proxy"),
        "https": (OutcomeKind.PROXY_REFUSED, "502 from proxy"),
        "socks5h": (OutcomeKind.UNREACHABLE, "host unreachable from proxy"),
    }.get(kind, (OutcomeKind.UNRESOLVED, "no such host"))
    assert (error.kind, error.detail) == expected
    assert error.blame is Blame.TARGET


@proxy_kind
async def test_blames_the_route_for_a_proxy_that_is_not_there(lab: Lab, kind: str) -> None:
    """A refusal of the proxy is the route's fault, and the reader is told who refused."""
    error = await failure(lab.make(kind, ("127.0.0.1", closed_port())), Target("127.0.0.1", 443))
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.REFUSED, Phase.CONNECT, Blame.ROUTE)
    assert error.detail == "proxy: refused"


@proxy_kind
async def test_blames_the_route_for_a_proxy_without_an_address(lab: Lab, kind: str) -> None:
    """So is a proxy whose name does not exist."""
    error = await failure(lab.make(kind, ("nowhere.test", 3128)), Target("127.0.0.1", 443))
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.UNRESOLVED, Phase.RESOLVE, Blame.ROUTE)
    assert error.detail == "proxy: no such host"


@proxy_kind
async def test_reports_credentials_that_the_proxy_does_not_accept(lab: Lab, kind: str) -> None:
    """Wrong credentials are their own kind of failure, in words that show none of them."""
    error = await failure(await lab.dialer(kind, credentials=("ci", "other")), Target("127.0.0.1", 443))
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.PROXY_AUTH, Phase.PROXY, Blame.ROUTE)
    assert not any(secret in error.detail for secret in USER)


@networked_kind
async def test_dials_no_address_that_the_guard_refuses(lab: Lab, kind: str) -> None:
    """A refused literal goes to no one: not as a SYN, and not to the proxy either."""

    def refuse(target: Target, ip: IPAddress) -> str | None:
        return f"{ip} is loopback"

    target = await lab.target()
    dialer = await lab.dialer(kind, admit=refuse)
    error = await failure(dialer, Target("127.0.0.1", target.port))
    assert (error.kind, error.phase, error.blame) == (OutcomeKind.DENIED, Phase.RESOLVE, Blame.TARGET)
    assert error.detail == "127.0.0.1 is loopback"
    assert target.clients == []
    assert lab.proxy is None or lab.proxy.asked == []


@pytest.mark.parametrize("kind", ["direct", "socks5"])
async def test_dials_only_the_addresses_that_the_guard_lets_pass(lab: Lab, kind: str) -> None:
    """Where names are resolved here, each address is judged, and the bad ones are left out without a trace."""

    def no_ipv6(target: Target, ip: IPAddress) -> str | None:
        return "no IPv6" if ip.version == 6 else None

    target = await lab.target()
    resolver = TableResolver({NAME: ["::1", "127.0.0.1"]})
    dialer = await lab.dialer(kind, admit=no_ipv6, resolver=resolver)
    dialed = await dialer.dial(Target(NAME, target.port), deadline=soon())
    dialed.close()
    assert resolver.asked == [NAME]
    if isinstance(lab.proxy, SocksProxy):
        assert [host for host, _ in lab.proxy.asked] == ["127.0.0.1"]


@pytest.mark.parametrize("kind", ["http", "https", "socks5h"])
async def test_leaves_names_to_the_proxy(lab: Lab, kind: str) -> None:
    """Where the proxy resolves names, the target's is never looked up here."""
    target = await lab.target()
    dialer = await lab.dialer(kind)
    dialed = await dialer.dial(Target(NAME, target.port), deadline=soon())
    dialed.close()
    assert lab.resolver.asked == []
    assert lab.proxy is not None
    assert lab.proxy.asked == [(NAME, target.port)]
