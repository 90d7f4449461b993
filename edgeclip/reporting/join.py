"""Figures of two machines as one chain: teacher and student from here, the variants from the device."""

from __future__ import annotations

from typing import Any

from ..base.errors import EdgeclipError
from ..comparison.answers import compare_answers
from ..measurement.rows import changed_columns
from ..measurement.schema import Figures, Row


def join(host: Figures | None, device: Figures) -> list[Row]:
    """The rows of one chain. Those of the host have no timing: another machine's clock is no one's business.

    The device's first row is held against the host's last one by the answers both gave.

    Raises:
        EdgeclipError: they are of another bundle, or of another data set.
    """
    if host is None:
        return list(device.rows)
    if host.bundle != device.bundle:
        raise EdgeclipError(f"the figures are of another bundle than {host.name}: measure this one there")
    if device.dataset and host.dataset and device.dataset.sha256 != host.dataset.sha256:
        raise EdgeclipError(f"the figures are of another data set ({device.dataset.name}): measure on one and the same")
    before = [row.model_copy(update={"where": "host", "timing": None}) for row in host.rows]
    if not before:
        return list(device.rows)
    first, *others = device.rows
    return [*before, first.model_copy(update=held_against(before[-1], first)), *others]


def held_against(before: Row, after: Row) -> dict[str, Any]:
    """The columns that compare two rows by their answers to the same images; no more than the name without these."""
    columns: dict[str, Any] = {"compared_to": before.stage}
    if not before.answers or len(before.answers) != len(after.answers) or not before.right or not after.right:
        return columns
    right, was_right = ([answer == "1" for answer in row.right or ""] for row in (after, before))
    return columns | changed_columns(compare_answers(after.answers, before.answers, right, was_right))
