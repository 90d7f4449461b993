"""The objectives, as pure functions of embeddings: DIME-FM's three terms, and plain regression beside them.

``S(a, b) = 100 a b^T`` over L2-normalised rows, and ``KL_t(P, Q)`` is the mean over rows of the divergence of
softmax(Q / t) from softmax(P / t), without a factor of t^2: as in the code of DIME-FM (arXiv 2303.18232).
Everything is computed in fp32, whatever autocast is in force.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 100.0
TERMS = ("vl", "pvl", "udist", "embed")


def objective(student: Tensor, teacher: Tensor, text: Tensor, weights: dict[str, float]) -> dict[str, Tensor]:
    """The weighted terms, by name; their sum is the loss. A term is computed if and only if its weight is above 0.

    Args:
        student: the student's image embeddings ``[N, D]``, L2-normalised.
        teacher: the teacher's of the same images ``[N, D]``, L2-normalised.
        text: the teacher's embeddings of unrelated sentences ``[M, D]``, L2-normalised.
        weights: of the names in ``TERMS``.
    """
    terms: dict[str, Callable[[], Tensor]] = {
        "vl": lambda: vision_language(student, teacher, text),
        "pvl": lambda: pseudo_vision_language(student, teacher),
        "udist": lambda: uni_modal_distance(student, teacher),
        "embed": lambda: embedding(student, teacher),
    }
    with torch.autocast(student.device.type, enabled=False):
        student, teacher, text = student.float(), teacher.float(), text.float()
        return {name: weight * terms[name]() for name, weight in weights.items() if weight > 0}


def vision_language(student: Tensor, teacher: Tensor, text: Tensor) -> Tensor:
    """L_vl: the image-text similarities, each image over the texts and each text over the images."""
    ours, theirs = similarity(student, text), similarity(teacher, text)
    return divergence(theirs, ours, 1.0) + divergence(theirs.T, ours.T, 1.0)


def pseudo_vision_language(student: Tensor, teacher: Tensor) -> Tensor:
    """L_p-vl: the teacher's image embeddings stand in for texts, at temperature 3."""
    return 2 * divergence(similarity(teacher, teacher), similarity(student, teacher), 3.0)


def uni_modal_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """L_udist: distances between images within the student's own space, at temperature 7."""
    return 2 * divergence(similarity(teacher, teacher), similarity(student, student), 7.0)


def embedding(student: Tensor, teacher: Tensor) -> Tensor:
    """Plain regression: the mean over rows of the squared distance, which is 2 - 2 cosine."""
    return (student - teacher).square().sum(dim=1).mean()


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """S(a, b): ``[N, D], [M, D] -> [N, M]``."""
    return SCALE * a @ b.T


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """KL_t of two matrices of logits ``[N, M]``, mean over rows."""
    target = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), target, log_target=True, reduction="batchmean")
