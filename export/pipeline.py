"""From an open_clip model to a bundle: every precision, validated, timed, the best one named."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..console import Bar, progress_bar, say
from ..device.facts import describe_device, usable_cores
from ..files import new_directory, sha256, write_bytes
from ..runtime.bundle import MANIFEST, Bundle
from ..runtime.manifest import Artefact, Fidelity, Manifest, Preprocess, Tokenizer, Variant
from ..runtime.session import make_session
from ..runtime.timing import interleaved
from ..runtime.trial import try_graph
from ..student.openclip import OpenClipEncoder
from ..student.spec import StudentSpec
from .calibration import calibration_pixels
from .fp16 import convert_fp16
from .int8 import quantize_int8, recipe_for
from .towers import IMAGE_OUTPUT, TEXT_OUTPUT, export_image_tower, export_text_tower
from .validate import check_tower, compare

GATE = 0.995  # mean cosine to torch below which a variant is not recommended
CLEARLY = 1.03  # a variant must be this much faster than fp32 to be recommended in its place
TIMING_SECONDS = 3.0
GOLDEN_IMAGES = 8
GOLDEN_TEXTS = ("a photo of a cat", "two dogs", "", "Ünïcode & <markup>", "a red circle on a white ground, drawn")


@dataclass
class _Made:
    """One precision on its way into the bundle."""

    file: Path
    recipe: dict[str, Any]
    fidelity: Fidelity | None = None
    relative_speed: float | None = None
    problem: str | None = None


@dataclass
class _Job:
    """What every step of one export works on."""

    model: OpenClipEncoder
    folder: Path
    pixels: NDArray[np.float32]
    opset: int
    threads: int
    made: dict[str, _Made] = field(default_factory=dict)


def export(
    model: OpenClipEncoder,
    out: Path,
    *,
    name: str,
    source: str,
    calibration: Sequence[Path],
    precisions: Sequence[str] = ("auto",),
    spec: StudentSpec | None = None,
    opset: int = 20,
    threads: int | None = None,
) -> Bundle:
    """Export ``model`` into a new bundle at ``out``.

    fp32 is always made: the others are measured against it. A precision that crashes the runtime is left out, and said.

    Args:
        model: student or teacher.
        out: the bundle's folder; must not exist, or be empty.
        name: what the bundle calls itself.
        source: where the model came from, for the manifest.
        calibration: image files for int8 ranges and for fidelity.
        precisions: ``fp32``, ``fp16``, ``int8``; ``auto`` is all of them.
        spec: the student's spec, where there is one.
        opset: ONNX opset.
        threads: CPU threads for timing; all cores when None.

    Raises:
        EdgeclipError: too few calibration images, a bad opset, weights that are not finite, ``out`` in the way.
    """
    wanted = ["fp32", "fp16", "int8"] if "auto" in precisions else ["fp32", *(p for p in precisions if p != "fp32")]
    pixels, chosen = calibration_pixels(calibration, model.preprocess)
    with new_directory(out) as folder, tempfile.TemporaryDirectory() as scratch:
        job = _Job(model, Path(scratch), pixels, opset, threads or usable_cores())
        with progress_bar("export", len(wanted) + 3) as bar:
            _make(job, wanted, bar)
            recommended = _judge(job, bar)
        for file in job.folder.iterdir():
            shutil.move(file, folder / file.name)
        manifest = _manifest(job, folder, name, source, recommended, chosen, spec)
        manifest.save(folder / MANIFEST)
        for file in folder.iterdir():
            file.chmod(0o444)
    return Bundle.open(out)


def _make(job: _Job, wanted: Sequence[str], bar: Bar) -> None:
    """Both towers in fp32, checked against torch; then the other precisions, each tried in a process of its own."""
    model, opset = job.model, job.opset
    bar.note("text tower")
    text = job.folder / "text.fp32.onnx"
    export_text_tower(model.model, text, context_length=model.context_length, opset=opset)
    settings = model.write_tokenizer(job.folder / "tokenizer.json")
    ids = np.asarray(model.tokenizer(list(GOLDEN_TEXTS)))
    check_tower(text, ids, lambda rows: _text_reference(model, rows), TEXT_OUTPUT)
    golden = {"token_ids": ids, "text_embeds": _text_reference(model, ids)}
    golden |= {"pixels": job.pixels[:GOLDEN_IMAGES], "image_embeds": model.encode_pixels(job.pixels[:GOLDEN_IMAGES])}
    write_bytes(job.folder / "golden.safetensors", save({k: np.ascontiguousarray(v) for k, v in golden.items()}))
    job.made["tokenizer"] = _Made(job.folder / "tokenizer.json", settings)
    bar.advance()
    fp32 = job.folder / "image.fp32.onnx"
    for precision in wanted:
        bar.note(f"image tower {precision}")
        target, recipe = job.folder / f"image.{precision}.onnx", {"recipe": "fp32"}
        if precision == "fp32":
            export_image_tower(model.model, target, image_size=model.image_size, opset=opset)
            check_tower(target, job.pixels, model.encode_pixels, IMAGE_OUTPUT)
        elif precision == "fp16":
            recipe = convert_fp16(fp32, target)
        else:
            chosen = recipe_for(describe_device().features)
            quantize_int8(fp32, target, job.pixels, chosen)
            recipe = chosen.describe()
        problem = try_graph(target, precision, job.pixels[:2], threads=job.threads)
        job.made[precision] = _Made(target, recipe, problem=problem)
        bar.advance()


def _judge(job: _Job, bar: Bar) -> str:
    """Fidelity of every variant to torch, speed against fp32 in turns; the recommended precision."""
    bar.note("fidelity")
    reference = job.model.encode_pixels(job.pixels)
    variants = {name: made for name, made in job.made.items() if name != "tokenizer"}
    sessions = {}
    for name, made in variants.items():
        if made.problem:
            say(f"{name} is left out: {made.problem}")
            made.file.unlink(missing_ok=True)
            del job.made[name]
            continue
        sessions[name] = make_session(made.file, precision=name, threads=job.threads)
        feed = sessions[name].get_inputs()[0].name
        parts = [sessions[name].run(None, {feed: job.pixels[i : i + 16]})[0] for i in range(0, len(job.pixels), 16)]
        made.fidelity = compare(reference, np.concatenate(parts))
    bar.advance()
    bar.note("latency")
    one = job.pixels[:1]
    runs = {name: (lambda s=s: s.run(None, {s.get_inputs()[0].name: one})) for name, s in sessions.items()}
    times = interleaved(runs, seconds=TIMING_SECONDS)
    for name in sessions:
        job.made[name].relative_speed = times["fp32"].p50 / times[name].p50
    bar.advance()
    bar.note("")
    return recommend({name: job.made[name] for name in sessions})


def recommend(made: dict[str, Any]) -> str:
    """The fastest precision that is faithful and clearly faster than fp32; fp32 where there is none."""
    faithful = [n for n, m in made.items() if m.fidelity.cosine_mean >= GATE and m.relative_speed >= CLEARLY]
    return max(faithful, key=lambda name: made[name].relative_speed, default="fp32")


def _manifest(
    job: _Job,
    folder: Path,
    name: str,
    source: str,
    recommended: Any,
    calibration: dict[str, object],
    spec: StudentSpec | None,
) -> Manifest:
    model, settings = job.model, job.made.pop("tokenizer").recipe
    versions = {package: metadata.version(package) for package in ("onnx", "onnxruntime", "torch", "open_clip_torch")}
    variants = []
    for precision, made in job.made.items():
        assert made.fidelity is not None  # _judge has seen every variant that is left
        file = _artefact(folder / made.file.name)
        facts: dict[str, Any] = {"precision": precision, "recipe": made.recipe, "fidelity": made.fidelity}
        variants.append(Variant(**file, **facts, relative_speed=made.relative_speed))
    return Manifest(
        name=name,
        source=source,
        source_fingerprint=model.fingerprint,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        made_with=versions | {"edgeclip": metadata.version("edgeclip")},
        embed_dim=model.embed_dim,
        logit_scale=model.logit_scale,
        opset=job.opset,
        preprocess=Preprocess(**model.preprocess_cfg),
        tokenizer=Tokenizer(**_artefact(folder / "tokenizer.json"), context_length=model.context_length, **settings),
        text=Artefact(**_artefact(folder / "text.fp32.onnx")),
        variants=variants,
        recommended=recommended,
        calibration=calibration,
        golden=Artefact(**_artefact(folder / "golden.safetensors")),
        student=spec.as_data() if spec else {},
    )


def _artefact(file: Path) -> dict[str, Any]:
    return {"file": file.name, "sha256": sha256(file), "bytes": file.stat().st_size}


def _text_reference(model: OpenClipEncoder, ids: NDArray[Any]) -> NDArray[np.float32]:
    import torch

    towers: Any = model.model
    with torch.inference_mode():
        return np.asarray(towers.encode_text(torch.from_numpy(ids), normalize=True).float())
