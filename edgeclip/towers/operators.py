"""What one image costs any tower: its operators counted while they run on tensors without data.

The counts are of the exported tower: branches folded, batch norms taken in by their convolutions, attention as two
products and a softmax. What only renames a tensor (view, reshape) costs nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..base.errors import EdgeclipError
from ..profiling.schema import Kernel, Work, Workload

KINDS: dict[Kernel, str] = {
    "norm": "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm",
    "softmax": "softmax _softmax",
    "gelu": "gelu",
    "activation": "silu hardswish sigmoid hardsigmoid relu relu6 hardtanh",
    "elementwise": "add mul div sub addcmul pow clamp_min rsqrt sqrt square",
    "movement": "permute transpose cat pad constant_pad_nd slice select split split_with_sizes chunk unbind roll flip "
    "index index_select",
    "reduce": "mean sum adaptive_avg_pool2d avg_pool2d max_pool2d linalg_vector_norm var_mean",
}
KIND_OF: dict[str, Kernel] = {name: kind for kind, names in KINDS.items() for name in names.split()}
FREE_NAMES = (
    "view reshape flatten unflatten unsqueeze squeeze expand expand_as view_as broadcast_to contiguous clone to "
    "_to_copy dropout detach alias t numpy_T batch_norm empty ones zeros arange full zeros_like new_zeros"
)
FREE = frozenset(FREE_NAMES.split())


def count(tower: nn.Module, image_sizes: Sequence[int], family: str) -> list[Workload]:
    """The :class:`Workload` of an image tower for one image, at each size (pixels a side).

    Raises:
        EdgeclipError: the tower uses an operator that nobody has put a price on yet.
    """
    bare = reparameterize_model(copy.deepcopy(tower).eval()).to("meta")
    params = sum(p.numel() for p in bare.parameters()) / 1e6
    workloads = []
    for size in image_sizes:
        with torch.inference_mode(), _Counter() as counter:
            bare(torch.empty(1, 3, size, size, device="meta"))
        kernels = {kind: Work(**work) for kind, work in counter.work.items()}
        workloads.append(Workload(family=family, kernels=kernels, params_m=params, peak_melems=counter.peak / 1e6))
    return workloads


class _Counter(TorchDispatchMode):
    """Adds up what passes, by kind. In inference mode operators arrive whole: linear, conv2d, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.work: dict[Kernel, dict[str, Any]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        self._price(name.rstrip("_"), args, kwargs or {}, _tensors([out]))
        return out

    def _price(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], outs: list[Tensor]) -> None:
        inputs, written = _tensors(args), sum(out.numel() for out in outs)
        if name in PRODUCTS:
            PRODUCTS[name](self, args, kwargs, outs[0])
        elif name in KIND_OF:
            kind = KIND_OF[name]
            # What moves a part of a tensor reads no more than it writes.
            read = written if kind == "movement" else sum(tensor.numel() for tensor in inputs if tensor.dim())
            self.add(kind, read if kind in ("elementwise", "movement") else inputs[0].numel(), written)
        elif outs and name not in FREE:
            raise EdgeclipError(f"the operator {name} of this tower has no price: its latency cannot be predicted")

    def add(self, kind: Kernel, read: int, written: int, flops: float = 0.0, params: int = 0, calls: int = 1) -> None:
        """One operator."""
        total = self.work.setdefault(kind, {"calls": 0, "gflops": 0.0, "melems": 0.0, "params_m": 0.0})
        total["calls"] += calls
        total["gflops"] += flops / 1e9
        total["melems"] += (read + written) / 1e6
        total["params_m"] += params / 1e6
        self.peak = max(self.peak, read + written)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat = [part for value in values for part in (value if isinstance(value, (list, tuple)) else [value])]
    return [part for part in flat if isinstance(part, Tensor)]


def _conv(counter: _Counter, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> None:
    pixels, weight = args[0], args[1]
    groups = pixels.shape[1] // weight.shape[1]
    kernel = weight.shape[2] * weight.shape[3]
    kind: Kernel = "pointwise" if kernel == 1 else "conv"
    if groups > 1:
        kind = "depthwise" if groups == pixels.shape[1] == out.shape[1] else "grouped"
    flops = 2 * out.numel() * weight.shape[1] * kernel
    # Runtimes have a kernel of its own for depthwise; other groups are as many small products.
    calls = groups if kind == "grouped" else 1
    counter.add(kind, pixels.numel(), out.numel(), flops, weight.numel(), calls)


def _linear(counter: _Counter, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> None:
    rows, weight = args[0], args[1]
    counter.add("linear", rows.numel(), out.numel(), 2 * out.numel() * rows.shape[-1], weight.numel())


def _matmul(counter: _Counter, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> None:
    left, right = args[0], args[1]
    if isinstance(right, nn.Parameter):
        _linear(counter, args, kwargs, out)
    else:
        counter.add("product", left.numel() + right.numel(), out.numel(), 2 * out.numel() * left.shape[-1])


def _attention(counter: _Counter, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> None:
    query, key, value = args[:3]
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    counter.add("product", query.numel() + key.numel(), scores, 2 * scores * query.shape[-1])
    if kwargs.get("attn_mask") is not None or (len(args) > 3 and args[3] is not None):
        counter.add("elementwise", 2 * scores, scores)
    counter.add("softmax", scores, scores)
    counter.add("product", scores + value.numel(), out.numel(), 2 * scores * value.shape[-1])


PRODUCTS: dict[str, Callable[[_Counter, Sequence[Any], Mapping[str, Any], Tensor], None]] = {
    "conv2d": _conv,
    "linear": _linear,
    "matmul": _matmul,
    "bmm": _matmul,
    "scaled_dot_product_attention": _attention,
}
