"""The proxies of the bench, and how each is started on a port of loopback: as its users would, with logs off.

All of them tunnel by CONNECT but HAProxy, which cannot: it leads every connection to one server, and is the mark for
that alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))  # where Debian has squid and haproxy

TOWLINE = """\
listen: ["127.0.0.1:{port}"]
admin: null
state: null
routes: {{direct: {{}}}}
policy: {{private_targets: ["127.0.0.1"], ports: [{target}]}}
limits: {{tunnels: 8192, tunnels_per_client: 8192, drain: 0.1, linger: 0.1}}
log: {{level: warning}}
"""
SQUID = """\
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
shutdown_lifetime 0 seconds
max_filedescriptors 16384
"""
TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 6000
LogLevel Critical
"""
HAPROXY = """\
global
    maxconn 8000
defaults
    mode tcp
    timeout connect 5s
    timeout client 600s
    timeout server 600s
listen all
    bind 127.0.0.1:{port}
    server target 127.0.0.1:{target}
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One proxy: `argv(folder, port, target)` writes its configuration, if it has one, and says how it is started."""

    name: str
    program: str
    argv: Callable[[Path, int, int], list[str]]
    plain: bool = False
    """It leads to the target by itself and takes no CONNECT."""

    @property
    def is_here(self) -> bool:
        """Whether its program can be run."""
        return shutil.which(self.program, path=PATH) is not None


def _configured(name: str, text: str, argv: Callable[[str], list[str]]) -> Callable[[Path, int, int], list[str]]:
    def start(folder: Path, port: int, target: int) -> list[str]:
        file = folder / name
        file.write_text(text.format(port=port, target=target))
        return argv(str(file))

    return start


def _v2ray(folder: Path, port: int, _: int) -> list[str]:
    file = folder / "v2ray.json"
    inbound = {"listen": "127.0.0.1", "port": port, "protocol": "http"}
    settings = {"log": {"loglevel": "none"}, "inbounds": [inbound], "outbounds": [{"protocol": "freedom"}]}
    file.write_text(json.dumps(settings))
    return ["v2ray", "-config", str(file)]


def _mitmdump(_: Path, port: int, __: int) -> list[str]:
    return [MITMDUMP, "-q", "--mode", f"regular@127.0.0.1:{port}", "--ignore-hosts", ".*"]


def _proxy_py(_: Path, port: int, __: int) -> list[str]:
    return [PROXY_PY, "--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1", "--log-level", "ERROR"]


PEERS = Path(sys.executable).parents[1] / "peers"
"""Where `make bench` builds and installs what is no Debian package."""
MITMDUMP = str(Path(sys.executable).with_name("mitmdump"))
PROXY_PY = str(PEERS / "proxy.py" / "bin" / "proxy")
GO_RELAY = str(PEERS / "relay")
LOAD = str(PEERS / "load")
"""Both far ends (load/main.go)."""


def _towline(file: str) -> list[str]:
    return [sys.executable, "-m", "towline", "run", "-c", file]


def _haproxy(file: str) -> list[str]:
    return ["haproxy", "-db", "-f", file]


CONTENDERS = (
    Contender("towline", sys.executable, _configured("towline.yaml", TOWLINE, _towline)),
    Contender("go relay", GO_RELAY, lambda _, port, __: [GO_RELAY, f"127.0.0.1:{port}"]),
    Contender("squid", "squid", _configured("squid.conf", SQUID, lambda file: ["squid", "-N", "-f", file])),
    Contender(
        "tinyproxy", "tinyproxy", _configured("tiny.conf", TINYPROXY, lambda file: ["tinyproxy", "-d", "-c", file])
    ),
    Contender("v2ray", "v2ray", _v2ray),
    Contender("haproxy", "haproxy", _configured("haproxy.cfg", HAPROXY, _haproxy), plain=True),
    Contender("proxy.py", PROXY_PY, _proxy_py),
    Contender("mitmdump", MITMDUMP, _mitmdump),
)
