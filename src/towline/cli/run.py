"""`towline run`: the proxy itself."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli.configuration import config_option, load


@click.command()
@config_option
@click.pass_context
def run(ctx: click.Context, path: Path | None) -> None:
    """Run the proxy. SIGTERM or SIGINT ends it: open tunnels get limits.drain seconds to end by themselves."""
    config = load(path)

    from towline.proxy import master

    ctx.exit(master.run(config))
