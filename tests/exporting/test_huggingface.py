"""Hugging Face's CLIP layout: transformers reads it and gives the same embeddings."""

import numpy as np
import pytest
import torch

from edgeclip.base.errors import EdgeclipError
from edgeclip.exporting.huggingface import write_huggingface
from edgeclip.models.openclip import OpenClipEncoder

TEXTS = ["a red thing", "two dogs and a cat", ""]


def test_transformers_gives_the_same_embeddings(teacher, pixels, tmp_path):
    transformers = pytest.importorskip("transformers")
    write_huggingface(teacher, tmp_path / "hf")
    model = transformers.CLIPModel.from_pretrained(tmp_path / "hf").eval()
    ids = torch.as_tensor(teacher.tokenizer(TEXTS))
    with torch.inference_mode():
        found = model(input_ids=ids, pixel_values=torch.from_numpy(pixels))
    assert np.abs(found.image_embeds.numpy() - teacher.encode_pixels(pixels)).max() < 1e-5
    assert np.abs(found.text_embeds.numpy() - teacher.encode_text(TEXTS)).max() < 1e-5
    assert model.logit_scale.detach().exp().item() == pytest.approx(teacher.logit_scale)


def test_what_the_layout_cannot_hold_is_refused(conv, teacher, tmp_path):
    other = OpenClipEncoder(conv.model, teacher.config, teacher.preprocess_cfg, teacher.tokenizer)
    with pytest.raises(EdgeclipError, match="plain ViT"):
        write_huggingface(other, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()
