"""A device that is played here: its scripts run in this process, its job does what a test says."""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from edgeclip.measurement import there
from edgeclip.measurement.job import FINISHED
from edgeclip.measurement.links import LinkLost

SCRIPTS = {script: name for name, script in vars(there).items() if name.isupper()}


class PlayedLink:
    """One connection to it; ``asked`` keeps what was asked, and the other attributes are for a test to change."""

    name, python = "played", "python3"

    def __init__(self, work=None):
        self.work = work or (lambda plan, folder: {})
        self.asked, self.sent, self.states = [], [], []  # states: told one after another, before the job has finished
        self.answers = {}  # a script's name: what is told in its place, (status, stdout, stderr)
        self.lost = 0  # calls that the connection does not live through
        self.full = 0  # files that do not fit on the disk
        self.closed = 0

    def run(self, words):
        self._breaks()
        python, first, *rest = words
        assert python == self.python
        if first != "-c":
            return self._job(first, *rest)
        script, *arguments = rest
        name = SCRIPTS.get(script, "REMOVE")
        self.asked.append((name, arguments))
        if name in self.answers:
            told = self.answers[name]
            return told.pop(0) if isinstance(told, list) else told
        return 0, played(script, arguments), ""

    def _job(self, runner, verb, folder):
        assert Path(runner).parent == Path(folder)
        self.asked.append((verb, [folder]))
        if self.states:
            return self.states.pop(0)
        if not (Path(folder) / "result.json").exists():
            plan = json.loads((Path(folder) / "plan.json").read_text())
            result = self.work(plan, Path(folder))
            (Path(folder) / "result.json").write_text(json.dumps(result))
            self.event(Path(folder), FINISHED)
            return 0, '{"state": "running"}', ""
        return 0, '{"state": "finished"}', ""

    @staticmethod
    def event(folder, text, done=1, steps=1):
        with (folder / "events.jsonl").open("a") as events:
            events.write(json.dumps({"text": text, "done": done, "steps": steps}) + "\n")

    def append(self, local, remote, start):
        self._breaks()
        self.sent.append((Path(remote).name, start))
        if self.full:
            self.full -= 1
            raise OSError("Failure")
        with Path(remote).open("ab") as file:
            file.write(local.read_bytes()[start:])

    def read(self, remote, start=0, most=None):
        self._breaks()
        path = Path(remote)
        content = path.read_bytes()[start:] if path.exists() else b""
        assert most is None or len(content) <= most, f"{path.name} is longer than was asked for"
        return content

    def close(self):
        self.closed += 1

    def _breaks(self):
        if self.lost:
            self.lost -= 1
            raise LinkLost(f"{self.name}: the line is cut")


def played(script, arguments):
    """What one of the scripts prints, run in this process."""
    before, sys.argv = sys.argv, ["-c", *arguments]
    try:
        with redirect_stdout(io.StringIO()) as out:
            exec(compile(script, "there", "exec"), {})
    finally:
        sys.argv = before
    return out.getvalue()
