"""Instructions and allocations per request, counted by valgrind: the same on a busy machine as on an idle one.

A server is run twice, with few requests and with many; the difference of the two runs, divided by the difference of the
requests, holds neither its start nor its end.
"""

import re
import socket
from dataclasses import asdict, dataclass

from peers import Ground, Peer
from process import SERVER_CORE, Process, wait_for_port
from rounds import CONNECTIONS, wait_until_ready

FEW, MANY = 64 * CONNECTIONS, 192 * CONNECTIONS
TOTALS = {
    "callgrind": re.compile(r"Collected : (\d+)"),
    "dhat": re.compile(r"Total: +[\d,]+ bytes in ([\d,]+) blocks"),
}


@dataclass
class Cost:
    instructions: float
    allocations: float


def per_request(peer: Peer, ground: Ground) -> dict:
    return asdict(Cost(_difference(peer, ground, "callgrind"), _difference(peer, ground, "dhat")))


def _difference(peer: Peer, ground: Ground, tool: str) -> float:
    return (_total(peer, ground, tool, MANY) - _total(peer, ground, tool, FEW)) / (MANY - FEW)


def _total(peer: Peer, ground: Ground, tool: str, requests: int) -> int:
    """What the tool counted from start to end of a server that answered so many requests."""
    log = peer.room / f"{tool}-{requests}.log"
    outputs = f"--{tool}-out-file={peer.room / tool}-{requests}.out"
    command = ["valgrind", f"--tool={tool}", f"--log-file={log}", outputs, *peer.command]
    # Work that is done by the clock, not by the request, is kept rare.
    environment = {**peer.environment, **({"POLL_INTERVAL": "60s"} if "DATA_DIR" in peer.environment else {})}
    process = Process(command, environment, peer.room, peer.stdout, SERVER_CORE)
    wait_for_port(process, peer.port)
    wait_until_ready(peer, ground)
    send(peer, ground, requests)
    process.stop(patience=60)
    found = TOTALS[tool].search(log.read_text())
    if not found:
        raise SystemExit(f"{tool} counted nothing: {log.read_text()[-1000:]}")
    return int(found.group(1).replace(",", ""))


def send(peer: Peer, ground: Ground, requests: int) -> None:
    """Exactly so many requests, in waves over as many connections as the load rounds use."""
    connections = [socket.create_connection(("127.0.0.1", peer.port), timeout=60) for _ in range(CONNECTIONS)]
    for wave in range(requests // CONNECTIONS):
        for place, connection in enumerate(connections):
            key = ground.keys[(wave * CONNECTIONS + place) % len(ground.keys)]
            connection.sendall(_request(peer.port, key.secret))
        for connection in connections:
            _read_answer(connection)
    for connection in connections:
        connection.close()


def _request(port: int, secret: str) -> bytes:
    """Byte for byte what wrk sends."""
    body = f'{{"api_key":"{secret}"}}'
    head = f"POST /verify HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _read_answer(connection: socket.socket) -> None:
    answer = b""
    while True:
        part = connection.recv(65536)
        if not part:
            raise SystemExit("the server closed a connection under measurement")
        answer += part
        head, end, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and length and len(body) >= int(length.group(1)):
            return
