"""The CONNECT exchange without I/O, and TLS to the proxy."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextvars import copy_context
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.net.exchanges import cut, play
from tests.net.peers import Peer
from tests.net.proxies import HttpProxy
from tests.net.resolvers import TableResolver

from towline.errors import ConfigError, DialError
from towline.net.connect import MAX_REPLY, ConnectDialer, connect_exchange, tls_context
from towline.net.hop import VIA
from towline.types import Blame, OutcomeKind, Phase, RouteKind, RouteSpec, Secret, Target

TARGET = Target("registry.test", 443)
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def answered(reply: bytes) -> DialError:
    """The error that this reply ends in."""
    result = play(connect_exchange(TARGET, None), [reply])
    assert isinstance(result, DialError)
    assert result.phase is Phase.PROXY
    return result


@pytest.mark.parametrize(
    ("host", "authority"), [("registry.test", b"registry.test:443"), ("2001:db8::1", b"[2001:db8::1]:443")]
)
def test_asks_for_the_target_as_an_authority(host: str, authority: bytes) -> None:
    """The request is CONNECT in authority-form with a Host field, IPv6 in brackets, and no framing fields."""
    request = next(connect_exchange(Target(host, 443), None))
    expected = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: towline\r\n\r\n"
    assert request == expected % (authority, authority)


def test_says_through_whom_the_request_came() -> None:
    """The names of the context go into Via, so that another Towline can tell a circle (RFC 9110 7.6.3)."""

    def request() -> bytes:
        VIA.set(("squid.corp.test", "cafe"))
        return next(connect_exchange(TARGET, None))

    assert b"\r\nVia: 1.1 squid.corp.test, 1.1 cafe\r\n" in copy_context().run(request)


def test_sends_credentials_at_once() -> None:
    """Basic credentials go with the first request, in UTF-8 (RFC 7617)."""
    request = next(connect_exchange(TARGET, "Basic dTpw"))
    assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in request


@pytest.mark.parametrize("password", ["geheim", "g\u00e4h'eim"])
@pytest.mark.parametrize("start", [b"HTTP/1.1 403 ", b"HTTP/1.1 407 No, ", b"ECHO "])
def test_repeats_no_credentials(start: bytes, password: str) -> None:
    """A proxy that repeats what it was sent, in its reason or without HTTP, is not quoted: clients would read it."""
    token = base64.b64encode(f"ci:{password}".encode())
    for said in (token, token.lower(), password.encode(), b"you sent ci:" + password.encode()):
        result = play(connect_exchange(TARGET, f"Basic {token.decode()}"), [start + said + b"\r\n\r\n"])
        assert isinstance(result, DialError)
        for secret in (token.decode().lower(), password, password.encode().decode("latin-1"), "heim", "eim"):
            assert secret not in result.detail.lower()


async def test_encodes_credentials() -> None:
    """User name and password of the route reach the proxy as they are."""
    proxy = HttpProxy(credentials=("jürgen", "gehe:im"))
    async with Peer(proxy) as peer:
        spec = RouteSpec("office", RouteKind.HTTP, proxy=peer.address, username="jürgen", password=Secret("gehe:im"))
        dialer = ConnectDialer(spec, resolver=TableResolver({}), admit=lambda *_: None)
        with pytest.raises(DialError, match="502 from proxy"):  # the proxy knows no names, but it knows the user
            await dialer.dial(TARGET, deadline=asyncio.get_running_loop().time() + 10)
    assert base64.b64encode("jürgen:gehe:im".encode()) in proxy.heads[0]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_takes_any_2xx_as_established(status: int) -> None:
    """RFC 9110 9.3.6: any 2xx; and framing fields in it are ignored."""
    reply = b"HTTP/1.1 %d Yes\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello world" % status
    assert play(connect_exchange(TARGET, None), [reply]) == b"hello world"


def test_takes_a_reply_of_http_1_0() -> None:
    """Old proxies answer in HTTP/1.0, some without a reason phrase."""
    assert play(connect_exchange(TARGET, None), [b"HTTP/1.0 200\r\n\r\n"]) == b""


@pytest.mark.parametrize(
    ("reply", "kind", "blame", "detail"),
    [
        ("407 Proxy Authentication Required", OutcomeKind.PROXY_AUTH, Blame.ROUTE, "407 from proxy"),
        ("401 Unauthorized", OutcomeKind.PROXY_AUTH, Blame.ROUTE, "401 from proxy"),
        ("403 Forbidden", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "403 from proxy"),
        ("403 Filtered by policy", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "403 from proxy: Filtered by policy"),
        ("405 Method Not Allowed", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "405 from proxy"),
        ("429 Too Many Requests", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "429 from proxy"),
        ("500 Unable to connect", OutcomeKind.PROXY_REFUSED, Blame.TARGET, "500 from proxy: Unable to connect"),
        ("502 Bad Gateway", OutcomeKind.PROXY_REFUSED, Blame.TARGET, "502 from proxy"),
        ("503 Service Unavailable", OutcomeKind.PROXY_REFUSED, Blame.TARGET, "503 from proxy"),
        ("504 GATEWAY TIMEOUT", OutcomeKind.PROXY_REFUSED, Blame.TARGET, "504 from proxy"),
        ("302 Found", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "302 from proxy"),
        ("600 Odd", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "600 from proxy: Odd"),
        ("403 \x1b[2J\xe9", OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "403 from proxy: ?[2J?"),
    ],
)
def test_reports_a_refusal(reply: str, kind: OutcomeKind, blame: Blame, detail: str) -> None:
    """The status says whose fault it is; the reason phrase is shown where it adds something."""
    error = answered(f"HTTP/1.1 {reply}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
    assert (error.kind, error.blame, error.detail) == (kind, blame, detail)


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"\x00\x00",
    ],
)
def test_reports_what_is_not_http(reply: bytes) -> None:
    """A reply that h11 does not take is a protocol error of the proxy."""
    error = answered(reply)
    assert (error.kind, error.blame) == (OutcomeKind.PROXY_PROTOCOL, Blame.ROUTE)
    assert error.detail.startswith("proxy: not an HTTP reply: ")


@given(st.data(), st.binary(max_size=200))
def test_gives_back_every_byte_after_the_head(data: st.DataObject, early: bytes) -> None:
    """However the reply is cut, what follows its head is handed on, in order and complete."""
    interim = data.draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    assert play(connect_exchange(TARGET, None), cut(data, interim + OK + early)) == early


PARTS = [b"HTTP/1.1 ", b"200", b"100", b" OK", b"\r\n", b"\n", b"\r\n\r\n", b"A: b", b":", b" ", b"\xff"]
NOISE = st.one_of(st.binary(min_size=1, max_size=300), st.lists(st.sampled_from(PARTS), min_size=1).map(b"".join))


@given(st.data(), NOISE)
def test_ends_in_success_or_a_dial_error_whatever_comes(data: st.DataObject, noise: bytes) -> None:
    """No reply raises anything else, and how it is cut does not change what it ends in."""
    whole = play(connect_exchange(TARGET, None), [noise])
    pieces = play(connect_exchange(TARGET, None), cut(data, noise))
    assert type(whole) is type(pieces)
    if isinstance(whole, DialError) and isinstance(pieces, DialError):
        assert (whole.kind, whole.blame) == (pieces.kind, pieces.blame)


@pytest.mark.parametrize("size", [1, 1000, 100_000])
@pytest.mark.parametrize(("length", "fits"), [(MAX_REPLY, True), (MAX_REPLY + 1, False)])
def test_bounds_the_head_to_the_byte(length: int, fits: bool, size: int) -> None:
    """The bound holds to the byte, in pieces of any size."""
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    reply = start + b"x" * (length - len(start) - len(end)) + end
    result = play(connect_exchange(TARGET, None), [reply[at : at + size] for at in range(0, len(reply), size)])
    if fits:
        assert result == b""
    else:
        assert isinstance(result, DialError)
        assert result.detail == f"proxy: reply head over {MAX_REPLY} bytes"


def test_needs_a_proxy() -> None:
    """A direct route given to this dialer is a mistake of the service, not of the operator."""
    with pytest.raises(ValueError, match="route vpn has no proxy"):
        ConnectDialer(RouteSpec("vpn"), resolver=TableResolver({}), admit=lambda *_: None)


# TLS to the proxy


def https_dialer(peer: Peer, ca_file: str | None, host: str = "proxy.test") -> ConnectDialer:
    """A dialer whose proxy is `peer` under the name `host`."""
    spec = RouteSpec("office", RouteKind.HTTPS, proxy=(host, peer.port), ca_file=ca_file)
    return ConnectDialer(spec, resolver=TableResolver({host: ["127.0.0.1"]}), admit=lambda *_: None)


async def tls_failure(dialer: ConnectDialer) -> DialError:
    """How a dial ends whose TLS handshake does not succeed."""
    with pytest.raises(DialError) as caught:
        await dialer.dial(TARGET, deadline=asyncio.get_running_loop().time() + 10)
    assert (caught.value.kind, caught.value.phase, caught.value.blame) == (OutcomeKind.TLS, Phase.TLS, Blame.ROUTE)
    return caught.value


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority that the routes here trust."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def proxy_with(authority: trustme.CA, name: str) -> HttpProxy:
    """An HTTPS proxy with a certificate for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return HttpProxy(tls=context)


