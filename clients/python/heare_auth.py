"""Asks heare-auth whether API keys are good: one file for Python 3.8 or later, with nothing but its standard library.

    client = heare_auth.Client("https://auth.example.com")
    try:
        key = client.verify(api_key, client_ip=peer, required_scopes=["orders:read"])
    except heare_auth.NotAllowed as refusal:
        answer with refusal.status, and Retry-After when refusal.retry_after is a number

Whoever forgets to look at the outcome lets nobody in: what is not a good key is an exception. One client serves all
threads of a process, and starts afresh in a process that is forked.

Answers are remembered for a few seconds, under a digest that is worth nothing elsewhere; the key itself is not kept.
Those for keys with limits never are, because each use has to be counted.
"""

import collections
import datetime
import hashlib
import hmac
import http.client
import io
import json
import os
import random
import secrets
import socket
import ssl
import threading
import time
import urllib.parse
import weakref

__all__ = ["Client", "Key", "NotAllowed", "Refused", "Unavailable"]

# The longest that a good answer may be used, whatever a client is told: a revoked key works no longer than this.
LONGEST_MAX_AGE = 60.0

MAX_ANSWER_BYTES = 1024 * 1024
MAX_KEY_CHARACTERS = 1024
HEADERS = {"Content-Type": "application/json", "User-Agent": "heare-auth-python"}
FIRST_PAUSE = 0.05
IDLE_SECONDS = 30.0

# What to answer one's own client, by the code of a refusal.
STATUS_OF_CODE = {
    "invalid": 401,
    "revoked": 401,
    "expired": 401,
    "malformed": 401,
    "ip_not_allowed": 403,
    "insufficient_scope": 403,
    "rate_limited": 429,
}
REMEMBERED_CODES = ("invalid", "revoked", "expired", "ip_not_allowed", "insufficient_scope")
LIMIT_HEADERS = ("X-RateLimit-Limit", "RateLimit-Policy", "RateLimit")


class Key:
    """Whose a good key is. `answer` is all that the service said."""

    def __init__(self, answer):
        self.answer = answer
        self.key_id = answer["key_id"]
        self.name = answer.get("name")
        self.metadata = answer.get("metadata") or {}
        self.user_id = answer.get("user_id")
        self.environment = answer.get("environment")
        self.scopes = tuple(answer.get("scopes") or ())
        # Set when the key's holder still uses a secret that was replaced: it ends then.
        self.previous_expires_at = answer.get("previous_expires_at")

    def __repr__(self):
        return f"Key({self.key_id!r}, name={self.name!r})"


class NotAllowed(Exception):
    """`status` is what to answer one's own client, `code` the reason, `retry_after` seconds to wait or None."""

    def __init__(self, code, status, retry_after=None, required_scopes=()):
        super().__init__(f"the API key is not let in: {code}")
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.required_scopes = tuple(required_scopes)

    def again(self):
        """An equal one for another caller: exceptions carry their raiser's traceback."""
        return type(self)(self.code, self.status, self.retry_after, self.required_scopes)


class Refused(NotAllowed):
    """The service said no."""


class Unavailable(NotAllowed):
    """Nobody could say. That is not a yes."""


