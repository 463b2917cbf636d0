"""The service in Python: FastAPI on uvicorn, with the packages that its predecessor names. See python_app.py.

Once as it runs in production (uvicorn's access log, a log line and one call of the stats bridge per request),
once as fast as it goes (the log line alone).
"""

import json

from peers import Ground, Peer
from process import free_port


def peers(ground: Ground) -> list[Peer]:
    loud = _peer(ground, "python", "Python service, logs and metrics on")
    loud.environment |= {"DEST_PORT": str(ground.sink_port)}
    loud.counter = "heare-auth.verify.requests"
    quiet = _peer(ground, "python-quiet", "Python service, no metrics, no access log")
    quiet.command.append("--no-access-log")
    return [loud, quiet]


def _peer(ground: Ground, name: str, label: str) -> Peer:
    room, port = ground.room(name), free_port()
    document = room / "keys.json"
    members = ("id", "secret", "name", "metadata")
    document.write_text(json.dumps({"keys": [{m: getattr(key, m) for m in members} for key in ground.keys]}))
    here = ground.root / "scripts/benchmark/peers"
    command = [str(ground.python), "-m", "uvicorn", "python_app:app", "--app-dir", str(here)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    peer = Peer(name, label, command, port, room, {"KEYS_FILE": str(document), "PYTHONDONTWRITEBYTECODE": "1"})
    peer.log, peer.log_mark = peer.stdout, b'"verification_success"'
    return peer
