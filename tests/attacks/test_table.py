"""The table is whole."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.rows import ROWS
from tests.attacks.table import ATTACKS

HERE = Path(__file__).parent


def test_every_attack_is_tried() -> None:
    """Each number has rows, or tests that exist."""
    assert sorted(ATTACKS) == list(range(1, 45))
    numbers = {row.number for row in ROWS}
    for number, attack in ATTACKS.items():
        assert number in numbers or attack.tests
        for file, _, test in (name.partition("::") for name in attack.tests):
            assert f"def {test}(" in (HERE / file).read_text()


def test_names_tell_rows_apart() -> None:
    """No two rows have the same."""
    assert len({str(row) for row in ROWS}) == len(ROWS)
