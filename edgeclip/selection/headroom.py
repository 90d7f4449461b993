"""Where the chosen student leaves much of its latency budget unused: what keeps a more accurate one out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.errors import BudgetError
from ..profiling.costmodel import tail
from ..profiling.schema import Budget, Profile
from ..towers.spec import StudentSpec

USED = 2 / 3  # of the latency budget: predictions keep a distance from it, which is no room that is left
KINDS = {"size_mb": "MB in the file", "memory_mb": "MB of memory"}


def unused_latency(
    chosen: StudentSpec,
    profile: Profile,
    budget: Budget,
    max_image_size: int,
    propose: Callable[[Budget], Sequence[StudentSpec]],
) -> str:
    """One line that names the limit in the way; empty where latency itself is, or is not limited.

    Args:
        chosen: the student.
        profile: it was chosen by.
        budget: likewise.
        max_image_size: the largest input that was offered, pixels.
        propose: the best students within a budget, best first.
    """
    p50 = chosen.measured_ms or chosen.predicted_ms
    if budget.latency_ms is None or p50 is None or chosen.score is None:
        return ""
    p90 = p50 * tail(profile, chosen.precision)
    if p90 > USED * budget.latency_ms:
        return ""

    def better_without(*limits: str) -> StudentSpec | None:
        try:
            best = propose(budget.model_copy(update=dict.fromkeys(limits)))[0]
        except BudgetError:
            return None
        return best if (best.score or 0) > (chosen.score or 0) else None

    others = [name for name in KINDS if getattr(budget, name) is not None]
    keeps = [f"{getattr(budget, name):g} {KINDS[name]}" for name in others if better_without(name)]
    if keeps:
        why = f"the limit of {' and of '.join(keeps)} keeps more accurate ones out"
    elif better_without("latency_ms"):
        why = "whatever is expected to be more accurate is predicted to be too slow"
    else:
        why = f"of what is offered up to {max_image_size} px, none is expected to be more accurate"
    return f"{chosen.name} takes {p90:.3g} of the {budget.latency_ms:g} ms: {why}"
