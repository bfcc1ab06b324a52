"""`towline run`: the proxy itself."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from towline.cli.configuration import config_option, load, load_and_log


@click.command()
@config_option
def run(path: Path | None) -> None:
    """Run the proxy. SIGTERM or SIGINT ends it: open tunnels get limits.drain seconds to end by themselves.

    SIGHUP, or `towline reload`, has it read its configuration again.
    """
    gc.disable()  # until it listens (proxy/master.py): all that is made before is to stay
    from towline.system.systemd import passed_sockets

    passed = passed_sockets(os.environ, pid=os.getpid())
    own = tuple(passed)
    config = load_and_log(path, own=own)

    import asyncio

    from towline.proxy import leave_out_what_mitmdump_needs

    leave_out_what_mitmdump_needs()
    from towline.cli.compose import serve

    asyncio.run(serve(config, passed, load=lambda: load(path, own=own)))
