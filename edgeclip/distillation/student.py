"""The student as it is trained: its image tower, and a text tower where it has one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..base.errors import EdgeclipError
from ..base.files import refuse_stub
from ..models.build import build_model
from ..models.inherit import inherit
from ..towers.spec import StudentSpec
from .config import DistillConfig
from .teachers import Teacher

CLIP_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 4}


class Towers(nn.Module):
    """What the optimizer sees. ``text`` is None where the student keeps its teacher's text tower, frozen."""

    def __init__(self, visual: nn.Module, text: nn.Module | None) -> None:
        super().__init__()
        self.visual, self.text = visual, text

    def forward(self, pixels: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embeddings of pixels ``[N, 3, S, S]`` and tokens ``[M, L]``: float32 ``[., D]``, L2-normalised."""
        images = F.normalize(self.visual(pixels).float(), dim=-1)
        if self.text is None or tokens is None:
            return images, None
        return images, F.normalize(self.text(tokens).float(), dim=-1)


def build_student(
    spec: StudentSpec, teachers: Sequence[Teacher], config: DistillConfig
) -> tuple[nn.Module, dict[str, Any], Towers, Any]:
    """The student, initialised as the settings say.

    Returns:
        The open_clip model, its model_cfg, the towers to train, and its tokenizer.

    Raises:
        EdgeclipError: its text tower would have to be a teacher's that has none, or the initialisation does not fit.
    """
    teacher = teachers[0]
    if config.text_tower == "teacher":
        model, model_cfg = _with_the_text_tower_of(teacher, spec, config)
        towers = Towers(model.visual, None)
    else:
        model, model_cfg = with_its_own_text_tower(teacher, spec, config)
        towers = Towers(model.visual, model.text)
    _initialise(model, teacher, config)
    tokenizer = teacher.text.tokenizer if teacher.text else open_clip.SimpleTokenizer(context_length=77)
    return model, model_cfg, towers, tokenizer


def refuse_no_text_tower(teacher: Teacher, config: DistillConfig) -> None:
    """Refuse a teacher that lends no text tower to a student that is to keep it.

    Raises:
        EdgeclipError: the text says what to set.
    """
    if config.text_tower == "teacher" and teacher.text is None:
        raise EdgeclipError(
            f"teacher {teacher.name} has no text tower that the student could keep: set text_tower to student"
        )


def _with_the_text_tower_of(teacher: Teacher, spec: StudentSpec, config: DistillConfig) -> tuple[Any, dict[str, Any]]:
    refuse_no_text_tower(teacher, config)
    assert teacher.text is not None
    model, model_cfg = build_model(_dressed(spec, config), embed_dim=teacher.embed_dim, **teacher.text.config)
    missing = model.load_state_dict(teacher.text.weights, strict=False)
    unfit = [name for name in missing.missing_keys if not name.startswith("visual.")]
    if unfit or missing.unexpected_keys:
        raise EdgeclipError(f"the teacher's text tower does not fit ({[*unfit, *missing.unexpected_keys][0]})")
    return model, model_cfg


def with_its_own_text_tower(teacher: Teacher, spec: StudentSpec, config: DistillConfig) -> tuple[Any, dict[str, Any]]:
    """A student with a text tower to train, of the settings' shape or half the teacher's layers, and its ``model_cfg``.

    Raises:
        EdgeclipError: the settings must give a shape, or open_clip refuses it.
    """
    theirs: dict[str, Any] = dict(teacher.text.config) if teacher.text else {"text_cfg": dict(CLIP_TEXT)}
    shape = config.text_shape.model_dump() if config.text_shape else {}
    if teacher.text and not shape:
        if "hf_model_name" in theirs["text_cfg"]:
            raise EdgeclipError("the teacher's text tower is not open_clip's own: set text_shape")
        shape = {"layers": max(1, theirs["text_cfg"].get("layers", 12) // 2)}
    theirs["text_cfg"] = {**{k: v for k, v in theirs["text_cfg"].items() if k != "hf_model_name"}, **shape}
    theirs["custom_text"] = True  # the text tower as a module of its own, which CLIP's first class does not have
    model, model_cfg = build_model(_dressed(spec, config), embed_dim=teacher.embed_dim, **theirs)
    with torch.no_grad():
        model.logit_scale.copy_(torch.tensor(teacher.logit_scale).log())
        if getattr(model, "logit_bias", None) is not None and teacher.text:
            model.logit_bias.copy_(teacher.text.weights["logit_bias"])
    return model, model_cfg


def _dressed(spec: StudentSpec, config: DistillConfig) -> StudentSpec:
    """The spec with timm's own weights asked for, where the settings want them."""
    if config.init != "timm":
        return spec
    if "timm_model_name" not in spec.vision_cfg:
        raise EdgeclipError(f"{spec.name} is not a timm model, so timm has no weights for it: set init to random")
    return spec.model_copy(update={"vision_cfg": {**spec.vision_cfg, "timm_model_pretrained": True}})


def _initialise(model: Any, teacher: Teacher, config: DistillConfig) -> None:
    if config.init == "teacher":
        image_tower = getattr(teacher, "image_tower", None)
        if image_tower is None:
            raise EdgeclipError(f"teacher {teacher.name} has no image tower at hand to start from: set init to random")
        inherit(model.visual, image_tower.state_dict())
        if config.text_tower == "student" and teacher.text:
            weights = {name.removeprefix("text."): value for name, value in teacher.text.weights.items()}
            inherit(model.text, weights)
    elif config.init.endswith(".safetensors"):
        _load_trunk(model.visual, Path(config.init))


def _load_trunk(visual: nn.Module, file: Path) -> None:
    """A timm model's weights into the trunk; its classifier is left out."""
    trunk: Any = getattr(visual, "trunk", None)
    if trunk is None:
        raise EdgeclipError(
            "init names a timm model's weights, but the student is not a timm model: set init to random"
        )
    try:
        refuse_stub(file)
        weights = load_file(file)
    except FileNotFoundError:
        raise EdgeclipError(f"{file}: no such file of weights") from None
    except (OSError, SafetensorError) as error:
        raise EdgeclipError(f"{file}: not a safetensors file, or truncated ({error})") from error
    weights_here = trunk.state_dict()
    fits = {
        name: value
        for name, value in weights.items()
        if name in weights_here and weights_here[name].shape == value.shape
    }
    if len(fits) < len(weights_here) / 2:
        raise EdgeclipError(
            f"{file} has only {len(fits)} of the student's {len(weights_here)} weights: is it another model's?"
        )
    trunk.load_state_dict({**weights_here, **fits})
