"""Medians, ratios and spreads of what was measured, as Markdown."""

import statistics
from dataclasses import dataclass

import scale
from peers import Peer
from plot import bars
from rounds import Round

# The part of the server's core that others may take before the report says so.
QUIET = 0.05


@dataclass
class Outcome:
    """Everything one run has found out."""

    machine: dict[str, str]
    peers: list[Peer]
    rounds: dict[str, list[Round]]
    instructions: dict[str, dict]
    numbers: dict[str, float]
    scale: dict[str, float]
    counted: dict[str, float]


@dataclass
class Goal:
    title: str
    value: float | None
    bound: float
    at_most: bool = True
    # The middle half of the rounds; where the bound lies within it, the machine was too restless to tell.
    middle: tuple[float, float] | None = None

    def verdict(self) -> str:
        if self.middle and self.middle[0] < self.bound < self.middle[1]:
            return f"unclear, {_short(self.middle[0])}–{_short(self.middle[1])}"
        held = self.value <= self.bound if self.at_most else self.value >= self.bound
        return "yes" if held else "**no**"


def markdown(outcome: Outcome) -> str:
    parts = [_preamble(outcome), _table(outcome), _ratios(outcome)]
    parts += [part(outcome) for part in (_instructions, _numbers, _scale, _losses, _goals)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plot(outcome: Outcome) -> str:
    rows = []
    for peer in outcome.peers:
        values = [one.cpu_us for one in outcome.rounds[peer.name]]
        rows.append((peer.label, statistics.median(values), min(values), max(values)))
    subtitle = f"µs, median and range of {outcome.machine['rounds']}, {outcome.machine['keys']} keys, one core"
    # Python's bars would leave the others no room.
    longest = max([row[3] for row in rows if not row[0].startswith("Python")] or [row[3] for row in rows])
    return bars("CPU time per verified request", subtitle, rows, "heare-auth", longest)


def _preamble(outcome: Outcome) -> str:
    facts = outcome.machine
    return (
        f"{facts['keys']} keys, {facts['rounds']} after a warm-up round, every peer in turn. "
        f"Server on one core, wrk with {facts['connections']} connections on another; "
        f"{facts['cpu']}, Linux {facts['kernel']}, {facts['date']}. Profile `{facts['profile']}`. {facts['versions']}.\n"
        "Medians, in brackets the lowest and highest round. CPU is user and system time of the whole process tree."
    )


def _table(outcome: Outcome) -> str:
    lines = [
        "| server | CPU µs/request | requests/s | p50 ms | p99 ms | p99.9 ms | memory MiB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for peer in outcome.peers:
        rounds = outcome.rounds[peer.name]
        cells = [
            peer.label,
            _spread([one.cpu_us for one in rounds], 1),
            _spread([one.requests_per_second for one in rounds], 0),
            *(f"{_median(outcome, peer.name, member):.2f}" for member in ("p50_ms", "p99_ms", "p999_ms")),
            f"{_median(outcome, peer.name, 'memory_mib'):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratios(outcome: Outcome) -> str:
    """Ratios of medians; in brackets the ratios within single rounds, lowest and highest."""
    columns = [
        ("nginx", "CPU × nginx, log on", "cpu_us"),
        ("nginx-buffered", "CPU × nginx, log buffered", "cpu_us"),
        ("bare-hyper", "CPU × bare hyper", "cpu_us"),
        ("python", "requests/s × Python, all on", "requests_per_second"),
        ("python-quiet", "requests/s × Python, quiet", "requests_per_second"),
    ]
    columns = [column for column in columns if column[0] in outcome.rounds]
    ours = [peer for peer in outcome.peers if peer.name.startswith("heare-auth")]
    if not columns or not ours:
        return ""
    lines = [f"| server | {' | '.join(title for _, title, _ in columns)} |", "|---|" + "--:|" * len(columns)]
    for peer in ours:
        cells = [_ratio_text(outcome, peer.name, base, member) for base, _, member in columns]
        lines.append(f"| {peer.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _instructions(outcome: Outcome) -> str:
    if not outcome.instructions:
        return ""
    floor = outcome.instructions.get("bare-hyper", {}).get("instructions")
    lines = ["| server | instructions/request | beyond bare hyper | allocations/request |", "|---|--:|--:|--:|"]
    for peer in outcome.peers:
        if cost := outcome.instructions.get(peer.name):
            beyond = f"{cost['instructions'] - floor:,.0f}" if floor else ""
            lines.append(f"| {peer.label} | {cost['instructions']:,.0f} | {beyond} | {cost['allocations']:.1f} |")
    note = (
        "Counted in user space by valgrind. It knows no SHA instructions, so that SHA-256 of a secret is the portable "
        "one there: some 6 700 instructions, where this processor's own take a few hundred."
    )
    return "\n".join([*lines, "", note])


def _numbers(outcome: Outcome) -> str:
    if not outcome.numbers:
        return ""
    keys, number = outcome.machine["keys"], outcome.numbers
    rows = [
        (f"start to ready, {keys} keys", f"{number['ready_ms']:.0f} ms"),
        (f"`create`, the whole command with its refresh, {keys} keys", f"{number['create_ms']:.0f} ms"),
        (f"`POST /refresh` after a change, {keys} keys", f"{number['refresh_ms']:.0f} ms"),
        ("resident, no keys", f"{number['resident_empty_mib']:.1f} MiB"),
        (f"resident, {keys} keys", f"{number['resident_mib']:.1f} MiB"),
        ("binary", f"{number['binary_mib']:.1f} MiB"),
    ]
    return "\n".join(["| heare-auth alone | |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)])


def _scale(outcome: Outcome) -> str:
    if not outcome.scale:
        return ""
    lines = ["| heare-auth, size and change | |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in scale.rows(outcome.scale))])


def _losses(outcome: Outcome) -> str:
    """What was sent and not answered, logged or counted."""
    lines = []
    for peer in outcome.peers:
        rounds = outcome.rounds[peer.name]
        if errors := sum(one.errors for one in rounds):
            lines.append(f"- {peer.label}: {errors} errors among {sum(one.requests for one in rounds)} requests.")
        logged = [one.logged for one in rounds if one.logged is not None]
        if logged and min(logged) < 1:
            lines.append(f"- {peer.label}: in its worst round {min(logged):.2%} of the log lines were there.")
        if outcome.counted.get(peer.name, 1.0) < 1:
            lines.append(f"- {peer.label}: {outcome.counted[peer.name]:.2%} of the requests arrived as metrics.")
    lines = lines or ["Every request was answered well, and logged and counted where that was on."]
    foreign = statistics.median(one.foreign for several in outcome.rounds.values() for one in several)
    if foreign > QUIET:
        lines.append(
            f"\n**The machine was not quiet**: in half of the rounds something else took {foreign:.0%} or more of the "
            "server's core. Only the numbers by valgrind hold; measure the others again."
        )
    return "\n".join(lines)


def _goals(outcome: Outcome) -> str:
    goals = [goal for goal in _all_goals(outcome) if goal.value is not None]
    if not goals:
        return ""
    lines = ["| goal | | reached | |", "|---|--:|--:|---|"]
    for goal in goals:
        sign = "≤" if goal.at_most else "≥"
        lines.append(f"| {goal.title} | {sign} {goal.bound:,g} | {_short(goal.value)} | {goal.verdict()} |")
    return "\n".join(lines)


def _all_goals(outcome: Outcome) -> list[Goal]:
    loud, quiet = "heare-auth", "heare-auth-quiet"
    cost, numbers = outcome.instructions, outcome.numbers
    extra = None
    if loud in cost and "bare-hyper" in cost:
        extra = round(cost[loud]["allocations"] - cost["bare-hyper"]["allocations"], 1)
    return [
        _ratio_goal(outcome, "CPU × nginx, access log on", loud, "nginx", 1.0),
        _ratio_goal(outcome, "CPU × bare hyper", loud, "bare-hyper", 1.2),
        _ratio_goal(outcome, "CPU × bare hyper, logs and metrics off", quiet, "bare-hyper", 1.08),
        _ratio_goal(outcome, "CPU of every policy × a plain key's", "heare-auth-policy", "heare-auth-usage", 1.15),
        Goal("instructions", cost.get(loud, {}).get("instructions"), 27_000),
        Goal("instructions, logs and metrics off", cost.get(quiet, {}).get("instructions"), 23_500),
        Goal("allocations beyond bare hyper's", extra, 0),
        _ratio_goal(outcome, "requests/s × Python service", loud, "python", 30, "requests_per_second", at_most=False),
        *_goals_at_ten_thousand_keys(outcome),
        Goal("binary, MiB", numbers.get("binary_mib"), 15),
        *_scale_goals(outcome.scale),
    ]


def _goals_at_ten_thousand_keys(outcome: Outcome) -> list[Goal]:
    if outcome.machine["keys"] != "10 000" or not outcome.numbers:
        return []
    numbers = outcome.numbers
    return [
        Goal("ready after start, ms", numbers["ready_ms"], 100),
        Goal("refresh, ms", numbers["refresh_ms"], 100),
        Goal("create, ms", numbers["create_ms"], 200),
        Goal("resident beyond an empty service, MiB", numbers["resident_mib"] - numbers["resident_empty_mib"], 10),
    ]


def _scale_goals(found: dict[str, float]) -> list[Goal]:
    if not found:
        return []
    resident = found["resident_bytes_per_key"] * scale.MANY / 2**20
    return [
        Goal("CPU at 1 000 000 keys × CPU at 1 000", found["cpu_us_at_1e6"] / found["cpu_us_at_1e3"], 1.15),
        Goal("resident bytes per key", found["resident_bytes_per_key"], 200),
        Goal("load of 1 000 000 keys, s", found["load_1e6_s"], 1.0),
        Goal("peak × (document + 2 × resident)", found["peak_mib"] / (found["document_mib"] + 2 * resident), 1.0),
        Goal("p99 in a storm of refreshes × idle", found["p99_ms_storm"] / found["p99_ms_idle"], 2),
        Goal("p99 while 100 000 keys are replaced × idle", found["p99_ms_swap"] / found["p99_ms_idle_large"], 2),
    ]


def _ratio_goal(
    outcome: Outcome, title: str, name: str, base: str, bound: float, member: str = "cpu_us", at_most: bool = True
) -> Goal:
    if name not in outcome.rounds or base not in outcome.rounds:
        return Goal(title, None, bound)
    single = _single_ratios(outcome, name, base, member)
    return Goal(title, _ratio(outcome, name, base, member), bound, at_most, middle_half(single))


def middle_half(values: list[float]) -> tuple[float, float]:
    """Between which the middle half lies; of a single value, that value."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return low, high


def _single_ratios(outcome: Outcome, name: str, base: str, member: str) -> list[float]:
    """The ratio within each round."""
    pairs = zip(outcome.rounds[name], outcome.rounds[base])
    return [getattr(one, member) / getattr(other, member) for one, other in pairs]


def _ratio(outcome: Outcome, name: str, base: str, member: str) -> float:
    return _median(outcome, name, member) / _median(outcome, base, member)


def _ratio_text(outcome: Outcome, name: str, base: str, member: str) -> str:
    single = _single_ratios(outcome, name, base, member)
    return f"{_short(_ratio(outcome, name, base, member))} ({_short(min(single))}–{_short(max(single))})"


def _median(outcome: Outcome, name: str, member: str) -> float:
    return statistics.median(getattr(one, member) for one in outcome.rounds[name])


def _spread(values: list[float], digits: int) -> str:
    found = (statistics.median(values), min(values), max(values))
    median, lowest, highest = (f"{value:,.{digits}f}" for value in found)
    return f"{median} ({lowest}–{highest})"


def _short(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"
