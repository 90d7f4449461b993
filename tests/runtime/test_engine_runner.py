"""The engine runner on a GPU that is played by numpy: what enters the stream, when, and what is replayed.

The player runs the real fp32 tower where TensorRT would run its engine; nothing here says anything about TensorRT.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import edgeclip.runtime.engines
from edgeclip.errors import EdgeclipError
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.engines.trtrunner import EngineRunner

DIM, SIDE, LARGEST = 32, 32, 4


class PlayedCuda:
    """A stream is a list of calls that wait; memory is arrays by address."""

    def __init__(self):
        self.memory, self.stream_calls, self.recording, self.log, self.stream = {}, [], None, [], 7

    def device_buffer(self, count):
        address = 1000 + len(self.memory)
        self.memory[address] = np.zeros(count // 4, np.float32)
        return address

    def pinned(self, shape):
        return np.zeros(shape, np.float32)

    def put(self, name, call):
        if self.recording is None:
            self.stream_calls.append(call)
            self.log.append(name)
        else:
            self.recording.append(call)

    def to_device(self, address, source):
        self.put("in", lambda: self.memory[address].__setitem__(slice(source.size), source.ravel()))

    def to_host(self, target, address):
        self.put("out", lambda: np.copyto(target, self.memory[address][: target.size].reshape(target.shape)))

    def capture(self, work):
        self.recording = []
        work()
        graph, self.recording = self.recording, None
        return graph

    def launch(self, graph):
        self.stream_calls += graph
        self.log.append("replay")

    def wait(self):
        calls, self.stream_calls = self.stream_calls, []
        for call in calls:
            call()

    def close(self):
        self.memory.clear()


class PlayedContext:
    def __init__(self, cuda, session):
        self.cuda, self.session, self.addresses, self.shape, self.fails = cuda, session, {}, None, False

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)

    def execute_async_v3(self, stream):
        assert stream == self.cuda.stream
        shape, memory = self.shape, self.cuda.memory

        def run():
            pixels = memory[self.addresses["pixel_values"]][: int(np.prod(shape))].reshape(shape)
            embeds = self.session.run(pixels)
            memory[self.addresses["image_embeds"]][: embeds.size] = embeds.ravel()

        self.cuda.put("run", run)
        return not self.fails


@pytest.fixture
def played(bundle, monkeypatch):
    """A runner of the bundle's fp32 tower, and the GPU under it."""
    cuda = PlayedCuda()
    context = PlayedContext(cuda, Onnxruntime().open(bundle.path / "image.fp32.onnx"))
    engine = SimpleNamespace(
        create_execution_context=lambda: context,
        get_tensor_profile_shape=lambda *_: [(n, 3, SIDE, SIDE) for n in (1, 1, LARGEST)],
        get_tensor_shape=lambda _: (-1, DIM),
    )
    opened = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan == b"plan" else None)
    log = SimpleNamespace(last=lambda: "built for another GPU")
    trt = SimpleNamespace(trt=SimpleNamespace(Runtime=lambda _: opened), LOG=log, NAME="TensorRT", VERSION="10.3")
    monkeypatch.setitem(sys.modules, "edgeclip.runtime.engines.trt", trt)
    monkeypatch.setattr(edgeclip.runtime.engines, "trt", trt, raising=False)
    return EngineRunner(b"plan", cuda=cuda), cuda, context


def pixels(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


def test_any_number_of_images_gives_the_towers_embeddings(played, bundle):
    runner, _, _ = played
    tower = bundle.encoder("fp32")
    for seed, count in enumerate((1, 3, 4, 9, 0, 3, 1)):
        given = pixels(count, seed)
        assert np.allclose(runner(given), tower.encode_pixels(given), atol=1e-5), count


def test_each_batch_size_is_recorded_once_and_then_replayed(played):
    runner, cuda, _ = played
    for seed in range(3):
        runner(pixels(2, seed))
    assert cuda.log == ["in", "run", "out", "replay", "replay"]
    runner(pixels(3))
    runner(pixels(2))
    assert cuda.log[5:] == ["in", "run", "out", "replay"]


def test_start_does_not_wait(played, bundle):
    runner, cuda, _ = played
    given = pixels(2)
    runner.start(given)
    assert len(cuda.stream_calls) == 3, "the work is in the stream, and nobody has waited for it"
    with pytest.raises(AssertionError, match="finish"):
        runner.start(given)
    assert np.allclose(runner.finish(), bundle.encoder("fp32").encode_pixels(given), atol=1e-5)
    with pytest.raises(AssertionError, match="start"):
        runner.finish()


def test_an_engine_that_cannot_be_opened_or_stops_says_what_to_do(played):
    runner, cuda, context = played
    with pytest.raises(EdgeclipError, match=r"cannot open it \(built for another GPU\): build one on this device"):
        EngineRunner(b"other", name="engine.fp16.sm86.plan", cuda=cuda)
    context.fails = True
    with pytest.raises(EdgeclipError, match="build it anew"):
        runner(pixels(1))


def test_leaving_gives_the_memory_back(played):
    runner, cuda, _ = played
    with runner:
        assert cuda.memory
    assert not cuda.memory
