"""The token without which the admin side changes nothing: a file that only its owner can read.

    place(port)     where a Towline that runs here puts the token of its admin port
    places(port)    where one that runs on this machine may have put it
    made(path)      a new token, for as long as Towline runs
    kept(path)      the operator's own
    read(path)      the token in a file

Whoever may read the file may change what Towline does: the permissions of files, which every operator knows, say who
that is. A token that Towline makes is another one at each start and is removed at the end: an old one opens nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import platformdirs

from towline.errors import AdminError
from towline.types import Secret

BYTES = 32  # of randomness: 256 bits
MAX_FILE = 1024  # bytes of a token file: more is something else
UNIT_FOLDER = Path("/run/towline")  # RuntimeDirectory= of the unit in config/deploy/systemd
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{32,512}={0,2}")  # RFC 6750 2.1's characters; a shorter one could be guessed


def place(port: int) -> Path:
    """The file for a Towline with this environment: below systemd's RuntimeDirectory=, else the user's state folder.

    Not in XDG_RUNTIME_DIR, which some of a user's sessions have and others lack: who asks would not find it.
    """
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # several are separated so: systemd.exec(5)
    return _file(Path(folder) if folder else _user_folder(), port)


def places(port: int) -> tuple[Path, ...]:
    """Every file in which the token of a Towline on this machine may be, the likeliest first."""
    folders = [_user_folder(), UNIT_FOLDER]
    if session := os.environ.get("XDG_RUNTIME_DIR"):  # where a unit of the user's own has its RuntimeDirectory=
        folders.append(Path(session, "towline"))
    return tuple(dict.fromkeys((place(port), *(_file(folder, port) for folder in folders))))


def _user_folder() -> Path:
    return platformdirs.user_state_path("towline", appauthor=False)


def _file(folder: Path, port: int) -> Path:
    return folder / f"admin-{port}.token"


@contextlib.contextmanager
def made(path: Path) -> Iterator[Secret]:
    """A new token, in `path` until the end. Raises AdminError."""
    token = _make(path)
    try:
        yield token
    finally:
        with contextlib.suppress(OSError, AdminError):
            if read(path) == token:  # and not that of a Towline which has this port by now
                path.unlink()


def kept(path: Path) -> Secret:
    """The token in the operator's file, which is made where there is none. Raises AdminError."""
    try:
        return read(path, owners={0, os.geteuid()})
    except FileNotFoundError:
        return _make(path)
    except OSError as error:
        raise AdminError(f"the admin token {path} cannot be read: {error.strerror}") from error


def _make(path: Path) -> Secret:
    token = secrets.token_urlsafe(BYTES)
    if not path.is_absolute():  # `~` stays what it is for a user without a home
        raise AdminError("there is no folder for the admin token: this user has no home")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600 from the first moment on
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token}\n")
        Path(name).replace(path)  # whole or not at all; a link that stands there is replaced, not followed
    except OSError as error:
        raise AdminError(f"the admin token cannot be written to {path}: {error.strerror}") from error
    return Secret(token)


def read(path: Path, *, owners: Collection[int] = ()) -> Secret:
    """The token in a file that belongs to one of `owners`, where they are given.

    Raises OSError where it cannot be opened, AdminError where it is not as it should be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would be waited for
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AdminError(f"the admin token {path} is not a regular file")
        if status.st_mode & _closed_bits(status.st_uid):
            raise AdminError(f"the admin token {path} is open to other users\nhint: chmod 600 {path}")
        if owners and status.st_uid not in owners:
            raise AdminError(f"the admin token {path} belongs to another user, who could change it")
        text = os.read(descriptor, MAX_FILE).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
    if not _TOKEN.fullmatch(text):
        hint = "hint: 32 to 512 of A-Z a-z 0-9 - . _ ~ + /; where there is no file, Towline makes one"
        raise AdminError(f"the admin token {path} holds no token\n{hint}")
    return Secret(text)


def _closed_bits(owner: int) -> int:
    """The permissions that a token file may not give. A file of root's may let us read it through our group.

    It is the one way in which a container without root gets a secret (Kubernetes' fsGroup).
    """
    return 0o037 if owner == 0 != os.geteuid() else 0o077
