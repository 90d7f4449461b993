"""From a spec, a teacher, images and sentences to a run with a trained student in it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..console import say
from ..errors import EdgeclipError
from ..files import mendable, writable
from ..runtime.manifest import Preprocess
from ..student.build import build_model
from ..student.openclip import TOKENIZER, OpenClipEncoder, save_hub_layout
from ..student.spec import StudentSpec
from .config import DistillConfig
from .data import Images, Normalise, Shuffle, Views, read_sentences
from .malloc import keep_freed_memory
from .run import Run, RunDocument
from .store import digest, feature_store
from .trainer import Batch, Trainer


def distill(
    spec: StudentSpec,
    teacher: OpenClipEncoder,
    images: Path,
    texts: Path,
    out: Path,
    *,
    teacher_name: str,
    config: DistillConfig | None = None,
    resume: bool = False,
) -> Run:
    """Teach the student and write it, with all that a resume needs, to ``out``.

    Args:
        spec: the student's image tower.
        teacher: whose text tower the student keeps, frozen, and whose embeddings it learns.
        images: a folder of images; they need no captions.
        texts: sentences; they need no images.
        out: the run's folder.
        teacher_name: what the run calls the teacher.
        config: training settings; the defaults where None.
        resume: go on with the run that is in ``out``.

    Raises:
        EdgeclipError: an input is missing or unfit, ``out`` is in the way, or a resume's settings differ.
    """
    config = config or DistillConfig()
    keep_freed_memory()
    asked = RunDocument(
        teacher=teacher_name,
        teacher_fingerprint=teacher.fingerprint,
        images=str(images.absolute()),
        texts=str(texts.absolute()),
        spec=spec,
        config=config,
    )
    run = _open(out, asked, resume)
    if run.document.status == "finished":
        say(f"{out} is finished")
        return run
    sentences = read_sentences(texts)
    with mendable(out):
        pictures = Images(images, teacher.image_size, Preprocess(**teacher.preprocess_cfg))
        run.save()
        _train(run, teacher, pictures, sentences, resume)
    return run


def _open(out: Path, asked: RunDocument, resume: bool) -> Run:
    """The run to work on: a new one, or the one in ``out`` if it was asked for in the same words."""
    writable(out / "run.json")
    there = (out / "run.json").is_file()
    if not there and out.is_dir() and any(out.iterdir()):
        raise EdgeclipError(f"{out} exists and is no run: choose another --out")
    if not there:
        return Run(out, asked)
    if not resume:
        raise EdgeclipError(f"{out} holds a run: add --resume to go on with it, or choose another --out")
    run = Run.open(out)
    before, now = _flat(run.document.as_data()), _flat(asked.as_data())
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed := [name for name in changed if not name.startswith(("status", "figures"))]:
        raise EdgeclipError(f"{out} was started with another {', '.join(changed)}: --resume cannot change that")
    return run


def _train(run: Run, teacher: OpenClipEncoder, images: Images, sentences: list[str], resume: bool) -> None:
    config, spec, start = run.document.config, run.document.spec, time.monotonic()
    views = Views(config.augment, config.seed, len(images))
    targets, texts = _targets(run, teacher, images, sentences, views)
    say(f"store: {len(images)} images x {config.views} views, {len(sentences)} sentences, in {run.path / 'store'}")
    stored = time.monotonic()

    torch.manual_seed(config.seed)
    model, model_cfg = _student(spec, teacher)
    tower: Any = model.visual
    preprocess = {**teacher.preprocess_cfg, "size": spec.image_size}
    normalise = Normalise(Preprocess(**preprocess))
    pictures = Shuffle(len(images), config.batch_size, config.seed)
    phrases = Shuffle(len(sentences), config.batch_size, config.seed + 1)

    def batch_of(step: int) -> Batch:
        view = step // pictures.batches % config.views
        rows = pictures[step]
        pixels = normalise(views.apply(images[rows], rows, view))
        return Batch(pixels, targets[view][rows], texts[phrases[step]])

    trainer = Trainer(tower, config, run, pictures.batches)
    if resume and run.checkpoint.is_file():
        trainer.load()
        say(f"resumed at step {trainer.step} of {trainer.steps}")
    trainer.train(batch_of)
    tower.load_state_dict(trainer.student.state_dict())
    tokenizer = _tokenizer_of(teacher)
    save_hub_layout(model, model_cfg, preprocess, run.student_dir, tokenizer)
    run.document.status = "finished"
    run.document.figures = {
        "images": len(images),
        "skipped": images.broken,
        "sentences": len(sentences),
        "steps": trainer.steps,
        "store_seconds": round(stored - start, 1),
        "train_seconds": round(time.monotonic() - stored, 1),
    }
    run.save()


def _targets(
    run: Run, teacher: OpenClipEncoder, images: Images, sentences: list[str], views: Views
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The teacher's embeddings of every view, a list of float32 ``[N, D]``, and of the sentences, ``[M, D]``."""
    config, folder, dim = run.document.config, run.path / "store", teacher.embed_dim
    base = {"teacher": teacher.fingerprint, "preprocessing": digest([repr(teacher.preprocess_cfg)])}
    texts = feature_store(
        folder / "texts",
        "teacher reads",
        rows=len(sentences),
        dim=dim,
        fingerprint={**base, "sentences": digest(sentences)},
        embed=lambda rows: teacher.encode_text([sentences[row] for row in rows]),
    )
    normalise = Normalise(Preprocess(**teacher.preprocess_cfg))
    seen = {
        **base,
        "images": digest(images.keys),
        "augment": config.augment.model_dump_json(),
        "seed": str(config.seed),
    }

    def embed(rows: Any, view: int) -> np.ndarray:
        return teacher.encode_pixels(normalise(views.apply(images[rows], rows, view)).numpy())

    targets = []
    for view in range(config.views):
        title = f"teacher looks, view {view + 1} of {config.views}"
        mark = {**seen, "view": str(view)}
        one = feature_store(
            folder / f"view-{view:03d}",
            title,
            rows=len(images),
            dim=dim,
            fingerprint=mark,
            embed=partial(embed, view=view),
        )
        targets.append(one)
    return targets, texts


def _student(spec: StudentSpec, teacher: OpenClipEncoder) -> tuple[nn.Module, dict[str, Any]]:
    """A fresh image tower beside the teacher's text tower and logit scale, which stay as they are."""
    other = {k: v for k, v in teacher.config.items() if k not in ("embed_dim", "vision_cfg", "text_cfg")}
    text_cfg = teacher.config["text_cfg"]
    model, model_cfg = build_model(spec, embed_dim=teacher.embed_dim, text_cfg=text_cfg, **other)
    kept = {k: v for k, v in teacher.model.state_dict().items() if not k.startswith("visual.")}
    missing = model.load_state_dict(kept, strict=False)
    unfit = [name for name in missing.missing_keys if not name.startswith("visual.")]
    if unfit or missing.unexpected_keys:
        raise EdgeclipError(
            f"the teacher's text tower does not fit the student ({[*unfit, *missing.unexpected_keys][0]})"
        )
    return model, model_cfg


def _tokenizer_of(teacher: OpenClipEncoder) -> Path | None:
    file = getattr(teacher.tokenizer, "file", None)
    return file if isinstance(file, Path) and file.name == TOKENIZER else None


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, so that a difference can be named."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        path = f"{prefix}{name}"
        found |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found
