"""The ways in which something goes wrong beside a running service, each of which can begin and end again and again."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC
from pathlib import Path

import far_ends
import keys
import proxy
from alone import start
from far_ends import BUCKET, GIVES_WAY, Weed
from peers import Ground, heare_auth
from process import LOAD_CORE, Process
from proxy import Proxy
from scale import SWAPPED

# Often, so that the loader is always busy with the fault.
POLL = {"POLL_INTERVAL": "200ms"}
# A window that has room for whatever is asked, so that each verify is counted and none refused.
LIMITED = {"limits": [{"name": "all", "limit": 1_000_000_000, "window_seconds": 3600}]}
# The document, the database and the log of some rounds.
DISK_MIB = 256


class NotRun(Exception):
    """This machine lacks what the fault needs."""


class Fault(ABC):
    """A way of going wrong, which can begin and end again and again."""

    title = ""
    settings: dict[str, str] = {}
    key_count = 10_000
    # What every key is bound to.
    policy: dict = {}
    # So many milliseconds an answer may take longer; else the 99th percentile by a factor.
    longer_ms: float | None = None

    def prepare(self, ground: Ground) -> None:
        """Makes what the service needs before it starts."""
        name = type(self).__name__.lower()
        own = Ground(keys.make(self.key_count), ground.directory, ground.root, ground.binaries, ground.sink_port)
        self.peer = heare_auth.make(own, f"fault-{name}", name, loud=True, settings=self.settings)
        if self.policy:
            keys.write_document(own.keys, self.peer.room / "data/keys.json", self.policy)
        # Keys all over the document: a load generator need not hold them all.
        self.secrets = self.peer.room / "secrets.txt"
        keys.write_secrets(own.keys[:: max(1, self.key_count // 10_000)], self.secrets)

    def start(self) -> Process:
        self.peer.command = [*urgently(), *self.peer.command]
        self.process = start(self.peer)
        return self.process

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None:
        """Lets go of what `prepare` has made."""


class ThroughProxy(Fault):
    """The far end of a connection misbehaves."""

    mode, answer = proxy.PASS, b""

    def begin(self) -> None:
        self.proxy.set(self.mode, self.answer)

    def end(self) -> None:
        self.proxy.set(proxy.PASS)


def _s3_error(status: str, code: str) -> bytes:
    return proxy.answer(status, "application/xml", f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class Store(ThroughProxy):
    settings = POLL

    def __init__(self, weed: Weed):
        self.weed = weed

    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        self.key = f"{type(self).__name__.lower()}.json"
        self.document = (self.peer.room / "data/keys.json").read_bytes()
        self.weed.put(self.key, self.document)
        self.proxy = Proxy(self.weed.port, gives_way=True)
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


class StoreResets(Store):
    title, mode = "S3 resets connections", proxy.RESET


class NewDocument(Store):
    """There is always something to fetch."""

    def begin(self) -> None:
        self.document += b"\n"
        self.weed.put(self.key, self.document)
        super().begin()


class StoreIsSlow(NewDocument):
    title, mode = "S3 sends a new document at a trickle", proxy.TRICKLE


class StoreBreaksOff(NewDocument):
    title, mode = "S3 breaks off in a new document", proxy.BREAK_OFF


class StoreAnswers(Store):
    mode = proxy.ANSWER


class StoreForbids(StoreAnswers):
    title, answer = "S3 answers 403", _s3_error("403 Forbidden", "AccessDenied")


class StoreFails(StoreAnswers):
    title, answer = "S3 answers 500", _s3_error("500 Internal Server Error", "InternalError")


class StoreIsBusy(StoreAnswers):
    title, answer = "S3 answers 503", _s3_error("503 Service Unavailable", "SlowDown")


class StoreIsAPage(StoreAnswers):
    title = "S3 answers with a page"
    answer = proxy.answer("200 OK", "text/html", b"<!doctype html><title>Sign in</title><p>Please sign in.</p>\n" * 100)


class Bridge(ThroughProxy):
    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        self.proxy = Proxy(ground.sink_port, gives_way=True)
        self.peer.environment |= {"PROTOCOL": "http", "SECRET": "bench", "DEST_PORT": str(self.proxy.port)}


class BridgeRefuses(Bridge):
    title, mode = "stats bridge refuses connections", proxy.REFUSE


class BridgeSwallows(Bridge):
    title, mode = "stats bridge takes everything and answers nothing", proxy.SWALLOW


class BridgeIsSlow(Bridge):
    title, mode = "stats bridge answers at a trickle", proxy.TRICKLE


class Limits(Fault):
    """Each use of a key is counted in Redis, to which nothing stands between."""

    policy, longer_ms = LIMITED, 50

    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        # Verifies wait for it, so it does not wait for others either.
        self.redis, self.redis_port = far_ends.redis(self.peer.room, prefix=urgently())
        self.peer.environment["REDIS_URL"] = f"redis://127.0.0.1:{self.redis_port}/0"

    def end(self) -> None:
        """Over when the service counts there again."""
        deadline = time.monotonic() + 15
        while not self._told("ratelimit_degraded") == self._told("ratelimit_recovered") > 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.title}: the service does not say that this has begun and ended")
            time.sleep(0.1)

    def close(self) -> None:
        self.redis.stop()

    def _told(self, event: str) -> int:
        return self.peer.log.read_bytes().count(f'"{event}"'.encode())


class RedisIsGone(Limits):
    title = "Redis is gone, every key has a limit"

    def begin(self) -> None:
        self.redis.stop()

    def end(self) -> None:
        self.redis, _ = far_ends.redis(self.peer.room, self.redis_port, urgently())
        super().end()


class RedisHangs(Limits):
    title = "Redis takes everything and answers nothing, every key has a limit"

    def begin(self) -> None:
        os.kill(self.redis.pid, signal.SIGSTOP)

    def end(self) -> None:
        os.kill(self.redis.pid, signal.SIGCONT)
        super().end()


class Database(ThroughProxy):
    """The use of keys is counted in PostgreSQL."""

    def prepare(self, ground: Ground) -> None:
        super().prepare(ground)
        # Where PostgreSQL's user can get to, wherever the project lies.
        self.directory = tempfile.TemporaryDirectory(prefix="heare-auth-bench-", ignore_cleanup_errors=True)
        self.postgres, port = far_ends.postgres(Path(self.directory.name), GIVES_WAY)
        self.proxy = Proxy(port, gives_way=True)
        self.peer.environment["DATABASE_URL"] = f"postgres://heare@127.0.0.1:{self.proxy.port}/postgres"

    def close(self) -> None:
        self.postgres.stop(patience=3)
        self.directory.cleanup()


class DatabaseRefuses(Database):
    title, mode = "PostgreSQL refuses connections", proxy.REFUSE


class DatabaseStalls(Database):
    title, mode = "PostgreSQL takes connections and answers nothing", proxy.SWALLOW


class DatabaseIsSlow(Database):
    title, mode = "PostgreSQL answers at a trickle", proxy.TRICKLE


class FileIsLocked(Fault):
    """The use of keys is counted in SQLite, and somebody else is writing there."""

    title, settings = "the file of the database is locked", heare_auth.COUNTING

    def begin(self) -> None:
        file = self.peer.room / "data/heare-auth.db"
        self.other = sqlite3.connect(file, timeout=30, isolation_level=None)
        self.other.execute("BEGIN EXCLUSIVE")

    def end(self) -> None:
        self.other.execute("ROLLBACK")
        self.other.close()


class DiskIsFull(Fault):
    """Document, database and log are on a small disk of the service's own."""

    title, settings = "the disk with database and log is full", heare_auth.COUNTING

    def prepare(self, ground: Ground) -> None:
        may = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
        if may.returncode:
            raise NotRun("this machine lets nobody mount a disk")
        super().prepare(ground)
        script = (
            f'cp -a "$DATA_DIR" "$DATA_DIR.kept" && mount -t tmpfs -o size={DISK_MIB}m tmpfs "$DATA_DIR" && '
            'cp -a "$DATA_DIR.kept/." "$DATA_DIR" && exec "$@" >>"$DATA_DIR/log"'
        )
        self.peer.command = ["unshare", "-m", "sh", "-c", script, "sh", *self.peer.command]

    def begin(self) -> None:
        with open(self._on_it("filler"), "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass

    def end(self) -> None:
        self._on_it("filler").unlink()
        os.truncate(self._on_it("log"), 0)

    def _on_it(self, name: str) -> Path:
        """The disk is seen through the process only."""
        return Path(f"/proc/{self.process.pid}/root{self.peer.room}/data/{name}")


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
        command = [*GIVES_WAY, sys.executable, "-B", script, self.kind, str(self.peer.port), document]
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


STORES = (StoreRefuses, StoreResets, StoreStalls, StoreIsSlow, StoreBreaksOff, StoreForbids, StoreFails, StoreIsBusy, StoreIsAPage)
OTHERS = (
    RedisIsGone,
    RedisHangs,
    DatabaseRefuses,
    DatabaseStalls,
    DatabaseIsSlow,
    FileIsLocked,
    DiskIsFull,
    BridgeRefuses,
    BridgeSwallows,
    BridgeIsSlow,
    StdoutStalls,
    StdoutIsClosed,
    RefreshBurst,
    RefreshStorm,
    HalfOpen,
    Swap,
)


def urgently() -> list[str]:
    """Other programs on the machine shall wait for this one, where we may ask for that."""
    if os.geteuid() != 0:
        return []
    return ["sh", "-c", 'echo -19 2>/dev/null >/proc/self/autogroup; exec nice -n -15 "$@"', "sh"]


def urgently_in_a_session() -> list[str]:
    """The same for a program that has no session of its own yet: the session as a whole and each process in it."""
    command = urgently()
    return ["setsid", "-w", *command] if command else []
