"""Cut-outs are told before a student learns what they hide."""

import io

import pytest
from PIL import Image

from edgeclip.data.transparency import say_transparent


class Pictures:
    """Some of 40 pictures are transparent, the others are not."""

    def __init__(self, clear, mode="RGBA"):
        self.clear, self.mode = clear, mode

    def __len__(self):
        return 40

    def read(self, row):
        picture, content = Image.new("RGBA", (20, 20), (9, 9, 9, 255)), io.BytesIO()
        if row < self.clear:
            picture.paste((0, 0, 0, 0), (0, 0, 10, 20))
        (picture.quantize(4) if self.mode == "P" else picture.convert(self.mode)).save(content, "PNG")
        return content.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_many_cut_outs_are_told_with_the_way_out(mode, capsys):
    say_transparent(Pictures(10, mode))
    said = capsys.readouterr().err
    assert "10 of 40 looked at are transparent" in said and 'ground = "ffffff"' in said


@pytest.mark.parametrize("pictures", [Pictures(9), Pictures(40, "RGB")], ids=["a few", "none"])
def test_of_a_few_nothing_is_said(pictures, capsys):
    say_transparent(pictures)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_read_is_no_cut_out(capsys):
    broken = Pictures(0)
    broken.read = lambda row: b"no picture"
    say_transparent(broken)
    assert capsys.readouterr().err == ""
