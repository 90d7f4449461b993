"""From what a device sent back to a row: every figure is the one that was measured."""

import numpy as np
import pytest

from edgeclip.comparison.embeddings import nearer
from edgeclip.device.sensors import SensorReadings
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.intervals import wilson
from edgeclip.evaluation.zeroshot import classify
from edgeclip.measurement.results import EnergyPerImage, SustainedRun, TowerResult
from edgeclip.measurement.rows import accuracy_columns, device_columns, timing
from edgeclip.runtime.engines.protocol import HotSpots, OperatorShare
from edgeclip.runtime.timing import Samples, burst, interleaved, percentiles
from edgeclip.runtime.worker import FileToEmbedding, Opened

OPENED = Opened("an engine", "1", 1.0, 2.0, 3.0, 4.0, asked_provider="A", providers=["B"])


def test_the_latency_of_a_row_is_what_was_measured():
    ms = [10.0, 12.0, 11.0, 14.0, 13.0]
    row = timing(TowerResult(latency=percentiles(ms), samples_ms=ms, turns=[(0.2, 11.0)]))
    assert (row.p50_ms, row.max_ms, row.samples, row.raw_ms) == (12.0, 14.0, 5, ms)
    assert row.p90_ms == pytest.approx(np.percentile(ms, 90))
    assert (row.p95_ms, row.p99_ms) == pytest.approx((np.percentile(ms, 95), np.percentile(ms, 99)))
    assert row.spread == pytest.approx((np.percentile(ms, 90) - np.percentile(ms, 10)) / 12.0)
    assert row.turns == [(0.2, 11.0)]
    assert timing(TowerResult(failed="it crashed")) is None


def test_what_the_device_told_stands_in_the_row():
    columns = device_columns(
        TowerResult(
            opened=OPENED,
            throughput={"8": 9.0},
            end_to_end=FileToEmbedding("x.jpg", {"p50": 5.0, "p90": 6.0}, 1.0, 2.0, 2.0),
            hot_spots=HotSpots([OperatorShare("Conv", 1.0, 2)], ["Conv on B"], 0.25),
            energy=EnergyPerImage(7.0, "rapl"),
            sustained=SustainedRun(60, 30.0, 1.1, [(0.0, 1.0)], SensorReadings()),
        )
    )
    assert [columns[name] for name in ("import_ms", "load_ms", "first_ms", "peak_memory_mb")] == [1.0, 2.0, 3.0, 4.0]
    assert (columns["runtime"], columns["on_provider"]) == ("an engine 1", 0.25)
    assert (columns["provider"], columns["providers"], columns["fell_back"]) == ("A", ["B"], ["Conv on B"])
    assert (columns["end_to_end"].total_ms, columns["end_to_end"].total_p90_ms) == (5.0, 6.0)
    assert (columns["energy_mj"], columns["energy_sensor"], columns["throughput"]) == (7.0, "rapl", {"8": 9.0})
    assert columns["sustained"].last_over_first == 1.1
    assert device_columns(TowerResult(failed="why"))["failed"] == "why"


def answers(rows, labels):
    embeds = np.eye(3, dtype=np.float32)[rows]
    return classify(Embedded(embeds, np.array(labels), []), np.eye(3, dtype=np.float32))


def test_two_stages_are_compared_image_by_image():
    before, after = answers([0, 1, 2, 2], [0, 1, 2, 0]), answers([0, 1, 1, 0], [0, 1, 2, 0])
    columns = accuracy_columns(after, before, ["a", "b", "c"])
    assert (columns["top1"], columns["right"], columns["answers"]) == (0.75, "1101", [0, 1, 1, 0])
    assert columns["top1_interval"] == wilson(0.75, 4)
    assert (columns["agreement"], columns["flip_rate"]) == (0.5, 0.5)
    assert (columns["lost"], columns["won"]) == (0.25, 0.25)
    assert columns["p_value"] == 1.0
    assert [(c.name, c.before, c.after) for c in columns["losers"]] == [("c", 1.0, 0.0)]
    assert [(c.name, c.before, c.after) for c in columns["winners"]] == [("a", 0.5, 1.0)]
    assert columns["broken"] == [("c", "b", 1)]
    assert (columns["cosine_mean"], columns["cosine_worst"]) == (0.5, 0.0)
    assert "agreement" not in accuracy_columns(after, None, [])


