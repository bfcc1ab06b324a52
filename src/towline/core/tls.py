"""What may be read off TLS from outside: record headers, the ClientHello, and the alert that ends a connection.

TLS is never opened. These are the few plaintext facts on which failover turns (RFC 8446 sections 4.1.2, 5.1, 6.1):

    read_flight    are the client's first bytes a whole ClientHello, and may it be sent again?
    offers_http2   does it offer HTTP/2: several layers on one tunnel?
    judge_answer   do the server's first bytes look like a TLS server's, or like a block page?
    ended_cleanly  were the last bytes an alert record, that is: an end, and not a cut?
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum, auto

HEADER = 5  # octets of a record header: type, version (2), length (2)
MAX_RECORD = 2**14 + 2048  # octets of the largest record body (TLS 1.2 ciphertext, RFC 5246 6.2.3)
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2
FATAL = 2
EARLY_DATA = 42  # extension type (RFC 8446 4.2.10)
ALPN = 16  # extension type (RFC 7301 3.1)

_EXTENSION = struct.Struct("!HH")  # type and length of its body (RFC 8446 4.2)

# A TLS 1.3 alert is an application data record of 2 (alert) + 1 (content type) + 16 (tag) octets.
CLOSE_NOTIFY_13 = bytes((APPLICATION_DATA, 3, 3, 0, 19))
# TLS 1.2 alert bodies: 2 in clear; 18 ChaCha20-Poly1305; 26 AES-GCM and CCM; 32 to 80 CBC with MAC and padding.
MAX_ALERT_12 = 80
TAIL = HEADER + MAX_ALERT_12
"""Octets at the end of a stream that `ended_cleanly` needs to see."""


class Flight(Enum):
    """What a client's first bytes are."""

    INCOMPLETE = auto()
    """A ClientHello so far, more to come."""
    HELLO = auto()
    """A whole ClientHello: a server that saw it has processed nothing, so it may be sent again."""
    EARLY_DATA = auto()
    """A ClientHello with 0-RTT data: a server may have acted on it, so it is sent once (RFC 8446 8)."""
    OTHER = auto()
    """No TLS."""


class Answer(Enum):
    """What a server's first bytes are."""

    INCOMPLETE = auto()
    PLAUSIBLE = auto()
    """A handshake record."""
    FATAL_ALERT = auto()
    NOT_TLS = auto()


def read_flight(data: bytes) -> Flight:
    """Classify all bytes that a client has sent before the server's first."""
    hello = bytearray()
    rest = memoryview(data)
    while True:
        if not _may_begin_record(rest, HANDSHAKE):
            return Flight.OTHER
        if len(rest) < HEADER or len(rest) < HEADER + _length(rest):
            return Flight.INCOMPLETE
        hello += rest[HEADER : HEADER + _length(rest)]
        rest = rest[HEADER + _length(rest) :]
        if hello[:1] not in (b"", bytes((CLIENT_HELLO,))):
            return Flight.OTHER
        if len(hello) >= 4 and len(hello) >= 4 + int.from_bytes(hello[1:4]):
            break
    # Anything past the hello (0-RTT data, or what no client sends) may have been acted upon.
    return Flight.EARLY_DATA if rest or _offers_early_data(bytes(hello[4:])) else Flight.HELLO


def offers_http2(flight: bytes) -> bool:
    """Whether a ClientHello in one record offers HTTP/2 by ALPN (RFC 7301 3.1, RFC 9113 3.2)."""
    try:
        return any(kind == ALPN and b"\x02h2" in body for kind, body in _extensions(flight[HEADER + 4 :]))
    except IndexError:
        return False


def judge_answer(data: bytes) -> Answer:
    """Classify the first bytes of a server that was sent a ClientHello."""
    view = memoryview(data)
    if _may_begin_record(view, HANDSHAKE):
        if len(view) <= HEADER:
            return Answer.INCOMPLETE
        return Answer.PLAUSIBLE if view[HEADER] == SERVER_HELLO else Answer.NOT_TLS
    if _may_begin_record(view, ALERT):
        if len(view) < HEADER + 2:  # level and description
            return Answer.INCOMPLETE
        return Answer.FATAL_ALERT if view[HEADER] == FATAL else Answer.PLAUSIBLE
    return Answer.NOT_TLS


def ended_cleanly(tail: bytes) -> bool:
    """Whether a stream whose last bytes are `tail` (TAIL of them, or all) ended with an alert record, as ends do.

    A cut stream passes by chance with a probability below 2**-37: five octets must match at a fixed distance.
    """
    if _last_record(tail, 19) == CLOSE_NOTIFY_13:
        return True
    return any(
        _last_record(tail, length) in {bytes((ALERT, 3, minor, 0, length)) for minor in (1, 2, 3)}
        for length in range(2, min(MAX_ALERT_12, len(tail) - HEADER) + 1)
        if tail[-HEADER - length] == ALERT
    )


def _last_record(tail: bytes, length: int) -> bytes:
    """The header of the last record, if that has a body of `length` octets; b"" where there is no room for it."""
    start = len(tail) - HEADER - length
    return tail[start : start + HEADER] if start >= 0 else b""


def _may_begin_record(view: memoryview, kind: int) -> bool:
    """Whether the bytes so far can be the beginning of a record of this type."""
    if not view:
        return kind == HANDSHAKE  # nothing yet: the record to hope for
    if view[0] != kind or (len(view) > 1 and view[1] != 3):
        return False
    return len(view) < HEADER or 0 < _length(view) <= MAX_RECORD


def _length(view: memoryview) -> int:
    return int.from_bytes(view[3:HEADER])


def _offers_early_data(hello: bytes) -> bool:
    """Whether a ClientHello's extensions hold early_data; a hello that cannot be walked is taken for one that does."""
    try:
        return any(kind == EARLY_DATA for kind, _ in _extensions(hello))
    except IndexError:
        return True


def _extensions(hello: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each extension of a ClientHello (RFC 8446 4.1.2). Raises IndexError where it ends too soon."""
    at = 2 + 32  # legacy_version, random
    at += 1 + hello[at]  # legacy_session_id
    at += 2 + int.from_bytes(hello[at : at + 2])  # cipher_suites
    at += 1 + hello[at]  # legacy_compression_methods
    end = min(at + 2 + int.from_bytes(hello[at : at + 2]), len(hello))
    at += 2
    while at + 4 <= end:
        kind, length = _EXTENSION.unpack_from(hello, at)
        yield kind, hello[at + 4 : at + 4 + length]
        at += 4 + length
