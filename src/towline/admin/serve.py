"""The admin address: binds it, serves app.py there on the running event loop, and lets go of it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Self, override

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from towline.admin.access import Access
from towline.admin.app import application
from towline.admin.running import Reload, Running, no_reload
from towline.errors import AdminError
from towline.types import Address, Secret, Target

MAX_CONNECTIONS = 16  # at once: people, a scraper, health checks; a quarter of what system/descriptors.py reserves
MAX_HEAD = 8192  # bytes of a request's head: a browser's, with room
MAX_BODY = 1024  # bytes of a request's body: none is wanted, one that comes is dropped
HEAD_TIMEOUT = 10.0  # seconds for a request's head, so that a silent connection does not hold its descriptor


class AdminServer:
    """What listens on the admin address. It owns its sockets from `start` to `stop`."""

    def __init__(self, server: HTTPServer, address: Address) -> None:
        self._server = server
        self.address = address
        """Where it listens: the configured host, and the real port where 0 was asked for."""

    @classmethod
    def start(
        cls,
        running: Running,
        address: Address,
        *,
        reload: Reload = no_reload,
        hosts: frozenset[str] = frozenset(),
        obtain_token: Callable[[], Secret | None] = lambda: None,
    ) -> Self:
        """Listen on `address` and serve on the running loop. access.py says what `hosts` and the token are for.

        The token is obtained once the address is ours: another Towline that has it keeps its own. Raises AdminError.
        """
        sock = _listen(address)
        try:
            access = Access((address[0], sock.getsockname()[1]), hosts, obtain_token())
        except BaseException:
            sock.close()
            raise
        server = _Server(
            application(running, reload, access),
            no_keep_alive=True,  # one request, one connection: the descriptors belong to the tunnels
            max_header_size=MAX_HEAD,
            max_body_size=MAX_BODY,
            idle_connection_timeout=HEAD_TIMEOUT,
            body_timeout=HEAD_TIMEOUT,
        )
        server.add_socket(sock)
        return cls(server, access.address)

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        self._server.stop()
        await self._server.close_all_connections()


class _Server(HTTPServer):
    """tornado's, with a bound on the connections that are open at once: one more is closed unheard."""

    @override
    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if len(self._connections) < MAX_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        sock = socket.create_server(address, family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what, hint = "is in use", "is another Towline running? If so, give this one another `admin:`, or null"
        else:
            what, hint = f"cannot be used: {error.strerror}", "set `admin:` to an address of this machine, or to null"
        raise AdminError(f"the admin address {Target(*address).authority} {what}\nhint: {hint}") from error
    sock.settimeout(0.0)  # non-blocking, as tornado accepts
    return sock
