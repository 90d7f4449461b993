"""safetensors files with numpy alone: what a device reads that has nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import FormatError

DTYPES = {"F32": np.float32, "I64": np.int64, "U8": np.uint8}
LARGEST_HEADER = 1 << 20


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, with numpy alone.

    Raises:
        FormatError: it is truncated or of another kind.
    """
    content = path.read_bytes()
    try:
        size = int.from_bytes(content[:8], "little")
        if size > LARGEST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(content[8 : 8 + size])
        metadata = header.pop("__metadata__", {})
        body = memoryview(content)[8 + size :]
        tensors = {
            name: np.frombuffer(body[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: cannot be read ({error}): export or copy the bundle again") from error
    return tensors, metadata
