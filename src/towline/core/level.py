"""A level: a positive quantity that drifts and now and then jumps, known from noisy samples of different ages.

Seconds and rates scatter by factors, not by sums (a dial takes twice as long as usual as easily as half as long). So
all of this is in logarithms, where factors are sums. A Level is the Kalman filter of a random walk:

    belief(now)    what is believed: most likely value, and how sure; less sure with every second since the last sample
    add(sample)    a sample moves the belief by its share: much where little is known, little where the samples scatter

Two beliefs about one thing are joined by weighing each with its certainty (`&`). So what is old or thin gives way to
what is borrowed by itself, without a rule for it.

A sample that is far off is a jump or an outlier, and the sample does not tell which. Where one bad sample is easily had
(a dial whose SYN was lost takes a second more) the first is clipped, and a second on the same side is believed in full.
Where a sample is itself the mean of many packets (a rate) the first is believed: `sudden`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SPREAD = 0.1  # variance of the log that samples are taken to have until it is learned: they are within a third mostly
MIN_SPREAD = 0.03  # within a sixth: what is called jitter is no jump
MAX_SPREAD = 1.0  # within a factor of e: beyond, there would be no jumps left
SPREAD_GAIN = 1 / 16  # weight of a new sample in the learned spread: small, for the spread decides what is a jump
WALK = 0.09 / 600  # variance of the log that a second adds: a third, up or down, in ten minutes
FAR = 3.0  # deviations beyond which a sample is a jump or an outlier: one in 370 is there by chance
USUAL = 4.0  # deviations that nearly every sample stays below: as many as RFC 6298 2.3 has for its timeout
COHERENCE = 10.0  # seconds that a moment lasts: samples of one moment tell of that moment together, and count as one
MOST_ALIKE = 20.0  # samples that count as one at most: a level that is told a hundred times a second moves all the same
NEWS = 2.0  # deviations from which on a sample counts in full, whenever the last one was
DOUBT = 120.0  # seconds for which a clipped sample waits for a second one on its side
MAX_VARIANCE = 25.0  # of a log: within a factor of e to the 5, which is as good as to know nothing
LEAST = 1e-6  # samples are at least this: a loopback dial may take no time on a coarse clock
MOST = 1e15  # and at most this: bytes that came in no time on such a clock have no rate


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a quantity: its logarithm is about `log`, give or take the root of `variance`."""

    log: float
    variance: float
    spread: float = 0.0
    """Variance of the log of single samples around it."""

    @property
    def value(self) -> float:
        """The most likely level: half of the samples are below."""
        return math.exp(self.log)

    @property
    def mean(self) -> float:
        """The mean of samples: above the level, since factors up add more than factors down take."""
        return math.exp(self.log + self.spread / 2)

    @property
    def mean_of_inverse(self) -> float:
        """The mean of 1 / sample: what seconds a byte come to where the quantity is a rate."""
        return math.exp(self.spread / 2 - self.log)

    def wider(self, variance: float) -> Belief:
        """The same, less sure: what it is of is not quite what is asked for."""
        return Belief(self.log, self.variance + variance, self.spread)

    def __and__(self, other: Belief) -> Belief:
        """Both together, each with the weight of its certainty."""
        mine, theirs = 1 / self.variance, 1 / other.variance
        total = mine + theirs
        return Belief(
            (self.log * mine + other.log * theirs) / total,
            1 / total,
            (self.spread * mine + other.spread * theirs) / total,
        )


def joined(beliefs: Iterable[Belief | None]) -> Belief | None:
    """All of them together, each with the weight of its certainty; None where there is none."""
    return _weighed((belief.log, belief.variance, belief.spread) for belief in beliefs if belief is not None)


def pooled(levels: Iterable[Level], *, wider: float, now: float) -> Belief | None:
    """What levels tell together of something that differs from each by the variance `wider`; None without evidence.

    As `joined` of their beliefs, each made wider; but every CONNECT asks for some dozen levels a route.
    """
    return _weighed(
        (one.log, one.variance + one.walk * (now - one.measured_at) + wider, one.spread)
        for one in levels
        if one.measured_at is not None
    )


def _weighed(known: Iterable[tuple[float, float, float]]) -> Belief | None:
    """The belief that these logarithms, variances and spreads make together."""
    total = logs = spreads = 0.0
    for log, variance, spread in known:
        certainty = 1 / variance
        total += certainty
        logs += certainty * log
        spreads += certainty * spread
    return Belief(logs / total, 1 / total, spreads / total) if total else None


@dataclass(slots=True)
class Level:
    """What the samples of one quantity tell of its level. Times on the caller's clock."""

    sudden: bool = False
    """The first far sample is believed, not only the second."""
    walk: float = WALK
    log: float = 0.0
    variance: float = 0.0
    spread: float = SPREAD
    measured_at: float | None = None
    """When it was last measured; None before the first sample."""
    doubted: float = 0.0
    """+1 or -1: the last sample was clipped on that side; 0 where it was not."""

    def add(self, sample: float, *, now: float, noise: float = 1.0) -> None:
        """One more sample; `noise` is how many times more it scatters than an ordinary one."""
        log = math.log(min(max(sample, LEAST), MOST))
        if self.measured_at is None:
            self.log, self.variance, self.measured_at = log, self.spread * noise, now
            return
        age = now - self.measured_at
        variance = self.variance + self.walk * age
        scatter = self.spread * noise
        deviation = math.sqrt(variance + scatter)
        off = log - self.log
        alike = min(max(COHERENCE / age, 1.0), MOST_ALIKE) if age > 0 else MOST_ALIKE
        if abs(off) > FAR * deviation:
            side = math.copysign(1.0, off)
            if self.sudden or (self.doubted == side and age < DOUBT):
                variance, self.doubted, alike = off * off, 0.0, 1.0
            else:
                off, self.doubted = side * FAR * deviation, side
        else:
            self.doubted = 0.0
            if abs(off) > NEWS * deviation:
                alike = 1.0
            learned = self.spread + SPREAD_GAIN / alike * ((off * off - variance) / noise - self.spread)
            self.spread = min(max(learned, MIN_SPREAD), MAX_SPREAD)
        gain = variance / (variance + scatter * alike)
        self.log += gain * off
        self.variance = (1 - gain) * variance
        self.measured_at = now

    def belief(self, *, now: float) -> Belief | None:
        """What is believed now; None without evidence."""
        if self.measured_at is None:
            return None
        return Belief(self.log, self.variance + self.walk * (now - self.measured_at), self.spread)

    @property
    def value(self) -> float | None:
        """The most likely level when it was last measured; None without evidence."""
        return None if self.measured_at is None else math.exp(self.log)

    def usual(self) -> float | None:
        """What nearly every sample stays below; None without evidence."""
        if self.measured_at is None:
            return None
        return math.exp(self.log + USUAL * math.sqrt(self.variance + self.spread))

    def shaken(self, variance: float) -> None:
        """Be less sure by so much: the world may be another now."""
        self.variance = min(self.variance + variance, MAX_VARIANCE)
