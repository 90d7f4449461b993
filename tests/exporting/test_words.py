"""Bundles for few words, and towers too large for one file."""

import json

import numpy as np
import onnx
import open_clip
import pytest

from edgeclip.base.decode import read_image
from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.exporting import export, graphs
from edgeclip.exporting.inputs import classes_of
from edgeclip.exporting.pipeline import _possible
from edgeclip.exporting.plan import ExportPlan
from edgeclip.measurement import verify
from edgeclip.models.openclip import OpenClipEncoder
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.memory import own_peak_mb

from ..measurement.test_runnerfile import alone
from ..test_cli import run

FACTS = {"source": "local"}


@pytest.fixture
def labels(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("a cat\nthe dog\na cat\nÜnïcode\n")
    return file


@pytest.fixture
def calibration(images_dir):
    return sorted(images_dir.iterdir())


@pytest.fixture(scope="module")
def few(teacher, images_dir, tmp_path_factory):
    """A bundle of three classes."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "labels.txt").write_text("a cat\nthe dog\nÜnïcode\n")
    plan = ExportPlan(precisions=(), classes=classes_of(teacher, folder / "labels.txt"), text_tower=False)
    return export(teacher, folder / "b", **FACTS, calibration=sorted(images_dir.iterdir()), plan=plan)


def test_labels_given_twice_are_said(teacher, labels, capsys):
    assert list(classes_of(teacher, labels).labels) == ["a cat", "the dog", "Ünïcode"]
    assert "given more than once, counted once: a cat" in capsys.readouterr().err


def test_a_bundle_without_text_tower_knows_its_classes(few, teacher, calibration):
    bundle = few
    assert not {"text.fp32.onnx", "tokenizer.json"} & {file.name for file in bundle.path.iterdir()}
    encoder, known = bundle.encoder(), ["a cat", "the dog", "Ünïcode"]
    assert np.allclose(encoder.encode_text(known), teacher.encode_text(known), atol=1e-6)
    prompts = [f"a photo of a {label}." for label in known]
    assert np.allclose(encoder.encode_text(prompts), teacher.encode_text(prompts), atol=1e-6)
    with pytest.raises(EdgeclipError, match=r"'a bird' is not one of the 3 classes .* \(a cat, the dog, Ünïcode\)"):
        encoder.encode_text(["a cat", "a bird"])
    found = verify(bundle.path)
    assert found.verified and [one.part for one in found.findings] == ["preprocessing", "image tower fp32"]
    told = json.loads(run("classify", bundle.path, calibration[0], "--json").stdout)
    assert {label for label, _ in told[0]["labels"]} == set(known)
    said = run("classify", bundle.path, calibration[0], "--labels", "a cat,a bird", expect=2).stderr
    assert "it has no text tower for other words" in said


def test_the_single_file_runner_knows_them_too(few, calibration):
    bundle = few
    (answer,) = json.loads(alone(bundle.path, "classify", calibration[0]).stdout)["images"]
    expected = bundle.classify([read_image(calibration[0])], [label for label, _ in answer["labels"]])[0]
    assert [chance for _, chance in answer["labels"]] == pytest.approx(expected, abs=1e-5)
    assert json.loads(alone(bundle.path, "verify").stdout)["verified"]


def test_no_words_at_all_are_refused(teacher, calibration, tmp_path):
    with pytest.raises(EdgeclipError, match="give them, as --labels FILE"):
        export(teacher, tmp_path / "b", **FACTS, calibration=calibration, plan=ExportPlan(text_tower=False))
    assert not (tmp_path / "b").exists()


def test_classify_needs_labels_where_there_is_a_text_tower(bundle, calibration):
    assert "--labels" in run("classify", bundle.path, calibration[0], expect=2).stderr


@pytest.fixture(scope="module")
def large(teacher, images_dir, tmp_path_factory):
    """A bundle as of towers beyond protobuf's limit: here it is 100 kB."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graphs, "LARGEST", 100_000)
        return export(
            teacher, tmp_path_factory.mktemp("large") / "b", **FACTS, calibration=sorted(images_dir.iterdir())
        )


def test_weights_lie_beside_graphs_that_they_do_not_fit(large, bundle, teacher):
    text, image = large.manifest.text, large.manifest.variant("fp32")
    assert [v.precision for v in large.manifest.variants] == ["fp32"]
    assert (text.weights.file, image.weights.file) == ("text.fp32.onnx.data", "image.fp32.onnx.data")
    assert text.bytes < 100_000 < text.weights.bytes
    assert text.size == text.bytes + text.weights.bytes
    small = bundle.manifest.variant("fp32")
    assert large.encoder().image_bytes == image.size == pytest.approx(small.size, rel=0.05)
    words = ["a cat", "x"]
    assert np.allclose(large.encoder().encode_text(words), teacher.encode_text(words), atol=1e-5)
    graph = onnx.load(large.path / "text.fp32.onnx", load_external_data=False)
    assert {prop.key for prop in graph.metadata_props} >= {"edgeclip", "model"}
    assert any(node.name.startswith("model.text.transformer") for node in graph.graph.node), graph.graph.node[40].name


def test_they_are_verified_measured_and_archived_with_them(large, tmp_path):
    assert verify(large.path).verified
    told = json.loads(run("measure", large.path, "--seconds", "1", "--json").stdout)
    assert told["rows"][0]["size_bytes"] == large.manifest.variant("fp32").size
    for name in ("text.fp32.onnx.data", "image.fp32.onnx.data"):
        file = large.path / name
        whole = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(FormatError, match=f"{name} differs from what was exported"):
            Bundle.open(large.path)
        file.write_bytes(whole)


def test_what_is_dropped_is_said(teacher, capsys, monkeypatch):
    monkeypatch.setattr(graphs, "LARGEST", 100_000)
    assert _possible(teacher, ExportPlan(), ["fp32", "fp16", "int8"]) == ["fp32"]
    assert "of so large a one only fp32 is made; not fp16, int8" in capsys.readouterr().err


def test_other_forms_of_such_a_tower_are_refused_at_once(teacher, calibration, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "LARGEST", 100_000)
    with pytest.raises(EdgeclipError, match=r"the image tower has 0\.0 GB: .* leave out --labels, --uint8"):
        export(teacher, tmp_path / "b", **FACTS, calibration=calibration, plan=ExportPlan(bytes_input=True))
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_text_tower_of_more_than_2_gb(calibration, tmp_path):
    """The real thing: 2.2 GB of token embeddings, as towers of many languages have them."""
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32}
    text = {"context_length": 8, "vocab_size": 8_600_000, "width": 64, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
    model = open_clip.model.CustomTextCLIP(16, dict(vision), dict(text))
    settings = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    own = OpenClipEncoder(model, config, settings, open_clip.SimpleTokenizer(context_length=8))
    bundle = export(own, tmp_path / "b", **FACTS, calibration=calibration, plan=ExportPlan(precisions=()))
    assert bundle.manifest.text.size > 2**31 > bundle.manifest.text.bytes
    assert np.allclose(bundle.encoder().encode_text(["a cat"]), own.encode_text(["a cat"]), atol=1e-5)
    assert own_peak_mb() < 9_000