def test_what_was_lost_is_told_as_lost_and_mcnemar_counts_what_changed():
    """Nine images of class a: six lost, one won, all by name."""
    before, after = [0, 0, 0, 0, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1, 0, 0, 1]
    labels = [0] * 9
    columns = accuracy_columns(answers(after, labels), answers(before, labels), ["a", "b", "c"])
    assert (columns["lost"], columns["won"]) == (pytest.approx(6 / 9), pytest.approx(1 / 9))
    assert columns["p_value"] == pytest.approx(2 * (1 + 7) / 2**7), "of 6 and 1, not of all that are right"
    assert [(one.name, one.before, one.after) for one in columns["losers"]] == [("a", 7 / 9, 2 / 9)]
    assert columns["winners"] == []
    assert columns["calibration_error"] == answers(after, labels).calibration_error


def test_joules_are_told_in_thousandths(monkeypatch):
    from contextlib import contextmanager
    from types import SimpleNamespace

    from edgeclip.measurement import bench

    @contextmanager
    def five_joules():
        yield SimpleNamespace(joules=5.0, sensor="meter")

    monkeypatch.setattr(bench, "energy", five_joules)
    worker = SimpleNamespace(burst=lambda seconds: [1.0] * 9)
    row = TowerResult()
    bench._measure_energy(row, worker)
    assert row.energy == EnergyPerImage(500.0, "meter"), "of ten images"


def test_a_call_takes_the_milliseconds_that_it_takes():
    clock = iter(range(0, 10**12, 3_000_000))  # every look at the clock is 3 ms later

    def told():
        return next(clock)

    from edgeclip.runtime import timing as module

    original = module.time.perf_counter_ns
    module.time.perf_counter_ns = told
    try:
        calls = []
        found = burst(lambda: calls.append(1), seconds=0, least=4)
        both = interleaved({"a": lambda: None, "b": lambda: None}, seconds=0, warmup=0, burst=2)
    finally:
        module.time.perf_counter_ns = original
    assert found == [3.0] * 4
    assert len(calls) == 5, "the first call is not counted"
    assert [samples.ms.tolist() for samples in both.values()] == [[3.0] * 4] * 2
    assert both["a"].p50 == both["a"].p99 == 3.0


def test_percentiles_are_of_single_calls():
    samples = Samples(np.arange(1.0, 102.0))
    assert (samples.p50, samples.p90, samples.p99, samples.spread) == (51.0, 91.0, 100.0, 80 / 51)
    assert percentiles(samples.ms.tolist()) == {"p50": 51.0, "p90": 91.0, "p95": 96.0, "p99": 100.0, "max": 101.0}


def test_what_a_stage_agrees_in_is_not_what_it_flips():
    labels, before, after = [0, 1, 2, 0, 1, 2, 0, 1], [0] * 8, [0, 0, 0, 0, 0, 0, 1, 1]
    columns = accuracy_columns(answers(after, labels), answers(before, labels), ["a", "b", "c"])
    assert (columns["agreement"], columns["flip_rate"]) == (0.75, 0.25)
    assert columns["flip_interval"] == wilson(0.25, 8)
    assert columns["mean_per_class"] == pytest.approx(np.mean([2 / 3, 1 / 3, 0.0]))
    assert columns["top5"] == answers(after, labels).top5
    assert columns["nearer"] is not None
    several = answers(after, labels)
    several = type(several)(**{**vars(several), "labels": np.eye(3, dtype=bool)[labels]})
    assert accuracy_columns(several, None, ["a", "b", "c"])["mean_per_class"] is None


def test_nearer_is_by_the_standard_error_of_the_mean():
    own, other = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    assert nearer(own, other) == (1.0, 1.0), "no image is held against itself"
    low, high = nearer(np.stack([own[0], own[1], own[1]]), other)
    gains = np.array([1.0, 1.0, -1.0 if abs(low + high) < 1 else 0.0])  # the third is held against the second, or first
    assert (low + high) / 2 == pytest.approx(gains.mean())
    assert (high - low) / 2 == pytest.approx(1.959964 * gains.std(ddof=1) / 3**0.5)
    assert nearer(own[:2], other[:2]) == (1.0, 1.0)
    assert nearer(own[:2].astype(np.float16), other[:2]) == (1.0, 1.0)


def test_a_device_that_told_little_leaves_the_rest_open():
    assert device_columns(TowerResult()) == {"failed": None, "timing": None, "throughput": {}}
    spots = HotSpots([OperatorShare("Conv", 1.0, 2)], [])
    (spot,) = device_columns(TowerResult(hot_spots=spots))["hot_spots"]
    assert (spot.operator, spot.share, spot.nodes) == ("Conv", 1.0, 2)
    assert device_columns(TowerResult(failed="late", opened=OPENED))["failed"] == "late"
