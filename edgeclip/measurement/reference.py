"""The probe kit's reference graph as files: measured beside every report, it shows how fast the machine was then."""

from __future__ import annotations

from pathlib import Path

from ..profiling.probekit import Kit
from ..runtime.towerjob import TowerJob


def write_reference(folder: Path, beside: TowerJob) -> TowerJob:
    """Write graph and weights into ``folder``; the job of a worker that holds it as the job ``beside`` holds its own.

    A time is only divided by the reference's where both ran in one engine, on one provider, with as many threads.
    """
    with Kit() as kit:
        graph = kit.unpack(kit.reference, folder)
        size, weights = kit.reference.image_size, str(folder / kit.reference.weights)
    engine, provider, threads = beside.engine, beside.provider, beside.threads
    return TowerJob(str(graph), weights, engine=engine, provider=provider, threads=threads, image_size=size)


def reference_name() -> str:
    """What the reference graph is called in profiles and reports."""
    with Kit() as kit:
        return kit.reference.name
