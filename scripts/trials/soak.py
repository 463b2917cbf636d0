"""Mixed load for a long time while one thing after the other fails; no wrong answer, no late one, and no growth of anything.

Writes target/soak/{soak.md,soak.svg,samples.csv}. Ends with 1 when an answer was wrong, something has grown, answers came
later than promised, or a trouble was none to the service.
"""

import argparse
import csv
import http.client
import itertools
import json
import os
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import chart
import ground
from ground import HOST, ROOT, Ground, call, secret_of
from process import stop_all, version_of
from proxy import PASS, REFUSE, SWALLOW, TRICKLE
from report import middle_half

KEYS = 2000
POINTS = 400
# What may come on top of the third quarter's memory in the last one, whichever is more; descriptors beside.
MEMORY_FACTOR, MEMORY_MIB, DESCRIPTORS = 1.03, 1.5, 8
# Three minutes are too short to level off in: there both may come on top of the second quarter's.
SHORT_FACTOR, SHORT_MIB = 1.10, 4.0
# Parts of the run, for when its memory was level from.
PARTS = 32
# The promise: the 99th percentile at most so many times the calm one, or so many milliseconds more where Redis is in trouble.
FACTOR, REDIS_MS = 2.0, 50.0
# Milliseconds after which a verify has waited for something; far from what a busy machine needs, and less than a trouble lasts.
HANGING_MS = 3000.0
# Seconds below which a run is a short one.
LONG_ENOUGH = 1200
STOPPED = "stopped and continued"
# What the service tells of troubles, and that they are over.
TOLD = [
    ("poll_failed", "poll_recovered"),
    ("ratelimit_degraded", "ratelimit_recovered"),
    ("usage_failed", "usage_recovered"),
    ("bridge_failed", "bridge_recovered"),
]


@dataclass
class Seen:
    """What all who ask have seen since the last sample."""

    took: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    answers: int = 0
    # How often each kind of load has come to its end.
    rounds: Counter[str] = field(default_factory=Counter)


