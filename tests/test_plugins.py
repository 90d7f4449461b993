"""A new engine and a new family of towers: a file of its own and a line that registers it; the chain runs with it."""

import json
import sys

import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.device.facts import target_here
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import SANITY
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.engines.registry import fastest_engine, find_engine
from edgeclip.towers.registry import families
from edgeclip.towers.space import name_of, whole_space, workload_of

from .test_cli import run

ENGINE = '''
"""onnxruntime as it comes, with none of our settings: enough of an engine to be told from ours."""

from edgeclip.runtime.engines.protocol import HotSpots


class Session:
    providers, concurrent = ("CPU",), False

    def __init__(self, graph):
        from onnxruntime import InferenceSession

        self._graph = InferenceSession(str(graph), providers=["CPUExecutionProvider"])

    def run(self, rows):
        return self._graph.run(None, {self._graph.get_inputs()[0].name: rows})[0]


class Bare:
    name, provider, accelerator = "bare", "CPU", False

    def unavailable(self):
        return None

    def version(self):
        return "1.0"

    def providers(self):
        return ("CPU",)

    def precisions(self, provider):
        return ("fp32",)

    def recipe(self, precision, features):
        return precision

    def reads(self, recipe):
        return recipe == "fp32"

    def open(self, graph, *, precision="fp32", threads=None, provider=None, as_written=False):
        return Session(graph)

    def hot_spots(self, graph, rows, **settings):
        return HotSpots(operators=[], fell_back=[])


engine = Bare()
'''

