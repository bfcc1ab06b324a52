"""What a test needs of the machine: it is skipped, and says why, where the machine lacks it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.e2e.rig.process import SEARCH_PATH, environment, run_any


def give_up(reason: str) -> None:
    """Skip. In CI, where everything must run, a reason to skip is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing end-to-end may be skipped: {reason}")
    pytest.skip(reason)


def require_namespaces() -> None:
    """Give up unless this is root, on a machine that gives namespaces."""
    if os.geteuid() != 0:
        give_up("network namespaces, dockerd and routing marks need root")
    require("unshare")
    probe = run_any(["unshare", "--net", "--mount", "--pid", "--fork", "true"], env=environment(Path("/")))
    if probe.returncode != 0:
        give_up(f"this machine gives no namespaces: {probe.stderr.strip()}")


def require(*programs: str) -> None:
    """Give up unless these programs are installed."""
    missing = [program for program in programs if shutil.which(program, path=SEARCH_PATH) is None]
    if missing:
        give_up(f"{', '.join(missing)} not installed (packages: tests/debian-packages.txt)")


# What tests of slow and distant links want of the kernel beside namespaces.
SHAPED_LINK = """\
ip tuntap add dev tun0 mode tun && ip link set tun0 up &&
tc qdisc add dev tun0 root tbf rate 8mbit burst 16k latency 20ms"""


def require_shaped_links() -> None:
    """Give up unless the kernel has TUN devices and token buckets."""
    probe = run_any(["unshare", "--net", "sh", "-c", SHAPED_LINK], env=environment(Path("/")))
    if probe.returncode != 0:
        give_up(f"this kernel cannot make a link slow or distant: {probe.stderr.strip()}")
