"""What one large layer costs Towline, pulled by a real client: python -m tests.e2e.big

    --gib N           how large, in GiB (4)
    --client NAME     docker or ctr
    --megabits N      of the line, a second; without it as fast as the machine goes
    --packets         the line brings packets of 1,448 bytes one by one, as a network card without offload does

Needs root, the packages of tests/debian-packages.txt, and four and a half times the layer's size where temporary files
are. Ends with 1 where the client does not have the digest that was pushed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Buffer
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import NamedTuple, Self

import psutil
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import HUB_REFERENCE, ContainerClient, Containerd, Docker
from tests.e2e.rig.image import Image, assemble
from tests.e2e.rig.registry import Registry
from tests.e2e.rig.towline import PROXY_URL, Towline
from tests.e2e.rig.world import DEFAULT_LINK, World

CLIENTS: dict[str, type[ContainerClient]] = {"docker": Docker, "ctr": Containerd}
GIB = 1 << 30
BLOCK = 1 << 20  # bytes of random numbers at a time
ROOM = 4.5  # times the layer: as it is pushed, in the registry, as it was pulled, and unpacked
SLOWEST = 10e6  # bytes a second that a pull makes at the least, or it has failed


class Noise(io.RawIOBase):
    """A file of random bytes that does not end."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        return self._random.randbytes(size)


class Digesting(io.RawIOBase):
    """Writes to a file, and knows the digest of what it wrote."""

    def __init__(self, sink: io.BufferedIOBase) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()

    def write(self, data: Buffer, /) -> int:
        """Write and digest."""
        self._hash.update(data)
        return self._sink.write(data)

    @property
    def digest(self) -> str:
        """As registries write it."""
        return f"sha256:{self._hash.hexdigest()}"


def make_image(file: Path, size: int) -> Image:
    """An image of one layer of so many random bytes, which is in `file`: no more of it than a block is in memory."""
    entry = tarfile.TarInfo("cargo.bin")
    entry.size = size
    with file.open("wb") as sink:
        blob = Digesting(sink)
        with gzip.GzipFile("", "wb", 0, blob, 0) as zipped:
            tar = Digesting(zipped)
            with tarfile.open(fileobj=tar, mode="w|", bufsize=BLOCK) as archive:
                archive.addfile(entry, Noise())
    return assemble([(tar.digest, blob.digest, file)])


class Used(NamedTuple):
    """What a process has used so far."""

    user: float
    """CPU-seconds of its own."""
    system: float
    """CPU-seconds of the kernel for it."""
    waits: int
    """How often it has given up the CPU, for want of anything to do."""

    @classmethod
    def by(cls, process: psutil.Process) -> Self:
        """All its threads."""
        times = process.cpu_times()
        return cls(times.user, times.system, process.num_ctx_switches().voluntary)


def pull(owned: ExitStack, folder: Path, options: argparse.Namespace) -> bool:
    """Set everything up and pull once; whether the client has what was pushed."""
    world = owned.enter_context(closing(World(folder, "!")))  # no proxy, and so nobody who has a password
    (folder / "ca").mkdir()
    authority = Authority(folder / "ca")
    file = folder / "layer"
    image = make_image(file, int(options.gib * GIB))
    size = image.size
    owned.enter_context(closing(Registry(world.far, authority, image)))
    file.unlink()
    client = owned.enter_context(closing(CLIENTS[options.client](world.near, PROXY_URL, authority.ca)))
    (folder / "towline").mkdir()
    towline = owned.enter_context(Towline(world.near, folder / "towline", {"direct": {}}))
    if options.packets:
        world.far.ip("link set in0 gso_max_segs 1")
    with world.slowed(DEFAULT_LINK, options.megabits) if options.megabits else nullcontext():
        process = psutil.Process(towline.process.pid)
        before, began = Used.by(process), time.monotonic()
        with client.start_pull(HUB_REFERENCE) as pulling:
            if pulling.join(timeout=30 + size / SLOWEST):
                print(pulling.output(), towline.process.output(), sep="\n", file=sys.stderr)
                return False
        show(size, time.monotonic() - began, before, Used.by(process))
    right = client.digest(HUB_REFERENCE) == image.digest
    print(f"digest            {'right' if right else 'WRONG'}")
    return right


def show(size: int, seconds: float, before: Used, after: Used) -> None:
    """What the pull took."""
    user, system, waits = (later - sooner for sooner, later in zip(before, after, strict=True))
    print(f"layer             {size / GIB:.2f} GiB in {seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s")
    print(f"Towline's CPU     {user + system:.2f} s ({user:.2f} user, {system:.2f} system)")
    print(f"for a GB          {(user + system) / size * 1e9:.2f} s")
    print(f"waits             {waits:.0f}, one for {size / max(1, waits) / 1e3:.0f} kB")


def main() -> int:
    """Pull, and clean up in any case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--client", choices=CLIENTS, default="docker")
    parser.add_argument("--megabits", type=int)
    parser.add_argument("--packets", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all is taken down
    with ExitStack() as owned:
        # Servers that drop their privileges must get in, which mkdtemp forbids.
        folder = Path(tempfile.mkdtemp(prefix="towline-big-"))
        owned.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        free = shutil.disk_usage(folder).free
        if free < ROOM * options.gib * GIB:
            print(f"{folder} has {free / GIB:.1f} GiB free, needed are {ROOM * options.gib:.1f}", file=sys.stderr)
            return 1
        return 0 if pull(owned, folder, options) else 1


if __name__ == "__main__":
    sys.exit(main())
