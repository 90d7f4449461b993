"""Run it on the device, and prove it there."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from .keeping import keep
from .options import (
    DEVICE,
    ENGINE,
    FEW_IMAGES,
    FORCE,
    JSON,
    PATH,
    PRECISIONS,
    PROFILE,
    PROVIDER,
    THREADS,
    Number,
    budget_options,
    complete_models,
    tell,
)

SECONDS = click.option(
    "--seconds", type=Number(1, 3600), default=20, show_default=True, help="Time for measuring latency, seconds."
)
SUSTAINED = click.option(
    "--sustained", type=Number(0, 36000), default=0, help="Also run without a break for this many seconds."
)


@click.command(name="report")
@click.argument("bundle", type=PATH)
@PROFILE
@budget_options
@click.option(
    "--dataset", type=PATH, help="Labelled images, one folder per class.  [default: accuracy is not measured]"
)
@click.option("--out", type=PATH, required=True, help="Folder for report.json, report.md and report.html.")
@click.option("--figures", "figures_file", type=PATH, help="File that `edgeclip measure --out` wrote on the device.")
@click.option(
    "--teacher",
    metavar="T",
    help="Compare with this teacher.  [default: the run's teacher, if available]",
    shell_complete=complete_models,
)
@click.option(
    "--run", type=PATH, help="The bundle's run.  [default: the one it names, if you exported it on this machine]"
)
@click.option("--other-device", is_flag=True, help="Accept this machine although the profile describes another device.")
@FEW_IMAGES
@SECONDS
@SUSTAINED
@ENGINE
@PROVIDER
@DEVICE
@THREADS
@FORCE
@JSON
def report_command(
    bundle: Path,
    profile_name: str,
    dataset: Path | None,
    out: Path,
    teacher: str | None,
    run: Path | None,
    seconds: float,
    sustained: float,
    engine: str | None,
    provider: str | None,
    device: str | None,
    other_device: bool,
    few_images: bool,
    threads: int | None,
    figures_file: Path | None,
    force: bool,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Check a bundle against the budget, and write a report of what was measured.

    What --figures does not hold is measured on this machine, or on --device.

    Exit 0: every criterion passes; 3: one fails; 4: one is not measured, or not decided by so few images, or no limit
    is set.

    Example:  edgeclip report bundles/mine --profile mine.toml --latency-ms 20 --dataset testset/ --out reports/mine
    """
    from ..api.proof import ReportConfig, report, write_report
    from ..base.files import writable
    from ..base.folders import refuse_foreign
    from ..reporting.render import table
    from .inputs import given_budget
    from .tables import show

    if figures_file and (device or engine or provider):
        raise click.UsageError("--figures were measured already: leave out --device, --engine and --provider")
    writable(out)
    refuse_foreign(out, "report", force=force)
    config = ReportConfig(
        teacher=teacher,
        run=run,
        seconds=seconds,
        sustained=sustained,
        engine=engine,
        provider=provider,
        threads=threads,
        other_device=other_device,
        few_images=few_images,
    )
    settings: dict[str, Any] = {"figures": figures_file, "device": device, "config": config}
    result = report(bundle, profile_name, dataset, budget=given_budget(budget), **settings)
    what = f"{out}/report.html, report.md and report.json"
    refuse = partial(refuse_foreign, kind="report", force=force)
    keep(out, lambda folder: write_report(result, folder, force=force), refuse, what=what)
    show(as_json, result.as_data(), lambda: table(result))
    sys.exit(result.exit_code)


