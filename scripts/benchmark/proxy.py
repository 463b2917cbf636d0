"""A TCP proxy whose far end can be taken away: it refuses, swallows or trickles, as its `mode` says."""

import socket
import threading
import time
from collections.abc import Callable

PASS, REFUSE, SWALLOW, TRICKLE = "pass", "refuse", "swallow", "trickle"
# A trickling answer starts late and comes at some 200 KiB a second.
DELAY, PIECE, PAUSE = 0.3, 4096, 0.02


class Proxy:
    """Listens on a port of its own. Threads do, as there is little to carry."""

    def __init__(self, target: int):
        self.target, self.mode = target, PASS
        self._open: set[socket.socket] = set()
        self._listener = _listen(0)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def set(self, mode: str) -> None:
        """From now on; what was connected before is cut, so that nothing goes past the fault."""
        if mode == REFUSE:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        elif self.mode == REFUSE:
            self._listener = _listen(self.port)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        self.mode = mode
        for connection in list(self._open):
            _cut(connection)

    def _accept(self, listener: socket.socket) -> None:
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
                return
            with socket.create_connection(("127.0.0.1", self.target)) as far:
                send = self._trickle(near) if self.mode == TRICKLE else near.sendall
                threading.Thread(target=_copy, args=(near.recv, far.sendall, far), daemon=True).start()
                _copy(far.recv, send)
        except OSError:
            pass
        finally:
            self._open.discard(near)
            near.close()

    @staticmethod
    def _trickle(near: socket.socket) -> Callable[[bytes], None]:
        def send(data: bytes) -> None:
            time.sleep(DELAY)
            for start in range(0, len(data), PIECE):
                near.sendall(data[start : start + PIECE])
                time.sleep(PAUSE)

        return send


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
