"""From a spec to a model: built by open_clip's own classes from a stock config, so what we make, open_clip loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from open_clip.model import CLIP, CustomTextCLIP

from ..base.errors import EdgeclipError

if TYPE_CHECKING:
    from ..towers.spec import StudentSpec


def build_model(
    spec: StudentSpec, *, embed_dim: int, text_cfg: dict[str, Any], **other_model_cfg: Any
) -> tuple[CLIP | CustomTextCLIP, dict[str, Any]]:
    """A freshly initialised open_clip model with the student's image tower and the teacher's kind of text tower.

    Args:
        spec: the student; its ``vision_cfg`` is used as it is.
        embed_dim: the teacher's, since both live in one space.
        text_cfg: the teacher's.
        other_model_cfg: the teacher's other keys (``quick_gelu``, ``custom_text``, ...). A caption decoder
            (``multimodal_cfg``) is left out, and so are the tokens that a text tower gives it (``output_tokens``):
            they take no part in encoding.

    Returns:
        The model, on the CPU in float32, and the ``model_cfg`` that open_clip's hub layout wants.

    Raises:
        EdgeclipError: open_clip refuses the config.
    """
    other = {key: value for key, value in other_model_cfg.items() if key != "multimodal_cfg"}
    text_cfg = {key: value for key, value in text_cfg.items() if key != "output_tokens"}
    model_cfg = {"embed_dim": embed_dim, "vision_cfg": dict(spec.vision_cfg), "text_cfg": text_cfg, **other}
    arguments = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    hugging_face = "hf_model_name" in text_cfg
    if hugging_face:  # its weights come from the teacher, not from the hub
        arguments["text_cfg"] = {**text_cfg, "hf_model_pretrained": False}
    kind = CustomTextCLIP if other.get("custom_text") or hugging_face else CLIP
    try:
        return kind(**arguments), model_cfg
    except (TypeError, AssertionError) as error:
        raise EdgeclipError(f"{spec.name}: open_clip cannot build it ({error or 'see its vision_cfg'})") from error


def build_tower(vision_cfg: dict[str, Any], *, embed_dim: int = 512) -> Any:
    """The image tower alone, freshly initialised, as :func:`build_model` builds it."""
    text = {"context_length": 8, "vocab_size": 8, "width": 32, "heads": 1, "layers": 1}
    return CLIP(embed_dim, vision_cfg, text).visual