class Load:
    """Threads that ask as services, guessers, operators and people do, and know which answers are right."""

    def __init__(self, port: int):
        self.port, self.going, self.lock, self.seen = port, True, threading.Lock(), Seen()
        # Since when each thread waits for an answer.
        self.waiting: dict[int, float] = {}
        # What is down now, and what management and logins may still show of it.
        self.trouble = self.excuse = ""
        self.made: dict | None = None
        several = [self.plain, self.plain, self.plain, self.limited, self.unknown, self.batch, self.operator, self.person]
        self.kinds = list(dict.fromkeys(kind.__name__ for kind in several))
        self.threads = [threading.Thread(target=self._ask, args=(kind,), daemon=True) for kind in several]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.going = False
        for thread in self.threads:
            thread.join(40)

    def take(self) -> Seen:
        """A verify without an answer counts, too, as long as it waits already: or none would be late while all of them hang."""
        with self.lock:
            seen, self.seen = self.seen, Seen()
            waited = [time.monotonic() - since for since in self.waiting.values()]
        seen.took += [each for each in waited if each > 1.0 or not seen.took]
        return seen

    def complain(self, of: str) -> None:
        with self.lock:
            self.seen.wrong.append(of)

    def _ask(self, kind) -> None:
        random_one, connection = random.Random(kind.__name__), None
        while self.going:
            try:
                connection = connection or http.client.HTTPConnection(HOST, self.port, timeout=30)
                problem = kind(connection, random_one)
            except Exception as error:
                problem, connection = f"{kind.__name__}: {error!r}", None
            with self.lock:
                self.waiting.pop(threading.get_ident(), None)
                self.seen.rounds[kind.__name__] += 1
            if problem:
                self.complain(problem)

    def verify(self, connection, body: dict, path: str = "/verify") -> int:
        began = time.monotonic()
        with self.lock:
            self.waiting[threading.get_ident()] = began
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        with self.lock:
            del self.waiting[threading.get_ident()]
            self.seen.took.append(time.monotonic() - began)
            self.seen.answers += 1
        time.sleep(0.01)
        return answer.status

    def expect(self, connection, body: dict, status: int, path: str = "/verify") -> str | None:
        found = self.verify(connection, body, path)
        return None if found == status else f"{path} {found} instead of {status}"

    def plain(self, connection, pick) -> str | None:
        return self.expect(connection, {"api_key": secret_of(f"key_{pick.randrange(KEYS)}")}, 200)

    def limited(self, connection, pick) -> str | None:
        return self.expect(connection, {"api_key": secret_of("key_limited")}, 200)

    def unknown(self, connection, pick) -> str | None:
        return self.expect(connection, {"api_key": f"sec_guess_{pick.random()}"}, 403)

    def batch(self, connection, pick) -> str | None:
        several = [{"api_key": secret_of(f"key_{pick.randrange(KEYS)}")} for _ in range(20)]
        time.sleep(0.2)
        return self.expect(connection, {"requests": several}, 200, "/verify/batch")

    def operator(self, _, pick) -> str | None:
        """Makes a key, and then revokes it and takes that back, each in force at once. So the document stays as long as it is."""
        time.sleep(1.0)
        admin = secret_of("key_admin")
        if not self.made:
            status, made = call(self.port, "POST", "/api/v1/auth/keys", {"name": f"soak {pick.random()}"}, admin)
            if status != 201:
                return self._excused("create", status, "S3", "the document")
            self.made = made
        place = f"/api/v1/auth/keys/{self.made['key_id']}"
        for method, path, right in (("DELETE", place, 403), ("POST", f"{place}/reactivate", 200)):
            status, _ = call(self.port, method, path, None, admin)
            if status != 200:
                return self._excused(f"{method} {path}", status, "S3", "the document")
            status, _ = call(self.port, "POST", "/verify", {"api_key": self.made["key"]})
            # What was written while it cannot be read back is in force when that is over.
            if status != right and not self.excuse.startswith(("S3", "the document")):
                return f"after {method} {path} it is {status}"
        return None

    def person(self, _, pick) -> str | None:
        """Registers and logs in. Nobody guesses: all come from one address, which would have to wait."""
        time.sleep(2.0)
        login = f"p{pick.randrange(10**12)}"
        body = {"login": login, "password": "a pass phrase of somebody"}
        for path, right in (("/api/register", (200, 201)), ("/api/login", (200,))):
            status, _ = call(self.port, "POST", path, body)
            if status not in right:
                return self._excused(path, status, "PostgreSQL", "Redis")
        return None

    def _excused(self, what: str, status: int, *may_be_down: str) -> str | None:
        """503 is right while what is needed is down, and briefly after."""
        down = any(self.excuse.startswith(name) for name in may_be_down)
        return None if status == 503 and down else f"{what}: {status} while {self.excuse or 'all is well'}"


