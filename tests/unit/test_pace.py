"""The pace by example."""

from __future__ import annotations

from towline.core.pace import MARKS, Pace


def test_pace_is_unknown_until_a_window_is_full() -> None:
    """10 s of a 20 s window say nothing; 20 s do."""
    pace = Pace(20.0)
    for second in range(20):
        pace.note(float(second), second * 100)
        assert pace.rate == 0.0
    pace.note(20.0, 2000)
    assert pace.rate == 100.0


def test_old_bytes_are_forgotten() -> None:
    """What came before the window does not count."""
    pace = Pace(10.0)
    pace.note(0.0, 0)
    for second in range(1, 40):
        pace.note(float(second), 1_000_000 + second)
    assert pace.rate == 1.0


def test_restart_measures_anew() -> None:
    """After a restart a whole window has to pass."""
    pace = Pace(10.0)
    pace.note(0.0, 0)
    pace.note(10.0, 1000)
    assert pace.rate == 100.0
    pace.restart()
    pace.note(11.0, 1000)
    assert pace.rate == 0.0


def test_memory_is_bounded() -> None:
    """However often it is noted, a window keeps few samples."""
    pace = Pace(10.0)
    for tick in range(10_000):
        pace.note(tick / 100, tick)
    assert len(pace._marks) <= MARKS + 2
