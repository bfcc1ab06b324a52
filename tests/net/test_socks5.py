"""The SOCKS 5 exchange without I/O."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.net.exchanges import cut, play

from towline.errors import DialError
from towline.net.socks5 import Credentials, socks5_exchange
from towline.types import Blame, OutcomeKind, Phase

BOUND = b"\x00\x01\x00\x00\x00\x00\x00\x00"  # RSV, IPv4, 0.0.0.0, port 0
USER = Credentials(b"ci", b"geheim")


def answered(*replies: bytes, credentials: Credentials | None = None) -> DialError:
    """The error that these replies end in."""
    result = play(socks5_exchange("registry.test", 443, credentials), replies)
    assert isinstance(result, DialError)
    assert result.phase is Phase.PROXY
    return result


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("registry.test", b"\x03\x0dregistry.test"),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04" + ipaddress.ip_address("2001:db8::1").packed),
    ],
)
def test_asks_without_credentials(host: str, address: bytes) -> None:
    """One method is offered, and the target goes as name or as address."""
    exchange = socks5_exchange(host, 443, None)
    assert next(exchange) == b"\x05\x01\x00"
    assert exchange.send(b"\x05\x00") == b"\x05\x01\x00" + address + b"\x01\xbb"
    with pytest.raises(StopIteration) as end:
        exchange.send(b"\x05\x00" + BOUND + b"early")
    assert end.value.value == b"early"


def test_authenticates_where_the_server_wants_it() -> None:
    """With credentials two methods are offered; the server's choice decides (RFC 1929)."""
    exchange = socks5_exchange("registry.test", 443, USER)
    assert next(exchange) == b"\x05\x02\x00\x02"
    assert exchange.send(b"\x05\x02") == b"\x01\x02ci\x06geheim"
    assert exchange.send(b"\x01\x00").startswith(b"\x05\x01\x00\x03")


def test_sends_no_password_where_the_server_wants_none() -> None:
    """A server that chooses no authentication never sees the credentials."""
    exchange = socks5_exchange("registry.test", 443, USER)
    next(exchange)
    assert exchange.send(b"\x05\x00").startswith(b"\x05\x01\x00\x03")


@pytest.mark.parametrize(
    ("code", "kind", "blame", "detail"),
    [
        (0x01, OutcomeKind.PROXY_REFUSED, Blame.TARGET, "general failure at proxy"),
        (0x02, OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "not allowed by proxy's rules"),
        (0x03, OutcomeKind.UNREACHABLE, Blame.TARGET, "network unreachable from proxy"),
        (0x04, OutcomeKind.UNREACHABLE, Blame.TARGET, "host unreachable from proxy"),
        (0x05, OutcomeKind.REFUSED, Blame.TARGET, "refused by target"),
        (0x06, OutcomeKind.UNREACHABLE, Blame.TARGET, "TTL expired beyond proxy"),
        (0x07, OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "proxy does not support CONNECT"),
        (0x08, OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "proxy does not support this address type"),
        (0x09, OutcomeKind.PROXY_PROTOCOL, Blame.ROUTE, "proxy: reply 0x09, which RFC 1928 does not assign"),
        (0xFF, OutcomeKind.PROXY_PROTOCOL, Blame.ROUTE, "proxy: reply 0xff, which RFC 1928 does not assign"),
    ],
)
def test_reports_a_refusal(code: int, kind: OutcomeKind, blame: Blame, detail: str) -> None:
    """Each reply code has its kind, its culprit and its words; two bytes are enough to know it."""
    error = answered(b"\x05\x00", bytes([5, code]))
    assert (error.kind, error.blame, error.detail) == (kind, blame, detail)


@pytest.mark.parametrize(
    ("replies", "credentials", "detail"),
    [
        ([b"\x05\xff"], None, "proxy asks for a user name and password"),
        ([b"\x05\xff"], USER, "proxy accepts no user name and password"),
        ([b"\x05\x02", b"\x01\x01"], USER, "user name or password not accepted by proxy"),
    ],
)
def test_reports_failed_authentication(replies: list[bytes], credentials: Credentials | None, detail: str) -> None:
    """No acceptable method and a refused password are both authentication failures, told apart in words."""
    error = answered(*replies, credentials=credentials)
    assert (error.kind, error.blame, error.detail) == (OutcomeKind.PROXY_AUTH, Blame.ROUTE, detail)


@pytest.mark.parametrize(
    ("replies", "credentials", "detail"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], None, "proxy: not SOCKS 5: the answer begins with 0x48"),
        ([b"\x04\x5a"], None, "proxy: not SOCKS 5: the answer begins with 0x04"),
        ([b"\x05\x01"], None, "proxy: chose authentication method 0x01 unasked"),
        ([b"\x05\x02"], None, "proxy: chose authentication method 0x02 unasked"),
        ([b"\x05\x02", b"\x05\x00"], USER, "proxy: answers the password in version 5"),
        ([b"\x05\x00", b"\x04\x00"], None, "proxy: not SOCKS 5: the answer begins with 0x04"),
        ([b"\x05\x00", b"\x05\x00\x00\x02"], None, "proxy: answers with address type 0x02"),
        ([b"\x05\x00\x05\x00"], None, "proxy: answers before it is asked"),
    ],
)
def test_reports_what_is_not_socks(replies: list[bytes], credentials: Credentials | None, detail: str) -> None:
    """Bytes out of protocol are a protocol error that says what was wrong."""
    error = answered(*replies, credentials=credentials)
    assert (error.kind, error.blame, error.detail) == (OutcomeKind.PROXY_PROTOCOL, Blame.ROUTE, detail)


BOUND_ADDRESSES = st.one_of(
    st.binary(min_size=6, max_size=6).map(lambda rest: b"\x00\x01" + rest),
    st.binary(min_size=18, max_size=18).map(lambda rest: b"\x00\x04" + rest),
    st.binary(max_size=255).map(lambda name: b"\x00\x03" + bytes([len(name)]) + name + b"\x1f\x90"),
)


@given(st.data(), BOUND_ADDRESSES, st.binary(max_size=100))
def test_gives_back_every_byte_after_the_reply(data: st.DataObject, bound: bytes, early: bytes) -> None:
    """Whatever address the server names and however its replies are cut, the bytes after the last one are handed on."""
    chunks = [*cut(data, b"\x05\x02"), *cut(data, b"\x01\x00"), *cut(data, b"\x05\x00" + bound + early)]
    assert play(socks5_exchange("registry.test", 443, USER), chunks) == early


NOISE = st.one_of(st.binary(max_size=64), st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 255]), max_size=40).map(bytes))


@given(st.data(), NOISE, st.sampled_from([None, USER]))
def test_ends_in_success_or_a_dial_error_whatever_comes(
    data: st.DataObject, noise: bytes, credentials: Credentials | None
) -> None:
    """No reply raises anything else."""
    result = play(socks5_exchange("registry.test", 443, credentials), cut(data, noise))
    assert result is None or isinstance(result, bytes | DialError)
