"""A bundle's image tower as a TensorRT engine, behind the Encoder protocol; texts stay with onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import EdgeclipError
from ..manifest import Extra, Manifest
from ..onnxencoder import OnnxEncoder
from .cuda import Cuda

if TYPE_CHECKING:
    import tensorrt

INPUT, OUTPUT = "pixel_values", "image_embeds"


@dataclass
class _Lane:
    """What one batch size runs with: page-locked arrays, and the recorded work once it has been seen."""

    pixels: NDArray[np.float32]
    embeds: NDArray[np.float32]
    graph: Any = None


class EngineRunner:
    """An engine on the current GPU: any batch within its profile, each size replayed as a CUDA graph.

    ``start`` puts the work into the stream and returns at once; ``finish`` waits for the embeddings.
    """

    def __init__(self, plan: bytes, *, name: str = "engine", cuda: Cuda | None = None) -> None:
        """
        Raises:
            EdgeclipError: no GPU is here, or the engine was built for another GPU or TensorRT.
        """
        from . import trt as here

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
        *_, largest = engine.get_tensor_profile_shape(INPUT, 0)
        self.batch, *rest = (int(largest[i]) for i in range(len(largest)))
        self._shape = tuple(rest)
        self.dim = int(engine.get_tensor_shape(OUTPUT)[-1])
        self._input = self.cuda.device_buffer(4 * self.batch * int(np.prod(rest)))
        self._output = self.cuda.device_buffer(4 * self.batch * self.dim)
        self._context.set_tensor_address(INPUT, self._input)
        self._context.set_tensor_address(OUTPUT, self._output)
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
        found = lane.embeds.copy()
        if lane.graph is None:  # recorded after its first run: TensorRT settles its memory in that one
            lane.graph = self.cuda.capture(lambda: self._enqueue(lane))
        return found

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed float32 ``[N, 3, S, S]`` of any N: float32 ``[N, D]``."""
        parts = [np.empty((0, self.dim), np.float32)]
        for begin in range(0, len(pixels), self.batch):
            self.start(pixels[begin : begin + self.batch])
            parts.append(self.finish())
        return np.concatenate(parts)

    def _open(self, count: int) -> _Lane:
        return _Lane(self.cuda.pinned((count, *self._shape)), self.cuda.pinned((count, self.dim)))

    def _enqueue(self, lane: _Lane) -> None:
        """Copy in, run, copy out: all in the stream."""
        if self._shaped != len(lane.pixels):
            self._context.set_input_shape(INPUT, lane.pixels.shape)
            self._shaped = len(lane.pixels)
        self.cuda.to_device(self._input, lane.pixels)
        if not self._context.execute_async_v3(int(self.cuda.stream)):
            from . import trt as here

            raise EdgeclipError(f"the engine stopped ({here.LOG.last()}): build it anew on this device")
        self.cuda.to_host(lane.embeds, self._output)

    def close(self) -> None:
        """Give the GPU's memory back."""
        self.cuda.close()

    def __enter__(self) -> EngineRunner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class EngineEncoder:
    """A :class:`~edgeclip.encoder.PixelEncoder`: the image tower on the GPU, the text tower in onnxruntime."""

    def __init__(self, folder: Path, manifest: Manifest, engine: Extra) -> None:
        """
        Raises:
            EdgeclipError: the engine is for another GPU, system or TensorRT than these.
        """
        from . import trt as here

        cuda = Cuda()
        check_fit(engine, {**cuda.gpu(), "system": here.SYSTEM, "tensorrt": f"{here.NAME} {here.VERSION}"})
        self._towers = OnnxEncoder(folder, manifest, manifest.variants[0])
        self._run = EngineRunner((folder / engine.file).read_bytes(), name=engine.file, cuda=cuda)
        self.precision = engine.precision
        self.embed_dim, self.image_size = manifest.embed_dim, manifest.preprocess.size
        self.image_bytes, self.logit_scale = engine.bytes, manifest.logit_scale
        self.runtime = f"{here.NAME} {here.VERSION}"

    def preprocess(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]``."""
        return self._towers.preprocess(images)

    def encode_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]`` -> float32 ``[N, embed_dim]``, L2-normalised."""
        return self._run(pixels)

    def encode_image(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Embed decoded images: float32 ``[N, embed_dim]``, L2-normalised."""
        return self.encode_pixels(self.preprocess(images))

    def encode_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, or one alone: float32 ``[N, embed_dim]``, L2-normalised."""
        return self._towers.encode_text(texts)


def check_fit(engine: Extra, here: dict[str, Any]) -> None:
    """Refuse an engine of another GPU, system or TensorRT before TensorRT does so in its own words.

    Args:
        engine: of a bundle.
        here: this machine's ``compute`` (``sm89``), ``system`` and ``tensorrt`` (name and version).

    Raises:
        EdgeclipError: naming what differs, and how to build one that fits.
    """
    built = engine.facts
    differ = [] if built.get("hardware_compatible") or built.get("compute") == here["compute"] else ["compute"]
    differ += [] if built.get("system") == here["system"] else ["system"]
    if built.get("tensorrt") != here["tensorrt"] and not built.get("version_compatible"):
        differ.append("tensorrt")
    if differ:
        was, now = (", ".join(str(facts.get(key)) for key in differ) for facts in (built, here))
        raise EdgeclipError(
            f"{engine.file} was built for {was}; here is {now}: build one on this device, with "
            "edgeclip export BUNDLE --tensorrt"
        )
