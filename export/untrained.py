"""The graph of a student that nobody has trained yet: latency does not depend on the weights' values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..base.scratch import scratch_folder
from ..device.facts import target_here
from ..models.build import build_model
from ..towers.spec import StudentSpec
from .fp16 import convert_fp16
from .int8 import quantize_int8, recipe_for
from .towers import export_image_tower

TEXT = {"context_length": 8, "vocab_size": 8, "width": 32, "heads": 1, "layers": 1}  # never exported
NOISE_IMAGES = 8


def export_untrained(spec: StudentSpec, path: Path, *, embed_dim: int = 512) -> None:
    """Write the untrained image tower of ``spec`` to ``path``, in the spec's precision.

    Raises:
        EdgeclipError: open_clip refuses the config, or torch cannot export the tower.
    """
    with scratch_folder() as scratch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, _ = build_model(spec, embed_dim=embed_dim, text_cfg=TEXT)
        fp32 = path if spec.precision == "fp32" else Path(scratch) / "fp32.onnx"
        export_image_tower(model.eval(), fp32, image_size=spec.image_size)
        if spec.precision == "fp16":
            convert_fp16(fp32, path)
        elif spec.precision == "int8":
            shape = (NOISE_IMAGES, 3, spec.image_size, spec.image_size)
            pixels = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
            quantize_int8(fp32, path, pixels, recipe_for(spec.target or target_here()))
