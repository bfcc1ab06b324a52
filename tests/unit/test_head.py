"""The request head by example: what is accepted and as what, and what is refused with which status and code."""

from __future__ import annotations

import time
from http import HTTPStatus

import pytest

from towline.core.head import MAX_HEAD, MAX_REQUEST_LINE, HeadReader, Request, parse_head
from towline.core.users import Credentials
from towline.errors import Refused
from towline.types import Secret, Target

HOST = b"Host: registry.test\r\n"


def read(data: bytes) -> tuple[Request, bytes]:
    """The request at the beginning of `data`, and what follows it."""
    whole = HeadReader().feed(data)
    assert whole is not None, "the head is not whole"
    return whole


def refusal(data: bytes) -> Refused:
    """The refusal of `data`."""
    with pytest.raises(Refused) as caught:
        HeadReader().feed(data)
    return caught.value


def head(*lines: str) -> bytes:
    """A head of these lines."""
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def connect(authority: str, version: str = "1.1") -> bytes:
    """The head of a CONNECT."""
    return head(f"CONNECT {authority} HTTP/{version}", f"Host: {authority}")


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (connect("registry.test:443"), Target("registry.test", 443)),
        (connect("Registry.Test.:443"), Target("registry.test", 443)),
        (connect("192.0.2.7:5000"), Target("192.0.2.7", 5000)),
        (connect("[2001:db8::7]:8443"), Target("2001:db8::7", 8443)),
        (head("CONNECT h.test:443 HTTP/1.0"), Target("h.test", 443)),
        (
            head("CONNECT h.test:443 HTTP/1.1", "Host: h.test:443", "Proxy-Authorization: Basic Y2k6Z2VoZWlt"),
            Target("h.test", 443),
        ),
        (head("CONNECT h.test:443 HTTP/1.1", "Host: elsewhere.test"), Target("h.test", 443)),
        (head("CONNECT h.test:443 HTTP/1.1", "Host:"), Target("h.test", 443)),
        (head("CONNECT h.test:443 HTTP/1.1", "Host: \t [::1]:443 \t "), Target("h.test", 443)),
        (head("CONNECT h.test:443 HTTP/1.1", "Host: h", "X: caf\xe9\tau lait", "Y:"), Target("h.test", 443)),
    ],
)
def test_connect(data: bytes, target: Target) -> None:
    """A CONNECT is a tunnel to its request-target, whatever Host says; the bytes past it are kept."""
    request, rest = read(data + b"\x16\x03\x01")
    assert (request.method, request.target, request.forward) == ("CONNECT", target, b"")
    assert request.is_connect
    assert rest == b"\x16\x03\x01"


def test_who_the_client_is_and_whom_it_came_through() -> None:
    """Proxy-Authorization and Via are read, and neither is needed; two logins are one too many."""
    login = "Proxy-Authorization: Basic Y2k6Z2VoZWlt"
    request, _ = read(head("CONNECT h.test:443 HTTP/1.1", "Host: h.test", login, "Via: 1.1 cafe", "Via: 1.0 beef"))
    assert request.credentials == Credentials("ci", Secret("geheim"))
    assert "geheim" not in repr(request)
    assert request.via == ("cafe", "beef")
    request, _ = read(connect("h.test:443"))
    assert (request.credentials, request.via) == (None, ())
    assert refusal(head("CONNECT h.test:443 HTTP/1.1", "Host: h.test", login, login)).code == "bad_request"


def test_empty_line_before_the_request() -> None:
    """One empty line before the request line is ignored (RFC 9112 2.2), a second is not."""
    request, _ = read(b"\r\n" + connect("registry.test:443"))
    assert request.target == Target("registry.test", 443)
    assert refusal(b"\r\n\r\n" + connect("registry.test:443")).code == "bad_request"


def test_head_in_pieces() -> None:
    """A head that comes byte by byte is whole with its last byte."""
    reader = HeadReader()
    *first, last = (bytes([byte]) for byte in b"\r\n" + connect("registry.test:443"))
    assert [reader.feed(byte) for byte in first] == [None] * len(first)
    assert reader.feed(last) == (Request("CONNECT", Target("registry.test", 443)), b"")


