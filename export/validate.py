"""Is the exported graph the model? Names, shapes, batch sizes, and how far the embeddings moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgeclipError
from ..runtime.manifest import Fidelity
from ..runtime.session import make_session

Array = NDArray[Any]
BATCHES = (1, 2, 5)
FP32_TOLERANCE = 1e-4


def compare(reference: NDArray[np.float32], embeds: NDArray[np.float32]) -> Fidelity:
    """Cosine and largest difference of two sets of L2-normalised embeddings, float32 ``[N, D]``.

    A graph that gives NaN is told by a cosine of -1: it must never look faithful.
    """
    if not np.isfinite(embeds).all():
        return Fidelity(cosine_mean=-1, cosine_worst=-1, largest_difference=2)
    cosine = (reference.astype(np.float64) * embeds.astype(np.float64)).sum(axis=1)
    return Fidelity(
        cosine_mean=min(1.0, float(cosine.mean())),
        cosine_worst=min(1.0, float(cosine.min())),
        largest_difference=float(np.abs(reference - embeds).max()),
    )


def check_tower(path: Path, inputs: Array, reference: Callable[[Array], NDArray[np.float32]], output_name: str) -> None:
    """Run an fp32 graph at several batch sizes and hold it against torch.

    Args:
        path: the exported tower.
        inputs: at least 5 rows of its input.
        reference: the same tower in torch.
        output_name: what its one output must be called.

    Raises:
        EdgeclipError: the output's name, shape or values are not torch's; the text names the largest difference.
    """
    session = make_session(path)
    names = [output.name for output in session.get_outputs()]
    if names != [output_name]:
        raise EdgeclipError(f"{path.name}: outputs {names}, expected {output_name}")
    for batch in BATCHES:
        expected = reference(inputs[:batch])
        found = session.run(None, {session.get_inputs()[0].name: inputs[:batch]})[0]
        if found.shape != expected.shape:
            raise EdgeclipError(f"{path.name}: shape {found.shape} at batch {batch}, torch gives {expected.shape}")
        difference = float(np.abs(found - expected).max())
        if not difference <= FP32_TOLERANCE:
            raise EdgeclipError(f"{path.name}: off by {difference:.2g} from torch at batch {batch}: not exported")
