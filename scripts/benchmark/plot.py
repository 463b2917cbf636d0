"""A bar plot as SVG, legible on light and dark pages, without any library."""

from xml.sax.saxutils import escape

# Label, median, lowest, highest.
Row = tuple[str, float, float, float]

WIDTH, LEFT, BAR, GAP, TOP = 860, 330, 22, 12, 56
OURS, OTHERS = "#d9480f", "#748ffc"


def bars(title: str, subtitle: str, rows: list[Row], highlight: str, longest: float) -> str:
    """Labels that begin with `highlight` get the other colour. Values over `longest` are drawn as a broken bar."""
    height = TOP + len(rows) * (BAR + GAP) + GAP
    scale = (WIDTH - LEFT - 90) / longest
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13" aria-label="{escape(title)}">',
        "<style>text{fill:#1c1c1c}.q{stroke:#1c1c1c}@media(prefers-color-scheme:dark)"
        "{text{fill:#e6e6e6}.q{stroke:#e6e6e6}}</style>",
        f'<text x="12" y="22" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="12" y="42" opacity="0.75">{escape(subtitle)}</text>',
    ]
    for place, row in enumerate(rows):
        draw = _broken if row[1] > longest else _whole
        lines += draw(row, TOP + GAP + place * (BAR + GAP), scale, highlight)
    return "\n".join([*lines, "</svg>", ""])


def _whole(row: Row, y: int, scale: float, highlight: str) -> list[str]:
    label, median, lowest, highest = row
    middle, end = y + BAR / 2, LEFT + highest * scale
    return [
        *_bar(label, y, median * scale, highlight),
        f'<line class="q" x1="{LEFT + lowest * scale:.1f}" x2="{end:.1f}" '
        f'y1="{middle}" y2="{middle}" stroke-width="1.5" opacity="0.7"/>',
        f'<text x="{end + 8:.1f}" y="{middle + 4.5}" font-weight="600">{median:.1f}</text>',
    ]


def _broken(row: Row, y: int, _scale: float, highlight: str) -> list[str]:
    label, median, _, _ = row
    full = WIDTH - LEFT - 90
    gap = LEFT + full - 40
    return [
        *_bar(label, y, full - 40, highlight),
        *_bar("", y, full, highlight, start=gap + 8),
        f'<text x="{LEFT + full + 8}" y="{y + BAR / 2 + 4.5}" font-weight="600">{median:,.0f}</text>',
    ]


def _bar(label: str, y: int, length: float, highlight: str, start: float = LEFT) -> list[str]:
    colour = OURS if label.startswith(highlight) else OTHERS
    name = escape(label.replace("`", ""))
    return [
        f'<text x="{LEFT - 10}" y="{y + BAR / 2 + 4.5}" text-anchor="end">{name}</text>',
        f'<rect x="{start}" y="{y}" width="{LEFT + length - start:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
    ]
