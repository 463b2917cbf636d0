"""Every promise by its rows in documentation/promised.md, and what needs a tool or more time than a test may take.

Writes target/faults/report.md. A row is green, red, or not run where the machine lacks what it needs. Ends with 1 when one is
red. h2spec is looked for in PATH and in .tools/bin: CONTRIBUTING.md says how it gets there.
"""

import argparse
import contextlib
import csv
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ground import HOST, ROOT, call, document, secret_of
from group import Group
from process import Process, free_port, stop_all, wait_for_port

PROMISES = [f"P{number}" for number in range(1, 18)]
# Begins the name of a test in tests/proof.
PROOF = "proof::"
# Connections that slowhttptest opens.
SLOW = 500
# Seconds after the first change at which the service is killed at the latest.
LONGEST_LIFE = 0.3
KINDS = ("green", "not run", "RED")


@dataclass
class Row:
    promise: str
    what: str
    outcome: str

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if self.outcome.startswith(kind))


def promised() -> list[tuple[str, str, list[str]]]:
    """The rows that begin with a promise's number, and the tests that each names."""
    rows = []
    for line in (ROOT / "documentation/promised.md").read_text().splitlines():
        if found := re.match(r"\| (P\d+) \| (.*?) \| (.*) \|$", line):
            rows.append((found[1], found[2], re.findall(r"`([a-z_0-9:]+::[a-z_0-9]+)`", found[3])))
    return rows


def run_rows() -> list[Row]:
    rows = promised()
    names = {name for _, _, tests in rows for name in tests}
    proofs = {name for name in names if name.startswith(PROOF)}
    ours = {name for name in names - proofs if is_integration(name)}
    outcomes = cargo(["--test", "it"], ["--exact", *sorted(ours)])
    proven = cargo(["--test", "proof"], ["--exact", *sorted(name.removeprefix(PROOF) for name in proofs)])
    outcomes |= {PROOF + name: found for name, found in proven.items()}
    # A test of the library lies in a module `tests` below the file that the table names.
    outcomes |= cargo(["--lib"], sorted({name.rpartition("::")[2] for name in names - ours - proofs}))
    found = [Row(promise, what, together({test: outcome(outcomes, test) for test in tests})) for promise, what, tests in rows]
    missing = [promise for promise in PROMISES if promise not in {row[0] for row in rows}]
    return found + [Row(promise, "a row", "RED: there is none") for promise in missing]


def together(outcomes: dict[str, str]) -> str:
    """What a row is whose tests ended so."""
    if not outcomes:
        return "RED: it names no test"
    red = [test for test, found in outcomes.items() if found != "ok" and not found.startswith("not run")]
    if red:
        return "RED: " + ", ".join(red)
    lacking = [f"{test.rpartition('::')[2]} ({found.removeprefix('not run: ')})" for test, found in outcomes.items() if found != "ok"]
    return "not run: " + ", ".join(lacking) if lacking else "green"


def is_integration(name: str) -> bool:
    return (ROOT / "tests/it" / (name.rpartition("::")[0].replace("::", "/") + ".rs")).exists()


def outcome(outcomes: dict[str, str], test: str) -> str:
    module, _, name = test.rpartition("::")
    return outcomes.get(test) or outcomes.get(f"{module}::tests::{name}") or "not found"


def cargo(target: list[str], arguments: list[str]) -> dict[str, str]:
    """What became of each test. One that ended early because of the machine is said to be ok, and told why in its output."""
    command = ["cargo", "test", "--locked", *target, "--", "--show-output", *arguments]
    return outcomes_in(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout)


def outcomes_in(output: str) -> dict[str, str]:
    found = dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (\w+)$", output, re.MULTILINE))
    for name, told in re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^successes:$|^failures:$|\Z)", output, re.MULTILINE | re.DOTALL):
        why = re.search(r"^not run: .*$", told, re.MULTILINE)
        if why and found.get(name) == "ok":
            found[name] = why[0]
    return found


