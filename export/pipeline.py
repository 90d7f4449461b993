"""From an open_clip model to a bundle: every precision, validated, tuned, timed, the best one named."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..base.console import Bar, progress_bar, say
from ..base.errors import EdgeclipError
from ..base.files import refuse_too_large, write_bytes, write_text
from ..base.folders import new_folder
from ..base.scratch import scratch_folder
from ..device.facts import target_here, why_elsewhere
from ..models.openclip import OpenClipEncoder
from ..runtime.bundle import KIND, MANIFEST, Bundle
from ..runtime.cores import usable_cores
from ..runtime.engines.registry import find_engine
from ..runtime.engines.tensorrt.engine import RECIPE, TENSORRT
from ..runtime.golden import probe_image
from ..runtime.target import Precision, Target
from ..towers.spec import StudentSpec
from . import graphs
from . import optimumrecipes as optimum
from .bundling import Contents, Origin, finish
from .calibration import COUNT, FEWEST, calibration_pixels
from .engine import build_engines
from .extras import with_bytes_input, with_classes
from .fp16 import convert_fp16
from .graphs import IMAGE_OUTPUT, read_graph, save_graph, weights_beside
from .int8 import RECIPES, Calibrated, Recipe, recipe_for
from .plan import ExportPlan
from .sensitivity import plot
from .towers import check_opset, export_image_tower
from .tune import PRECISIONS, Candidate, Judge, Tuner
from .validate import check_tower
from .words import GOLDEN_TEXTS, write_phrases, write_text_tower

JUDGED_ON = 64  # images that set no range
GOLDEN_IMAGES = 8


@dataclass
class _Job:
    """What every step of one export works on."""

    model: OpenClipEncoder
    plan: ExportPlan
    target: Target
    elsewhere: str | None  # why this machine's clock does not speak for the target
    folder: Path  # what will be the bundle
    scratch: Path
    pixels: NDArray[np.float32]  # calibration
    judged: NDArray[np.float32]
    tuner: Tuner
    wanted: list[Precision]
    bar: Bar
    contents: Contents = field(default_factory=Contents)

    def tell(self, what: str) -> None:
        """One step is over, the next is ``what``."""
        self.bar.advance()
        self.bar.note(what)


def export(
    model: OpenClipEncoder,
    out: Path,
    *,
    source: str,
    calibration: Sequence[Path],
    plan: ExportPlan | None = None,
    spec: StudentSpec | None = None,
    threads: int | None = None,
    force: bool = False,
) -> Bundle:
    """Export ``model`` for its target into a new bundle at ``out``. What crashes the runtime is left out, and said.

    What int8 looks like follows from the target. Speed is measured, and a variant recommended, only where this machine
    is the target; else that is left to ``edgeclip measure`` on the device.

    Args:
        model: student or teacher.
        out: the bundle's folder: new, empty, or a bundle that ``force`` allows to replace. The bundle has its name.
        source: where the model came from, for the manifest.
        calibration: image files for int8 ranges and for fidelity.
        plan: what to make, and for which target; all precisions where None.
        spec: the student's spec, where there is one.
        threads: CPU threads for timing; the target's when None, all cores where it is another machine.

    Raises:
        EdgeclipError: too few calibration images, a bad opset, weights that are not finite, ``out`` in the way,
            no space left, or engines are asked for and cannot be built here.
    """
    plan = plan or ExportPlan()
    target = plan.target or (spec and spec.target) or target_here()
    elsewhere = why_elsewhere(target)
    judge = Judge(find_engine(), None, threads or usable_cores())  # any machine can run and judge any target's graphs
    if elsewhere is None:
        runtime = target.runtime
        judge = Judge(find_engine(runtime.name), runtime.provider, threads or runtime.threads)
    check_opset(plan.opset)
    if not (plan.text_tower or plan.classes):
        raise EdgeclipError("without its text tower a bundle knows its classes alone: give them, as --labels FILE")
    wanted = _possible(model, plan, plan.wanted(target))
    refuse_too_large(out, (len(wanted) + 1) * model.image_bytes // 2 + model.text_bytes)
    refuse_too_large(Path(tempfile.gettempdir()), 3 * model.image_bytes)  # candidates: fp32, fp16, int8 in a few ways
    every, chosen = calibration_pixels(calibration, model.preprocess, COUNT + JUDGED_ON)
    pixels, judged = _split(every)
    with new_folder(out, KIND, MANIFEST, force=force) as folder, scratch_folder() as scratch:
        with progress_bar("export", len(wanted) + 2) as bar:
            evaluation_set = plan.evaluation_set
            embeds = model.encode_pixels(evaluation_set.pixels) if evaluation_set else None
            tuner = Tuner(model.encode_pixels(judged), judged, judge, plan.gate, evaluation_set, embeds)
            job = _Job(model, plan, target, elsewhere, folder, Path(scratch), pixels, judged, tuner, wanted, bar)
            _towers(job)
            _variants(job)
            _extras(job, _choose(job, spec))
            job.tell("")
        origin = Origin(out.resolve().name, source, spec.as_data() if spec else {})
        counts = {"set_ranges": len(pixels), "judged": len(judged), "judged_unseen": judged is not pixels}
        finish(folder, job.contents, model, plan.opset, target, origin, chosen | counts)
    return Bundle.open(out)


def _possible(model: OpenClipEncoder, plan: ExportPlan, wanted: list[Precision]) -> list[Precision]:
    """The precisions that can be made: of an image tower beyond protobuf's 2 GB only fp32.

    Raises:
        EdgeclipError: other forms of such a tower are asked for.
    """
    if model.image_bytes <= graphs.LARGEST:
        return wanted
    size = f"the image tower has {model.image_bytes / 1e9:.1f} GB: of so large a one only fp32 is made"
    if (plan.classes and plan.text_tower) or plan.bytes_input or plan.recipes or plan.engines:
        raise EdgeclipError(f"{size}: leave out --labels, --uint8, --recipe and --tensorrt, or distil a student first")
    if len(wanted) > 1:
        say(f"{size}; not {', '.join(wanted[1:])}")
    return ["fp32"]


def _split(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two thirds set ranges and the rest judge; all do both where there are too few to share."""
    count = min(COUNT, len(pixels) * 2 // 3)
    return (pixels[:count], pixels[count:]) if len(pixels) >= 2 * FEWEST else (pixels, pixels)


def _towers(job: _Job) -> None:
    """Both towers in fp32, checked against torch, the tokenizer, and golden values."""
    model, opset, checks = job.model, job.plan.opset, job.contents.checks
    job.bar.note("text tower")
    image = job.scratch / "image.fp32.onnx"
    golden: dict[str, NDArray[Any]] = {}
    if job.plan.text_tower:
        golden = write_text_tower(model, job.folder, job.contents, opset)
    elif job.plan.classes:
        write_phrases(model, job.folder, job.contents, job.plan.classes)
    job.tell("image tower fp32")
    export_image_tower(model.model, image, image_size=model.image_size, opset=opset)
    checks["image"] = check_tower(image, job.judged, model.encode_pixels, IMAGE_OUTPUT)
    shown = job.judged[:GOLDEN_IMAGES]
    golden |= {"image_embeds": model.encode_pixels(shown), "probe_pixels": model.preprocess([probe_image()])}
    golden |= {"pixels": shown}
    tensors = {name: np.ascontiguousarray(value) for name, value in golden.items()}
    write_bytes(job.folder / "golden.safetensors", save(tensors, metadata={"texts": json.dumps(GOLDEN_TEXTS)}))
    candidate = Candidate("fp32", "fp32", image, {"recipe": "fp32"})
    job.tuner.enter(candidate)
    if candidate.problem:
        raise EdgeclipError(f"the fp32 graph does not run here ({candidate.problem}): try another --opset")


def _variants(job: _Job) -> None:
    """The other precisions, each recipe tried in a process of its own, then timed in turns."""
    fp32, wanted = job.scratch / "image.fp32.onnx", job.wanted
    if "fp16" in wanted:
        job.tell("image tower fp16")
        target = job.scratch / "image.fp16.onnx"
        job.tuner.enter(Candidate("fp16", "fp16", target, convert_fp16(fp32, target, job.pixels)))
    if "int8" in wanted:
        job.tell("image tower int8")
        calibrated = Calibrated(fp32, job.pixels)
        first, *others = _recipes(job.plan, job.target)
        job.tuner.enter_int8(calibrated, first, job.scratch)
        if optimum.available() and not job.elsewhere:
            features = job.target.device.features
            for name, file, facts in optimum.write_recipes(fp32, job.scratch, job.pixels, features):
                job.tuner.enter(Candidate(name, "int8", file, facts))
        for recipe in others:
            _write_target(job, calibrated, recipe)
    job.tell("latency")
    if job.elsewhere is None:
        job.tuner.time()


def _recipes(plan: ExportPlan, target: Target) -> list[Recipe]:
    """The target's int8 recipe, and those that are asked for beside it."""
    names = [*plan.recipes, *([RECIPE] if plan.engines else [])]
    return list(dict.fromkeys([recipe_for(target), *(RECIPES[name] for name in names)]))


def _write_target(job: _Job, calibrated: Calibrated, recipe: Recipe) -> None:
    """The int8 graph of another target, beside the variants: as faithful as the own; its speed is not known here."""
    scratch = job.scratch / recipe.name
    scratch.mkdir()
    tuner = replace(job.tuner, candidates=[], ranking=[], steps=[])
    tuner.enter_int8(calibrated, recipe, scratch)
    best, file = tuner.best("int8"), job.folder / f"image.int8-{recipe.name}.onnx"
    if best is None or best.fidelity is None:
        say(f"{file.name} is left out: {tuner.candidates[0].problem}")
        return
    if not tuner.faithful(best):
        say(f"{file.name}: below the fidelity threshold, mean cosine {best.fidelity.cosine_mean:.4f}")
    shutil.move(best.file, file)
    job.contents.extra(file, "int8-target", "int8", best.recipe | {"fidelity": best.fidelity.model_dump()})


def _choose(job: _Job, spec: StudentSpec | None) -> Candidate:
    """Move the best of each precision into the bundle; the one that is recommended, or stands in for it."""
    tuner, contents = job.tuner, job.contents
    kept = [c for c in map(tuner.best, PRECISIONS) if c is not None]
    recommended = None if job.elsewhere else tuner.recommended(kept)
    precision = spec.precision if spec else "fp32"  # by the device's profile, which chose it with the student
    fallback = next((c for c in kept if c.precision == precision and tuner.faithful(c)), kept[0])
    if job.elsewhere:
        say(f"no recommendation yet: run edgeclip measure on the device to find the fastest variant ({job.elsewhere})")
    contents.tried = tuner.table(kept, recommended)
    for candidate in tuner.candidates:
        if candidate.problem:
            say(f"{candidate.name} is left out: {candidate.problem}")
    for candidate in kept:
        target = job.folder / f"image.{candidate.precision}.onnx"
        for file, place in ((candidate.file, target), (weights_beside(candidate.file), weights_beside(target))):
            if file.is_file():
                shutil.move(file, place)
        candidate.file = target
        contents.variants.append(candidate)
        contents.faithful[candidate.precision] = tuner.faithful(candidate)
    contents.recommended = recommended.precision if recommended else None
    contents.fallback = fallback.precision
    if tuner.ranking:
        write_text(job.folder / "sensitivity.svg", plot(tuner.ranking, tuner.steps, tuner.gate.cosine))
        contents.sensitivity = {
            "ranking": {block.block: block.error for block in tuner.ranking},
            "float_blocks_to_cosine": [list(step) for step in tuner.steps],
        }
    return recommended or fallback


def _extras(job: _Job, chosen: Candidate) -> None:
    """What else was asked for: bytes in, probabilities out, engines."""
    plan, model = job.plan, job.model
    preprocess = job.contents.preprocess_of(model)
    classify = plan.classes if job.model.image_bytes <= graphs.LARGEST else None  # else they are the text tower alone
    graph = read_graph(chosen.file) if classify or plan.bytes_input else None
    if graph and plan.bytes_input:
        graph = with_bytes_input(graph, preprocess)
        file = job.folder / f"image.uint8.{chosen.precision}.onnx"
        save_graph(graph, file)
        facts: dict[str, Any] = {"input": "pixels, uint8 [N, S, S, 3], RGB", "size": preprocess.size}
        job.contents.extra(file, "uint8-input", chosen.precision, facts)
    if graph and classify:
        graph = with_classes(graph, classify, model.logit_scale, model.logit_bias)
        file = job.folder / f"classifier.{chosen.precision}.onnx"
        save_graph(graph, file)
        facts = {"labels": list(classify.labels), "templates": list(classify.templates)}
        facts["input"] = graph.graph.input[0].name
        job.contents.extra(file, "classifier", chosen.precision, facts)
    if plan.engines:
        job.bar.note("engines")
        tensorrt = job.folder / f"image.int8-{RECIPE}.onnx"  # beside the variants, where theirs is another machine's
        sources: dict[Precision, Path] = {"int8": tensorrt} if tensorrt.is_file() else {}
        for candidate in job.contents.variants:
            if TENSORRT.reads(candidate.recipe["recipe"]):
                sources[candidate.precision] = candidate.file
        for engine in build_engines(sources, job.folder, plan.engines):
            job.contents.extra(engine.file, "engine", engine.precision, engine.facts)
