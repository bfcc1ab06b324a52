"""Everything that reads bytes from outside, as functions of bytes.

hypothesis feeds them in CI (tests/property/test_bytes.py), atheris by hand (fuzz.py).

Each takes any bytes and returns; what its reader documents as an error is an answer too. Whatever else is raised, a
reader that keeps more than it says, or one whose answer depends on how the bytes were cut, is a finding.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.unit.test_tls import HELLO

from towline.config import parse
from towline.core.guard import parse_private_targets
from towline.core.head import MAX_HEAD, HeadReader, Request
from towline.core.tls import CLOSE_NOTIFY_13, Answer, Flight, ended_cleanly, judge_answer, offers_http2, read_flight
from towline.core.users import MAX_USERS, UsersError, read_credentials, read_users
from towline.core.via import MAX_HOPS
from towline.core.via import read as read_via
from towline.core.via import write as write_via
from towline.errors import ConfigError, DialError, Refused
from towline.net.connect import MAX_REPLY, connect_exchange
from towline.net.hop import Exchange
from towline.net.socks5 import Credentials, socks5_exchange
from towline.types import Target, TargetError

PIECE = 7  # bytes of a piece, where a reader is fed in pieces: short enough to cut every token
PIECES = 64  # of one input at most, which long ones have longer pieces for


def _pieces(data: bytes) -> Iterator[bytes]:
    size = max(PIECE, len(data) // PIECES + 1)
    return (data[at : at + size] for at in range(0, len(data), size))


def _read_head(chunks: Iterator[bytes]) -> tuple[Request, int] | tuple[int, str] | None:
    """What the head reader says: the request and how many bytes its head took, or the refusal; None for too little."""
    reader, fed = HeadReader(), 0
    try:
        for chunk in chunks:
            fed += len(chunk)
            if (whole := reader.feed(chunk)) is not None:
                return whole[0], fed - len(whole[1])
            assert len(reader._buffer) <= MAX_HEAD + len(chunk)
    except Refused as refused:
        return int(refused.status), refused.code
    return None


def head(data: bytes) -> None:
    """The request head, whole and in pieces: the same answer."""
    assert _read_head(iter([data])) == _read_head(_pieces(data))


def target(data: bytes) -> None:
    """`host:port`: canonical, or refused."""
    with contextlib.suppress(TargetError):
        found = Target.parse(data.decode("utf-8", "surrogateescape"))
        assert Target.parse(found.authority) == found
        assert found.host.isascii()
        assert found.host == found.host.lower()


def _play(exchange: Exchange, data: bytes) -> bytes | None:
    """Play a proxy that answers with `data`, in pieces; what is past its reply. None where it would wait for more."""
    next(exchange)
    try:
        for piece in _pieces(data):
            exchange.send(piece)
    except StopIteration as end:
        early: bytes = end.value
        assert data.find(early) >= 0
        return early
    except DialError as error:
        assert error.detail.isprintable(), error.detail
        assert len(error.detail) < 400, error.detail
        return None
    else:
        assert len(data) <= MAX_REPLY, "a reply without end is waited for"
        return None
    finally:
        exchange.close()


def connect_reply(data: bytes) -> None:
    """The reply of an HTTP proxy to CONNECT."""
    _play(connect_exchange(Target("registry.test", 443), None), data)


def socks_reply(data: bytes) -> None:
    """The replies of a SOCKS 5 proxy, with and without a password."""
    _play(socks5_exchange("registry.test", 443, None), data[:MAX_REPLY])
    _play(socks5_exchange("192.0.2.7", 443, Credentials(b"name", b"password")), data[:MAX_REPLY])


def client_hello(data: bytes) -> None:
    """A client's first flight, and a server's first bytes and last: a verdict, and the same for more of them."""
    flight = read_flight(data)
    assert flight in Flight
    assert offers_http2(data) in (True, False)
    assert ended_cleanly(data) in (True, False)
    answer = judge_answer(data)
    assert answer is Answer.INCOMPLETE or judge_answer(data + b"more") is answer


def via(data: bytes) -> None:
    """The Via field: no more names than are passed on, and what is written is read back."""
    names = read_via([data.decode("latin-1")])
    assert len(names) <= MAX_HOPS
    assert read_via([write_via(names)]) == names


def users(data: bytes) -> None:
    """A users file; no error repeats what is in it."""
    text = data.decode("utf-8", "replace")
    try:
        found = read_users(text)
    except UsersError as error:
        assert len(str(error)) < 100
    else:
        assert len(found) <= MAX_USERS


def authorization(data: bytes) -> None:
    """Proxy-Authorization."""
    found = read_credentials(data.decode("latin-1"))
    assert found is None or (found.name and "\0" not in found.password.reveal())


def private_targets(data: bytes) -> None:
    """policy.private_targets: what the operator opens."""
    with contextlib.suppress(ValueError):
        found = parse_private_targets(data.decode("utf-8", "replace").splitlines())
        assert not any(ipaddress.ip_address("169.254.169.254") == network[0] for network in found.networks)


def config(data: bytes) -> None:
    """The configuration file: a configuration, or problems with their lines."""
    text = data.decode("utf-8", "replace")
    try:
        parse(text, place="towline.yaml", base=Path("/nonexistent"), environ={}, discovered=())
    except ConfigError as error:
        assert error.problems
        assert all(problem.place.startswith("towline.yaml") for problem in error.problems)


@dataclass(frozen=True, slots=True)
class FuzzTarget:
    """A reader and what it usually reads: where mutations begin."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    longest: int = 512
    """Bytes of the longest input that is worth trying."""
    share: float = 1.0
    """Of the inputs of a fuzzing run, against the others: the slow ones have less."""


