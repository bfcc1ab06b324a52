"""Puts the parts together: a configuration becomes a running proxy with its admin side, or an addon for mitmdump."""

from __future__ import annotations

import contextlib

import structlog

from towline.admin.log import use_logging
from towline.admin.serve import AdminServer
from towline.cli.configuration import load
from towline.config import Config
from towline.proxy.addon import TowlineAddon
from towline.proxy.master import LeanMaster
from towline.service import Service
from towline.system.descriptors import raise_limit, tunnels_within

log = structlog.get_logger("towline")


async def serve(config: Config) -> None:
    """Run the proxy until it is told to stop. Raises AdminError and ListenError where an address cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        service = _service(config)
        stack.callback(service.close)
        if config.admin is not None:
            admin = AdminServer.start(service, config.admin)
            stack.push_async_callback(admin.stop)
        await LeanMaster(service, config.listen).serve()


def addon() -> TowlineAddon:
    """The addon for `mitmdump -s`, configured as `towline run` is; mitmdump listens and logs. Raises ConfigError."""
    use_logging()
    return TowlineAddon(_service(load(None)))


def _service(config: Config) -> Service:
    before, after = raise_limit()
    allowed = tunnels_within(after)
    if allowed < config.limits.tunnels:
        hint = f"raise the hard limit (ulimit -Hn, LimitNOFILE=) above {after} for limits.tunnels"
        log.info("few_descriptors", limit=after, was=before, tunnels=allowed, hint=hint)
    return Service(config, max_tunnels=allowed)
