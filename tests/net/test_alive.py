"""Whether a route is alive: over real dialers and real TLS on loopback, and against everything that answers wrongly."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.net.fake_dialer import FakeDialer
from tests.net.peers import GARBAGE, Client, Peer, Script, banner, closed_port, hang_up, reset, says, silent_listener
from tests.net.proxies import Fault, HttpProxy
from tests.net.resolvers import TableResolver
from tests.net.ways import KINDS, NAME, dialer_of

from towline.net import alive, tls
from towline.net.alive import Alive, is_alive
from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.wire import receive
from towline.types import RouteKind, RouteSpec, Target

BUSY = 5.0  # seconds that a busy machine may be late
RECORD = b"\x16\x03\x03\x40\x00"  # the header of a handshake record whose body does not come


pytestmark = pytest.mark.usefixtures("system_roots", "nothing_left")


@dataclass
class TlsServer:
    """A target that speaks TLS; tells what it was asked for and how its client left."""

    certificate: trustme.LeafCert
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    leaves_open: bool = False
    """Do not answer the client's end with one of its own."""
    names: list[str | None] = field(default_factory=list)
    end: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """How the client left: what it sent last, or as what OpenSSL took it."""

    async def __call__(self, client: Client) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.maximum_version = self.version
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.certificate.configure_cert(context)
        try:
            await client.start_tls(context)
        except ssl.SSLError as error:
            self.end.set_result(error.reason)
            return
        assert await client.read() == b""
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock = client.sock.unwrap()  # raises where no close_notify came
        try:
            await receive(client.sock)
            self.end.set_result("close_notify, FIN")
        except ConnectionResetError:
            self.end.set_result("close_notify, RST")
        if self.leaves_open:
            await asyncio.Event().wait()


