"""Budgets, as flags give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..profiling.schema import Budget, Profile


def given_budget(flags: dict[str, float | None]) -> Budget:
    """What the flags limit."""
    from ..api.opening import Budget

    return Budget(**flags)


def budget_over(profile: Profile, flags: dict[str, float | None], *, no_budget: bool) -> Budget | None:
    """The profile's budget, overridden by what the flags limit; None where nothing is limited and should be."""
    budget = profile.budget.model_copy(update={name: limit for name, limit in flags.items() if limit is not None})
    limited = budget.model_dump(exclude_none=True, exclude={"accuracy_drop"})
    return budget if limited or no_budget else None
