"""The benchmark, as `scripts/bench` calls it: builds, starts every peer, alternates rounds, reports."""

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import alone
import far_ends
import faults
import instructions
import keys
import report
import rounds
import scale
from peers import EVERY, SHORT, Ground, Peer, all_peers
from process import Process, free_port, stop_all, version_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "target/bench"
COUNTED_BY_VALGRIND = ("heare-auth", "heare-auth-quiet", "bare-hyper")


def main() -> None:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        if options.faults is None:
            write(run(options))
        else:
            table, is_held = measure_faults(options)
            write_faults(table)
            sys.exit(0 if is_held else 1)
    finally:
        stop_all()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures heare-auth beside its peers.")
    parser.add_argument("--short", action="store_true", help="3 rounds of 3 s, under 3 minutes after the build")
    parser.add_argument("--only", metavar="NAME,…", help="these peers alone; --list names them")
    parser.add_argument("--keys", type=int, default=10_000, metavar="N", help="how many keys all hold (10000)")
    parser.add_argument("--rounds", type=int, metavar="N", help="counted rounds (9; short: 3; with --faults 5 and up to 20)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a round (5; short: 3; with --faults 2 and 1)")
    parser.add_argument("--profile", default="release", help="cargo profile: release, or quick for a fast build")
    parser.add_argument("--no-build", action="store_true", help="measure the binaries that are there")
    parser.add_argument("--no-instructions", action="store_true", help="leave out what valgrind counts")
    parser.add_argument("--scale", action="store_true", help="also a million keys and latency during refreshes")
    parser.add_argument(
        "--faults", nargs="?", const="", metavar="PART", help="only latency under faults; PART is a part of one's name"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the peers")
    options = parser.parse_args()
    if options.list:
        print("\n".join(EVERY))
        sys.exit()
    # There are many faults, and each is measured calm and in trouble, for longer where that leaves something open: ten to
    # twenty-five minutes for all of them.
    few, many, short, long = (3, 9, 3, 5) if options.faults is None else (5, 5, 1, 2)
    options.rounds = options.rounds or (few if options.short else many)
    options.seconds = options.seconds or (short if options.short else long)
    options.names = options.only.split(",") if options.only else SHORT if options.short else EVERY
    if unknown := set(options.names) - set(EVERY):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def run(options: argparse.Namespace) -> report.Outcome:
    if not options.no_build:
        build(options)
    ground = prepare(options)
    start_sink(ground)
    peers = [peer for peer in all_peers(ground) if peer.name in options.names]
    measured, counted = load(peers, ground, options)
    outcome = report.Outcome(describe(options), peers, measured, {}, {}, {}, counted)
    if not options.no_instructions:
        for peer in peers:
            if peer.name in COUNTED_BY_VALGRIND:
                say(f"counting instructions of {peer.name}")
                outcome.instructions[peer.name] = instructions.per_request(peer, ground)
    if "heare-auth" in options.names:
        say("start, refresh, create, memory of heare-auth")
        outcome.numbers = alone.measure(ground)
    if options.scale:
        say("a million keys, refreshes under load")
        outcome.scale = scale.measure(ground, options)
    return outcome


def measure_faults(options: argparse.Namespace) -> tuple[str, bool]:
    options.names = ["heare-auth"]
    if not options.no_build:
        build(options)
    ground = prepare(options)
    start_sink(ground)
    known = describe(options)
    machine = f"{version_of(ground.binaries / 'heare-auth')}; {known['cpu']}, Linux {known['kernel']}, {known['date']}. Profile `{known['profile']}`."
    return faults.measure(ground, options, machine)


def start_sink(ground: Ground) -> None:
    far_ends.sink(ground.directory, ground.sink_port)


def build(options: argparse.Namespace) -> None:
    """The service as it is given to others, and the peer of our own as cargo builds it."""
    say(f"building, profile {options.profile}")
    if "bare-hyper" in options.names:
        command = ["cargo", "build", "--locked", "--profile", options.profile, "-p", "bare-hyper", "--bin", "bare-hyper"]
        subprocess.run(command, cwd=ROOT, check=True)
    if any(name.startswith("heare-auth") for name in options.names):
        subprocess.run(["scripts/build", options.profile], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def prepare(options: argparse.Namespace) -> Ground:
    directory = RESULTS / "run"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    ground = Ground(keys.make(options.keys), directory, ROOT, target / options.profile, free_port())
    keys.write_secrets(ground.keys, directory / "secrets.txt")
    return ground


def load(peers: list[Peer], ground: Ground, options: argparse.Namespace) -> tuple[dict, dict]:
    """All rounds of all peers, and for each peer with metrics which part of its requests arrived in the sink."""
    running = {peer.name: rounds.start(peer) for peer in peers}
    for peer in peers:
        rounds.check(peer, ground)
    measured = {peer.name: [] for peer in peers}
    arrived = {peer.name: 0.0 for peer in peers}
    for number in range(options.rounds + 1):
        for peer in peers:
            say(f"round {number} of {options.rounds}: {peer.name}" + ("" if number else " (warm-up)"))
            before = counter(peer, ground)
            one = rounds.measure(peer, running[peer.name], options.seconds, ground.directory / "secrets.txt")
            if number:
                measured[peer.name].append(one)
                arrived[peer.name] += counter(peer, ground, before + one.requests) - before
    stop_all_but_sink(running)
    sent = {name: sum(one.requests for one in several) for name, several in measured.items()}
    counted = {peer.name: min(arrived[peer.name] / sent[peer.name], 1.0) for peer in peers if peer.counter}
    return measured, counted


def stop_all_but_sink(running: dict[str, Process]) -> None:
    for process in running.values():
        process.stop()


def counter(peer: Peer, ground: Ground, expected: float = 0, patience: float = 3.0) -> float:
    """How often the peer's counter has arrived in the sink, waiting a little for what is under way."""
    if not peer.counter:
        return 0.0
    deadline = time.monotonic() + patience
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", ground.sink_port, timeout=10)
        connection.request("GET", "/counts")
        count = json.loads(connection.getresponse().read()).get(peer.counter, 0.0)
        connection.close()
        if count >= expected or time.monotonic() > deadline:
            return count
        time.sleep(0.05)


def describe(options: argparse.Namespace) -> dict[str, str]:
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in processors if line.startswith("model name")]
    return {
        "keys": f"{options.keys:,}".replace(",", " "),
        "rounds": f"{options.rounds} rounds of {options.seconds:g} s",
        "connections": str(rounds.CONNECTIONS),
        "cpu": f"{len(models)} × {models[0] if models else 'unknown processor'}",
        "kernel": platform.release(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "profile": options.profile,
        "versions": ", ".join(version(command) for command in (["nginx", "-v"], ["haproxy", "-v"], ["wrk", "-v"])),
    }


def version(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True)
    words = (run.stdout + run.stderr).replace("nginx version: ", "").replace("version ", "").split()
    return " ".join(words[:1] if "/" in words[0] else words[:2])


def write(outcome: report.Outcome) -> None:
    text = report.markdown(outcome)
    facts = {
        "machine": outcome.machine,
        "rounds": rounds.as_dictionaries(outcome.rounds),
        "instructions": outcome.instructions,
        "numbers": outcome.numbers,
        "scale": outcome.scale,
        "counted": outcome.counted,
    }
    (RESULTS / "result.md").write_text(text)
    (RESULTS / "result.json").write_text(json.dumps(facts, indent=1) + "\n")
    (RESULTS / "cpu.svg").write_text(report.plot(outcome))
    print(text)
    say(f"written: {RESULTS}/result.md, result.json, cpu.svg")


def write_faults(table: str) -> None:
    (RESULTS / "faults.md").write_text(table)
    print(table)
    say(f"written: {RESULTS}/faults.md")


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
