"""`towline status`: what the running Towline is doing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from towline.cli.ask import ask, reading
from towline.cli.configuration import admin_side, asking_options
from towline.types import Address


@click.command()
@asking_options
def status(path: Path | None, admin: Address | None, *, as_json: bool) -> None:
    """Show routes, tunnels and totals. Asks the running Towline."""
    side = admin_side(path, admin)
    answer = ask(side, "/api/v1/status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from towline.cli.snapshot import parse_snapshot
    from towline.cli.status_text import status_text

    with reading(side.address):
        snapshot = parse_snapshot(answer)
    click.echo(status_text(snapshot))
