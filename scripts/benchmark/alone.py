"""What only heare-auth is asked: start, refresh, create, memory, size of the binary."""

import http.client
import json
import statistics
import subprocess
import time

import keys
from peers import Ground, Peer, heare_auth
from process import SERVER_CORE, Process, wait_for_port

TRIES = 5


def measure(ground: Ground) -> dict[str, float]:
    loaded = heare_auth.make(ground, "numbers", "", loud=True, settings=heare_auth.COUNTING)
    starts = [_start_to_ready(loaded) for _ in range(TRIES)]
    process = start(loaded)
    resident = process.resident_kib()
    creates = [_create(loaded) for _ in range(TRIES)]
    refreshes = [_refresh_after_a_change(loaded) for _ in range(TRIES)]
    process.stop()
    return {
        "ready_ms": statistics.median(starts),
        "create_ms": statistics.median(creates),
        "refresh_ms": statistics.median(refreshes),
        "resident_empty_mib": _resident_empty(ground) / 1024,
        "resident_mib": resident / 1024,
        "binary_mib": (ground.binaries / "heare-auth").stat().st_size / 2**20,
    }


def _start_to_ready(peer: Peer) -> float:
    began = time.monotonic()
    process = Process(peer.command, peer.environment, peer.room, peer.stdout, SERVER_CORE)
    _wait_until_ready(process, peer)
    took = time.monotonic() - began
    process.stop()
    return took * 1000


def start(peer: Peer) -> Process:
    process = Process(peer.command, peer.environment, peer.room, peer.stdout, SERVER_CORE)
    _wait_until_ready(process, peer)
    return process


def _wait_until_ready(process: Process, peer: Peer) -> None:
    wait_for_port(process, peer.port)
    while call(peer, "GET", "/ready")[0] != 200:
        time.sleep(0.001)


def _create(peer: Peer, *options: str) -> float:
    """The whole command: read, write, refresh."""
    environment = peer.environment | {"REFRESH_URL": f"http://127.0.0.1:{peer.port}/refresh", "HOME": str(peer.room)}
    command = [peer.command[0], "create", "--name", "bench", *options]
    began = time.monotonic()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    took = time.monotonic() - began
    if run.returncode != 0:
        raise SystemExit(f"create failed: {run.stderr}")
    return took * 1000


def _refresh_after_a_change(peer: Peer) -> float:
    _create(peer, "--no-refresh")
    began = time.monotonic()
    status, body = call(peer, "POST", "/refresh")
    took = time.monotonic() - began
    if status != 200:
        raise SystemExit(f"refresh failed: {status} {body}")
    return took * 1000


def _resident_empty(ground: Ground) -> int:
    peer = heare_auth.make(ground, "numbers-empty", "", loud=True, settings=heare_auth.COUNTING)
    keys.write_document([], peer.room / "data/keys.json")
    process = start(peer)
    resident = process.resident_kib()
    process.stop()
    return resident


def call(peer: Peer, method: str, path: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body)
