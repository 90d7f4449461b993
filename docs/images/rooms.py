"""Draws docs/images/rooms.svg: the rooms, and what each imports. Run it after a change of rooms: a test compares.

python docs/images/rooms.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = {"exporting": ROOT / "export", "profiles": ROOT / "profiles"}
WIDTH, HEIGHT, GAP, ROW = 132, 34, 26, 84  # px


def rooms() -> dict[str, Path]:
    """The rooms of edgeclip and their folders."""
    folders = {path.parent.name: path.parent for path in (ROOT / "edgeclip").glob("*/__init__.py")}
    return dict(sorted({**folders, **PLACES}.items()))


def imports() -> dict[str, set[str]]:
    """What each room imports of the others, in functions and for types too."""
    known = rooms()
    return {room: set().union(*(_of(file, room, folder) for file in folder.rglob("*.py"))) & known.keys() - {room}
            for room, folder in known.items()}  # fmt: skip


def _of(file: Path, room: str, folder: Path) -> set[str]:
    package = ["edgeclip", room, *file.relative_to(folder).parts[:-1]]
    names: list[list[str]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            full = [*start, *(node.module.split(".") if node.module else [])]
            names += [full] if len(full) > 1 else [[*full, alias.name] for alias in node.names]
    return {name[1] for name in names if name[0] == "edgeclip" and len(name) > 1}


def levels(graph: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by the length of the longest way down from them, the lowest first."""
    depth: dict[str, int] = {}

    def measure(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max(map(measure, graph[room]), default=-1)
        return depth[room]

    for room in graph:
        measure(room)
    return [[room for room in graph if depth[room] == level] for level in range(max(depth.values()) + 1)]


def direct(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The arrows that no longer way stands for: those to what an imported room imports anyway are left out."""

    def below(room: str) -> set[str]:
        return set().union(*({other} | below(other) for other in graph[room])) if graph[room] else set()

    reached = {room: below(room) for room in graph}
    return {
        (room, other)
        for room in graph
        for other in graph[room]
        if not any(other in reached[between] for between in graph[room] - {other})
    }


def draw() -> str:
    """The picture, as SVG: who imports stands above what it imports."""
    graph = imports()
    rows = levels(graph)[::-1]
    wide = max(map(len, rows)) * (WIDTH + GAP) + GAP
    places = {}
    for number, row in enumerate(rows):
        left = (wide - len(row) * (WIDTH + GAP) + GAP) / 2
        places |= {room: (left + place * (WIDTH + GAP), 20 + number * ROW) for place, room in enumerate(row)}
    high = 20 + len(rows) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif">',
        "<style>path{fill:none;stroke:#8aa}rect{fill:#e6f2f1;stroke:#277}text{font-size:14px;text-anchor:middle}</style>",
        f'<rect width="{wide}" height="{high}" style="fill:#fff;stroke:none"/>',
    ]
    for upper, lower in sorted(direct(graph)):
        (x, y), (to, end) = places[upper], places[lower]
        x, to, y = x + WIDTH / 2, to + WIDTH / 2, y + HEIGHT
        bend = (end - y) / 2
        parts.append(f'<path d="M{x:.0f} {y} C{x:.0f} {y + bend:.0f} {to:.0f} {end - bend:.0f} {to:.0f} {end}"/>')
    for room, (x, y) in places.items():
        parts.append(f'<rect x="{x:.0f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x + WIDTH / 2:.0f}" y="{y + 22}">{room}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    (Path(__file__).parent / "rooms.svg").write_text(draw(), encoding="utf-8")
