"""docs/architecture.md speaks of what is there, and its examples run."""

import io
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from edgeclip.images.datasets import open_dataset

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
DRAWING = runpy.run_path(str(ROOT / "docs/images/rooms.py"))


@pytest.fixture(scope="module")
def names(teacher, labelled_dir, tmp_path_factory):
    """What the examples leave."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    names = {"picture": picture.getvalue(), "encoder": teacher, "dataset": open_dataset(labelled_dir)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("architecture"))
        for block in BLOCKS:
            exec(compile(block, "architecture.md", "exec"), names)
    return names


def test_the_examples_do_what_they_say(names):
    assert len(BLOCKS) == 4
    assert (len(names["source"]), names["source"].read(0), names["source"].key(0)) == (1, names["picture"], "a.png")
    assert float(names["loss"]) == pytest.approx(0.0)
    assert names["figures"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert (names["again"].name, names["again"].opened_as) == ("my-board", "my-board.toml")


def test_the_picture_is_of_todays_rooms():
    drawn = (ROOT / "docs/images/rooms.svg").read_text(encoding="utf-8")
    assert drawn == DRAWING["draw"](), "python docs/images/rooms.py draws it anew"


def test_the_table_lists_every_room():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) and sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == sorted(
        DRAWING["rooms"]()
    )


def test_the_files_that_it_names_are_there():
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 10
    for name in named:
        assert any((ROOT / folder / name).is_file() for folder in ("", "edgeclip")), name
