"""Where the metrics go: statsd datagrams and the stats bridge's `POST /http` on one port; only counters are added up.

Usage: sink.py PORT. `GET /counts` answers with the sums as JSON. Nothing else is kept: it must cost little.
"""

import asyncio
import json
import sys
from collections import Counter

counts: Counter = Counter()


class Statsd(asyncio.DatagramProtocol):
    def datagram_received(self, data, _address):
        for line in data.decode(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            value, _, kind = rest.partition("|")
            if kind == "c":
                counts[name] += float(value)


class Bridge(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (request := self._next_request()) is not None:
            head, body = request
            if head.startswith(b"GET /counts"):
                return self._answer(json.dumps(counts).encode())
            counts.update(json.loads(body or b"{}").get("counters", {}))
            self._answer(b"{}")

    def _next_request(self):
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0]) if lengths else 0
        if len(rest) < length:
            return None
        self.buffer = rest[length:]
        return head, rest[:length]

    def _answer(self, body):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Statsd, local_addr=("127.0.0.1", port))
    server = await loop.create_server(Bridge, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
