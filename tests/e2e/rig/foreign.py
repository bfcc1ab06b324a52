"""CONNECT clients that are not container clients: eight programs, each fetching one document over HTTPS.

Each function gets a `Fetch` and returns the document's bytes as its program wrote them.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.process import SEARCH_PATH, environment, run
from tests.e2e.rig.registry import DOCS_HOST
from tests.e2e.rig.towline import PROXY_ADDRESS, PROXY_URL

DOCUMENT = "cargo.bin"
GIT_REPOSITORY = "cargo.git"
URL = f"https://{DOCS_HOST}/{DOCUMENT}"
LOCAL_PORT = 8443  # where socat offers its tunnel
FETCH_TIMEOUT = 30.0  # seconds; a fraction of one is usual

GO_SOURCE = Path(__file__).with_name("fetch.go")
GO_BUILD_TIMEOUT = 180.0  # seconds: a Go without precompiled packages builds its TLS and HTTP first

HTTPX_SCRIPT = """\
import pathlib, ssl, sys, httpx
url, target, proxy, ca = sys.argv[1:]
with httpx.Client(proxy=proxy, verify=ssl.create_default_context(cafile=ca)) as client:
    pathlib.Path(target).write_bytes(client.get(url).raise_for_status().content)
"""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where to run, whom to trust, and the folder to write into."""

    near: Namespace
    ca: Path
    folder: Path

    @property
    def target(self) -> Path:
        """The file that the document is written to."""
        return self.folder / DOCUMENT

    def run(self, *argv: str, **variables: str) -> None:
        """Run a client that must succeed."""
        self.near.run(*argv, env=environment(self.folder, **variables), timeout=FETCH_TIMEOUT)

    def fetched(self) -> bytes:
        """What was written."""
        return self.target.read_bytes()


def curl(fetch: Fetch) -> bytes:
    """curl --proxy."""
    fetch.run("curl", "-sSf", "--proxy", PROXY_URL, "--cacert", str(fetch.ca), "-o", str(fetch.target), URL)
    return fetch.fetched()


def wget(fetch: Fetch) -> bytes:
    """wget with https_proxy in its environment."""
    argv = ("wget", "-nv", f"--ca-certificate={fetch.ca}", "-O", str(fetch.target), URL)
    fetch.run(*argv, https_proxy=PROXY_URL)
    return fetch.fetched()


def socat(fetch: Fetch) -> bytes:
    """socat's PROXY address, offered on a local port and used by a curl that knows of no proxy."""
    host, port = PROXY_ADDRESS
    listen = f"TCP-LISTEN:{LOCAL_PORT},bind=127.0.0.1,reuseaddr,fork"
    tunnel = fetch.near.start("socat", "socat", listen, f"PROXY:{host}:{DOCS_HOST}:443,proxyport={port}")
    with tunnel:
        # The offer is looked for without a connection, which socat would pass on as a tunnel.
        tunnel.wait_until(
            lambda: f"127.0.0.1:{LOCAL_PORT}" in fetch.near.run("ss", "-Hltn"), f"socat listens on {LOCAL_PORT}"
        )
        through = f"{DOCS_HOST}:443:127.0.0.1:{LOCAL_PORT}"
        fetch.run("curl", "-sSf", "--connect-to", through, "--cacert", str(fetch.ca), "-o", str(fetch.target), URL)
    return fetch.fetched()


def openssl(fetch: Fetch) -> bytes:
    """openssl s_client -proxy, with the request written by hand."""
    request = f"GET /{DOCUMENT} HTTP/1.0\\r\\nHost: {DOCS_HOST}\\r\\n\\r\\n"
    proxy = "{}:{}".format(*PROXY_ADDRESS)
    client = f"openssl s_client -quiet -proxy {proxy} -connect {DOCS_HOST}:443 -servername {DOCS_HOST}"
    verify = f"-CAfile {fetch.ca} -verify_return_error -verify_hostname {DOCS_HOST}"
    fetch.run("sh", "-c", f"printf '{request}' | {client} {verify} > {fetch.target}")
    return fetch.fetched().partition(b"\r\n\r\n")[2]


def git(fetch: Fetch) -> bytes:
    """git clone over https with http.proxy: many small requests."""
    clone = fetch.folder / "clone"
    settings = ("-c", f"http.proxy={PROXY_URL}", "-c", f"http.sslCAInfo={fetch.ca}")
    fetch.run("git", *settings, "clone", "--quiet", f"https://{DOCS_HOST}/{GIT_REPOSITORY}", str(clone))
    return (clone / DOCUMENT).read_bytes()


def aria2(fetch: Fetch) -> bytes:
    """aria2c, which fetches ranges over several tunnels at once."""
    split = ("--split=4", "--max-connection-per-server=4", "--min-split-size=1M")
    place = (f"--dir={fetch.folder}", f"--out={DOCUMENT}")
    fetch.run("aria2c", "-q", f"--all-proxy={PROXY_URL}", f"--ca-certificate={fetch.ca}", *split, *place, URL)
    return fetch.fetched()


def go(fetch: Fetch) -> bytes:
    """A client of Go's standard library, compiled here."""
    program = fetch.folder / "fetch"
    build_go(GO_SOURCE, program)
    fetch.run(str(program), URL, str(fetch.target), HTTPS_PROXY=PROXY_URL, SSL_CERT_FILE=str(fetch.ca))
    return fetch.fetched()


def httpx(fetch: Fetch) -> bytes:
    """Python's httpx."""
    fetch.run(sys.executable, "-c", HTTPX_SCRIPT, URL, str(fetch.target), PROXY_URL, str(fetch.ca))
    return fetch.fetched()


def build_go(source: Path, program: Path) -> None:
    """Compile one Go file; its build cache is the user's own, so that only the first build ever is slow."""
    compiler = shutil.which("go", path=SEARCH_PATH) or "go"
    # Nothing is fetched.
    home = environment(Path.home(), GOTOOLCHAIN="local", GOPROXY="off", GOFLAGS="-trimpath", CGO_ENABLED="0")
    run([compiler, "build", "-o", str(program), str(source)], env=home, timeout=GO_BUILD_TIMEOUT)


def publish(documents: Path, content: bytes) -> None:
    """Put the document on the web server, as a file and as the only file of a git repository."""
    (documents / DOCUMENT).write_bytes(content)
    work = documents.parent / "work"
    work.mkdir()
    (work / DOCUMENT).write_bytes(content)
    env = environment(documents.parent)
    author = ("-c", "user.name=tests", "-c", "user.email=tests@corp.test")
    bare = documents / GIT_REPOSITORY
    for argv in (
        ("git", "init", "--quiet", "--initial-branch=main", str(work)),
        ("git", "-C", str(work), "add", DOCUMENT),
        ("git", "-C", str(work), *author, "commit", "--quiet", "--message", "cargo"),
        ("git", "clone", "--quiet", "--bare", str(work), str(bare)),
        # What makes plain files cloneable: the "dumb" protocol.
        ("git", "-C", str(bare), "update-server-info"),
    ):
        run(argv, env=env)
