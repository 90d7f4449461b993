"""The last step of an export: every file stamped and hashed, the manifest written, the folder made read-only."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ..base.files import sha256, write_text
from ..base.trust import sign
from ..measurement.runnerfile import NAME as RUNNER
from ..measurement.runnerfile import runner_source
from ..models.openclip import OpenClipEncoder
from ..runtime.bundle import KIND, MANIFEST
from ..runtime.manifest import (
    Artefact,
    Extra,
    Manifest,
    Phrases,
    Preprocess,
    Tokenizer,
    TokenizerRules,
    Tried,
    Variant,
)
from ..runtime.target import Precision, Target
from .graphs import stamp, weights_beside
from .tune import Candidate

PHRASES = "phrases.safetensors"
PACKAGES = ("onnx", "onnxruntime", "torch", "open_clip_torch")


@dataclass
class Contents:
    """What lies in the folder that becomes a bundle, as the steps of an export put it there."""

    tokenizer: TokenizerRules | None = None
    phrases: int | None = None  # how many of the known texts are labels, where these take the text tower's place
    variants: list[Candidate] = field(default_factory=list)
    recommended: Precision | None = None
    fallback: Precision = "fp32"
    faithful: dict[Precision, bool] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)
    checks: dict[str, dict[str, float]] = field(default_factory=dict)
    sensitivity: dict[str, Any] = field(default_factory=dict)
    extras: list[tuple[Path, str, str, dict[str, Any]]] = field(default_factory=list)

    def extra(self, file: Path, kind: str, precision: str, facts: dict[str, Any]) -> None:
        """Note another form of the image tower."""
        self.extras.append((file, kind, precision, facts))

    @staticmethod
    def preprocess_of(model: OpenClipEncoder) -> Preprocess:
        """How an image becomes the tower's input."""
        return Preprocess(**model.preprocess_cfg)


@dataclass(frozen=True)
class Origin:
    """What a bundle was made of: its name, what was exported, and the student's spec as data (empty: it has none)."""

    name: str
    source: str
    student: dict[str, Any]


def finish(
    folder: Path,
    contents: Contents,
    model: OpenClipEncoder,
    opset: int,
    target: Target,
    origin: Origin,
    calibration: dict[str, object],
) -> None:
    """Stamp every graph, write the manifest, and make all files read-only.

    Args:
        folder: what becomes the bundle.
        contents: what lies in it.
        model: where it came from.
        opset: of the graphs.
        target: what the bundle was made for.
        origin: what it was made of.
        calibration: which images set ranges and judged.
    """
    versions = {package: metadata.version(package) for package in PACKAGES} | {"edgeclip": metadata.version("edgeclip")}
    preprocess = contents.preprocess_of(model)
    about = {
        "edgeclip": versions["edgeclip"],
        "model": origin.name,
        "revision": model.fingerprint,
        "preprocess": json.dumps(preprocess.model_dump()),
    }
    for file in sorted(folder.glob("*.onnx")):
        labels = next((e[3]["labels"] for e in contents.extras if e[0] == file and "labels" in e[3]), None)
        stamp(file, about | ({"labels": json.dumps(labels, ensure_ascii=False)} if labels else {}))
    write_text(folder / RUNNER, runner_source())
    manifest = Manifest(
        name=origin.name,
        source=origin.source,
        signature=sign(KIND, origin.source),
        source_fingerprint=model.fingerprint,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        made_with=versions,
        embed_dim=model.embed_dim,
        logit_scale=model.logit_scale,
        logit_bias=model.logit_bias,
        opset=opset,
        preprocess=preprocess,
        **_words(folder, contents),
        variants=[_variant(candidate, contents) for candidate in contents.variants],
        target=target,
        recommended=contents.recommended,
        recommendation="measured on the target" if contents.recommended else "to be measured on the device",
        fallback=contents.fallback,
        tried=contents.tried,
        extras=[
            Extra(**_artefact(file), kind=kind, precision=precision, facts=facts_of)  # type: ignore[arg-type]
            for file, kind, precision, facts_of in contents.extras
        ],
        checks=contents.checks,
        sensitivity=contents.sensitivity,
        calibration=calibration,
        golden=Artefact(**_artefact(folder / "golden.safetensors")),
        runner=Artefact(**_artefact(folder / RUNNER)),
        student=origin.student,
    )
    manifest.save(folder / MANIFEST)
    for file in folder.iterdir():
        file.chmod(0o444)


def _words(folder: Path, contents: Contents) -> dict[str, Any]:
    """What turns texts into embeddings: the text tower and its tokenizer, or known texts."""
    if contents.phrases:
        return {"phrases": Phrases(**_artefact(folder / PHRASES), labels=contents.phrases)}
    assert contents.tokenizer is not None  # written with the text tower
    tokenizer = Tokenizer(**_artefact(folder / "tokenizer.json"), **contents.tokenizer.model_dump())
    return {"tokenizer": tokenizer, "text": Artefact(**_artefact(folder / "text.fp32.onnx"))}


def _variant(candidate: Candidate, contents: Contents) -> Variant:
    assert candidate.fidelity is not None  # only what has run is kept
    return Variant(
        **_artefact(candidate.file),
        precision=candidate.precision,
        recipe=candidate.recipe,
        fidelity=candidate.fidelity,
        faithful=contents.faithful[candidate.precision],
        relative_speed=candidate.relative_speed,
    )


def _artefact(file: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": file.name, "sha256": sha256(file), "bytes": file.stat().st_size}
    beside = weights_beside(file)
    return entry | ({"weights": _artefact(beside)} if beside.is_file() else {})
