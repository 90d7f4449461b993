"""From a spec, teachers, images and sentences to a run with a trained student in it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from ..base.console import console, say
from ..base.errors import EdgeclipError
from ..base.files import mendable, sha256
from ..base.folders import cache_folder, locked
from ..base.strings import StringsOnDisk, digest
from ..data.processes import processes
from ..data.sentences import OPENAI, kept_sentences, read_templates, refuse_too_few
from ..data.squares import Images
from ..data.training import TrainingData
from ..data.transparency import say_transparent
from ..data.views import Views
from ..images.sources import located, open_source
from ..models.openclip import OpenClipEncoder, save_hub_layout
from ..runtime.manifest import Preprocess
from ..towers.spec import StudentSpec
from .batches import Loader
from .checkpoint import before
from .config import DistillConfig
from .enough import few_images
from .malloc import keep_freed_memory
from .pace import forecast
from .run import Run, RunDocument, RunFigures, refuse_in_the_way
from .student import Towers, build_student, refuse_no_text_tower
from .targets import find_targets, refuse_no_room
from .teachers import Teacher
from .trainer import Trainer

Judge = Callable[[OpenClipEncoder], float]
Rehearsal = Callable[[StudentSpec, Sequence[Teacher], DistillConfig], None]


@dataclass(frozen=True)
class Validation:
    """What the student is judged on while it learns: the best weights are kept.

    Args:
        dataset: its name or path, for the run's record.
        top1: the zero-shot top-1 of an encoder on it, 0..1.
    """

    dataset: str
    top1: Callable[[OpenClipEncoder], float]


def distill(
    spec: StudentSpec,
    teachers: Sequence[Teacher],
    data: TrainingData,
    out: Path,
    *,
    config: DistillConfig | None = None,
    validation: Validation | None = None,
    rehearsal: Rehearsal | None = None,
    resume: bool = False,
) -> Run:
    """Teach the student and write it, with all that a resume needs, to ``out``.

    Args:
        spec: the student's image tower.
        teachers: whose embeddings the student learns. It lives in the first one's space, and keeps its text tower
            unless the settings give the student one of its own.
        data: images and sentences; they need not be paired.
        out: the run's folder.
        config: training settings; the defaults where None.
        validation: finds the best weights; None: the last ones are kept.
        rehearsal: tries everything on one batch before a new run begins; see :func:`edgeclip.chain.rehearsal.rehearse`.
        resume: go on with the run that is in ``out``.

    Raises:
        EdgeclipError: an input is missing or unfit, ``out`` is in the way or in use, or a resume's settings or inputs
            differ.
    """
    config = config or DistillConfig()
    keep_freed_memory()
    state = processes()
    console.quiet = not state.is_main_process
    document = RunDocument(
        teacher=teachers[0].name,
        more_teachers=[teacher.name for teacher in teachers[1:]],
        teacher_fingerprint=digest([teacher.fingerprint for teacher in teachers]),
        images=located(data.images),
        texts=str(data.sentences.absolute()),
        classes=data.classes is not None,
        templates=data.templates if data.templates in (None, OPENAI) else str(Path(data.templates).absolute()),
        dataset=validation.dataset if validation else None,
        store=str(Path(data.store).absolute()) if data.store else None,
        spec=spec,
        config=config,
    )
    with mendable(out), locked(out) if state.is_main_process else nullcontext():
        with state.main_process_first():
            if state.is_main_process:
                run = _open(out, document, resume)
                if not (out / "run.json").is_file():
                    if rehearsal:
                        rehearsal(spec, teachers, config)
                    run.save()
            else:
                run = Run.open(out)
        if run.document.status == "finished":
            say(f"{out} is finished")
            return run
        for teacher in teachers:
            teacher.check()
        store = Path(data.store) if data.store else None
        pictures, sentences = _inputs(run, teachers, store or cache_folder())
        judge = validation.top1 if validation else None
        _train(run, teachers, pictures, sentences, store=store, judge=judge, resume=resume)
    return run


def _inputs(run: Run, teachers: Sequence[Teacher], cache: Path) -> tuple[Images, StringsOnDisk]:
    """What is learnt from; ``cache`` keeps the sentences, shards from URLs, and the index of every shard.

    Raises:
        EdgeclipError: it is missing or unfit, or too little, or not what the run began with.
    """
    document = run.document
    templates = read_templates(document.templates) if document.classes else None
    pictures, sentences = _opened(document.images, Path(document.texts), templates, teachers, cache, document.config)
    now = {"images": pictures.source.digest, "sentences": sentences.digest}
    if changed := [name for name, value in document.inputs.items() if now[name] != value]:
        raise EdgeclipError(f"{' and '.join(changed)} changed since {run.path} started: start a new run")
    document.inputs = now
    if processes().is_main_process:
        run.save()
    return pictures, sentences


def _opened(
    images: str,
    texts: Path,
    templates: Sequence[str] | None,
    teachers: Sequence[Teacher],
    cache: Path,
    config: DistillConfig,
) -> tuple[Images, StringsOnDisk]:
    sentences = kept_sentences(texts, cache / "sentences", templates)
    size = max(teacher.image_size for teacher in teachers)
    square = _seen(teachers[0].preprocess, size, config)
    pictures = Images(open_source(images, cache, processes().main_process_first), square)
    for name, count in (("images", len(pictures)), ("sentences", len(sentences))):
        refuse_too_few(name, count)
    return pictures, sentences


def _seen(preprocess: Preprocess, size: int, config: DistillConfig) -> Preprocess:
    """The teacher's preprocessing to squares of another size, of pictures as the settings say."""
    return preprocess.model_copy(update={"size": size, "exif": config.exif, "ground": config.ground})


