"""The rules of the tree that no other tool checks: how long a module may be, and what no file may name.

Run in the checkout, it prints one line per finding and ends with 1 where there is one.

A package index or a folder of the author's machine that slips into a file sends every reader's machine there, past the
mirror that its owner has set, or means nothing at all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 350  # of a module below src, as CONTRIBUTING.md has it

# In pieces, so that this file does not name them either.
NAMES = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "deb" + ".debian.org",
    "security" + ".debian.org",
    "index" + ".crates.io",
    "proxy" + ".golang.org",
    "/work" + "/",
    str(Path.cwd()),
)


def files() -> Iterator[Path]:
    """Every file that git tracks, or would with the next `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git is on PATH
        capture_output=True,
        text=True,
        check=True,
    )
    names = listed.stdout.rstrip("\0").split("\0")
    return (path for path in map(Path, names) if path.is_file())


def findings(path: Path) -> Iterator[str]:
    """What breaks a rule in one file, each as `place: what`."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if path.suffix == ".py" and path.is_relative_to("src") and len(lines) > MAX_LINES:
        yield f"{path}: {len(lines)} lines; a module has at most {MAX_LINES}: split it"
    for number, line in enumerate(lines, start=1):
        named = next((name for name in NAMES if name in line), None)
        if named is not None:
            yield f"{path}:{number}: names {named}"


def main() -> int:
    """Check all files; 1 where a rule is broken."""
    found = [finding for path in files() for finding in findings(path)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
