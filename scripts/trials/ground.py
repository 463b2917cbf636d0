"""What a trial stands on: the service with a bucket, PostgreSQL, Redis and a bridge behind proxies that can fail."""

import http.client
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/benchmark"))

import far_ends  # noqa: E402
from far_ends import BUCKET, HOST, Weed  # noqa: E402
from process import SERVER_CORE, Process, free_port, wait_for_port  # noqa: E402
from proxy import Proxy  # noqa: E402


def secret_of(name: str) -> str:
    return f"sec_of_{name}_which_is_long_enough_to_be_one"


def document(generation: int, keys: int) -> bytes:
    """An operator's key, one with a limit that is never reached, and so many plain ones."""
    records = [
        {"id": "key_admin", "secret": secret_of("key_admin"), "name": "Admin", "scopes": ["admin"]},
        {
            "id": "key_limited",
            "secret": secret_of("key_limited"),
            "name": "Limited",
            "limits": [{"name": "soak", "limit": 100_000, "window_seconds": 60}],
        },
    ]
    records += [{"id": f"key_{n}", "secret": secret_of(f"key_{n}"), "name": f"Name {n}"} for n in range(keys)]
    return json.dumps({"generation": generation, "keys": records}).encode()


class Ground:
    """Everything is started by `start` and ended by `stop`, whatever happened between."""

    def __init__(self, directory: Path, binary: Path):
        self.directory, self.binary = directory, binary
        self.others: list[Process] = []

    def start(self, keys: int) -> None:
        self.weed = Weed(self.directory, ROOT)
        self.weed.put("keys.json", document(1, keys))
        redis, postgres, sink = (self._other(start) for start in (far_ends.redis, far_ends.postgres, far_ends.sink))
        self.far_ends = {
            "S3": Proxy(self.weed.port),
            "Redis": Proxy(redis),
            "PostgreSQL": Proxy(postgres),
            "bridge": Proxy(sink),
        }
        self.port = free_port()
        self.service = Process([str(self.binary), "serve"], self._settings(), self.directory, self.directory / "log", SERVER_CORE)
        wait_for_port(self.service, self.port)
        self.wait_until_ready()

    def stop(self) -> None:
        if hasattr(self, "service"):
            self.service.stop()
        for other in reversed(self.others):
            other.stop(patience=5)
        if hasattr(self, "weed"):
            self.weed.stop()

    def wait_until_ready(self, patience: float = 30.0) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if call(self.port, "GET", "/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("the service does not become ready:\n" + (self.directory / "log").read_text()[-2000:])

    def _settings(self) -> dict[str, str]:
        ends = {name: end.port for name, end in self.far_ends.items()}
        return {
            "HOST": HOST,
            "PORT": str(self.port),
            "AWS_ENDPOINT_URL": f"http://{HOST}:{ends['S3']}",
            "AWS_ACCESS_KEY_ID": "trial",
            "AWS_SECRET_ACCESS_KEY": "trial",
            "S3_BUCKET": BUCKET,
            "S3_KEY": "keys.json",
            "POLL_INTERVAL": "500ms",
            "SNAPSHOT_PATH": str(self.directory / "snapshot.json"),
            "REDIS_URL": f"redis://{HOST}:{ends['Redis']}/0",
            "DATABASE_URL": f"postgres://heare@{HOST}:{ends['PostgreSQL']}/postgres",
            "SECRET_KEY": "a key to sign with that is long enough",
            "PROTOCOL": "http",
            "SECRET": "trial",
            "DEST_HOST": HOST,
            "DEST_PORT": str(ends["bridge"]),
            "RATE_LIMIT": "off",
        }

    def _other(self, start: Callable[[Path], tuple[Process, int]]) -> int:
        process, port = start(self.directory)
        self.others.append(process)
        return port


def call(port: int, method: str, path: str, body: dict | None = None, key: str | None = None) -> tuple[int, dict]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text.startswith(b"{") else {}