class Client:
    """All times are in seconds. `max_age` is how long a good answer may be used, counted from before it was asked for; 0
    remembers nothing. `ssl_context` is for a certificate that the system does not trust."""

    def __init__(
        self,
        url=None,
        *,
        max_age=5.0,
        max_age_refused=1.0,
        max_entries=10_000,
        attempt_seconds=2.0,
        total_seconds=5.0,
        attempts=3,
        idle_connections=16,
        ssl_context=None,
    ):
        if not 0 <= max_age_refused <= max_age <= LONGEST_MAX_AGE:
            raise ValueError(f"max_age is at most {LONGEST_MAX_AGE:g} seconds, and max_age_refused not above it")
        if not 0 < attempt_seconds <= total_seconds or attempts < 1 or max_entries < 1:
            raise ValueError("attempts, max_entries and all times are above 0, and one attempt is not longer than all")
        self._peer = _Peer(url or os.environ.get("HEARE_AUTH_URL", "http://localhost:8080"), ssl_context)
        self._max_age, self._max_age_refused = max_age, max_age_refused
        self._max_entries, self._idle_connections = max_entries, idle_connections
        self._attempt_seconds, self._total_seconds, self._attempts = attempt_seconds, total_seconds, attempts
        self._start_afresh()
        if hasattr(os, "register_at_fork"):
            # A forked process shares sockets with its parent: each would read answers that are for the other.
            itself = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: itself() and itself()._start_afresh())

    def verify(self, api_key, client_ip=None, required_scopes=(), cost=1, endpoint=None):
        """The `Key` of a good key, at most `total_seconds` later; else raises `Refused` or `Unavailable`."""
        if not _may_be_a_key(api_key):
            raise Refused("malformed", 401)
        question = {"api_key": api_key}
        if client_ip:
            question["client_ip"] = str(client_ip)
        if required_scopes:
            question["required_scopes"] = sorted(set(required_scopes))
        digest = self._digest(question)
        if cost != 1:
            question["cost"] = cost
        if endpoint:
            question["endpoint"] = endpoint
        deadline = time.monotonic() + self._total_seconds
        outcome = self._remembered_or_asked(digest, json.dumps(question).encode(), deadline)
        if isinstance(outcome, NotAllowed):
            raise outcome.again() from None
        return Key(json.loads(outcome))

    def forget_all(self):
        """Nothing that was asked before this call is used after it; for who learns of a revocation."""
        with self._lock:
            self._good, self._refused = _Memory(self._max_entries), _Memory(self._max_entries)
            self._limited, self._flights = _Memory(self._max_entries), {}

    def close(self):
        """Closes idle connections. The client can be used again."""
        with self._lock:
            idle, self._idle = self._idle, collections.deque()
        for connection, _ in idle:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start_afresh(self):
        self._lock = threading.Lock()
        self._digest_key = secrets.token_bytes(32)
        self._idle = collections.deque()
        self.forget_all()

    def _digest(self, question):
        # Keyed by a number that this process alone knows, so that not even a guess can be checked against it elsewhere.
        text = json.dumps(question, sort_keys=True).encode()
        return hmac.new(self._digest_key, text, hashlib.sha256).digest()

    def _remembered_or_asked(self, digest, body, deadline):
        with self._lock:
            is_limited = self._limited.get(digest) is not None
            outcome = self._good.get(digest) or self._refused.get(digest)
            flight = self._flights.get(digest)
            is_first = flight is None
            if outcome is None and not is_limited and is_first:
                flight = self._flights[digest] = _Flight()
        if is_limited:
            return self._ask(body, deadline)[0]
        if outcome is not None:
            return outcome
        if is_first:
            return self._lead(flight, digest, body, deadline)
        if not flight.ended.wait(max(0.0, deadline - time.monotonic())):
            return Unavailable("unavailable", 503)
        # Where limits apply, the answer that was waited for was another's use of the key.
        return self._ask(body, deadline)[0] if flight.is_limited else flight.outcome

    def _lead(self, flight, digest, body, deadline):
        """Asks for all who want to know the same meanwhile."""
        try:
            asked_at = _now()
            flight.outcome, flight.is_limited = self._ask(body, deadline)
            self._remember(flight, digest, asked_at)
            return flight.outcome
        finally:
            with self._lock:
                if self._flights.get(digest) is flight:
                    del self._flights[digest]
            flight.ended.set()

    def _remember(self, flight, digest, asked_at):
        outcome, max_age = flight.outcome, self._max_age
        with self._lock:
            if self._flights.get(digest) is not flight:
                return  # It began before `forget_all`.
            if flight.is_limited:
                self._limited.put(digest, True, asked_at, LONGEST_MAX_AGE)
            elif isinstance(outcome, bytes):
                self._good.put(digest, outcome, asked_at, max_age, _ends(json.loads(outcome)))
            elif outcome.code in REMEMBERED_CODES and outcome.status != 503:
                self._refused.put(digest, outcome, asked_at, self._max_age_refused)

    def _ask(self, body, deadline):
        """The good answer's text or a `NotAllowed`, and whether limits apply to the key."""
        retry_after = None
        for attempt in range(self._attempts):
            answer = self._attempt(body, min(deadline, time.monotonic() + self._attempt_seconds))
            outcome = answer and _judge(answer)
            if outcome:
                return outcome, answer.is_limited
            retry_after = answer.retry_after if answer else None
            if answer and answer.status < 500 or attempt + 1 == self._attempts:
                break
            # Jitter, so that many clients do not come back at the same moment.
            pause = (retry_after or 0) + random.uniform(0, FIRST_PAUSE * 2**attempt)
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        return Unavailable("unavailable", 503, retry_after), False

    def _attempt(self, body, ends):
        """One whole answer, or None. No redirect is followed and no proxy is used: both would get the key."""
        connection = self._idle_connection()
        try:
            if connection is None:
                connection = self._peer.connect(ends)
            connection.sock.ends = ends
            connection.request("POST", self._peer.path, body, HEADERS)
            response = connection.getresponse()
            text = response.read(MAX_ANSWER_BYTES)
            is_whole = response.isclosed() or response.length == 0
        except (OSError, http.client.HTTPException, ValueError):
            if connection is not None:
                connection.close()
            return None
        if not is_whole:
            connection.close()
            return None
        if connection.sock is not None:
            self._keep(connection)
        return _Answer(response.status, response.headers, text)

    def _idle_connection(self):
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and connection.sock.is_quiet():
                return connection
            connection.close()

    def _keep(self, connection):
        with self._lock:
            if len(self._idle) < self._idle_connections:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


class _Flight:
    """One question on its way, and what came of it. If the thread that asks dies of something else, nobody is let in."""

    def __init__(self):
        self.ended = threading.Event()
        self.outcome = Unavailable("unavailable", 503)
        self.is_limited = False


