"""HAProxy with a map file from every key to its answer; the key also travels in a header. It logs nothing."""

from peers import Ground, Peer
from process import free_port

CONFIGURATION = """\
global
  nbthread 1
  maxconn 1024
defaults
  mode http
  option http-buffer-request
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 60s
frontend verify
  bind 127.0.0.1:{port}
  http-request set-var(txn.answer) req.hdr(x-api-key),map_str({keys})
  acl known var(txn.answer) -m found
  http-request return status 200 content-type application/json lf-string "%[var(txn.answer)]" if known
  http-request return status 403 content-type application/json string '{{"valid":false,"error":"Invalid API key"}}'
"""


def peers(ground: Ground) -> list[Peer]:
    room, port = ground.room("haproxy"), free_port()
    keys = room / "keys.map"
    keys.write_text("".join(f"{key.secret} {key.answer()}\n" for key in ground.keys))
    configuration = room / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(port=port, keys=keys))
    command = ["haproxy", "-db", "-f", str(configuration)]
    return [Peer("haproxy", "HAProxy map file, no log", command, port, room, form="header")]
