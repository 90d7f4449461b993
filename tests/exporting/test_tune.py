"""Judging and choosing: the gate, the blocks that go back to float, the fastest faithful candidate."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeclip.exporting import tune
from edgeclip.exporting.fp16 import convert_fp16
from edgeclip.exporting.graphs import read_graph
from edgeclip.exporting.int8 import X86_VNNI, Calibrated
from edgeclip.exporting.sensitivity import Sensitivity, plot, rank_blocks, restored
from edgeclip.exporting.tune import Candidate, Judge, Tuner, fastest
from edgeclip.exporting.validate import EvaluationSet, Gate, compare, with_accuracy
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.manifest import Fidelity
from edgeclip.runtime.trial import Trial

from .test_precision import loud_tower


def candidate(name, precision="int8", cosine=1.0, speed=1.0, drop=None):
    found = Fidelity(cosine_mean=cosine, cosine_worst=cosine, largest_difference=0, top1_drop=drop)
    return Candidate(name, precision, None, {}, fidelity=found, relative_speed=speed)


@pytest.fixture
def tuner(vit):
    reference = Onnxruntime().open(vit.file).run(vit.pixels)
    return Tuner(reference, vit.pixels, Judge(Onnxruntime(), None, 1), Gate())


def test_nan_never_looks_faithful():
    good = np.float32([[1, 0], [0, 1]])
    assert compare(good, good).cosine_worst == 1
    assert not Gate().passes(compare(good, np.full_like(good, np.nan)))


def test_an_exam_counts_answers():
    evaluation_set = EvaluationSet(np.empty(0), np.array([0, 1, 1]), np.float32([[1, 0], [0, 1]]))
    right = np.float32([[1, 0], [0, 1], [0, 1]])
    wrong = np.float32([[1, 0], [0, 1], [1, 0]])
    found = with_accuracy(compare(right, wrong), evaluation_set, right, wrong)
    assert (found.top1, found.agreement) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.top1_drop == pytest.approx(100 / 3)
    assert not Gate(cosine=0, drop=1.0).passes(found)
    assert Gate(cosine=2, drop=50.0).passes(found), "with an evaluation set, cosines do not count"


def test_the_fastest_faithful_one_is_recommended(tuner):
    plain, half, fast = candidate("fp32", "fp32"), candidate("fp16", "fp16", 0.9999, 1.4), candidate("q", speed=2.0)
    assert tuner.recommended([plain, half, fast]) is fast
    fast.fidelity = fast.fidelity.model_copy(update={"cosine_mean": 0.9})
    assert tuner.recommended([plain, half, fast]) is half
    half.relative_speed = 1.01
    assert tuner.recommended([plain, half, fast]) is plain, "a hundredth is noise"


def test_of_equally_fast_ones_the_most_faithful_is_kept():
    a, b, slow = candidate("a", cosine=0.9991, speed=2.02), candidate("b", cosine=0.9999, speed=2), candidate("c")
    assert fastest([a, b, slow]) is b
    assert fastest([]) is None


def test_blocks_are_ranked_by_what_they_lose(vit, tmp_path):
    calibrated = Calibrated(vit.file, vit.pixels)
    blocks = calibrated.blocks
    reference = np.float32([[1, 0]])
    hurt = {blocks[2]: 0.5, blocks[0]: 0.1}

    def embed(recipe):
        (alone,) = set(blocks) - set(recipe.kept_float)
        cosine = 1 - hurt.get(alone, 0.0)
        return np.float32([[cosine, np.sqrt(1 - cosine**2)]])

    ranking = rank_blocks(calibrated, X86_VNNI, embed, reference)
    assert [one.block for one in ranking[:2]] == [blocks[2], blocks[0]]
    assert ranking[0].error == pytest.approx(0.5)
    assert [recipe.kept_float for recipe in restored(X86_VNNI, ranking)] == [(blocks[2],), (blocks[2], blocks[0])]
    drawn = plot([*ranking, Sensitivity("<script>", 0.0)], [(1, 0.99), (2, 0.9995)], 0.999)
    assert "<script>" not in drawn
    assert drawn.count("<rect") == len(blocks) + 1


def test_the_worst_blocks_go_back_to_float_until_the_gate_holds(vit, tuner, tmp_path, monkeypatch):
    calibrated = Calibrated(vit.file, vit.pixels)
    tuner.enter_int8(calibrated, X86_VNNI, tmp_path)
    easy = len(tuner.candidates)
    assert easy == 2 and not tuner.ranking, "plain and smoothed were good enough"
    best = max(c.fidelity.cosine_mean for c in tuner.candidates)
    tuner.gate = Gate(cosine=best + (1 - best) / 10)
    tuner.enter_int8(calibrated, X86_VNNI, tmp_path)
    assert len(tuner.ranking) == len(calibrated.blocks)
    counts, cosines = zip(*tuner.steps, strict=True)
    assert counts == tuple(range(1, len(counts) + 1))
    assert cosines[-1] > best, "blocks in float must bring the embeddings nearer"


def test_every_candidate_that_runs_is_timed_and_told_of(vit, tuner, tmp_path):
    tuner.enter(Candidate("fp32", "fp32", vit.file, {}))
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    tuner.enter(Candidate("broken", "fp16", tmp_path / "broken.onnx", {}))
    tuner.time(seconds=0)
    plain, broken = tuner.candidates
    assert plain.relative_speed == 1
    assert broken.fidelity is None and broken.relative_speed is None
    assert tuner.best("fp16") is None
    table = tuner.table([plain], plain)
    assert [row.outcome.partition(":")[0] for row in table] == ["recommended", "skipped"]


def test_a_crash_of_the_runtime_is_a_finding(vit, tuner, monkeypatch):
    monkeypatch.setattr(tune, "try_graph", lambda *_, **__: Trial(np.empty((0, 0)), "the runtime crashed"))
    assert not tuner.enter(Candidate("fp16", "fp16", vit.file, {}))
    assert tuner.table([], tuner.candidates[0])[0].outcome == "skipped: the runtime crashed"


def test_fp16_that_overflows_where_half_is_half_is_left_out(vit, tuner, tmp_path):
    """The CPU's own answer, cast to fp32 and back, is faultless."""
    loud = loud_tower(read_graph(vit.file), 1e5)
    onnx.save(loud, tmp_path / "loud.onnx")
    convert_fp16(tmp_path / "loud.onnx", tmp_path / "half.onnx")
    assert not tuner.enter(Candidate("fp16", "fp16", tmp_path / "half.onnx", {}))
    assert tuner.table([], None)[0].outcome == "skipped: in half precision it gives NaN or infinity"
    convert_fp16(tmp_path / "loud.onnx", tmp_path / "kept.onnx", vit.pixels)
    kept = Candidate("fp16", "fp16", tmp_path / "kept.onnx", {})
    assert tuner.enter(kept)
    assert kept.fidelity.cosine_mean <= kept.recipe["cosine_in_half"] <= 1


