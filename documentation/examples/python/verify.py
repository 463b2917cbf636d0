#!/usr/bin/env python3
"""Asks heare-auth whether an API key is good, with nothing but Python's standard library.

    echo "$KEY" | HEARE_AUTH_URL=http://localhost:8080 python3 verify.py [CLIENT_IP [SCOPE...]]

Exit code 0: good, the answer is printed. 1: refused. 2: nobody could say, which must be treated like a refusal.
In a program of your own, import `verify`.
"""

import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.parse
from typing import NamedTuple, Optional

ATTEMPT_SECONDS = 2.0
TOTAL_SECONDS = 5.0
ATTEMPTS = 3
MAX_ANSWER_BYTES = 1024 * 1024

# What to answer one's own client, by the code of a refusal; any other code is a key that is no good.
STATUS_OF_CODE = {"ip_not_allowed": 403, "insufficient_scope": 403, "rate_limited": 429}


class Verdict(NamedTuple):
    """`allowed` is true only for a good key; `status` is what to answer one's own client."""

    allowed: bool
    status: int
    code: str
    answer: dict
    retry_after: Optional[int]


def verify(api_key, client_ip=None, required_scopes=()):
    """Never raises for an outage: then `allowed` is false and `status` is 503."""
    request = {"api_key": api_key}
    if client_ip:
        request["client_ip"] = client_ip
    if required_scopes:
        request["required_scopes"] = list(required_scopes)
    body = json.dumps(request).encode()
    deadline = time.monotonic() + TOTAL_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        status, answer, retry_after = _ask(body, deadline)
        verdict = _verdict(status, answer, retry_after)
        if verdict:
            return verdict
        pause = 0.2 if retry_after is None else retry_after
        may_pass = status is None or status >= 500
        if not may_pass or attempt == ATTEMPTS or time.monotonic() + pause >= deadline:
            break
        time.sleep(pause)
    return Verdict(False, 503, "unavailable", {}, retry_after)


def _verdict(status, answer, retry_after):
    if status == 200 and answer.get("valid") is True:
        return Verdict(True, 200, "good", answer, None)
    if status in (403, 429) and answer.get("valid") is False:
        code = str(answer.get("code", "invalid"))
        return Verdict(False, STATUS_OF_CODE.get(code, 401), code, answer, retry_after)
    if status in (413, 422):
        return Verdict(False, 401, "malformed", {}, None)
    return None


def _ask(body, deadline):
    """Status, answer and Retry-After of one attempt. No redirect is followed and no proxy is used: both would get the key."""
    seconds = min(ATTEMPT_SECONDS, deadline - time.monotonic())
    if seconds <= 0:
        return None, {}, None
    ends = time.monotonic() + seconds
    url = urllib.parse.urlsplit(os.environ.get("HEARE_AUTH_URL", "http://localhost:8080"))
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=seconds)
    end = None
    try:
        connection.connect()
        # A socket's own time limit begins anew with each byte; this one does not.
        end = threading.Timer(max(0, ends - time.monotonic()), _shut, [connection.sock])
        end.daemon = True
        end.start()
        connection.request("POST", "/verify", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read(MAX_ANSWER_BYTES)
        if response.length:
            return None, {}, None  # It broke off, or is longer than any answer.
        retry_after = response.headers.get("Retry-After", "")
        seconds = int(retry_after) if retry_after.isdecimal() else None
        return response.status, _json_object(text), seconds
    except (OSError, http.client.HTTPException):
        return None, {}, None
    finally:
        if end:
            end.cancel()
        connection.close()


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is closed already.


def _json_object(text):
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def main():
    client_ip, scopes = (sys.argv[1] if len(sys.argv) > 1 else None), sys.argv[2:]
    verdict = verify(sys.stdin.readline().strip(), client_ip, scopes)
    if verdict.allowed:
        print(json.dumps(verdict.answer))
        return 0
    wait = f", Retry-After: {verdict.retry_after}" if verdict.retry_after is not None else ""
    print(f"not allowed: {verdict.code} (answer {verdict.status}{wait})")
    return 2 if verdict.status == 503 else 1


if __name__ == "__main__":
    sys.exit(main())
