"""Medians, ratios and spreads of what was measured, as Markdown."""

import statistics
from dataclasses import dataclass

from peers import Peer
from plot import bars
from rounds import Round


@dataclass
class Outcome:
    """Everything one run has found out."""

    machine: dict[str, str]
    peers: list[Peer]
    rounds: dict[str, list[Round]]
    instructions: dict[str, dict]
    numbers: dict[str, float]
    counted: dict[str, float]


def markdown(outcome: Outcome) -> str:
    parts = [_preamble(outcome), _table(outcome), _ratios(outcome)]
    parts += [part(outcome) for part in (_instructions, _numbers, _losses, _goals)]
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
        f"Server on one core, wrk with {facts['connections']} connections on another; {facts['cpu']}, Linux {facts['kernel']}, "
        f"{facts['date']}. Profile `{facts['profile']}`. {facts['versions']}.\n"
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
            *(f"{statistics.median(getattr(one, name) for one in rounds):.2f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
            f"{statistics.median(one.memory_mib for one in rounds):.1f}",
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
    lines = ["| server | instructions/request | allocations/request |", "|---|--:|--:|"]
    for peer in outcome.peers:
        if cost := outcome.instructions.get(peer.name):
            lines.append(f"| {peer.label} | {cost['instructions']:,.0f} | {cost['allocations']:.1f} |")
    note = "Counted in user space by valgrind, which knows no SHA instructions: SHA-256 is the portable one here."
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
    return "\n".join(lines or ["Every request was answered well, and logged and counted where that was on."])


def _goals(outcome: Outcome) -> str:
    rows = [row for row in _goal_rows(outcome) if row[1] is not None]
    if not rows:
        return ""
    lines = ["| goal | | reached | |", "|---|--:|--:|---|"]
    for title, value, bound, at_most in rows:
        held = value <= bound if at_most else value >= bound
        sign = "≤" if at_most else "≥"
        lines.append(f"| {title} | {sign} {bound:,g} | {_short(value)} | {'yes' if held else '**no**'} |")
    return "\n".join(lines)


def _goal_rows(outcome: Outcome) -> list[tuple[str, float | None, float, bool]]:
    loud, quiet = "heare-auth", "heare-auth-quiet"
    cost, numbers = outcome.instructions, outcome.numbers
    extra = None
    if loud in cost and "bare-hyper" in cost:
        extra = round(cost[loud]["allocations"] - cost["bare-hyper"]["allocations"], 1)
    small = len(outcome.peers) > 0 and outcome.machine["keys"] == "10 000"
    return [
        ("CPU × nginx, access log on", _ratio(outcome, loud, "nginx", "cpu_us"), 1.0, True),
        ("CPU × bare hyper", _ratio(outcome, loud, "bare-hyper", "cpu_us"), 1.2, True),
        ("CPU × bare hyper, logs and metrics off", _ratio(outcome, quiet, "bare-hyper", "cpu_us"), 1.08, True),
        ("instructions", cost.get(loud, {}).get("instructions"), 27_000, True),
        ("instructions, logs and metrics off", cost.get(quiet, {}).get("instructions"), 23_500, True),
        ("allocations beyond bare hyper's", extra, 0, True),
        ("requests/s × Python service", _ratio(outcome, loud, "python", "requests_per_second"), 30, False),
        ("ready after start, ms", numbers.get("ready_ms") if small else None, 100, True),
        ("refresh, ms", numbers.get("refresh_ms") if small else None, 100, True),
        ("create, ms", numbers.get("create_ms") if small else None, 200, True),
        ("binary, MiB", numbers.get("binary_mib"), 15, True),
    ]


def _ratio(outcome: Outcome, name: str, base: str, member: str) -> float | None:
    if name not in outcome.rounds or base not in outcome.rounds:
        return None
    return _median(outcome, name, member) / _median(outcome, base, member)


def _ratio_text(outcome: Outcome, name: str, base: str, member: str) -> str:
    pairs = zip(outcome.rounds[name], outcome.rounds[base])
    single = [getattr(one, member) / getattr(other, member) for one, other in pairs]
    return f"{_short(_ratio(outcome, name, base, member))} ({_short(min(single))}–{_short(max(single))})"


def _median(outcome: Outcome, name: str, member: str) -> float:
    return statistics.median(getattr(one, member) for one in outcome.rounds[name])


def _spread(values: list[float], digits: int) -> str:
    median, lowest, highest = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({lowest}–{highest})"


def _short(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"
