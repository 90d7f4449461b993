"""TensorRT: real engines for GPUs that are not here, what they compute in, and refusals in one line."""

import shutil
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeclip.base.errors import EdgeclipError, FormatError, MissingExtra
from edgeclip.exporting import export
from edgeclip.exporting.engine import check_precision, inspected_types, layer_types, trtexec
from edgeclip.exporting.fp16 import convert_fp16
from edgeclip.exporting.int8 import TENSORRT, X86, quantize_int8
from edgeclip.exporting.plan import ExportPlan
from edgeclip.profiling.probekit import Kit
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.engines.tensorrt.config import EngineConfig
from edgeclip.runtime.engines.tensorrt.engine import TENSORRT as ENGINE
from edgeclip.runtime.plain import graph_for, readable

try:
    from edgeclip.runtime.engines.tensorrt.library import RTX
except EdgeclipError:
    RTX = False

rtx = pytest.mark.skipif(not RTX, reason="engines without a GPU need TensorRT-RTX: pip install tensorrt-rtx-cu13")


TOWERS = ("vit", "repvit", "hybrid")


def of_the_kit(name, file):
    """A tower of the probe kit, which has no weights, with random ones; its input's side."""
    draw = np.random.default_rng(0)
    with Kit() as kit:
        entry = next(one for one in kit.index.graphs if one.name == name and one.precision == "fp32")
        graph = onnx.load(str(kit.unpack(entry, file.parent)))
    for value in graph.graph.initializer:
        weight = numpy_helper.to_array(value)
        if weight.dtype == np.float32 and weight.size > 64:
            noise = draw.normal(0, weight[0].size ** -0.5, weight.shape).astype(np.float32)
            value.CopyFrom(numpy_helper.from_array(noise, value.name))
    onnx.save(graph, str(file))
    return entry.image_size


