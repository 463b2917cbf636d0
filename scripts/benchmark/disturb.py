"""Disturbs a running service, for two minutes at most: usage: disturb.py storm|burst|half-open|swap PORT DOCUMENT.

`storm`: 32 connections ask for a refresh all the time. `burst`: 300 ask at once, each second. `half-open`: 400 begin a
request and do not end it, and are replaced each second. `swap`: the document changes and is refreshed, again and again.
"""

import http.client
import socket
import sys
import threading
import time
from pathlib import Path

CONNECTIONS, BURST, HALF_OPEN = 32, 300, 400
HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"


def refresh_again_and_again(port: int, until: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < until:
        connection.request("POST", "/refresh")
        connection.getresponse().read()


def swap_again_and_again(port: int, document: Path, until: float) -> None:
    text = document.read_bytes().rstrip(b"\n")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    turn = 0
    while time.monotonic() < until:
        turn += 1
        changed = document.with_suffix(".new")
        # As many line ends as the turn says, so that each version differs from the last.
        changed.write_bytes(text + b"\n" * (1 + turn % 7))
        changed.rename(document)
        connection.request("POST", "/refresh")
        connection.getresponse().read()


def burst_again_and_again(port: int, until: float) -> None:
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(BURST)]
    while time.monotonic() < until:
        began = time.monotonic()
        for connection in connections:
            connection.sendall(HEAD % b"/refresh" + b"\r\n")
        for connection in connections:
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("a refresh failed")
        time.sleep(max(0.0, began + 1 - time.monotonic()))


def open_half_again_and_again(port: int, until: float) -> None:
    while time.monotonic() < until:
        connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(HALF_OPEN)]
        for connection in connections:
            connection.sendall(HEAD % b"/verify")
        time.sleep(1)
        for connection in connections:
            connection.close()


def main() -> None:
    kind, port, document = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    until = time.monotonic() + 120
    if kind == "swap":
        return swap_again_and_again(port, document, until)
    if kind == "burst":
        return burst_again_and_again(port, until)
    if kind == "half-open":
        return open_half_again_and_again(port, until)
    for _ in range(CONNECTIONS):
        threading.Thread(target=refresh_again_and_again, args=(port, until), daemon=True).start()
    time.sleep(max(0.0, until - time.monotonic()))


main()
