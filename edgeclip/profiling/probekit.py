"""The probe kit: real student image towers whose weights were left out, so that a device can be measured anywhere.

``kit/kit.zip`` holds ``index.json`` and ``graphs``: ONNX graphs end to end, since each is much like the next and packs
best beside it. Large weights are declared as external data; how long a graph takes does not depend on their values, so
they are filled with random numbers where the graph is opened. ``benchmarks/make_probe_kit.py`` makes the archive.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ..base.documents import Document, Part, Positive
from ..base.errors import FormatError
from ..base.scratch import scratch_folder
from ..runtime.engines.protocol import Engine
from ..runtime.target import Precision
from .schema import Workload

KIT = Path(str(files("edgeclip.profiling"))) / "kit" / "kit.zip"
INDEX, GRAPHS = "index.json", "graphs"
LARGEST_MEMBER = 128 << 20  # bytes: graphs without weights are far smaller, so a larger member is a bomb or a mistake
LARGEST_WEIGHTS = 1 << 30
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Tensor(Part):
    """One weight left out: where it lies in the graph's external data, and of what kind it is."""

    offset: Annotated[int, Field(ge=0)]  # bytes
    count: Annotated[int, Field(gt=0)]  # elements
    dtype: Literal["float32", "float16", "int8", "uint8", "int64"]


class Graph(Part):
    """One tower in one precision."""

    name: Annotated[str, Field(pattern=PLAIN_NAME)]  # of the tower: the same in every precision
    offset: Annotated[int, Field(ge=0)]  # where its bytes lie among the graphs
    length: Annotated[int, Field(gt=0)]
    weights: Annotated[str, Field(pattern=PLAIN_NAME)]  # the external data's file, as the graph names it
    precision: Precision
    recipe: str  # how it came to be in that precision
    activations: Literal["float32", "float16", "uint8", "int8"]  # int8 towers come in both kinds: see Kit.choose
    image_size: Annotated[int, Field(ge=1)]
    megabytes: Positive  # as exported, with its weights
    tensors: list[Tensor]


class Index(Document):
    """``index.json``."""

    FORMAT: ClassVar[str] = "edgeclip-probe-kit"

    reference: str  # the tower whose fp32 graph is interleaved with every measurement
    made_with: dict[str, str]
    towers: dict[str, Workload]  # by name, in the order in which they should be measured: each unlike those before it
    graphs: Annotated[list[Graph], Field(min_length=1)]

    @model_validator(mode="after")
    def _complete(self) -> Index:
        if not any(g.name == self.reference and g.precision == "fp32" for g in self.graphs):
            raise ValueError(f"reference: no fp32 graph is called {self.reference}")
        if strays := {g.name for g in self.graphs} - self.towers.keys():
            raise ValueError(f"towers: {', '.join(sorted(strays))} missing")
        return self


class Kit:
    """An opened kit: graphs are unpacked to a folder of its own as they are opened, and gone when it is closed."""

    def __init__(self, archive: Path = KIT) -> None:
        """Read and check the index.

        Raises:
            FormatError: the archive is damaged, or a name in it would leave the folder.
        """
        try:
            self._zip = zipfile.ZipFile(archive)
        except (OSError, zipfile.BadZipFile) as error:
            raise FormatError(f"{archive}: no probe kit ({error}): install edgeclip again") from error
        try:
            data = json.loads(self._member(INDEX))
            if not isinstance(data, dict) or (data.pop("format", None), data.pop("version", None)) != (
                Index.FORMAT,
                Index.VERSION,
            ):
                raise ValueError("not this edgeclip's format")
            self.index = Index.model_validate(data)
        except (ValueError, ValidationError) as error:
            self._zip.close()
            reason = " ".join(str(error).split())
            raise FormatError(f"{archive}: {INDEX} cannot be used ({reason}): install edgeclip again") from error
        except FormatError:
            self._zip.close()
            raise
        self._scratch = scratch_folder()
        self._folder = self._scratch.__enter__()
        self._noise = np.random.default_rng(0)

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._scratch.__exit__(None, None, None)

    @property
    def reference(self) -> Graph:
        """The fp32 graph that every measurement is interleaved with."""
        return next(g for g in self.index.graphs if g.name == self.index.reference and g.precision == "fp32")

    def choose(self, recipe: str) -> list[Graph]:
        """The kit's graphs of one recipe, as an engine names it, in the order of the towers.

        x86's int8 is one in the kit, with or without VNNI: how long a graph takes does not depend on its values.
        """
        wanted = "x86" if recipe == "x86-vnni" else recipe
        graphs = {g.name: g for g in self.index.graphs if g.recipe.partition(":")[0] == wanted}
        return [graphs[name] for name in self.index.towers if name in graphs]

    def open(self, graph: Graph, engine: Engine, **settings: Any) -> Callable[[], object]:
        """Unpack ``graph``, fill its weights, open it, and return a call that encodes one image.

        ``settings``: see :meth:`edgeclip.runtime.engines.protocol.Engine.open`.
        """
        folder = self._folder
        model = self.unpack(graph, folder)
        session = engine.open(model, precision=graph.precision, **settings)
        (folder / graph.weights).unlink()
        model.unlink()
        size = graph.image_size
        image = self._noise.standard_normal((1, 3, size, size), dtype=np.float32)
        return lambda: session.run(image)

    def unpack(self, graph: Graph, folder: Path) -> Path:
        """Write ``graph`` and its weights, filled, into ``folder``; returns the graph's path."""
        if graph.offset + graph.length > len(self._graphs):
            raise FormatError(f"probe kit: {graph.name} is cut off: install edgeclip again")
        model = folder / f"{graph.name}.{graph.precision}.onnx"
        model.write_bytes(self._graphs[graph.offset : graph.offset + graph.length])
        self._write_weights(folder / graph.weights, graph.tensors)
        return model

    @cached_property
    def _graphs(self) -> bytes:
        return self._member(GRAPHS)

    def _member(self, name: str) -> bytes:
        """A member's content. Only members the index names are ever read, each by its bare name."""
        try:
            info = self._zip.getinfo(name)
            if info.file_size > LARGEST_MEMBER:
                raise FormatError(f"probe kit: {name} is {info.file_size} bytes: install edgeclip again")
            return self._zip.read(info)
        except (KeyError, zipfile.BadZipFile, EOFError) as error:
            raise FormatError(f"probe kit: {name} is missing or damaged: install edgeclip again") from error

    def _write_weights(self, path: Path, tensors: list[Tensor]) -> None:
        """Random weights: floats as a fresh initialisation has them, integers over their whole range."""
        block = self._noise.standard_normal(1 << 18, dtype=np.float32) * 0.02
        values = {"float32": block, "float16": block.astype(np.float16)}
        values |= {"int8": self._integers("int8"), "uint8": self._integers("uint8")}
        values["int64"] = np.zeros(1, np.int64)  # indices: any other number might be out of range
        with path.open("wb") as file:
            for tensor in tensors:
                value = np.resize(values[tensor.dtype], tensor.count)
                if tensor.offset + value.nbytes > LARGEST_WEIGHTS:
                    raise FormatError(f"probe kit: the weights of {path.name} are too large: install edgeclip again")
                file.seek(tensor.offset)
                file.write(value.tobytes())

    def _integers(self, dtype: str) -> np.ndarray:
        limits = np.iinfo(dtype)
        return self._noise.integers(limits.min, limits.max, 1 << 18, endpoint=True).astype(dtype)
