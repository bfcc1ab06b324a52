"""Fuzzing by hand: python -m tests.attacks.fuzz [TARGET ...] [--inputs N]

Every reader of tests/attacks/targets.py is fed mutations by atheris, which libFuzzer's coverage steers, for its share
of N inputs, each reader in a process of its own. Prints inputs, inputs a second and findings; ends with 1 where there
is one. A finding is an exception that is not documented, an input that takes over MAX_SECONDS, or memory that grows
beyond MAX_MIB; libFuzzer leaves the input in the folder that is named.

atheris is no dependency of the project: its wheels exist for few platforms.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_SECONDS = 5  # of one input; the longest takes some milliseconds
MAX_MIB = 512  # of resident memory, of which the interpreter and libFuzzer's tables take a fourth

MISSING = """\
atheris is not installed, which fuzzing needs and nothing else does. In this environment, until `make clean`:

    .venv/bin/python -m pip install atheris"""

_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_AT = re.compile(r"^#(\d+)\t", re.MULTILINE)
COLUMNS = "{:16} {:>12} {:>9} {:>9}  {}"


def fuzz_one(name: str, inputs: int, folder: Path) -> None:
    """Fuzz one reader in this process, which libFuzzer ends."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["towline"]):
        from tests.attacks.targets import TARGETS

    reader = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(reader.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-runs={inputs}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MIB}", f"-max_len={reader.longest}"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], reader.read)
    atheris.Fuzz()


def fuzz(name: str, inputs: int) -> bool:
    """Fuzz one reader in a process of its own and print its line; whether nothing was found."""
    folder = Path(tempfile.mkdtemp(prefix=f"towline-fuzz-{name}-"))
    began = time.monotonic()
    with (folder / "log").open("w+", errors="replace") as log:
        argv = [
            sys.executable,
            "-m",
            "tests.attacks.fuzz",
            "--one",
            name,
            "--inputs",
            str(inputs),
            "--folder",
            str(folder),
        ]
        code = subprocess.call(argv, stdout=log, stderr=subprocess.STDOUT)
        log.seek(0)
        said = log.read()
    done = _DONE.search(said)
    ran = int(done[1]) if done else max(map(int, _AT.findall(said)), default=0)
    seconds = time.monotonic() - began
    verdict = "none" if done and code == 0 else f"FOUND, see {folder}"
    print(COLUMNS.format(name, f"{ran:,}", f"{seconds:.0f} s", f"{ran / seconds:,.0f}", verdict), flush=True)
    return verdict == "none"


def main() -> int:
    """Fuzz what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(MISSING, file=sys.stderr)
        return 1
    if options.one:
        fuzz_one(options.one, options.inputs, options.folder)
        return 0
    from tests.attacks.targets import TARGETS

    chosen = {name: reader for name, reader in TARGETS.items() if not options.targets or name in options.targets}
    shares = sum(reader.share for reader in chosen.values())
    print(COLUMNS.format("reader", "inputs", "time", "a second", "findings"))
    clean = [fuzz(name, round(options.inputs * reader.share / shares)) for name, reader in chosen.items()]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
