"""The request head: bytes from a client to a Request, or a refusal with its status, code and words.

Strict on purpose. A proxy that reads a head more leniently than the next hop can be made to disagree with it (request
smuggling), so what RFC 9112 forbids is refused rather than repaired: bare LF, obs-fold, blanks around names, a body on
CONNECT, two lengths. h11 was measured against these rules and rejected: it accepts bare LF and obs-fold by design.

    CONNECT host:port HTTP/1.1          ->  Request(target, forward=b"")        a tunnel
    GET http://host[:port]/path         ->  Request(target, forward=<head>)     one exchange, its head in origin-form

`HeadReader` takes bytes as they come, holds at most MAX_HEAD of them, and says as soon as it can what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from towline.errors import Refused
from towline.types import Target, TargetError

MAX_HEAD = 16 * 1024  # bytes of a whole head
MAX_REQUEST_LINE = 8 * 1024  # bytes; RFC 9112 section 3 recommends at least 8,000
HEAD_TIMEOUT = 10.0  # seconds from accept to the end of the head: slowloris gets no longer

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/(1\.[01])")  # RFC 9112 section 3, one SP each
_VERSION = re.compile(rb".* HTTP/[0-9]+(\.[0-9]+)?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
_HTTP_URI = re.compile(r"http://([^/?#]+)([^#]*)", re.IGNORECASE)  # RFC 9110 4.2.1

# RFC 9110 7.6.1, and the fields that concern only this proxy (RFC 9110 11.7).
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"upgrade",
        b"proxy-authorization",
        b"proxy-authenticate",
    }
)
_VIA = b"Via: 1.1 towline"  # RFC 9110 7.6.3: a proxy must say that it was there


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for. `forward` is the head to send upstream first, empty for CONNECT."""

    method: str
    target: Target
    forward: bytes = b""

    @property
    def is_connect(self) -> bool:
        """True for a tunnel, False for one plain HTTP exchange."""
        return not self.forward


class Field(NamedTuple):
    """One header field: its name in lower case, its value without blanks around it, and its line as it came."""

    name: bytes
    value: bytes
    line: bytes


class HeadReader:
    """Collects one request head."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipped_empty_line = False

    def feed(self, data: bytes) -> tuple[Request, bytes] | None:
        """Take more bytes; the request and the bytes past its head once it is whole, else None. Raises Refused."""
        self._buffer += data
        if self._buffer.startswith(b"\r\n") and not self._skipped_empty_line:
            del self._buffer[:2]  # RFC 9112 2.2: an empty line before the request line is ignored
            self._skipped_empty_line = True
        _name_other_protocols(self._buffer)
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            self._check_size()
            return None
        head, rest = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 :])
        return parse_head(head), rest

    def _check_size(self) -> None:
        line_end = self._buffer.find(b"\n", 0, MAX_REQUEST_LINE)
        if line_end < 0 and len(self._buffer) >= MAX_REQUEST_LINE:
            raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "head_too_large", "towline: the request line is over 8 KiB")
        if line_end >= 0 and not self._buffer.startswith(b"\r", line_end - 1):
            raise _bad("a line ends without CR")
        if len(self._buffer) >= MAX_HEAD:
            raise Refused(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "towline: the request head is over 16 KiB"
            )


def _name_other_protocols(buffer: bytearray) -> None:
    """Refuse, by name, what is no HTTP/1 at all: the usual mistakes in a proxy setting."""
    if buffer.startswith(b"\x16"):
        raise _bad("this port speaks plain HTTP, not TLS: use http:// in HTTPS_PROXY", "tls")
    if buffer.startswith((b"\x04", b"\x05")):
        raise _bad("this port speaks HTTP, not SOCKS: use http:// in HTTPS_PROXY", "socks")
    if buffer.startswith(b"PRI * HTTP/2"):
        raise _bad("this port speaks HTTP/1.1, not HTTP/2", "http2")
    if buffer and not buffer[:1].isalpha():
        raise _bad("this is no HTTP request")


def parse_head(head: bytes) -> Request:
    """Read a whole head, without its final CRLF CRLF. Raises Refused."""
    request_line, *field_lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        if _VERSION.fullmatch(request_line):
            raise Refused(
                HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_request", "towline: only HTTP/1.1 and 1.0 are spoken"
            )
        raise _bad("the request line is malformed")
    method, uri, version = (part.decode("ascii") for part in match.groups())
    fields = [_field(line) for line in field_lines]
    _check_framing(fields, is_connect=method == "CONNECT")
    hosts = sum(field.name == b"host" for field in fields)
    if hosts > 1 or (hosts == 0 and version == "1.1"):  # RFC 9112 3.2
        raise _bad("a request has exactly one Host field")
    if method == "CONNECT":
        return Request(method, _target(uri, default_port=None))
    return _forward(method, uri, version, fields)


def _field(line: bytes) -> Field:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise _bad("a header field is malformed")
    return Field(match[1].lower(), match[2], line)


def _check_framing(fields: list[Field], *, is_connect: bool) -> None:
    """Refuse what two readers could frame differently (RFC 9112 6.1, 6.3), and content on CONNECT (RFC 9110 9.3.6)."""
    lengths = [field.value for field in fields if field.name == b"content-length"]
    encodings = [field.value.lower() for field in fields if field.name == b"transfer-encoding"]
    if is_connect and (lengths or encodings):
        raise _bad("CONNECT has no body")
    if len(lengths) > 1 or (lengths and encodings) or not all(length.isdigit() for length in lengths):
        raise _bad("the length of the body is ambiguous")
    if encodings and encodings != [b"chunked"]:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "bad_request", "towline: only chunked transfer coding is spoken")


def _target(authority: str, default_port: int | None) -> Target:
    try:
        return Target.parse(authority, default_port)
    except TargetError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_target", f"towline: {error}") from None


def _forward(method: str, uri: str, version: str, fields: list[Field]) -> Request:
    """An absolute-form request as the request to send upstream: origin-form, end-to-end fields, closed afterwards."""
    if method == "TRACE":  # RFC 9110 9.3.8: it would show what proxies added
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "bad_request", "towline: TRACE is not allowed")
    if uri.lower().startswith("https://"):
        raise _bad("https goes through CONNECT: TLS is never opened here")
    match = _HTTP_URI.fullmatch(uri)
    if match is None:
        raise _bad("this is a proxy: set it as HTTPS_PROXY and HTTP_PROXY instead of opening it", "not_proxied")
    target = _target(match[1], default_port=80)
    path = match[2] if match[2].startswith("/") else f"/{match[2]}"
    host = target.authority if target.port != 80 else target.authority.removesuffix(":80")
    dropped = _HOP_BY_HOP | _named_by_connection(fields) | {b"host"}  # Host is the target's: RFC 9112 3.2.2
    kept = [field.line for field in fields if field.name not in dropped]
    lines = [f"{method} {path} HTTP/{version}".encode(), f"Host: {host}".encode(), *kept, _VIA, b"Connection: close"]
    return Request(method, target, b"\r\n".join(lines) + b"\r\n\r\n")


def _named_by_connection(fields: list[Field]) -> frozenset[bytes]:
    """The fields that Connection declares hop-by-hop; framing fields cannot be, or the body would lose its end."""
    values = [field.value for field in fields if field.name == b"connection"]
    named = {token.strip().lower() for value in values for token in value.split(b",")}
    return frozenset(named - {b"content-length", b"transfer-encoding"})


def _bad(message: str, code: str = "bad_request") -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, code, f"towline: {message}")
