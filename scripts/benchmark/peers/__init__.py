"""The servers that are measured: what each is, how it is started, and how the key reaches it."""

from dataclasses import dataclass, field
from pathlib import Path

from keys import Key


@dataclass
class Ground:
    """What all peers stand on: the keys, a directory for their files, the binaries, the metrics' sink."""

    keys: list[Key]
    directory: Path
    root: Path
    binaries: Path
    sink_port: int

    def room(self, name: str) -> Path:
        room = self.directory / name
        room.mkdir(parents=True, exist_ok=True)
        return room

    @property
    def python(self) -> Path:
        return self.root / ".tools/venv/bin/python"


@dataclass
class Peer:
    name: str
    label: str
    command: list[str]
    port: int
    room: Path
    environment: dict[str, str] = field(default_factory=dict)
    path: str = "/verify"
    # "body": the key in the JSON body; "header": in the body and in X-Api-Key; "get": in X-Api-Key of a GET; "policy": in
    # a body that says also from where and for what it is used.
    form: str = "body"
    # The file in which every good verify must leave a line holding these bytes.
    log: Path | None = None
    log_mark: bytes = b""
    # The counter in the sink that must grow by one per request.
    counter: str = ""
    # A server that answers the same to everything cannot be asked whether it refuses.
    refuses: bool = True

    @property
    def stdout(self) -> Path:
        return self.room / "stdout.log"


def all_peers(ground: Ground) -> list[Peer]:
    """In the order of the report."""
    from peers import bare_hyper, haproxy, heare_auth, nginx, python_service

    makers = (heare_auth, bare_hyper, nginx, haproxy, python_service)
    return [peer for maker in makers for peer in maker.peers(ground)]


# Leaves out what is only there for the curious.
OURS = ["heare-auth", "heare-auth-usage", "heare-auth-policy", "heare-auth-quiet"]
SHORT = OURS + ["bare-hyper", "nginx", "nginx-buffered", "haproxy", "python", "python-quiet"]
EVERY = SHORT[:7] + ["nginx-quiet", "nginx-get"] + SHORT[7:]
