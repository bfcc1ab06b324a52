"""The request head: bytes from a client to a Request, or a refusal with its status, code and words.

Strict on purpose. A proxy that reads a head more leniently than the next hop can be made to disagree with it (request
smuggling), so what RFC 9112 forbids is refused rather than repaired: bare LF or CR, obs-fold, blanks around names, a
body on CONNECT, two lengths. h11 was measured against these rules and rejected: it accepts bare LF and obs-fold by
design.

    CONNECT host:port HTTP/1.1          ->  Request(target, forward=b"")        a tunnel
    GET http://host[:port]/path         ->  Request(target, forward=<head>)     one exchange, its head in origin-form

`HeadReader` takes bytes as they come, holds no more than MAX_HEAD of them past a chunk, and says as soon as it can what
is wrong. How the bytes are cut into chunks makes no difference to what it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from towline.core.users import Credentials, read_credentials
from towline.core.via import read as read_via
from towline.errors import Refused
from towline.types import Target, TargetError

MAX_HEAD = 16 * 1024  # bytes of a whole head
MAX_REQUEST_LINE = 8 * 1024  # bytes; RFC 9112 section 3 recommends at least 8,000
HEAD_TIMEOUT = 10.0  # seconds from accept to the end of the head: slowloris gets no longer

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/([0-9]\.[0-9])")  # RFC 9112 section 3, one SP each
_NAME = re.compile(_TOKEN)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")  # RFC 9110 5.5
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")  # RFC 9110 7.2, RFC 3986 3.2.2
_LENGTH = re.compile(rb"[0-9]{1,18}")  # no reader's integer overflows
_HTTP_URI = re.compile(r"http://([^/?#]+)([^#]*)", re.IGNORECASE)  # RFC 9110 4.2.1

# RFC 9110 7.6.1. Transfer-Encoding is hop-by-hop too, but the body is passed on as it comes, in its coding.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"upgrade"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for. `forward` is the head to send upstream first, empty for CONNECT."""

    method: str
    target: Target
    forward: bytes = b""
    via: tuple[str, ...] = ()
    """The proxies that it came through (core/via.py)."""
    credentials: Credentials | None = None
    """Who the client says it is."""

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
        self._line = 0  # where in the buffer the line begins that is still to be read
        self._skipped_empty_line = False

    def feed(self, data: bytes) -> tuple[Request, bytes] | None:
        """Take more bytes; the request and the bytes past its head once it is whole, else None. Raises Refused."""
        self._buffer += data
        if self._buffer.startswith(b"\r\n") and not self._skipped_empty_line:
            del self._buffer[:2]  # RFC 9112 2.2: an empty line before the request line is ignored
            self._skipped_empty_line = True
        if self._buffer != b"\r":  # of which an empty line may become
            _name_other_protocols(self._buffer)
        while (end := self._line_end()) is not None:
            if self._line == 0:  # what is no request need not be waited for to its end
                _request_line(bytes(self._buffer[:end]))
            if end == self._line:  # an empty line: the head is whole
                head, rest = self._buffer[: end - 2], self._buffer[end + 2 :]
                return parse_head(bytes(head)), bytes(rest)
            self._line = end + 2
        return None

    def _line_end(self) -> int | None:
        """Where the CR LF of the present line is; None while it is still to come."""
        limit = MAX_HEAD if self._line else MAX_REQUEST_LINE
        cr = self._buffer.find(b"\r", self._line, limit)
        lf = self._buffer.find(b"\n", self._line, limit)
        if 0 <= cr == lf - 1:
            return cr
        if lf >= 0 or 0 <= cr < min(len(self._buffer), limit) - 1:
            raise _bad("a line does not end in CR LF")
        if len(self._buffer) >= limit:
            raise _too_large(request_line=not self._line)
        return None


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
    method, uri, version = _request_line(request_line)
    fields = [_field(line) for line in field_lines]
    _check_host(fields, version)
    _check_framing(fields, method, version)
    if method == "CONNECT":
        target, forward = _target(uri, default_port=None), b""
    else:
        target, forward = _forward(method, uri, version, fields)
    via = read_via(field.value.decode("latin-1") for field in fields if field.name == b"via")
    return Request(method, target, forward, via, _credentials(fields))


