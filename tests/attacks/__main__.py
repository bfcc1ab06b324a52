"""The same bytes to Towline, squid and tinyproxy, as a table: python -m tests.attacks

    --row TEXT      only rows whose number or name contains this; may be repeated
    --proxy NAME    only this one; may be repeated

Each row is safe, or says what is not (tests/attacks/row.py has the words). Ends with 1 where a row of Towline's is not.
Safe is what a proxy for registries owes its machine: squid and tinyproxy serve other ends, some of which need, say,
private addresses, and other configurations than those of tests/attacks/doors.py close more.
Attacks that are more than bytes are tests of their own, named at the end. Needs root and Debian's squid and tinyproxy.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.attacks.doors import DOORS
from tests.attacks.row import Row, attempt
from tests.attacks.rows import ROWS
from tests.attacks.table import ATTACKS

SAFE = "safe"
NAME_WIDTH, COLUMN = 48, 28


def play(name: str, rows: list[Row]) -> list[str]:
    """What came of every row at one proxy, in a word or some."""
    with DOORS[name]() as door:
        return [", ".join(attempt(door.world, row).faults(row)) or SAFE for row in rows]


def _line(first: str, cells: list[str]) -> str:
    return " ".join([f"{first[:NAME_WIDTH]:{NAME_WIDTH}}", *(f"{cell:{COLUMN}}" for cell in cells)]).rstrip()


def main() -> int:
    """Play, and print the table; 1 where Towline is unsafe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--proxy", action="append", choices=DOORS, default=[])
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.row or any(text in str(row) for text in options.row)]
    names = options.proxy or list(DOORS)
    with ThreadPoolExecutor(len(names)) as pool:
        columns = dict(zip(names, pool.map(lambda name: play(name, rows), names), strict=True))

    number = 0
    for row, *cells in zip(rows, *columns.values(), strict=True):
        if row.number != number:
            number = row.number
            print("\n" + _line(f"{number}. {ATTACKS[number].what}", names))
        print(_line(f"   {row.name}", cells))
    print("\n" + _line(f"safe, of {len(rows)}", [str(column.count(SAFE)) for column in columns.values()]))
    print("\nHeld by tests of their own, below tests/attacks:")
    for number, attack in ATTACKS.items():
        for test in attack.tests:
            print(f"   {number}. {attack.what}: {test}")
    return 0 if all(cell == SAFE for cell in columns.get("towline", [])) else 1


if __name__ == "__main__":
    sys.exit(main())
