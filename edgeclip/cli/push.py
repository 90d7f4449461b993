"""Give it to others."""

from __future__ import annotations

from pathlib import Path

import click

from .options import JSON, PATH, tell


@click.command(name="push")
@click.argument("run", type=PATH)
@click.argument("repo")
@click.option("--bundle", type=PATH, help="A bundle of this run: its ONNX files go along, for transformers.js too.")
@click.option("--report", type=PATH, help="A report.json: its tables go into the card.")
@click.option("--licence", default="other", show_default=True, help="As the hub calls it: apache-2.0, cc-by-sa-4.0.")
@click.option("--to", type=PATH, help="Write what would be uploaded to this folder; no hub is asked.")
@click.option("--private", is_flag=True, help="Make the repository private, if it is new.")
@JSON
def push_command(
    run: Path,
    repo: str,
    bundle: Path | None,
    report: Path | None,
    licence: str,
    to: Path | None,
    private: bool,
    as_json: bool,
) -> None:
    """Put a run's student on a model hub, with a card that says how it was made and how it did.

    Example:  edgeclip push runs/pi me/clip-pi --bundle bundles/pi --report reports/pi/report.json --licence mit
    """
    from ..ecosystem.push import push, write_model
    from .tables import show

    if to:
        write_model(run, repo, to, bundle=bundle, report=report, licence=licence)
        tell(f"wrote {to}: README.md is the card; nothing was uploaded")
        show(as_json, {"repo": repo, "folder": str(to)}, lambda: str(to))
        return
    address = push(run, repo, bundle=bundle, report=report, licence=licence, private=private)
    tell(f"pushed to {address}")
    show(as_json, {"repo": repo, "address": address}, lambda: address)
