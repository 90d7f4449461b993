"""Is the exported graph the model? Names, shapes, batch sizes, how far the embeddings moved, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from ..runtime.engines.ort import Onnxruntime
from ..runtime.manifest import Fidelity

Array = NDArray[Any]
Floats = NDArray[np.float32]
BATCHES = (1, 2, 5)
FP32_TOLERANCE = 1e-4


@dataclass(frozen=True)
class EvaluationSet:
    """A labelled dataset that variants are asked about: what int8 costs is counted in answers, not in cosines."""

    pixels: Floats  # [N, 3, S, S]
    labels: NDArray[np.int64]  # [N]
    classes: Floats  # [C, D], L2-normalised

    def answers(self, embeds: Floats) -> NDArray[np.int64]:
        """The likeliest class of each image, ``[N]``."""
        return (embeds @ self.classes.T).argmax(axis=1)

    def top1(self, embeds: Floats) -> float:
        """The fraction of right answers, 0..1."""
        return float((self.answers(embeds) == self.labels).mean())


@dataclass(frozen=True)
class Gate:
    """What a variant must keep to be used: answers where there is an evaluation set, else cosines."""

    cosine: float = 0.999  # mean, to torch
    drop: float = 1.0  # points of top-1 lost against torch

    def passes(self, fidelity: Fidelity) -> bool:
        """Whether a variant of this fidelity may be used."""
        return fidelity.cosine_mean >= self.cosine if fidelity.top1_drop is None else fidelity.top1_drop <= self.drop


def compare(reference: Floats, embeds: Floats) -> Fidelity:
    """Cosines and largest difference of two sets of L2-normalised embeddings, float32 ``[N, D]``.

    A graph that gives NaN is told by a cosine of -1: it must never look faithful.
    """
    if not np.isfinite(embeds).all():
        return Fidelity(cosine_mean=-1, cosine_worst=-1, largest_difference=2)
    cosine = np.minimum((reference.astype(np.float64) * embeds.astype(np.float64)).sum(axis=1), 1)
    return Fidelity(
        cosine_mean=float(cosine.mean()),
        cosine_p1=float(np.percentile(cosine, 1)),
        cosine_worst=float(cosine.min()),
        largest_difference=float(np.abs(reference - embeds).max()),
    )


def with_accuracy(fidelity: Fidelity, evaluation_set: EvaluationSet, reference: Floats, embeds: Floats) -> Fidelity:
    """``fidelity``, and on the evaluation set: top-1, points lost against the reference, agreement of the answers."""
    top1 = evaluation_set.top1(embeds)
    return fidelity.model_copy(
        update={
            "top1": top1,
            "top1_drop": 100 * (evaluation_set.top1(reference) - top1),
            "agreement": float((evaluation_set.answers(reference) == evaluation_set.answers(embeds)).mean()),
        }
    )


def check_tower(path: Path, inputs: Array, reference: Callable[[Array], Floats], output_name: str) -> dict[str, float]:
    """Run an fp32 graph at several batch sizes and hold it against torch.

    Args:
        path: the exported tower.
        inputs: rows of its input, at least as many as the largest of ``BATCHES``.
        reference: the same tower in torch.
        output_name: what its one output must be called.

    Returns:
        Batch size -> largest difference of any number in the output.

    Raises:
        EdgeclipError: the output's name, shape or values are not torch's; the text names the largest difference.
    """
    session = Onnxruntime().open(path)
    if session.outputs != [output_name]:
        raise EdgeclipError(f"{path.name}: outputs {session.outputs}, expected {output_name}")
    differences = {}
    for batch in BATCHES:
        expected = reference(inputs[:batch])
        outputs = session.run(inputs[:batch])
        if outputs.shape != expected.shape:
            raise EdgeclipError(f"{path.name}: shape {outputs.shape} at batch {batch}, torch gives {expected.shape}")
        difference = float(np.abs(outputs - expected).max())
        if not difference <= FP32_TOLERANCE:
            raise EdgeclipError(f"{path.name}: off by {difference:.2g} from torch at batch {batch}: not exported")
        differences[str(batch)] = difference
    return differences
