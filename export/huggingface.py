"""A student in Hugging Face's CLIP layout: ``transformers``' CLIPModel, and Optimum's classes for it, load the folder.

Only where both towers are what CLIPModel can express: open_clip's plain ViT and its causal text transformer. The names
on the right are those of transformers' ``modeling_clip.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ..base.errors import EdgeclipError
from ..base.files import write_bytes, write_json
from ..base.folders import new_folder
from ..models.openclip import OpenClipEncoder
from .config import HUGGINGFACE

BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
SINGLE = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # spelt so there
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
FLIPPED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def write_huggingface(model: OpenClipEncoder, folder: Path, *, force: bool = False) -> None:
    """Write ``model`` to ``folder`` in the layout that ``transformers.CLIPModel.from_pretrained`` reads.

    Raises:
        EdgeclipError: a tower is of a kind that CLIPModel cannot express, or ``folder`` is in the way.
    """
    weights = _renamed({name: value for name, value in model.model.state_dict().items() if not _buffer(name)})
    with new_folder(folder, HUGGINGFACE, "config.json", force=force) as staging:
        write_bytes(staging / "model.safetensors", save(weights, metadata={"format": "pt"}))
        write_json(staging / "config.json", _config(model, weights))
        write_json(staging / "preprocessor_config.json", _preprocessor(model))
        rules = model.write_tokenizer(staging / "tokenizer.json")
        added = json.loads((staging / "tokenizer.json").read_text(encoding="utf-8")).get("added_tokens", [])
        pad = next((token["content"] for token in added if token["id"] == rules.pad_id), "<|endoftext|>")
        names = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad, "eos_token": "<|endoftext|>"}
        write_json(staging / "tokenizer_config.json", names | {"model_max_length": model.context_length})


def _buffer(name: str) -> bool:
    return name.endswith("attn_mask")


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight under the name it has there; one that has none there is a fault, and so is one that is missing."""
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        plain = re.sub(r"^text\.", "", name)
        value = value.detach().cpu().float()
        if plain in SINGLE:
            renamed[SINGLE[plain]] = value.contiguous()
        elif plain in FLIPPED:
            renamed[FLIPPED[plain]] = value.T.contiguous()
        elif match := re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)", plain):
            tower = "vision_model" if match[1] else "text_model"
            renamed |= _of_block(f"{tower}.encoder.layers.{match[2]}", match[3], value)
        else:
            raise EdgeclipError(f"{name} has no place in Hugging Face's CLIP layout: it holds plain ViT towers alone")
    if missing := {*SINGLE.values(), *FLIPPED.values()} - renamed.keys():
        raise EdgeclipError(f"no {sorted(missing)[0]} in this model: Hugging Face's CLIP layout holds plain ViTs alone")
    return renamed


def _of_block(prefix: str, name: str, value: Tensor) -> dict[str, Tensor]:
    """One weight of a block; attention's joint projection becomes three."""
    if name.startswith("attn.in_proj_"):
        kind = name.removeprefix("attn.in_proj_")
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{prefix}.self_attn.{letter}_proj.{kind}": part.contiguous() for letter, part in parts}
    module, _, kind = name.rpartition(".")
    if module not in BLOCK:
        raise EdgeclipError(f"{name} has no place in Hugging Face's CLIP layout: it holds plain ViT blocks alone")
    return {f"{prefix}.{BLOCK[module]}.{kind}": value.contiguous()}


def _config(model: OpenClipEncoder, weights: dict[str, Tensor]) -> dict[str, Any]:
    """CLIPConfig, as far as it differs from its defaults; sizes are read off the weights."""
    clip: Any = model.model
    text = getattr(clip, "text", clip)
    act = "quick_gelu" if model.config.get("quick_gelu") else "gelu"
    pool = model.config["text_cfg"].get("pool_type", "argmax")
    visual = clip.visual
    if pool != "argmax" or getattr(visual, "pool_type", "tok") != "tok" or getattr(visual, "attn_pool", None):
        raise EdgeclipError("its pooling has no place in Hugging Face's CLIP layout: it takes the class token")
    vision = _sizes(weights, "vision_model") | {
        "image_size": model.image_size,
        "patch_size": weights[SINGLE["visual.conv1.weight"]].shape[-1],
        "num_attention_heads": visual.transformer.resblocks[0].attn.num_heads,
    }
    texts = _sizes(weights, "text_model") | {
        "max_position_embeddings": model.context_length,
        "vocab_size": weights[SINGLE["token_embedding.weight"]].shape[0],
        "num_attention_heads": text.transformer.resblocks[0].attn.num_heads,
        "eos_token_id": 2,  # in words of that library: the last token is where the largest id is, as in open_clip
    }
    shared = {"hidden_act": act, "projection_dim": model.embed_dim, "layer_norm_eps": 1e-5}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": model.embed_dim,
        "logit_scale_init_value": model.model.logit_scale.detach().item(),
        "vision_config": {"model_type": "clip_vision_model", **shared, **vision},
        "text_config": {"model_type": "clip_text_model", **shared, **texts},
        "torch_dtype": "float32",
    }


def _sizes(weights: dict[str, Tensor], tower: str) -> dict[str, int]:
    hidden, width = weights[f"{tower}.encoder.layers.0.mlp.fc1.weight"].shape
    layers = {name.split(".")[3] for name in weights if name.startswith(f"{tower}.encoder.layers.")}
    return {"hidden_size": width, "intermediate_size": hidden, "num_hidden_layers": len(layers)}


def _preprocessor(model: OpenClipEncoder) -> dict[str, Any]:
    """CLIPImageProcessor's settings for this model's preprocessing."""
    preprocess = model.preprocess_cfg
    if preprocess["resize_mode"] == "longest":
        raise EdgeclipError("preprocessing that pads has no place in Hugging Face's CLIP layout")
    size = preprocess["size"]
    squash = preprocess["resize_mode"] == "squash"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size} if squash else {"shortest_edge": size},
        "do_center_crop": not squash,
        "crop_size": {"height": size, "width": size},
        "resample": {"bicubic": 3, "bilinear": 2}[preprocess["interpolation"]],
        "do_convert_rgb": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }
