"""`towline check`: is the configuration right, and what does it amount to?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from towline.cli.configuration import config_option, load_and_log
from towline.errors import ConfigError
from towline.types import Target

if TYPE_CHECKING:
    from towline.config import Config  # pydantic is what `status` starts without


@click.command()
@config_option
@click.pass_context
def check(ctx: click.Context, path: Path | None) -> None:
    """Check the configuration. Prints what it amounts to, or every problem with its line (exit code 78)."""
    try:
        config = load_and_log(path)
    except ConfigError as error:
        click.echo(error)  # on stdout: here the problems are the data
        ctx.exit(os.EX_CONFIG)
    click.echo("\n".join(_summary(config)))


def _summary(config: Config) -> Iterator[str]:
    yield f"{config.path}: ok" if config.path else "no configuration file: the defaults, and what this machine offers"
    yield f"listen      {', '.join(Target(*address).authority for address in config.listen)}"
    yield f"admin       {Target(*config.admin).authority if config.admin else 'off'}"
    yield "routes"
    column = max(len(route.name) for route in config.routes)
    for route in config.routes:
        state = "disabled: " if route.disabled else ""
        names = f", names: {route.names}" if route.dns else ""
        origin = "" if route.origin == "configuration" else f" ({route.origin})"
        yield f"  {route.name:<{column}}  {state}{route.describe()}{names}{origin}"
    yield f"registries  {_registries(config)}"


def _registries(config: Config) -> str:
    from towline.catalogue import load_catalogue

    known = len(load_catalogue().with_overrides(config.registries).registries)
    return f"{known} known, {len(config.registries)} of them from the configuration"
