"""Runs a TensorRT engine: batches of any size in a stream, each size recorded once and replayed as a CUDA graph."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....base.errors import EdgeclipError, FormatError
from .cuda import Cuda

if TYPE_CHECKING:
    import tensorrt


@dataclass
class _Lane:
    """What one batch size runs with: page-locked arrays, and the recorded work once it has been seen."""

    pixels: NDArray[np.float32]
    embeds: NDArray[np.float32]
    graph: Any = None


class EngineRunner:
    """A :class:`~edgeclip.runtime.engines.protocol.Session` on the current GPU.

    ``start`` puts a batch within the engine's profile into the stream and returns at once; ``finish`` waits for it.
    """

    providers, concurrent = ("CUDA",), False

    def __init__(self, plan: bytes, *, name: str = "engine", cuda: Cuda | None = None) -> None:
        """
        Raises:
            EdgeclipError: no GPU is here, or the engine was built for another GPU or TensorRT.
        """
        from . import library as here

        self.cuda = cuda or Cuda()
        # The runtime must live as long as its engine, and the engine as long as its context.
        self._runtime = here.trt.Runtime(here.LOG)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EdgeclipError(
                f"{name}: {here.NAME} {here.VERSION} cannot open it ({here.LOG.last()}): build one on this device, "
                "with edgeclip export BUNDLE --tensorrt"
            )
        self._engine: tensorrt.ICudaEngine = engine
        self._context: tensorrt.IExecutionContext = engine.create_execution_context()
        self._names = self._inputs_first(engine)
        *_, largest = engine.get_tensor_profile_shape(self._names[0], 0)
        self.batch, *rest = (int(largest[i]) for i in range(len(largest)))
        self._shape = tuple(rest)
        self.dim = int(engine.get_tensor_shape(self._names[1])[-1])
        self._input = self.cuda.device_buffer(4 * self.batch * int(np.prod(rest)))
        self._output = self.cuda.device_buffer(4 * self.batch * self.dim)
        for tensor, address in zip(self._names, (self._input, self._output), strict=True):
            self._context.set_tensor_address(tensor, address)
        self._lanes: dict[int, _Lane] = {}
        self._running: _Lane | None = None
        self._shaped = 0  # the batch that the context is set to

    def start(self, pixels: NDArray[np.float32]) -> None:
        """Begin with float32 ``[N, 3, S, S]``, N within the profile; one batch at a time."""
        assert self._running is None, "finish() the batch before"
        count = len(pixels)
        lane = self._lanes.get(count)
        if lane is None:
            lane = self._lanes[count] = self._open(count)
        lane.pixels[:] = pixels
        if lane.graph is None:
            self._enqueue(lane)
        else:
            self.cuda.launch(lane.graph)
        self._running = lane

    def finish(self) -> NDArray[np.float32]:
        """Wait for the embeddings of the batch that was started: float32 ``[N, D]``."""
        lane, self._running = self._running, None
        assert lane is not None, "start() a batch first"
        self.cuda.wait()
        embeds = lane.embeds.copy()
        if lane.graph is None:  # recorded after its first run: TensorRT settles its memory in that one
            lane.graph = self.cuda.capture(lambda: self._enqueue(lane))
        return embeds

    def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Embed float32 ``[N, 3, S, S]`` of any N, in batches that the engine's profile has: float32 ``[N, D]``.

        Raises:
            FormatError: the engine takes no such rows: whoever fed it was told another size.
        """
        if rows.shape[1:] != self._shape:
            raise FormatError(f"the engine takes [N, {', '.join(map(str, self._shape))}], not {list(rows.shape)}")
        parts = [np.empty((0, self.dim), np.float32)]
        for begin in range(0, len(rows), self.batch):
            self.start(rows[begin : begin + self.batch])
            parts.append(self.finish())
        return np.concatenate(parts)

    def _open(self, count: int) -> _Lane:
        return _Lane(self.cuda.pinned((count, *self._shape)), self.cuda.pinned((count, self.dim)))

    def _enqueue(self, lane: _Lane) -> None:
        """Copy in, run, copy out: all in the stream."""
        if self._shaped != len(lane.pixels):
            self._context.set_input_shape(self._names[0], lane.pixels.shape)
            self._shaped = len(lane.pixels)
        self.cuda.to_device(self._input, lane.pixels)
        if not self._context.execute_async_v3(int(self.cuda.stream)):
            from . import library as here

            raise EdgeclipError(f"the engine stopped ({here.LOG.last()}): build it again on this device")
        self.cuda.to_host(lane.embeds, self._output)

    def layers(self) -> list[dict[str, Any]]:
        """What TensorRT's inspector says of each layer."""
        from . import library as here

        text = self._engine.create_engine_inspector().get_engine_information(here.trt.LayerInformationFormat.JSON)
        return [layer if isinstance(layer, dict) else {"Name": layer} for layer in json.loads(text)["Layers"]]

    def layer_times(self, rows: NDArray[np.float32], runs: int) -> dict[str, float]:
        """Milliseconds in each layer, by its name, over so many runs of a batch within the profile."""
        from . import library as here

        spent: dict[str, float] = defaultdict(float)

        class Profiler(here.trt.IProfiler):  # type: ignore[misc, name-defined]
            """Adds up."""

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                """Called by TensorRT after each run."""
                spent[layer_name] += ms

        profiler = Profiler()
        self._context.profiler = profiler
        lane = self._open(len(rows))
        lane.pixels[:] = rows
        for _ in range(runs):
            self._enqueue(lane)
            self.cuda.wait()
        return dict(spent)

    @staticmethod
    def _inputs_first(engine: tensorrt.ICudaEngine) -> list[str]:
        """The names of the engine's one input and its one output."""
        from . import library as here

        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        return sorted(names, key=lambda name: engine.get_tensor_mode(name) != here.trt.TensorIOMode.INPUT)

    def close(self) -> None:
        """Give the GPU's memory back."""
        self.cuda.close()

    def __enter__(self) -> EngineRunner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