async def verdict(port: int, dialer: Dialer, *, host: str = NAME, seconds: float = 10, plain: bool = False) -> Alive:
    """What is said of the route of `dialer`; never later than the deadline allows."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    found = await is_alive(Target(host, port), dialer, deadline=deadline, plain=plain)
    assert loop.time() < deadline + BUSY
    assert 0 <= found.seconds < seconds + BUSY
    return found


async def direct_verdict(script: Script, authority: trustme.CA, *, host: str = NAME, seconds: float = 10) -> Alive:
    """What is said of a direct route to a target that plays `script`."""
    async with Peer(script) as target, dialer_of("direct", authority) as dialer:
        return await verdict(target.port, dialer, host=host, seconds=seconds)


def after_hello(action: Script) -> Script:
    """Read the ClientHello, then `action`; so that a close leaves nothing unread."""

    async def script(client: Client) -> None:
        await client.read()
        await action(client)

    return script


def after_saying(data: bytes, action: Script) -> Script:
    """Answer the ClientHello with `data`, then `action`."""

    async def script(client: Client) -> None:
        await client.read()
        await client.send(data)
        await action(client)

    return script


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_route_to_the_real_registry_is_alive(kind: str, version: ssl.TLSVersion, authority: trustme.CA) -> None:
    """Over every kind of dialer the target is asked for by name; it is left with close_notify and FIN."""
    server = TlsServer(authority.issue_cert(NAME), version)
    async with Peer(server) as target, dialer_of(kind, authority) as dialer:
        found = await verdict(target.port, dialer)
        assert found.ok
        assert found.detail == f"established, TLSv{'1.2' if version is ssl.TLSVersion.TLSv1_2 else '1.3'}"
        if kind == "direct":  # the test's proxies end both sides as soon as one has ended
            assert await asyncio.wait_for(server.end, 10) == "close_notify, FIN"
    assert server.names == [NAME]


async def test_an_address_is_verified_as_one(authority: trustme.CA) -> None:
    """A target that is an address must have it in its certificate; no name is sent (RFC 6066 section 3)."""
    server = TlsServer(authority.issue_cert("127.0.0.1"))
    assert (await direct_verdict(server, authority, host="127.0.0.1")).ok
    assert server.names == [None]


async def test_an_authority_that_go_trusts_is_trusted(system_roots: Path, authority: trustme.CA) -> None:
    """A certificate without key identifiers is one to Go, and so to registry clients; Python 3.13 alone rejects it."""
    leaf = without_identifiers(system_roots)
    found = await direct_verdict(TlsServer(leaf), authority)
    assert (found.ok, found.detail) == (True, "established, TLSv1.3")


def without_identifiers(roots: Path) -> trustme.LeafCert:
    """A certificate for NAME and its authority, written to `roots`, without key identifiers and key usage in either."""
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", NAME)]
    extensions = [x509.BasicConstraints(ca=True, path_length=None), x509.SubjectAlternativeName([x509.DNSName(NAME)])]
    root, leaf = (
        x509.CertificateBuilder()
        .issuer_name(names[0])
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(keys[0], hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        for name, key, extension in zip(names, keys, extensions, strict=True)
    )
    roots.write_bytes(root)
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(key, leaf, [])


@pytest.mark.parametrize(("port", "plain"), [(80, False), (5000, True)])
async def test_without_tls_the_dial_decides(port: int, plain: bool) -> None:
    """At port 80, and where the caller knows that the target is spoken to in plain text, nothing is sent."""
    with FakeDialer() as dialer:
        found = await verdict(port, dialer, plain=plain)
        assert (found.ok, found.detail) == (True, "established")
        assert dialer.far_ends[0].recv(1) == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_certificate_for_another_name_is_not_alive(kind: str, authority: trustme.CA) -> None:
    """Whoever answers with it is not the registry; it is told why."""
    server = TlsServer(authority.issue_cert("blocked.test"))
    async with Peer(server) as target, dialer_of(kind, authority) as dialer:
        found = await verdict(target.port, dialer)
        assert not found.ok
        assert found.detail.startswith("certificate not trusted: Hostname mismatch")
        assert await asyncio.wait_for(server.end, 10) == "SSLV3_ALERT_BAD_CERTIFICATE"


async def test_an_unknown_authority_is_not_alive(authority: trustme.CA) -> None:
    """A network that issues certificates for registries by itself is told from the registry."""
    found = await direct_verdict(TlsServer(trustme.CA().issue_cert(NAME)), authority)
    assert (found.ok, found.detail) == (False, "certificate not trusted: unable to get local issuer certificate")
    assert found.untrusted


async def test_an_expired_certificate_is_not_alive(authority: trustme.CA) -> None:
    """A date is checked like everything else."""
    expired = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    found = await direct_verdict(TlsServer(authority.issue_cert(NAME, not_after=expired)), authority)
    assert (found.ok, found.detail) == (False, "certificate not trusted: certificate has expired")
    assert found.untrusted


NO_TLS = "no TLS on this port (http:// instead of https://?)"


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (reset, "reset"),
        (after_hello(reset), "reset"),
        (after_hello(hang_up), "closed the connection"),
        (after_saying(RECORD, reset), "reset"),
        (after_saying(RECORD, hang_up), "closed the connection"),
        (after_hello(says(b"HTTP/1.1 403 Forbidden\r\n\r\n")), NO_TLS),
        (after_hello(says(GARBAGE)), NO_TLS),
        (after_hello(says(b"\x15\x03\x03\x00\x02\x02\x28")), "TLS failed: sslv3 alert handshake failure"),
    ],
    ids=["reset", "hello, reset", "hello, end", "cut, reset", "cut, end", "block page", "garbage", "alert"],
)
async def test_no_handshake_is_not_alive(script: Script, detail: str, authority: trustme.CA) -> None:
    """Whatever ends the handshake is said in the words of a failed dial."""
    found = await direct_verdict(script, authority)
    assert (found.ok, found.detail) == (False, detail)


@pytest.mark.parametrize("kind", ["direct", "https"])
async def test_silence_ends_at_the_deadline(kind: str, authority: trustme.CA) -> None:
    """A target that accepts and says nothing is the usual dead route: a timeout, over TLS to a proxy too."""
    async with Peer(says(b"")) as target, dialer_of(kind, authority) as dialer:
        found = await verdict(target.port, dialer, seconds=1)
    assert not found.ok
    assert re.fullmatch(r"timeout \d\.\d s in the TLS handshake", found.detail)


async def test_a_handshake_that_stops_halfway_ends_at_the_deadline(authority: trustme.CA) -> None:
    """Bytes that come do not prolong the deadline."""
    found = await direct_verdict(after_hello(says(RECORD)), authority, seconds=1)
    assert not found.ok
    assert re.fullmatch(r"timeout \d\.\d s in the TLS handshake", found.detail)


async def test_a_dial_that_hangs_ends_at_the_deadline(authority: trustme.CA) -> None:
    """So does a route that swallows every SYN."""
    with silent_listener() as (_, port):
        async with dialer_of("direct", authority) as dialer:
            found = await verdict(port, dialer, seconds=0.3)
    assert not found.ok
    assert re.fullmatch(r"timeout \d\.\d s", found.detail)


@pytest.mark.parametrize(("kind", "detail"), [("direct", "refused"), ("http", "502 from proxy")])
async def test_a_failed_dial_is_not_alive(kind: str, detail: str, authority: trustme.CA) -> None:
    """The dialer's own words are handed on."""
    async with dialer_of(kind, authority) as dialer:
        found = await verdict(closed_port(), dialer)
    assert (found.ok, found.detail) == (False, detail)


