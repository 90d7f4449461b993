"""The commands: parse, one call, print. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__

if TYPE_CHECKING:
    pass

PATH = click.Path(path_type=Path)
PROFILE = click.option("--profile", "profile_name", required=True, metavar="P", help="A shipped name or a TOML file.")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; chatter goes to stderr."
)
THREADS = click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads.  [default: all cores]")


class Commands(click.Group):
    """Lists the commands in the order of the pipeline, and turns a user's mistake into one line and exit 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an EdgeclipError becomes its one line, anything else is a bug with its traceback."""
        from .errors import EdgeclipError

        try:
            return super().invoke(ctx)
        except EdgeclipError as error:
            click.echo(f"edgeclip: {error}", err=True)
            ctx.exit(error.exit_code)


def budget_options(command: Any) -> Any:
    """The four lines of a budget, each overriding the profile's."""
    for flag, help_text in (
        ("--accuracy-drop", "Allowed loss of top-1 against the teacher, points."),
        ("--size-mb", "Image tower on disk."),
        ("--memory-mb", "Peak memory of the process that encodes."),
        ("--latency-ms", "p90 of one image."),
    ):
        command = click.option(flag, type=click.FloatRange(min=0, min_open=True), help=help_text)(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgeclip")
def main() -> None:
    """Give edgeclip a teacher, unpaired images and sentences, and a device; get back the best student that the
    device can afford, exported, with a report measured on that device.

    See the whole chain at work:  edgeclip demo
    """


@main.command()
@click.argument("name")
@click.option("--out", type=PATH, required=True, help="The profile to write (.toml).")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "int8"]), help="Which.")
@click.option("--seconds", type=click.FloatRange(5, 3600), default=60, show_default=True, help="Time to spend.")
@THREADS
@JSON
def profile(
    name: str, out: Path, precisions: tuple[Any, ...], seconds: float, threads: int | None, as_json: bool
) -> None:
    """Measure this device: what does an image tower cost here?

    Example:  edgeclip profile my-laptop --out my-laptop.toml
    """
    from .device.probe import profile as measure_device
    from .files import writable_file
    from .tables import profile_table, show

    writable_file(out)
    measured = measure_device(name, threads=threads, seconds=seconds, precisions=precisions or ("fp32", "int8"))
    measured.save(out)
    show(as_json, measured.as_data(), lambda: profile_table(measured))
    tell(f"wrote {out}")


@main.command()
@click.argument("name", required=False)
@JSON
def profiles(name: str | None, as_json: bool) -> None:
    """List the shipped profiles, or show one (a name or a file).

    Example:  edgeclip profiles raspberry-pi-5
    """
    from .device.store import list_profiles, load_profile
    from .tables import profile_table, profiles_table, show

    if name:
        shown = load_profile(name)
        show(as_json, shown.as_data(), lambda: profile_table(shown))
        return
    everyone = list_profiles()
    show(as_json, [p.as_data() for p in everyone], lambda: profiles_table(everyone))


