"""What is known about one route for one role of a registry: how fast it is, how often it fails, how it failed last.

Evidence comes in here as it is; what is concluded from it, with what is known elsewhere, is for borrow.py and
estimate.py to say. Live tunnels weigh more than probes. All of it fades with age, so that a route which was
slow or broken once is neither trusted blindly nor left aside for ever. No clock is kept: everything takes `now=`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from towline.core.circuit import OPEN_AFTER, Circuit, Streak, fading
from towline.core.evidence import Carried, Finding
from towline.core.level import Level
from towline.types import Role

type Key = tuple[str, str, Role]
"""Route, registry, role."""

PROBE_NOISE = 2.0  # times that a probe's seconds scatter more about what traffic will meet; our choice
PROBE_WEIGHT = 0.5  # of an attempt, for a probe's success or failure
MISLEADING = 2  # failed probes that traffic disproved, after which they count no more until one succeeds
COSTS = 4.0  # failures whose cost is remembered
MEMORY = 24.0  # attempts that are remembered: what came before weighs less and less, however busy the route is
TRIES_HALF_LIFE = 600.0  # seconds in which half of what an attempt weighs has faded
BULK = 1 << 20  # bytes from which on a rate is what a blob would meet
SMALL_NOISE = 2.0  # times that the rate of fewer bytes scatters more
SHAKEN = 2.0  # variance that a change of the network adds to what was measured on the last one: it is a hint now

RESUMING = 5.0  # seconds that a client waits before it resumes what was cut: dockerd's first pause (clients.md A.8)
KEPT = 0.1  # part of what attempts weigh that is left by it


@dataclass(slots=True)
class Tries:
    """How often the route did what it was asked for lately, in attempts that fade, and what its failures cost."""

    successes: float = 0.0
    failures: float = 0.0
    at: float = 0.0
    lost: float = 0.0
    """Seconds that clients lost by failures, in the mean of those that were timed."""
    timed: float = 0.0
    """How many of them were, up to COSTS."""

    def cost(self, usual: float) -> float:
        """Seconds that a failure costs; `usual` stands for one more of them."""
        return (self.lost * self.timed + usual) / (self.timed + 1)

    def lose(self, seconds: float) -> None:
        """A failure cost a client so much."""
        self.timed = min(self.timed + 1, COSTS)
        self.lost += (seconds - self.lost) / self.timed

    def add(self, *, ok: bool, now: float, weight: float = 1.0) -> None:
        """One more attempt."""
        self.successes, self.failures = self.counts(now=now)
        if ok:
            self.successes += weight
        else:
            self.failures += weight
        if (total := self.successes + self.failures) > MEMORY:
            self.successes *= MEMORY / total
            self.failures *= MEMORY / total
        self.at = now

    def undo_success(self, *, now: float) -> None:
        """What counted as a success was none."""
        self.successes, self.failures = self.counts(now=now)
        self.successes, self.at = max(0.0, self.successes - 1.0), now

    def counts(self, *, now: float) -> tuple[float, float]:
        """Successes and failures as they weigh now."""
        left = fading(now - self.at, TRIES_HALF_LIFE)
        return self.successes * left, self.failures * left


@dataclass(slots=True)
class Health:
    """The evidence on one route, for one role of one registry. Seconds and bytes."""

    dial: Level = field(default_factory=Level)
    """From the start of a dial until it was established end to end."""
    answer: Level = field(default_factory=Level)
    """From the first flight to the first server byte."""
    rate: Level = field(default_factory=lambda: Level(sudden=True))
    """Bytes a second, of tunnels and probes that carried bulk."""
    tries: Tries = field(default_factory=Tries)
    """Of traffic."""
    probes: Tries = field(default_factory=Tries)
    """Of probes; what they tell is dropped where traffic disproves it."""
    streak: Streak = field(default_factory=Streak)
    attempts: int = 0
    failures: int = 0
    last_error: str = ""
    probed_at: float | None = None
    """When a probe last told of it, well or not; None before the first."""
    unheard: bool = False
    """The last thing that happened is a probe that heard nothing."""
    unread: bool = False
    """A probe heard the registry and got no bytes of a blob, and none came since."""
    misled: int = 0
    """Failed probes that traffic disproved, since a probe was last right."""

    def dialed(self, seconds: float, *, now: float, noise: float = 1.0) -> None:
        """A dial was established after `seconds`: no success yet; many a bad network lets that through and no more."""
        self.attempts += 1
        self.dial.add(seconds, now=now, noise=noise)

    def answered(self, seconds: float | None, *, now: float, brings_layers: bool = True) -> None:
        """The target's first byte came, `seconds` after the first flight (None: not measured).

        `brings_layers`: its answers are large, so that more than the first byte is needed to show that it is well.
        """
        self.misled += self.unheard
        self.unheard = False
        if brings_layers:
            self.streak.answered()
        else:
            self.streak.carried()
        self.tries.add(ok=True, now=now)
        if seconds is not None:
            self.answer.add(seconds, now=now)

    def failed(self, error: str, *, now: float, weight: int = 1, lost: float | None = None) -> None:
        """A dial or a flight failed or was overtaken, `lost` seconds after it began; what fails later weighs more."""
        self.unheard = False
        if lost is not None:
            self.tries.lose(lost)
        if self.circuit(now=now) is Circuit.CLOSED:  # else it tells of it already: an outage counts once
            self.tries.add(ok=False, now=now)
        self._fail(error, now=now, weight=weight, cut=False)

    def cut(self, error: str, *, now: float, weight: int, lost: float | None = None) -> None:
        """A tunnel failed after it was answered: that answer was no success. It stood still for `lost` seconds."""
        self.unheard = False
        if lost is not None:
            self.tries.lose(lost + RESUMING)
        self.tries.undo_success(now=now)
        self.tries.add(ok=False, now=now)
        self._fail(error, now=now, weight=weight, cut=True)

    def _fail(self, error: str, *, now: float, weight: int, cut: bool) -> None:
        self.attempts += 1
        self.failures += 1
        self.streak.failed(now=now, weight=weight, cut=cut)
        self.last_error = error

    def carried(self, carried: Carried, *, well: bool, now: float) -> None:
        """Bytes came over the route; `well`: its tunnel has not been cut."""
        if carried.rate <= 0:
            return
        if well:
            self.misled += self.unread
            self.unread = False
            self.streak.carried()
        self.rate.add(carried.rate, now=now, noise=1.0 if carried.bytes >= BULK else SMALL_NOISE)

    def probed(self, finding: Finding, *, at_fault: bool, now: float) -> None:
        """A probe told of the route; `at_fault`: it failed, is to be believed, and the route is to blame."""
        self.probed_at = now
        if finding.dial is not None:
            self.dialed(finding.dial, now=now, noise=PROBE_NOISE)
        if finding.ok:
            self.misled, self.unheard = 0, False
            if finding.role is Role.BLOB:
                self.streak.answered()
            else:
                self.streak.carried()
            if finding.role is not Role.BLOB or finding.carried is not None:  # that a blob host answers brings no layer
                self.probes.add(ok=True, now=now, weight=PROBE_WEIGHT)
            if finding.first_byte is not None:
                self.answer.add(finding.first_byte, now=now, noise=PROBE_NOISE)
        elif at_fault:
            self._probe_failed(finding, now=now)
        if finding.carried is not None:
            self.unread = False
            self.carried(finding.carried, well=finding.ok, now=now)

    def _probe_failed(self, finding: Finding, *, now: float) -> None:
        """A probe heard nothing good, or a blob host answered and nothing was read: layers would stand still, and rest.

        Probes that hear nothing do not prolong the rest: traffic may pass where probes do not, and it has its trial.
        """
        error = f"probe: {finding.detail}"
        if finding.first_byte is not None and finding.role is Role.BLOB:
            self.unread = True
            self.probes.add(ok=False, now=now, weight=PROBE_WEIGHT)
            self._fail(error, now=now, weight=OPEN_AFTER, cut=True)
        elif self.circuit(now=now) is Circuit.CLOSED:
            self.unheard = True
            self.probes.add(ok=False, now=now, weight=PROBE_WEIGHT)
            self._fail(error, now=now, weight=1, cut=False)
        else:
            self.streak.confirmed(now=now)

    @property
    def disproves_probes(self) -> bool:
        """Traffic went well where probes failed, more than once."""
        return self.misled >= MISLEADING

    def circuit(self, *, now: float) -> Circuit:
        """Whether the route is in use."""
        return self.streak.circuit(now=now)

    def on_another_network(self, *, now: float) -> None:
        """The network has changed: what was measured is a guess now, and what failed may work."""
        for level in (self.dial, self.answer, self.rate):
            level.shaken(SHAKEN)
        ok, bad = self.tries.counts(now=now)
        self.tries = Tries(ok * KEPT, bad * KEPT, now)
        self.probes = Tries()
        self.streak.forgiven()
        self.unheard, self.unread, self.misled = False, False, 0

    def measured_at(self) -> float | None:
        """When anything was last measured; None where nothing was."""
        times = [at for level in (self.dial, self.answer, self.rate) if (at := level.measured_at) is not None]
        return max(times, default=None)
