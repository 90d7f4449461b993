"""Find the profile and the student."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..console import say
from ..errors import BudgetError, EdgeclipError, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..device.schema import Precision, Profile
    from ..student.spec import StudentSpec

ROUNDS = 3  # of finalists
MORE = 1.05  # a little less than what just missed


def find_profile(name: str, budget: dict[str, float | None]) -> Profile:
    """The profile of that name or path, its budget overridden by what is given.

    Raises:
        EdgeclipError: there is none, or its file has faults.
    """
    from ..device.store import load_profile

    found = load_profile(name)
    given = {line: limit for line, limit in budget.items() if limit is not None}
    return found.model_copy(update={"budget": found.budget.model_copy(update=given)})


def warn(profile: Profile) -> None:
    """Say what lessens the worth of a profile's predictions."""
    if profile.provenance == "estimated":
        say(f"profile {profile.name} is estimated; on the device: edgeclip profile {profile.name} --out FILE")
    if profile.flags:
        say(f"profile {profile.name} is {', '.join(profile.flags)}: its notes say why (edgeclip profiles)")


def choose(
    profile: Profile, *, max_image_size: int, precisions: Sequence[Precision] | None = None, top: int = 10
) -> StudentSpec:
    """The best student that fits the profile's budget; where the profile is of this very machine, measured to fit.

    Where every finalist turns out slower than the budget allows, the cost model errs here by at least so much: what it
    predicts is then held against a budget that is less by that, and other finalists are measured.

    Raises:
        BudgetError: nothing fits, by prediction or by measurement.
    """
    from ..device.facts import describe_device
    from ..student.select import select

    own = bool(profile.device == describe_device() and find_spec("torch") and find_spec("onnx"))
    budget = profile.budget
    for left in reversed(range(ROUNDS)):
        specs = select(profile, budget, max_image_size=max_image_size, precisions=precisions, top=top, to_measure=own)
        if not own:
            warn(profile)
            return specs[0]
        try:
            return confirm(specs, profile)
        except BudgetError as error:
            if not left or budget.latency_ms is None or error.over is None:
                raise
            say(f"all finalists were slower than predicted, by {error.over - 1:.0%} or more: faster ones are measured")
            budget = budget.model_copy(update={"latency_ms": budget.latency_ms / error.over / MORE})
    raise AssertionError("the last round returns or raises")


def here(profile: Profile) -> Profile:
    """The same profile.

    Raises:
        EdgeclipError: it is of another device or version of the runtime, so nothing can be measured for it here.
        MissingExtra: what students are built with is not installed.
    """
    from ..device.facts import describe_device

    if profile.device != describe_device():
        raise EdgeclipError(f"profile {profile.name} is of another device: measure there, or drop --measure")
    if profile.runtime.version != (version := metadata.version("onnxruntime")):
        raise EdgeclipError(
            f"profile {profile.name} speaks for {profile.runtime.name} {profile.runtime.version}, but {version} is "
            f"installed: edgeclip profile {profile.name} --out FILE measures anew"
        )
    require("torch", "distill")
    require("onnx", "distill")
    return profile


def confirm(specs: Sequence[StudentSpec], profile: Profile) -> StudentSpec:
    """The first of ``specs`` that meets the profile's latency budget when its untrained graph is timed here."""
    from ..export.untrained import export_untrained
    from ..student.finalists import best_measured

    return best_measured(specs, profile, profile.budget, export_untrained)


def text_advice(size_mb: float) -> str:
    """Which text tower of the student's own fits ``size_mb``, as the training settings want it, or none."""
    from ..student.texts import largest_text_tower

    if tower := largest_text_tower(size_mb):
        shape = f"width = {tower.width}, layers = {tower.layers}, heads = {tower.heads}"
        return f'text tower: {tower.size_mb:.0f} MB; in --config: text_tower = "student", text_shape = {{ {shape} }}'
    return f"no text tower fits {size_mb:g} MB: have the bundle carry its labels' embeddings instead"