def check_data(teachers: Sequence[Teacher], data: TrainingData, config: DistillConfig) -> None:
    """Refuse data that are too few, or whose embeddings will not fit on the cache's disk, before anything is done.

    Args:
        teachers: as for :func:`distill`, like the others.
        data: likewise.
        config: likewise.

    Raises:
        EdgeclipError: with how many there are, or how much is needed and free; or an input cannot be read, or the
            teacher lends no text tower to a student that is to keep it.
    """
    refuse_no_text_tower(teachers[0], config)
    templates = read_templates(data.templates) if data.classes else None
    pictures, sentences = _opened(located(data.images), data.sentences, templates, teachers, cache_folder(), config)
    refuse_no_room(None, config, teachers, pictures, sentences)


def _open(out: Path, document: RunDocument, resume: bool) -> Run:
    """The run to work on: a new one, not yet written, or the one in ``out`` if it was asked for in the same words."""
    refuse_in_the_way(out, resume=resume)
    if not (out / "run.json").is_file():
        return Run(out, document.signed(out))
    run = Run.open(out)
    before, now = _flat(run.document.as_data()), _flat(document.as_data())
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    changeable = ("status", "inputs.", "figures", "student.", "signature", "seal")
    if changed := [name for name in changed if not name.startswith(changeable)]:
        raise EdgeclipError(f"{out} was started with another {', '.join(changed)}: --resume cannot change that")
    run.document = run.document.signed(out)
    return run


def _train(
    run: Run,
    teachers: Sequence[Teacher],
    images: Images,
    sentences: StringsOnDisk,
    *,
    store: Path | None,
    judge: Judge | None,
    resume: bool,
) -> None:
    config, spec, start = run.document.config, run.document.spec, time.monotonic()
    if processes().device.type == "cuda":  # TF32: single precision's range, a half's mantissa, several times as fast
        torch.set_float32_matmul_precision("high")
    if not resume and (warning := few_images(len(images))):
        say(warning)
    if not resume and config.ground is None:
        say_transparent(images.source)
    if not resume and (expected := forecast(config, spec, teachers, len(images), len(sentences))):
        say(expected.told)
    views = Views(config.augment, config.seed)
    targets = find_targets(store, config, teachers, images, sentences, views)
    say(f"store: {len(targets.rows)} images x {config.views} views, {len(sentences)} sentences, in {targets.folder}")
    stored = time.monotonic()

    torch.manual_seed(config.seed)
    model, model_cfg, towers, tokenizer = build_student(spec, teachers, config)
    preprocess = _seen(teachers[0].preprocess, spec.image_size, config)
    settings = preprocess.model_dump(exclude_none=True)

    def judged(student: Towers) -> float:
        towers.load_state_dict(student.state_dict())
        model.to(processes().device)
        return judge(OpenClipEncoder(model, model_cfg, settings, tokenizer)) if judge else 0.0

    loader = Loader(config, images, sentences, targets, views, preprocess, tokenizer if towers.text else None)
    trainer = Trainer(
        copy.deepcopy(towers),
        config,
        run,
        loader.pictures.batches,
        logit_scale=teachers[0].logit_scale,
        judge=judged if judge else None,
    )
    if resume and (run.checkpoint.is_file() or before(run.checkpoint).is_file()):
        trainer.load()
        say(f"resumed at step {trainer.step} of {trainer.steps}")
    trainer.train(loader)
    if not processes().is_main_process:
        return
    towers.load_state_dict(load_file(run.best) if judge else trainer.student.state_dict())
    save_hub_layout(model, model_cfg, settings, run.student_dir, tokenizer)
    figures = RunFigures(
        images=len(targets.rows),
        skipped=targets.broken[:1000],
        sentences=len(sentences),
        steps=trainer.steps,
        best_top1=trainer.best_top1 if judge else None,
        store_seconds=round(stored - start, 1),
        train_seconds=round(time.monotonic() - stored, 1),
    )
    _finish(run, figures)


def _finish(run: Run, figures: RunFigures) -> None:
    """The student is there: vouch for its files."""
    run.document.status = "finished"
    run.document.student = {file.name: sha256(file) for file in sorted(run.student_dir.iterdir())}
    run.document.figures = figures
    run.save()


def _flat(data: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted names, so that a difference can be named."""
    flat: dict[str, object] = {}
    for name, value in data.items():
        path = f"{prefix}{name}"
        flat |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
