"""Weights that are not what they should be."""

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