@pytest.fixture(scope="module")
def graphs(wide_vit, tmp_path_factory):
    """Tower -> precision -> graph."""
    found = {}
    for name, kits in zip(TOWERS, (None, "repvit_m0_9-64", "efficientvit_b0-96"), strict=True):
        folder = tmp_path_factory.mktemp(f"{name}-graphs")
        fp32, pixels = folder / "fp32.onnx", wide_vit.pixels
        if kits is None:
            shutil.copyfile(wide_vit.file, fp32)
        else:
            side = of_the_kit(kits, fp32)
            pixels = np.random.default_rng(1).standard_normal((4, 3, side, side)).astype(np.float32)
        convert_fp16(fp32, folder / "fp16.onnx", pixels)
        quantize_int8(fp32, folder / "int8.onnx", pixels, TENSORRT)
        found[name] = {precision: folder / f"{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
    return found


def packed(file):
    """Bytes of an engine when packed: weights are noise and stay what they are, kernels are much alike and shrink."""
    return len(zlib.compress(file.read_bytes(), 1))


@rtx
@pytest.mark.tensorrt
@pytest.mark.parametrize("gpu", ["sm86", "sm89"])
@pytest.mark.parametrize("tower", TOWERS)
def test_engines_for_absent_gpus_compute_in_the_asked_precision(tower, gpu, graphs, tmp_path):
    from edgeclip.exporting.engine import build_engines

    built = build_engines(graphs[tower], tmp_path, EngineConfig(target_gpu=gpu, largest_batch=8))
    assert [engine.precision for engine in built] == ["fp32", "fp16", "int8"]
    for engine, word in zip(built, ("FLOAT", "HALF", "INT8"), strict=True):
        types = engine.facts["layer_types"]
        products = {k: n for k, n in types.items() if k.split()[0] in ("MATRIX_MULTIPLY", "CONVOLUTION")}
        other = {k for k in products if not k.endswith(word)}
        assert other <= ({"MATRIX_MULTIPLY HALF"} if engine.precision == "int8" else set()), types
        assert engine.facts["compute"] == gpu
    if tower == "vit":
        assert built[2].facts["layer_types"]["MATRIX_MULTIPLY HALF"] == 6  # attention's own
    fp32, fp16, int8 = (packed(engine.file) for engine in built)
    assert fp16 < 0.6 * fp32, "half precision halves the weights"
    assert int8 < 0.45 * fp32, "a quarter of the weights, and the kernels"


@rtx
@pytest.mark.tensorrt
@pytest.mark.slow
def test_no_tower_that_is_exported_for_tensorrt_is_refused(tmp_path):
    from edgeclip.runtime.engines.tensorrt.build import parse

    with Kit() as kit:
        entries = [one for name in ("fp32", "fp16", "int8") for one in kit.choose(ENGINE.recipe(name, ["asimd"]))]
        assert len(entries) == 3 * len(kit.index.towers)
        for entry in entries:
            graph = kit.unpack(entry, tmp_path)
            builder, network = parse(graph)
            check_precision(layer_types(network), entry.precision, entry.name)
            del network, builder  # in this order
            for file in tmp_path.iterdir():
                file.unlink()


@rtx
@pytest.mark.tensorrt
def test_an_asymmetric_graph_is_refused_with_the_remedy(vit, tmp_path):
    from edgeclip.runtime.engines.tensorrt.build import parse

    quantize_int8(vit.file, tmp_path / "x86.onnx", vit.pixels, X86)
    with pytest.raises(FormatError, match=r"node .*: .*zero.*--recipe tensorrt"):
        parse(tmp_path / "x86.onnx")
    (tmp_path / "broken.onnx").write_bytes(vit.file.read_bytes()[:5000])
    with pytest.raises(FormatError, match="cannot read it") as caught:
        parse(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)


@rtx
@pytest.mark.tensorrt
def test_an_unknown_gpu_lists_those_that_are_known(graphs, tmp_path):
    from edgeclip.exporting.engine import build_engines

    with pytest.raises(EdgeclipError, match="sm86, sm89"):
        build_engines(graphs["vit"], tmp_path, EngineConfig(target_gpu="sm99"))


@rtx
@pytest.mark.tensorrt
@pytest.mark.slow
def test_a_jetsons_bundle_has_its_graphs_and_engines_in_every_precision(teacher, images_dir, tmp_path):
    files, target = sorted(images_dir.iterdir()), load_profile("jetson-orin-nano").target
    plan = ExportPlan(target, engines=EngineConfig(target_gpu="sm86"))
    asked = {"calibration": files, "plan": plan}
    made = export(teacher, tmp_path / "b", source="local", **asked)
    engines = [one.precision for one in made.manifest.extras if one.kind == "engine"]
    assert sorted(engines) == ["fp16", "fp32", "int8"]
    manifest = made.manifest.model_dump(mode="json")
    assert readable(manifest, "tensorrt") == (["fp32", "fp16", "int8"], [])
    int8 = made.manifest.variant("int8")
    assert int8.recipe["recipe"] == "tensorrt"
    assert int8.faithful, "judged as it is written, by onnxruntime"
    assert graph_for(manifest, int8.model_dump(), "tensorrt")["file"] == "image.int8.onnx"
    kinds = {value.data_type for value in onnx.load(made.path / "image.int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT32 not in kinds, "biases are float"


@rtx
@pytest.mark.tensorrt
def test_a_bundle_gets_engines_without_its_model(bundle, tmp_path):
    from edgeclip.exporting.rebuild import add_engines

    made = add_engines(bundle.path, tmp_path / "with", EngineConfig(target_gpu="sm89"))
    engines = [e for e in made.manifest.extras if e.kind == "engine"]
    assert [e.precision for e in engines] == ["fp32", "fp16"], "its int8 graph is for a CPU"
    assert all(e.facts["trtexec"].startswith("tensorrt_rtx --onnx=") for e in engines)
    assert all(not file.stat().st_mode & 0o222 for file in made.path.glob("[!.]*"))
    assert made.encoder().encode_text(["a cat"]).shape == (1, 32)


def test_a_graph_in_another_precision_is_refused():
    types = {"MATRIX_MULTIPLY FLOAT": 20, "CONVOLUTION FLOAT": 1, "SOFTMAX HALF": 4}
    check_precision(types, "fp32", "x")
    for precision in ("fp16", "int8"):
        with pytest.raises(EdgeclipError, match=f"only 0 of 21 products are {precision}"):
            check_precision(types, precision, "x")


def test_layers_are_counted_by_what_they_compute_in():
    half = {"Inputs": [{"DataType": "Half"}]}
    assert inspected_types([half, half, {"Name": "no tensors"}]) == {"Half": 2, "unknown": 1}


@pytest.mark.parametrize(
    ("build", "version", "rtx", "there", "absent"),
    [
        (EngineConfig(), "10.3.0", False, ["trtexec", "--stronglyTyped"], ["--computeCapabilities"]),
        (EngineConfig(version_compatible=True), "11.4", False, ["--versionCompatible"], ["--stronglyTyped"]),
        (EngineConfig(dla=0), "10.3", False, ["--useDLACore=0", "--allowGPUFallback"], ["--versionCompatible"]),
        (EngineConfig("sm120"), "1.7", True, ["tensorrt_rtx", "--computeCapabilities=12.0"], ["--stronglyTyped"]),
    ],
)
def test_the_command_line_that_does_the_same(build, version, rtx, there, absent):
    words = trtexec("a b.onnx", "e.plan", 224, build, version, rtx=rtx).split(" ")
    assert set(there) <= set(words)
    assert not set(absent) & set(words)
    assert "--maxShapes=pixel_values:32x3x224x224" in words
    assert "'--onnx=a" in words, "names are quoted"


@pytest.mark.parametrize(
    ("modules", "error", "complaint"),
    [
        ({"tensorrt": None, "tensorrt_rtx": None}, MissingExtra, "needs TensorRT"),
        ({"tensorrt": SimpleNamespace(__version__="8.6.1", Builder=1)}, EdgeclipError, "8.6.1 is not supported"),
        ({"tensorrt": SimpleNamespace(__version__="12.0", Builder=1)}, EdgeclipError, "install 10.x or 11.x"),
    ],
)
def test_no_tensorrt_or_one_of_another_major_version(modules, error, complaint, monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, modules.get(name))
    monkeypatch.delitem(sys.modules, "edgeclip.runtime.engines.tensorrt.library", raising=False)
    with pytest.raises(error, match=complaint):
        import edgeclip.runtime.engines.tensorrt.library  # noqa: F401
    monkeypatch.delitem(sys.modules, "edgeclip.runtime.engines.tensorrt.library", raising=False)


def test_a_folder_of_type_stubs_is_no_tensorrt(monkeypatch):
    stubs, real = SimpleNamespace(), SimpleNamespace(Builder=1, __version__="10.3", __name__="tensorrt")
    from edgeclip.runtime.engines.tensorrt import library as trt

    found = {"tensorrt": stubs, "tensorrt_rtx": real}
    monkeypatch.setattr(trt.importlib, "import_module", found.__getitem__)
    assert trt.find_tensorrt() is real
