"""Lets a service that counts what it does verify keys of all kinds: usage: train.py BINARIES COUNTS.

Every peer writes what it has counted into a file of its own in COUNTS when it ends.
"""

import random
import sys
import tempfile
from pathlib import Path

import keys
import rounds
from peers import Ground, heare_auth
from process import free_port, stop_all
from run import start_sink

SECONDS = 4
# Of so many secrets that are presented one is nobody's.
STRANGERS = 20


def main() -> None:
    binaries, counts = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        ground = Ground(keys.make(10_000), Path(directory), Path.cwd(), binaries, free_port())
        presented = secrets(ground)
        try:
            start_sink(ground)
            for peer in heare_auth.peers(ground):
                peer.environment["LLVM_PROFILE_FILE"] = str(counts / f"{peer.name}.profraw")
                process = rounds.start(peer)
                rounds.check(peer, ground)
                rounds.wrk(peer, SECONDS, presented)
                process.stop()
        finally:
            stop_all()


def secrets(ground: Ground) -> Path:
    path = ground.directory / "secrets.txt"
    strangers = keys.make(len(ground.keys) // STRANGERS - 1)
    presented = ground.keys + strangers
    random.Random(1).shuffle(presented)
    keys.write_secrets(presented, path)
    return path


main()
