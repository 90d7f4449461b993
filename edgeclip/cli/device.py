"""What a device can afford: measure it, list what is known, look at what is installed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from .keeping import keep
from .options import DEVICE, FORCE, JSON, PATH, PRECISIONS, THREADS, Number


@click.command()
@click.argument("name")
@click.option("--out", type=PATH, required=True, help="Write the profile to this file (.toml).")
@PRECISIONS
@click.option(
    "--family", "families", multiple=True, help="Measure only these tower families: vit, repvit, …  [default: all]"
)
@click.option("--seconds", type=Number(5, 3600), default=60, show_default=True, help="Time for measuring, seconds.")
@click.option("--engine", metavar="NAME", help="Inference engine.  [default: the accelerator's, else onnxruntime]")
@click.option("--provider", metavar="NAME", help="Execution provider of the engine.  [default: its usual one]")
@DEVICE
@THREADS
@FORCE
@JSON
def profile(
    name: str,
    out: Path,
    precisions: tuple[Any, ...],
    families: tuple[str, ...],
    seconds: float,
    engine: str | None,
    provider: str | None,
    device: str | None,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure image towers on this machine, or on a --device that has edgeclip, and write a latency profile.

    Example:  edgeclip profile my-laptop --out my-laptop.toml
    """
    from ..api.device import profile as measure_device
    from ..base.files import writable_file
    from .tables import profile_table, show

    writable_file(out, force=force)
    settings: dict[str, Any] = {"engine": engine, "provider": provider, "precisions": precisions, "families": families}
    measured = measure_device(name, device=device, threads=threads, seconds=seconds, **settings)
    keep(out, measured.save, partial(writable_file, force=force))
    show(as_json, measured.as_data(), lambda: profile_table(measured))


@click.command()
@click.argument("name", required=False)
@JSON
def profiles(name: str | None, as_json: bool) -> None:
    """List the shipped profiles, or show one (a name or a file).

    Example:  edgeclip profiles raspberry-pi-5
    """
    from ..api.device import list_profiles, load_profile
    from .tables import profile_table, profiles_table, show

    if name:
        shown = load_profile(name)
        show(as_json, shown.as_data(), lambda: profile_table(shown))
        return
    everyone = list_profiles()
    show(as_json, [p.as_data() for p in everyone], lambda: profiles_table(everyone))


@click.command()
@JSON
def doctor(as_json: bool) -> None:
    """List the installed runtimes and extras, and how to install the missing ones.

    Example:  edgeclip doctor
    """
    from ..api import device
    from .tables import doctor_table, show

    report = device.doctor()
    show(as_json, report.as_data(), lambda: doctor_table(report))
