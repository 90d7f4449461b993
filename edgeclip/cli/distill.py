"""Teach it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import JSON, NO_MEASURE, PATH, PROFILE, budget_options, if_interrupted, tell

if TYPE_CHECKING:
    from ..device.schema import Profile
    from ..encoder import Encoder
    from ..towers.spec import StudentSpec


@click.command(name="distill")
@PROFILE
@budget_options
@click.option(
    "--teacher",
    "teachers",
    required=True,
    multiple=True,
    metavar="T",
    help="ViT-L-14:openai, hf-hub:…, local-dir:…, module:factory, store:FOLDER, or demo. More than one are averaged.",
)
@click.option("--images", required=True, help="A folder, shard-{000..099}.tar (globs, URLs), or hf:NAME[:SPLIT].")
@click.option("--texts", type=PATH, help='Sentences: .txt, .jsonl or .parquet with "text"; .gz, .bz2, .xz too.')
@click.option("--classes", type=PATH, help="Class names in place of sentences: a student for one task.")
@click.option("--out", type=PATH, required=True, help="The run's folder.")
@click.option("--spec", "spec_file", type=PATH, help="Train this student instead of the best that fits.")
@click.option("--config", "config_file", type=PATH, help="Training settings (.toml or .json).")
@click.option("--store", type=PATH, help="The teacher's embeddings, to share between runs.  [default: in the run]")
@click.option("--dataset", type=PATH, help="Judge the student on this while it learns; keep the best.")
@NO_MEASURE
@click.option("--resume", is_flag=True, help="Go on where the run in --out was interrupted.")
@JSON
def distill_command(
    profile_name: str,
    teachers: tuple[str, ...],
    images: str,
    texts: Path | None,
    classes: Path | None,
    out: Path,
    spec_file: Path | None,
    config_file: Path | None,
    store: Path | None,
    dataset: Path | None,
    no_measure: bool,
    resume: bool,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Choose the best student the device can afford and teach it, from images and sentences that need no pairing.

    Example:  edgeclip distill --profile raspberry-pi-5 --latency-ms 20 --teacher ViT-B-16:openai
              --images photos/ --texts sentences.txt --out runs/pi
    """
    from ..errors import require
    from .inputs import open_profile
    from .tables import show

    sentences = texts or classes
    if sentences is None or (texts and classes):
        raise click.UsageError("give either --texts or --classes")
    profile = open_profile(profile_name, budget)
    require("torch", "distill")
    from ..data.sentences import read_sentences
    from ..data.sources import refuse_missing
    from ..distill import distill
    from ..distill.config import DistillConfig
    from ..distill.run import refuse_in_the_way
    from ..documents import read_document
    from ..loading import open_teacher
    from ..rehearsal import rehearse
    from ..towers.spec import read_spec

    config = read_document(config_file, DistillConfig) if config_file else None
    given = read_spec(spec_file) if spec_file else None
    judge = _judge(dataset) if dataset else None
    refuse_missing(images)
    next(read_sentences(sentences))
    refuse_in_the_way(out, resume=resume)
    opened = [open_teacher(name) for name in teachers]
    spec = _student(given, out if resume else None, profile, opened[0].image_size, measured=not no_measure)
    with if_interrupted(f"add --resume to the same command to go on with {out}"):
        run = distill(
            spec,
            opened,
            images,
            sentences,
            out,
            classes=classes is not None,
            config=config,
            store=store,
            dataset=str(dataset.absolute()) if dataset else None,
            judge=judge,
            rehearsal=rehearse,
            resume=resume,
        )
    tell(f"wrote {run.path}; next: edgeclip export {run.path} --out {run.path}-bundle")
    show(as_json, run.document.as_data(), lambda: f"student: {run.document.spec.name}, in {run.path}/student")


def _student(
    given: StudentSpec | None, resumed: Path | None, profile: Profile, max_image_size: int, *, measured: bool
) -> StudentSpec:
    """The student that was asked for, that of the run that goes on, or the best that fits the profile's budget."""
    from ..distill.run import Run
    from ..select import select
    from ..select.select import for_profile
    from .inputs import graph_writer

    if given:
        spec = for_profile(given, profile)
    elif resumed:
        spec = Run.open(resumed).document.spec
    else:
        writer, told = graph_writer(profile, wanted=measured)
        spec = select(profile, profile.budget, max_image_size=max_image_size, write_graph=writer)[0]
        if writer is None:
            tell(told)
    predictor = spec.target.profile if spec.target else "hand"
    predicted = f", {spec.predicted_ms:.2f} ms predicted by {predictor}" if spec.predicted_ms else ""
    timed = f", {spec.measured_ms:.2f} ms measured untrained" if spec.measured_ms else ""
    tell(f"student: {spec.name} ({spec.precision}{predicted}{timed})")
    return spec


def _judge(dataset: Path) -> Callable[[Encoder], float]:
    """Zero-shot top-1 on a labelled data set."""
    from ..evaluate import evaluate
    from ..evaluate.datasets import open_dataset

    data = open_dataset(dataset)
    return lambda encoder: evaluate(encoder, data).top1
