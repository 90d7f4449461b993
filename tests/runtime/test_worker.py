"""Towers in processes of their own: they take turns, and a crash is a finding."""

import os
import signal
import sys
from dataclasses import replace

import pytest
from PIL import Image

from edgeclip.runtime import turns
from edgeclip.runtime.towerjob import TowerJob
from edgeclip.runtime.turns import SAMPLES, Call, Crashed, Worker, take_turns

NOTHING = TowerJob("no graph")
COMMAND = [sys.executable, "-m", "edgeclip.runtime.worker"]


@pytest.fixture
def worker(bundle):
    with Worker(COMMAND, bundle.encoder("fp32", threads=1).job) as opened:
        yield opened


def test_what_a_tower_tells(worker, images_dir, tmp_path):
    opened = worker.ask("open")
    assert opened["providers"] == [opened["asked_provider"]] == ["CPUExecutionProvider"]
    assert opened["load_ms"] > 0 < opened["first_ms"]
    assert worker.ask("batch", size=4, seconds=0.01) > 0
    end = worker.ask("end_to_end", seconds=0.01)
    assert min(end["total_ms"]["p50"], end["decode_ms"], end["preprocess_ms"], end["inference_ms"]) > 0
    hot = worker.ask("hot_spots")
    assert sum(spot["share"] for spot in hot["operators"]) == pytest.approx(1)
    assert {"MatMul", "Conv"} <= {spot["operator"] for spot in hot["operators"]}
    assert hot["fell_back"] == []


def test_times_are_milliseconds(bundle, monkeypatch):
    """Every look at the clock is two seconds later."""
    from edgeclip.runtime import worker as module

    tower = module.Tower(bundle.encoder("fp32", threads=1).job)
    clock = iter(range(0, 10**6, 2))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    opened = tower.open()
    assert {getattr(opened, f"{name}_ms") for name in ("import", "load", "first")} == {2000.0}
    monkeypatch.setattr(module, "burst", lambda one, seconds: [one() or 1.0 for _ in range(3)])
    end = tower.end_to_end(seconds=0)
    assert {getattr(end, f"{name}_ms") for name in ("decode", "preprocess", "inference")} == {2000.0}


class Engines:
    """An engine that hangs, and one that answers nonsense, as a package might bring them."""

    HANGS = [sys.executable, "-c", "import time; time.sleep(600)"]
    BABBLES = [sys.executable, "-c", "import sys; sys.stdin.readline(); print('nonsense'); sys.stdin.readline()"]
    PROGRESSES = [
        sys.executable,
        "-c",
        "import sys, time; sys.stdin.readline()\n"
        "for n in range(4): print('{\"progress\": %d}' % n, flush=True); time.sleep(0.4)\n"
        "print('{\"answer\": 4}', flush=True); sys.stdin.readline()",
    ]


def test_a_worker_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(turns, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(turns, "OPEN_SECONDS", 0.6)
    for command in ("embed", "open"):
        with Worker(Engines.HANGS, NOTHING) as worker:
            with pytest.raises(Crashed, match="it hung: no answer for 0 minutes"):
                worker.ask(command)
            assert worker._process.wait(timeout=30) < 0


def test_a_worker_that_tells_how_far_it_is_does_not_hang(monkeypatch):
    monkeypatch.setattr(turns, "SILENT_SECONDS", 30.0)
    with Worker(Engines.PROGRESSES, NOTHING) as worker:
        told = []
        assert worker.ask("embed", on_progress=told.append) == 4
        assert told == [0, 1, 2, 3]


def test_a_worker_that_babbles_has_crashed():
    with (
        Worker(Engines.BABBLES, NOTHING) as worker,
        pytest.raises(Crashed, match="which is not an answer"),
    ):
        worker.ask("open")


def test_embeddings_are_those_of_the_encoder(worker, bundle, images_dir, tmp_path):
    import numpy as np

    files = sorted(images_dir.iterdir())[:5]
    (tmp_path / "empty.png").touch()
    told = worker.ask("embed", files=[*map(str, files), str(tmp_path / "empty.png")], out=str(tmp_path / "e.npy"))
    found = np.load(tmp_path / "e.npy")
    assert told == {"images": 6, "broken": [5]}
    assert np.allclose(found[:5], bundle.encoder("fp32").encode_image([Image.open(f) for f in files]), atol=1e-5)
    assert (found[5] == 0).all()


def test_peak_memory_is_of_the_process_alone(worker):
    hoard = bytearray(os.urandom(1)) * (400 << 20)
    peak = worker.ask("open")["peak_memory_mb"]
    if peak is None:
        pytest.skip("this system does not tell")
    assert 30 < peak < 300, "the parent's memory was counted, or nothing was"
    assert len(hoard)


def test_a_crash_is_told_with_its_signal(worker):
    worker.ask("open")
    os.kill(worker._process.pid, signal.SIGSEGV)
    with pytest.raises(Crashed, match="signal 11"):
        worker.burst(0.01)


def test_a_graph_that_cannot_be_opened_is_told(bundle, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    job = replace(bundle.encoder("fp32").job, graph=str(tmp_path / "broken.onnx"))
    with Worker(COMMAND, job) as opened, pytest.raises(Crashed, match="cannot open it"):
        opened.ask("open")


class Dying:
    """Crashes in its second turn."""

    def __init__(self):
        self.turns = 0

    def burst(self, seconds):
        self.turns += 1
        if self.turns == 2:
            raise Crashed("signal 4")
        return [1.0] * 9


def test_a_contender_that_dies_is_out_and_the_others_go_on():
    calls = []
    found = take_turns({"dying": Dying(), "well": Call(lambda: calls.append(1))}, seconds=0.0)
    assert found["dying"].failed == "signal 4"
    assert len(found["dying"].ms) == 9
    assert found["well"].failed is None
    assert SAMPLES <= len(found["well"].ms) < len(calls), "the first call of a turn is not counted"
    assert len(found["well"].turns) >= 2


class Pace:
    """A contender of which every turn is counted."""

    def __init__(self, *ms):
        self.ms, self.turns = list(ms), 0

    def burst(self, seconds):
        self.turns += 1
        return self.ms


def test_a_slow_one_goes_on_until_ten_seconds_and_the_pacemaker_with_it():
    slow, quick, pace = Pace(*[1000.0] * 2), Pace(*[1.0] * 600), Pace(2000.0)
    found = take_turns({"slow": slow, "quick": quick, "pace": pace}, seconds=0.0, pacemaker="pace")
    assert (slow.turns, quick.turns, pace.turns) == (5, 2, 5)
    assert sum(found["slow"].ms) == 10000


def test_nobody_left_is_an_end_too():
    dying = Dying()
    dying.turns = 1
    assert take_turns({"a": dying, "pace": Pace(1.0)}, seconds=60, pacemaker="pace")["a"].failed == "signal 4"
