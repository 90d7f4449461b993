"""Peak memory of a process that is ready to encode, before its student counts: what every student's memory adds to."""

from __future__ import annotations

from pathlib import Path

from ..base.console import say
from ..base.scratch import scratch_folder
from ..runtime.manifest import Preprocess
from ..runtime.target import Runtime
from ..runtime.towerjob import TowerJob
from ..runtime.turns import WORKER, Crashed, Worker
from ..runtime.worker import Opened
from .probekit import Kit


def base_memory_mb(kit: Kit, runtime: Runtime) -> float | None:
    """Measured as reports do, on the kit's smallest fp32 graph, MB; None where the system does not tell."""
    graph = min((g for g in kit.index.graphs if g.precision == "fp32"), key=lambda g: g.megabytes)
    with scratch_folder() as folder:
        half = (0.5, 0.5, 0.5)
        job = TowerJob(
            str(kit.unpack(graph, Path(folder))),
            engine=runtime.name,
            provider=runtime.provider,
            threads=runtime.threads,
            preprocess=Preprocess(size=graph.image_size, mean=half, std=half).model_dump(),
        )
        with Worker(WORKER, job) as worker:
            try:
                return Opened(**worker.ask("open")).peak_memory_mb
            except Crashed as error:
                say(f"probe: base memory not measured ({error})")
                return None
