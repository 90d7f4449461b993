"""Engines for a bundle that is there already: on the device, without the model it came from, and without torch."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ..base.errors import EdgeclipError
from ..base.files import sha256
from ..base.folders import new_folder
from ..runtime.bundle import KIND, MANIFEST, Bundle
from ..runtime.engines.tensorrt.config import EngineConfig
from ..runtime.engines.tensorrt.engine import TENSORRT
from ..runtime.manifest import Extra
from ..runtime.plain import graph_for
from .engine import build_engines
from .tune import Precision


def add_engines(source: Path, out: Path, build: EngineConfig, *, force: bool = False) -> Bundle:
    """Copy the bundle at ``source`` to ``out`` and build an engine from each graph that TensorRT can read.

    Raises:
        EdgeclipError: no bundle there, no TensorRT, no GPU and none named, or ``out`` is in the way.
    """
    bundle = Bundle.open(source)
    manifest = bundle.manifest
    graphs: dict[Precision, str] = {}
    for variant in manifest.variants:
        with suppress(EdgeclipError):  # an int8 that TensorRT does not read
            graph = graph_for(manifest.model_dump(mode="json"), variant.model_dump(mode="json"), TENSORRT.name)
            graphs[variant.precision] = graph["file"]
    with new_folder(out, KIND, MANIFEST, force=force) as folder:
        for artefact in bundle.artefacts:
            shutil.copyfile(bundle.path / artefact.file, folder / artefact.file)
        paths = {precision: folder / file for precision, file in graphs.items()}
        engines = build_engines(paths, folder, build)
        if not engines:
            raise EdgeclipError(f"{source} holds no graph that an engine could be built from: export it again")
        built = [
            Extra(
                file=engine.file.name,
                sha256=sha256(engine.file),
                bytes=engine.file.stat().st_size,
                kind="engine",
                precision=engine.precision,
                facts=engine.facts,
            )
            for engine in engines
        ]
        kept = [extra for extra in manifest.extras if extra.file not in {engine_file.file for engine_file in built}]
        manifest.model_copy(update={"extras": [*kept, *built]}).save(folder / MANIFEST)
        for file in folder.iterdir():
            file.chmod(0o444)
    return Bundle.open(out)
