"""Every number that a file of ours may hold has its range, and what a person writes wrongly is told in one line."""

import copy
import importlib
import json
import pkgutil
from contextlib import suppress

import pytest
import tomli_w

import edgeclip
from edgeclip.base.documents import ClassChange, Document, read_document
from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.base.folders import Mark
from edgeclip.chain.project import Project
from edgeclip.chain.stages import Made, StageMade
from edgeclip.comparison.retention import Kept, Retention
from edgeclip.data.store import StoreDocument
from edgeclip.device.facts import describe_device
from edgeclip.distillation.config import DistillConfig, TextShape
from edgeclip.distillation.grounding import Selection
from edgeclip.distillation.run import RunDocument
from edgeclip.distillation.teachers import TeacherDocument
from edgeclip.evaluation.results import ClassScore, Evaluation, Score
from edgeclip.evaluation.suite import load_suite
from edgeclip.measurement.schema import EndToEnd, Figures, Finding, HotSpot, Judged, Row, Sustained, Timing
from edgeclip.measurement.schema import Reference as Beside
from edgeclip.profiling.schema import Budget
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import Criterion, Next, ProfileFacts, Report
from edgeclip.runtime.manifest import Fidelity, Manifest, Preprocess, Tried
from edgeclip.runtime.target import Runtime
from edgeclip.towers.spec import StudentSpec, read_spec
from edgeclip.towers.vit import vit_workload

CONFIG = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32, "mlp_ratio": 4.0}
WRONG = {**vit_workload(CONFIG).model_dump(), "params_m": 9.0}
ANY = 1e30, float("nan"), float("inf"), -float("inf")  # refused wherever they stand
# Fields that may be below zero, wherever they stand in a document.
BELOW_ZERO = {"retention", "score", "logit_bias", "temperature_c", "drift", "limit", "measured", "interval", "mask"} | {
    *("cosine_mean", "cosine_p1", "cosine_worst", "top1_drop", "change_low", "change_high", "alike"),
    *("score_percentiles", "more", "cosine_in_half"),
}
FREE = {"features", "facts", "device", "host", "before", "after", "student", "fingerprint", "figures"} | {
    *("by", "recipe", "calibration", "sensitivity", "text_config", "dataset", "profile", "vision_cfg"),
}  # tables whose keys are another's: only what is absurd anywhere is refused there


def documents(bundle=None):
    spec = StudentSpec(name="tiny", vision_cfg=CONFIG, workload=vit_workload(CONFIG), score=1.0, predicted_ms=2.0)
    yield load_profile("x86-avx2-2core")
    yield spec.model_copy(update={"target": load_profile("x86-avx2-2core").target})
    yield DistillConfig(text_tower="student", text_shape=TextShape(width=64, layers=2, heads=2), micro_batch=8)
    yield StoreDocument(fingerprint={"teacher": "x"}, rows=10, dim=8)
    square = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    yield TeacherDocument(name="t", fingerprint="f", embed_dim=8, logit_scale=100.0, image_size=32, preprocess=square)
    facts = {"teacher": "t", "teacher_fingerprint": "f", "images": "i", "texts": "t"}
    yield RunDocument(**facts, spec=spec, config=DistillConfig())
    yield load_suite("elevater")
    yield Project(teacher="demo", images="i", texts="t", dataset="d", budget=Budget(latency_ms=3.0, size_mb=2.0))
    yield Mark(kind="bundle", files=["a"])
    yield Made(stages={"export": StageMade(by={"images": "i"}, whole=True, seconds=2.0)}, files={"distill.toml": ["0"]})
    score = {"model": "m", "dataset": "d", "task": "zero-shot", "metric": "accuracy", "value": 0.5, "more": {"r": 0.1}}
    score |= {"images": 4, "classes": 2, "templates": 1, "top1": 0.5, "low": 0.1, "high": 0.9, "chance": 0.5}
    one = Score(**score, per_class=[ClassScore(name="c", images=2, recall=0.5)])
    yield Evaluation(model="m", suite="s", scores=[one], missing=[])
    kept = {"model": "m", "top1": 0.5, "low": 0.4, "high": 0.6, "mean_per_class": 0.5, "change_low": -0.1}
    loser = ClassChange(name="c", images=3, before=0.5, after=0.4)
    rows = [Kept(**kept, retention=0.9, agreement=0.9, losers=[loser], broken=[("a", "b", 1)])] * 2
    yield Retention(dataset="d", images=4, classes=2, chance=0.1, rows=rows)
    counts = dict.fromkeys(("images", "candidates", "neighbours", "cap", "voted_for", "full", "said_twice", "kept"), 1)
    texts = {"teacher": "t", "corpus": "c", "alike": 0.9, "score_percentiles": {"50": 0.2}}
    yield Selection(**{name: value for name, value in (counts | texts).items() if name in Selection.model_fields})
    yield _report()
    told = _report()
    shared = {"rows": told.rows, "rule": "r", "reference": told.reference, "name": "n", "created": "now"}
    here = {"runtime": Runtime(version="1", threads=2), "verified": [Finding(part="tokenizer", ok=True, detail="d")]}
    yield Figures(**shared, **here, bundle="0", device=describe_device(), dataset=told.dataset)
    if bundle:
        fidelity = Fidelity(cosine_mean=1, cosine_p1=1, cosine_worst=1, largest_difference=0, top1=1, top1_drop=0)
        tried = Tried(name="x", precision="fp16", fidelity=fidelity, relative_speed=1.5, outcome="kept")
        yield bundle.manifest.model_copy(update={"tried": [tried], "logit_bias": -10.0})


