"""One door to everything that encodes: a bundle, a run, a teacher."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import EdgeclipError, did_you_mean, require
from ..encoder import Encoder
from ..runtime.archive import is_archive

if TYPE_CHECKING:
    from ..distillation.teachers import Teacher
    from ..models.openclip import OpenClipEncoder
    from ..towers.spec import StudentSpec

LOCAL = "local-dir:"
DEMO = "demo"  # the small teacher in a clone of edgeclip


def load(path_or_name: str | Path, *, engine: str | None = None, provider: str | None = None) -> Encoder:
    """Open anything that encodes images and texts.

    Args:
        path_or_name: a bundle's folder or archive (its recommended variant is opened), a run's folder, ``demo``, a
            teacher as in :func:`load_teacher`, or a plug-in as in :func:`load_encoder`.
        engine: what executes a bundle's image tower; its target's where None. Nothing else is told of it.
        provider: of the engine; likewise.

    Raises:
        EdgeclipError: nothing of that name; near names are listed.
    """
    folder = Path(path_or_name)
    if (folder / "bundle.json").is_file() or is_archive(folder):
        from ..runtime.bundle import Bundle

        return Bundle.open(folder).encoder(engine=engine, provider=provider)
    if (folder / "run.json").is_file():
        require("torch", "distill")
        from ..distillation.run import Run

        return Run.open(folder).encoder()
    _refuse_path(path_or_name, "bundle or run")
    return load_encoder(str(path_or_name))


def _refuse_path(name: str | Path, what: str) -> None:
    """Refuse what is a path, not a teacher's name, and leads to nothing that could be opened.

    Raises:
        EdgeclipError: it is one; names near to it are listed.
    """
    folder, text = Path(name), str(name)
    if name == DEMO:  # whatever else is called so here
        return
    if folder.is_dir():
        raise EdgeclipError(f"{folder} is not a {what}: its json file is missing; a model is local-dir:{folder}")
    if isinstance(name, Path) or ("/" in text and ":" not in text) or text.startswith((".", "~")):
        there = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        raise EdgeclipError(f"{folder}: no such {what}; in {folder.parent}, {did_you_mean(folder.name, there)}")


def load_encoder(name: str) -> Encoder:
    """Open a teacher as :func:`load_teacher` does, or a plug-in: ``module:factory``, called without arguments.

    Raises:
        EdgeclipError: nothing of that name, or the factory gives no :class:`~edgeclip.encoder.Encoder`.
    """
    module, _, factory = name.partition(":")
    if not names_code(name):
        return load_teacher(name)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: a plug-in mostly lies where one works
    try:
        encoder = getattr(importlib.import_module(module), factory)()
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the module is there, and lacks something of its own
        import open_clip

        near = did_you_mean(module, open_clip.list_models(), listed_by="edgeclip teachers")
        raise EdgeclipError(
            f"{name}: neither a model of open_clip's nor a module that can be imported; {near}"
        ) from error
    except AttributeError as error:
        if hasattr(sys.modules.get(module), factory):
            raise
        raise EdgeclipError(f"{name}: the module {module} has no {factory}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(encoder, Encoder):
        raise EdgeclipError(
            f"{name} gave a {type(encoder).__name__}, no Encoder (embed_dim, encode_image, encode_text)"
        )
    return encoder


def names_code(name: str) -> bool:
    """Whether a name is ``module:factory``, whose code would run here, and no model of open_clip's."""
    module, _, _ = name.partition(":")
    return name != DEMO and bool(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name)) and not _is_open_clip(module)


def refuse_code(names: Iterable[str], where: Path) -> None:
    """Refuse to run the code that a file from elsewhere names as a teacher.

    Raises:
        EdgeclipError: one of the names is code.
    """
    for name in names:
        if names_code(name):
            raise EdgeclipError(
                f"{where} was not made here by you, and names code that would run, {name}: look at it, then say --trust"
            )


def _is_open_clip(architecture: str) -> bool:
    require("open_clip", "distill")
    import open_clip

    return architecture in open_clip.list_models()


def load_teacher(name: str) -> OpenClipEncoder:
    """Open a teacher: ``demo``, ``MODEL:TAG`` as open_clip lists them, ``hf-hub:…`` or ``local-dir:…``.

    Raises:
        MissingExtra: torch and open_clip are not installed.
        EdgeclipError: nothing of that name.
    """
    require("torch", "distill")
    require("open_clip", "distill")
    from ..models.openclip import OpenClipEncoder

    return OpenClipEncoder.load(f"local-dir:{demo_teacher()}" if name == DEMO else name)


def demo_teacher() -> Path:
    """The folder of the demo's teacher, which lies in a clone of edgeclip: no device should have to install its 15 MB.

    Raises:
        EdgeclipError: this edgeclip was not installed from a clone.
    """
    folder = Path(__file__).parents[2] / "examples/teacher"
    if not folder.is_dir():
        raise EdgeclipError(
            f"the teacher {DEMO!r} lies in a clone of edgeclip, and this one was not installed from there: "
            "pip install -e '.[demo]' in the clone, or take another of edgeclip teachers"
        )
    return folder


def open_teacher(name: str) -> Teacher:
    """A teacher to distil from: as :func:`load_encoder` reads its name, or ``store:FOLDER``, whose embeddings are kept.

    Raises:
        MissingExtra: torch is not installed.
        EdgeclipError: nothing of that name.
    """
    require("torch", "distill")
    from ..distillation.teachers import STORED, StoredTeacher, as_teacher

    for prefix in (LOCAL, STORED):  # a run is gone on with from any folder
        if name.startswith(prefix):
            name = f"{prefix}{Path(name.removeprefix(prefix)).absolute()}"
    if name.startswith(STORED):
        return StoredTeacher(Path(name.removeprefix(STORED)))
    return as_teacher(name, load_encoder(name))


def open_exportable(source: str) -> tuple[OpenClipEncoder, StudentSpec | None, str | None]:
    """What an export starts from: a run's model, spec and images, or the model of a teacher's name.

    Raises:
        MissingExtra: torch or onnx is not installed.
        EdgeclipError: nothing of that name, or a run that is not finished.
    """
    require("torch", "distill")
    require("onnx", "distill")
    if not (Path(source) / "run.json").is_file():
        if source != DEMO:
            _refuse_path(source, "run")
        return load_teacher(source), None, None
    from ..distillation.run import Run

    run = Run.open(Path(source))
    return run.encoder(), run.document.spec, run.document.images
