"""The few CUDA calls that running an engine takes, by NVIDIA's own bindings (``cuda-python``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....base.errors import EdgeclipError, MissingExtra


def bindings() -> Any:
    """``cuda.bindings.runtime``, or its name before cuda-python 12.6.

    Raises:
        MissingExtra: they are not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError:
        try:
            from cuda import cudart as runtime
        except ImportError as error:
            raise MissingExtra("running an engine needs cuda-python: pip install 'edgeclip[tensorrt]'") from error
    return runtime


def count_gpus() -> int:
    """How many there are.

    Raises:
        MissingExtra: CUDA's bindings are not installed.
        EdgeclipError: none, or no driver.
    """
    api = bindings()
    status, count = api.cudaGetDeviceCount()
    if int(status) or not count:
        raise EdgeclipError("no NVIDIA GPU, or no driver of one, is here: an engine runs on nothing else")
    return int(count)


class Cuda:
    """One stream, and buffers of both sides of the bus, on the current GPU."""

    def __init__(self) -> None:
        """
        Raises:
            EdgeclipError: there is no GPU, or no driver.
        """
        self._api = bindings()
        self.stream = self.call("cudaStreamCreate")
        self._device: list[int] = []
        self._pinned: list[int] = []

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime; its result, without the status.

        Raises:
            EdgeclipError: CUDA refused.
        """
        status, *result = getattr(self._api, name)(*arguments)
        if int(status) != 0:
            text = self._api.cudaGetErrorString(status)[1]
            words = text.decode() if isinstance(text, bytes) else str(text)
            raise EdgeclipError(f"CUDA: {words} ({name}): an engine runs on an NVIDIA GPU with its driver")
        return result[0] if len(result) == 1 else tuple(result)

    def device_buffer(self, count: int) -> int:
        """The address of ``count`` bytes on the GPU."""
        self._device.append(int(self.call("cudaMalloc", count)))
        return self._device[-1]

    def pinned(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A float32 array in page-locked memory, which copies in the background need."""
        import ctypes

        count = int(np.prod(shape))
        address = int(self.call("cudaMallocHost", 4 * count))
        self._pinned.append(address)
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)

    def to_device(self, address: int, source: NDArray[np.float32]) -> None:
        """Copy, in the stream."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", address, source.ctypes.data, source.nbytes, kind, self.stream)

    def to_host(self, target: NDArray[np.float32], address: int) -> None:
        """Copy, in the stream."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", target.ctypes.data, address, target.nbytes, kind, self.stream)

    def capture(self, work: Any) -> Any:
        """Record what ``work()`` puts into the stream; :meth:`launch` replays it with one call."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        finally:
            graph = self.call("cudaStreamEndCapture", self.stream)
        executable = self.call("cudaGraphInstantiate", graph, 0)
        self.call("cudaGraphDestroy", graph)
        return executable

    def launch(self, graph: Any) -> None:
        """Replay, in the stream."""
        self.call("cudaGraphLaunch", graph, self.stream)

    def wait(self) -> None:
        """Until the stream is empty."""
        self.call("cudaStreamSynchronize", self.stream)

    def gpu(self) -> dict[str, Any]:
        """Name and compute capability (``sm89``) of the current GPU."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return {"gpu": name.strip("\0"), "compute": f"sm{properties.major}{properties.minor}"}

    def close(self) -> None:
        """Give everything back."""
        self.wait()
        while self._device:
            self.call("cudaFree", self._device.pop())
        while self._pinned:
            self.call("cudaFreeHost", self._pinned.pop())
        self.call("cudaStreamDestroy", self.stream)
