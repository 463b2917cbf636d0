"""Latency of a verify while something else is out of order: every fault in turn, in rounds that alternate with calm.

The load is moderate, so that latency shows stalls and not the queue of a saturated core. Every fault has a service of its
own, and calm and trouble are measured on the same one. Each row says whether the promise was held there.
"""

import statistics
import sys
from dataclasses import dataclass, field

import rounds
from far_ends import GIVES_WAY, Weed
from peers import Ground
from process import SERVER_CORE, Process, core_seconds
from report import QUIET
from scale import PAUSED_CONNECTIONS
from troubles import OTHERS, STORES, Fault, NotRun, urgently

# What is promised: the 99th percentile at most so many times the calm one, where a fault allows nothing else.
FACTOR = 2.0
# Calm rounds of which the middle half differs by more than this tell nothing.
RESTLESS = 2.0

Round = dict[str, float]


@dataclass
class Found:
    """What the rounds of one fault have shown: latencies in milliseconds, resident memory in MiB."""

    fault: Fault
    calm: list[Round] = field(default_factory=list)
    trouble: list[Round] = field(default_factory=list)
    resident: tuple[float, float] = (0.0, 0.0)
    not_run: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(there["p99_ms"] / here["p99_ms"] for here, there in zip(self.calm, self.trouble))

    @property
    def errors(self) -> int:
        return sum(one["errors"] for one in self.trouble)

    @property
    def foreign(self) -> float:
        """The part of the server's core that others had, the middle one of all rounds."""
        return statistics.median(one["foreign"] for one in self.calm + self.trouble) if self.calm else 0.0

    def verdict(self) -> str:
        if self.not_run:
            return f"not run: {self.not_run}"
        if self.errors:
            return "**no**, errors"
        return self._verdict_on_slowest() if self.fault.longer_ms else self._verdict_on_p99()

    def _verdict_on_p99(self) -> str:
        low, high = _middle([one["p99_ms"] for one in self.calm])
        if high > RESTLESS * low:
            return f"unclear, calm {low:.2f}–{high:.2f} ms"
        if self.ratio <= FACTOR:
            return "yes"
        return f"{'**no**' if self.foreign <= QUIET else 'unclear'}, beyond {FACTOR:g} ×"

    def _verdict_on_slowest(self) -> str:
        """One answer decides, so any other program may: where there was one, nothing is held against the service."""
        longer = self.fault.longer_ms
        bound = _slowest(self.calm) + longer
        if _slowest(self.trouble) <= bound:
            return f"yes, at most {longer:g} ms more"
        low, high = _middle([one["max_ms"] for one in self.calm])
        is_restless = high - low > longer or self.foreign > QUIET
        return f"{'unclear' if is_restless else '**no**'}, beyond {bound:.1f} ms"


def measure(ground: Ground, options, machine: str) -> tuple[str, bool]:
    """The table, and whether nothing in it is a breach."""
    stores, others = (_named(options.faults, kinds) for kinds in (STORES, OTHERS))
    if not stores and not others:
        raise SystemExit(f"no fault has {options.faults} in its name")
    weed = Weed(ground.directory, ground.root, GIVES_WAY) if stores else None
    try:
        faults = [kind(weed) for kind in stores] + [kind() for kind in others]
        found = [_measure_one(fault, ground, options) for fault in faults]
    finally:
        if weed:
            weed.stop()
    return markdown(found, options, machine), not any("**no**" in one.verdict() for one in found)


def _named(part: str, kinds: tuple[type[Fault], ...]) -> list[type[Fault]]:
    return [kind for kind in kinds if part.lower() in kind.__name__.lower()]


def _measure_one(fault: Fault, ground: Ground, options) -> Found:
    print(fault.title, file=sys.stderr, flush=True)
    found = Found(fault)
    try:
        fault.prepare(ground)
    except NotRun as lacking:
        found.not_run = str(lacking)
        return found
    process = fault.start()
    _load(fault, process, 1)
    before = process.resident_kib() / 1024
    for _ in range(options.rounds):
        found.calm.append(_load(fault, process, options.seconds))
        fault.begin()
        found.trouble.append(_load(fault, process, options.seconds))
        fault.end()
    found.resident = before, process.resident_kib() / 1024
    process.stop()
    fault.close()
    return found


def _load(fault: Fault, process: Process, seconds: float) -> Round:
    cpu, core = process.cpu_seconds(), core_seconds(SERVER_CORE)
    load = rounds.wrk(fault.peer, seconds, fault.secrets, PAUSED_CONNECTIONS, pause_ms=2, prefix=urgently())
    cpu, core = process.cpu_seconds() - cpu, core_seconds(SERVER_CORE) - core
    return load | {"foreign": max(0.0, core - cpu) / load["seconds"]}


def _slowest(several: list[Round]) -> float:
    return max(one["max_ms"] for one in several)


def _middle(values: list[float]) -> tuple[float, float]:
    """Between which the middle half lies."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def markdown(found: list[Found], options, machine: str) -> str:
    lines = [
        machine,
        f"Service and load on a core each, logs and metrics on, {PAUSED_CONNECTIONS} connections that rest 2 ms before each "
        f"request, {options.rounds} rounds of {options.seconds:g} s calm and as many in trouble, in turn. Medians, but of the "
        "slowest the slowest of all rounds.",
        "",
        "| while | p50 ms | p99 ms | p99.9 ms | slowest ms | p99 × calm | resident MiB, before and after | errors | within what is promised |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [_line(one) for one in found]
    lines += ["", f"Promised are at most {FACTOR:g} × the calm 99th percentile, and where Redis is in trouble at most 50 ms more for any answer."]
    lines += [
        f"Unclear is what was measured where the middle half of the calm rounds differs by more than {RESTLESS:g} ×, and what lies "
        f"beyond while others had more than {QUIET:.0%} of the server's core."
    ]
    foreign = max((one.foreign for one in found), default=0)
    if foreign > QUIET:
        lines += ["", f"**The machine was not quiet**: others had up to {foreign:.0%} of the server's core."]
    return "\n".join(lines) + "\n"


def _line(one: Found) -> str:
    if one.not_run:
        return f"| {one.fault.title} | | | | | | | | {one.verdict()} |"
    cells = [one.fault.title]
    for name in ("p50_ms", "p99_ms", "p999_ms"):
        here, there = (statistics.median(round_[name] for round_ in several) for several in (one.calm, one.trouble))
        cells.append(f"{here:.2f} → {there:.2f}")
    cells.append(f"{_slowest(one.calm):.1f} → {_slowest(one.trouble):.1f}")
    cells.append(f"{one.ratio:.2f}")
    cells.append("{:.1f} → {:.1f}".format(*one.resident))
    cells.append(f"{one.errors} of {sum(round_['requests'] for round_ in one.trouble)}")
    return f"| {' | '.join([*cells, one.verdict()])} |"
