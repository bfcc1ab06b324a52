"""The admin address: bound before the proxy listens, and answered at a moment later.

What can be wrong with it ends the start, so it is bound early. tornado, with which it answers, is a tenth of a start:
it is imported once the proxy listens, in a thread, and who asks before that waits in the backlog for as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from towline.admin.access import Access
from towline.admin.running import Reload, Running, no_reload
from towline.errors import AdminError
from towline.types import Address, Secret, Target

if TYPE_CHECKING:
    from tornado.httpserver import HTTPServer


class AdminServer:
    """What listens on the admin address. It owns its sockets from `bind` to `stop`."""

    def __init__(self, sock: socket.socket, running: Running, reload: Reload, access: Access) -> None:
        self._sock = sock
        self._running = running
        self._reload = reload
        self._access = access
        self._server: HTTPServer | None = None
        self.address = access.address
        """Where it listens: the configured host, and the real port where 0 was asked for."""

    @classmethod
    def bind(
        cls,
        running: Running,
        address: Address,
        *,
        reload: Reload = no_reload,
        hosts: frozenset[str] = frozenset(),
        obtain_token: Callable[[], Secret | None] = lambda: None,
    ) -> Self:
        """Listen on `address`; who asks waits for `serve`. access.py says what `hosts` and the token are for.

        The token is obtained once the address is ours: another Towline that has it keeps its own. Raises AdminError.
        """
        sock = _listen(address)
        try:
            access = Access((address[0], sock.getsockname()[1]), hosts, obtain_token())
        except BaseException:
            sock.close()
            raise
        return cls(sock, running, reload, access)

    async def serve(self) -> None:
        """Answer from here on, on the running loop."""
        with contextlib.suppress(RuntimeError):  # no thread is left: then without one
            await asyncio.to_thread(importlib.import_module, "towline.admin.http")
        from towline.admin.http import http_server

        self._server = http_server(self._running, self._reload, self._access)
        self._server.add_socket(self._sock)

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        if self._server is None:
            self._sock.close()
        else:
            self._server.stop()
            await self._server.close_all_connections()


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
