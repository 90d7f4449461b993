"""The whole export: what lies in a bundle, what it says of itself, and how it refuses."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.device.facts import target_here
from edgeclip.exporting import export
from edgeclip.exporting.calibration import calibration_pixels
from edgeclip.exporting.extras import Classes
from edgeclip.exporting.plan import ExportPlan
from edgeclip.models.openclip import OpenClipEncoder
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.engines.ort import Onnxruntime


@pytest.fixture(scope="module")
def rich(teacher, images_dir, tmp_path_factory):
    """A bundle for another device, with everything that needs no GPU."""
    labels = ["a cat", "a dog", "<i>a fox</i>"]
    classes = Classes(labels, ("{}",), teacher.encode_text(labels))
    target = load_profile("raspberry-pi-5").target
    plan = ExportPlan(target, precisions=("int8",), recipes=("tensorrt",), classes=classes, bytes_input=True)
    out, files = tmp_path_factory.mktemp("bundles") / "rich", sorted(images_dir.iterdir())
    return export(teacher, out, source="local", calibration=files, plan=plan)


def extra(bundle, kind):
    return next(e for e in bundle.manifest.extras if e.kind == kind)


def test_every_precision_is_faithful(bundle):
    fidelity = {v.precision: v.fidelity for v in bundle.manifest.variants}
    assert fidelity["fp32"].cosine_mean >= 0.99999
    assert fidelity["fp16"].cosine_mean >= 0.999
    assert fidelity["int8"].cosine_mean >= 0.99
    for found in fidelity.values():
        assert found.cosine_worst <= found.cosine_p1 <= found.cosine_mean <= 1
    assert bundle.manifest.recommended in fidelity


def test_the_manifest_says_what_was_tried_and_checked(bundle):
    manifest = bundle.manifest
    assert {"fp32", "fp16", "int8"} == {one.precision for one in manifest.tried}
    assert [one.precision for one in manifest.tried if one.outcome.startswith("recommended")] == [manifest.recommended]
    assert all(one.relative_speed > 0 for one in manifest.tried)
    assert set(manifest.checks) == {"text", "image"}
    assert all(set(found) == {"1", "2", "5"} and max(found.values()) < 1e-4 for found in manifest.checks.values())
    assert manifest.calibration["set_ranges"] + manifest.calibration["judged"] == manifest.calibration["images"] == 40
    assert len(manifest.calibration["keys"]) == 40


def test_a_graph_says_what_it_is(bundle, teacher):
    for file in ("image.int8.onnx", "image.fp16.onnx", "text.fp32.onnx"):
        told = {p.key: p.value for p in onnx.load(bundle.path / file).metadata_props}
        assert told["model"] == "tiny"
        assert told["revision"] == teacher.fingerprint
        assert json.loads(told["preprocess"])["size"] == 32


def test_golden_values_can_be_repeated(bundle):
    from safetensors.numpy import load_file

    golden = load_file(bundle.path / "golden.safetensors")
    found = bundle.encoder("fp32").encode_pixels(golden["pixels"])
    assert np.abs(found - golden["image_embeds"]).max() < 1e-4


def test_a_bundle_cannot_be_written_over(bundle):
    assert all(not file.stat().st_mode & 0o222 for file in bundle.path.glob("[!.]*"))


def test_recipes_for_several_targets_lie_side_by_side(rich):
    assert [v.precision for v in rich.manifest.variants] == ["fp32", "int8"]
    assert rich.manifest.variant("int8").recipe["recipe"] == "arm"
    other = extra(rich, "int8-target")
    assert (other.facts["recipe"], other.facts["rest"]) == ("tensorrt", "fp16")
    assert 0.99 < other.facts["fidelity"]["cosine_mean"] < 1, "it is judged here, whoever will run it"
    assert {file.name for file in rich.path.glob("[!.]*")} == {a.file for a in rich.artefacts} | {"bundle.json"}


def test_nothing_claims_a_speed_on_another_device(rich):
    manifest = rich.manifest
    assert (manifest.target.profile, manifest.target.device.machine) == ("raspberry-pi-5", "aarch64")
    assert (manifest.recommended, manifest.recommendation) == (None, "to be measured on the device")
    assert manifest.chosen == "fp32", "nobody has measured int8 on that device"
    assert not any(one.relative_speed for one in (*manifest.variants, *manifest.tried))
    assert not any("recommended" in one.outcome for one in manifest.tried)


def test_what_was_measured_on_the_target_is_recommended(bundle):
    manifest = bundle.manifest
    assert manifest.target == target_here()
    assert manifest.recommendation == "measured on the target"
    assert all(one.relative_speed for one in manifest.variants)


def test_another_version_of_the_engine_is_another_target(teacher, images_dir, tmp_path, capsys):
    here = target_here()
    target = here.model_copy(update={"runtime": here.runtime.model_copy(update={"version": "0.1"})})
    files, plan = sorted(images_dir.iterdir()), ExportPlan(target, precisions=())
    made = export(teacher, tmp_path / "b", source="x", calibration=files, plan=plan)
    assert made.manifest.recommended is None
    assert "it was measured with onnxruntime 0.1" in capsys.readouterr().err


def test_bytes_in(rich, images_dir):
    own = rich.encoder(rich.manifest.chosen)
    images = [Image.open(file).resize((32, 32)) for file in sorted(images_dir.iterdir())[:3]]
    session = Onnxruntime().open(rich.path / extra(rich, "uint8-input").file)
    found = session.run(np.stack([np.asarray(image) for image in images]))
    assert np.abs(found - own.encode_image(images)).max() < 1e-5


def test_probabilities_out(rich, images_dir):
    images = [Image.open(file).resize((32, 32)) for file in sorted(images_dir.iterdir())[:3]]
    made = extra(rich, "classifier")
    session = Onnxruntime().open(rich.path / made.file)
    found = session.run(np.stack([np.asarray(image) for image in images]))
    expected = rich.classify(images, made.facts["labels"], rich.encoder(rich.manifest.chosen))
    assert np.abs(found - expected).max() < 1e-4
    told = {p.key: p.value for p in onnx.load(rich.path / made.file).metadata_props}
    assert json.loads(told["labels"]) == ["a cat", "a dog", "<i>a fox</i>"]


def test_the_output_must_be_free(teacher, images_dir, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").touch()
    with pytest.raises(EdgeclipError, match="thesis, which edgeclip did not put there"):
        export(teacher, tmp_path / "mine", source="x", calibration=sorted(images_dir.iterdir()))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis"]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_calibration_images(count, teacher, images_dir):
    with pytest.raises(EdgeclipError, match="at least 8"):
        calibration_pixels(sorted(images_dir.iterdir())[:count], teacher.preprocess)


def test_unreadable_calibration_images_are_passed_over(teacher, images_dir, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    some = sorted(images_dir.iterdir())
    pixels, chosen = calibration_pixels([*some, tmp_path / "broken.png"], teacher.preprocess)
    assert len(pixels) == chosen["images"] == len(some)
    with pytest.raises(EdgeclipError, match=r"calibration: over 5% of its images cannot be read \(broken.png\)"):
        calibration_pixels([*some[:9], tmp_path / "broken.png"], teacher.preprocess)


def test_the_choice_of_calibration_images_is_fixed(teacher, images_dir):
    files = sorted(images_dir.iterdir())
    first, again = (calibration_pixels(order, teacher.preprocess, count=10) for order in (files, files[::-1]))
    assert first[1] == again[1]
    assert (first[0] == again[0]).all()


def test_any_open_clip_folder_loads_and_pickles_do_not(teacher_dir, tmp_path):
    encoder = OpenClipEncoder.load(f"local-dir:{teacher_dir}")
    assert encoder.encode_image([Image.new("L", (9, 9))]).shape == (1, 32)
    (tmp_path / "open_clip_config.json").write_bytes((teacher_dir / "open_clip_config.json").read_bytes())
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(EdgeclipError, match="can run code"):
        OpenClipEncoder.load(f"local-dir:{tmp_path}")
    (tmp_path / "weights.safetensors").write_bytes((teacher_dir / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(EdgeclipError, match="would read a file that can run code"):
        OpenClipEncoder.load(f"local-dir:{tmp_path}")
    with pytest.raises(EdgeclipError, match="did you mean ViT-B-32"):
        OpenClipEncoder.load("ViT-B-23:openai")
    with pytest.raises(EdgeclipError, match="did you mean openai"):
        OpenClipEncoder.load("ViT-B-32:opanai")
