"""A TCP proxy whose far end can be taken away or turned bad, as its `mode` says."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable

from process import LOAD_CORE

PASS, REFUSE, SWALLOW, TRICKLE = "pass", "refuse", "swallow", "trickle"
# Resets whoever asks; breaks off behind the first bytes of an answer; gives the same answer to everybody.
RESET, BREAK_OFF, ANSWER = "reset", "break off", "answer"
# A trickling answer starts late and comes at some 200 KiB a second.
DELAY, PIECE, PAUSE = 0.3, 4096, 0.02
BROKEN_OFF_AT = 65536


class Proxy:
    """Listens on a port of its own. Threads do, as there is little to carry; with `gives_way` in time nobody else wants.

    Whoever sets `gives_way` must not be in a hurry itself: its threads share one interpreter.
    """

    def __init__(self, target: int, gives_way: bool = False):
        self.target, self.gives_way, self.mode, self.answer = target, gives_way, PASS, b""
        self._open: set[socket.socket] = set()
        self._listener = _listen(0)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def set(self, mode: str, answer: bytes = b"") -> None:
        """From now on; what was connected before is cut, so that nothing goes past the fault."""
        if mode == REFUSE:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        elif self.mode == REFUSE:
            self._listener = _listen(self.port)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        self.mode, self.answer = mode, answer
        for connection in list(self._open):
            _cut(connection)

    def _accept(self, listener: socket.socket) -> None:
        if self.gives_way:
            _give_way()
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._open.add(near)
        try:
            if self.mode == SWALLOW:
                _copy(near.recv, lambda _: None)
            elif self.mode == RESET:
                near.recv(65536)
                # Closed without a wait for what was sent means reset.
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.mode == ANSWER:
                self._answer_all(near)
            else:
                self._carry(near)
        except OSError:
            pass
        finally:
            self._open.discard(near)
            near.close()

    def _answer_all(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := near.recv(65536)):
            head += data
        near.sendall(self.answer)

    def _carry(self, near: socket.socket) -> None:
        ways = {TRICKLE: _trickle, BREAK_OFF: _break_off}
        send = ways[self.mode](near) if self.mode in ways else near.sendall
        with socket.create_connection(("127.0.0.1", self.target)) as far:
            threading.Thread(target=_copy, args=(near.recv, far.sendall, far), daemon=True).start()
            _copy(far.recv, send)
            # The other thread would keep it open.
            _cut(near)


def answer(status: str, kind: str, body: bytes) -> bytes:
    """A whole answer of HTTP/1.1, after which the connection ends."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _trickle(near: socket.socket) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        time.sleep(DELAY)
        for start in range(0, len(data), PIECE):
            near.sendall(data[start : start + PIECE])
            time.sleep(PAUSE)

    return send


def _break_off(near: socket.socket) -> Callable[[bytes], None]:
    left = BROKEN_OFF_AT

    def send(data: bytes) -> None:
        nonlocal left
        near.sendall(data[:left])
        left -= len(data)
        if left <= 0:
            raise ConnectionAbortedError

    return send


def _give_way() -> None:
    """This thread, and those that it starts."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, {LOAD_CORE})


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def _copy(receive: Callable, send: Callable, end: socket.socket | None = None) -> None:
    try:
        while data := receive(65536):
            send(data)
        if end:
            end.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
