"""Multinomial logistic regression with L2, by L-BFGS: what linear probes are made of, in numpy alone.

The objective is scikit-learn's (``LogisticRegression(C=C)``): ``C * sum of cross-entropies + |W|^2 / 2``, the intercept
free. It is convex, so both find the same classifier; this one is warm-started along a sweep of ``C`` and works in
float32, which is where the time goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
MEMORY = 10  # pairs of steps and gradient changes that stand for the curvature
ENOUGH = 1e-4  # of the promised decrease: Armijo's condition


@dataclass(frozen=True)
class Classifier:
    """A linear classifier."""

    weights: Rows  # [D + 1, C]; the last row is the intercept
    steps: int  # L-BFGS steps that it took

    def scores(self, features: Rows) -> Rows:
        """float32 ``[N, D]`` -> float32 ``[N, C]``."""
        return np.asarray(features @ self.weights[:-1] + self.weights[-1])

    def predict(self, features: Rows) -> NDArray[np.int64]:
        """The class of each row, int64 ``[N]``."""
        return np.asarray(self.scores(features).argmax(axis=1))


def fit(
    features: Rows,
    labels: NDArray[np.int64],
    classes: int,
    *,
    strength: float,
    start: Classifier | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
) -> Classifier:
    """The classifier of smallest loss for ``C = strength``.

    Args:
        features: float32 ``[N, D]``.
        labels: int64 ``[N]``, 0 to ``classes`` - 1.
        classes: how many there are, with or without an example.
        strength: scikit-learn's ``C``: what the data counts against the penalty.
        start: where to start, the classifier of a near ``strength`` say.
        tolerance: stop when no entry of the gradient of the loss per example is larger than this times the largest at
            the all-zero classifier.
        max_steps: stop then in any case.
    """
    count = len(features)
    rows = np.concatenate([features, np.ones((count, 1), np.float32)], axis=1)
    truth = np.zeros((count, classes), np.float32)
    truth[np.arange(count), labels] = 1
    penalty = np.full((rows.shape[1], 1), 1 / (strength * count), np.float32)
    penalty[-1] = 0

    def loss_and_gradient(weights: Rows) -> tuple[float, Rows]:
        logits = rows @ weights
        logits -= logits.max(axis=1, keepdims=True)
        fit_of_truth = float(np.einsum("nc,nc->", logits, truth, dtype=np.float64))
        np.exp(logits, out=logits)
        total = logits.sum(axis=1, keepdims=True)
        loss = (float(np.log(total).sum(dtype=np.float64)) - fit_of_truth) / count
        logits /= total
        logits -= truth
        gradient = rows.T @ logits / np.float32(count) + penalty * weights
        return loss + 0.5 * float((penalty * weights * weights).sum(dtype=np.float64)), gradient

    weights = np.zeros((rows.shape[1], classes), np.float32) if start is None else start.weights
    scale = float(np.abs(rows.T @ (1 / classes - truth)).max()) / count
    weights, steps = minimise(loss_and_gradient, weights, tolerance=tolerance * scale, max_steps=max_steps)
    return Classifier(weights, steps)


def minimise(
    loss_and_gradient: Callable[[Rows], tuple[float, Rows]], start: Rows, *, tolerance: float, max_steps: int
) -> tuple[Rows, int]:
    """L-BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5) with a backtracking line search.

    Returns where it ended, and after how many steps.
    """
    here, (loss, gradient) = start, loss_and_gradient(start)
    memory: deque[tuple[Rows, Rows, float]] = deque(maxlen=MEMORY)
    for step in range(max_steps):
        if np.abs(gradient).max() <= tolerance:
            return here, step
        direction = -_two_loops(gradient, memory)
        slope = _dot(gradient, direction)
        if slope >= 0:  # rounding has spoilt the memory
            memory.clear()
            direction, slope = -gradient, -_dot(gradient, gradient)
        rate = 1.0 if memory else 1 / max(1e-12, float(np.abs(gradient).sum()))
        while True:
            there = here + np.float32(rate) * direction
            new_loss, new_gradient = loss_and_gradient(there)
            if new_loss <= loss + ENOUGH * rate * slope:
                break
            rate /= 2
            if rate < 1e-6:  # no decrease that float32 can see
                return here, step
        moved, turned = there - here, new_gradient - gradient
        bend = _dot(moved, turned)
        if bend > 1e-10 * _dot(turned, turned):
            memory.append((moved, turned, 1 / bend))
        here, loss, gradient = there, new_loss, new_gradient
    return here, max_steps


def _two_loops(gradient: Rows, memory: deque[tuple[Rows, Rows, float]]) -> Rows:
    """The inverse Hessian that the memory stands for, times the gradient."""
    direction, shares = gradient.copy(), []
    for moved, turned, inverse in reversed(memory):
        share = inverse * _dot(moved, direction)
        shares.append(share)
        direction -= np.float32(share) * turned
    if memory:
        _, turned, inverse = memory[-1]
        direction /= np.float32(inverse * _dot(turned, turned))
    for (moved, turned, inverse), share in zip(memory, reversed(shares), strict=True):
        direction += np.float32(share - inverse * _dot(turned, direction)) * moved
    return direction


def _dot(a: Rows, b: Rows) -> float:
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64))
