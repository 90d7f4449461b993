"""What a worker is given: which graph it is to hold, and what is to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plain import asked_runtime, graph_for, variant_of


@dataclass(frozen=True)
class RuntimeOptions:
    """What is to run a bundle; of the bundle's target where None, threads: all usable cores."""

    engine: str | None = None
    provider: str | None = None
    threads: int | None = None


AS_TARGET = RuntimeOptions()


@dataclass(frozen=True)
class TowerJob:
    """A graph and how to open it: plain values, which are a worker's argument as JSON."""

    graph: str  # a path
    weights: str | None = None  # the file beside it that it asks for by name
    engine: str | None = None
    precision: str = "fp32"
    provider: str | None = None
    threads: int | None = None
    preprocess: Mapping[str, Any] | None = None  # ``preprocess`` of a bundle's manifest: it can be given images
    image_size: int | None = None  # of a graph that is only timed


def tower_job(folder: Path, manifest: Mapping[str, Any], precision: str | None, options: RuntimeOptions) -> TowerJob:
    """The job of a worker that is to hold this variant's image tower.

    Raises:
        EdgeclipError: the bundle holds no such variant, or none that the engine reads.
    """
    variant = variant_of(manifest, precision)
    engine, provider = asked_runtime(manifest, options.engine, options.provider)
    graph, weights = _files(folder, graph_for(manifest, variant, engine))
    return TowerJob(
        graph,
        weights,
        engine=engine,
        precision=variant["precision"],
        provider=provider,
        threads=options.threads,
        preprocess=manifest["preprocess"],
    )


def text_job(folder: Path, manifest: Mapping[str, Any], *, threads: int | None = None) -> TowerJob:
    """The job of a worker that is to hold the text tower: it can give its outputs, and nothing else."""
    return TowerJob(*_files(folder, manifest["text"]), threads=threads, image_size=1)


def _files(folder: Path, entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """A graph, and the weights beside it where there are."""
    beside = entry.get("weights")
    return str(folder / entry["file"]), str(folder / beside["file"]) if beside else None