class Service:
    """The service on a file, for what is tried from outside."""

    def __init__(self, directory: Path, binary: Path, settings: dict[str, str] | None = None):
        self.directory, self.binary = directory, binary
        self.data = directory / "data"
        self.data.mkdir(exist_ok=True)
        self.settings = {"DATA_DIR": str(self.data), "HOST": HOST, "RATE_LIMIT": "off"} | (settings or {})
        self.generation = 0
        self.put()

    def put(self) -> None:
        self.generation += 1
        whole = self.data / "keys.new"
        whole.write_bytes(document(self.generation, 100))
        whole.rename(self.data / "keys.json")

    def start(self, group: Group | None = None) -> Process:
        self.port = free_port()
        environment = self.settings | {"PORT": str(self.port)}
        command = [str(self.binary), "serve"]
        process = Process(group.around(command) if group else command, environment, self.directory, self.directory / "log", 0)
        wait_for_port(process, self.port)
        deadline = time.monotonic() + 30
        while call(self.port, "GET", "/ready")[0] != 200:
            if time.monotonic() > deadline:
                raise SystemExit("the service does not become ready")
            time.sleep(0.01)
        return process

    def verify(self, secret: str = secret_of("key_1")) -> int:
        return call(self.port, "POST", "/verify", {"api_key": secret})[0]

    def verify_again_and_again(self):
        """The same over one connection, as a backend does."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        body = json.dumps({"api_key": secret_of("key_1")})

        def verify() -> int:
            connection.request("POST", "/verify", body)
            answer = connection.getresponse()
            answer.read()
            return answer.status

        verify()
        return verify


class Watching:
    """Verifies ten times a second meanwhile; every answer has to be 200, and there within so many seconds."""

    def __init__(self, verify, patience: float):
        self.verify, self.patience, self.going, self.took, self.wrong = verify, patience, True, [], []
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.going:
            began = time.monotonic()
            try:
                status = self.verify()
            except Exception as error:
                status = repr(error)
            self.took.append(time.monotonic() - began)
            if status != 200:
                self.wrong.append(status)
            time.sleep(0.1)

    def stop(self) -> str:
        self.going = False
        self.thread.join(40)
        if self.thread.is_alive() or not self.took:
            return "RED: there is no answer"
        slowest = max(self.took)
        if self.wrong:
            return f"RED: {len(self.wrong)} of {len(self.took)} answers are wrong, such as {self.wrong[0]}"
        kind = "green" if slowest <= self.patience else "RED"
        return f"{kind}: {len(self.took)} answers meanwhile, the slowest after {slowest * 1000:.0f} ms"


# How slowhttptest may end: the time was over, or the service has closed every connection.
TIME_IS_OVER, ALL_CLOSED = "Hit test time limit", "No open connections left"
# Its four ways, and how many seconds the service gives one such connection: 10 for a head, 30 for a body, and overlapping ranges
# are whole requests. Who reads slowly may go on.
WAYS = [("slow heads", ["-H"], 10), ("slow bodies", ["-B"], 30), ("overlapping ranges", ["-R"], 10), ("slow readers", ["-X"], None)]


def slow_clients(service: Service, seconds: int, patience: float, megabytes: int) -> list[Row]:
    """slowhttptest in its four ways: slow heads, slow bodies, ranges, slow readers."""
    if not shutil.which("slowhttptest"):
        return [Row("P15", f"slowhttptest: {what}", "not run: slowhttptest is not installed") for what, *_ in WAYS]
    rows = []
    for what, way, closed_after in WAYS:
        process = service.start()
        before = process.resident_kib()
        watching = Watching(service.verify, patience)
        command = ["slowhttptest", *way, "-c", str(SLOW), "-r", "200", "-i", "5", "-l", str(seconds), "-p", str(round(patience))]
        command += ["-g", "-o", str(service.directory / "slow")]
        command += ["-u", f"http://{HOST}:{service.port}/{'verify' if '-B' in way else 'openapi.json'}"]
        if "-B" in way:
            command += ["-t", "POST", "-s", "8192"]
        if "-X" in way:
            command += ["-w", "1", "-y", "32", "-n", "5", "-z", "32", "-k", "3"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        outcome = watching.stop()
        grown = (process.peak_kib() - before) / 1024 if process.is_running() else 0.0
        # Twice as long, as the last connection does not begin with the first, and the machine may be busy.
        ended, complaint = slow_end(ran, service.directory / "slow.csv", closed_after is not None and seconds > 2 * closed_after)
        if not process.is_running():
            complaint = "the service has ended"
        elif grown > megabytes:
            complaint = "too much memory"
        if complaint:
            outcome = f"RED: {complaint}; {outcome}"
        rows.append(Row("P15", f"slowhttptest: {what}, {SLOW} connections", f"{outcome}, {grown:.1f} MiB grown; {ended}"))
        process.stop()
    return rows


def slow_end(ran: subprocess.CompletedProcess, seconds: Path, is_to_be_closed: bool) -> tuple[str, str]:
    """How slowhttptest ended, and what there is to complain of. It returns 0 whatever was, so its words count."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", ran.stdout)
    second, status = re.search(r"Test ended on (\d+)", text), re.search(r"Exit status: *(.+)", text)
    if ran.returncode or not second or not status or not seconds.exists():
        return "no end", f"slowhttptest failed with {ran.returncode}: {ran.stderr[-200:]}"
    ended = f"{status[1].strip().lower()}, after {second[1]} s"
    with open(seconds, newline="") as file:
        counts = list(csv.DictReader(file))
    seconds.unlink()
    if status[1].strip() not in (TIME_IS_OVER, ALL_CLOSED):
        return ended, "slowhttptest could not do its work"
    if is_to_be_closed and status[1].strip() != ALL_CLOSED:
        return ended, "the service has not closed all of them"
    # 0 or a height in its chart.
    if not counts or any(one["Service Available"] == "0" for one in counts):
        return ended, "slowhttptest calls the service unavailable"
    # The last second may be missing there.
    if max(int(one["Closed"]) + int(one["Connected"]) for one in counts) < SLOW // 2:
        return ended, f"slowhttptest did not get its {SLOW} connections"
    return ended, ""


