"""Cut-outs on a ground: from training to the device and the report, everybody sees the same pictures."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgeclip.api import bundle as api
from edgeclip.api.proof import EvaluationTask, evaluate
from edgeclip.base.decode import read_image
from edgeclip.chain.sources import earlier_stages
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.run import Run
from edgeclip.distillation.teachers import as_teacher

SHORT = DistillConfig(epochs=1, batch_size=8, views=1, warmup_epochs=0, tracker="none")


@pytest.fixture
def cut_outs(tmp_path):
    """Twenty squares on nothing, where black is hidden."""
    folder = tmp_path / "cut-outs"
    folder.mkdir()
    for number in range(20):
        picture = Image.new("RGBA", (40, 40))
        picture.paste((12 * number, 200, 90, 255), (10, 10, 30, 30))
        picture.save(folder / f"{number:02d}.png")
    return folder


def flat(file):
    picture = read_image(file)
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def test_from_training_to_the_report(cut_outs, spec, teacher, teacher_dir, texts_file, tmp_path, capsys):
    data = TrainingData(cut_outs, texts_file, store=tmp_path / "store")
    config = SHORT.model_copy(update={"ground": "ffffff"})
    distill(spec, [as_teacher("tiny", teacher)], data, tmp_path / "run", config=config)
    assert "transparent" not in capsys.readouterr().err
    run, one = Run.open(tmp_path / "run"), cut_outs / "03.png"
    student = run.encoder()
    assert np.allclose(student.encode_image(one), student.encode_image(flat(one)), atol=2e-3)

    bundle = api.export(run, tmp_path / "bundle", calibration=cut_outs, config=api.ExportConfig(precisions=()))
    assert bundle.manifest.preprocess.ground == "ffffff"
    assert np.allclose(bundle.encoder().encode_image(one), student.encode_image(flat(one)), atol=2e-3)
    command = [sys.executable, bundle.path / "run.py", "classify", one, "--labels", "a cat,a dog"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    expected = bundle.classify([flat(one)], ["a cat", "a dog"])[0]
    assert dict(told["images"][0]["labels"])["a cat"] == pytest.approx(expected[0], abs=5e-3)

    judged = earlier_stages(bundle, f"local-dir:{teacher_dir}", None, None, apart=False)[0].encoder
    assert np.allclose(judged.encode_image([read_image(one)]), teacher.encode_image(flat(one)), atol=2e-3)
    assert not np.allclose(teacher.encode_image(one), teacher.encode_image(flat(one)), atol=2e-2)


def test_without_one_many_cut_outs_are_told(cut_outs, spec, teacher, texts_file, tmp_path, capsys):
    data = TrainingData(cut_outs, texts_file, store=tmp_path / "store")
    distill(spec, [as_teacher("tiny", teacher)], data, tmp_path / "run", config=SHORT)
    assert "20 of 20 looked at are transparent in part" in capsys.readouterr().err
    assert "ground" not in Run.open(tmp_path / "run").encoder().preprocess_cfg


def test_an_export_may_choose_another(cut_outs, teacher_dir, tmp_path):
    config = api.ExportConfig(precisions=(), ground="0000ff")
    bundle = api.export(f"local-dir:{teacher_dir}", tmp_path / "b", calibration=cut_outs, config=config)
    assert bundle.manifest.preprocess.ground == "0000ff"


def test_an_evaluation_on_a_ground_says_so(cut_outs, teacher_dir, tmp_path):
    for name in ("a cat", "a dog"):
        shutil.copytree(cut_outs, tmp_path / "labelled" / name)
        (tmp_path / "labelled" / name / "00.png").rename(tmp_path / "labelled" / name / f"{name}.png")
    task = EvaluationTask(ground="ffffff", keep_duplicates=True)
    (score,) = evaluate(f"local-dir:{teacher_dir}", dataset=tmp_path / "labelled", task=task).scores
    assert "transparent pixels lie on ffffff" in score.remarks
    (score,) = evaluate(f"local-dir:{teacher_dir}", dataset=tmp_path / "labelled").scores
    assert not any("transparent" in remark for remark in score.remarks)
