"""Weights that are not what they should be."""

import json

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.files import refuse_stub
from edgeclip.models.openclip import OpenClipEncoder

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture
def copy(teacher_dir, tmp_path):
    """A model's folder whose weights hold something else."""

    def make(content):
        for file in teacher_dir.iterdir():
            whole = file.read_bytes()
            (tmp_path / file.name).write_bytes(content(whole) if file.suffix == ".safetensors" else whole)
        return tmp_path

    return make


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (POINTER, "git lfs pull")])
def test_what_stands_where_weights_should(content, told, copy):
    folder = copy(lambda whole: content)
    with pytest.raises(EdgeclipError, match=told):
        OpenClipEncoder.load(f"local-dir:{folder}")
    with pytest.raises(EdgeclipError, match=told):
        refuse_stub(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize("size", [5, 2000, -100])
def test_weights_that_are_cut_are_one_line(size, copy):
    folder = copy(lambda whole: whole[:size])
    with pytest.raises(EdgeclipError, match="damaged or truncated") as told:
        OpenClipEncoder.load(f"local-dir:{folder}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("setting", [{"exif": 5}, {"ground": "#fff"}, {"fill_color": 999}, {"mean": [9, 9, 9]}])
def test_preprocessing_that_cannot_be_is_one_line_with_its_name(setting, copy):
    folder = copy(lambda whole: whole)
    config = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": setting}))
    with pytest.raises(EdgeclipError, match=f"{folder}: its preprocessing cannot be so: {next(iter(setting))}") as told:
        OpenClipEncoder.load(f"local-dir:{folder}")
    assert "\n" not in str(told.value)
