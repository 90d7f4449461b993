"""What does edgeclip make of each of open_clip's model configs, held against open_clip itself?

    python benchmarks/openclip_parity.py [--only WORD ...] [--jobs N]

Every config is shrunk (two blocks, narrow, random weights; tokenizers of the hub's classes with vocabularies of their
own: see standins.py) and written in open_clip's hub layout. open_clip loads it; so does edgeclip, which exports it in
fp32, and makes a student of it that keeps its text tower. Each must give what open_clip gives: pixels, token ids,
embeddings and probabilities. A row is "equal", or "refused" in one line; any other ends this with exit code 1.
Configs that are the same once shrunk are examined once. All of them together are written to
results/openclip_parity.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import results
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from standins import shrunk, write_model
from torch import Tensor

from edgeclip.base.console import console, progress_bar
from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.loading import load_teacher
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.student import build_student
from edgeclip.distillation.teachers import as_teacher
from edgeclip.exporting.pipeline import export
from edgeclip.exporting.plan import ExportPlan
from edgeclip.models.oddtexts import odd_texts
from edgeclip.models.openclip import save_hub_layout
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.vit import vit_workload

COSINE, PIXELS, PROBABILITY = 0.999999, 1e-5, 1e-4
ALIKE = 0.9999
TEXTS = odd_texts(60)
LABELS = ("a red thing", "A Blue, thing!", "日本", "")
STUDENT = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "mlp_ratio": 2.0, "head_width": 32}


@dataclass
class Row:
    """What became of one config. Cosines are the worst of all rows, probabilities the largest difference."""

    name: str
    family: str
    outcome: str = "equal"
    figures: dict[str, float] = field(default_factory=dict)

    def hold(self, what: str, value: float, good: bool) -> None:
        """Keep a figure; one that is not good makes the row different."""
        self.figures[what] = value
        if not good and self.outcome == "equal":
            self.outcome = f"DIFFERENT: {what} {value:.6g}"


@dataclass
class Answers:
    """What a model makes of the images and texts."""

    pixels: np.ndarray
    ids: np.ndarray
    images: np.ndarray
    texts: np.ndarray
    odds: np.ndarray


def examine(name: str, scratch: Path) -> Row:
    """Hold what edgeclip makes of a config against open_clip."""
    scratch.mkdir(parents=True, exist_ok=True)
    config = shrunk(name, scratch / "hub")
    row = Row(name, family(config))
    folder = write_model(config, _preprocess(name), scratch / name)
    images = odd_images()
    theirs = answers_of_open_clip(folder, images)
    for what, embeds in (("images", theirs.images), ("texts", theirs.texts)):  # alike, they could not show a fault
        alike = float((embeds @ embeds.T).mean())
        row.hold(f"{what} alike", alike, alike < ALIKE)
    try:
        _teacher_and_export(row, folder, scratch / f"{name}.bundle", images, theirs)
    except EdgeclipError as error:
        line = str(error)
        row.outcome = f"refused: {line}" if "\n" not in line else f"DIFFERENT: refused in several lines: {line}"
    return row


def _teacher_and_export(row: Row, folder: Path, out: Path, images: list[Image.Image], theirs: Answers) -> None:
    teacher = load_teacher(f"local-dir:{folder}")
    row.hold("pixels", float(np.abs(teacher.preprocess(images) - theirs.pixels).max()), True)
    row.hold("pixels", row.figures["pixels"], row.figures["pixels"] <= PIXELS)
    _ids(row, "ids", np.asarray(teacher.tokenizer(TEXTS)), theirs.ids)
    _cosine(row, "image", teacher.encode_image(images), theirs.images)
    _cosine(row, "text", teacher.encode_text(TEXTS), theirs.texts)
    _student(row, teacher, out.with_suffix(".student"), theirs)
    if row.outcome != "equal":
        return
    files = []
    for number in range(12):
        files.append(out.parent / f"{number}.png")
        noise = np.random.default_rng(number).integers(0, 255, (48, 48, 3), np.uint8)
        Image.fromarray(noise).save(files[-1])
    bundle = export(teacher, out, source="x", calibration=files, plan=ExportPlan(precisions=()))
    encoder = bundle.encoder("fp32")
    _ids(row, "bundle ids", encoder.tokenizer(TEXTS), theirs.ids)
    _cosine(row, "bundle image", encoder.encode_image(images), theirs.images)
    _cosine(row, "bundle text", encoder.encode_text(TEXTS), theirs.texts)
    worst = float(np.abs(bundle.classify(images, LABELS, encoder) - theirs.odds).max())
    row.hold("probabilities", worst, worst <= PROBABILITY)


def _student(row: Row, teacher: Any, folder: Path, theirs: Answers) -> None:
    """A student that keeps the text tower, as stock open_clip reads it."""
    spec = StudentSpec(name="tiny", vision_cfg=STUDENT, workload=vit_workload(STUDENT))
    built = build_student(spec, [as_teacher("x", teacher)], DistillConfig())
    model, config, _, tokenizer = built
    save_hub_layout(model, config, {**teacher.preprocess_cfg, "size": 32}, folder, tokenizer)
    stock, own = open_clip.create_model(f"local-dir:{folder}").eval(), open_clip.get_tokenizer(f"local-dir:{folder}")
    ids = own(TEXTS)
    _ids(row, "student ids", ids.numpy(), theirs.ids)
    with torch.inference_mode():
        _cosine(row, "student text", stock.encode_text(ids, normalize=True).numpy(), theirs.texts)


def answers_of_open_clip(folder: Path, images: list[Image.Image]) -> Answers:
    """open_clip's own functions on what lies in the folder."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    pixels, ids = torch.stack([transform(image) for image in images]), tokenize(TEXTS)
    with torch.inference_mode():
        seen, read = model.encode_image(pixels, normalize=True), model.encode_text(ids, normalize=True)
        logits = model.logit_scale.exp() * seen @ model.encode_text(tokenize(list(LABELS)), normalize=True).T
        odds: Tensor = logits.softmax(-1) if model.logit_bias is None else (logits + model.logit_bias).sigmoid()
    return Answers(*(part.numpy() for part in (pixels, ids, seen, read, odds)))


