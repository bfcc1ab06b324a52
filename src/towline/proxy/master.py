"""A lean mitmproxy Master around the addon: its listeners, and the signals that steer it.

Only what a tunnel needs is loaded (listeners.py, addon.py): none of mitmproxy's features, no CA, no file.

    SIGTERM, SIGINT   drain; a second one ends what is still open, with FIN
    SIGHUP            reload, as `reload()` does; where it is the terminal that was closed, drain
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog
from mitmproxy import master, options

from towline.errors import ListenError
from towline.proxy.addon import TowlineAddon
from towline.proxy.listeners import Listeners
from towline.service import Service
from towline.types import Address, Target

log = structlog.get_logger("towline")

HEAD_GRACE = 1.0  # seconds that a client that was accepted before a stop gets to send its request; Go sends it at once
HEAD_POLL = 0.02  # seconds between two looks at whether it has

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

type Reload = Callable[[], Awaitable[None]]


class Supervisor(Protocol):
    """Who started this process and waits to hear from it (system/systemd.py)."""

    def ready(self) -> None:
        """The listeners are open."""
        ...

    def stopping(self, seconds: float) -> None:
        """The end has begun, and takes so long at most."""
        ...


class LeanMaster(master.Master):
    """Runs one Service until it is told to stop."""

    def __init__(
        self,
        service: Service,
        listen: Sequence[Address],
        supervisor: Supervisor,
        *,
        passed: Mapping[Address, int],
    ) -> None:
        """`passed` has the descriptors of addresses that are bound already."""
        super().__init__(options.Options())
        self._service = service
        self._supervisor = supervisor
        self._reload_asked = asyncio.Event()
        self._next_reload: asyncio.Future[None] = self.event_loop.create_future()
        """Ends with the next reload that begins."""
        self._reloading: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._once_listening: list[Callable[[], Awaitable[None]]] = []
        self._on_terminal = sys.stderr.isatty()
        addon = TowlineAddon(service)
        self._listeners = Listeners(addon, listen, passed)
        self.addons.add(self._listeners, addon)

    def once_listening(self, call: Callable[[], Awaitable[None]]) -> None:
        """Have this called when the listeners are open, and waited for before the supervisor is told."""
        self._once_listening.append(call)

    async def serve(self, reload: Reload) -> None:
        """Listen, serve and drain; `reload` is awaited for each SIGHUP. Raises ListenError as at `listen_on`."""
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self._hung_up}
        for number, handler in handlers.items():
            self.event_loop.add_signal_handler(number, handler)
        self._reloading = asyncio.create_task(self._reload_when_asked(reload), name="reload")
        try:
            await self.run()
        finally:
            for number in handlers:
                self.event_loop.remove_signal_handler(number)
            await self._end_reload()
            if self._stopping is not None:
                await self._stopping

    async def running(self) -> None:
        """Called by mitmproxy once it has tried to open the listeners."""
        self._check_listeners()
        await super().running()
        for call in self._once_listening:
            await call()
        if self._stopping is None:
            self._supervisor.ready()
        # What stands now stands to the end: the collector need not walk it again and again. 300,000 objects, most of
        # them mitmproxy's modules, hold the loop up for 80 ms. `towline run` has it off until here: see cli/run.py.
        gc.freeze()
        gc.enable()

    async def listen_on(self, addresses: Sequence[Address]) -> list[str]:
        """Listen on these addresses and no others; gives where. Raises ListenError, the listeners being as before."""
        before = self._listeners.wanted
        await self._listeners.update(addresses)
        try:
            self._check_listeners()
        except ListenError:
            await self._listeners.update(before)
            raise
        return [Target(*address).authority for address in self._listeners.listen_addrs()]

    def _check_listeners(self) -> None:
        """A listener that failed is fatal, but for an IPv6 one on a machine without IPv6 beside one that opened."""
        failed = self._listeners.failed
        fatal = len(failed) == len(self._listeners.wanted) or not all(map(_lacks_ipv6, failed, failed.values()))
        for address, error in failed.items():
            if fatal:
                raise _listen_error(address, error)
            log.warning("no_ipv6", listener=Target(*address).authority, why=str(error))

    def _hung_up(self) -> None:
        """SIGHUP comes from whoever wants a reload, or from the kernel when the terminal that shows the log is gone."""
        if self._on_terminal and not sys.stderr.isatty():
            self.stop()
        else:
            self._reload_asked.set()

    async def reload(self) -> bool:
        """Have a reload, as by SIGHUP, and wait for its end. False where there is none: not yet, or no more."""
        if self._reloading is None:
            return False
        done = self._next_reload
        self._reload_asked.set()
        await asyncio.wait({done, self._reloading}, return_when=asyncio.FIRST_COMPLETED)
        return done.done()

    async def _reload_when_asked(self, reload: Reload) -> None:
        """One reload at a time; those that are asked for meanwhile are one more."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            done, self._next_reload = self._next_reload, self.event_loop.create_future()
            try:
                await reload()
            except Exception:  # a bug; tunnels must not pay for it
                log.exception("reload_broke")
            done.set_result(None)

    def stop(self) -> None:
        """Begin to drain; asked again, end at once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        else:
            self._hurry.set()

    async def _stop(self) -> None:
        self._service.begin_draining()
        await self._end_reload()  # which tells the supervisor READY: STOPPING is the last word
        self._supervisor.stopping(HEAD_GRACE + self._service.longest_stop)
        await self._listeners.update([])
        drained = asyncio.create_task(self._drain(), name="drain")
        hurried = asyncio.create_task(self._hurry.wait(), name="second signal")
        await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        hurried.cancel()
        await self._service.release_all()
        self.shutdown()

    async def _end_reload(self) -> None:
        """No listener opens after the last was closed."""
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.wait({self._reloading})

    async def _drain(self) -> None:
        """What was accepted is served: a client that has its connection would take a refusal for an answer."""
        deadline = self.event_loop.time() + HEAD_GRACE
        while self._is_awaiting_a_head() and self.event_loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(HEAD_POLL)
        await self._service.drain()

    def _is_awaiting_a_head(self) -> bool:
        return any(not connection.asked for connection in self._listeners.connections)


def _listen_error(address: Address, error: OSError) -> ListenError:
    why = os.strerror(error.errno) if error.errno else str(error)
    hint = "is another proxy running there? " if error.errno == errno.EADDRINUSE else ""
    where = Target(*address).authority
    return ListenError(f"cannot listen on {where}: {why}\nhint: {hint}`listen:` chooses other addresses")


def _lacks_ipv6(address: Address, error: OSError) -> bool:
    return error.errno in _NO_IPV6 and ":" in address[0]
