"""Was the machine still enough to be believed? What a reader must know before trusting a profile's figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.target import Conditions, Device
from .schema import Flag, Latency, Reference

NOISY_DRIFT, NOISY_SPREAD = 0.15, 0.3  # beyond these the machine was noisy
SLOWED = 1.25  # the reference at the end over the reference at the beginning, where a machine throttled
CLOCK_KEPT = 0.85  # of its clock
HOT = 80.0  # degrees Celsius, where small boards begin to slow down


def judge(
    device: Device,
    before: Conditions,
    after: Conditions,
    reference: Reference,
    rows: Sequence[Latency],
    beside: Sequence[float],
) -> tuple[list[Flag], list[str]]:
    """Flags for programs, and notes for people.

    Args:
        device: the machine.
        before: its state when the probe began.
        after: its state when the probe ended.
        reference: the reference's figures.
        rows: the latency table.
        beside: the reference's p50 in each turn, ms, in the order of the turns.
    """
    flags: list[Flag] = []
    notes = []
    spread = float(np.median([row.spread for row in rows]))
    third = max(1, len(beside) // 3)
    slower = float(np.median(beside[-third:]) / np.median(beside[:third]))
    clock = after.clock_mhz / before.clock_mhz if after.clock_mhz and before.clock_mhz else None
    held = ", ".join(set(after.throttling or []) - set(before.throttling or []))
    if slower > SLOWED or (clock is not None and clock < CLOCK_KEPT) or held:
        flags.append("throttled")
        clock_words = f", its clock to {clock:.0%}" if clock is not None else ""
        clock_words += f", held down by {held}" if held else ""
        clock_words += f", at {after.temperature_c:.0f} degrees Celsius" if after.temperature_c is not None else ""
        notes.append(
            f"throttled: the reference took {slower:.2f} times as long at the end as at the beginning{clock_words}; "
            "what the device can keep up may be less than this: cool it, or measure again when it is warm"
        )
    if reference.drift > NOISY_DRIFT or spread > NOISY_SPREAD:
        flags.append("noisy")
        notes.append(
            f"noisy: the reference drifted by {reference.drift:.0%} and single calls spread by {spread:.0%}; "
            "figures relative to the reference hold better than milliseconds: measure again on an idle machine"
        )
    if before.load is not None and before.load > 0.5 * device.cores:
        flags.append("busy")
        notes.append(f"other work was running: load {before.load:.1f} on {device.cores} cores before the probe began")
    if before.governor not in (None, "performance"):
        notes.append(f"the clock governor is {before.governor}: 'performance' gives steadier figures")
    if after.temperature_c is not None and after.temperature_c >= HOT:
        notes.append(f"the machine reached {after.temperature_c:.0f} degrees Celsius: it may have slowed down")
    return flags, notes
