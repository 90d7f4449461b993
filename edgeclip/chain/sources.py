"""What a bundle came from, as far as it is at hand: the stages of the chain before its variants."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.trust import is_ours
from ..encoder import Encoder, PixelEncoder
from ..runtime.bundle import KIND
from ..runtime.cores import usable_cores
from ..runtime.engines.registry import DEFAULT, find_engine

if TYPE_CHECKING:
    from ..distillation.run import Run
    from ..measurement.chain import Stage
    from ..runtime.bundle import Bundle

MOST_POINTS = 300
ON_HOST = "exported fp32, host"


def run_of(bundle: Bundle, run_path: Path | None) -> Run | None:
    """The run that is named, else the one that the bundle was made from where this user exported it here.

    What a bundle from elsewhere says of its source is no path to follow.
    """
    return _run_at(run_path) if run_path else _own_run(bundle)


def learning_curve(run: Run | None) -> list[tuple[float, float]]:
    """Epoch and loss of a run's training, a few hundred points at most; none where there are none."""
    file = run.path / "metrics.jsonl" if run else None
    if file is None or not file.is_file():
        return []
    points = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, TypeError):  # what a kill left of a line
            row = json.loads(line)
            if "loss" in row and "epoch" in row and math.isfinite(row["loss"]):
                points.append((float(row["epoch"]), float(row["loss"])))
    return points[:: max(1, -(-len(points) // MOST_POINTS))]


def earlier_stages(
    bundle: Bundle, teacher: str | None, run: Run | None, threads: int | None, *, apart: bool
) -> list[Stage]:
    """Teacher and student, each compared with the one before; what is not at hand is left out, and said.

    Where the device is another machine (``apart``), fp32 is measured here too: what the way costs has its own row.
    """
    from ..measurement.chain import Stage
    from ..runtime.onnxencoder import OnnxEncoder
    from .seeing import seeing

    stages, sees = [], bundle.manifest.preprocess
    if encoder := _teacher(teacher, run, threads):
        if not isinstance(encoder, OnnxEncoder):  # a bundle has settings of its own
            encoder = seeing(encoder, exif=sees.exif, ground=sees.ground)
        stages.append(Stage("teacher", encoder))
    if run and (student := _student(run, bundle, threads)):
        stages.append(Stage("student fp32", student, compared_to=stages[-1].name if stages else None))
    if apart and bundle.manifest.variant("fp32"):
        before = stages[-1].name if stages else None
        stages.append(Stage(ON_HOST, _anywhere(bundle, threads), compared_to=before, on_host=True))
    return stages


def _anywhere(bundle: Bundle, threads: int | None) -> PixelEncoder:
    """The fp32 variant in the engine that runs on any machine, whatever the bundle's target has."""
    engine = find_engine(DEFAULT)
    return bundle.encoder("fp32", threads=threads, engine=engine.name, provider=engine.provider)


def _student(run: Run, bundle: Bundle, threads: int | None) -> PixelEncoder | None:
    """The run's student, if its weights are those that the bundle was made from."""
    student = run.encoder()
    if student.fingerprint != bundle.manifest.source_fingerprint:
        say(f"{run.path} has other weights than {bundle.path} was made from: the report has no row for the student")
        return None
    _set_torch_threads(threads)
    return student


def _teacher(name: str | None, run: Run | None, threads: int | None) -> Encoder | None:
    """The teacher that was asked for, or the run's own where it is at hand."""
    if name or run is None:
        return _open_encoder(name, threads) if name else None
    from .loading import refuse_code

    try:
        if not run.ours:
            refuse_code([run.document.teacher], run.path)
        return _open_encoder(run.document.teacher, threads)
    except EdgeclipError as error:
        say(f"the report has no row for the teacher (--teacher T names one): {error}")
        return None


def _own_run(bundle: Bundle) -> Run | None:
    """The run that the bundle says it is of, where this user exported it on this machine."""
    manifest = bundle.manifest
    if is_ours(manifest.signature, KIND, manifest.source):
        return _run_at(Path(manifest.source))
    say("the bundle was not exported here by you: --run RUN and --teacher T add the rows of what came before it")
    return None


def _run_at(source: Path) -> Run | None:
    """The run a bundle was made from, where it is on this machine and torch is installed."""
    if not (source / "run.json").is_file() or find_spec("torch") is None:
        say("the run, or torch, is not on this machine: the report has no row for the student before export")
        return None
    from ..distillation.run import Run

    return Run.open(source)


def _open_encoder(name: str, threads: int | None) -> Encoder:
    """A bundle's, run's or teacher's encoder that uses ``threads`` CPU threads, all usable ones where None."""
    from .loading import load

    if (Path(name) / "bundle.json").is_file():
        from ..runtime.bundle import Bundle

        return Bundle.open(Path(name)).encoder(threads=threads)
    encoder = load(name)
    if not isinstance(encoder, PixelEncoder):
        say(f"{name} only encodes: its accuracy is measured, its image tower can be neither timed nor weighed")
    _set_torch_threads(threads)
    return encoder


def _set_torch_threads(threads: int | None) -> None:
    import torch

    torch.set_num_threads(threads or usable_cores())
