"""What size and change cost: a verify and a load at a million keys, latency while keys are replaced."""

import statistics
import sys
import time
from pathlib import Path

import keys
import rounds
from alone import call, start
from keys import Key
from peers import Ground, Peer, heare_auth
from process import LOAD_CORE, Process

FEW, MANY, SWAPPED = 1_000, 1_000_000, 100_000
# Pauses between the requests of a connection, so that latency shows stalls and not the queue of a saturated core.
PAUSED_CONNECTIONS = 16


def measure(ground: Ground, options) -> dict[str, float]:
    return _size(ground, options) | _changes(ground, options)


def _size(ground: Ground, options) -> dict[str, float]:
    """A thousand keys and a million, in alternating rounds; every key with some 60 bytes of metadata of its own."""
    small = _with_keys(ground, "scale-few", FEW)
    large = _with_keys(ground, "scale-many", MANY)
    running = [start(peer) for peer, _ in (small, large)]
    empty = running[0].resident_kib()
    resident, peak = running[1].resident_kib(), running[1].peak_kib()
    cost = [[], []]
    for number in range(options.rounds + 1):
        for place, (peer, secrets) in enumerate((small, large)):
            one = rounds.measure(peer, running[place], options.seconds, secrets)
            cost[place] += [one.cpu_us] if number else []
    document = large[0].room / "data/keys.json"
    size = document.stat().st_size
    load = _reload(large[0], document)
    for process in running:
        process.stop()
    few_us, many_us = (statistics.median(values) for values in cost)
    return {
        "cpu_us_at_1e3": few_us,
        "cpu_us_at_1e6": many_us,
        "resident_bytes_per_key": (resident - empty) * 1024 / (MANY - FEW),
        "peak_mib": peak / 1024,
        "document_mib": size / 2**20,
        "load_1e6_s": load,
    }


def _with_keys(ground: Ground, name: str, count: int) -> tuple[Peer, Path]:
    many = [Key(key.id, key.secret, key.name, _own_metadata(key)) for key in keys.make(count)]
    room = Ground(many, ground.directory, ground.root, ground.binaries, ground.sink_port)
    peer = heare_auth.make(room, name, name, loud=True, settings={"POLL_INTERVAL": "60s"})
    secrets = peer.room / "secrets.txt"
    # Every k-th key all over the document: a load generator cannot hold a million requests.
    keys.write_secrets(many[:: max(1, count // 50_000)], secrets)
    return peer, secrets


def _own_metadata(key: Key) -> dict:
    return {"owner": key.id, "contact": f"{key.name}@example.com"}


def _reload(peer: Peer, document: Path) -> float:
    """Read, check, parse and swap a document that has changed by a byte."""
    changed = document.with_suffix(".new")
    changed.write_bytes(document.read_bytes() + b"\n")
    changed.rename(document)
    began = time.monotonic()
    status, body = call(peer, "POST", "/refresh")
    took = time.monotonic() - began
    if status != 200:
        raise SystemExit(f"refresh failed: {status} {body}")
    return took


def _changes(ground: Ground, options) -> dict[str, float]:
    """p99 at a moderate pace: left alone, while many ask for refreshes, while 100 000 keys are replaced all the time."""
    calm, secrets = _with_keys(ground, "scale-calm", len(ground.keys))
    swapped, swapped_secrets = _with_keys(ground, "scale-swap", SWAPPED)
    found = {"idle": [], "storm": [], "idle_large": [], "swap": []}
    running = [start(calm), start(swapped)]
    for _ in range(options.rounds):
        found["idle"].append(_p99(calm, secrets, options.seconds, None))
        found["storm"].append(_p99(calm, secrets, options.seconds, "storm"))
        found["idle_large"].append(_p99(swapped, swapped_secrets, options.seconds, None))
        found["swap"].append(_p99(swapped, swapped_secrets, options.seconds, "swap"))
    for process in running:
        process.stop()
    return {f"p99_ms_{name}": statistics.median(values) for name, values in found.items()}


def _p99(peer: Peer, secrets: Path, seconds: float, disturbance: str | None) -> float:
    trouble = None
    if disturbance:
        script = str(Path(__file__).with_name("disturb.py"))
        command = [sys.executable, "-B", script, disturbance, str(peer.port), str(peer.room / "data/keys.json")]
        # In time that nobody else wants: it is to disturb the service, not the load generator, whose core it shares.
        trouble = Process(["chrt", "--idle", "0", *command], {}, peer.room, peer.room / "disturb.log", LOAD_CORE)
        time.sleep(0.3)
    try:
        return rounds.wrk(peer, seconds, secrets, PAUSED_CONNECTIONS, pause_ms=2)["p99_ms"]
    finally:
        if trouble:
            if not trouble.is_running():
                raise SystemExit(f"{disturbance} ended early: {trouble.errors.read_text()}")
            trouble.stop()


def rows(found: dict[str, float]) -> list[tuple[str, str]]:
    return [
        ("CPU per verify at 1 000 keys", f"{found['cpu_us_at_1e3']:.1f} µs"),
        ("CPU per verify at 1 000 000 keys", f"{found['cpu_us_at_1e6']:.1f} µs"),
        ("resident per key at 1 000 000, 60 bytes of own metadata", f"{found['resident_bytes_per_key']:.0f} bytes"),
        ("largest resident memory while they were loaded", f"{found['peak_mib']:.0f} MiB"),
        ("the document of 1 000 000 keys", f"{found['document_mib']:.0f} MiB"),
        ("read, parse and swap them", f"{found['load_1e6_s']:.2f} s"),
        ("p99, left alone", f"{found['p99_ms_idle']:.2f} ms"),
        ("p99 during a storm of refreshes", f"{found['p99_ms_storm']:.2f} ms"),
        ("p99, 100 000 keys, left alone", f"{found['p99_ms_idle_large']:.2f} ms"),
        ("p99 while 100 000 keys are replaced, again and again", f"{found['p99_ms_swap']:.2f} ms"),
    ]
