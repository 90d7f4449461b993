"""Towers in ONNX, made once: a small ViT and a small convolutional net, with pixels to calibrate and to judge them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class Tower:
    """An fp32 graph, the open_clip model that it came from, and pixels float32 ``[24, 3, 32, 32]``."""

    file: Path
    model: object
    pixels: np.ndarray


@pytest.fixture(scope="session")
def pixels():
    """Blobs rather than noise: what a tower makes of them differs from image to image."""
    draw = np.random.default_rng(0)
    coarse = draw.standard_normal((24, 3, 4, 4)).astype(np.float32)
    return np.ascontiguousarray(coarse.repeat(8, axis=2).repeat(8, axis=3)) + 0.1 * draw.standard_normal(
        (24, 3, 32, 32)
    ).astype(np.float32)


@pytest.fixture(scope="session")
def wide_vit(pixels, tmp_path_factory):
    """A ViT whose weights weigh more than what an engine holds beside them."""
    import open_clip
    import torch

    from edgeclip.exporting.towers import export_image_tower

    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 8, "width": 256, "layers": 3, "head_width": 64}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1}
    model = open_clip.model.CustomTextCLIP(32, vision, text).eval()
    file = tmp_path_factory.mktemp("wide") / "image.fp32.onnx"
    export_image_tower(model, file, image_size=32)
    return Tower(file, model, pixels)


@pytest.fixture(scope="session")
def vit(teacher, pixels, tmp_path_factory):
    from edgeclip.exporting.towers import export_image_tower

    file = tmp_path_factory.mktemp("vit") / "image.fp32.onnx"
    export_image_tower(teacher.model, file, image_size=32)
    return Tower(file, teacher.model, pixels)


@pytest.fixture(scope="session")
def conv(pixels, tmp_path_factory):
    """A small ResNet: BatchNorm in training, convolutions alone once exported."""
    import open_clip
    import torch

    from edgeclip.exporting.towers import export_image_tower

    torch.manual_seed(0)
    vision = {"timm_model_name": "resnet10t", "timm_model_pretrained": False, "timm_pool": "avg", "image_size": 32}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1}
    model = open_clip.model.CustomTextCLIP(32, {**vision, "timm_proj": "linear"}, text)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the average of what was seen, and not of that and nothing
    with torch.no_grad():
        model.visual(torch.from_numpy(pixels))
    model.eval()
    file = tmp_path_factory.mktemp("conv") / "image.fp32.onnx"
    export_image_tower(model, file, image_size=32)
    return Tower(file, model, pixels)
