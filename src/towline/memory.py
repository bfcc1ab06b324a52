"""What was learned, in one file of the state folder: each network apart, small, and written whole or not at all.

    {"version": 1, "salt": HEX, "networks": {FINGERPRINT: {"at": SECONDS, "learned": {...}}}}

`learned` is core/memory.py's, `at` is when it was kept (Unix time). A fingerprint is a hash of what tells the network
from others, keyed with the file's own salt: of routers' addresses nothing is to be read or guessed here, or in a status
that somebody shows around. Whatever is wrong with the file or its folder costs the memory and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger("towline")

VERSION = 1
NAME = "memory.json"
ASIDE = "memory.json.bad"
MAX_NETWORKS = 16  # the latest: home, work, a train, some hotels
MAX_BYTES = 8 << 20  # of a file that is read; sixteen networks of 512 entries (core/memory.py) are some 3 MB
SALT = 16  # bytes
FINGERPRINT = 8  # bytes: enough to tell a few networks apart


@dataclass(frozen=True, slots=True)
class Kept:
    """What was learned in one network."""

    at: float
    """When it was kept, in Unix time."""
    learned: dict[str, Any]


class Memory:
    """The file, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self._salt = secrets.token_bytes(SALT)
        self._networks: dict[str, Kept] = {}
        self._told = False

    @classmethod
    def read(cls, folder: Path) -> Memory:
        """The memory that is in a folder; an empty one where there is none, or it cannot be used."""
        memory = cls(folder)
        try:
            with memory.file.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            memory._parse(raw)
        except FileNotFoundError:
            pass
        except OSError as error:
            memory._set_aside(f"it cannot be read: {error.strerror}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            memory._set_aside(str(error) if isinstance(error, _UnusableError) else "it is damaged")
        return memory

    def fingerprint(self, identity: str) -> str:
        """The name of a network here; `identity` is core/network.py's."""
        return hashlib.blake2s(identity.encode(), key=self._salt, digest_size=FINGERPRINT).hexdigest()

    def recall(self, fingerprint: str) -> Kept | None:
        """What was learned in a network."""
        return self._networks.get(fingerprint)

    def keep(self, fingerprint: str, kept: Kept) -> None:
        """Keep this of a network, in place of what was kept before."""
        self._networks.pop(fingerprint, None)
        self._networks[fingerprint] = kept
        while len(self._networks) > MAX_NETWORKS:
            del self._networks[next(iter(self._networks))]

    def text(self) -> str:
        """What is to be written."""
        networks = {name: {"at": round(kept.at), "learned": kept.learned} for name, kept in self._networks.items()}
        return json.dumps({"version": VERSION, "salt": self._salt.hex(), "networks": networks}, separators=(",", ":"))

    def write(self, text: str) -> None:
        """Write it: to the disk, by way of another file. Blocks. Where it cannot be done, that is said once."""
        try:
            _write(self.file, text)
        except OSError as error:
            if not self._told:
                hint = "`state` names a folder that Towline may write to"
                log.warning("memory_not_kept", file=str(self.file), why=error.strerror, hint=hint)
            self._told = True
        else:
            self._told = False

    def _parse(self, raw: bytes) -> None:
        if len(raw) > MAX_BYTES:
            raise _UnusableError(f"it is larger than {MAX_BYTES} bytes")
        data = json.loads(raw)
        if data["version"] != VERSION:
            raise _UnusableError(f"it is of version {str(data['version'])[:16]!r}, not {VERSION}")
        salt = bytes.fromhex(data["salt"])
        if len(salt) != SALT:
            raise ValueError
        networks = {name: Kept(float(entry["at"]), dict(entry["learned"])) for name, entry in data["networks"].items()}
        self._salt, self._networks = salt, networks

    def _set_aside(self, why: str) -> None:
        """Put the file out of the way, for whoever wants to see what became of it."""
        aside = self.file.with_name(ASIDE)
        with contextlib.suppress(OSError):
            self.file.replace(aside)
        log.warning("memory_set_aside", file=str(self.file), why=why, to=str(aside))


class _UnusableError(ValueError):
    """A file that may well be what it was written to be, and is of no use here."""


def _write(file: Path, text: str) -> None:
    """Raises OSError; then the file is as it was."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0600
    try:
        with os.fdopen(descriptor, "w") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    with contextlib.suppress(OSError):  # the new name, too, where the file system can
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
