"""A lean mitmproxy Master around the addon: its listeners, and the signals that end it.

Only what a tunnel needs is loaded (Core, Proxyserver, NextLayer, ours): none of mitmproxy's features, no CA, no file.
SIGTERM or SIGINT drains; a second one ends what is still open, with FIN.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Sequence

import structlog
from mitmproxy import master, options
from mitmproxy.addons import core, next_layer, proxyserver
from mitmproxy.proxy.mode_servers import ServerInstance

from towline.errors import ListenError
from towline.proxy.addon import TowlineAddon
from towline.proxy.mode import TowlineMode, mode_for
from towline.service import Service
from towline.types import Address

log = structlog.get_logger("towline")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class LeanMaster(master.Master):
    """Runs one Service until it is told to stop."""

    def __init__(self, service: Service, listen: Sequence[Address]) -> None:
        super().__init__(options.Options(mode=[mode_for(address) for address in listen]))
        self._service = service
        self._stopping: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._proxyserver = proxyserver.Proxyserver()
        self.addons.add(core.Core(), self._proxyserver, next_layer.NextLayer(), TowlineAddon(service))

    async def serve(self) -> None:
        """Listen, serve and drain. Raises ListenError when a listener cannot be opened."""
        for number in SIGNALS:
            self.event_loop.add_signal_handler(number, self.stop)
        try:
            await self.run()
        finally:
            for number in SIGNALS:
                self.event_loop.remove_signal_handler(number)
            if self._stopping is not None:
                await self._stopping

    async def running(self) -> None:
        """Called by mitmproxy once it has tried to open the listeners."""
        self._check_listeners()
        await super().running()

    def _check_listeners(self) -> None:
        """A listener that failed is fatal, but for an IPv6 one on a machine without IPv6 beside one that opened."""
        failed = [instance for instance in self._proxyserver.servers if instance.last_exception is not None]
        fatal = len(failed) == len(self._proxyserver.servers) or not all(_lacks_ipv6(instance) for instance in failed)
        for instance in failed:
            if fatal:
                raise _listen_error(instance)
            log.warning("no_ipv6", listener=_address(instance), why=str(instance.last_exception))

    def stop(self) -> None:
        """Begin to drain; asked again, end at once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        else:
            self._hurry.set()

    async def _stop(self) -> None:
        await self._proxyserver.servers.update([])
        drained = asyncio.create_task(self._service.drain(), name="drain")
        hurried = asyncio.create_task(self._hurry.wait(), name="second signal")
        await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        hurried.cancel()
        await self._service.release_all()
        self.shutdown()


def _address(instance: ServerInstance[TowlineMode]) -> str:
    return instance.mode.full_spec.removeprefix("towline@")


def _listen_error(instance: ServerInstance[TowlineMode]) -> ListenError:
    error = instance.last_exception
    number = error.errno if isinstance(error, OSError) else None
    why = os.strerror(number) if number else str(error)
    hint = "is another proxy running there? " if number == errno.EADDRINUSE else ""
    return ListenError(f"cannot listen on {_address(instance)}: {why}\nhint: {hint}`listen:` chooses other addresses")


def _lacks_ipv6(instance: ServerInstance[TowlineMode]) -> bool:
    error = instance.last_exception
    return isinstance(error, OSError) and error.errno in _NO_IPV6 and ":" in instance.mode.listen_host()
