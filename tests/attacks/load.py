"""Crowds at the door, with figures: python -m tests.attacks.load [--connects N] [SCENE ...]

Beside each crowd (crowd.py) another client asks for tunnels, in turns at the proxy that has the crowd and at one that
has none, so that whatever else the machine does slows both. Prints for each crowd the 95th percentile of a CONNECT at
either, how much memory the proxy gained, how soon it serves and has its descriptors back once the crowd is gone, and
tracebacks in its log.
Ends with 1 where a figure is not as it should be. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.attacks.doors import TowlineDoor
from tests.attacks.world import PORT

CROWD = Path(__file__).with_name("crowd.py")
NEIGHBOUR = ("127.9.9.8", 0)  # the other client's own address
REQUEST = b"CONNECT 20.0.0.5:443 HTTP/1.1\r\nHost: 20.0.0.5:443\r\n\r\n"
CONNECTS = 200
WARM = 20  # before anything is measured
LOG = {"level": "info", "format": "json"}
PAUSE = 0.01  # seconds between two of the other client's
PATIENCE = 2.0  # seconds for one of them
MAX_RATIO = 2.0
FLOOR = 0.005  # seconds: what two busy cores make of a 95th percentile of 2 ms is no slowness of the proxy's
MAX_GROWTH = 30.0  # MiB
MAX_RECOVERY = 1.0  # seconds
SPARE = 8  # descriptors that may still be open when it has recovered: its own housekeeping

COLUMNS = "{:34} {:>9} {:>9} {:>7} {:>8} {:>10} {:>11}  {}"
HEAD = COLUMNS.format("crowd", "calm p95", "p95", "ratio", "memory", "recovered", "tracebacks", "verdict")


@dataclass(frozen=True, slots=True)
class Scene:
    """One crowd."""

    name: str
    kind: str
    number: int
    descriptors: int | None = None
    """`ulimit -n` of the proxy."""


SCENES = {
    scene.kind if scene.descriptors is None else "descriptors": scene
    for scene in (
        Scene("2,000 idle connections", "idle", 2000),
        Scene("200 heads of a byte a second", "slow", 200),
        Scene("500 connects a second", "storm", 500),
        Scene("8 heads of 50 MB at a time", "endless", 8),
        Scene("16 tunnels that nobody reads", "unread", 16),
        Scene("200 idle, ulimit -n 128", "idle", 200, descriptors=128),
    )
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one scene. Seconds and MiB."""

    scene: Scene
    calm: float
    beside: float
    growth: float
    recovery: float
    tracebacks: int
    unserved: int
    """CONNECTs beside the crowd that were not answered with 200 in PATIENCE."""

    @property
    def ratio(self) -> float:
        """How many times slower a CONNECT was beside the crowd."""
        return self.beside / self.calm

    def complaints(self) -> list[str]:
        """What is not as it should be."""
        return [
            text
            for text, is_bad in {
                "slower": self.ratio > MAX_RATIO and self.beside > FLOOR,
                "grows": self.growth > MAX_GROWTH,
                "recovers late": self.recovery > MAX_RECOVERY,
                "tracebacks": self.tracebacks > 0,
                f"{self.unserved} not served": self.unserved > 0,
            }.items()
            if is_bad
        ]

    def __str__(self) -> str:
        return COLUMNS.format(
            self.scene.name,
            f"{self.calm * 1000:.1f} ms",
            f"{self.beside * 1000:.1f} ms",
            f"{self.ratio:.2f}",
            f"{self.growth:+.1f} MiB",
            f"{self.recovery:.2f} s",
            self.tracebacks,
            ", ".join(self.complaints()) or "ok",
        )


def play(scene: Scene, connects: int = CONNECTS) -> Figures:
    """One crowd at a Towline of its own."""
    prefix = () if scene.descriptors is None else ("prlimit", f"--nofile={scene.descriptors}:{scene.descriptors}")
    with ExitStack() as owned:
        door, quiet = (TowlineDoor({"log": LOG}, prefix=prefix) for _ in range(2))
        owned.enter_context(door)
        owned.enter_context(quiet)
        door.world.serve(("20.0.0.5", 8443), _floods)
        _in_turns([door, quiet], WARM)
        memory, descriptors = _memory(door), _descriptors(door)
        with door.world.space.start("crowd", sys.executable, str(CROWD), scene.kind, str(scene.number)) as crowd:
            crowd.wait_until(lambda: "ready" in crowd.output(), "the crowd is there")
            beside, calm = _in_turns([door, quiet], connects)
            growth = _memory(door) - memory
        recovery = _recovery(door, descriptors)
        return Figures(
            scene,
            calm=_p95(calm),
            beside=_p95(beside),
            growth=growth,
            recovery=recovery,
            tracebacks=door.process.output().count("Traceback"),
            unserved=connects - len(beside),
        )


def _in_turns(doors: Sequence[TowlineDoor], connects: int) -> list[list[float]]:
    """Seconds of so many CONNECTs at each, of those that were served."""
    times: list[list[float]] = [[] for _ in doors]
    for _ in range(connects):
        for door, served in zip(doors, times, strict=True):
            if (seconds := _connect(door)) is not None:
                served.append(seconds)
            time.sleep(PAUSE)
    return times


def _connect(door: TowlineDoor) -> float | None:
    """Seconds from SYN to the 200; None where there is none."""
    began = time.monotonic()
    with contextlib.suppress(OSError), door.world.space.connect(("127.0.0.1", PORT), PATIENCE, NEIGHBOUR) as sock:
        sock.sendall(REQUEST)
        if sock.recv(64).startswith(b"HTTP/1.1 200"):
            return time.monotonic() - began
    return None


def _recovery(door: TowlineDoor, descriptors: int) -> float:
    """Seconds until a CONNECT is served and no more descriptors are open than before."""
    began = time.monotonic()
    while time.monotonic() - began < 30 and (_connect(door) is None or _descriptors(door) > descriptors + SPARE):
        time.sleep(0.01)
    return time.monotonic() - began


def _memory(door: TowlineDoor) -> float:
    """Resident memory, in MiB."""
    status = Path(f"/proc/{door.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def _descriptors(door: TowlineDoor) -> int:
    return len(list(Path(f"/proc/{door.process.pid}/fd").iterdir()))


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] if times else PATIENCE


async def _floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that never stops sending."""
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        await reader.read(1)
        while True:
            writer.write(bytes(65536))
            await writer.drain()


def main() -> int:
    """Play, and print the figures; 1 where one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}")
    parser.add_argument("--connects", type=int, default=CONNECTS)
    options = parser.parse_args()
    print(HEAD)
    all_well = True
    for name in options.scenes or SCENES:
        figures = play(SCENES[name], options.connects)
        all_well &= not figures.complaints()
        print(figures, flush=True)
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