FAMILY = '''
"""timm's smallest ResNet, counted when it is asked for."""

from edgeclip.towers.family import Columns

CONFIG = {"timm_model_name": "test_resnet", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}


class Resnets:
    def workload(self, vision_cfg):
        from edgeclip.models.build import build_tower
        from edgeclip.towers.operators import count

        return count(build_tower(dict(vision_cfg)), [vision_cfg["image_size"]], "toy")[0]

    def owns(self, vision_cfg):
        return vision_cfg.get("timm_model_name") == "test_resnet"

    def name_of(self, vision_cfg):
        return f"toy-{vision_cfg['image_size']}"

    def candidates(self, max_image_size):
        return Sizes(self, [size for size in (32, 64) if size <= max_image_size])


class Sizes:
    def __init__(self, family, sizes):
        self.sizes = sizes
        loads = [family.workload(self.vision_cfg(row)) for row in range(len(sizes))]
        self.columns = Columns.of(loads, sizes, efficiency=1.0)

    def vision_cfg(self, row):
        return {**CONFIG, "image_size": self.sizes[row]}


family = Resnets()
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that brings both, on the path of this process and of those that it starts."""
    folder = tmp_path / "site"
    info = folder / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "toy_engine.py").write_text(ENGINE)
    (folder / "toy_towers.py").write_text(FAMILY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    lines = "[edgeclip.engines]\nbare = toy_engine:engine\n\n[edgeclip.towers]\ntoy = toy_towers:family\n"
    (info / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    caches = (families, whole_space)
    for cache in caches:
        cache.cache_clear()
    yield folder
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def profile(installed, tmp_path):
    """Of this machine and the toy engine; its prices are another's, for towers of the toy family alone."""
    shipped = load_profile("x86-avx2-2core")
    target = target_here("bare")
    models = {"fp32": shipped.cost_model["fp32"].model_copy(update={"families": ["toy"]})}
    found = {"name": "toy", "device": target.device, "runtime": target.runtime, "cost_model": models}
    file = tmp_path / "toy.toml"
    shipped.model_copy(update=found).save(file)
    return file


@pytest.fixture
def dataset(tmp_path):
    for color in ("red", "green"):
        (tmp_path / "dataset" / color).mkdir(parents=True)
        Image.new("RGB", (40, 40), color).save(tmp_path / "dataset" / color / "one.png")
    return tmp_path / "dataset"


@pytest.mark.slow
def test_from_profile_to_verdict_with_a_toy_of_each(profile, teacher_dir, images_dir, texts_file, dataset, tmp_path):
    spec, out = tmp_path / "spec.json", tmp_path / "run"
    limits = ["--profile", profile, "--image-size", 32, "--latency-ms", 10_000]
    (chosen,) = json.loads(run("select", *limits, "--out", spec, "--json").stdout)
    assert (chosen["name"], chosen["workload"]["family"]) == ("toy-32", "toy")
    assert chosen["target"]["runtime"]["name"] == "bare"
    assert chosen["measured_ms"] > 0, "the finalist was timed, in that engine"
    (tmp_path / "config.toml").write_text('format = "edgeclip-distill"\nversion = 1\nepochs = 1\nwarmup_epochs = 0\n')
    words = ["--teacher", f"local-dir:{teacher_dir}", "--images", images_dir, "--texts", texts_file, "--spec", spec]
    run("distill", "--profile", profile, *words, "--config", tmp_path / "config.toml", "--out", out)
    run("export", out, "--out", tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    assert [v.precision for v in bundle.manifest.variants] == ["fp32"]
    assert bundle.manifest.target.runtime.name == "bare"
    assert bundle.manifest.recommended == "fp32"
    found = json.loads(run("measure", tmp_path / "bundle", "--seconds", 1, "--json").stdout)
    (row,) = found["rows"]
    assert row["runtime"].startswith("bare ")
    assert row["timing"]["p50_ms"] > 0
    assert all(finding["ok"] for finding in found["verified"])
    limits = ["--latency-ms", 10_000, "--teacher", f"local-dir:{teacher_dir}"]
    judged = ["report", tmp_path / "bundle", "--profile", profile, "--dataset", dataset, *limits]
    report = json.loads(run(*judged, "--out", tmp_path / "r", "--seconds", 1, "--json", expect=4).stdout)
    judged_as = {one["kind"]: one.get("met") for one in report["criteria"]}
    assert (judged_as["latency"], judged_as["verified"]) == (True, True)
    worth = {kind: met for kind, met in judged_as.items() if kind in SANITY}
    assert worth["chance"] is None and set(worth.values()) == {None}, "two pictures, and an untrained teacher"
    assert (report["runtime"]["name"], report["reference"]["profile_ms"] > 0) == ("bare", True)
    told = run(*judged, "--out", tmp_path / "other", "--seconds", 1, "--engine", "onnxruntime", "--json", expect=4)
    latency, *_ = json.loads(told.stdout)["criteria"]
    assert "measured" not in latency
    assert "onnxruntime on CPUExecutionProvider ran, not bare on CPU" in latency["hint"]


def test_a_spec_by_hand_finds_its_family(installed):
    config = {"timm_model_name": "test_resnet", "image_size": 64}
    assert name_of(config) == "toy-64"
    assert workload_of({**config, "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}).gflops > 0


def test_a_device_is_profiled_with_its_accelerator_where_it_can_be_used(installed):
    assert fastest_engine().name == "onnxruntime", "the toy runs on the CPU, and TensorRT on no GPU here"
    for reason, chosen in (("None", "bare"), ("'it is unplugged'", "onnxruntime")):
        toy = ENGINE.replace('"bare", "CPU", False', '"bare", "CPU", True').replace(
            "return None", f"return {reason}", 1
        )
        (installed / "toy_engine.py").write_text(toy)
        sys.modules.pop("toy_engine", None)
        assert fastest_engine().name == chosen
    sys.modules.pop("toy_engine", None)


def test_an_engine_of_another_edgeclip_is_told(installed):
    (installed / "toy_engine.py").write_text(ENGINE.replace("def recipe", "def other"))
    sys.modules.pop("toy_engine", None)
    with pytest.raises(EdgeclipError, match="the engine bare has no recipe: it is made for another edgeclip"):
        find_engine("bare")
    sys.modules.pop("toy_engine", None)


def test_an_engine_that_nobody_brought_is_named():
    with pytest.raises(EdgeclipError, match="no engine is called 'bare' here; there are: onnxruntime"):
        find_engine("bare")
