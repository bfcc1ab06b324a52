"""Faults of the kernel's making on the links of a world: nftables, addresses and queues, no program of ours in between.

Each fault is a context manager that lasts as long as its body and yields a function: how many packets it has hit. For
those that work on the link itself, whose victims nobody counts, that is 1.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.world import INTERFACE_LINK, LINKS, SOURCE, SOURCE_LINK, World

SMALL_MTU = 1280  # bytes: what is often left of 1500 inside two tunnels; the least that IPv6 allows (RFC 8200 5)

# What the kernel forgets together with a link or its address, to be told again (tests/e2e/rig/world.py made it).
ADDRESS = {INTERFACE_LINK: "10.77.3.1/24", SOURCE_LINK: f"{SOURCE}/24"}
ROUTE = {
    INTERFACE_LINK: f"default via 10.77.3.2 dev {INTERFACE_LINK} metric 500",
    SOURCE_LINK: f"default via 10.77.2.2 dev {SOURCE_LINK} table 101",
}

type Hits = Callable[[], int]
type Lasting = AbstractContextManager[Hits]


class Links:
    """The links of one world, each with a rate."""

    def __init__(self, world: World, megabits: float) -> None:
        """Let the far side send at most so many Mbit/s over each link."""
        self._near = world.near
        self._far = world.far
        self._megabits = megabits
        self._numbers = itertools.count()
        for link in LINKS:
            self._limit(link, megabits)

    def _limit(self, link: str, megabits: float) -> None:
        queue = ("tbf", "rate", f"{round(megabits * 1000)}kbit", "burst", "64k", "latency", "50ms")
        self._far.run("tc", "qdisc", "replace", "dev", _peer(link), "root", *queue)

    def refusing(self, link: str) -> Lasting:
        """New connections are answered with RST."""
        return self._rules(self._far, {"input": f"{_in(link)} {SYN} {HIT} reject with tcp reset"})

    def swallowing(self, link: str) -> Lasting:
        """Nothing answers new connections."""
        return self._rules(self._far, {"input": f"{_in(link)} {SYN} {HIT} drop"})

    def dead(self, *links: str) -> Lasting:
        """No packet gets through, either way, and nothing says so."""
        chains = {"input": f"{_in(*links)} {HIT} drop", "output": f"{_out(*links)} {HIT} drop"}
        return self._rules(self._far, chains)

    def dead_after(self, link: str, size: int) -> Lasting:
        """No packet gets to the near side once `size` bytes have."""
        return self._rules(self._far, {"output": f"{_out(link)} quota over {size} bytes {HIT} drop"})

    def resetting(self, link: str) -> Lasting:
        """Whatever the near side sends, it gets RST for; the far side never hears of it."""
        chains = {"output": f'oifname "{link}" meta l4proto tcp {HIT} reject with tcp reset'}
        return self._rules(self._near, chains)

    def losing(self, link: str, percent: int) -> Lasting:
        """So many packets in a hundred get lost on their way to the near side."""
        return self._rules(self._far, {"output": f"{_out(link)} numgen random mod 100 < {percent} {HIT} drop"})

    def narrow(self, link: str) -> Lasting:
        """Packets above SMALL_MTU get lost on their way to the near side, and no ICMP says so (RFC 2923 2.1)."""
        return self._rules(self._far, {"output": f"{_out(link)} meta length > {SMALL_MTU} {HIT} drop"})

    @contextmanager
    def _rules(self, side: Namespace, chains: dict[str, str]) -> Iterator[Hits]:
        """While it lasts, each hook has this rule."""
        table = f"fault{next(self._numbers)}"
        rules = "\n".join(
            f"chain {hook} {{\ntype filter hook {hook} priority 0;\n{rule}\n}}" for hook, rule in chains.items()
        )
        side.run("nft", "-f", "-", stdin=f"table inet {table} {{\ncounter hits {{ }}\n{rules}\n}}\n")
        try:
            yield lambda: counters(side, table)["hits"][0]
        finally:
            side.run("nft", "delete", "table", "inet", table)

    @contextmanager
    def throttled(self, link: str, megabits: float) -> Iterator[Hits]:
        """The far side sends no faster than this over the link."""
        self._limit(link, megabits)
        try:
            yield once
        finally:
            self._limit(link, self._megabits)

    @contextmanager
    def down(self, link: str) -> Iterator[Hits]:
        """The near side's interface is down, as a VPN's is when its client gives up."""
        self._near.run("ip", "link", "set", link, "down")
        try:
            yield once
        finally:
            self._near.run("ip", "link", "set", link, "up")
            self._add_route(link)

    @contextmanager
    def unplugged(self, link: str) -> Iterator[Hits]:
        """The far end is down: the near side's interface is up and has no carrier."""
        self._far.run("ip", "link", "set", _peer(link), "down")
        try:
            yield once
        finally:
            self._far.run("ip", "link", "set", _peer(link), "up")

    @contextmanager
    def without_address(self, link: str) -> Iterator[Hits]:
        """The near side's address is gone, as when a lease ends."""
        self._near.run("ip", "address", "delete", ADDRESS[link], "dev", link)
        try:
            yield once
        finally:
            self._near.run("ip", "address", "add", ADDRESS[link], "dev", link)
            self._add_route(link)

    def _add_route(self, link: str) -> None:
        self._near.run("ip", "route", "replace", *ROUTE[link].split())


SYN = "tcp flags & (syn | ack) == syn"
HIT = "counter name hits"


def _in(*links: str) -> str:
    return f"iifname {{ {', '.join(map(_peer, links))} }}"


def _out(*links: str) -> str:
    return f"oifname {{ {', '.join(map(_peer, links))} }}"


def _peer(link: str) -> str:
    """The link's far end."""
    return f"in{LINKS.index(link)}"


def once() -> int:
    """For faults that have struck when they begin."""
    return 1


def counters(side: Namespace, table: str) -> dict[str, tuple[int, int]]:
    """Packets and bytes of each named counter of a table."""
    listing = json.loads(side.run("nft", "--json", "list", "counters", "table", "inet", table))
    found = [item["counter"] for item in listing["nftables"] if "counter" in item]
    return {counter["name"]: (counter["packets"], counter["bytes"]) for counter in found}