def odd_images() -> list[Image.Image]:
    """Modes and shapes that a photo album has."""
    draw = np.random.default_rng(0)
    found = []
    for height, width in ((90, 60), (40, 300), (33, 7), (64, 64)):
        smooth = Image.fromarray(draw.integers(0, 255, (5, 5, 3), np.uint8)).resize((width, height))
        found.append(smooth)
    photo = found[0]
    return [*found, photo.convert("L"), photo.convert("P"), photo.convert("RGBA"), photo.convert("CMYK")]


def family(config: dict[str, Any]) -> str:
    """The image tower's kind, and the text tower's."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    image = vision.get("timm_model_name", "").removeprefix("small_").split("_")[0]
    image = image or ("resnet" if isinstance(vision["layers"], list) else "vit")
    switches = [key for key in ("attentional_pool", "output_tokens", "final_ln_after_pool") if vision.get(key)]
    words = Path(text["hf_model_name"]).name if "hf_model_name" in text else text.get("hf_tokenizer_name", "clip")
    more = [key for key in ("quick_gelu", "init_logit_bias", "multimodal_cfg") if key in config]
    return " ".join([image, *switches, "+", words, *more])


def _preprocess(name: str) -> dict[str, Any]:
    """What open_clip's list of weights tells of that config's first tag."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    told = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
    return {key: told[key] for key in ("mean", "std", "interpolation", "resize_mode") if told.get(key) is not None}


def _ids(row: Row, what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    wrong = int((ours != theirs).any(axis=1).sum()) if ours.shape == theirs.shape else len(theirs)
    row.hold(what, wrong, wrong == 0)


def _cosine(row: Row, what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    same = ours.shape == theirs.shape and np.isfinite(ours).all()
    worst = float((ours.astype(np.float64) * theirs).sum(axis=1).min()) if same else -1.0
    row.hold(what, worst, worst >= COSINE)


def _quietly(name: str, folder: str) -> Row:
    """A row by a process of its own; what open_clip and torch say of it is left unsaid."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    console.quiet = True
    return examine(name, Path(folder) / name)


def main() -> int:
    """Examine, print, and tell whether any row is silently different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="configs whose name holds one of these words")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    options = parser.parse_args()
    names = [name for name in open_clip.list_models() if any(word in name for word in options.only)]
    with tempfile.TemporaryDirectory() as scratch, progress_bar("configs", len(names)) as bar:
        keys = {name: json.dumps([shrunk(name, Path(scratch)), _preprocess(name)], sort_keys=True) for name in names}
        first = {key: name for name, key in reversed(keys.items())}
        bar.advance(len(names) - len(first))  # the same as another, once shrunk
        rows: dict[str, Row] = {}
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            for row in pool.map(_quietly, first.values(), [scratch] * len(first)):
                rows[row.name] = row
                bar.advance()
                bar.note(f"{row.name}: {row.outcome}")
    found = [(name, rows[first[key]]) for name, key in keys.items()]
    table = Table("config", "examined as", "family", "image", "text", "bundle image", "bundle text", "outcome")
    for name, row in found:
        cells = [f"{row.figures[key]:.7f}" if key in row.figures else "" for key in COLUMNS]
        table.add_row(name, "" if row.name == name else row.name, row.family, *cells, row.outcome)
    Console(width=None if sys.stdout.isatty() else 240).print(table)
    counts = {word: sum(row.outcome.startswith(word) for _, row in found) for word in ("equal", "refused", "DIFFERENT")}
    print(f"{len(found)} configs, {len(rows)} once shrunk: {counts}")
    if options.only == [""]:
        results.save("openclip_parity", {"rows": [{"config": name, **asdict(row)} for name, row in found]})
    return int(counts["equal"] + counts["refused"] != len(found))


COLUMNS = ("image", "text", "bundle image", "bundle text")

if __name__ == "__main__":
    sys.exit(main())