class _Memory:
    """The newest answers, each until its time is over. The lock of the client is held around every call."""

    def __init__(self, max_entries):
        self._max_entries = max_entries
        self._entries = collections.OrderedDict()

    def get(self, digest):
        entry = self._entries.get(digest)
        if entry is None:
            return None
        value, asked_at, max_age, ends = entry
        now = _now()
        # Of two clocks: one stands still while the machine sleeps, the other may be set. A doubt is an age.
        is_young = all(0 <= here - then < max_age for here, then in zip(now, asked_at))
        if is_young and (ends is None or now[1] < ends):
            return value
        del self._entries[digest]
        return None

    def put(self, digest, value, asked_at, max_age, ends=None):
        if max_age <= 0:
            return
        self._entries.pop(digest, None)
        self._entries[digest] = (value, asked_at, max_age, ends)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def __len__(self):
        return len(self._entries)


class _Answer:
    def __init__(self, status, headers, text):
        self.status, self.text = status, text
        self.is_limited = any(name in headers for name in LIMIT_HEADERS)
        self.retry_after = _seconds(headers.get("Retry-After"))
        self.json = _json_object(text)


class _Peer:
    """Where the service is, and connections to it."""

    def __init__(self, url, ssl_context):
        parts = urllib.parse.urlsplit(url)
        is_plain = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
            raise ValueError("the URL of heare-auth is http:// or https:// with a host, and no user, query or fragment")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._is_tls else 80)
        self._context = (ssl_context or ssl.create_default_context()) if self._is_tls else None
        self.path = parts.path.rstrip("/") + "/verify"

    def connect(self, ends):
        connection = http.client.HTTPConnection(self._host, self._port)
        sock = self._open(ends)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context:
            sock.settimeout(_left(ends))
            sock = self._context.wrap_socket(sock, server_hostname=self._host)
        connection.sock = _Socket(sock)
        return connection

    def _open(self, ends):
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                # One address that swallows everything leaves time for the others.
                sock.settimeout(_left(ends) / (len(addresses) - at))
                sock.connect(address)
                return sock
            except OSError:
                sock.close()
                if at + 1 == len(addresses):
                    raise
        raise OSError("the host has no address")


class _Socket:
    """What http.client needs of a socket, with one time for all of an answer: a socket's own begins anew with each byte."""

    def __init__(self, sock):
        self._sock, self.ends = sock, 0.0

    def sendall(self, data):
        self._sock.settimeout(_left(self.ends))
        self._sock.sendall(data)

    def makefile(self, _mode):
        return io.BufferedReader(_Reader(self, self._sock))

    def is_quiet(self):
        """False when the peer has closed it, or said something that nobody asked for and that would be the next answer."""
        try:
            self._sock.settimeout(0)
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            pass
        return False

    def close(self):
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner, sock):
        self._owner, self._sock, self._raw = owner, sock, sock.makefile("rb", buffering=0)

    def readable(self):
        return True

    def readinto(self, buffer):
        self._sock.settimeout(_left(self._owner.ends))
        return self._raw.readinto(buffer)

    def close(self):
        self._raw.close()
        super().close()


def _judge(answer):
    """The text of a good answer, a `Refused`, or None where the answer says nothing about the key."""
    said, status = answer.json, answer.status
    if status == 200 and said.get("valid") is True and isinstance(said.get("key_id"), str):
        return answer.text
    if status in (403, 429) and said.get("valid") is False:
        code = said.get("code", "invalid")
        code = code if code in STATUS_OF_CODE else "invalid"
        scopes = said.get("required_scopes")
        scopes = scopes if isinstance(scopes, list) else ()
        return Refused(code, STATUS_OF_CODE[code], answer.retry_after if status == 429 else None, scopes)
    if status == 422 and said.get("error"):
        return Refused("malformed", 401) if _is_about_the_key(said) else Unavailable("bad_question", 500)
    return None


def _is_about_the_key(said):
    details = said.get("detail")
    first = details[0] if isinstance(details, list) and details else {}
    location = first.get("loc") if isinstance(first, dict) else None
    return isinstance(location, list) and location[-1:] == ["api_key"]


def _may_be_a_key(api_key):
    """Text that fits. A header may have brought anything."""
    if not isinstance(api_key, str) or not 0 < len(api_key) <= MAX_KEY_CHARACTERS:
        return False
    try:
        api_key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ends(answer):
    """When the earliest end that the service told is reached, in seconds since 1970. One that cannot be read is now."""
    told = [answer[name] for name in ("expires_at", "previous_expires_at") if answer.get(name) is not None]
    try:
        ends = [datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) for text in told]
        return min((end.timestamp() for end in ends), default=None)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return 0.0


def _seconds(text):
    return int(text) if text and len(text) < 10 and text.isascii() and text.isdecimal() else None


def _json_object(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _now():
    return time.monotonic(), time.time()


def _left(ends):
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
