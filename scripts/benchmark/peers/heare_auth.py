"""heare-auth on its file store: once with every log line and metric, once with neither."""

import keys
from peers import Ground, Peer
from process import free_port


def peers(ground: Ground) -> list[Peer]:
    return [
        make(ground, "heare-auth", "heare-auth, logs and metrics on", loud=True),
        make(ground, "heare-auth-quiet", "heare-auth, `LOG_LEVEL=error`, no metrics", loud=False),
    ]


def make(ground: Ground, name: str, label: str, loud: bool, settings: dict[str, str] | None = None) -> Peer:
    room, port = ground.room(name), free_port()
    keys.write_document(ground.keys, room / "data/keys.json")
    environment = {"DATA_DIR": str(room / "data"), "HOST": "127.0.0.1", "PORT": str(port), **(settings or {})}
    peer = Peer(name, label, [str(ground.binaries / "heare-auth"), "serve"], port, room, environment)
    if loud:
        peer.environment |= {"PROTOCOL": "udp", "DEST_HOST": "127.0.0.1", "DEST_PORT": str(ground.sink_port)}
        peer.log, peer.log_mark, peer.counter = peer.stdout, b'"verification_success"', "heare-auth.verify.requests"
    else:
        peer.environment["LOG_LEVEL"] = "error"
    return peer
