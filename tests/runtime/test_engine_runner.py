"""TensorRT as an engine, on a GPU and a TensorRT that are played: playedtrt.py says what that cannot show."""

import hashlib
import json
import shutil
import sys

import numpy as np
import pytest

import edgeclip.runtime.engines
from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.base.seal import sealed
from edgeclip.runtime.engines.protocol import OperatorShare
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.runtime.engines.tensorrt.config import EngineConfig
from edgeclip.runtime.engines.tensorrt.engine import TENSORRT, layer_precision, misfit

from .playedtrt import IExecutionContext, PlayedCuda, module

SIDE, LARGEST = 32, 32


@pytest.fixture(params=["10.3.0", "11.4.1"])
def played(request, monkeypatch, tmp_path):
    """The GPU under the engine. TensorRT's modules are imported anew, over the played one."""
    cuda = PlayedCuda()
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", module(request.param))
    for name in ("library", "build", "runner"):
        monkeypatch.delitem(sys.modules, f"edgeclip.runtime.engines.tensorrt.{name}", raising=False)
        monkeypatch.delattr(edgeclip.runtime.engines.tensorrt, name, raising=False)
    monkeypatch.setattr("edgeclip.runtime.engines.tensorrt.cuda.count_gpus", lambda: 1)
    monkeypatch.setattr("edgeclip.runtime.engines.tensorrt.cuda.Cuda", lambda: cuda)
    monkeypatch.setattr(IExecutionContext, "cuda", cuda, raising=False)
    yield cuda
    for name in ("library", "build", "runner"):
        sys.modules.pop(f"edgeclip.runtime.engines.tensorrt.{name}", None)
        if hasattr(edgeclip.runtime.engines.tensorrt, name):
            delattr(edgeclip.runtime.engines.tensorrt, name)


@pytest.fixture
def runner(played, bundle):
    return find_engine("tensorrt").open(bundle.path / "image.fp32.onnx")


