"""The command line: `towline run | check | reload | status | explain | probe | drain | resume`.

Data goes to stdout; the log, errors and their `hint:` lines go to stderr. Exit codes, for scripts and for systemd:

    0    done
    1    failed: what was asked could not be done now
    2    usage: the command line is wrong
    78   bad configuration (EX_CONFIG of sysexits.h: systemd can be told not to restart on it)

The commands import what is slow inside, so that `status` and `explain` start without mitmproxy, pydantic or structlog.
"""

from __future__ import annotations

import os
from typing import Any, override

import click

from towline import __version__
from towline.cli.check import check
from towline.cli.drain import drain, resume
from towline.cli.explain import explain
from towline.cli.probe import probe
from towline.cli.reload import reload
from towline.cli.run import run
from towline.cli.status import status
from towline.errors import ConfigError, TowlineError


class Commands(click.Group):
    """A group that turns Towline's errors into text on stderr and an exit code: the one place that does."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(error, err=True)  # each problem begins with its place, as a compiler's does
            ctx.exit(os.EX_CONFIG)
        except TowlineError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="towline", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Get container pulls through bad networks: every connection over the healthiest route, TLS never opened."""
    if os.environ.get("NO_COLOR"):  # no-color.org; click itself looks at the terminal alone
        ctx.color = False


for command in (run, check, reload, status, explain, probe, drain, resume):
    main.add_command(command)