def test_an_exam_that_was_sat_in_fp32_does_not_excuse_half_precision(tuner):
    half = candidate("fp16", "fp16", cosine=0.99999, drop=0.0)
    assert tuner.faithful(half)
    half.recipe["cosine_in_half"] = 0.9
    assert not tuner.faithful(half)


def test_an_operator_that_the_reference_lacks_leaves_half_precision_unknown(vit, tuner, tmp_path, capsys):
    convert_fp16(vit.file, tmp_path / "half.onnx")
    model = onnx.load(tmp_path / "half.onnx")
    gelu = next(node for node in model.graph.node if node.op_type == "Gelu")
    gelu.domain = "com.microsoft"
    del gelu.attribute[:]  # theirs knows none
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "half.onnx")
    half = Candidate("fp16", "fp16", tmp_path / "half.onnx", {})
    tuner.enter(half)
    assert "unknown here: onnx's reference lacks Gelu" in capsys.readouterr().err
    assert half.recipe["cosine_in_half"] is None


def test_candidates_run_on_the_targets_own_provider(tuner, vit):
    other = replace(tuner, judge=Judge(Onnxruntime(), "AzureExecutionProvider", 1))
    session = other._open(Candidate("fp32", "fp32", vit.file, {"recipe": "fp32"}))
    assert session.providers[0] == "AzureExecutionProvider"
    assert tuner._open(Candidate("fp32", "fp32", vit.file, {})).providers[0] == "CPUExecutionProvider"
