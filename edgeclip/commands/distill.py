"""Teach it."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import JSON, PATH, PROFILE, budget_options, if_interrupted, tell


@click.command()
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
@click.option("--resume", is_flag=True, help="Go on where the run in --out was interrupted.")
@JSON
def distill(
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
    resume: bool,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Choose the best student the device can afford and teach it, from images and sentences that need no pairing.

    Example:  edgeclip distill --profile raspberry-pi-5 --latency-ms 20 --teacher ViT-B-16:openai
              --images photos/ --texts sentences.txt --out runs/pi
    """
    from ..steps.choose import find_profile
    from ..steps.distill import distill as teach
    from ..tables import show

    sentences = texts or classes
    if sentences is None or (texts and classes):
        raise click.UsageError("give either --texts or --classes")
    device = find_profile(profile_name, budget)
    with if_interrupted(f"add --resume to the same command to go on with {out}"):
        run = teach(
            device,
            teachers,
            images,
            sentences,
            out,
            classes=classes is not None,
            spec_file=spec_file,
            config_file=config_file,
            store=store,
            dataset=dataset,
            resume=resume,
        )
    tell(f"wrote {run.path}; next: edgeclip export {run.path} --out {run.path}-bundle")
    show(as_json, run.document.as_data(), lambda: f"student: {run.document.spec.name}, in {run.path}/student")
