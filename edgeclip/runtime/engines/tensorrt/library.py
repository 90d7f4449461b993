"""Which TensorRT is here: 10.x, 11.x or TensorRT-RTX. They share an interface; what they do not is named here.

Importing this module imports TensorRT, or says how to get it.
"""

from __future__ import annotations

import importlib
import platform
from types import ModuleType
from typing import TYPE_CHECKING

from ....base.errors import EdgeclipError, MissingExtra

MAJORS = (10, 11)  # of TensorRT; TensorRT-RTX counts its own from 1
PACKAGES = ("tensorrt", "tensorrt_rtx")


def find_tensorrt() -> ModuleType:
    """TensorRT, or TensorRT-RTX where that is the one installed.

    Raises:
        MissingExtra: neither is installed.
        EdgeclipError: the TensorRT that is there is older or newer than those this was written for.
    """
    for name in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise  # there, but broken
            continue
        if not hasattr(module, "Builder"):
            continue  # a folder of type stubs
        major = int(module.__version__.partition(".")[0])
        if name == "tensorrt" and major not in MAJORS:
            wanted = " or ".join(f"{number}.x" for number in MAJORS)
            raise EdgeclipError(f"TensorRT {module.__version__} is not supported: install {wanted}, or TensorRT-RTX")
        return module
    raise MissingExtra(
        "this needs TensorRT: it comes with JetPack; elsewhere pip install 'edgeclip[tensorrt]', "
        "or 'edgeclip[tensorrt-rtx]' to build with no GPU"
    )


if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = find_tensorrt()

RTX: bool = trt.__name__ == "tensorrt_rtx"
NAME = "TensorRT-RTX" if RTX else "TensorRT"
VERSION: str = trt.__version__
SYSTEM = f"{platform.system()} {platform.machine()}"


class Log(trt.ILogger):
    """Keeps errors, so that a refusal can be told in one line; the rest is TensorRT's own affair."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.errors.append(" ".join(msg.split()))

    def last(self) -> str:
        """The last error, and no more of it than a line; forgotten then."""
        text = self.errors[-1] if self.errors else "no reason given"
        self.errors.clear()
        return text[:300]


LOG = Log()  # one for the process: TensorRT keeps to the first that it is given
