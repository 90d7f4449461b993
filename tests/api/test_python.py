"""docs/python.md, run block by block: every command has its function there."""

import ast
import re
import shutil
from pathlib import Path

import pytest

import edgeclip
from edgeclip.cli import main
from edgeclip.device.facts import describe_device
from edgeclip.distillation.run import Run
from edgeclip.profiling.store import load_profile

PAGE = Path(__file__).parents[2] / "docs/python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
# Commands whose function has another name, or which list what a function returns.
NAMED = {"eval": "evaluate", "profiles": "list_profiles", "teachers": "list_teachers", "texts": "select_texts"}
DATA, FREE = edgeclip.TrainingData("photos", "sentences.txt"), edgeclip.SelectConfig(edgeclip.Budget())
QUICK = {
    "epochs=100": 'epochs=1, batch_size=20, views=1, tracker="none"',
    'edgeclip.profile("my-laptop")': 'edgeclip.load_profile("measured.toml")',
    'MeasureConfig(precisions=["fp32"])': 'MeasureConfig(precisions=["fp32"], seconds=0.1)',
    "budget=budget)": "budget=budget, config=edgeclip.ReportConfig(seconds=0.1))",
    "top=3)": "top=3, measure=False, max_image_size=32)",
    "latency_ms=20": "latency_ms=0.3",
}


@pytest.fixture
def folder(tmp_path, images_dir, texts_file, labelled_dir, monkeypatch):
    """A reader's folder, with a profile of this machine as the probe would have written it."""
    shutil.copytree(images_dir, tmp_path / "photos")
    shutil.copytree(labelled_dir, tmp_path / "testset")
    shutil.copy(texts_file, tmp_path / "sentences.txt")
    own = {"device": describe_device(), "budget": edgeclip.Budget()}
    profile = load_profile("x86-avx2-2core").model_copy(update=own)
    profile.save(tmp_path / "measured.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(block, names):
    """Run a block as a notebook does; the value of its last line, where that is an expression."""
    *before, last = ast.parse(block).body
    exec(compile(ast.Module(before, []), "python.md", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "python.md", "eval"), names)
    return exec(compile(ast.Module([last], []), "python.md", "exec"), names)


@pytest.mark.usefixtures("few_samples")
@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(folder, teacher_dir, capsys):
    names, values = {}, []
    text = "\0".join(BLOCKS).replace("ViT-B-16:openai", f"local-dir:{teacher_dir}")
    for old, new in QUICK.items():
        assert old in text, "the page has changed"
        text = text.replace(old, new)
    for block in text.split("\0"):
        values.append(shown(block, names))
    assert isinstance(names["run"], Run) and names["run"].document.status == "finished"
    first = names["students"][0]
    assert repr(names["run"]) == f"Run(runs/mine: {first.name}, {first.precision}, finished)"
    assert repr(names["profile"]).startswith("Profile(x86-avx2-2core: measured; ")
    assert repr(first).endswith(" ms predicted)")
    assert repr(names["bundle"]).startswith("Bundle(bundles/mine: fp32 ")
    assert "<td>image.int8.onnx</td>" in names["bundle"]._repr_html_()
    assert repr(names["report"]).startswith("Report(mine: ") and "exported" in repr(names["report"])
    assert names["report"]._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert {row.stage for row in names["report"].rows} >= {"teacher", "student fp32", "exported fp32"}
    command = "edgeclip report bundles/mine --profile measured.toml --dataset testset "
    assert names["report"].commands[-1].startswith(command)
    assert (folder / "reports/mine/report.html").is_file()
    assert names["images"].shape == (1, names["encoder"].embed_dim)
    assert [row.model for row in names["kept"].rows][1:] == ["runs/mine", "bundles/mine"]
    assert names["changes"] and not any(change.regressed for change in names["changes"]), "a report beside itself"
    assert any(line.startswith("zero-shot") for line in names["lines"]), names["lines"]
    assert "no student fits" in capsys.readouterr().out


def test_every_command_is_a_function():
    for name in main.commands:
        assert callable(getattr(edgeclip, NAMED.get(name, name))), name


def test_what_is_listed_is_there():
    assert set(edgeclip.__all__) <= set(dir(edgeclip))
    for name in edgeclip.__all__:
        assert getattr(edgeclip, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        edgeclip.distil


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: edgeclip.TrainingData("photos"), "give either texts or classes"),
        (lambda: edgeclip.TrainingData("photos", Path("a.txt"), Path("b.txt")), "give either texts or classes"),
        (lambda: edgeclip.TrainingData("photos", Path("a.txt"), templates="openai"), "templates are for classes"),
        (lambda: edgeclip.select("jetson-nothing"), "no profile is called"),
        (
            lambda: edgeclip.select(load_profile("x86-avx2-2core").model_copy(update={"budget": edgeclip.Budget()})),
            "no budget",
        ),
        (lambda: edgeclip.compare("one"), "compare needs two or more reports"),
        (lambda: edgeclip.retention("one", dataset="d"), "retention needs two models"),
        (lambda: edgeclip.evaluate("m", "d", suite="openmoji"), "either a data set or a suite"),
        (lambda: edgeclip.distill("measured.toml", [], DATA, "out", selection=FREE), "no teacher"),
        (lambda: edgeclip.export("absent/run", "out"), "no such run"),
    ],
)
def test_a_mistake_is_one_line(call, complaint, folder):
    with pytest.raises(edgeclip.EdgeclipError, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)
