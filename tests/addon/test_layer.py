"""RequestLayer alone: events in, commands out."""

from __future__ import annotations

import pytest
from mitmproxy import options
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context

from towline.core.head import HEAD_TIMEOUT, Request
from towline.errors import Refused
from towline.proxy.layer import Asked, RequestLayer, TowlineRequestHook
from towline.types import Target

CONNECT = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"


class Playbook:
    """A RequestLayer and the client whose events it gets."""

    def __init__(self) -> None:
        self.client = Client(peername=("127.0.0.1", 1234), sockname=("127.0.0.1", 3128), state=ConnectionState.OPEN)
        self.layer = RequestLayer(Context(self.client, options.Options()))
        (deadline,) = self.feed(events.Start())
        assert isinstance(deadline, commands.RequestWakeup)
        self.deadline = deadline

    def feed(self, event: events.Event) -> list[commands.Command]:
        return list(self.layer.handle_event(event))

    def receive(self, data: bytes) -> list[commands.Command]:
        return self.feed(events.DataReceived(self.client, data))

    def asked(self, found: list[commands.Command]) -> Asked:
        (hook,) = found
        assert isinstance(hook, TowlineRequestHook)
        assert hook.asked.client is self.client
        return hook.asked


@pytest.fixture
def playbook() -> Playbook:
    """A started layer."""
    return Playbook()


def test_head_deadline_is_set_at_the_start(playbook: Playbook) -> None:
    """A connection is given HEAD_TIMEOUT seconds for its head."""
    assert playbook.deadline.delay == HEAD_TIMEOUT


def test_whole_head_asks_once_and_keeps_what_follows(playbook: Playbook) -> None:
    """The head may come in pieces; bytes past it, at once or later, wait in the inbox."""
    assert playbook.receive(CONNECT[:20]) == []
    asked = playbook.asked(playbook.receive(CONNECT[20:] + b"\x16\x03"))
    assert asked.request == Request("CONNECT", Target("registry.example", 443))
    assert playbook.receive(b"\x01") == []
    assert asked.inbox.pending == b"\x16\x03\x01"


def test_bad_head_asks_with_the_refusal(playbook: Playbook) -> None:
    """A refused head goes the same way, so that answers, log and counters are made in one place."""
    asked = playbook.asked(playbook.receive(b"\x16\x03\x01"))
    assert isinstance(asked.request, Refused)
    assert asked.request.code == "tls"


def test_head_that_never_ends_is_refused_at_the_deadline(playbook: Playbook) -> None:
    """The wake-up asks with the refusal when it comes before the head is whole; nothing when it comes after."""
    playbook.receive(CONNECT[:20])
    asked = playbook.asked(playbook.feed(events.Wakeup(playbook.deadline)))
    assert isinstance(asked.request, Refused)
    late = Playbook()
    late.receive(CONNECT)
    assert late.feed(events.Wakeup(late.deadline)) == []


def test_client_that_closes_is_told_to_the_inbox(playbook: Playbook) -> None:
    """ConnectionClosed calls back once and closes the connection."""
    asked = playbook.asked(playbook.receive(CONNECT))
    left: list[bool] = []
    asked.inbox.on_closed = lambda: left.append(True)
    (close,) = playbook.feed(events.ConnectionClosed(playbook.client))
    assert isinstance(close, commands.CloseConnection)
    assert left == [True]
    assert asked.inbox.closed
    asked.inbox.close()
    assert left == [True]
