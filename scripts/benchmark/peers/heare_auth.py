"""heare-auth on its file store: with every log line and metric, with the use of keys counted on top, and with nothing."""

import keys
from peers import Ground, Peer
from process import free_port


# Without DATABASE_URL the use of keys is counted in a file beside the document.
COUNTING = {"DATABASE_URL": ""}


def peers(ground: Ground) -> list[Peer]:
    return [
        make(ground, "heare-auth", "heare-auth, logs and metrics on", loud=True),
        make(ground, "heare-auth-usage", "heare-auth, use counted in SQLite, too", loud=True, settings=COUNTING),
        make(ground, "heare-auth-policy", "the same, every key with every policy", loud=True, settings=COUNTING),
        make(ground, "heare-auth-quiet", "heare-auth, `LOG_LEVEL=error`, no metrics", loud=False),
    ]


def make(ground: Ground, name: str, label: str, loud: bool, settings: dict[str, str] | None = None) -> Peer:
    """Counts no use unless the settings say so: what that costs is measured apart."""
    room, port = ground.room(name), free_port()
    policy = keys.POLICY if name.endswith("-policy") else None
    keys.write_document(ground.keys, room / "data/keys.json", policy)
    environment = {"DATA_DIR": str(room / "data"), "HOST": "127.0.0.1", "PORT": str(port), "DATABASE_URL": "off"}
    environment |= settings or {}
    peer = Peer(name, label, [str(ground.binaries / "heare-auth"), "serve"], port, room, environment)
    if name.endswith("-policy"):
        peer.form = "policy"
    if loud:
        peer.environment |= {"PROTOCOL": "udp", "DEST_HOST": "127.0.0.1", "DEST_PORT": str(ground.sink_port)}
        peer.log, peer.log_mark, peer.counter = peer.stdout, b'"verification_success"', "heare-auth.verify.requests"
    else:
        peer.environment["LOG_LEVEL"] = "error"
    return peer