def _report():
    times = dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "spread"), 1.0)
    timing = Timing(**times, samples=1, raw_ms=[1.0], turns=[(0.0, 1.0)])
    ends = dict.fromkeys(("total_ms", "total_p90_ms", "decode_ms", "preprocess_ms", "inference_ms"), 1.0)
    shares = (
        "top1",
        "top5",
        "mean_per_class",
        "agreement",
        "flip_rate",
        "lost",
        "won",
        "on_provider",
        "calibration_error",
    )
    costs = ("import_ms", "load_ms", "first_ms", "predicted_ms", "peak_memory_mb", "energy_mj")
    row = Row(
        stage="s",
        size_bytes=3,
        runtime="r",
        timing=timing,
        end_to_end=EndToEnd(image="i", **ends),
        sustained=Sustained(seconds=1, window_seconds=1, last_over_first=1, each_second=[(0.0, 1.0)]),
        hot_spots=[HotSpot(operator="MatMul", share=0.5, nodes=2)],
        throughput={"1": 3.0},
        answers=[0],
        **dict.fromkeys(shares, 0.5),
        **dict.fromkeys(costs, 1.0),
        cosine_mean=1.0,
        cosine_worst=1.0,
    )
    return Report(
        name="n",
        created="now",
        verdict="unknown",
        recommended="fp32",
        rows=[row],
        criteria=[Criterion(name="c", limit=1.0, unit="ms", measured=2.0)],
        reference=Beside(graph="g", p50_ms=1.0, drift=-0.1, turns=[(0.0, 1.0)]),
        dataset=Judged(
            name="d", sha256="0", images=4, classes=2, templates=["{}"], chance=0.5, copies=1, effective_classes=1.5
        ),
        profile=ProfileFacts(name="p"),
        device=describe_device(),
        software={"edgeclip": "1"},
        next=[Next(what="w", p50_ms=1.0, known="measured", command="c")],
    )


