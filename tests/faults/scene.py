"""One pull through one Towline while its fault happens: `play` does it and says what came of it."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.rig.clients import HUB_REFERENCE, ContainerClient
from tests.e2e.rig.process import POLL, Daemon, ProgramError, wait_until
from tests.e2e.rig.towline import PROXY_ADDRESS, Towline
from tests.faults.meter import NOTHING, Moved
from tests.faults.row import Row
from tests.faults.stage import Stage

MIDWAY = 20 * 2**20  # bytes: a third of the pull, when every layer under way has brought several MB
DRAIN = 30.0  # seconds: what Towline has without a configuration
END_TIMEOUT = 5.0  # seconds for Towline to end at once
WORDS = 400  # characters of a client's last words that are kept


@dataclass(slots=True)
class Pull:
    """What came of one pull."""

    completed: bool = False
    """The client said so, and the digest is right."""
    landed: bool = False
    """The fault struck while there was something to strike."""
    seconds: float = 0.0
    moved: Moved = NOTHING
    failovers: Counter[str] = field(default_factory=Counter)
    """As Towline counted them, by phase."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Towline's."""
    words: str = ""
    """What the client said last, or what went wrong beside it; empty where the pull completed."""


class Scene:
    """What a fault sees of a pull, and what it can do to it. Its owner calls `close()`."""

    def __init__(self, stage: Stage, client: ContainerClient, row: Row) -> None:
        """Start a Towline for it."""
        self.stage = stage
        self.client = client
        self._row = row
        self._began = 0.0
        self._received = 0
        self.pull: Daemon | None = None
        self.failovers: Counter[str] = Counter()
        self.log: list[dict[str, Any]] = []
        self._listener = stage.world.near.listen(PROXY_ADDRESS) if row.held else None
        self.towline = self._start_towline()

    def _start_towline(self) -> Towline:
        return self.stage.start_towline(self._row.routes, listener=self._listener, limits={"drain": DRAIN})

    def begin_pull(self) -> Daemon:
        """Begin to pull into an empty store; the caller stops it."""
        self.client.empty()
        self._received = self.stage.meter.received()
        command = self.client.pull_command(HUB_REFERENCE)
        self._began = time.monotonic()
        self.pull = self.stage.world.near.start(f"{self.client.name}-pull", *command, env=self.client.env)
        return self.pull

    @property
    def seconds(self) -> float:
        """Since the pull began."""
        return time.monotonic() - self._began

    def goes_on(self) -> bool:
        """Whether the pull is under way and may go on."""
        return self.pull is not None and self.pull.running and self.seconds < self._row.deadline

    def wait(self, seconds: float) -> bool:
        """Let time pass; False where the pull ended meanwhile."""
        until = time.monotonic() + seconds
        while self.goes_on() and time.monotonic() < until:
            time.sleep(POLL)
        return self.goes_on()

    def wait_for_bytes(self, size: int) -> bool:
        """Wait until so many bytes of this pull have come over the links; False where it ended before."""
        while self.goes_on() and self.stage.meter.received() - self._received < size:
            time.sleep(POLL)
        return self.goes_on()

    def wait_for_end(self) -> None:
        """Wait until the pull has ended, or its time is up."""
        self.wait(self._row.deadline)

    def restart_towline(self, number: signal.Signals) -> None:
        """End it by a signal, and start another in its place as soon as it is gone, as a supervisor does."""
        self.failovers.update(self.towline.status()["totals"]["failovers"])
        self.towline.process.signal(number)
        self.towline.process.join(DRAIN + END_TIMEOUT)
        self.log += self.towline.records()
        self.towline = self._start_towline()

    def end_towline(self) -> None:
        """Stop it without waiting for idle tunnels: the second signal does that."""
        self.failovers.update(self.towline.status()["totals"]["failovers"])
        self.towline.terminate()
        wait_until(lambda: self.towline.ready()[0] != 200, "Towline drains", timeout=END_TIMEOUT)
        self.towline.terminate()
        self.towline.process.join(END_TIMEOUT)
        self.log += self.towline.records()

    def close(self) -> None:
        """End what still runs, and leave the stage as it was."""
        self.towline.process.stop(0)
        if self._listener is not None:
            self._listener.close()
        self.stage.proxy.heal()


def play(stage: Stage, client: ContainerClient, row: Row) -> Pull:
    """One pull by `client` under the fault of a row."""
    scene = Scene(stage, client, row)
    came_of_it = Pull(failovers=scene.failovers, log=scene.log)
    with closing(scene):
        try:
            _pull(scene, row, came_of_it)
            scene.end_towline()
        except (ProgramError, OSError, ValueError) as error:
            came_of_it.completed = False
            came_of_it.words += str(error)[-WORDS:]
    return came_of_it


def _pull(scene: Scene, row: Row, came_of_it: Pull) -> None:
    with ExitStack() as undo:
        hits = None if row.midway else undo.enter_context(row.fault(scene))
        before = scene.stage.meter.read()
        pull = undo.enter_context(scene.begin_pull())
        if row.midway and scene.wait_for_bytes(MIDWAY):
            hits = undo.enter_context(row.fault(scene))
        scene.wait_for_end()
        came_of_it.seconds = scene.seconds
        came_of_it.moved = scene.stage.meter.read().since(before)
        came_of_it.landed = hits is not None and hits() > 0
        if pull.running:
            came_of_it.words = f"hung: {pull.output()[-WORDS:]}"
        elif pull.join(0) != 0:
            came_of_it.words = f"failed: {pull.output()[-WORDS:]}"
        elif (digest := scene.client.digest(HUB_REFERENCE)) != scene.stage.image.digest:
            came_of_it.words = f"wrong digest: {digest}"
        else:
            came_of_it.completed = True