def pixels(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


def test_any_number_of_images_gives_the_towers_embeddings(runner, bundle):
    tower = bundle.encoder("fp32")
    for seed, count in enumerate((1, 3, LARGEST, LARGEST + 5, 0, 3, 1)):
        given = pixels(count, seed)
        assert np.allclose(runner.run(given), tower.encode_pixels(given), atol=1e-5), count
    with pytest.raises(FormatError, match=r"takes \[N, 3, 32, 32\]"):
        runner.run(np.zeros((1, 3, 16, 16), np.float32))


def test_a_bundle_runs_in_the_engine_that_is_asked_for(played, bundle, images_dir):
    from PIL import Image

    image = Image.open(images_dir / "00.png")
    encoder = bundle.encoder("fp32", engine="tensorrt")
    assert np.allclose(encoder.encode_image([image]), bundle.encoder("fp32").encode_image([image]), atol=1e-5)
    assert np.allclose(encoder.encode_text("a cat"), bundle.encoder("fp32").encode_text("a cat"))
    assert encoder.runtime.startswith("tensorrt 1")
    assert "run" in played.log
    with pytest.raises(EdgeclipError, match="export it with --recipe tensorrt"):
        bundle.encoder("int8", engine="tensorrt").encode_image([image])
    with pytest.raises(EdgeclipError, match="tensorrt has no provider 'CPUExecutionProvider' here; name one of: CUDA"):
        bundle.encoder("fp32", engine="tensorrt", provider="CPUExecutionProvider").encode_image([image])


def test_each_batch_size_is_recorded_once_and_then_replayed(runner, played):
    for seed in range(3):
        runner.run(pixels(2, seed))
    assert played.log == ["in", "run", "out", "replay", "replay"]
    runner.run(pixels(3))
    runner.run(pixels(2))
    assert played.log[5:] == ["in", "run", "out", "replay"]


def test_start_does_not_wait(runner, played, bundle):
    given = pixels(2)
    runner.start(given)
    assert len(played.stream_calls) == 3, "the work is in the stream, and nobody has waited for it"
    with pytest.raises(AssertionError, match="finish"):
        runner.start(given)
    assert np.allclose(runner.finish(), bundle.encoder("fp32").encode_pixels(given), atol=1e-5)
    with pytest.raises(AssertionError, match="start"):
        runner.finish()


def test_an_engine_that_cannot_be_opened_or_stops_says_what_to_do(runner, played):
    from edgeclip.runtime.engines.tensorrt.runner import EngineRunner

    with pytest.raises(EdgeclipError, match=r"cannot open it \(magic tag does not match\): build one on this device"):
        EngineRunner(b"other", name="engine.fp16.sm86.plan", cuda=played)
    runner._context.fails = True
    with pytest.raises(EdgeclipError, match="build it again"):
        runner.run(pixels(1))


def test_leaving_gives_the_memory_back(runner, played):
    with runner:
        assert played.memory
    assert not played.memory


def test_an_engine_is_built_once_and_a_damaged_one_anew(played, bundle, tmp_path, capsys):
    graph = bundle.path / "image.fp32.onnx"
    TENSORRT.open(graph)
    assert "engine for sm87" in capsys.readouterr().err
    (kept,) = (tmp_path / "cache/engines").glob("*.plan")
    (timed,) = (tmp_path / "cache/engines").glob("*.timing")
    assert timed.read_bytes() == b"timed"
    TENSORRT.open(graph)
    assert "engine for sm87" not in capsys.readouterr().err
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    TENSORRT.open(graph)
    assert f"{kept.name} is damaged" in capsys.readouterr().err.replace("\n", "")
    assert timed.read_bytes() == b"timedtimed", "what was timed before is used again"


def test_precision_is_the_graphs_on_10_too(played, bundle):
    from edgeclip.runtime.engines.tensorrt.build import configure, parse

    builder, network = parse(bundle.path / "image.fp32.onnx")
    assert network.flags == (2 if sys.modules["tensorrt"].__version__.startswith("10.") else 0)
    config = configure(builder, network, EngineConfig(largest_batch=8, dla=1, version_compatible=True))
    assert config.profiles[0].shapes["pixel_values"] == ((1, 3, 32, 32), (1, 3, 32, 32), (8, 3, 32, 32))
    assert (config.DLA_core, config.default_device_type) == (1, "dla")
    assert config.flags == ["version compatible", "fall back to the GPU"]


def test_what_a_build_cannot_do_is_one_line(played, bundle, tmp_path):
    from edgeclip.runtime.engines.tensorrt.build import bound_to, parse, serialise

    broken = tmp_path / "broken.onnx"
    broken.write_bytes((bundle.path / "image.fp32.onnx").read_bytes()[:4000])
    with pytest.raises(FormatError, match=r"node blocks\.3/Odd \(Odd\): no such operator: export it again"):
        parse(broken)
    graph, build = bundle.path / "image.fp32.onnx", EngineConfig(workspace_mb=0)
    with pytest.raises(EdgeclipError, match=r"insufficient workspace memory.*give more --workspace-mb"):
        serialise(*parse(graph), build, bound_to(build), graph)


def test_where_the_time_goes_and_in_which_precision(played, bundle):
    graph = bundle.path / "image.fp32.onnx"
    asked = {"runs": 5, "threads": None, "provider": None}
    found = TENSORRT.hot_spots(graph, pixels(1), precision="fp16", **asked)
    assert found.operators == [OperatorShare("gemm FP16", 0.75, 1), OperatorShare("kgen FP32", 0.25, 1)]
    assert found.fell_back == ["norm in FP32, 25.0% of the time"]


@pytest.fixture
def with_engine(bundle, tmp_path):
    """A bundle's folder with an engine in it, and its entry in the manifest."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    for file in folder.iterdir():
        file.chmod(0o644)

    def add(**facts):
        words = json.dumps({"strong": True, "largest": [4, 3, 32, 32], "flags": []}).encode()
        plan = b"played engine " + words + b"\n" + (folder / "image.fp32.onnx").read_bytes()
        (folder / "engine.fp32.plan").write_bytes(plan)
        manifest = json.loads((folder / "bundle.json").read_text())
        told = {"graph": "image.fp32.onnx", "compute": "sm87", **facts}
        entry = {"file": "engine.fp32.plan", "sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}
        manifest["extras"] = [{**entry, "kind": "engine", "precision": "fp32", "facts": told}]
        (folder / "bundle.json").write_text(json.dumps(sealed(manifest)))
        return folder

    return add


def here():
    from edgeclip.runtime.engines.tensorrt.library import NAME, SYSTEM, VERSION

    return {"system": SYSTEM, "tensorrt": f"{NAME} {VERSION}"}


def test_the_bundles_engine_is_used_where_it_fits(played, with_engine, capsys):
    folder = with_engine(**here())
    assert TENSORRT.open(folder / "image.fp32.onnx").batch == 4, "the bundle's, not one of our own"
    assert "engine for" not in capsys.readouterr().err
    (folder / "engine.fp32.plan").write_bytes(b"played engine altered")
    with pytest.raises(FormatError, match=r"engine\.fp32\.plan was changed after it was built"):
        TENSORRT.open(folder / "image.fp32.onnx")


def test_another_gpus_engine_is_left_and_one_is_built(played, with_engine, capsys):
    folder = with_engine(**{**here(), "compute": "sm86"})
    assert TENSORRT.open(folder / "image.fp32.onnx").batch == LARGEST
    assert "built for sm86; here is sm87: one is built" in capsys.readouterr().err.replace("\n", "")


def test_what_an_engine_is_bound_to():
    bound = {"compute": "sm89", "system": "Linux x86_64", "tensorrt": "TensorRT 10.3.0"}
    assert misfit(bound, bound) is None
    assert misfit(bound | {"compute": "sm86"}, bound) == "sm86; here is sm89"
    assert misfit(bound | {"compute": "sm86", "hardware_compatible": True}, bound) is None
    assert misfit(bound | {"system": "Linux aarch64"}, bound) == "Linux aarch64; here is Linux x86_64"
    assert misfit(bound | {"tensorrt": "TensorRT 10.1"}, bound) == "TensorRT 10.1; here is TensorRT 10.3.0"
    older = bound | {"tensorrt": "TensorRT 10.1", "version_compatible": True}
    assert misfit(older, bound) is None
    assert misfit(older, bound | {"tensorrt": "TensorRT 11.0"}) == "TensorRT 10.1; here is TensorRT 11.0"


def test_the_inspectors_words_of_both_versions_are_understood():
    assert layer_precision({"Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]}) == "FP16"
    assert layer_precision({"Inputs": [], "Outputs": [{"DataType": "Int8", "Format": "Row"}]}) == "Int8"
    assert layer_precision({"Name": "no tensors"}) is None


def test_no_gpu_or_another_tensorrt_says_what_to_do(monkeypatch):
    from edgeclip.runtime.engines.tensorrt.engine import TENSORRT_RTX

    for engine in (TENSORRT, TENSORRT_RTX):
        why = engine.unavailable()
        assert why and "\n" not in why
        with pytest.raises(EdgeclipError, match=f"{engine.name} cannot be used here: "):
            find_engine(engine.name)
