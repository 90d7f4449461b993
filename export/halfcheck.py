"""What a graph gives where half precision is half precision: a CPU casts to fp32 and back, and hides every overflow.

Every value that the graph holds in half is rounded to half, beyond 65,504 to infinity; sums within an operator are
taken in fp32, as tensor cores take them. The evaluator is onnx's own reference, which is slow: an image or two will do.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops import load_op

HALF, SINGLE = np.float16, np.float32


class Unknown(Exception):
    """onnx's reference lacks an operator of the graph: nothing can be said."""


def run_in_half(graph: Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output of ``graph``, for float32 ``[N, 3, S, S]``: float32 ``[N, D]``.

    Raises:
        Unknown: the reference lacks one of its operators.
    """
    model = onnx.load(str(graph))
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if foreign := sorted({node.op_type for node in model.graph.node if node.domain}):
        raise Unknown(f"onnx's reference lacks {', '.join(foreign)}")
    kinds = {node.op_type for node in model.graph.node} - {"Cast", "Constant"}
    with np.errstate(all="ignore"):  # what overflows is the answer, not a warning
        try:
            evaluator = ReferenceEvaluator(model, new_ops=[_rounded(kind, opset) for kind in sorted(kinds)])
        except NotImplementedError as error:
            raise Unknown(str(error).partition("\n")[0]) from error
        outputs: Any = evaluator.run(None, {model.graph.input[0].name: pixels})
    return np.asarray(outputs[0], SINGLE)


@cache
def _rounded(kind: str, opset: int) -> type[OpRun]:
    """The operator, computed in fp32, its result rounded to half where its inputs were halves."""
    base = FAST[kind] if kind in FAST else load_op("", kind, opset)
    known = inspect.signature(base._run).parameters  # the reference also gives it what later opsets have
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())

    def run(self: Any, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        half = any(isinstance(value, np.ndarray) and value.dtype == HALF for value in inputs)
        wide = [value.astype(SINGLE) if half and _is_half(value) else value for value in inputs]
        kept = {name: value for name, value in attributes.items() if anything or name in known}
        outputs = base._run(self, *wide, **kept)
        return tuple(value.astype(HALF) if half and _is_single(value) else value for value in outputs)

    return type(kind, (base,), {"_run": run, "op_domain": ""})


def _is_half(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == HALF


def _is_single(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == SINGLE


class Conv(OpRun):
    """torch's: the reference loops in Python."""

    def _run(self, x: Any, w: Any, b: Any = None, **attributes: Any) -> tuple[Any, ...]:
        import torch.nn.functional as F

        sides = w.ndim - 2
        pads = attributes.get("pads") or [0] * 2 * sides
        around = [side for axis in reversed(range(sides)) for side in (pads[axis], pads[axis + sides])]
        padded = F.pad(_tensor(x), around)
        settings: dict[str, Any] = {
            "stride": attributes.get("strides") or [1] * sides,
            "dilation": attributes.get("dilations") or [1] * sides,
            "groups": attributes.get("group") or 1,
        }
        convolve = {1: F.conv1d, 2: F.conv2d}[sides]
        bias = None if b is None else _tensor(b)
        return (convolve(padded, _tensor(w), bias, **settings).numpy(),)


class Erf(OpRun):
    """torch's: the reference calls Python's for every number."""

    def _run(self, x: Any) -> tuple[Any, ...]:
        import torch

        return (torch.erf(_tensor(x)).numpy(),)


class Gelu(OpRun):
    """torch's, for the same reason."""

    def _run(self, x: Any, approximate: str = "none") -> tuple[Any, ...]:
        import torch.nn.functional as F

        return (F.gelu(_tensor(x), approximate=approximate or "none").numpy(),)


def _tensor(values: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(np.array(values))  # a copy: torch wants one that it may write to


FAST: dict[str, type[OpRun]] = {"Conv": Conv, "Erf": Erf, "Gelu": Gelu}
