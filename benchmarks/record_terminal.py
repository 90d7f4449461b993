"""A first use, as a terminal of 80 columns shows it: commands run in tmux, and its screen drawn as SVG.

    python benchmarks/record_terminal.py docs/images/first-run.svg -- \
        edgeclip init my-project --- edgeclip run my-project

Commands are separated by ``---``; they run one after another in the current folder, with the prompt that a user sees.
Needs tmux.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import subprocess
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, LINES = 80, 400  # so that nothing has scrolled away
SESSION = "edgeclip-recording"


def record(commands: list[list[str]], title: str) -> str:
    """What the terminal shows at the end, as SVG."""
    script = "; ".join(f"printf '$ %s\\n' {shlex.quote(shlex.join(one))}; {shlex.join(one)}" for one in commands)
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    tmux("new-session", "-d", "-s", SESSION, *size, f"sh -c {shlex.quote(script + '; sleep 3600')}")
    try:
        while not finished():
            time.sleep(1)
        shown = tmux("capture-pane", "-p", "-e", "-t", SESSION)
    finally:
        tmux("kill-session", "-t", SESSION)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.rstrip()))
    drawn = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # fonts from other people's servers


def finished() -> bool:
    """Whether the last command, the sleep, is what runs."""
    pane = tmux("list-panes", "-t", SESSION, "-F", "#{pane_pid}").strip()
    children = subprocess.run(["pgrep", "-P", pane, "-a"], capture_output=True, text=True, check=False).stdout
    return "sleep 3600" in children


def tmux(*words: str) -> str:
    """Run a tmux command; what it prints."""
    return subprocess.run(["tmux", *words], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("words", nargs="+", help="commands, separated by ---")
    given = parser.parse_args()
    commands: list[list[str]] = [[]]
    for word in given.words:
        commands[-1].append(word) if word != "---" else commands.append([])
    given.out.write_text(record(commands, "edgeclip"), encoding="utf-8")


if __name__ == "__main__":
    main()
