"""Give it to others."""

from __future__ import annotations

from pathlib import Path

import click

from .options import JSON, PATH, tell


@click.command(name="push")
@click.argument("run", type=PATH)
@click.argument("repo")
@click.option("--bundle", type=PATH, help="Also upload the ONNX files of this bundle, for transformers.js and Optimum.")
@click.option("--report", type=PATH, help="Put the tables of this report.json into the model card.")
@click.option(
    "--licence", default="other", show_default=True, help="Licence by the hub's name for it: apache-2.0, cc-by-sa-4.0."
)
@click.option("--to", type=PATH, help="Write the files to this folder instead of uploading them.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
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
    """Upload the student of a run to a model hub, with a model card of its settings and results.

    Example:  edgeclip push runs/pi me/clip-pi --bundle bundles/pi --report reports/pi/report.json --licence mit
    """
    from ..api.bundle import push
    from .tables import show

    where = push(run, repo, bundle=bundle, report=report, licence=licence, private=private, to=to)
    tell(f"wrote {to}: README.md is the card; nothing was uploaded" if to else f"pushed to {where}")
    show(as_json, {"repo": repo, "folder" if to else "address": where}, lambda: where)
