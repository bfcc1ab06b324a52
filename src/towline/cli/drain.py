"""`towline drain` and `towline resume`: take a route out of use for a while, without cutting what it carries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from towline.admin.text import escape
from towline.cli.ask import ask, reading
from towline.cli.configuration import AdminSide, admin_option, admin_side, config_option
from towline.types import Address

POLL = 0.5  # seconds between two looks at what is left: an idle tunnel takes two seconds to go

route_argument = click.argument("name", metavar="ROUTE")


@click.command()
@route_argument
@click.option("--wait", is_flag=True, help="Return when its last tunnel has ended.")
@admin_option
@config_option
def drain(name: str, path: Path | None, admin: Address | None, *, wait: bool) -> None:
    """Give a route no new tunnels, until resume or a restart.

    Its idle tunnels are released within seconds; those at work finish. Asks the running Towline, which wants its admin
    token: run this as the user that Towline runs as; with sudo where the systemd unit runs it.
    """
    side = admin_side(path, admin)
    left, in_use = _steer(side, name, "drain")
    click.echo(f"{name} gets no new tunnels; {_open(left)}")
    if not in_use:
        click.echo(f"warning: no route is in use: requests are refused (503) until `towline resume {name}`", err=True)
    while wait and left:
        time.sleep(POLL)
        left = _tunnels(side, name)
    if wait:
        click.echo(f"{name} is drained")


@click.command()
@route_argument
@admin_option
@config_option
def resume(name: str, path: Path | None, admin: Address | None) -> None:
    """Use a drained route again.

    Asks the running Towline, which wants its admin token: run this as the user that Towline runs as; with sudo where
    the systemd unit runs it.
    """
    _, in_use = _steer(admin_side(path, admin), name, "resume")
    click.echo(f"in use: {', '.join(in_use)}")


def _steer(side: AdminSide, name: str, verb: str) -> tuple[int, list[str]]:
    """Drain or resume the route: its open tunnels, and the routes that are in use."""
    answer = ask(side, f"/api/v1/routes/{quote(name, safe='')}/{verb}", method="POST")
    with reading(side.address):
        return int(answer["route"]["tunnels"]), [escape(str(route)) for route in answer["in_use"]]


def _tunnels(side: AdminSide, name: str) -> int:
    """The open tunnels of the route; a reload may have taken it away with its last one."""
    answer = ask(side, "/api/v1/status")
    with reading(side.address):
        routes: list[dict[str, Any]] = answer["routes"]
        return sum(int(route["tunnels"]) for route in routes if route["name"] == name)


def _open(tunnels: int) -> str:
    return "1 tunnel is open" if tunnels == 1 else f"{tunnels or 'no'} tunnels are open"
