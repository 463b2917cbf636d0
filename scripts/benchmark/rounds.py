"""Alternating rounds of load: every peer in turn, so that a slow minute of the machine hits all alike."""

import http.client
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from keys import ASKED
from peers import Ground, Peer
from process import LOAD_CORE, SERVER_CORE, Process, core_seconds, wait_for_port

CONNECTIONS = 32


@dataclass
class Round:
    requests: int
    requests_per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    memory_mib: float
    errors: int
    # Of the lines the log owes, the part that is there; None where no log is kept.
    logged: float | None
    # The part of the server's core that was busy with something else.
    foreign: float


def start(peer: Peer) -> Process:
    process = Process(peer.command, peer.environment, peer.room, peer.stdout, SERVER_CORE)
    wait_for_port(process, peer.port)
    return process


def check(peer: Peer, ground: Ground) -> None:
    """No peer is measured that does not do the work: the right answer to a good key, a refusal to a wrong one."""
    wait_until_ready(peer, ground)
    for key in (ground.keys[0], ground.keys[len(ground.keys) // 2], ground.keys[-1]):
        status, body = ask(peer, key.secret)
        expected = key if peer.refuses else ground.keys[0]
        if status != 200 or json.loads(body) != json.loads(expected.answer(peer.form == "policy")):
            raise SystemExit(f"{peer.name} answers {status} {body!r} to a good key")
    status, _ = ask(peer, "sec_0" + "x" * 59)
    if peer.refuses and status != 403:
        raise SystemExit(f"{peer.name} answers {status} to a wrong key")


def wait_until_ready(peer: Peer, ground: Ground, patience: float = 60.0) -> None:
    """A service that listens before it has loaded its keys says 503 so long."""
    deadline = time.monotonic() + patience
    while ask(peer, ground.keys[0].secret)[0] == 503:
        if time.monotonic() > deadline:
            raise SystemExit(f"{peer.name} does not load its keys")
        time.sleep(0.01)


def ask(peer: Peer, secret: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=60)
    headers = {"X-Api-Key": secret} if peer.form in ("header", "get") else {}
    if peer.form == "get":
        connection.request("GET", peer.path, headers=headers)
    else:
        asked = ASKED if peer.form == "policy" else {}
        body = json.dumps({"api_key": secret} | asked, separators=(",", ":"))
        connection.request("POST", peer.path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def measure(peer: Peer, process: Process, seconds: float, secrets: Path) -> Round:
    if not process.is_running():
        raise SystemExit(f"{peer.name} has ended, with {process.child.returncode}: {_last_lines(peer)}")
    _empty(peer.log)
    before, core_before = process.cpu_seconds(), core_seconds(SERVER_CORE)
    load = wrk(peer, seconds, secrets)
    cpu, core = process.cpu_seconds() - before, core_seconds(SERVER_CORE) - core_before
    if not load["requests"]:
        raise SystemExit(f"{peer.name} answered nothing")
    return Round(
        requests=load["requests"],
        requests_per_second=load["requests"] / load["seconds"],
        cpu_us=cpu / load["requests"] * 1e6,
        p50_ms=load["p50_ms"],
        p99_ms=load["p99_ms"],
        p999_ms=load["p999_ms"],
        max_ms=load["max_ms"],
        memory_mib=process.memory_kib() / 1024,
        errors=load["errors"],
        logged=_logged(peer, load["requests"]),
        foreign=max(0.0, core - cpu) / load["seconds"],
    )


def wrk(
    peer: Peer,
    seconds: float,
    secrets: Path,
    connections: int = CONNECTIONS,
    pause_ms: int = 0,
    prefix: Sequence[str] = (),
) -> dict:
    script = Path(__file__).with_name("verify.lua")
    command = [*prefix, "taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    command += ["-s", str(script), f"http://127.0.0.1:{peer.port}{peer.path}"]
    command += ["--", str(secrets), peer.form, str(pause_ms)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    results = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise SystemExit(f"wrk against {peer.name} failed: {run.stdout}{run.stderr}")
    return json.loads(results[0].removeprefix("RESULT "))


def as_dictionaries(rounds: dict[str, list[Round]]) -> dict[str, list[dict]]:
    return {name: [asdict(one) for one in several] for name, several in rounds.items()}


def _last_lines(peer: Peer) -> str:
    return peer.stdout.read_bytes()[-1000:].decode(errors="replace")


def _logged(peer: Peer, requests: int, patience: float = 3.0) -> float | None:
    if peer.log is None:
        return None
    deadline = time.monotonic() + patience
    lines = _count(peer.log, peer.log_mark)
    while lines < requests and time.monotonic() < deadline:
        time.sleep(0.05)
        lines = _count(peer.log, peer.log_mark)
    # Requests under way when wrk stops are logged and not counted by it.
    return min(lines / requests, 1.0)


def _count(log: Path, mark: bytes) -> int:
    return log.read_bytes().count(mark)


def _empty(log: Path | None) -> None:
    if log is not None and log.exists():
        with open(log, "r+b") as file:
            file.truncate()
