"""Levels by example: samples, age, jumps and outliers, and beliefs that are joined."""

from __future__ import annotations

import math
from random import Random

import pytest

from towline.core.level import (
    COHERENCE,
    DOUBT,
    LEAST,
    MAX_SPREAD,
    MAX_VARIANCE,
    MIN_SPREAD,
    SPREAD,
    USUAL,
    WALK,
    Belief,
    Level,
    joined,
    pooled,
)


def after(*samples: float, every: float = 1.0, sudden: bool = False) -> tuple[Level, float]:
    """A level after samples that came one after the other, and when the last one came."""
    level = Level(sudden=sudden)
    for turn, sample in enumerate(samples):
        level.add(sample, now=turn * every)
    return level, (len(samples) - 1) * every


def noisy(sigma: float, count: int = 300) -> tuple[float, ...]:
    """Samples around 1 whose logarithms have this deviation."""
    rng = Random(7)
    return tuple(math.exp(rng.gauss(0.0, sigma)) for _ in range(count))


def test_nothing_known() -> None:
    """Without a sample there is no belief, no value and nothing usual."""
    level = Level()
    assert (level.belief(now=5.0), level.value, level.usual(), level.measured_at) == (None, None, None, None)


def test_first_sample() -> None:
    """The first sample is the value, with the spread that samples are taken to have."""
    level, now = after(0.2)
    belief = level.belief(now=now)
    assert belief is not None
    assert belief.value == pytest.approx(0.2)
    assert (belief.variance, belief.spread) == (SPREAD, SPREAD)
    assert belief.mean == pytest.approx(0.2 * math.exp(SPREAD / 2))
    assert level.usual() == pytest.approx(0.2 * math.exp(USUAL * math.sqrt(2 * SPREAD)))


def test_no_time_at_all() -> None:
    """A sample of zero is the least there is."""
    level, _ = after(0.0)
    assert level.value == pytest.approx(LEAST)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.8])
def test_noise_is_averaged_and_learned(sigma: float) -> None:
    """After many samples the level is near their middle, the spread near theirs, and the mean above the level."""
    level, now = after(*noisy(sigma), every=COHERENCE)
    belief = level.belief(now=now)
    assert belief is not None
    assert abs(belief.log) < 3 * math.sqrt(belief.variance)
    assert belief.variance < belief.spread
    assert belief.spread == pytest.approx(min(max(sigma**2, MIN_SPREAD), MAX_SPREAD), rel=0.6)
    assert belief.mean > belief.value > 1 / belief.mean_of_inverse


def test_certainty_fades() -> None:
    """With every second since the last sample the belief is less sure, and no other."""
    level, now = after(0.2, 0.2)
    fresh, old = level.belief(now=now), level.belief(now=now + 600.0)
    assert fresh is not None
    assert old is not None
    assert old.log == fresh.log
    assert old.variance == pytest.approx(fresh.variance + 600.0 * WALK)


def test_old_level_gives_way() -> None:
    """After a long time a new sample weighs nearly all."""
    level, now = after(0.2, 0.2, 0.2)
    level.add(0.3, now=now + 6 * 3600.0)
    assert level.value == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_outlier_is_clipped_and_jump_believed(factor: float) -> None:
    """The first far sample moves a steady level a little; the second on the same side is believed."""
    level, now = after(*[1.0] * 20)
    level.add(factor, now=now + 1)
    assert abs(math.log(level.value or 0.0)) < 0.3
    level.add(factor, now=now + 2)
    assert level.value == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("between", [1.0, 1 / 30])
def test_doubt_is_dropped(between: float) -> None:
    """An ordinary sample, or a far one on the other side, makes the next far sample the first again."""
    level, now = after(*[1.0] * 20)
    for turn, sample in enumerate((30.0, between, 30.0), 1):
        level.add(sample, now=now + turn)
    assert abs(math.log(level.value or 0.0)) < 0.6


def test_doubt_expires() -> None:
    """Two far samples with a long time between are two outliers."""
    level, now = after(*[1.0] * 20)
    level.add(30.0, now=now + 1)
    level.add(30.0, now=now + 1 + DOUBT)
    assert (level.value or 0.0) < 3.0


