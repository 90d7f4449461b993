"""Files whose names are no UTF-8, as an old disk leaves them: they work, and are shown as what they are."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.run import Run
from edgeclip.distillation.teachers import as_teacher
from edgeclip.exporting import export
from edgeclip.exporting.plan import ExportPlan
from edgeclip.images.sources import find_images

from .test_cli import run

SHORT = DistillConfig(epochs=1, batch_size=10, views=1, tracker="none")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are text there")


def named(folder, name):
    """A path of bytes that are no UTF-8."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


@pytest.fixture
def odd(tmp_path, images_dir, texts_file):
    folder = named(tmp_path, b"im\xff\xe9g")
    folder.mkdir()
    for number, file in enumerate(sorted(images_dir.iterdir())):
        shutil.copyfile(file, named(folder, b"p\xfe%d.png" % number))
    named(folder, b"brok\xfden.png").write_bytes(b"no image")
    shutil.copyfile(texts_file, named(tmp_path, b"words\xff.txt"))
    for color in (b"r\xe9d", b"blue"):
        inner = named(tmp_path / "held", color)
        inner.mkdir(parents=True)
        Image.new("RGB", (40, 40), "red" if color != b"blue" else "blue").save(named(inner, b"1\xfe.png"))
    return folder


@pytest.mark.slow
def test_from_images_to_a_bundle(odd, spec, teacher, tmp_path, capsys):
    texts = named(tmp_path, b"words\xff.txt")
    made = distill(spec, [as_teacher("tiny", teacher)], TrainingData(odd, texts), tmp_path / "run", config=SHORT)
    again = Run.open(made.path)
    assert Path(again.document.images) == odd, "the run finds its images again"
    assert again.document.figures.skipped == [os.fsdecode(b"brok\xfden.png")]
    files = find_images(Path(again.document.images))
    facts = {"source": str(odd), "calibration": files}
    bundle = export(again.encoder(), tmp_path / "b", **facts, plan=ExportPlan(precisions=()))
    assert json.loads((bundle.path / "bundle.json").read_text("utf-8"))["source"] == str(odd)
    again = distill(
        spec, [as_teacher("tiny", teacher)], TrainingData(odd, texts), tmp_path / "run", config=SHORT, resume=True
    )
    assert again.document.status == "finished"


def test_commands_show_them(odd, bundle, tmp_path):
    (blue,) = list((tmp_path / "held/blue").iterdir())
    run("classify", bundle.path, blue, "--labels", "red,blue", "--json")
    run("eval", bundle.path, "--dataset", odd.parent / "held", "--json")
    # In a terminal of its own: what a test's streams take is not what a real one takes.
    command = [sys.executable, "-m", "edgeclip", "classify", bundle.path, blue, "--labels", "red,blue"]
    table = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")
    assert "\\udcfe.png" in table
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert Path(told[0]["image"]) == blue


def test_output_below_such_a_name_is_refused_at_once(spec, teacher, images_dir, texts_file, tmp_path):
    out = named(tmp_path, b"ru\xffn")
    with pytest.raises(EdgeclipError, match="not UTF-8: choose another --out"):
        distill(spec, [as_teacher("tiny", teacher)], TrainingData(images_dir, texts_file), out, config=SHORT)
    assert not out.exists()
