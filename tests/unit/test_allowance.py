"""The allowance by example: what is left is the limit less what was spent within the hour and what is set aside."""

from __future__ import annotations

from towline.core.allowance import HOUR, SLOT, Allowance


def test_all_of_it_is_left_at_first() -> None:
    """Nothing was spent, nothing is set aside."""
    allowance = Allowance(1000)
    assert (allowance.left(now=0.0), allowance.spent(now=0.0)) == (1000, 0)


def test_what_is_set_aside_is_not_left() -> None:
    """It is held until it is known what was spent of it."""
    allowance = Allowance(1000)
    allowance.set_aside(300)
    assert (allowance.left(now=0.0), allowance.spent(now=0.0)) == (700, 0)
    allowance.spend(120, of=300, now=1.0)
    assert (allowance.left(now=1.0), allowance.spent(now=1.0)) == (880, 120)


def test_bytes_come_back_after_an_hour() -> None:
    """Those of one slot together, when the hour that counts has passed all of them."""
    allowance = Allowance(1000)
    for now in (0.0, SLOT - 1.0, SLOT):
        allowance.spend(100, of=0, now=now)
    assert allowance.spent(now=HOUR) == 300
    assert allowance.spent(now=HOUR + SLOT) == 100
    assert allowance.spent(now=HOUR + 2 * SLOT) == 0


def test_more_than_the_limit_leaves_nothing() -> None:
    """What somebody asked for counts and may exceed the limit; there is no debt beyond it."""
    allowance = Allowance(1000)
    allowance.spend(1500, of=0, now=0.0)
    assert allowance.left(now=0.0) == 0
    assert allowance.left(now=2 * HOUR) == 1000