TARGETS: dict[str, FuzzTarget] = {
    "head": FuzzTarget(
        head,
        (
            b"CONNECT registry.test:443 HTTP/1.1\r\nHost: registry.test:443\r\nVia: 1.1 a, 1.0 b (c)\r\n\r\n\x16\x03",
            b"GET http://registry.test/v2/?a=b HTTP/1.0\r\nHost: x\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\n\r\n",
            b"POST http://[2001:db8::7]:80/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"\r\nCONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic Y2k6Z2VoZWlt\r\n\r\n",
        ),
        share=0.5,
    ),
    "target": FuzzTarget(target, (b"registry.test:443", b"[2001:db8::7]:443", b"127.0.0.1:80", b"xn--n3h.test.:5000")),
    "connect-reply": FuzzTarget(
        connect_reply,
        (
            b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 407 No\r\nContent-Length: 3\r\nVia: 1.1 a\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        share=0.2,
    ),
    "socks-reply": FuzzTarget(
        socks_reply,
        (
            b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x01\xbb",
            b"\x05\x02\x01\x00\x05\x00\x00\x03\x04host\x01\xbb",
            b"\x05\xff",
            b"\x05\x00\x05\x05\x00\x04",
        ),
    ),
    "client-hello": FuzzTarget(client_hello, (HELLO, b"\x15\x03\x03\x00\x02\x02\x28", CLOSE_NOTIFY_13 + bytes(19))),
    "via": FuzzTarget(via, (b"1.1 towline-5f0c9d1e, HTTP/1.0 squid.corp.example:3128 (squid/5.7)",)),
    "users": FuzzTarget(
        users,
        (
            b"# who\nci:$2y$05$" + b"u" * 53 + b"\nbob:$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g\n",
            b"old:$apr1$abc$def\n",
        ),
    ),
    "authorization": FuzzTarget(authorization, (b"Basic Y2k6Z2VoZWlt", b"basic Og==", b"Bearer abc")),
    "private-targets": FuzzTarget(private_targets, (b"10.0.0.0/8\n*.corp.example\nfd00::/8", b"10.0.0.5/8")),
    "config": FuzzTarget(
        config,
        (
            b"listen: ['127.0.0.1:3128']\nroutes: {direct: {}, vpn: {interface: wg0, cost: 1}}\n",
            b"routes: {office: {proxy: 'http://p.example:3128', username: ci, password_env: SET}}\n",
            b"policy: {unlisted: deny, ports: [443], private_targets: [10.0.0.0/8, '*.corp.example']}\n",
            b"registries: {corp: {api: [r.corp.example], routes: [direct]}}\naccess: {clients: [10.0.0.0/8]}\n",
        ),
        share=0.01,
    ),
}
