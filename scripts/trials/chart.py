"""Curves over time as SVG, each in a frame of its own, with bars behind them for what was wrong meanwhile."""

from html import escape

WIDTH, FRAME, GAP, LEFT, RIGHT, TOP = 900, 130, 34, 70, 20, 190
# More bars than these would be too narrow for a name each; by then each has had its turn.
NAMED = 18
COLOURS = ["#3b6ea8", "#b0562a"]


def draw(title: str, seconds: list[float], frames: list[tuple[str, dict[str, list[float]]]], bars) -> str:
    """`frames` are a heading and its curves; `bars` are begin, end and name."""
    height = TOP + len(frames) * (FRAME + GAP) + 20
    last = max(seconds[-1], 1.0)
    x = lambda second: LEFT + (WIDTH - LEFT - RIGHT) * second / last  # noqa: E731
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for number, (begin, end, name) in enumerate(bars):
        wide = max(x(end) - x(begin), 1)
        parts.append(
            f'<rect x="{x(begin):.1f}" y="{TOP - 6}" width="{wide:.1f}" height="{height - TOP - 10}" fill="#f3e7d3">'
            f"<title>{escape(name)}</title></rect>"
        )
        middle = x((begin + end) / 2) + 4
        if number < NAMED:
            upwards = f'transform="rotate(-90 {middle:.1f} {TOP - 10})"'
            parts.append(f'<text x="{middle:.1f}" y="{TOP - 10}" {upwards} fill="#7a6440">{escape(name)}</text>')
    for number, (heading, curves) in enumerate(frames):
        bottom = TOP + number * (FRAME + GAP) + FRAME
        parts += _frame(heading, curves, seconds, x, bottom)
    return "\n".join([*parts, "</svg>\n"])


def _frame(heading: str, curves: dict[str, list[float]], seconds: list[float], x, bottom: float) -> list[str]:
    most = max((max(values) for values in curves.values() if values), default=1.0) * 1.1 or 1.0
    y = lambda value: bottom - (FRAME - 18) * value / most  # noqa: E731
    parts = [
        f'<text x="{LEFT}" y="{bottom - FRAME + 10}" font-weight="bold">{escape(heading)}</text>',
        f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#999"/>',
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{LEFT - 6}" y="{y(most / 1.1) + 4:.1f}" text-anchor="end">{most / 1.1:.4g}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 13}" text-anchor="end">{seconds[-1]:.0f} s</text>',
    ]
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(seconds, values))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        parts.append(
            f'<text x="{WIDTH - RIGHT - 90 * number}" y="{bottom - FRAME + 10}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return parts