@pytest.mark.parametrize("kind", ["http", "https", "socks5h"])
async def test_a_proxy_that_resets_is_not_alive(kind: str, authority: trustme.CA) -> None:
    """A proxy that fails before the target is reached is named."""
    async with dialer_of(kind, authority, Fault("reply", reset)) as dialer:
        found = await verdict(443, dialer)
    assert not found.ok
    assert found.detail.startswith("proxy: ")


async def test_early_bytes_are_the_targets_first(authority: trustme.CA) -> None:
    """What a proxy handed on with its reply is read as the target's answer: this one speaks first, so it is no TLS."""
    async with (
        Peer(banner(b"SSH-2.0-OpenSSH_9.2\r\n")) as target,
        Peer(HttpProxy({NAME: "127.0.0.1"}, coalesce=True)) as proxy,
    ):
        spec = RouteSpec("office", RouteKind.HTTP, proxy=proxy.address)
        dialer = ConnectDialer(spec, resolver=TableResolver({}), admit=lambda *_: None)
        found = await verdict(target.port, dialer)
    assert (found.ok, found.detail) == (False, NO_TLS)


async def test_a_target_that_never_closes_is_alive(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict does not wait for the target's end for longer than LINGER."""
    monkeypatch.setattr(alive, "LINGER", 0.05)
    server = TlsServer(authority.issue_cert(NAME), leaves_open=True)
    assert (await direct_verdict(server, authority, seconds=60)).ok


async def test_the_deadline_ends_the_farewell_too(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's end is waited for no longer than the deadline allows."""
    lingers: list[float] = []

    async def ending(_: socket.socket, *, linger: float) -> None:
        lingers.append(linger)

    monkeypatch.setattr(alive, "LINGER", 60)
    monkeypatch.setattr(tls, "hang_up", ending)
    assert (await direct_verdict(TlsServer(authority.issue_cert(NAME)), authority, seconds=10)).ok
    assert len(lingers) == 1
    assert lingers[0] < 10


async def test_no_thread_to_read_the_roots_in_is_not_alive(authority: trustme.CA) -> None:
    """Want of something on this machine is a verdict too, and no exception."""
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    asyncio.get_running_loop().set_default_executor(threads)
    found = await direct_verdict(says(b""), authority)
    assert not found.ok
    assert "after shutdown" in found.detail


@dataclass
class Reached:
    """An action that tells when it is reached, and then says nothing for ever."""

    event: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, client: Client) -> None:
        self.event.set()
        await asyncio.Event().wait()


async def cancelled(dialer: Dialer, port: int, when: Callable[[], Awaitable[object]]) -> None:
    """Cancel a probe once `when` has come."""
    deadline = asyncio.get_running_loop().time() + 20
    task = asyncio.create_task(is_alive(Target(NAME, port), dialer, deadline=deadline))
    await asyncio.wait_for(when(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_in_the_handshake_it_closes_all(kind: str, authority: trustme.CA) -> None:
    """The connection goes with the probe."""
    silent = Reached()
    async with Peer(after_hello(silent)) as target, dialer_of(kind, authority) as dialer:
        await cancelled(dialer, target.port, silent.event.wait)


@pytest.mark.parametrize("kind", ["http", "https", "socks5h"])
async def test_cancelled_in_the_dial_it_closes_all(kind: str, authority: trustme.CA) -> None:
    """The dialer keeps its own contract."""
    fault = Fault("reply", Reached())
    async with dialer_of(kind, authority, fault) as dialer:
        await cancelled(dialer, 443, fault.reached.wait)


async def test_cancelled_in_the_farewell_it_closes_all(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last wait can be cancelled like every other."""
    monkeypatch.setattr(alive, "LINGER", 60)
    server = TlsServer(authority.issue_cert(NAME), leaves_open=True)
    async with Peer(server) as target, dialer_of("direct", authority) as dialer:
        await cancelled(dialer, target.port, lambda: server.end)