async def test_verifies_the_name_in_the_certificate(authority: trustme.CA, ca_file: str) -> None:
    """A certificate for another name is refused, and nothing is sent in the clear instead."""
    proxy = proxy_with(authority, "other.test")
    async with Peer(proxy) as peer:
        error = await tls_failure(https_dialer(peer, ca_file))
        assert len(peer.clients) == 1
    assert error.detail.startswith("proxy: certificate not trusted: Hostname mismatch")
    assert proxy.heads == []


@pytest.mark.parametrize("trust", ["other authority", "system"])
async def test_verifies_the_authority(trust: str, authority: trustme.CA, ca_file: str) -> None:
    """A certificate of an authority that the route does not trust is refused; the system's roots are the default."""
    proxy = proxy_with(trustme.CA() if trust == "other authority" else authority, "proxy.test")
    async with Peer(proxy) as peer:
        error = await tls_failure(https_dialer(peer, ca_file if trust == "other authority" else None))
    assert error.detail.startswith("proxy: certificate not trusted: ")
    assert proxy.heads == []


async def test_offers_http_1_1_alone(authority: trustme.CA, ca_file: str) -> None:
    """ALPN names http/1.1, so that no proxy chooses h2; the connection stays under TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("proxy.test").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    target = HttpProxy()  # any peer that can be connected to
    async with Peer(target) as far, Peer(HttpProxy(tls=context)) as peer:
        dialer = https_dialer(peer, ca_file)
        dialed = await dialer.dial(Target("127.0.0.1", far.port), deadline=asyncio.get_running_loop().time() + 10)
        assert isinstance(dialed.sock, ssl.SSLSocket)
        assert dialed.sock.selected_alpn_protocol() == "http/1.1"
        dialed.close()


@pytest.mark.parametrize("text", [None, "", "no certificate"], ids=["missing", "empty", "not PEM"])
def test_a_ca_file_that_cannot_be_used_is_an_error_of_configuration(text: str | None, tmp_path: Path) -> None:
    """It is found when the dialer is made, so that a reload with it changes nothing."""
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        tls_context(str(path))
    (problem,) = caught.value.problems
    assert (problem.place, problem.key) == (str(path), "ca_file")
    assert problem.message.startswith("cannot be used as a CA bundle: ")
