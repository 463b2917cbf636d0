"""Latency of a verify while something else is out of order: every fault in turn, in rounds that alternate with calm.

The load is moderate, so that latency shows stalls and not the queue of a saturated core. Every fault has a service of its
own, and calm and trouble are measured on the same one.
"""

import http.client
import os
import random
import shutil
import socket
import statistics
import sys
import threading
import time
from abc import ABC
from dataclasses import dataclass
from pathlib import Path

import keys
import proxy
import rounds
from alone import start
from peers import Ground, Peer, heare_auth
from process import LOAD_CORE, SERVER_CORE, Process, core_seconds
from proxy import Proxy
from report import QUIET
from scale import PAUSED_CONNECTIONS, SWAPPED

BUCKET = "heare-auth-bench"
# Often, so that the loader is always busy with the fault.
POLL = {"POLL_INTERVAL": "200ms"}


@dataclass
class Found:
    """What the rounds of one fault have shown: medians in milliseconds, resident memory in MiB."""

    title: str
    calm: dict[str, float]
    trouble: dict[str, float]
    ratio: float
    resident: tuple[float, float]
    requests: int
    errors: int
    # The part of the server's core that others had, the middle one of all rounds.
    foreign: float


class Fault(ABC):
    """A way of going wrong, which can begin and end again and again."""

    title = ""
    settings: dict[str, str] = {}
    key_count = 10_000

    def prepare(self, ground: Ground) -> None:
        """Makes what the service needs before it starts."""
        name = type(self).__name__.lower()
        own = Ground(keys.make(self.key_count), ground.directory, ground.root, ground.binaries, ground.sink_port)
        self.peer = heare_auth.make(own, f"fault-{name}", name, loud=True, settings=self.settings)
        # Keys all over the document: a load generator need not hold them all.
        self.secrets = self.peer.room / "secrets.txt"
        keys.write_secrets(own.keys[:: max(1, self.key_count // 10_000)], self.secrets)

    def start(self) -> Process:
        return start(_urgent(self.peer))

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None:
        """Lets go of what `prepare` has made."""


class ThroughProxy(Fault):
    """The far end of a connection misbehaves."""

    mode = proxy.PASS

    def begin(self) -> None:
        self.proxy.set(self.mode)

    def end(self) -> None:
        self.proxy.set(proxy.PASS)


class Store(ThroughProxy):
    settings = POLL

    def __init__(self, weed: "Weed"):
        self.weed = weed

    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        self.key = f"{type(self).__name__.lower()}.json"
        self.document = (self.peer.room / "data/keys.json").read_bytes()
        self.weed.put(self.key, self.document)
        self.proxy = Proxy(self.weed.port)
        del self.peer.environment["DATA_DIR"]
        self.peer.environment |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "S3_BUCKET": BUCKET,
            "S3_KEY": self.key,
        }


class StoreRefuses(Store):
    title, mode = "S3 refuses connections", proxy.REFUSE


class StoreStalls(Store):
    title, mode = "S3 takes connections and answers nothing", proxy.SWALLOW


class StoreIsSlow(Store):
    title, mode = "S3 sends a new document at a trickle", proxy.TRICKLE

    def begin(self) -> None:
        self.document += b"\n"
        self.weed.put(self.key, self.document)
        super().begin()


class Bridge(ThroughProxy):
    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        self.proxy = Proxy(ground.sink_port)
        self.peer.environment |= {"PROTOCOL": "http", "SECRET": "bench", "DEST_PORT": str(self.proxy.port)}


class BridgeRefuses(Bridge):
    title, mode = "stats bridge refuses connections", proxy.REFUSE


class BridgeSwallows(Bridge):
    title, mode = "stats bridge takes everything and answers nothing", proxy.SWALLOW


class Stdout(Fault):
    """stdout is a pipe, emptied by a thread while all is well."""

    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        self.pipe = self.peer.stdout
        os.mkfifo(self.pipe)
        self.end()

    def drain(self) -> None:
        end = self.read_end
        while self.draining:
            try:
                if not os.read(end, 1 << 20):
                    time.sleep(0.001)
            except BlockingIOError:
                time.sleep(0.001)

    def begin(self) -> None:
        self.draining = False
        self.drainer.join()

    def end(self) -> None:
        self.draining = True
        self.read_end = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.drainer = threading.Thread(target=self.drain, daemon=True)
        self.drainer.start()

    def close(self) -> None:
        self.draining = False
        self.drainer.join()
        os.close(self.read_end)


class StdoutStalls(Stdout):
    title = "stdout is a pipe that nobody reads"

    def end(self) -> None:
        before = getattr(self, "read_end", None)
        super().end()
        if before is not None:
            os.close(before)


class StdoutIsClosed(Stdout):
    title = "stdout is a pipe that was closed"

    def begin(self) -> None:
        super().begin()
        os.close(self.read_end)


class Disturbance(Fault):
    """Somebody else keeps the service busy. What disturbs yields to the load generator, with which it shares a core."""

    kind = ""

    def begin(self) -> None:
        script = str(Path(__file__).with_name("disturb.py"))
        document = str(self.peer.room / "data/keys.json")
        command = ["chrt", "-i", "0", sys.executable, "-B", script, self.kind, str(self.peer.port), document]
        self.trouble = Process(command, {}, self.peer.room, self.peer.room / "disturb.log", LOAD_CORE)
        time.sleep(0.3)

    def end(self) -> None:
        if not self.trouble.is_running():
            raise SystemExit(f"{self.kind} ended early: {self.trouble.errors.read_text()}")
        self.trouble.stop()


class RefreshBurst(Disturbance):
    title, kind = "300 refreshes at once, each second", "burst"


class RefreshStorm(Disturbance):
    title, kind = "32 connections refresh without a pause", "storm"


class HalfOpen(Disturbance):
    title, kind = "400 half-open requests, renewed each second", "half-open"


class Swap(Disturbance):
    title, kind = "100 000 keys are replaced without a pause", "swap"
    key_count = SWAPPED


LOCAL = (BridgeRefuses, BridgeSwallows, StdoutStalls, StdoutIsClosed, RefreshBurst, RefreshStorm, HalfOpen, Swap)


def measure(ground: Ground, options) -> str:
    weed = Weed(ground)
    try:
        faults = [kind(weed) for kind in (StoreRefuses, StoreStalls, StoreIsSlow)] + [kind() for kind in LOCAL]
        faults = [fault for fault in faults if options.faults in type(fault).__name__.lower()]
        found = [_measure_one(fault, ground, options) for fault in faults]
    finally:
        weed.stop()
    return markdown(found, options)


def _measure_one(fault: Fault, ground: Ground, options) -> Found:
    print(fault.title, file=sys.stderr, flush=True)
    fault.prepare(ground)
    process = fault.start()
    _load(fault, process, 1)
    before = process.resident_kib() / 1024
    calm, trouble = [], []
    for _ in range(options.rounds):
        calm.append(_load(fault, process, options.seconds))
        fault.begin()
        trouble.append(_load(fault, process, options.seconds))
        fault.end()
    after = process.resident_kib() / 1024
    process.stop()
    fault.close()
    return Found(
        fault.title,
        _medians(calm),
        _medians(trouble),
        statistics.median(there["p99_ms"] / here["p99_ms"] for here, there in zip(calm, trouble)),
        (before, after),
        sum(one["requests"] for one in trouble),
        sum(one["errors"] for one in trouble),
        statistics.median(one["foreign"] for one in calm + trouble),
    )


def _load(fault: Fault, process: Process, seconds: float) -> dict[str, float]:
    cpu, core = process.cpu_seconds(), core_seconds(SERVER_CORE)
    load = rounds.wrk(fault.peer, seconds, fault.secrets, PAUSED_CONNECTIONS, pause_ms=2, prefix=_urgently())
    cpu, core = process.cpu_seconds() - cpu, core_seconds(SERVER_CORE) - core
    return load | {"foreign": max(0.0, core - cpu) / load["seconds"]}


def _medians(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in several) for name in ("p50_ms", "p99_ms", "p999_ms")}


def markdown(found: list[Found], options) -> str:
    lines = [
        f"Service and load on a core each, logs and metrics on, {PAUSED_CONNECTIONS} connections that rest 2 ms before each "
        f"request, {options.rounds} rounds of {options.seconds:g} s calm and as many in trouble, in turn. Medians.",
        "",
        "| while | p50 ms | p99 ms | p99.9 ms | p99 × calm | resident MiB, before and after | errors |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        pairs = " | ".join(f"{one.calm[name]:.2f} → {one.trouble[name]:.2f}" for name in one.calm)
        resident = "{:.1f} → {:.1f}".format(*one.resident)
        errors = f"{one.errors} of {one.requests}"
        lines.append(f"| {one.title} | {pairs} | {one.ratio:.2f} | {resident} | {errors} |")
    foreign = max((one.foreign for one in found), default=0)
    if foreign > QUIET:
        lines += ["", f"**The machine was not quiet**: others had up to {foreign:.0%} of the server's core."]
    return "\n".join(lines) + "\n"


def _urgently() -> list[str]:
    """Other programs on the machine shall wait, where we may ask for that: the session as a whole and each process in it."""
    if os.geteuid() != 0:
        return []
    return ["setsid", "-w", "sh", "-c", 'echo -19 2>/dev/null >/proc/self/autogroup; exec nice -n -15 "$@"', "sh"]


def _urgent(peer: Peer) -> Peer:
    peer.command = [*_urgently()[2:], *peer.command]
    return peer


class Weed:
    """SeaweedFS as the store: real S3, open to everybody on this host."""

    def __init__(self, ground: Ground):
        self.directory = ground.directory / "weed"
        self.directory.mkdir()
        self.port = _four_free_ports()
        weed = shutil.which(str(ground.root / ".tools/venv/bin/weed"))
        if not weed:
            raise SystemExit("scripts/setup installs SeaweedFS, which is missing")
        command = ["chrt", "-i", "0", weed, "server", "-ip=127.0.0.1", f"-dir={self.directory}", "-s3"]
        command += [f"-s3.port={self.port}", f"-master.port={self.port + 1}", f"-volume.port={self.port + 2}"]
        command += [f"-filer.port={self.port + 3}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
        command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=20"]
        self.process = Process(command, {}, self.directory, self.directory / "log", LOAD_CORE)
        self._wait_until_ready()

    def put(self, key: str, body: bytes) -> None:
        status = self._call(f"/{BUCKET}/{key}", body)
        if status != 200:
            raise SystemExit(f"SeaweedFS answers {status} to a PUT")

    def stop(self) -> None:
        self.process.stop(patience=2)
        for port in range(self.port, self.port + 4):
            Path(f"/tmp/seaweedfs-s3-{port}.sock").unlink(missing_ok=True)

    def _wait_until_ready(self, patience: float = 60.0) -> None:
        """Ready means that an object can be stored, which is later than that a port is open."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                self._call(f"/{BUCKET}", b"")
                if self._call(f"/{BUCKET}/ready", b"ready") == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"SeaweedFS does not become ready:\n{self.process.errors.read_text()[-2000:]}")

    def _call(self, path: str, body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("PUT", path, body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def _four_free_ports() -> int:
    """The first of four in a row; each has a second one for gRPC 10 000 above."""
    for first in random.sample(range(10_000, 20_000, 4), 200):
        try:
            for port in (port + above for port in range(first, first + 4) for above in (0, 10_000)):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise SystemExit("no eight free ports were found")
