"""SOCKS 5 without I/O: RFC 1928 and, for user name and password, RFC 1929; CONNECT only.

    05 n methods            -> 05 method                            which way to authenticate
    01 len user len pass    -> 01 status                            only where the server chose 02
    05 01 00 type addr port -> 05 reply 00 type addr port           and from here on the bytes are the target's

An exchange as hop.py plays it. Each reply is awaited before the next request, and a byte ahead of its question is an
error: servers do not pipeline, and what sends unasked is not a SOCKS server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from enum import IntEnum
from typing import NamedTuple

from towline.errors import DialError
from towline.net.hop import Exchange
from towline.types import Blame, OutcomeKind, Phase

VERSION = 5
AUTH_VERSION = 1  # of the subnegotiation, RFC 1929 section 2
CONNECT = 1
MAX_FIELD = 255  # bytes of a name, user name or password: its length is one octet


class Method(IntEnum):
    """Ways to authenticate, RFC 1928 section 3."""

    NONE = 0x00
    PASSWORD = 0x02
    NO_ACCEPTABLE = 0xFF


class AddressType(IntEnum):
    """Forms of an address, RFC 1928 section 5."""

    IPV4 = 0x01
    NAME = 0x03
    IPV6 = 0x04


_ADDRESS_SIZE = {AddressType.IPV4: 4, AddressType.IPV6: 16}


class Credentials(NamedTuple):
    """User name and password in UTF-8."""

    username: bytes
    password: bytes


_REPLIES: dict[int, tuple[OutcomeKind, Blame, str]] = {
    0x01: (OutcomeKind.PROXY_REFUSED, Blame.TARGET, "general failure at proxy"),
    0x02: (OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "not allowed by proxy's rules"),
    0x03: (OutcomeKind.UNREACHABLE, Blame.TARGET, "network unreachable from proxy"),
    0x04: (OutcomeKind.UNREACHABLE, Blame.TARGET, "host unreachable from proxy"),
    0x05: (OutcomeKind.REFUSED, Blame.TARGET, "refused by target"),
    0x06: (OutcomeKind.UNREACHABLE, Blame.TARGET, "TTL expired beyond proxy"),
    0x07: (OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "proxy does not support CONNECT"),
    0x08: (OutcomeKind.PROXY_REFUSED, Blame.ROUTE, "proxy does not support this address type"),
}
"""RFC 1928 section 6. Where the proxy reports what became of its own attempt, the target is blamed, as connect.py does
for 5xx. The codes tell no more apart: a name that does not exist is 01 from microsocks and 04 from dante 1.4, a dead
host 04 from the first and 03 from the second (both measured)."""


def socks5_exchange(host: str, port: int, credentials: Credentials | None) -> Exchange:
    """Ask for a connection to `host` (a name, or an IP literal) and return what came after the reply.

    Raises DialError.
    """
    inbox = bytearray()
    methods = [Method.NONE] if credentials is None else [Method.NONE, Method.PASSWORD]
    version, method = yield from _ask(inbox, bytes([VERSION, len(methods), *methods]), 2)
    _check_version(version)
    if method == Method.PASSWORD and credentials is not None:
        yield from _authenticate(inbox, credentials)
    elif method == Method.NO_ACCEPTABLE:
        wants = "asks for a user name and password" if credentials is None else "accepts no user name and password"
        raise _auth_error(f"proxy {wants}")
    elif method != Method.NONE:
        raise _protocol_error(f"chose authentication method {method:#04x} unasked")

    request = bytes([VERSION, CONNECT, 0]) + _address(host) + port.to_bytes(2)
    version, reply = yield from _ask(inbox, request, 2)
    _check_version(version)
    if reply != 0:  # some servers close after these two bytes: wait for no more
        raise _refused(reply)
    yield from _bound_address(inbox)
    return bytes(inbox)


def _ask(inbox: bytearray, request: bytes, size: int) -> Generator[bytes, bytes, bytes]:
    """Send `request` and take the first `size` bytes of its reply."""
    if inbox:
        raise _protocol_error("answers before it is asked")
    inbox += yield request
    return (yield from _take(inbox, size))


def _take(inbox: bytearray, size: int) -> Generator[bytes, bytes, bytes]:
    """Take the next `size` bytes off `inbox`, waiting for them where need be."""
    while len(inbox) < size:
        inbox += yield b""
    taken = bytes(inbox[:size])
    del inbox[:size]
    return taken


def _authenticate(inbox: bytearray, credentials: Credentials) -> Generator[bytes, bytes, None]:
    fields = b"".join(_counted(field) for field in credentials)
    version, status = yield from _ask(inbox, bytes([AUTH_VERSION]) + fields, 2)
    if version != AUTH_VERSION:
        raise _protocol_error(f"answers the password in version {version}")
    if status != 0:
        raise _auth_error("user name or password not accepted by proxy")


def _bound_address(inbox: bytearray) -> Generator[bytes, bytes, None]:
    """Pass over RSV, ATYP, BND.ADDR and BND.PORT: where the proxy connects from does not matter here."""
    _, kind = yield from _take(inbox, 2)
    if kind == AddressType.NAME:
        (size,) = yield from _take(inbox, 1)
    elif kind in _ADDRESS_SIZE:
        size = _ADDRESS_SIZE[AddressType(kind)]
    else:
        raise _protocol_error(f"answers with address type {kind:#04x}")
    yield from _take(inbox, size + 2)


def _address(host: str) -> bytes:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return bytes([AddressType.NAME]) + _counted(host.encode("ascii"))
    return bytes([AddressType.IPV4 if ip.version == 4 else AddressType.IPV6]) + ip.packed


def _counted(field: bytes) -> bytes:
    return bytes([len(field)]) + field


def _check_version(version: int) -> None:
    if version != VERSION:
        raise _protocol_error(f"not SOCKS 5: the answer begins with {version:#04x}")


def _refused(reply: int) -> DialError:
    if reply not in _REPLIES:
        return _protocol_error(f"reply {reply:#04x}, which RFC 1928 does not assign")
    kind, blame, text = _REPLIES[reply]
    return DialError(kind, Phase.PROXY, blame, text)


def _auth_error(detail: str) -> DialError:
    return DialError(OutcomeKind.PROXY_AUTH, Phase.PROXY, Blame.ROUTE, detail)


def _protocol_error(detail: str) -> DialError:
    return DialError(OutcomeKind.PROXY_PROTOCOL, Phase.PROXY, Blame.ROUTE, f"proxy: {detail}")