def _request_line(line: bytes) -> tuple[str, str, str]:
    """Method, request-target and version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad("the request line is malformed")
    method, uri, version = (part.decode("ascii") for part in match.groups())
    if version not in {"1.0", "1.1"}:
        raise Refused(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_request", "towline: only HTTP/1.1 and HTTP/1.0 are spoken"
        )
    return method, uri, version


def _credentials(fields: list[Field]) -> Credentials | None:
    values = [field.value for field in fields if field.name == b"proxy-authorization"]
    if len(values) > 1:
        raise _bad("a request has one Proxy-Authorization field at most")
    return read_credentials(values[0].decode("latin-1")) if values else None


def _field(line: bytes) -> Field:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise _bad("a header field is malformed")
    return Field(name.lower(), value, line)


def _check_host(fields: list[Field], version: str) -> None:
    """Refuse a missing, doubled or malformed Host (RFC 9112 3.2). Where to go is said by the target alone."""
    hosts = [field.value for field in fields if field.name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
        raise _bad("a request has exactly one Host field, with a host in it")


def _check_framing(fields: list[Field], method: str, version: str) -> None:
    """Refuse what two readers could frame differently (RFC 9112 6.1, 6.3), and content on CONNECT (RFC 9110 9.3.6)."""
    lengths = [field.value for field in fields if field.name == b"content-length"]
    encodings = [field.value.lower() for field in fields if field.name == b"transfer-encoding"]
    if method == "CONNECT" and (lengths or encodings):
        raise _bad("CONNECT has no body")
    if len(lengths) > 1 or (lengths and encodings) or not all(map(_LENGTH.fullmatch, lengths)):
        raise _bad("the length of the body is ambiguous")
    if encodings and version == "1.0":
        raise _bad("HTTP/1.0 has no transfer coding")
    if encodings and encodings != [b"chunked"]:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "bad_request", "towline: only chunked transfer coding is spoken")


def _target(authority: str, default_port: int | None) -> Target:
    try:
        return Target.parse(authority, default_port)
    except TargetError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "bad_target", f"towline: {error}") from None


def _forward(method: str, uri: str, version: str, fields: list[Field]) -> tuple[Target, bytes]:
    """Where an absolute-form request goes, and its head for there: origin-form, end-to-end fields, then closed."""
    if method == "TRACE":  # RFC 9110 9.3.8: it would show what proxies added
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "bad_request", "towline: TRACE is not forwarded")
    if uri.lower().startswith("https://"):
        raise _bad("https goes through CONNECT: TLS is never opened here")
    match = _HTTP_URI.fullmatch(uri)
    if match is None:
        raise _bad("this is a proxy: set it as HTTPS_PROXY and HTTP_PROXY instead of opening it", "not_proxied")
    target = _target(match[1], default_port=80)
    dropped = _HOP_BY_HOP | _named_by_connection(fields) | {b"host"}  # Host is the target's: RFC 9112 3.2.2
    lines = [
        # The client's version: the answer is passed on as it comes, so it must be one that the client can frame.
        f"{method} {_origin_form(method, match[2])} HTTP/{version}".encode(),
        f"Host: {target.authority.removesuffix(':80') if target.port == 80 else target.authority}".encode(),
        *(field.line for field in fields if field.name not in dropped and not field.name.startswith(b"proxy-")),
        f"Via: {version} towline".encode(),  # RFC 9110 7.6.3: a proxy must say that it was there
        b"Connection: close",
    ]
    return target, b"\r\n".join(lines) + b"\r\n\r\n"


def _origin_form(method: str, path: str) -> str:
    """The path and query of an absolute-form target as RFC 9112 3.2.1 and 3.2.4 want them upstream."""
    if not path and method == "OPTIONS":
        return "*"
    return path if path.startswith("/") else f"/{path}"


def _named_by_connection(fields: list[Field]) -> set[bytes]:
    """The fields that Connection declares hop-by-hop; framing fields cannot be, or the body would lose its end."""
    values = [field.value for field in fields if field.name == b"connection"]
    named = {token.strip(b" \t").lower() for value in values for token in value.split(b",")}
    return named - {b"content-length", b"transfer-encoding"}


def _bad(message: str, code: str = "bad_request") -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, code, f"towline: {message}")


def _too_large(*, request_line: bool) -> Refused:
    if request_line:
        return Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "head_too_large", "towline: the request line is over 8 KiB")
    return Refused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "towline: the request head is over 16 KiB"
    )