def http_2(service: Service) -> list[Row]:
    """What others hold against HTTP/2: h2spec's cases, and a load by h2load."""
    rows, process = [], service.start()
    if shutil.which("h2spec"):
        rows.append(Row("P15", "h2spec", conformance(service)))
    else:
        rows.append(Row("P15", "h2spec", "not run: h2spec is not in PATH"))
    if shutil.which("h2load"):
        ran = subprocess.run(["h2load", "-n", "20000", "-c", "50", "-m", "100", f"http://{HOST}:{service.port}/health"], capture_output=True, text=True)
        is_good = "20000 succeeded, 0 failed, 0 errored" in ran.stdout
        rows.append(Row("P15", "h2load: 50 connections of 100 streams", "green: 20000 answers" if is_good else f"RED: {ran.stdout[-400:]}"))
    else:
        rows.append(Row("P15", "h2load", "not run: h2load is not installed"))
    process.stop()
    return rows


# What follows no preface is HTTP/1.1 here and gets its 400, in which h2spec looks for a frame.
OTHER_PROTOCOL = "http2/3.5/2"
# As many as h2spec has at af83a65.
CASES = 146
# What comes behind a whole request may find the answer on its way already, and h2spec takes that for the answer to it. Such a
# case is tried so often alone, and is won in at least so many: 15 to 18 on a busy machine.
TRIES, WON = 20, 5


