from __future__ import annotations

from dataclasses import replace

import click
import pytest
from tests.web.fakes import SNAPSHOT

from towline.cli.layout import COLUMNS, width
from towline.cli.status_text import MAX_TUNNELS, status_text
from towline.views import NetworkView, ProbesView, ReloadView, Snapshot

GOLDEN = """\
towline 1.2.3 ready: 1 of 2 routes usable, 2 tunnels open, up 2 h
listening on 127.0.0.1:3128, [::1]:3128

ROUTE   CIRCUIT  TUNNELS  RECEIVED     SENT  ATTEMPTS  FAILED
direct  closed         1   1.2 GiB  3.4 MiB       120       3
  dockerhub: 0.2 s expected, dials in 214 ms
  last error 5 min ago: timeout 3.0 s
vpn     open           0       0 B      0 B        10      10
  direct by interface wg0, names: udp://192.0.2.53

TARGET                      REGISTRY   ROUTE   PHASE      RECEIVED    AGE   IDLE
docker-images-prod.6aa3...  dockerhub  direct  relaying  312.0 MiB   12 s  0.1 s
registry.example:5000       unlisted   -       racing          0 B  0.3 s  0.3 s

since the start: 1234 tunnels, 1.2 GiB received, 3.4 MiB sent
probes: 42, 3 failed, 5.0 MiB of 64.0 MiB in the last hour
failovers: 12 connect
refused: 4 private, 1 port"""


def plain(snapshot: Snapshot) -> str:
    """The text without its colours."""
    return click.unstyle(status_text(snapshot))


def test_golden() -> None:
    """The whole text for one snapshot, as a user sees it."""
    assert plain(SNAPSHOT) == GOLDEN


@pytest.mark.parametrize(
    ("ready", "draining", "state"), [(True, False, "ready"), (False, False, "starting"), (False, True, "draining")]
)
def test_health_line_comes_first(ready: bool, draining: bool, state: str) -> None:
    """The first line says what to think of the rest."""
    first, *_ = plain(replace(SNAPSHOT, ready=ready, draining=draining)).splitlines()
    assert first.startswith(f"towline 1.2.3 {state}: ")


def test_network() -> None:
    """How packets leave, since when, and whether what is learned here was known before."""
    network = NetworkView(("wlan0, gateway 192.0.2.1", "wlan0, gateway fe80::1"), 12.0, "2ca54605cf21013b", 11.0)
    text = plain(replace(SNAPSHOT, network=network))
    assert "\nleaving by wlan0, gateway 192.0.2.1; wlan0, gateway fe80::1, changed 12 s ago\n" in text
    assert "\nnetwork 2ca54605cf21013b, known before: recalled 11 s ago\n" in text
    new = plain(replace(SNAPSHOT, network=replace(network, changed_seconds_ago=None, recalled_seconds_ago=None)))
    assert "gateway fe80::1\nnetwork 2ca54605cf21013b, not known before\n" in new


def test_a_route_that_is_absent() -> None:
    """It is not usable, and says why."""
    direct, vpn = SNAPSHOT.routes
    text = plain(replace(SNAPSHOT, routes=(replace(direct, absent="interface wg0 is gone"), vpn)))
    assert "0 of 2 routes usable" in text
    assert "\n  interface wg0 is gone\n" in text


def test_probes_that_are_off() -> None:
    """A limit of 0 bytes is said in a word."""
    assert "\nprobes: off\n" in plain(replace(SNAPSHOT, probes=ProbesView()))


def test_no_tunnels_no_table() -> None:
    """Without tunnels there is no empty table, and the blocks stay apart by one line."""
    text = plain(replace(SNAPSHOT, tunnels=()))
    assert "TARGET" not in text
    assert "\n\n\n" not in text


def test_many_tunnels_are_counted() -> None:
    """A screenful is shown, the most recently active first, and the rest is counted."""
    tunnel = SNAPSHOT.tunnels[0]
    tunnels = tuple(replace(tunnel, target=f"host{n}.example:443", idle_seconds=100.0 - n) for n in range(50))
    text = plain(replace(SNAPSHOT, tunnels=tunnels))
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("host")]
    assert shown == [f"host{n}.example" for n in range(49, 49 - MAX_TUNNELS, -1)]
    assert "and 30 more, idle for longer" in text


def test_reload_that_failed_is_shown() -> None:
    """What runs is not what stands in the file: when that was tried, and the first problem; a good reload is silent."""
    problems = ("towline.yaml:3: listn: unknown key\n  hint: did you mean listen?", "towline.yaml:9: x: y")
    failed = replace(SNAPSHOT, reload=ReloadView(count=2, ok=False, seconds_ago=40.0, problems=problems))
    assert plain(failed).splitlines()[2] == "reload 40 s ago changed nothing: towline.yaml:3: listn: unknown key"
    done = replace(SNAPSHOT, reload=ReloadView(count=1, ok=True, seconds_ago=40.0, kept=("direct",)))
    assert plain(done) == plain(SNAPSHOT)


def test_draining_route_is_not_usable() -> None:
    """A route that is drained shows as such, whatever its circuit, and when its last tunnel has ended."""
    text = plain(replace(SNAPSHOT, routes=tuple(replace(route, draining=True) for route in SNAPSHOT.routes)))
    assert "0 of 2 routes usable" in text
    lines = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.startswith(("direct ", "vpn "))}
    assert lines == {"direct": "draining", "vpn": "drained"}, "direct has a tunnel, vpn has none"


def test_lines_keep_to_80_columns() -> None:
    """Whatever names, errors and reasons say, in whatever script, no line is wider, and nothing drives the terminal."""
    evil = "\x1b[2J办公室代理\n" * 20
    route = replace(
        SNAPSHOT.routes[0],
        name="r" * 32,
        description=evil,
        last_error=evil,
        bytes_in=2**62,
        registries=(replace(SNAPSHOT.routes[0].registries[0], registry=evil, reason=evil),),
    )
    tunnel = replace(SNAPSHOT.tunnels[0], target=evil, registry=evil, route="r" * 32, phase="first flight")
    totals = replace(SNAPSHOT.totals, refused={evil: 1})
    text = plain(replace(SNAPSHOT, routes=(route,), tunnels=(tunnel,), totals=totals, listen=(evil,)))
    assert all(width(line) <= COLUMNS and line.isprintable() for line in text.splitlines())
    assert "\x1b" not in text


def test_colours_mark_what_needs_a_look() -> None:
    """Green for ready, red for the row of a route that is not usable: added to words that say the same."""
    lines = status_text(SNAPSHOT).splitlines()
    assert lines[0].startswith("\x1b[32m")
    assert [line.startswith("\x1b[31m") for line in lines if "closed" in line or "open  " in line] == [False, True]
