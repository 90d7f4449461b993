"""What open_clip loads, edgeclip loads the same: one config of each kind here, all of them in the benchmark."""

import importlib
from pathlib import Path

import open_clip
import pytest

from edgeclip.models.openclip import OpenClipEncoder


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("openclip_parity")


QUICK = {
    "ViT-B-16-SigLIP2": "a bias, sigmoids, sentence pieces",
}
ALL = (
    *(
        "coca_ViT-B-32",  # a caption decoder, left out
        "ViT-B-32",
        "RN50-quickgelu",
        "MobileCLIP-S1",
        "coca_roberta-ViT-B-32",
        "convnext_base",
        "EVA02-B-16",
        "MobileCLIP-B",
        "nllb-clip-base",
    ),
    *("PE-Core-B-16", "roberta-ViT-B-32", "swin_base_patch4_window7_224", "ViT-B-16-SigLIP-i18n-256"),
    *("ViT-L-14-CLIPA", "ViT-H-14-worldwide-quickgelu", "ViT-L-14-worldwide", "vit_relpos_medium_patch16_cls_224"),
    *("ViTamin-S", "xlm-roberta-base-ViT-B-32", "vit_medium_patch16_gap_256", "EVA01-g-14", "MobileCLIP2-S3"),
)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in ALL)])
def test_pixels_ids_embeddings_and_probabilities_are_open_clips(name, parity, tmp_path):
    row = parity.examine(name, tmp_path)
    assert row.outcome == "equal"
    seen = {"image", "text", "student text", "bundle image", "bundle text"}
    assert all(row.figures[key] >= 0.999999 for key in seen)
    assert all(row.figures[key] == 0 for key in ("ids", "student ids", "bundle ids"))


@pytest.mark.parametrize(
    "name", ["ViT-B-32-quickgelu", "ViT-B-16", pytest.param("ViT-B-16-SigLIP", marks=pytest.mark.slow)]
)
def test_a_fault_is_seen(name, parity, tmp_path, monkeypatch):
    """Another activation, another mean, another bias: each small, and each of them another model."""
    load = OpenClipEncoder.load

    def wrong(teacher):
        encoder = load(teacher)
        if encoder.logit_bias is not None:
            encoder.model.logit_bias.data += 0.01
        elif encoder.config.get("quick_gelu"):
            config = {key: value for key, value in encoder.config.items() if key != "quick_gelu"}
            other = open_clip.model.CLIP(**config)
            other.load_state_dict(encoder.model.state_dict())
            encoder.model = other.eval()
        else:
            return OpenClipEncoder(
                encoder.model, encoder.config, {**encoder.preprocess_cfg, "mean": (0.01,) * 3}, encoder.tokenizer
            )
        return encoder

    monkeypatch.setattr(OpenClipEncoder, "load", staticmethod(wrong))
    assert parity.examine(name, tmp_path).outcome.startswith("DIFFERENT: ")