@main.command()
@PROFILE
@budget_options
@click.option("--image-size", type=click.IntRange(16), default=224, show_default=True, help="Largest input side, px.")
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "int8"]), help="Only these."
)
@click.option("--top", type=click.IntRange(1, 100), default=10, show_default=True, help="How many to list.")
@click.option("--out", type=PATH, help="Write the first one's spec here (.json).")
@JSON
def select(
    profile_name: str,
    image_size: int,
    precisions: tuple[Any, ...],
    top: int,
    out: Path | None,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Rank the students that fit the budget, with their predicted latency.

    Example:  edgeclip select --profile raspberry-pi-5 --latency-ms 20
    """
    from . import steps
    from .student.select import select as choose
    from .tables import show, specs_table

    device = steps.find_profile(profile_name, budget)
    specs = choose(device, device.budget, max_image_size=image_size, precisions=precisions or None, top=top)
    if out:
        specs[0].save(out)
        tell(f"wrote {out}")
    show(as_json, [s.as_data() for s in specs], lambda: specs_table(specs, device))


@main.command()
@PROFILE
@budget_options
@click.option("--teacher", required=True, metavar="T", help="ViT-L-14:openai, hf-hub:…, local-dir:…, or demo.")
@click.option("--images", type=PATH, required=True, help="A folder of images, searched through.")
@click.option("--texts", type=PATH, required=True, help='Sentences: .txt, one a line, or .jsonl with "text".')
@click.option("--out", type=PATH, required=True, help="The run's folder.")
@click.option("--spec", "spec_file", type=PATH, help="Train this student instead of the best that fits.")
@click.option("--config", "config_file", type=PATH, help="Training settings (.toml or .json).")
@click.option("--resume", is_flag=True, help="Go on where the run in --out was interrupted.")
@JSON
def distill(
    profile_name: str,
    teacher: str,
    images: Path,
    texts: Path,
    out: Path,
    spec_file: Path | None,
    config_file: Path | None,
    resume: bool,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Choose the best student the device can afford and teach it, from images and sentences that need no pairing.

    Example:  edgeclip distill --profile raspberry-pi-5 --latency-ms 20 --teacher ViT-B-16:openai
              --images photos/ --texts sentences.txt --out runs/pi
    """
    from . import steps
    from .tables import show

    device = steps.find_profile(profile_name, budget)
    run = steps.distill(
        device, teacher, images, texts, out, spec_file=spec_file, config_file=config_file, resume=resume
    )
    tell(f"wrote {run.path}; next: edgeclip export {run.path} --out {run.path}-bundle")
    show(as_json, run.document.as_data(), lambda: f"student: {run.document.spec.name}, in {run.path}/student")


@main.command()
@click.argument("run", type=str)
@click.option("--out", type=PATH, required=True, help="The bundle's folder.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    default=("auto",),
    show_default=True,
    help="auto: all, and the fastest faithful one is recommended.",
)
@click.option("--calibration", type=PATH, help="Folder of images for calibration.  [default: the run's own]")
@click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset.")
@THREADS
@JSON
def export(
    run: str,
    out: Path,
    precisions: tuple[str, ...],
    calibration: Path | None,
    opset: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Export a run (or any open_clip model) to a bundle: ONNX in each precision, validated against torch.

    Example:  edgeclip export runs/pi --out bundles/pi
    """
    from . import steps
    from .tables import bundle_table, show

    bundle = steps.export(run, out, precisions=precisions, calibration=calibration, opset=opset, threads=threads)
    tell(f"wrote {bundle.path}; recommended: {bundle.manifest.recommended}")
    show(as_json, bundle.manifest.as_data(), lambda: bundle_table(bundle.manifest))


@main.command()
@click.argument("bundle", type=PATH)
@PROFILE
@budget_options
@click.option("--dataset", type=PATH, required=True, help="A folder with one folder a class.")
@click.option("--out", type=PATH, required=True, help="Folder for report.json, report.md and report.html.")
@click.option(
    "--teacher", metavar="T", help="Compare with this one.  [default: the run's teacher, where it is at hand]"
)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20, show_default=True, help="Time for latency.")
@THREADS
@JSON
def report(
    bundle: Path,
    profile_name: str,
    dataset: Path,
    out: Path,
    teacher: str | None,
    seconds: float,
    threads: int | None,
    as_json: bool,
    **budget: float | None,
) -> None:
    """Measure a bundle on this device and hold it against its budget. Exit 0: all met; 3: one was missed.

    Example:  edgeclip report bundles/pi --profile raspberry-pi-5 --dataset testset/ --out reports/pi
    """
    from . import steps
    from .report.render import table
    from .tables import show

    device = steps.find_profile(profile_name, budget)
    result = steps.report(bundle, device, dataset, out, teacher=teacher, seconds=seconds, threads=threads)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {out}/report.html, report.md and report.json")
    sys.exit(0 if result.passed else 3)


@main.command(name="eval")
@click.argument("model")
@click.option("--dataset", type=PATH, required=True, help="A folder with one folder a class.")
@JSON
def evaluate(model: str, dataset: Path, as_json: bool) -> None:
    """Zero-shot accuracy of anything that encodes: a teacher, a run, a bundle.

    Example:  edgeclip eval runs/pi --dataset testset/
    """
    from . import load
    from .evaluate import evaluate as zero_shot
    from .evaluate.datasets import open_dataset
    from .tables import show

    encoder, data = load(model), open_dataset(dataset)
    result = zero_shot(encoder, data)
    figures = {"model": model, "dataset": data.name, "images": len(result.labels), "classes": len(data.classnames)}
    figures |= {"top1": result.top1, "top5": result.top5}
    line = f"top-1 {result.top1:.2%}   top-5 {result.top5:.2%}   ({len(result.labels)} images)"
    show(as_json, figures, lambda: line)


@main.command()
@click.argument("bundle", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--labels", required=True, help='Comma-separated: "a cat,a dog".')
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="[default: the recommended one]")
@THREADS
@JSON
def classify(
    bundle: Path, images: tuple[Path, ...], labels: str, precision: str | None, threads: int | None, as_json: bool
) -> None:
    """Say which label fits each image.

    Example:  edgeclip classify bundles/pi cat.jpg --labels "a cat,a dog"
    """
    from . import steps
    from .tables import classes_table, show

    answers = steps.classify(bundle, images, labels, precision=precision, threads=threads)
    show(as_json, answers, lambda: classes_table(answers))


@main.command()
@JSON
def doctor(as_json: bool) -> None:
    """Say which runtimes and extras are here, and how to get the others.

    Example:  edgeclip doctor
    """
    from .doctor import examine
    from .tables import doctor_table, show

    findings = examine()
    show(as_json, findings, lambda: doctor_table(findings))


@main.command()
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Where everything goes.")
@JSON
def demo(out: Path, as_json: bool) -> None:
    """Run the whole chain on OpenMoji: profile, select, distil, export, report. Minutes on two cores.

    Example:  edgeclip demo
    """
    from .demo.chain import run_demo
    from .report.render import table
    from .tables import show

    result = run_demo(out)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {out}/report.html, report.md and report.json")
    sys.exit(0 if result.passed else 3)


def tell(text: str) -> None:
    """One line for people, on stderr."""
    from .console import say

    say(text)
