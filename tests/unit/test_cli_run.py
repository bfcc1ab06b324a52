"""`towline run` as a process: what it imports until it listens, which is most of the time that this takes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

IMPORTED = re.compile(r"import time: +\d+ \| +\d+ \| +(\S+)")  # a line of `python -X importtime`

UNNEEDED = {
    *("flask", "ldap3"),  # mitmproxy's addons
    *("aioquic", "h2", "mitmproxy.proxy.layers.http"),  # its protocols
    *("httpx", "httpcore"),  # what probes ask with
    "tornado",  # what the admin side answers with
    "dns",  # what a route's own DNS server is asked with
}


def free_port() -> int:
    """A port that nothing listens at just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def until_listening(lines: Iterable[str]) -> Iterator[str]:
    """The lines on stderr before the one that says where Towline listens."""
    for line in lines:
        if '"listening"' in line:
            return
        yield line
    raise AssertionError("it never listened")


def test_listens_with_what_tunnels_need(tmp_path: Path) -> None:
    """Until it listens nothing is imported that no tunnel needs, and with what is imported a tunnel stands."""
    port, config = free_port(), tmp_path / "towline.yaml"
    argv = [sys.executable, "-X", "importtime", "-m", "towline", "run", "-c", str(config)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = server.getsockname()[1]
        config.write_text(
            f"listen: ['127.0.0.1:{port}']\nroutes: {{direct: {{}}}}\nadmin: '127.0.0.1:{free_port()}'\nstate: null\n"
            f"log: {{format: json}}\npolicy: {{private_targets: [localhost], ports: [{target}]}}\n"
        )
        config.chmod(0o600)
        environ = os.environ | {"HOME": str(tmp_path)}
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environ) as towline:
            assert towline.stderr is not None
            loaded = {found[1] for line in until_listening(towline.stderr) if (found := IMPORTED.match(line))}
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(f"CONNECT localhost:{target} HTTP/1.1\r\nHost: localhost:{target}\r\n\r\n".encode())
                answer = client.recv(4096)
            towline.send_signal(signal.SIGTERM)
            rest = towline.stderr.read()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert towline.returncode == 0, rest
    assert "Traceback" not in rest
    assert {"towline.proxy.connection", "mitmproxy.master"} <= loaded
    assert loaded & UNNEEDED == set()
