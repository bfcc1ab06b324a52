"""Puts the parts together: a configuration becomes a running proxy with its admin side, or an addon for mitmdump."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from towline.admin.log import configure, use_logging
from towline.admin.serve import AdminServer
from towline.cli.configuration import load
from towline.config import DEFAULT_LISTEN, Config
from towline.core.capacity import within
from towline.errors import AdminError
from towline.memory import Memory
from towline.proxy.addon import TowlineAddon
from towline.proxy.master import LeanMaster
from towline.service import Service
from towline.system import admin_token
from towline.system.descriptors import raise_limit
from towline.system.state import state_folder
from towline.system.systemd import Supervisor
from towline.types import Address, Secret, Target

log = structlog.get_logger("towline")


async def serve(config: Config, passed: Mapping[Address, socket.socket], *, load: Callable[[], Config]) -> None:
    """Run the proxy until it is told to stop. Raises AdminError and ListenError where an address cannot be used.

    `passed` are sockets that listen already; this is their owner from here on. `load` gives the configuration anew for
    a reload, and raises ConfigError.
    """
    async with contextlib.AsyncExitStack() as stack:
        for sock in passed.values():
            stack.enter_context(sock)
        config = _listening_on(passed, config)
        service = _service(config)
        stack.callback(service.close)
        await service.look_around()
        supervisor = Supervisor.of(os.environ)
        descriptors = {address: sock.fileno() for address, sock in passed.items()}
        master = LeanMaster(service, config.listen, supervisor, passed=descriptors)
        if config.admin is not None:
            token = partial(_admin_token, config.admin_token_file, config.admin[1], stack)
            admin = AdminServer.bind(
                service, config.admin, hosts=config.admin_hosts, obtain_token=token, reload=master.reload
            )
            stack.push_async_callback(admin.stop)
            master.once_listening(admin.serve)

        async def reload() -> None:
            supervisor.reloading()
            try:
                adopted = await service.reload(lambda: _listening_on(passed, load()), master.listen_on)
                if adopted is not None:
                    configure(adopted.log)
            finally:
                supervisor.ready()

        await master.serve(reload)


def _admin_token(file: Path | None, port: int, stack: contextlib.AsyncExitStack) -> Secret | None:
    """The operator's token or one that is made here, until the stack unwinds. Raises AdminError for the operator's.

    Where none can be made, the proxy runs all the same: a place for a token is not what pulls need.
    """
    if file is not None:
        return admin_token.kept(file)
    try:
        return stack.enter_context(admin_token.made(admin_token.place(port)))
    except AdminError as error:
        log.warning("no_admin_token", why=str(error), hint="the admin side only shows; `admin_token_file` names a file")
        return None


def _listening_on(passed: Collection[Address], config: Config) -> Config:
    """The configuration, listening on all the sockets that were passed where its `listen` is left to the default."""
    if passed and config.listen == DEFAULT_LISTEN:
        return replace(config, listen=tuple(passed))
    for address in passed:
        if address not in config.listen:
            log.warning("socket_unused", address=Target(*address).authority, why="`listen` does not have it")
    return config


def addon() -> TowlineAddon:
    """The addon for `mitmdump -s`, configured as `towline run` is; mitmdump listens and logs. Raises ConfigError."""
    use_logging()
    return TowlineAddon(_service(load(None)))


def _service(config: Config) -> Service:
    before, after = raise_limit()
    limits = within(config.limits, after)
    if limits != config.limits:
        hint = f"raise the hard limit (ulimit -Hn, LimitNOFILE=) above {after} for all that `limits` asks for"
        allowed = {"tunnels": limits.tunnels, "heads": limits.heads, "dials": limits.dials}
        log.info("few_descriptors", limit=after, was=before, **allowed, hint=hint)
    folder = state_folder(config.state, os.environ)
    return Service(config, descriptors=after, memory=None if folder is None else Memory.read(folder))
