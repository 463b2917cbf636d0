"""Disturbs a running service, for two minutes at most: usage: disturb.py storm|swap PORT DOCUMENT.

`storm`: 32 connections ask for a refresh all the time. `swap`: the document changes and is refreshed, again and again.
"""

import http.client
import sys
import threading
import time
from pathlib import Path

CONNECTIONS = 32


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


def main() -> None:
    kind, port, document = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    until = time.monotonic() + 120
    if kind == "swap":
        return swap_again_and_again(port, document, until)
    for _ in range(CONNECTIONS):
        threading.Thread(target=refresh_again_and_again, args=(port, until), daemon=True).start()
    time.sleep(max(0.0, until - time.monotonic()))


main()
