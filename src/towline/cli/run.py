"""`towline run`: the proxy itself."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.configuration import config_option, load_and_log


@click.command()
@config_option
def run(path: Path | None) -> None:
    """Run the proxy. SIGTERM or SIGINT ends it: open tunnels get limits.drain seconds to end by themselves."""
    config = load_and_log(path)

    import asyncio

    from towline.cli.compose import serve

    asyncio.run(serve(config))