def test_sudden_level_believes_at_once() -> None:
    """Where a sample is a mean already, the first far one is believed, also where it is a noisy one."""
    level, now = after(*[1.0] * 20, sudden=True)
    level.add(0.1, now=now + 1, noise=2.0)
    assert level.value == pytest.approx(0.1, rel=0.15)
    level.add(1.0, now=now + 8, noise=2.0)
    assert level.value == pytest.approx(1.0, rel=0.15)


def test_samples_of_one_moment() -> None:
    """Many samples of one moment move the level little more than one does, and as many with time between much more."""
    at_once, slowly = Level(), Level()
    for level in (at_once, slowly):
        for turn in range(10):
            level.add(1.0, now=turn * COHERENCE)
    for turn in range(5):
        at_once.add(1.3, now=90.0 + 0.01 * (turn + 1))
        slowly.add(1.3, now=90.0 + COHERENCE * (turn + 1))
    assert 1.0 < (at_once.value or 0.0) < 1.06
    assert (slowly.value or 0.0) > 1.1


def test_two_samples_at_the_same_time() -> None:
    """No time at all between two samples is one moment."""
    level = Level()
    level.add(1.0, now=5.0)
    level.add(1.2, now=5.0)
    assert 1.0 < (level.value or 0.0) < 1.05


def test_noisy_sample_moves_less() -> None:
    """A sample that scatters more moves the level less."""
    quiet, now = after(*[1.0] * 5, every=COHERENCE)
    loud, _ = after(*[1.0] * 5, every=COHERENCE)
    quiet.add(1.3, now=now + 10)
    loud.add(1.3, now=now + 10, noise=4.0)
    assert 1.0 < (loud.value or 0.0) < (quiet.value or 0.0) < 1.3


def test_shaken() -> None:
    """A shaken level is less sure and holds the same."""
    level, now = after(0.2)
    level.shaken(0.5)
    belief = level.belief(now=now)
    assert belief is not None
    assert (belief.value, belief.variance) == pytest.approx((0.2, SPREAD + 0.5))


def test_shaken_without_end() -> None:
    """An interface that comes and goes for hours leaves a level that can still be reckoned with."""
    level, now = after(0.2)
    for _ in range(20_000):
        level.shaken(2.0)
    belief = level.belief(now=now)
    assert belief is not None
    assert (belief.value, belief.variance) == pytest.approx((0.2, MAX_VARIANCE))
    assert level.usual() is not None


def test_joining() -> None:
    """Two beliefs together lie between, nearer to the surer one, and are surer than either."""
    sure, vague = Belief(0.0, 0.1, 0.2), Belief(1.0, 0.4, 0.7)
    both = sure & vague
    assert both.log == pytest.approx(0.2)
    assert both.variance == pytest.approx(0.08)
    assert both.spread == pytest.approx(0.3)
    assert (sure & vague.wider(1e9)).log == pytest.approx(0.0, abs=1e-6)


def test_joining_many() -> None:
    """What is missing is left out; of nothing comes nothing."""
    belief = Belief(1.0, 0.5)
    assert joined([]) is None
    assert joined([None, belief, None]) == belief
    assert joined([belief, belief]) == belief & belief


def test_pooled_levels_tell_what_their_beliefs_tell_together() -> None:
    """Each less sure by what it differs from what is asked about; a level without evidence tells nothing."""
    near, now = after(0.1, 0.12)
    far, _ = after(0.4, every=2.0)
    together = pooled([near, Level(), far], wider=0.3, now=now)
    apart = joined(one.wider(0.3) for level in (near, far) if (one := level.belief(now=now)) is not None)
    assert together == apart
    assert together is not None
    assert near.log < together.log < far.log
    assert pooled([Level()], wider=0.3, now=now) is None


def test_what_took_no_time_has_no_endless_rate() -> None:
    """A sample beyond all bounds is bounded, so that whatever is computed from it is a number."""
    level = Level()
    level.add(math.inf, now=0.0)
    belief = level.belief(now=0.0)
    assert belief is not None
    assert 0 < belief.mean_of_inverse < 1e-14
