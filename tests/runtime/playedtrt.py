"""TensorRT's and CUDA's interfaces as far as they are used, played by onnxruntime and numpy.

Nothing here says anything about TensorRT but its signatures, which ``test_played_trt.py`` holds against the real
package's and the published stubs. An "engine" is the graph itself behind a few words.
"""

import json
from types import SimpleNamespace

import numpy as np
import onnx

from edgeclip.runtime.engines.ort import Onnxruntime

MARK = b"played engine "


class PlayedCuda:
    """A stream is a list of calls that wait; memory is arrays by address."""

    def __init__(self):
        self.memory, self.stream_calls, self.recording, self.log, self.stream = {}, [], None, [], 7

    def gpu(self):
        return {"gpu": "Played GPU", "compute": "sm87"}

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


class ILogger:
    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    def __init__(self):
        pass


class Dims(tuple):
    pass


class Builder:
    def __init__(self, logger):
        self.logger = logger

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        config.progress_monitor.phase_start("Building", None, 2)
        config.progress_monitor.phase_start("Timing", "Building", 4)
        for step in range(4):
            if not config.progress_monitor.step_complete("Timing", step):
                return None
        config.progress_monitor.phase_finish("Timing")
        config.progress_monitor.step_complete("Building", 0)
        config.progress_monitor.phase_finish("Building")
        if config.pools["workspace"] < 1 << 20:
            self.logger.log(ILogger.Severity.ERROR, "insufficient workspace memory for a layer")
            return None
        (profile,) = config.profiles
        words = {"strong": bool(network.flags & 2), "largest": profile.shapes["pixel_values"][2], "flags": config.flags}
        return MARK + json.dumps(words).encode() + b"\n" + network.model


class IOptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        self.shapes[input] = (min, opt, max)


class IBuilderConfig:
    def __init__(self):
        self.flags, self.pools, self.profiles, self.progress_monitor, self.cache = [], {}, [], None, None

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool] = pool_size

    def set_flag(self, flag):
        self.flags.append(flag)

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.cache = cache
        return True

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return 0


class ITimingCache:
    def __init__(self, held):
        self.held = held

    def serialize(self):
        return self.held + b"timed"


class INetworkDefinition:
    def __init__(self, flags):
        self.flags, self.model, self.num_inputs, self.num_layers = flags, b"", 0, 0

    def get_input(self, index):
        entry = onnx.load_from_string(self.model).graph.input[index]
        shape = [size.dim_value or -1 for size in entry.type.tensor_type.shape.dim]
        return SimpleNamespace(name=entry.name, shape=shape)

    def get_layer(self, index):
        raise NotImplementedError("no layers are played")


class OnnxParser:
    def __init__(self, network, logger):
        self.network, self.num_errors = network, 0

    def parse(self, model, path=None):
        try:
            if path is not None:  # weights may lie beside it
                model = onnx.load(path).SerializeToString()
            self.network.num_inputs = len(onnx.load_from_string(model).graph.input)
        except Exception:
            self.num_errors = 1
            return False
        self.network.model = model
        return True

    def get_error(self, index):
        return ParserError()


class ParserError:
    def desc(self):
        return "no such operator"

    def node_name(self):
        return "blocks.3/Odd"

    def node_operator(self):
        return "Odd"


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        if not serialized_engine.startswith(MARK):
            self.logger.log(ILogger.Severity.ERROR, "magic tag does not match")
            return None
        return ICudaEngine(serialized_engine)


class ICudaEngine:
    num_io_tensors = 2

    def __init__(self, plan):
        words, _, model = plan.removeprefix(MARK).partition(b"\n")
        self.words, self.session = json.loads(words), Onnxruntime().open(model, precision="fp16")  # no harm to others
        graph = onnx.load_from_string(model).graph
        self.names = [graph.output[0].name, graph.input[0].name]  # outputs may come first
        self.dim = graph.output[0].type.tensor_type.shape.dim[-1].dim_value

    def create_execution_context(self):
        return IExecutionContext(self)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return "output" if name == self.names[0] else "input"

    def get_tensor_profile_shape(self, name, profile_index):
        largest = self.words["largest"]
        return [[1, *largest[1:]], [1, *largest[1:]], largest]

    def get_tensor_shape(self, name):
        return [-1, self.dim]

    def create_engine_inspector(self):
        return EngineInspector()


class EngineInspector:
    layers = (
        {"Name": "mlp", "LayerType": "gemm", "Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]},
        {"Name": "norm", "LayerType": "kgen", "Inputs": [{"Format/Datatype": "Row major linear FP32 format"}]},
        "a layer without details",
    )

    def get_engine_information(self, format):
        return json.dumps({"Layers": self.layers})


class IExecutionContext:
    cuda: PlayedCuda  # the test's

    def __init__(self, engine):
        self.engine, self.addresses, self.shape, self.profiler = engine, {}, None, None
        self.fails = False

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return True

    def execute_async_v3(self, stream_handle):
        assert stream_handle == self.cuda.stream
        shape, memory, (output, given) = self.shape, self.cuda.memory, self.engine.names

        def run():
            pixels = memory[self.addresses[given]][: int(np.prod(shape))].reshape(shape)
            embeds = self.engine.session.run(pixels)
            memory[self.addresses[output]][: embeds.size] = embeds.ravel()
            if self.profiler is not None:
                self.profiler.report_layer_time("mlp", 3.0)
                self.profiler.report_layer_time("norm", 1.0)

        self.cuda.put("run", run)
        return not self.fails


class IProfiler:
    def __init__(self):
        pass

    def report_layer_time(self, layer_name, ms):
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self):
        pass

    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


CLASSES = (
    *(Builder, EngineInspector, IBuilderConfig, ICudaEngine, IExecutionContext, INetworkDefinition),
    *(IOptimizationProfile, IProfiler, IProgressMonitor, ITimingCache, OnnxParser, ParserError, Runtime),
)


def module(version):
    """What ``import tensorrt`` gives, of this version."""
    ten = version.startswith("10.")
    return SimpleNamespace(
        __name__="tensorrt",
        __version__=version,
        ILogger=ILogger,
        Dims=Dims,
        NetworkDefinitionCreationFlag=SimpleNamespace(**({"STRONGLY_TYPED": 1} if ten else {})),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE="version compatible", GPU_FALLBACK="fall back to the GPU"),
        HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="ampere+"),
        DeviceType=SimpleNamespace(DLA="dla"),
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        **{one.__name__: one for one in CLASSES},
    )
