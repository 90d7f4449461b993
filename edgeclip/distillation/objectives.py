"""The objectives, as pure functions of embeddings: DIME-FM's three terms, and what its peers use beside them.

``S(a, b) = 100 a b^T`` over L2-normalised rows, and ``KL_t(P, Q)`` is the mean over rows of the divergence of
softmax(Q / t) from softmax(P / t), without a factor of t^2: as in the code of DIME-FM (arXiv 2303.18232).
Of several teachers, probabilities are averaged (as MobileCLIP averages its ensemble, arXiv 2311.17049); distances are
to the first one, in whose space the student lives. Everything is computed in fp32, whatever autocast is in force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 100.0


@dataclass
class Embeddings:
    """One encoder's, of a batch of images and an unrelated batch of sentences; rows are L2-normalised."""

    images: Tensor  # [N, D]
    texts: Tensor  # [M, D]

    def float(self) -> Embeddings:
        """The same in fp32."""
        return Embeddings(self.images.float(), self.texts.float())


def objective(
    student: Embeddings, teachers: Sequence[Embeddings], weights: Mapping[str, float], *, logit_scale: float = SCALE
) -> dict[str, Tensor]:
    """The weighted terms, by name; their sum is the loss. A term is computed if and only if its weight is above 0.

    Args:
        student: its embeddings. Its texts are the first teacher's own where it keeps that teacher's text tower.
        teachers: theirs, of the same images and sentences; each in a space, and of a width, of its own.
        weights: of the names in ``TERMS``.
        logit_scale: the first teacher's own, which ``soft`` uses in place of 100.
    """
    terms: dict[str, Callable[[Embeddings, Sequence[Embeddings]], Tensor]] = {
        "vl": vision_language,
        "pvl": pseudo_vision_language,
        "udist": uni_modal_distance,
        "embed": embedding,
        "soft": lambda ours, theirs: soft_cross_entropy(ours, theirs, logit_scale),
    }
    with torch.autocast(student.images.device.type, enabled=False):
        pupil, others = student.float(), [teacher.float() for teacher in teachers]
        return {name: weight * terms[name](pupil, others) for name, weight in weights.items() if weight > 0}


def vision_language(student: Embeddings, teachers: Sequence[Embeddings]) -> Tensor:
    """L_vl: the image-text similarities, each image over the texts and each text over the images."""
    ours, theirs = similarity(student.images, student.texts), [similarity(t.images, t.texts) for t in teachers]
    return kl_divergence(theirs, ours, 1.0) + kl_divergence([t.T for t in theirs], ours.T, 1.0)


def pseudo_vision_language(student: Embeddings, teachers: Sequence[Embeddings]) -> Tensor:
    """L_p-vl: the teacher's image embeddings stand in for texts, at temperature 3."""
    ours = similarity(student.images, teachers[0].images)
    return 2 * kl_divergence([similarity(t.images, t.images) for t in teachers], ours, 3.0)


def uni_modal_distance(student: Embeddings, teachers: Sequence[Embeddings]) -> Tensor:
    """L_udist: distances between images within the student's own space, at temperature 7."""
    ours = similarity(student.images, student.images)
    return 2 * kl_divergence([similarity(t.images, t.images) for t in teachers], ours, 7.0)


def embedding(student: Embeddings, teachers: Sequence[Embeddings]) -> Tensor:
    """Plain regression, of images and, where the student has a text tower of its own, of texts.

    The mean over rows of the squared distance to the first teacher: the width times the mean squared error, and, since
    rows are normalised, twice one minus the cosine.
    """
    images = (student.images - teachers[0].images).square().sum(dim=1).mean()
    return images + (student.texts - teachers[0].texts).square().sum(dim=1).mean()


def soft_cross_entropy(student: Embeddings, teachers: Sequence[Embeddings], logit_scale: float) -> Tensor:
    """Cross-entropy of the student's image-text probabilities to the teachers', the mean of both directions.

    As in open_clip's ``DistillClipLoss``, on unpaired sentences. Its least value is the teachers' entropy, not 0.
    """
    ours = logit_scale * student.images @ student.texts.T
    theirs = [logit_scale * t.images @ t.texts.T for t in teachers]
    rows = F.cross_entropy(ours, mean_log_probabilities(theirs).exp())
    return (rows + F.cross_entropy(ours.T, mean_log_probabilities([t.T for t in theirs]).exp())) / 2


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """S(a, b): ``[N, D], [M, D] -> [N, M]``."""
    return SCALE * a @ b.T


def kl_divergence(teachers: Sequence[Tensor], student: Tensor, temperature: float) -> Tensor:
    """KL_t of the student's logits ``[N, M]`` from the mean of the teachers' probabilities, mean over rows."""
    target = mean_log_probabilities([logits / temperature for logits in teachers])
    return F.kl_div(F.log_softmax(student / temperature, dim=1), target, log_target=True, reduction="batchmean")


def mean_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of several softmaxes ``[N, M]``, over rows."""
    if len(logits) == 1:
        return F.log_softmax(logits[0], dim=1)
    return torch.stack([F.log_softmax(row, dim=1) for row in logits]).logsumexp(dim=0) - math.log(len(logits))
