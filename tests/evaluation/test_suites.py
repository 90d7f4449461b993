"""Suites: the numbers of the authors' lists, what is missing, masks; and what distillation kept."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError
from edgeclip.comparison.retention import Retention, retention
from edgeclip.evaluation import evaluate
from edgeclip.evaluation import suite as suite_module
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.probe import halves
from edgeclip.evaluation.results import Evaluation
from edgeclip.evaluation.suite import evaluate_suite, load_suite, only, suites
from edgeclip.evaluation.tasks import EvaluationTask, score
from edgeclip.evaluation.zeroshot import classify
from edgeclip.images.datasets import open_dataset
from edgeclip.reporting.confusion import confusion_svg

from ..images.test_layouts import png
from ..test_cli import run
from .test_zeroshot import COLOURS, ColourEncoder

# As the authors of ELEVATER publish them: metric, classes, templates, test images.
ELEVATER = {
    "caltech-101": ("mean-per-class", 102, 34, 6084),
    "cifar-10": ("accuracy", 10, 18, 10000),
    "cifar-100": ("accuracy", 100, 18, 10000),
    "country211": ("accuracy", 211, 5, 21100),
    "dtd": ("accuracy", 47, 8, 1880),
    "eurosat": ("accuracy", 10, 3, 5000),
    "fer-2013": ("accuracy", 7, 6, 3589),
    "fgvc-aircraft": ("mean-per-class", 100, 2, 3333),
    "food-101": ("accuracy", 101, 1, 25250),
    "gtsrb": ("accuracy", 43, 3, 12630),
    "hateful-memes": ("roc-auc", 2, 1, 500),
    "kitti-distance": ("accuracy", 4, 1, 711),
    "mnist": ("accuracy", 10, 1, 10000),
    "flowers-102": ("mean-per-class", 102, 1, 6149),
    "pets": ("mean-per-class", 37, 1, 3669),
    "patch-camelyon": ("accuracy", 2, 1, 32768),
    "rendered-sst2": ("accuracy", 2, 1, 1821),
    "resisc45": ("accuracy", 45, 18, 25200),
    "stanford-cars": ("accuracy", 196, 8, 8041),
    "voc-2007": ("map-11", 20, 1, 4952),
}
# Test images as the authors' own tests have them; CLIP_benchmark takes all of SUN397.
VTAB = {
    "caltech101": 6084,
    "cifar100": 10000,
    "clevr-closest-object-distance": 15000,
    "clevr-count-all": 15000,
    "diabetic-retinopathy": 42670,
    "dmlab": 22735,
    "dsprites-label-orientation": 73728,
    "dsprites-label-x-position": 73728,
    "dtd": 1880,
    "eurosat": 5400,
    "flowers": 6149,
    "kitti-closest-vehicle-distance": 711,
    "pcam": 32768,
    "pets": 3669,
    "resisc45": 6300,
    "smallnorb-label-azimuth": 12150,
    "smallnorb-label-elevation": 12150,
    "sun397": None,
    "svhn": 26032,
}
ROBUSTNESS = {"imagenet-v2": 1000, "imagenet-a": 200, "imagenet-r": 200, "imagenet-sketch": 1000, "objectnet": 113}


def test_elevater_is_the_authors_list():
    suite = load_suite("elevater")
    assert {e.name: (e.metric, e.classes, e.templates, e.images) for e in suite.datasets} == ELEVATER
    assert sum(e.classes for e in suite.datasets) == 1151
    assert sum(e.templates for e in suite.datasets) == 132


def test_robustness_is_the_authors_list():
    entries = {e.name: e for e in load_suite("robustness").datasets}
    assert {name: e.classes for name, e in entries.items()} == ROBUSTNESS
    assert {e.templates for e in entries.values()} == {80}
    masks = {name: e.mask for name, e in entries.items() if e.mask}
    assert {name: len(set(mask)) for name, mask in masks.items()} == {
        "imagenet-a": 200,
        "imagenet-r": 200,
        "objectnet": 113,
    }
    for name in ("imagenet-a", "imagenet-r"):
        assert masks[name] == sorted(masks[name])
        assert masks[name][0] >= 0 and masks[name][-1] < 1000


def test_the_masks_are_clip_benchmarks_too():
    builder = pytest.importorskip("clip_benchmark.datasets.builder")
    import ast
    import re

    text = Path(builder.__file__).read_text()
    every = builder.all_imagenet_wordnet_ids
    for name in ("a", "r"):
        found = re.search(rf"imagenet_{name}_wnids = ([\[{{].*?[\]}}])", text)
        wnids = set(ast.literal_eval(found[1]))
        (entry,) = (e for e in load_suite("robustness").datasets if e.name == f"imagenet-{name}")
        assert entry.mask == [row for row, wnid in enumerate(every) if wnid in wnids]


def test_a_mask_keeps_some_classes_and_their_images(tmp_path):
    for key, colour in COLOURS.items():
        (tmp_path / key).mkdir()
        (tmp_path / key / "1.png").write_bytes(png(colour))
    (tmp_path / "classnames.txt").write_text("".join(f"{key}\t{name}\n" for key, name in COLOURS.items()))
    data = only(open_dataset(tmp_path), [2, 0])
    assert (data.classnames, len(data), [label for _, label in data]) == (["blue", "red"], 2, [1, 0])
    assert evaluate(ColourEncoder(), data).top1 == 1
    assert only(open_dataset(tmp_path), ["Red"]).classnames == ["red"]
    with pytest.raises(EdgeclipError, match="no class 'mauve'"):
        only(open_dataset(tmp_path), ["mauve"])


@pytest.fixture
def own_suite(tmp_path):
    """A suite of two sets, of which one is at hand, with fewer templates than its authors have."""
    for label, colour in enumerate(COLOURS.values()):
        (tmp_path / "data/here" / f"{label}").mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(tmp_path / "data/here" / f"{label}" / "1.png")
    suite = tmp_path / "own.toml"
    suite.write_text(
        'format = "edgeclip-suite"\nversion = 1\nname = "own"\ntitle = "two"\nsources = []\n'
        '[[datasets]]\nname = "here"\ntitle = "h"\nmetric = "mean-per-class"\nclasses = 3\ntemplates = 7\nget = "x"\n'
        '[[datasets]]\nname = "gone"\ntitle = "g"\nmetric = "accuracy"\nget = "https://example.org/gone"\n'
    )
    return suite


def test_what_is_missing_is_named_and_the_rest_runs(own_suite, teacher_dir, tmp_path):
    command = ["eval", f"local-dir:{teacher_dir}", "--suite", own_suite, "--data", tmp_path / "data"]
    told = json.loads(run(*command, "--json", "--out", tmp_path / "eval.json").stdout)
    (score,) = told["scores"]
    assert (score["dataset"], score["metric"], score["images"]) == ("here", "mean-per-class", 3)
    assert score["value"] == score["mean_per_class"] == told["mean"]
    assert score["low"] <= score["value"] <= score["high"]
    assert score["remarks"][0] == "1 templates, where its authors have 7"
    assert score["remarks"][1].startswith("top-1 is not clearly above chance"), "three images cannot be"
    assert told["missing"] == [{"dataset": "gone", "why": "not found; get it: https://example.org/gone"}]
    assert json.loads((tmp_path / "eval.json").read_text())["scores"] == told["scores"]
    table = run(*command).stdout
    assert "gone: not measured: not found; get it: https://example.org/gone" in table
    assert "mean of 1 of 2 sets" in table


def test_a_suite_of_which_nothing_is_there(own_suite, teacher_dir, tmp_path):
    result = run("eval", f"local-dir:{teacher_dir}", "--suite", own_suite, expect=2)
    assert "none of own's sets is at hand" in result.stderr
    assert "did you mean elevater" in run("eval", "demo", "--suite", "elevator", expect=2).stderr
    assert suites() == ["elevater", "imagenet", "openmoji", "robustness", "vtab"]


def test_a_suite_that_was_cut_goes_on_after_the_sets_that_were_measured(own_suite, teacher_dir, tmp_path, monkeypatch):
    suite = tmp_path / "two.toml"
    suite.write_text(own_suite.read_text().replace('name = "gone"', 'name = "again"'))
    shutil.copytree(tmp_path / "data/here", tmp_path / "data/again")
    command = ["eval", f"local-dir:{teacher_dir}", "--suite", suite, "--data", tmp_path / "data"]
    command += ["--out", tmp_path / "eval.json"]
    measured = []

    def stops_at_the_second(encoder, model, dataset, *rest):
        measured.append(dataset.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return score(encoder, model, dataset, *rest)

    monkeypatch.setattr(suite_module, "score", stops_at_the_second)
    assert "resume after the data sets that are done" in run(*command, expect=130).stderr
    assert not (tmp_path / "eval.json").exists()
    told = run(*command).stderr
    assert "1 set(s) are measured already" in told
    assert measured == ["here", "again", "again"]
    scores = json.loads((tmp_path / "eval.json").read_text())["scores"]
    assert [one["dataset"] for one in scores] == ["here", "again"]
    assert sorted(path.name for path in tmp_path.glob("eval.json*")) == ["eval.json"]


def test_what_was_measured_of_another_model_is_not_taken_for_this_one(own_suite, teacher, tmp_path, capsys):
    suite, part = load_suite(str(own_suite)), tmp_path / "part.json"
    evaluate_suite(teacher, "t", suite, tmp_path / "data", EvaluationTask(), part=part)
    own = read_document(part, Evaluation)
    own.model_copy(update={"of": "another"}).save(part)
    evaluate_suite(teacher, "t", suite, tmp_path / "data", EvaluationTask(), part=part)
    assert "is of another evaluation" in capsys.readouterr().err


def test_vtab_is_clip_benchmarks_list():
    builder = pytest.importorskip("clip_benchmark.datasets.builder")
    folder = Path(builder.__file__).parent
    names, templates = (
        json.loads((folder / f"en_{what}.json").read_text())
        for what in ("classnames", "zeroshot_classification_templates")
    )
    entries = {entry.name.replace("-", "_"): entry for entry in load_suite("vtab").datasets}
    assert set(entries) == {name.removeprefix("vtab/") for name in builder.dataset_collection["vtab"]}
    assert {entry.name: entry.images for entry in entries.values()} == VTAB
    for name, entry in entries.items():
        assert entry.templates == len(templates[name])
        assert entry.hub == f"clip-benchmark/wds_{name if name == 'sun397' else f'vtab-{name}'}"
        assert entry.classes == len(names[name]) if name in names else True
    (imagenet,) = load_suite("imagenet").datasets
    assert (imagenet.classes, imagenet.templates) == (len(names["imagenet1k"]), len(templates["imagenet1k"]))


def test_probes_on_the_command_line(teacher_dir, tmp_path):
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for colour in ("red", "blue"):
            (tmp_path / "data" / split / colour).mkdir(parents=True)
            for number in range(count):
                pixels = np.asarray(Image.new("RGB", (32, 32), colour)) // 2 + draw.integers(0, 90, (32, 32, 3))
                file = tmp_path / "data" / split / colour / f"{number}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(file)
    command = ["eval", f"local-dir:{teacher_dir}", "--dataset", tmp_path / "data", "--json", "--task"]
    probe = json.loads(run(*command, "linear-probe").stdout)
    assert (probe["value"], probe["images"], probe["more"]["train_images"]) == (1.0, 12, 24)
    few = json.loads(run(*command, "few-shot", "--shots", 2).stdout)
    assert few["more"]["shots"] == 2
    assert few["value"] == pytest.approx(np.mean([few["more"][f"draw {n}"] for n in range(3)]))
    assert "has classes, not captions" in run(*command, "retrieval", expect=2).stderr


def test_a_folder_that_is_not_split_is_halved_for_a_probe_and_that_is_said(teacher_dir, tmp_path):
    for colour in ("red", "blue"):
        (tmp_path / "data" / colour).mkdir(parents=True)
        for shade in range(7):
            side = 30 + shade
            Image.new("RGB", (side, side), colour).save(tmp_path / "data" / colour / f"{shade}.png")
    command = ["eval", f"local-dir:{teacher_dir}", "--dataset", tmp_path / "data", "--json", "--task"]
    told = run(*command, "linear-probe")
    probe = json.loads(told.stdout)
    assert (probe["value"], probe["images"], probe["more"]["train_images"]) == (1.0, 6, 8)
    assert "data is not split: half of each class's images train the probe, drawn by seed 0" in told.stderr
    assert json.loads(run(*command, "few-shot", "--shots", 2).stdout)["images"] == 6
    for number in range(1, 7):
        (tmp_path / f"data/red/{number}.png").unlink()
    alone = "class red has a single image, and a probe needs two of each"
    assert alone in run(*command, "linear-probe", expect=2).stderr


def test_halves_share_no_image_and_are_always_the_same():
    labels = np.repeat([0, 1, 2], [5, 2, 8])
    whole = Embedded(np.arange(15, dtype=np.float32)[:, None], labels, [])
    (train, test), again = halves(whole, CLASSNAMES), halves(whole, CLASSNAMES)
    assert sorted([*train.image_embeds.ravel(), *test.image_embeds.ravel()]) == list(range(15))
    assert np.bincount(train.labels).tolist() == [3, 1, 4]
    assert np.bincount(test.labels).tolist() == [2, 1, 4]
    assert np.array_equal(again[1].image_embeds, test.image_embeds)
    assert not np.array_equal(halves(whole, CLASSNAMES, seed=1)[1].image_embeds, test.image_embeds)


CLASSNAMES = ["cat", "dog", "<script>alert(1)</script>"]


def answers(*predictions, labels=(0, 0, 1, 1, 2, 2)):
    """A model that answers as told."""
    return classify(Embedded(np.eye(3, dtype=np.float32)[list(predictions)], np.array(labels), []), np.eye(3))


def test_retention_counts_what_was_lost_and_gained():
    before, after = answers(0, 0, 1, 1, 2, 0), answers(0, 1, 1, 2, 2, 2)
    found = retention({"teacher": before, "student": after}, CLASSNAMES, dataset="pets")
    row = found.rows[1]
    assert (row.lost, row.gained, row.agreement) == (2, 1, 0.5)
    assert row.retention == pytest.approx((after.top1 - 1 / 3) / (before.top1 - 1 / 3)) == pytest.approx(2 / 3)
    assert row.change_low <= after.top1 - before.top1 <= row.change_high
    assert [(loser.name, loser.before, loser.after) for loser in row.losers] == [("cat", 1, 0.5), ("dog", 1, 0.5)]
    assert [(winner.name, winner.before, winner.after) for winner in row.winners] == [(CLASSNAMES[2], 0.5, 1)]
    assert row.p_value == 1.0
    assert sorted(row.broken) == [("cat", "dog", 1), ("dog", CLASSNAMES[2], 1)]
    plot = confusion_svg(row.broken, row.model, "teacher")
    assert "<script" not in plot
    assert "2 of 2 images that teacher got right" in plot


def test_retention_writes_table_and_plots(teacher_dir, bundle, images_dir, tmp_path):
    for label, image in enumerate(sorted(images_dir.iterdir())[:6]):
        (tmp_path / f"data/{label % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/{label % 2}/{image.name}").write_bytes(image.read_bytes())
    command = ["retention", f"local-dir:{teacher_dir}", bundle.path, "--dataset", tmp_path / "data"]
    told = json.loads(run(*command, "--out", tmp_path / "kept", "--json").stdout)
    assert told == read_document(tmp_path / "kept/retention.json", Retention).as_data()
    named = [name for row in told["rows"] for change in row["losers"] + row["winners"] for name in change["examples"]]
    assert set(named) <= {image.name for image in images_dir.iterdir()}
    assert bool(named) == any(row["lost"] + row["gained"] for row in told["rows"])
    assert (tmp_path / "kept/broken-1.svg").read_text().startswith("<svg")
    assert "95 % interval" in run(*command).stdout
    assert "needs two models" in run("retention", "demo", "--dataset", tmp_path / "data", expect=2).stderr
