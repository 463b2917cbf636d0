"""What stands at the far ends of the service's connections, the real thing each: SeaweedFS, Redis, PostgreSQL."""

import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from process import LOAD_CORE, Process, free_port, wait_for_port

HOST = "127.0.0.1"
BUCKET = "heare-auth-bench"
# Behind a command, so that it runs in time that nobody else wants.
GIVES_WAY = ("chrt", "-i", "0")


def redis(directory: Path, port: int | None = None, prefix: Sequence[str] = ()) -> tuple[Process, int]:
    """An empty one, and its port; `port` where it is to come back as another's successor."""
    port = port or free_port()
    command = [*prefix, "redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    return _started(command, directory, "redis", port)


def postgres(directory: Path, prefix: Sequence[str] = ()) -> tuple[Process, int]:
    """An empty cluster whose superuser `heare` needs no password, and its port. Others may look into the directory then."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        raise SystemExit("scripts/setup installs PostgreSQL, which is missing")
    data, port = directory / "postgres", free_port()
    data.mkdir()
    user = []
    # It refuses to run as root.
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        directory.chmod(0o755)
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
    made = [*user, str(programs[-1] / "initdb"), "--auth=trust", "--no-sync", "--username=heare", "-D", str(data)]
    subprocess.run(made, check=True, capture_output=True, cwd="/")
    command = [*prefix, *user, str(programs[-1] / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST, "-k", ""]
    return _started([*command, "-c", "fsync=off", "-c", "max_connections=50"], directory, "postgres", port)


def sink(directory: Path, port: int | None = None) -> tuple[Process, int]:
    """What takes metrics as the stats bridge does, and its port."""
    port = port or free_port()
    return _started([sys.executable, "-B", str(Path(__file__).with_name("sink.py")), str(port)], directory, "sink", port)


def _started(command: list[str], directory: Path, name: str, port: int) -> tuple[Process, int]:
    process = Process(command, {}, directory, directory / f"{name}.log", LOAD_CORE)
    wait_for_port(process, port)
    return process, port


class Weed:
    """SeaweedFS as the store: real S3, open to everybody on this host."""

    def __init__(self, directory: Path, root: Path, prefix: Sequence[str] = ()):
        self.directory = directory / "weed"
        self.directory.mkdir()
        self.port = _four_free_ports()
        weed = shutil.which(str(root / ".tools/venv/bin/weed"))
        if not weed:
            raise SystemExit("scripts/setup installs SeaweedFS, which is missing")
        command = [*prefix, weed, "server", "-ip=127.0.0.1", f"-dir={self.directory}", "-s3"]
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
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
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
                    listener.bind((HOST, port))
            return first
        except OSError:
            continue
    raise SystemExit("no eight free ports were found")
