"""The reception alone: bytes in, a request or a refusal out, once."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy.reception import MAX_DISCARDED, MAX_PENDING, Reception
from towline.types import Target

CONNECT = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"


@pytest.fixture
def reception() -> Reception:
    """One that nothing has come to."""
    return Reception()


def test_what_follows_a_head_waits_in_the_inbox(reception: Reception) -> None:
    """The head may come in pieces; bytes past it, at once or later, are kept in their order."""
    assert reception.take(CONNECT[:20]) is None
    assert not reception.asked
    assert reception.take(CONNECT[20:] + b"\x16\x03") == Request("CONNECT", Target("registry.example", 443))
    assert reception.asked
    assert reception.take(b"\x01") is None
    assert reception.inbox.pending == b"\x16\x03\x01"


def test_nothing_is_asked_twice(reception: Reception) -> None:
    """A second head on the same connection is payload (RFC 9931: no second CONNECT after a first)."""
    reception.take(CONNECT)
    assert reception.take(CONNECT) is None
    assert reception.inbox.pending == CONNECT


def test_a_bad_head_is_asked_as_its_refusal(reception: Reception) -> None:
    """What comes behind it is no head either."""
    refused = reception.take(b"\x16\x03\x01")
    assert isinstance(refused, Refused)
    assert refused.code == "tls"
    assert reception.take(CONNECT) is None


def test_a_late_head_is_refused_once(reception: Reception) -> None:
    """408 before the head is whole; nothing after it, or after another refusal."""
    reception.take(CONNECT[:20])
    refused = reception.expire()
    assert refused is not None
    assert refused.status is HTTPStatus.REQUEST_TIMEOUT
    assert reception.expire() is None
    assert reception.take(CONNECT[20:]) is None


def test_a_full_inbox_says_so(reception: Reception) -> None:
    """MAX_PENDING bytes past the head are enough until somebody uses them."""
    reception.take(CONNECT)
    full: list[bool] = []
    reception.inbox.on_full = lambda: full.append(True)
    reception.take(bytes(MAX_PENDING - 1))
    assert full == []
    reception.take(b"x")
    assert full == [True]


def test_a_refused_client_is_read_for_so_long(reception: Reception) -> None:
    """What a refused client still sends is forgotten; where it does not end, nothing more is read."""
    reception.take(b"\x16\x03\x01")
    full: list[bool] = []
    reception.inbox.on_full = lambda: full.append(True)
    reception.inbox.discard()
    reception.take(bytes(MAX_DISCARDED))
    assert (bytes(reception.inbox.pending), full) == (b"", [])
    reception.take(b"x")
    assert (bytes(reception.inbox.pending), full) == (b"", [True])


def test_a_client_that_closes_is_told_once(reception: Reception) -> None:
    """Whoever serves its request hears of it, and of nothing more."""
    reception.take(CONNECT)
    left: list[bool] = []
    reception.inbox.on_closed = lambda: left.append(True)
    reception.inbox.on_full = lambda: left.append(False)
    reception.close()
    reception.close()
    reception.take(bytes(MAX_PENDING))
    assert left == [True]
    assert reception.inbox.closed