def numbers(data, path=()):
    """Where a document holds numbers."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key)
        yield from numbers(value, (*path, key))


MISSING = object()


def spoilt(data, path, value):
    """A copy with another value there, or with none."""
    found = copy.deepcopy(data)
    table = found
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    if value is MISSING:
        del table[path[-1]]
    return found


def shapes(data):
    """One place of each kind: the tenth dataset of a suite is as the first."""
    seen = {}
    for path in numbers(data):
        seen.setdefault(tuple(0 if isinstance(key, int) else key for key in path), path)
    return seen.values()


def wrong_values(path):
    names = [key for key in path if isinstance(key, str)]
    yield from ANY
    if FREE & set(names):
        return
    yield "x"
    if not BELOW_ZERO & set(names):
        yield -1


@pytest.mark.slow
def test_every_number_of_every_file_has_its_range(bundle, tmp_path):
    tried, kinds, accepted = 0, set(), []
    for document in documents(bundle):
        kinds.add(type(document).FORMAT)
        data, file = document.as_data(), tmp_path / "a.json"
        file.write_text(json.dumps(data))
        assert read_document(file, type(document)) == document
        for path in shapes(data):
            for value in wrong_values(path):
                file.write_text(json.dumps(spoilt(data, path, value)))
                tried += 1
                try:
                    read_document(file, type(document))
                    accepted.append((type(document).__name__, path, value))
                except FormatError as told:
                    assert "\n" not in str(told), told
            for value in (0, None, [], {}, "", True):  # some fields may be this or that; none trips over it
                file.write_text(json.dumps(spoilt(data, path, value)))
                with suppress(FormatError):
                    read_document(file, type(document))
    assert not accepted
    assert kinds == every_kind()
    assert tried > 1000


def every_kind():
    """The formats of all documents there are; the probe's own index, which comes with the package, left aside."""
    for module in pkgutil.walk_packages(edgeclip.__path__, "edgeclip."):
        if not module.name.startswith(("edgeclip.runtime.engines.", "edgeclip.ecosystem", "edgeclip.__main__")):
            importlib.import_module(module.name)
    return {kind.FORMAT for kind in Document.__subclasses__() if kind.__module__.startswith("edgeclip.")} - {
        "edgeclip-probe-kit"
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("epochs = nan", "epochs: "),
        ("lr = -1", "greater than 0"),
        ("lr = 1e30", "less than or equal to 10"),
        ("epoch = 3", "epoch: unknown; did you mean epochs"),
        ("colour = 3", "colour: unknown; "),
        ("[augment]\nzoom = 2", "augment.zoom: unknown; known: area, aspect, flip, rotate"),
        ('weights = "dime"', "no preset 'dime'"),
        ("betas = [0.9, 1]", "less than 1"),
        ("seed = -1", "seed"),
        ('format = "edgeclip-profile"', "it calls itself 'edgeclip-profile'"),
        ("version = 0", "upgrade edgeclip"),
        ("version = true", "upgrade edgeclip"),
        ("a = " + "[" * 400 + "]" * 400, "too deep"),
        ("a = " + "[" * 60 + "]" * 60, "too deep"),
        ("epochs = ", "truncated or not valid TOML"),
        ("a = 1" + "0" * 5000, "not valid TOML"),
    ],
)
def test_settings_by_hand(tmp_path, content, complaint):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(EdgeclipError) as told:
        read_document(tmp_path / "a.toml", DistillConfig)
    assert complaint in str(told.value)
    assert "\n" not in str(told.value)


def test_settings_need_neither_format_nor_version(tmp_path):
    (tmp_path / "a.toml").write_text("\ufeffepochs = 3\n", encoding="utf-8")  # with a byte-order mark
    assert read_document(tmp_path / "a.toml", DistillConfig).epochs == 3


def test_what_a_file_calls_itself_is_said_how_to_write(tmp_path):
    content = load_profile("raspberry-pi-5").as_data()
    for missing, hint in (("format", 'write format = "edgeclip-profile"'), ("version", "and version = 2")):
        (tmp_path / "p.toml").write_text(tomli_w.dumps({k: v for k, v in content.items() if k != missing}))
        with pytest.raises(FormatError, match=hint):
            load_profile(str(tmp_path / "p.toml"))


@pytest.mark.parametrize(
    "content", [{"vision_cfg": CONFIG}, {"timm": "repvit_m0_9"}, {"timm": "repvit_m0_9", "image_size": 256}]
)
def test_a_spec_by_hand_needs_its_tower_alone(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    spec = read_spec(tmp_path / "a.json")
    assert spec.workload.gflops > 0
    assert spec.image_size == content.get("image_size", content.get("vision_cfg", {}).get("image_size", 224))
    assert spec.name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "vision_cfg"),
        ({"vision_cfg": {}}, "image_size: missing"),
        ({"vision_cfg": {**CONFIG, "image_size": 0}}, "image_size: 0 is not from 1 to 4096"),
        ({"vision_cfg": {**CONFIG, "layers": 10**6}}, "layers: 1000000 is not from 1 to 512"),
        ({"vision_cfg": {**CONFIG, "width": "wide"}}, "width: 'wide' is not from"),
        ({"vision_cfg": {**CONFIG, "width": 65}}, "multiple of head_width"),
        ({"vision_cfg": {**CONFIG, "patch_size": None}}, "patch_size"),
        ({"timm": "repvit_m99"}, "repvit_m99-224 is not in the table of towers"),
        (
            {"vision_cfg": CONFIG, "workload": {**vit_workload(CONFIG).model_dump(), "params_m": 9.0}},
            "leave workload out",
        ),
    ],
)
def test_a_spec_is_held_against_its_tower(tmp_path, content, complaint):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(FormatError) as told:
        read_spec(tmp_path / "a.json")
    assert complaint in str(told.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(FormatError, match="no plain file"):
        read_document(tmp_path / "pipe.toml", Manifest)