def conformance(service: Service) -> str:
    """All cases of h2spec; one that fails is tried again and again alone, as some are won by whoever is faster."""
    total, failed = h2spec(service)
    raced = [case for case in failed if case != OTHER_PROTOCOL]
    lost = [case for case in raced if sum(h2spec(service, case) == (1, []) for _ in range(TRIES)) < WON]
    if total != CASES or lost:
        return f"RED: {total} cases of {CASES}, failed: {', '.join(lost)}"
    told = f", tried again alone: {', '.join(raced)}" if raced else ""
    return f"green: {total} cases but {OTHER_PROTOCOL}, which gets an answer of HTTP/1.1{told}"


def h2spec(service: Service, *cases: str) -> tuple[int, list[str]]:
    """How many cases there were, and those that failed."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = ["h2spec", *cases, "-h", HOST, "-p", str(service.port), "-P", "/health", "--timeout", "5", "-j", report.name]
        subprocess.run(command, capture_output=True)
        # A number stands for its place among the cases of its section.
        found, tests = [], 0
        for suite in ElementTree.parse(report.name).iter("testsuite"):
            for number, case in enumerate(suite.iter("testcase"), 1):
                tests += 1
                if case.find("failure") is not None or case.find("error") is not None:
                    found.append(f"{suite.get('package')}/{number}")
        return tests, found


class Changing:
    """Makes one key after the other, and knows what it was told: each secret, and the generation it is in."""

    def __init__(self, service: Service):
        self.service, self.going, self.told, self.generation, self.wrong = service, True, [], 0, ""
        self.thread = threading.Thread(target=self._change, daemon=True)
        self.thread.start()

    def _change(self) -> None:
        port, admin = self.service.port, secret_of("key_admin")
        # The service is killed in between: what has no whole answer was not told.
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while self.going:
                status, made = call(port, "POST", "/api/v1/auth/keys", {"name": "told"}, admin)
                if status != 201:
                    self.wrong = f"{status} {made}"
                    return
                self.told.append(made["key"])
                self.generation = call(port, "GET", "/ready")[1]["generation"]

    def wait_until_told(self, patience: float = 30.0) -> None:
        deadline = time.monotonic() + patience
        while not self.told and not self.wrong and time.monotonic() < deadline:
            time.sleep(0.001)

    def stop(self) -> None:
        self.going = False
        self.thread.join(40)


def kills(service: Service, rounds: int) -> list[Row]:
    """Killed at any moment while keys are made; after the next start all are there that somebody was told of, nothing is older."""
    told, generation, pick = [], 0, random.Random(1)
    for turn in range(rounds + 1):
        process = service.start()
        found = call(service.port, "GET", "/ready")[1]["generation"]
        # In the end all, before that those of the last round.
        lost = [secret for secret in (told if turn == rounds else told[-20:]) if service.verify(secret) != 200]
        if found < generation or lost or service.verify() != 200:
            return [Row("P7", f"{rounds} kills", f"RED: generation {found} after {generation}, {len(lost)} keys lost in round {turn}")]
        if turn == rounds:
            # What a killed writer left half written is removed by the next write.
            status, made = call(service.port, "POST", "/api/v1/auth/keys", {"name": "last"}, secret_of("key_admin"))
            process.stop()
            if status != 201:
                return [Row("P7", f"{rounds} kills", f"RED: the last key was not made: {status} {made}")]
            break
        changing = Changing(service)
        changing.wait_until_told()
        time.sleep(pick.random() * LONGEST_LIFE)
        os.kill(process.pid, signal.SIGKILL)
        changing.stop()
        process.stop()
        if changing.wrong or not changing.told:
            return [Row("P7", f"{rounds} kills", f"RED: in round {turn} no key was made: {changing.wrong}")]
        told, generation = told + changing.told, max(found, changing.generation)
    left = [file.name for file in service.data.iterdir() if file.name.endswith(".tmp")]
    outcome = f"RED: {left} are left" if left else f"green: {len(told)} keys, all there, up to generation {found}"
    return [Row("P7", f"killed {rounds} times while keys are made", outcome)]


def stops(service: Service, rounds: int) -> list[Row]:
    """Stopped for longer than any deadline, as a suspended machine is; what was on its way is answered or closed."""
    process = service.start()
    for _ in range(rounds):
        half = socket.create_connection((HOST, service.port), timeout=30)
        half.sendall(b"GET /health HTTP/1.1\r\n")
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(11)
        half.sendall(b"Host: x\r\n\r\n")
        os.kill(process.pid, signal.SIGCONT)
        answer = half.recv(4096)
        half.close()
        if answer and not answer.startswith(b"HTTP/1.1 200") or service.verify() != 200:
            return [Row("P1", "stopped for 11 s", f"RED: {answer[:60]!r}")]
    outcome = "green" if process.is_running() else "RED: it has ended"
    process.stop()
    return [Row("P1", f"stopped for 11 s and continued, {rounds} times", outcome)]


def in_a_group(service: Service, megabytes: int, patience: float) -> list[Row]:
    """Under the memory limit of a control group, as a container has it, with floods of everything."""
    what = f"a container of {megabytes} MiB, with 1500 half requests of 28 kB"
    try:
        group = Group(megabytes)
    except OSError as error:
        return [Row("P16", what, f"not run: this machine gives no control group ({error.strerror})")]
    process = service.start(group)
    # New connections have to wait for those that are held; those that are open go on.
    watching = Watching(service.verify_again_and_again(), patience)
    held = [socket.create_connection((HOST, service.port)) for _ in range(1500)]
    for number, connection in enumerate(held):
        head = b"POST /verify HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n" % (b"a" * 8000)
        with contextlib.suppress(OSError):
            connection.sendall(head + (b"Content-Length: 60000\r\n\r\n" + b"{" * 20000 if number % 2 else b""))
    time.sleep(5)
    outcome = watching.stop()
    for connection in held:
        connection.close()
    if not process.is_running() or group.has_killed():
        outcome = "RED: it was killed for its memory"
    if peak := group.peak_mib():
        outcome += f", at most {peak} MiB with what the system keeps of files"
    process.stop()
    group.remove()
    return [Row("P16", what, outcome)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--short", action="store_true", help="seconds instead of minutes for what is tried from outside")
    options.add_argument("--outside", action="store_true", help="only what is tried from outside, no tests")
    options.add_argument("--binary", type=Path, default=ROOT / "target/release/heare-auth", help="what is tried from outside")
    chosen = options.parse_args()
    rows = [] if chosen.outside else run_rows()
    with tempfile.TemporaryDirectory(prefix="heare-auth-faults-", ignore_cleanup_errors=True) as directory:
        service = Service(Path(directory), chosen.binary.resolve())
        try:
            short = chosen.short
            # The short form is for machines of any speed, and for binaries as the tests build them.
            patience, megabytes = (10.0, 128) if short else (3.0, 64)
            rows += slow_clients(service, 12 if short else 90, patience, megabytes)
            rows += http_2(service)
            rows += kills(service, 10 if short else 100)
            rows += stops(service, 1 if short else 5)
            rows += in_a_group(service, 64, patience)
        finally:
            stop_all()
    text = report(rows)
    (ROOT / "target/faults").mkdir(parents=True, exist_ok=True)
    (ROOT / "target/faults/report.md").write_text(text)
    print(text)
    sys.exit(1 if any(row.kind == "RED" for row in rows) else 0)


def report(rows: list[Row]) -> str:
    rows.sort(key=lambda row: int(row.promise[1:]))
    lines = ["| promise | row | |", "|---|---|---|"]
    lines += [f"| {row.promise} | {row.what} | {row.outcome} |" for row in rows]
    counts = Counter(row.kind for row in rows)
    told = ", ".join(f"{counts[kind]} {kind.lower()}" for kind in KINDS)
    return "\n".join([*lines, "", f"{len(rows)} rows: {told}."]) + "\n"


if __name__ == "__main__":
    main()
