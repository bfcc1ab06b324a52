"""tornado's HTTP server for the admin side, bounded in what a client can have it hold."""

from __future__ import annotations

import asyncio
from typing import Any, override

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from towline.admin.access import Access
from towline.admin.app import application
from towline.admin.running import Reload, Running

MAX_CONNECTIONS = 16  # at once: people, a scraper, health checks; a quarter of what system/descriptors.py reserves
MAX_HEAD = 8192  # bytes of a request's head: a browser's, with room
MAX_BODY = 1024  # bytes of a request's body: none is wanted, one that comes is dropped
HEAD_TIMEOUT = 10.0  # seconds for a request's head, so that a silent connection does not hold its descriptor


class _Server(HTTPServer):
    """tornado's, with a bound on the connections that are open at once: one more is closed unheard."""

    @override
    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        # Not in the turn of the loop that accepts: requests are answered as they are read, so that a client that is as
        # fast as this would be accepted again and again, while nothing else runs.
        asyncio.get_running_loop().call_soon(self._begin, stream, address)

    def _begin(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        open_now = sum(not one.stream.closed() for one in self._connections)  # tornado forgets them a turn later
        if open_now < MAX_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


def http_server(running: Running, reload: Reload, access: Access) -> HTTPServer:
    """A server of the application that listens nowhere yet."""
    return _Server(
        application(running, reload, access),
        no_keep_alive=True,  # one request, one connection: the descriptors belong to the tunnels
        max_header_size=MAX_HEAD,
        max_body_size=MAX_BODY,
        idle_connection_timeout=HEAD_TIMEOUT,
        body_timeout=HEAD_TIMEOUT,
    )