class Troubles:
    """What goes wrong, one after the other, and back."""

    def __init__(self, place: Ground, load: Load):
        self.place, self.load = place, load
        far = [(name, mode) for mode in (REFUSE, SWALLOW, TRICKLE) for name in place.far_ends]
        self.all = [(f"{name} {_verb(mode)}", self._far_end(name, mode)) for name, mode in far]
        self.all += [
            ("refreshes without a pause", self._refreshes),
            ("half-open requests", self._half_open),
            (STOPPED, self._stopped),
            ("the document is rubbish", self._rubbish),
        ]

    def _far_end(self, name: str, mode: str):
        def trouble(seconds: float) -> None:
            self.place.far_ends[name].set(mode)
            time.sleep(seconds)
            self.place.far_ends[name].set(PASS)

        return trouble

    def _refreshes(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            status, _ = call(self.place.port, "POST", "/refresh")
            if status != 200:
                self.load.complain(f"/refresh: {status}")

    def _half_open(self, seconds: float) -> None:
        open_ones = [socket.create_connection((HOST, self.place.port)) for _ in range(300)]
        for connection in open_ones:
            connection.sendall(b"POST /verify HTTP/1.1\r\nHost: x\r\nContent-Le")
        time.sleep(seconds)
        for connection in open_ones:
            connection.close()

    def _stopped(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            os.kill(self.place.service.pid, signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(self.place.service.pid, signal.SIGCONT)
            time.sleep(0.7)

    def _rubbish(self, seconds: float) -> None:
        """Somebody overwrites the document, and puts back what was there."""
        connection = http.client.HTTPConnection(HOST, self.place.weed.port, timeout=30)
        connection.request("GET", f"/{ground.BUCKET}/keys.json")
        before = connection.getresponse().read()
        self.place.weed.put("keys.json", b"<html>Please sign in</html>")
        time.sleep(seconds)
        self.place.weed.put("keys.json", before)


def _verb(mode: str) -> str:
    return {REFUSE: "refuses", SWALLOW: "swallows", TRICKLE: "trickles"}[mode]


def sample(place: Ground, load: Load, began: float) -> dict:
    seen = load.take()
    took = sorted(seen.took) or [0.0]
    return {
        "second": round(time.monotonic() - began, 1),
        "trouble": load.trouble,
        "answers": seen.answers,
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[min(len(took) - 1, len(took) * 99 // 100)] * 1000, 2),
        "max_ms": round(took[-1] * 1000, 2),
        "resident_mib": round(place.service.resident_kib() / 1024, 2),
        "descriptors": len(os.listdir(f"/proc/{place.service.pid}/fd")),
        "wrong": len(seen.wrong),
        "first_wrong": seen.wrong[0] if seen.wrong else "",
    } | {kind: seen.rounds[kind] for kind in load.kinds}


def run(place: Ground, load: Load, seconds: float, each: float) -> tuple[list[dict], list[tuple[float, float, str]]]:
    troubles, samples, bars = Troubles(place, load), [], []
    began = time.monotonic()
    load.start()
    going = True

    def sampling() -> None:
        while going:
            time.sleep(1.0)
            samples.append(sample(place, load, began))

    sampler = threading.Thread(target=sampling, daemon=True)
    sampler.start()
    turn = 0
    while (left := seconds - (time.monotonic() - began)) > each:
        name, trouble = troubles.all[turn % len(troubles.all)]
        turn += 1
        print(f"{time.monotonic() - began:6.0f} s  {name}", file=sys.stderr, flush=True)
        # Half the time all is well, so that everything has to come back each time.
        load.trouble, load.excuse, start = name, name, time.monotonic() - began
        trouble(min(each, left) / 2)
        load.trouble = ""
        bars.append((start, time.monotonic() - began, name))
        # A circuit that has opened closes within a few seconds; until then 503 is still right.
        time.sleep(min(each, left) / 2)
        load.excuse = ""
    going = False
    sampler.join()
    load.stop()
    samples.append(sample(place, load, began))
    return samples, bars


# What is asked of the run, whether it is so if that was judged, and how it was.
Verdict = tuple[str, bool | None, str]


def verdicts(samples: list[dict], kinds: list[str], is_short: bool) -> list[Verdict]:
    """By the third quarter everything has been used often; what still grows from there on is a leak."""
    wrong = sum(one["wrong"] for one in samples)
    first = next((one["first_wrong"] for one in samples if one["first_wrong"]), "")
    descriptors = quarters(samples, "descriptors")
    silent = [kind for kind in kinds if not all(sum(one[kind] for one in quarter) for quarter in cut(samples))]
    slowest = max(one["max_ms"] for one in samples if one["trouble"] != STOPPED)
    return [
        ("every answer is right", wrong == 0, f"{wrong} wrong of {sum(one['answers'] for one in samples)} {first}".strip()),
        ("everybody goes on asking", not silent, f"not in every quarter: {', '.join(silent)}" if silent else f"{len(kinds)} kinds"),
        ("no verify waits for anything", slowest <= HANGING_MS, f"the slowest has its answer after {slowest:.0f} ms, {HANGING_MS:.0f} would be too many"),
        memory_verdict(samples, is_short),
        ("descriptors do not grow", descriptors[3] <= descriptors[2] + DESCRIPTORS, told(descriptors, "{:.0f}", "")),
    ]


def told_verdict(log: Path) -> Verdict:
    """The troubles were ones to the service: it has told of each kind, and in the end that it is over."""
    last: dict[str, str] = {}
    pairs = {event: pair for pair in TOLD for event in pair}
    with open(log) as lines:
        for line in lines:
            if (found := re.search(r'"event":"(\w+)"', line)) and (pair := pairs.get(found[1])):
                last[pair[0]] = found[1]
    missing = [f"{begun} ({last.get(begun, 'never')})" for begun, over in TOLD if last.get(begun) != over]
    return "each trouble is told, and that it is over", not missing, ", ".join(missing or (begun for begun, _ in TOLD))


def memory_verdict(samples: list[dict], is_short: bool) -> Verdict:
    memory = quarters(samples, "resident_mib")
    how = told(memory, "{:.1f}", " MiB")
    if is_short:
        bound = memory[1] * SHORT_FACTOR + SHORT_MIB
        how += f", so short a run may end {bound - memory[1]:.1f} MiB above its second quarter"
    else:
        bound = max(memory[2] * MEMORY_FACTOR, memory[2] + MEMORY_MIB)
        how += f", the last may be {bound - memory[2]:.1f} MiB above the third; {levels_off(samples, memory[3])}"
    return "memory does not grow", memory[3] <= bound, how


def levels_off(samples: list[dict], level: float) -> str:
    """From when on the memory stays as near to that of the last quarter as this may lie above the third."""
    near = max(level * (MEMORY_FACTOR - 1), MEMORY_MIB)
    parts = [samples[at * len(samples) // PARTS : (at + 1) * len(samples) // PARTS] for at in range(PARTS)]
    since = None
    for part in (part for part in parts if part):
        is_near = abs(middle(part, "resident_mib") - level) <= near
        since = (part[0]["second"] if since is None else since) if is_near else None
    return "it does not level off" if since is None else f"level at {level:.1f} MiB from {since / 60:.0f} min on"


def quarters(samples: list[dict], name: str) -> list[float]:
    """The median of each quarter of the run."""
    return [middle(quarter or samples, name) for quarter in cut(samples)]


def cut(samples: list[dict]) -> list[list[dict]]:
    cuts = [at * len(samples) // 4 for at in range(5)]
    return [samples[begin:end] for begin, end in zip(cuts, cuts[1:])]


def middle(some: list[dict], name: str) -> float:
    return statistics.median(one[name] for one in some)


def told(values: list[float], form: str, unit: str) -> str:
    return " → ".join(form.format(value) for value in values) + f"{unit} in the quarters"


def in_trouble(samples: list[dict], names: list[str]) -> list[tuple[str, float, float, str]]:
    """For each trouble the 99th percentile, its ratio to the calm one, and whether that is within what is promised."""
    calm = [one for one in samples if not one["trouble"]] or samples
    usual = middle(calm, "p99_ms")
    low, high = spread(samples)
    found = []
    for name in names:
        during = [one for one in samples if one["trouble"] == name]
        if not during:
            continue
        p99 = middle(during, "p99_ms")
        bound = usual + REDIS_MS if name.startswith("Redis") else usual * FACTOR
        verdict = "yes" if p99 <= bound else f"unclear, calm {low:.1f}–{high:.1f} ms" if high > low * FACTOR else "**no**"
        found.append((name, p99, p99 / max(usual, 0.01), "it is stopped itself" if name == STOPPED else verdict))
    return found


def spread(samples: list[dict]) -> tuple[float, float]:
    """Between which the middle half of all rests lies; where those differ much, others were at work."""
    rests = [list(some) for trouble, some in itertools.groupby(samples, key=lambda one: one["trouble"]) if not trouble]
    return middle_half([middle(rest, "p99_ms") for rest in rests if len(rest) > 1] or [0.0])


def report(directory: Path, samples: list[dict], bars, seconds: float, version: str, found: list[Verdict]) -> bool:
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "samples.csv", "w", newline="") as file:
        table = csv.DictWriter(file, samples[0].keys())
        table.writeheader()
        table.writerows(samples)
    # The last one is of what came after the load had ended; of several seconds that share a point, the highest is drawn.
    drawn = samples[:-1] or samples
    together = 1 + len(drawn) // POINTS
    column = lambda name: [max(one[name] for one in drawn[at : at + together]) for at in range(0, len(drawn), together)]  # noqa: E731
    frames = [
        ("a verify, ms", {"p99": column("p99_ms"), "p50": column("p50_ms")}),
        ("resident memory, MiB", {"memory": column("resident_mib")}),
        ("open descriptors", {"descriptors": column("descriptors")}),
        ("answers a second", {"answers": column("answers"), "wrong": column("wrong")}),
    ]
    (directory / "soak.svg").write_text(chart.draw(f"{seconds:.0f} s of mixed load", column("second"), frames, bars))
    late = in_trouble(samples, list(dict.fromkeys(bar[2] for bar in bars)))
    beyond, unclear = (sum(verdict.startswith(word) for *_, verdict in late) for word in ("**no**", "unclear"))
    how = f"{beyond} of {len(late)} beyond, {unclear} unclear"
    # Of five seconds in each trouble, a busy machine may have three.
    found = [*found, ("no trouble makes answers late", None if seconds < LONG_ENOUGH else not beyond, how)]
    calm = [one for one in samples if not one["trouble"]] or samples
    lines = [f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}.", ""]
    lines += [f"{seconds:.0f} s, {len(bars)} troubles, {sum(one['answers'] for one in samples)} verifies.", "", "| | | |", "|---|---|---|"]
    verdict_of = {True: "yes", False: "**no**", None: "not judged in so short a run"}
    lines += [f"| {what} | {verdict_of[is_so]} | {how} |" for what, is_so, how in found]
    lines += ["", "| while | p99 ms, median of its seconds | × calm | slowest ms | within what is promised |", "|---|--:|--:|--:|---|"]
    lines += [f"| all is well | {middle(calm, 'p99_ms'):.1f} | | {max(one['max_ms'] for one in calm):.0f} | |"]
    for name, p99, ratio, verdict in late:
        slowest = max(one["max_ms"] for one in samples if one["trouble"] == name)
        lines.append(f"| {name} | {p99:.1f} | {ratio:.2f} | {slowest:.0f} | {verdict} |")
    text = "\n".join(lines) + "\n"
    (directory / "soak.md").write_text(text)
    print(text)
    return all(is_so is not False for _, is_so, _ in found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="three minutes instead of an hour")
    options.add_argument("--minutes", type=float, help="so long")
    options.add_argument("--binary", type=Path, default=ROOT / "target/release/heare-auth", help="what is tried")
    chosen = options.parse_args()
    seconds = 60 * (chosen.minutes or (3 if chosen.short else 60))
    with tempfile.TemporaryDirectory(prefix="heare-auth-soak-", ignore_cleanup_errors=True) as directory:
        place = Ground(Path(directory), chosen.binary.resolve())
        try:
            place.start(KEYS)
            load = Load(place.port)
            samples, bars = run(place, load, seconds, each=max(10.0, seconds / 64))
            found = verdicts(samples, load.kinds, is_short=seconds < LONG_ENOUGH) + [told_verdict(place.directory / "log")]
            is_good = report(ROOT / "target/soak", samples, bars, seconds, version_of(place.binary), found)
        finally:
            place.stop()
            stop_all()
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
