"""Gather what belongs to a run, and put it on a hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.documents import read_document
from ..base.errors import EdgeclipError, require
from ..base.files import mendable, write_text
from ..base.scratch import scratch_folder

if TYPE_CHECKING:
    from ..distillation.run import Run

KIND = "model"


def push(
    run: Path,
    repo: str,
    *,
    bundle: Path | None = None,
    report: Path | None = None,
    licence: str = "other",
    private: bool = False,
) -> str:
    """Upload a finished run's student with its card, and a bundle's ONNX files beside it. Returns the page's address.

    Raises:
        EdgeclipError: no such run, bundle or report, the run is not finished, or the hub refuses.
    """
    from .hub import check_repo, upload

    check_repo(repo)
    opened = _finished(run)
    with scratch_folder() as scratch, mendable(Path(scratch)):
        folder = Path(scratch) / "model"
        gather(opened, folder, repo, bundle=bundle, report=report, licence=licence)
        return upload(folder, repo, private=private)


def write_model(
    run: Path, repo: str, to: Path, *, bundle: Path | None = None, report: Path | None = None, licence: str = "other"
) -> None:
    """Write what :func:`push` would upload to the folder ``to``, over what an earlier call wrote; no hub is asked.

    Raises:
        EdgeclipError: as :func:`push`, but for the hub; or ``to`` holds what edgeclip did not put there.
    """
    from ..base.folders import new_folder
    from .hub import check_repo

    check_repo(repo)
    with new_folder(to, KIND, "README.md", force=True) as scratch:
        gather(_finished(run), scratch, repo, bundle=bundle, report=report, licence=licence)


def _finished(run: Path) -> Run:
    require("torch", "distill")
    from ..distillation.run import Run

    opened = Run.open(run)
    if opened.document.status != "finished":
        raise EdgeclipError(f"{run} is not finished: continue it with edgeclip distill --resume {run}")
    return opened


def gather(
    run: Run, folder: Path, repo: str, *, bundle: Path | None = None, report: Path | None = None, licence: str = "other"
) -> None:
    """Write what :func:`push` uploads into ``folder``: the student in open_clip's hub layout, and ``README.md``.

    With a bundle, ``bundle/`` too, and the layout of transformers.js and Optimum; with a report, ``report.json`` and
    its page, without the pictures in it: those are not for everybody.

    Raises:
        EdgeclipError: no such bundle or report, or the bundle is of another student.
    """
    from ..reporting.render import write_report
    from ..reporting.schema import Report
    from ..runtime.bundle import Bundle
    from .card import Facts, card, data_facts
    from .layout import write_layout

    opened = Bundle.open(bundle) if bundle else None
    document = read_document(report, Report) if report else None
    if opened and opened.manifest.source_fingerprint != run.encoder().fingerprint:
        raise EdgeclipError(f"{bundle} was exported from another student than {run.path}'s: export it again")
    shutil.copytree(run.student_dir, folder, dirs_exist_ok=True)
    if opened:
        shutil.copytree(opened.path, folder / "bundle", ignore=shutil.ignore_patterns(".*"))
        write_layout(opened, folder)
    if document:
        write_report(document.model_copy(update={"pictures": []}), folder / "report")
    data_of = data_facts(Path(run.document.images))
    facts = Facts(repo, run.document, licence, report=document, manifest=opened.manifest if opened else None, **data_of)
    write_text(folder / "README.md", card(facts))
