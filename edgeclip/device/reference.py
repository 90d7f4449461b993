"""The probe kit's reference graph as files: measured beside every report, it shows how fast the machine was then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .probekit import Kit


def write_reference(folder: Path, threads: int | None, engine: str | None = None) -> dict[str, Any]:
    """Write graph and weights into ``folder``; returns the job of a worker that is to hold it, in that engine."""
    with Kit() as kit:
        graph = kit.unpack(kit.reference, folder)
        size, weights = kit.reference.image_size, str(folder / kit.reference.weights)
    job = {"graph": str(graph), "weights": weights, "precision": "fp32", "image_size": size}
    return {**job, "engine": engine, "threads": threads}


def reference_name() -> str:
    """What the reference graph is called in profiles and reports."""
    with Kit() as kit:
        return kit.reference.name
