"""Towline's layer in mitmproxy's stack: it reads the request head, asks for the request to be served, and steps aside.

It stands where mitmproxy's HTTP layer would (right below the proxy mode), so that stock HTTP never runs: no unbounded
head, no second request after a rejected CONNECT, no dial of its own. Sans-I/O, like every layer: events in, commands
out.

    DataReceived ...   the reception's, until the head is whole or refused
                       -> TowlineRequestHook, not blocking: the addon serves the request in that hook's task
    DataReceived ...   bytes that mitmproxy had read before the connection was detached: the reception keeps them
    ConnectionClosed   told to the reception

The end of a served request comes back as ConnectionClosed too: the serving side closes the transport, and mitmproxy's
own bookkeeping does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from mitmproxy.connection import Client
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context

from towline.core.head import HEAD_TIMEOUT, Request
from towline.errors import Refused
from towline.proxy.reception import Inbox, Reception


@dataclass(slots=True)
class Asked:
    """One request to serve: by which connection, what was asked (or why it is refused), and what comes after it."""

    client: Client
    request: Request | Refused
    inbox: Inbox


@dataclass
class TowlineRequestHook(commands.StartHook):
    """A request head was read; the addon serves it in this hook's task, beside the layer."""

    asked: Asked  # one, since mitmproxy runs no hook that has more arguments
    blocking = False


class RequestLayer(layer.Layer):
    """Reads one request head from the client and starts TowlineRequestHook with it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._reception = Reception()

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        asked = None
        match event:
            case events.Start():
                yield commands.RequestWakeup(HEAD_TIMEOUT)
            case events.DataReceived(connection=self.context.client, data=data):
                asked = self._reception.take(data)
            case events.Wakeup():
                asked = self._reception.expire()
            case events.ConnectionClosed(connection=self.context.client):
                self._reception.close()
                yield commands.CloseConnection(self.context.client)
            case _:
                pass
        if asked is not None:
            yield TowlineRequestHook(Asked(self.context.client, asked, self._reception.inbox))
