"""nginx with a `map` from every key to its answer. It cannot read a JSON body, so the key also travels in a header."""

from pathlib import Path

from keys import Key
from peers import Ground, Peer
from process import free_port

CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {room}/nginx.pid;
error_log {room}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log {access_log};
  client_body_temp_path {room}/body;
  proxy_temp_path {room}/proxy;
  fastcgi_temp_path {room}/fastcgi;
  uwsgi_temp_path {room}/uwsgi;
  scgi_temp_path {room}/scgi;
  default_type application/json;
  keepalive_requests 1000000000;
  map_hash_max_size {hash_size};
  map_hash_bucket_size 128;
  map $http_x_api_key $answer {{ include {keys}; }}
  server {{
    listen 127.0.0.1:{port};
    location = /verify {{
      if ($answer = "") {{ return 403 '{{"valid":false,"error":"Invalid API key"}}'; }}
      return 200 $answer;
    }}
  }}
}}
"""


def peers(ground: Ground) -> list[Peer]:
    keys = ground.room("nginx") / "keys.map"
    keys.write_text("".join(_line(key) for key in ground.keys))
    return [
        _peer(ground, keys, "nginx", "nginx `map`, access log on", "{log} combined"),
        _peer(ground, keys, "nginx-buffered", "nginx `map`, access log buffered", "{log} combined buffer=64k flush=1s"),
        _peer(ground, keys, "nginx-quiet", "nginx `map`, access log off", "off"),
        _peer(ground, keys, "nginx-get", "nginx `map`, access log on, GET without a body", "{log} combined", "get"),
    ]


def _line(key: Key) -> str:
    return f"{key.secret} '{key.answer()}';\n"


def _peer(ground: Ground, keys: Path, name: str, label: str, access_log: str, form: str = "header") -> Peer:
    room, port = ground.room(name), free_port()
    log = room / "access.log"
    text = CONFIGURATION.format(
        room=room, access_log=access_log.format(log=log), hash_size=4 * len(ground.keys), keys=keys, port=port
    )
    configuration = room / "nginx.conf"
    configuration.write_text(text)
    command = ["nginx", "-p", str(room), "-e", str(room / "error.log"), "-c", str(configuration)]
    peer = Peer(name, label, command, port, room, form=form)
    if access_log != "off":
        peer.log, peer.log_mark = log, b" /verify "
    return peer
