import pytest

from edgeclip.base.documents import read_document
from edgeclip.base.errors import FormatError
from edgeclip.distillation.config import DistillConfig


def test_a_preset_is_a_name_for_weights():
    assert DistillConfig(weights="dime-fm").weights.vl == 0.7
    assert DistillConfig(weights="dime-fm-paper").weights.udist == 0.1
    with pytest.raises(ValueError, match="no preset 'dime'"):
        DistillConfig(weights="dime")


def test_a_config_reports_every_fault(tmp_path):
    (tmp_path / "c.toml").write_text(
        'format = "edgeclip-distill"\nversion = 1\nepochs = 0\nlr = -1\ninit = "x.pth"\n'
        "[weights]\nvl = 0.0\npvl = 0.0\n"
    )
    with pytest.raises(FormatError, match="4 fault"):
        read_document(tmp_path / "c.toml", DistillConfig)


def test_a_text_shape_wants_a_text_tower():
    with pytest.raises(ValueError, match="text_tower"):
        DistillConfig(text_shape={"width": 16, "layers": 1, "heads": 1})
    with pytest.raises(ValueError, match="multiple of heads"):
        DistillConfig(text_tower="student", text_shape={"width": 16, "layers": 1, "heads": 3})