@click.command(name="classify")
@click.argument("model", shell_complete=complete_models)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option(
    "--labels",
    help='"a cat,a dog", a text file with one label per line, or a folder of class folders.  [default: the classes of '
    "a bundle without text tower]",
)
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Labels to show per image.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="[default: the recommended one]")
@ENGINE
@PROVIDER
@THREADS
@JSON
def classify_command(
    model: str,
    images: tuple[Path, ...],
    labels: str | None,
    top: int,
    precision: Any,
    engine: str | None,
    provider: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Classify images zero-shot: rank the labels of each image.

    IMAGES are files, folders, "patterns/*.jpg", or a .txt file that lists them.

    MODEL is a bundle, or whatever edgeclip eval takes: a run, a teacher by name, local-dir:FOLDER.

    Exit 0, even if some images cannot be read, which the answers list; 2 if none can.

    Example:  edgeclip classify bundles/pi cat.jpg --labels "a cat,a dog"
    """
    from ..api.bundle import classify
    from .tables import classes_table, show

    settings: dict[str, Any] = {"precision": precision, "threads": threads, "engine": engine, "provider": provider}
    answers = classify(model, images, labels, **settings, top=top)
    show(as_json, [answer.as_data() for answer in answers], lambda: classes_table(answers))


@click.command(name="verify")
@click.argument("bundle", type=PATH)
@ENGINE
@PROVIDER
@DEVICE
@THREADS
@JSON
def verify_command(bundle: Path, as_json: bool, **settings: Any) -> None:
    """Check that a device reproduces the tokens, pixels and embeddings recorded at export.

    Exit 0: it does; 3: it does not.

    Example:  edgeclip verify bundles/pi --device ssh://pi@raspberry.local
    """
    from ..api.bundle import verify
    from .tables import findings_table, show

    verification = verify(bundle, **settings)
    show(as_json, verification.model_dump(), lambda: findings_table(verification))
    sys.exit(0 if verification.verified else 3)


@click.command(name="measure")
@click.argument("bundle", type=PATH)
@click.option("--dataset", help="Labelled images, to measure accuracy too.  [default: latency and memory only]")
@click.option("--out", type=PATH, help="Write the figures to this file (.json), for `edgeclip report --figures`.")
@PRECISIONS
@ENGINE
@PROVIDER
@SECONDS
@SUSTAINED
@DEVICE
@THREADS
@FORCE
@JSON
def measure_command(
    bundle: Path, dataset: str | None, out: Path | None, force: bool, as_json: bool, device: str | None, **settings: Any
) -> None:
    """Verify a bundle, then measure accuracy, latency and memory of each variant.

    Exit 0: every variant gives what was recorded at export; 3: one does not, or did not finish.

    Example:  edgeclip measure bundles/pi --dataset testset/ --out figures.json
    """
    from ..api.proof import MeasureConfig, measure
    from ..base.files import writable_file
    from .tables import figures_table, show

    if out:
        writable_file(out, force=force)
    figures = measure(bundle, dataset, device=device, config=MeasureConfig(**settings))
    if out:
        keep(out, figures.save, partial(writable_file, force=force))
    show(as_json, figures.as_data(), lambda: figures_table(figures))
    sys.exit(3 if figures.wrong or any(row.failed for row in figures.rows) else 0)


@click.command(name="compare")
@click.argument("reports", nargs=-1, required=True, type=PATH)
@click.option("--worse", type=Number(0), default=10, show_default=True, help="Change that counts as worse, per cent.")
@click.option(
    "--lost",
    type=Number(0, 100),
    default=0.5,
    show_default=True,
    help="Accuracy loss that counts as worse, percentage points.",
)
@click.option("--other-device", is_flag=True, help="Compare reports of different machines, engines or thread counts.")
@click.option("--other-dataset", is_flag=True, help="Compare reports with accuracies of different data sets.")
@click.option("--out", type=PATH, help="Also write the comparison to this file, as Markdown.")
@FORCE
@JSON
def compare_command(
    reports: tuple[Path, ...],
    worse: float,
    lost: float,
    other_device: bool,
    other_dataset: bool,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare reports with the first one, the baseline. Exit 0: nothing got worse; 3: something did, which is named.

    Reports of another device, engine or data set are refused without --other-device or --other-dataset; with them,
    figures that do not compare are shown and not judged.

    Example:  edgeclip compare reports/v1 reports/v2
    """
    from dataclasses import asdict

    from ..api.opening import as_report
    from ..api.proof import compare
    from ..base.files import writable_file, write_marked
    from ..reporting.compare import comparison_cells
    from ..reporting.render import comparison_markdown, comparison_table
    from .tables import show

    if out:
        writable_file(out, force=force)
    opened = [as_report(path) for path in reports]
    limits: dict[str, Any] = {"worse_percent": worse, "lost_points": lost}
    comparisons = compare(*opened, **limits, other_device=other_device, other_dataset=other_dataset)
    if out:
        page = comparison_markdown(opened, comparisons)
        keep(out, lambda file: write_marked(file, page), partial(writable_file, force=force))
    show(as_json, [asdict(line) for line in comparisons], lambda: comparison_table(opened, comparisons))
    for line in comparisons:
        if line.regressed:
            tell(f"worse: {': '.join(comparison_cells(line)[:2])}: {' | '.join(comparison_cells(line)[2:])}")
    sys.exit(3 if any(line.regressed for line in comparisons) else 0)
