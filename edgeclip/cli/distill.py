"""Teach it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .inputs import budget_over
from .options import (
    JSON,
    NO_BUDGET,
    NO_MEASURE,
    PATH,
    PRECISIONS,
    PROFILES,
    THREADS,
    TRUST,
    budget_options,
    complete_models,
    tell,
)

if TYPE_CHECKING:
    from ..distillation.config import DistillConfig

NEEDED = ("profile_name", "teachers", "images", "out")  # of a new run
WITH_RESUME = ("resume", "trust", "threads", "as_json")
SETTINGS = ("epochs", "batch_size", "lr", "views", "seed", "mixed_precision", "compile")  # that have a flag, too


@click.command(name="distill")
@click.option(
    "--profile",
    "profile_name",
    metavar="P",
    help="Device profile: a shipped name or a TOML file.",
    shell_complete=PROFILES,
)
@budget_options
@NO_BUDGET
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="T",
    help="ViT-L-14:openai, hf-hub:…, local-dir:…, module:factory, store:FOLDER, or demo. Several are averaged.",
    shell_complete=complete_models,
)
@click.option("--images", help="A folder, shard-{000..099}.tar (globs, URLs), or hf:NAME[:SPLIT].")
@click.option("--texts", type=PATH, help='Sentences: .txt, .jsonl or .parquet with "text"; .gz, .bz2, .xz, .zst too.')
@click.option("--classes", type=PATH, help="Class names instead of sentences, for a single-task student.")
@click.option("--templates", metavar="FILE|openai", help="Prompt templates for --classes.  [default: seven of CLIP's]")
@click.option("--out", type=PATH, help="Write the run to this folder.")
@click.option("--spec", "spec_file", type=PATH, help="Train the student of this spec instead of selecting one.")
@PRECISIONS
@click.option("--epochs", type=int, help="Passes over the images.  [default: 100]")
@click.option("--batch-size", type=int, help="Images per step, and as many sentences.  [default: 256]")
@click.option("--lr", type=float, help="Learning rate after warm-up.  [default: 0.0008]")
@click.option("--views", type=int, help="Augmented views per image.  [default: 4]")
@click.option("--seed", type=int, help="Random seed of weights, views and batches.  [default: 0]")
@click.option("--mixed-precision", type=click.Choice(["no", "bf16", "fp16"]), help="Training precision.  [default: no]")
@click.option("--compile", is_flag=True, default=None, help="Use torch.compile: slower start, faster steps.")
@click.option("--config", "config_file", type=PATH, help="Settings file (.toml or .json); flags override it.")
@click.option("--write-config", type=PATH, help="Write all settings, with comments, to this file and exit.")
@click.option(
    "--store", type=PATH, help="Folder of the teacher's embeddings, which runs share.  [default: the user's cache]"
)
@click.option("--dataset", type=PATH, help="Labelled images to validate on during training; the best weights are kept.")
@NO_MEASURE
@THREADS
@click.option("--resume", type=PATH, metavar="RUN", help="Resume an interrupted run; no other option is needed.")
@TRUST
@JSON
def distill_command(
    profile_name: str | None,
    teachers: tuple[str, ...],
    images: str | None,
    texts: Path | None,
    classes: Path | None,
    templates: str | None,
    out: Path | None,
    spec_file: Path | None,
    precisions: tuple[Any, ...],
    config_file: Path | None,
    write_config: Path | None,
    store: Path | None,
    dataset: Path | None,
    no_measure: bool,
    no_budget: bool,
    threads: int | None,
    resume: Path | None,
    trust: bool,
    as_json: bool,
    **others: Any,
) -> None:
    """Select the best student within the device's budget and train it on unpaired images and sentences.

    \b
    Example:  edgeclip distill --profile raspberry-pi-5 --latency-ms 20 \\
                --teacher ViT-B-16:openai --images photos/ \\
                --texts sentences.txt --out runs/pi
    """
    from ..api import student
    from ..api.device import load_profile
    from ..base.errors import require
    from .tables import show

    given = click.get_current_context().params
    require("torch", "distill")
    if write_config:
        _write_config(write_config)
        return
    _use_threads(threads)
    if resume:
        if too_many := sorted(_flag(name) for name, value in given.items() if value and name not in WITH_RESUME):
            raise click.UsageError(f"--resume continues the run with its own settings: remove {', '.join(too_many)}")
        with _if_cut(resume):
            run = student.resume(resume, trust=trust)
    else:
        if missing := [_flag(name) for name in NEEDED if not given[name]]:
            raise click.UsageError(f"a new run needs {' and '.join(missing)}")
        if (texts is None) == (classes is None):
            raise click.UsageError("give either --texts or --classes")
        if templates and not classes:
            raise click.UsageError("--templates are for --classes")
        assert profile_name is not None and images is not None and out is not None  # NEEDED
        profile, settings = load_profile(profile_name), {name: others.pop(name) for name in SETTINGS}
        budget = budget_over(profile, others, no_budget=no_budget)
        selection = student.SelectConfig(budget, precisions, measure=not no_measure)
        data = student.TrainingData(images, texts, classes, templates, store)
        config = _config(config_file, settings)
        chosen: dict[str, Any] = {"spec": spec_file, "selection": selection}
        with _if_cut(out):
            run = student.distill(profile, teachers, data, out, **chosen, config=config, dataset=dataset)
    tell(f"wrote {run.path}; next: edgeclip export {run.path} --out {run.path}-bundle")
    show(as_json, run.document.as_data(), lambda: f"student: {run.document.spec.name}, in {run.path}/student")


def _flag(name: str) -> str:
    """A parameter as the command line writes it."""
    for parameter in click.get_current_context().command.params:
        if parameter.name == name:
            return parameter.opts[0]
    return name


def _write_config(file: Path) -> None:
    from ..api.student import example
    from ..base.files import writable_file, write_text

    writable_file(file)
    write_text(file, example())
    tell(f"wrote {file}; use it with --config {file}")


def _use_threads(threads: int | None) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def _config(file: Path | None, flags: dict[str, Any]) -> DistillConfig:
    """The settings of a file, or the defaults; what flags say comes first."""
    from pydantic import ValidationError

    from ..api.student import DistillConfig
    from ..base.documents import read_document

    config = read_document(file, DistillConfig) if file else DistillConfig()
    try:
        given = {name: value for name, value in flags.items() if value is not None}
        return DistillConfig.model_validate({**config.model_dump(), **given})
    except ValidationError as error:
        faults = "; ".join(f"{_flag(str(fault['loc'][0]))}: {fault['msg']}" for fault in error.errors())
        raise click.UsageError(faults) from error


@contextmanager
def _if_cut(out: Path) -> Iterator[None]:
    """After Ctrl-C, say how to go on with a run, once there is one."""
    try:
        yield
    except KeyboardInterrupt:
        if (out / "run.json").is_file():
            tell(f"progress is saved; resume with: edgeclip distill --resume {shlex.quote(str(out))}")
        raise
