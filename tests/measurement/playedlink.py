"""A device that is played here: its agent runs in this process, its job does what a test says."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.device.facts import describe_device
from edgeclip.device.sensors import read_sensors
from edgeclip.measurement.agent import Agent
from edgeclip.measurement.bench import RULE
from edgeclip.measurement.job import FINISHED
from edgeclip.measurement.links import DeviceRefused, LinkLost
from edgeclip.measurement.remote import open_remote

LOOK = {"missing": [], "base": "/b", "edgeclip": False, "free": 10**9}


class PlayedLink:
    """One connection to it; ``asked`` keeps what was asked, and the other attributes are for a test to change."""

    name, python = "played", "python3"

    def __init__(self, work=None):
        self.work = work or (lambda plan, folder: {})
        self.agent = Agent(None)
        self.agent.base = Path(tempfile.mkdtemp())  # where a played answer names none
        self.asked, self.sent, self.states = [], [], []  # states: told one after another, before the job has finished
        self.answers = {}  # a command's name: the JSON that is told in its place, or what is raised, or a list of these
        self.lost = 0  # calls that the connection does not live through
        self.full = 0  # files that do not fit on the disk
        self.closed = 0

    def ask(self, do, **arguments):
        self._breaks()
        self.asked.append((do, arguments))
        if do == "job":
            return self._job(**arguments)
        if do in self.answers:
            told = self.answers[do]
            told = told.pop(0) if isinstance(told, list) else told
            if isinstance(told, Exception):
                raise told
            return told
        try:
            return json.dumps(getattr(self.agent, do)(**arguments))
        except OSError as error:
            raise DeviceRefused(f"{type(error).__name__}: {error}") from None

    def _job(self, runner, folder):
        assert Path(runner).parent == Path(folder)
        status, out, complaint = self.states.pop(0) if self.states else (0, self._state(Path(folder)), "")
        return json.dumps({"status": status, "out": out, "complaint": complaint})

    def _state(self, folder):
        if (folder / "result.json").exists():
            return '{"state": "finished"}'
        result = self.work(json.loads((folder / "plan.json").read_text()), folder)
        (folder / "result.json").write_text(json.dumps(result))
        self.event(folder, FINISHED)
        return '{"state": "running"}'

    @staticmethod
    def event(folder, text, done=1, steps=1):
        with (folder / "events.jsonl").open("a") as events:
            events.write(json.dumps({"text": text, "done": done, "steps": steps}) + "\n")

    def append(self, local, remote, start):
        self._breaks()
        self.sent.append((Path(remote).name, start))
        if self.full:
            self.full -= 1
            raise DeviceRefused("OSError: No space left on device")
        with Path(remote).open("ab") as file:
            file.write(local.read_bytes()[start:])

    def read(self, remote, start=0, most=None, wait=0):
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


def benched(plan, folder, *, milliseconds=2.0, images=3):
    """The answer of a device that measured all that it was sent, and a file of embeddings for each tower."""
    opened = {"engine": "played", "version": "1", "import_ms": 1.0, "load_ms": 1.0, "first_ms": 1.0}
    opened |= {"peak_memory_mb": None, "asked_provider": "CPU", "providers": ["CPU"]}
    row = {"opened": opened, "latency": {"p50": milliseconds}, "samples_ms": [milliseconds], "turns": [[0.0, 2.0]]}
    rows = {name: {**row, "embeds": {"images": images, "broken": []}} for name in plan["bench"]["towers"]}
    for number in range(len(rows)):
        np.save(folder / f"{number}.npy", np.full((images, 4), number, np.float32))
    machine = describe_device().model_copy(update={"cpu": "a board"}).model_dump()
    still = asdict(read_sensors())
    return {"rows": rows, "reference": row, "rule": RULE, "before": still, "after": still, "machine": machine}


def told_of(action):
    """The line that an action ends in."""
    with pytest.raises(EdgeclipError) as error:
        action()
    return str(error.value)


def look():
    with open_remote("ssh://pi@board/opt/python"):
        pass
