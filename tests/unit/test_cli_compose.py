"""`towline run` as a process of its own: its admin token, from the start to the end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.web.fakes import TOKEN

DEADLINE = 20.0  # seconds for the start and for the end; two are usual


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def configured(folder: Path, more: str = "") -> tuple[Path, int]:
    """A configuration file with one route, and its admin port."""
    port, admin = free_ports()
    file = folder / "towline.yaml"
    addresses = f"listen: ['127.0.0.1:{port}']\nadmin: '127.0.0.1:{admin}'\n"
    file.write_text(f"{addresses}routes: {{direct: {{}}}}\nlog: {{level: debug}}\n{more}")
    return file, admin


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A user whose home is `folder`."""
    return {"HOME": str(folder), **more}


def towline(folder: Path, *args: str) -> str:
    """What a command says, which must succeed."""
    command = [sys.executable, "-m", "towline", *args]
    done = subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@contextmanager
def running(folder: Path, file: Path, admin: int, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """`towline run` once it is ready; killed at the end where the test has not ended it."""
    command = [sys.executable, "-m", "towline", "run", "-c", str(file)]
    process = subprocess.Popen(command, env=environment(folder, **environ), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + DEADLINE
        while not is_ready(admin):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def is_ready(admin: int) -> bool:
    """What /readyz says."""
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def end(process: subprocess.Popen[str]) -> str:
    """Stop it, and give its log."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said
    return said


def test_token_from_start_to_end(tmp_path: Path) -> None:
    """Made for this user alone, found by the commands, shown by nothing, and gone at the end."""
    file, admin = configured(tmp_path)
    with running(tmp_path, file, admin) as process:
        (path,) = tmp_path.rglob("*.token")
        assert path.name == f"admin-{admin}.token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token = path.read_text().strip()
        with socket.create_connection(("127.0.0.1", admin), timeout=5) as garbled:
            garbled.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\x01\r\n\r\n".encode())
            assert garbled.recv(100).startswith(b"HTTP/1.1 400 ")
        said = towline(tmp_path, "drain", "direct", "-c", str(file))
        assert said.startswith("direct gets no new tunnels; no tunnels are open\nwarning: no route is in use")
        shown = towline(tmp_path, "status", "-c", str(file), "--json")
        assert '"draining": true' in shown
        said += towline(tmp_path, "resume", "direct", "-c", str(file)) + shown
        said += Path(f"/proc/{process.pid}/cmdline").read_text() if sys.platform == "linux" else ""
        said += end(process)
    assert "route_draining" in said
    assert token not in said
    assert list(tmp_path.rglob("*.token")) == []


def test_reload_over_http(tmp_path: Path) -> None:
    """As by SIGHUP: the file is read again, and what changed is answered."""
    file, admin = configured(tmp_path)
    with running(tmp_path, file, admin):
        (path,) = tmp_path.rglob("*.token")
        file.write_text(file.read_text().replace("direct: {}", "direct: {}, other: {source: 127.0.0.2}"))
        answers = []
        for headers in ({}, {"Authorization": f"Bearer {path.read_text().strip()}"}):
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
            connection.request("POST", "/api/v1/reload", headers=headers)
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read())))
            connection.close()
    assert answers[0][0] == 401
    assert (answers[1][0], answers[1][1]["added"]) == (200, ["other"])


def test_token_below_the_runtime_directory(tmp_path: Path) -> None:
    """Where systemd gives one, as the unit asks it to."""
    file, admin = configured(tmp_path)
    folder = tmp_path / "run"
    with running(tmp_path, file, admin, RUNTIME_DIRECTORY=str(folder)) as process:
        assert [path.name for path in folder.iterdir()] == [f"admin-{admin}.token"]
        end(process)
    assert list(folder.iterdir()) == []


def test_operators_token_stays(tmp_path: Path) -> None:
    """It opens, and is there after the end as before."""
    file, admin = configured(tmp_path, "admin_token_file: own.token\n")
    own = tmp_path / "own.token"
    own.write_text(TOKEN.reveal())
    own.chmod(0o600)
    with running(tmp_path, file, admin) as process:
        towline(tmp_path, "drain", "direct", "-c", str(file))
        assert TOKEN.reveal() not in end(process)
    assert own.read_text() == TOKEN.reveal()


def test_open_token_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """Towline does not start with it, and says what to do."""
    file, _ = configured(tmp_path, "admin_token_file: own.token\n")
    own = tmp_path / "own.token"
    own.write_text(TOKEN.reveal())
    own.chmod(0o644)
    command = [sys.executable, "-m", "towline", "run", "-c", str(file)]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == [
        f"error: the admin token {own} is open to other users",
        f"hint: chmod 600 {own}",
    ]


def test_no_place_for_a_token_costs_no_proxy(tmp_path: Path) -> None:
    """It runs, and says that the admin side can only be read."""
    file, admin = configured(tmp_path)
    (tmp_path / "file").touch()
    with running(tmp_path, file, admin, RUNTIME_DIRECTORY=str(tmp_path / "file")) as process:
        assert "no_admin_token" in end(process)
