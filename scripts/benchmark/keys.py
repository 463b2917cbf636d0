"""The keys that every peer holds: the same ones each time, written in each peer's own form."""

import hashlib
import json
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CREATED = 1_705_746_600  # 2024-01-20T10:30:00Z


# Everything that a key may be bound to, so wide that no request of the benchmark is refused.
POLICY = {
    "user_id": "user_1",
    "environment": "production",
    "key_prefix": "hk_live_abc",
    "rate_limit_per_hour": 100_000,
    "burst": 100_000,
    "limits": [{"name": "day", "limit": 1_000_000_000, "window_seconds": 86_400}],
    "allowed_ips": [f"10.{n}.0.0/16" for n in range(20)],
    "scopes": ["users:read", "invoices:*", "orders:*"],
}
# What a request says of itself to hold against that.
ASKED = {"client_ip": "10.19.0.1", "required_scopes": ["orders:write"]}


@dataclass(frozen=True)
class Key:
    id: str
    secret: str
    name: str
    metadata: dict

    def answer(self, with_policy: bool = False) -> str:
        """The body of a good verify."""
        members = {"valid": True, "key_id": self.id, "name": self.name, "metadata": self.metadata}
        if with_policy:
            members |= {name: POLICY[name] for name in ("user_id", "environment", "scopes")}
        return json.dumps(members, separators=(",", ":"))

    def record(self) -> dict:
        """The key as heare-auth's document holds it."""
        return {
            "id": self.id,
            "secret_hash": "sha256:" + hashlib.sha256(self.secret.encode()).hexdigest(),
            "name": self.name,
            "secret_type": "shared_secret",
            "created_at": "2024-01-20T10:30:00Z",
            "metadata": self.metadata,
        }


def make(count: int) -> list[Key]:
    source = random.Random(count)
    return [_make_one(source, number) for number in range(count)]


def write_document(keys: list[Key], path: Path, policy: dict | None = None) -> None:
    """heare-auth's document in its file store, each key bound to that policy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = ",\n".join(json.dumps(key.record() | (policy or {}), separators=(",", ":")) for key in keys)
    whole = path.with_suffix(".new")
    whole.write_text('{"keys":[\n' + records + "\n]}\n")
    whole.chmod(0o600)
    whole.rename(path)


def write_secrets(keys: list[Key], path: Path) -> None:
    """What the load generator presents, one a line."""
    path.write_text("".join(key.secret + "\n" for key in keys))


def _make_one(source: random.Random, number: int) -> Key:
    time = _base62(CREATED + number, 8)
    body = "sec_0" + time + _text(source, 45)
    secret = body + _base62(zlib.crc32(body.encode()), 6)
    metadata = {"team": f"team-{number % 97:02}", "environment": "production"}
    return Key("key_0" + time + _text(source, 10), secret, f"service-{number:06}", metadata)


def _text(source: random.Random, length: int) -> str:
    return "".join(source.choices(ALPHABET, k=length))


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits.rjust(width, "0")
