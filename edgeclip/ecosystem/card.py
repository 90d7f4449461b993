"""The model card: what a student is, what it was taught with, how it did, and under which licences."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.visible import json_text, visible
from ..reporting.render import markdown

if TYPE_CHECKING:
    from ..distillation.run import RunDocument
    from ..reporting.schema import Report
    from ..runtime.manifest import Manifest

UNSTATED = "not stated"


@dataclass(frozen=True)
class Facts:
    """What goes into a card."""

    repo: str  # USER/NAME
    run: RunDocument
    licence: str = "other"  # a hub's identifier: "apache-2.0", "cc-by-sa-4.0"
    data_credit: str = UNSTATED
    data_licence: str = UNSTATED
    report: Report | None = None
    manifest: Manifest | None = None  # of the bundle that is pushed beside the student


def data_facts(images: Path) -> dict[str, str]:
    """Credit and licence of a folder of images, from the ``dataset.json`` in it or beside it, where there is one."""
    for file in (images / "dataset.json", images.parent / "dataset.json"):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            return {"data_credit": str(facts["credit"]), "data_licence": str(facts["licence"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def card(facts: Facts) -> str:
    """``README.md``. What comes from outside is quoted, and cannot become markup."""
    run, spec = facts.run, facts.run.spec
    parts = [
        _front_matter(facts),
        f"# {_plain(facts.repo.rpartition('/')[2])}",
        f"A small CLIP: the image tower {_code(spec.name)} was taught by {_code(run.teacher)}, whose text tower it "
        "keeps. Made with [edgeclip](https://pypi.org/project/edgeclip/) after "
        "[DIME-FM](https://arxiv.org/abs/2303.18232).",
        _usage(facts),
    ]
    if facts.report:
        parts += ["## Report", _nested(markdown(facts.report))]
    if facts.manifest:
        parts += ["## Precisions", _precisions(facts.manifest)]
    parts += ["## Training", _training(run), "## Data", _data(facts), "## Licences"]
    parts.append(f"This model: {_plain(facts.licence)}. Its training images: {_plain(facts.data_licence)}.")
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Facts) -> str:
    lines: dict[str, Any] = {
        "license": facts.licence,
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "edgeclip", "distillation", *(["onnx", "transformers.js"] if facts.manifest else [])],
    }
    if facts.run.teacher.startswith("hf-hub:"):
        lines["base_model"] = facts.run.teacher.removeprefix("hf-hub:")
    # JSON is YAML, and quotes what it must.
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in lines.items()), "---"])


def _usage(facts: Facts) -> str:
    repo = re.sub(r"[^\w./-]", "", facts.repo)
    lines = [
        "```python",
        "import open_clip",
        f'model, _, preprocess = open_clip.create_model_and_transforms("hf-hub:{repo}")',
        f'tokenizer = open_clip.get_tokenizer("hf-hub:{repo}")',
        "```",
    ]
    if facts.manifest:
        lines += [
            "",
            "```js",
            'import { pipeline } from "@huggingface/transformers";',
            f'const classify = await pipeline("zero-shot-image-classification", "{repo}");',
            "```",
            "",
            "The folder `bundle/` is for `edgeclip classify` and for any ONNX Runtime.",
        ]
    return "\n".join(lines)


def _precisions(manifest: Manifest) -> str:
    lines = ["| image tower | MB | mean cosine to torch | speed against fp32 |  |", "| --- | --- | --- | --- | --- |"]
    for v in manifest.variants:
        speed = f"{v.relative_speed:.2f} x" if v.relative_speed else "-"
        mark = "recommended" if v.precision == manifest.recommended else ""
        lines.append(f"| {v.precision} | {v.size / 1e6:.2f} | {v.fidelity.cosine_mean:.6f} | {speed} | {mark} |")
    return "\n".join(lines)


def _training(run: RunDocument) -> str:
    settings = {
        "student": run.spec.vision_cfg,
        "settings": run.config.model_dump(mode="json"),
        "figures": run.figures.model_dump(exclude_none=True),
    }
    text = json_text(json.dumps(settings, indent=2, ensure_ascii=False)).replace("`", "'")
    return f"```json\n{text}\n```"


def _data(facts: Facts) -> str:
    run = facts.run
    kind = "class names" if run.classes else "sentences"
    # Names alone: where things lie on somebody's disk is nobody's business.
    images = f"- images: {_code(Path(run.images).name)} ({_count(run.figures.images)})"
    texts = f"- {kind}: {_code(Path(run.texts).name)} ({_count(run.figures.sentences)}), not paired with the images"
    return f"{images}\n{texts}\n- credit: {_plain(facts.data_credit)}"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _nested(text: str) -> str:
    """A document's headings, one level down."""
    return re.sub(r"^#", "##", text, flags=re.M).strip()


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", visible(" ".join(text.split())))


def _code(text: str) -> str:
    return "`" + visible(" ".join(text.split())).replace("`", "'") + "`"
