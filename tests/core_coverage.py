"""Each module of the core is covered whole, lines and branches, by its own tests: race.py by test_race.py alone.

What other tests happen to run through is no evidence: they assert something else. One run serves for all modules:

    coverage run -m pytest -p tests.core_coverage ...    as a plugin, it names each test's file as coverage's context
    python -m tests.core_coverage                        reads what was measured; 1 where a module has a gap
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "towline"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure this test, its fixtures included, under the name of its file."""
    measuring = Coverage.current()
    if measuring is None:
        return (yield)
    measuring.switch_context(item.path.stem)
    try:
        return (yield)
    finally:
        measuring.switch_context("")


def modules() -> list[Path]:
    """What is held to this: the core, and the vocabulary below it."""
    core = sorted(path for path in (PACKAGE / "core").glob("*.py") if path.name != "__init__.py")
    return [PACKAGE / "types.py", PACKAGE / "errors.py", *core]


def gaps(measured: Coverage, module: Path) -> str:
    """coverage's report on one module, or "" where it is covered whole by test_MODULE.py and by being imported."""
    report = io.StringIO()
    contexts = [f"^test_{module.stem}$", "^$"]
    percent = measured.report([str(module)], contexts=contexts, show_missing=True, file=report)
    return report.getvalue() if percent < 100 else ""


def main() -> int:
    """Report every module with a gap."""
    measured = Coverage()
    measured.load()
    reports = [report for module in modules() if (report := gaps(measured, module))]
    for report in reports:
        print(report)
    print(f"core coverage: {len(modules()) - len(reports)} modules whole by their own tests, {len(reports)} not")
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
