"""Latency of a verify while something else is out of order: every fault in turn, in rounds that alternate with calm.

The load is moderate, so that latency shows stalls and not the queue of a saturated core. Every fault has a service of its
own, and calm and trouble are measured on the same one. Each row says whether the promise was held there, and is measured
for longer where its rounds leave that open.
"""

import math
import statistics
import sys
from dataclasses import dataclass, field

import rounds
from far_ends import GIVES_WAY, Weed
from peers import Ground
from process import SERVER_CORE, Process, core_seconds
from report import QUIET, middle_half
from scale import PAUSED_CONNECTIONS
from troubles import OTHERS, STORES, Fault, NotRun, urgently_in_a_session

# What is promised: the 99th percentile at most so many times the calm one, where a fault allows nothing else.
FACTOR = 2.0
# How sure it has to be on which side of that the middle ratio of a calm round and the one in trouble after it lies.
SURE = 0.9
# A row that stays open is measured so many times as long.
AT_MOST = 4

UNCLEAR = "unclear"

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
    def ratios(self) -> list[float]:
        return [there["p99_ms"] / here["p99_ms"] for here, there in zip(self.calm, self.trouble)]

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
        low, high = median_between(self.ratios)
        if high <= FACTOR:
            return "yes"
        return "**no**" if low > FACTOR else UNCLEAR

    def _verdict_on_slowest(self) -> str:
        """One answer decides, so any other program may: where there was one, nothing is held against the service."""
        longer = self.fault.longer_ms
        bound = _slowest(self.calm) + longer
        if _slowest(self.trouble) <= bound:
            return f"yes, at most {longer:g} ms more"
        low, high = middle_half([one["max_ms"] for one in self.calm])
        is_restless = high - low > longer or self.foreign > QUIET
        return f"{UNCLEAR if is_restless else '**no**'}, beyond {bound:.1f} ms"


def measure(ground: Ground, options, machine: str) -> tuple[str, bool]:
    """The table, and whether nothing in it is a breach."""
    stores, others = (_named(options.faults, kinds) for kinds in (STORES, OTHERS))
    if not stores and not others:
        titles = "\n  ".join(kind.title for kind in STORES + OTHERS)
        raise SystemExit(f"no fault has {options.faults} in its name; there are\n  {titles}")
    weed = Weed(ground.directory, ground.root, GIVES_WAY) if stores else None
    try:
        faults = [kind(weed) for kind in stores] + [kind() for kind in others]
        found = [_measure_one(fault, ground, options) for fault in faults]
    finally:
        if weed:
            weed.stop()
    return markdown(found, options, machine), not any("**no**" in one.verdict() for one in found)


def _named(part: str, kinds: tuple[type[Fault], ...]) -> list[type[Fault]]:
    return [kind for kind in kinds if part.lower() in kind.title.lower()]


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
    for _ in range(AT_MOST):
        _measure_rounds(found, process, options)
        if not found.verdict().startswith(UNCLEAR):
            break
    found.resident = before, process.resident_kib() / 1024
    process.stop()
    fault.close()
    return found


def _measure_rounds(found: Found, process: Process, options) -> None:
    fault = found.fault
    for _ in range(options.rounds):
        found.calm.append(_load(fault, process, options.seconds))
        fault.begin()
        found.trouble.append(_load(fault, process, options.seconds))
        fault.end()


def _load(fault: Fault, process: Process, seconds: float) -> Round:
    cpu, core = process.cpu_seconds(), core_seconds(SERVER_CORE)
    load = rounds.wrk(fault.peer, seconds, fault.secrets, PAUSED_CONNECTIONS, pause_ms=2, prefix=urgently_in_a_session())
    cpu, core = process.cpu_seconds() - cpu, core_seconds(SERVER_CORE) - core
    return load | {"foreign": max(0.0, core - cpu) / load["seconds"]}


def median_between(values: list[float]) -> tuple[float, float]:
    """Between which the median lies of all that could have been measured, whatever its distribution: each value is above it
    as likely as below. Of too few values nothing can be said."""
    ordered, count = sorted(values), len(values)
    sure = [rank for rank in range(1, count // 2 + 1) if _is_within(rank, count) >= SURE]
    return (ordered[sure[-1] - 1], ordered[-sure[-1]]) if sure else (0.0, math.inf)


def _is_within(rank: int, count: int) -> float:
    """How likely the median lies between the value of this rank and the one of the same rank from above."""
    return 1 - 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count


def _slowest(several: list[Round]) -> float:
    return max(one["max_ms"] for one in several)


def markdown(found: list[Found], options, machine: str) -> str:
    lines = [
        machine,
        f"Service and load on a core each, logs and metrics on, {PAUSED_CONNECTIONS} connections that rest 2 ms before each "
        f"request, rounds of {options.seconds:g} s calm and in trouble in turn, {options.rounds} of each, and up to "
        f"{AT_MOST * options.rounds} where these leave open what is so. Medians, but of the slowest the slowest of all rounds.",
        "",
        "| while | p50 ms | p99 ms | p99.9 ms | slowest ms | p99 × calm, and where its median lies | rounds | resident MiB, before and after | errors | within what is promised |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [_line(one) for one in found]
    lines += ["", f"Promised are at most {FACTOR:g} × the calm 99th percentile, and where Redis is in trouble at most 50 ms more for any answer."]
    lines += [f"Where a median lies is at least {SURE:.0%} sure. Yes is what lies within for all of that, no what lies beyond for all of it."]
    foreign = max((one.foreign for one in found), default=0)
    if foreign > QUIET:
        lines += ["", f"**The machine was not quiet**: others had up to {foreign:.0%} of the server's core."]
    return "\n".join(lines) + "\n"


def _line(one: Found) -> str:
    if one.not_run:
        return f"| {one.fault.title} | | | | | | | | | {one.verdict()} |"
    cells = [one.fault.title]
    for name in ("p50_ms", "p99_ms", "p999_ms"):
        here, there = (statistics.median(round_[name] for round_ in several) for several in (one.calm, one.trouble))
        cells.append(f"{here:.2f} → {there:.2f}")
    cells.append(f"{_slowest(one.calm):.1f} → {_slowest(one.trouble):.1f}")
    low, high = median_between(one.ratios)
    cells += [f"{statistics.median(one.ratios):.2f} ({low:.2f}–{high:.2f})", str(len(one.ratios))]
    cells.append("{:.1f} → {:.1f}".format(*one.resident))
    cells.append(f"{one.errors} of {sum(round_['requests'] for round_ in one.trouble)}")
    return f"| {' | '.join([*cells, one.verdict()])} |"