@pytest.mark.parametrize(
    "authority",
    [
        *("registry.test", "registry.test:", "registry.test:0", "registry.test:65536", "registry.test:-1"),
        *("registry.test:+443", "registry.test:009443", "registry.test:\u0664\u0664\u0663", "registry.test:\uff14"),
        *("user:geheim@registry.test:443", "https://registry.test:443/", "registry.test:443/", "registry.test:443?x"),
        *(":443", "x..y:443", "x" * 64 + ".test:443", ".".join(["x" * 60] * 5) + ":443", "*.test:443", "%31.test:443"),
        *("-oProxyCommand=x:443", "\uff4cocalhost:443", "registry\u3002test:443", "\u2460.test:443"),
        *("127.1:443", "2130706433:443", "0x7f000001:443", "0x7f.1:443", "0177.0.0.1:443", "0:443", "1.2.3.4.:443"),
        *("[127.0.0.1]:443", "[fe80::1%eth0]:443", "[::1]", "[::1:443", "[::1]443", "::1:443", "*", "/", "http://h/"),
    ],
)
def test_bad_target(authority: str) -> None:
    """A target in any but its canonical spelling is refused with 400, and not a word of it is echoed."""
    refused = refusal(f"CONNECT {authority} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert refused.status is HTTPStatus.BAD_REQUEST
    assert refused.code in {"bad_target", "bad_request"}
    assert "geheim" not in refused.reason


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"CONNECT  h:443 HTTP/1.1\r\n" + HOST, "request line"),
        (b"CONNECT\th:443 HTTP/1.1\r\n" + HOST, "request line"),
        (b"CONNECT h:443\tHTTP/1.1\r\n" + HOST, "request line"),
        (b"CONNECT h:443 HTTP/1.1 \r\n" + HOST, "request line"),
        (b"CONNECT h:443\r\n" + HOST, "request line"),
        (b"CONNECT h:443 http/1.1\r\n" + HOST, "request line"),
        (b"CONNECT h:443 HTTP/1.10\r\n" + HOST, "request line"),
        (b"CONNECT h:443 HTTP/2\r\n" + HOST, "request line"),
        (b"CONNECT h:443 HTTP/1.\xd9\xa1\r\n" + HOST, "request line"),
        (b"CONNECT h\x00:443 HTTP/1.1\r\n" + HOST, "request line"),
        (b"CON(NECT h:443 HTTP/1.1\r\n" + HOST, "request line"),
        (b"CONNECT h:443 HTTP/1.1\r\n", "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + HOST, "Host"),
        (b"CONNECT h:443 HTTP/1.0\r\n" + HOST + HOST, "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: a b\r\n", "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: a, b:1:2\r\n", "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: user@h\r\n", "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h/path\r\n", "Host"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost : h\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost\t: h\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n Host: h\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"no colon\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b": no name\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X(): a\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X\xc3\xa9: a\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X: a\x7fb\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"X: a\x0bb\r\n", "header field"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n", "no body"),
        (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n", "no body"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: 0x1\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: 18446744073709551617\r\n", "length"),
        (b"POST http://h/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "length"),
        (b"POST http://h/ HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n", "HTTP/1.0"),
        (b"CONNECT h:443 HTTP/1.1\nHost: h\n", "CR LF"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\n", "CR LF"),
        (b"CONNECT h:443 HTTP/1.1\rHost: h\r", "CR LF"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\rX: a\r\n", "CR LF"),
        (b"CONNECT h:443 HTTP/1.1\r\r\n" + HOST, "CR LF"),
    ],
)
def test_malformed(start: bytes, words: str) -> None:
    """What RFC 9112 forbids is refused with 400, in words that name it."""
    refused = refusal(start + b"\r\n")
    assert (refused.status, refused.code) == (HTTPStatus.BAD_REQUEST, "bad_request")
    assert words in refused.reason


@pytest.mark.parametrize("data", [b"GET http://h/ HTTP/1.1\n", b"GET\rX", b"GET http://h/ HTTP/1.1\r\nHost: h\rX"])
def test_bare_line_ends_are_seen_at_once(data: bytes) -> None:
    """A line that ends in LF or CR alone is refused as soon as that is seen: its sender waits for an answer."""
    assert HeadReader().feed(data[:-1]) is None
    assert "CR LF" in refusal(data).reason


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\x16\x03\x01\x02\x00", "tls", "use http://"),
        (b"\x05\x01\x00", "socks", "use http://"),
        (b"\x04\x01\x01\xbb", "socks", "use http://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", "not HTTP/2"),
        (b" CONNECT h:443 HTTP/1.1\r\n", "bad_request", "no HTTP request"),
        (b"\nCONNECT h:443 HTTP/1.1\r\n", "bad_request", "no HTTP request"),
        (b"\rCONNECT h:443 HTTP/1.1\r\n", "bad_request", "no HTTP request"),
        (b"\x80\x2e\x01", "bad_request", "no HTTP request"),
        (b"\x00" * 64, "bad_request", "no HTTP request"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad_request", "request line"),
    ],
)
def test_other_protocols(data: bytes, code: str, words: str) -> None:
    """What is no HTTP/1 is refused at its first bytes, and the usual mistakes by name."""
    refused = refusal(data)
    assert (refused.status, refused.code) == (HTTPStatus.BAD_REQUEST, code)
    assert words in refused.reason


@pytest.mark.parametrize("version", ["0.9", "1.2", "1.9", "2.0", "9.9"])
def test_other_versions(version: str) -> None:
    """Another version of HTTP is refused with 505."""
    refused = refusal(connect("registry.test:443", version))
    assert (refused.status, refused.code) == (HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_request")


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (["TRACE http://h/ HTTP/1.1"], HTTPStatus.NOT_IMPLEMENTED, "bad_request"),
        (["POST http://h/ HTTP/1.1", "Transfer-Encoding: gzip, chunked"], HTTPStatus.NOT_IMPLEMENTED, "bad_request"),
        (["POST http://h/ HTTP/1.1", *["Transfer-Encoding: chunked"] * 2], HTTPStatus.NOT_IMPLEMENTED, "bad_request"),
        (["GET https://h/ HTTP/1.1"], HTTPStatus.BAD_REQUEST, "bad_request"),
        (["GET / HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["OPTIONS * HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["GET ftp://h/ HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["GET http:///path HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["GET http://h/#part HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["connect h:443 HTTP/1.1"], HTTPStatus.BAD_REQUEST, "not_proxied"),
        (["GET http://ci:geheim@h/ HTTP/1.1"], HTTPStatus.BAD_REQUEST, "bad_target"),
        (["GET http://h:/ HTTP/1.1"], HTTPStatus.BAD_REQUEST, "bad_target"),
        (["GET http://127.1/ HTTP/1.1"], HTTPStatus.BAD_REQUEST, "bad_target"),
    ],
)
def test_refused_requests(lines: list[str], status: HTTPStatus, code: str) -> None:
    """What cannot be forwarded is refused with the status that says why."""
    refused = refusal(head(*lines, "Host: h"))
    assert (refused.status, refused.code) == (status, code)
    assert "geheim" not in refused.reason


@pytest.mark.parametrize(
    ("came", "target", "goes"),
    [
        (
            ["GET http://registry.test/v2/ HTTP/1.1", "Host: registry.test"],
            Target("registry.test", 80),
            ["GET /v2/ HTTP/1.1", "Host: registry.test", "Via: 1.1 towline", "Connection: close"],
        ),
        (
            ["GET HTTP://Registry.Test:5000 HTTP/1.1", "Host: elsewhere.test"],
            Target("registry.test", 5000),
            ["GET / HTTP/1.1", "Host: registry.test:5000", "Via: 1.1 towline", "Connection: close"],
        ),
        (
            ["GET http://[2001:db8::7]:80?q=http://x HTTP/1.0"],
            Target("2001:db8::7", 80),
            ["GET /?q=http://x HTTP/1.0", "Host: [2001:db8::7]", "Via: 1.0 towline", "Connection: close"],
        ),
        (
            ["M-SEARCH http://h.test HTTP/1.1", "Host: h.test"],
            Target("h.test", 80),
            ["M-SEARCH / HTTP/1.1", "Host: h.test", "Via: 1.1 towline", "Connection: close"],
        ),
        (
            ["OPTIONS http://h.test HTTP/1.1", "Host: h.test"],
            Target("h.test", 80),
            ["OPTIONS * HTTP/1.1", "Host: h.test", "Via: 1.1 towline", "Connection: close"],
        ),
        (
            [
                "PUT http://h.test/blob HTTP/1.1",
                "Host: h.test",
                "Content-Length: 5",
                "Authorization: Bearer x",
                "X-Word:\tcafé ",
                "Via: 1.1 inner",
            ],
            Target("h.test", 80),
            [
                "PUT /blob HTTP/1.1",
                "Host: h.test",
                "Content-Length: 5",
                "Authorization: Bearer x",
                "X-Word:\tcafé ",
                "Via: 1.1 inner",
                "Via: 1.1 towline",
                "Connection: close",
            ],
        ),
        (
            [
                "POST http://h.test/ HTTP/1.1",
                "Host: h.test",
                "Transfer-Encoding: Chunked",
                "Keep-Alive: timeout=5",
                "Connection: Keep-Alive, transfer-encoding , X-Mine",
                "X-MINE: secret",
                "TE: trailers",
                "Upgrade: h2c",
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic Zw==",
                "Proxy-Other: x",
                "X-Yours: y",
            ],
            Target("h.test", 80),
            [
                "POST / HTTP/1.1",
                "Host: h.test",
                "Transfer-Encoding: Chunked",
                "X-Yours: y",
                "Via: 1.1 towline",
                "Connection: close",
            ],
        ),
    ],
    ids=["plain", "port", "IPv6 and HTTP/1.0", "rare method", "OPTIONS", "with a body", "hop-by-hop"],
)
def test_forward(came: list[str], target: Target, goes: list[str]) -> None:
    """An absolute-form request is forwarded in origin-form, without what concerns this hop only, and closed after."""
    request, rest = read(head(*came) + b"body!")
    assert (request.target, request.forward, rest) == (target, head(*goes), b"body!")
    assert not request.is_connect


def refused_in_pieces(data: bytes, piece: int) -> tuple[Refused, int]:
    """The refusal of data that comes in pieces of this size, and how many bytes had come by then."""
    reader = HeadReader()
    for start in range(0, len(data), piece):
        try:
            reader.feed(data[start : start + piece])
        except Refused as refused:
            return refused, start + piece
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("piece", [1, 1000, 50_000])
def test_endless_request_line(piece: int) -> None:
    """A request line that does not end is refused as soon as 8 KiB of it have come."""
    refused, came = refused_in_pieces(b"x" * 50_000, piece)
    assert (refused.status, refused.code) == (HTTPStatus.REQUEST_URI_TOO_LONG, "head_too_large")
    assert came < MAX_REQUEST_LINE + piece


@pytest.mark.parametrize("piece", [1, 1000, 50_000])
def test_endless_head(piece: int) -> None:
    """A head that does not end is refused as soon as 16 KiB of it have come."""
    refused, came = refused_in_pieces(head("GET http://h/ HTTP/1.1", *["X-Padding: 0123456789"] * 2000), piece)
    assert (refused.status, refused.code) == (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
    assert came < MAX_HEAD + piece


@pytest.mark.parametrize(("excess", "whole"), [(0, True), (1, False)])
def test_largest_head(excess: int, whole: bool) -> None:
    """The longest request line and the longest head are read; of one byte more they are refused."""
    padding = MAX_REQUEST_LINE - len("GET http://h.test/ HTTP/1.1\r\n")
    line = head(f"GET http://h.test/{'x' * (padding + excess)} HTTP/1.1", "Host: h")
    padding = MAX_HEAD - len(head("GET http://h.test/ HTTP/1.1", "Host: h", "X: "))
    fields = head("GET http://h.test/ HTTP/1.1", "Host: h", f"X: {'x' * (padding + excess)}")
    for data in (line, fields):
        if whole:
            assert read(data)[0].target == Target("h.test", 80)
        else:
            assert refusal(data).code == "head_too_large"


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_blanks_cost_no_time(blank: str) -> None:
    """A field of thousands of blanks and a forbidden byte is refused at once (a regular expression took a second)."""
    began = time.perf_counter()
    assert refusal(head("GET http://h/ HTTP/1.1", "Host: h", f"X:{blank * 14_000}\x01")).code == "bad_request"
    assert time.perf_counter() - began < 0.2


def test_parse_head() -> None:
    """A whole head can be read at once, without its final empty line."""
    assert parse_head(b"CONNECT h.test:443 HTTP/1.1\r\nHost: h.test") == Request("CONNECT", Target("h.test", 443))
