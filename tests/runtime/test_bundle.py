import json
import shutil

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.base.seal import sealed
from edgeclip.encoder import PixelEncoder
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.timing import interleaved
from edgeclip.runtime.trial import try_graph


@pytest.fixture
def copied(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "bundle")
    for file in (tmp_path / "bundle").iterdir():
        file.chmod(0o644)
    return tmp_path / "bundle"


def test_a_bundle_is_an_encoder(bundle, teacher):
    encoder = bundle.encoder("fp32")
    assert isinstance(encoder, PixelEncoder)
    images = [Image.new("RGB", (50, 40), color) for color in ("red", "green", "blue")]
    assert np.allclose(encoder.encode_image(images), teacher.encode_image(images), atol=1e-5)
    assert np.allclose(encoder.encode_text(["a cat", "Dogs!"]), teacher.encode_text(["a cat", "Dogs!"]), atol=1e-5)
    odds = bundle.classify(images, ["a cat", "a dog"])
    assert odds.shape == (3, 2)
    assert np.allclose(odds.sum(axis=1), 1)


def test_a_text_alone_is_one_text(bundle, teacher):
    for encoder in (bundle.encoder("fp32"), teacher):
        assert np.array_equal(encoder.encode_text("a cat"), encoder.encode_text(["a cat"]))


def test_no_images_and_no_texts_are_no_rows(bundle):
    encoder = bundle.encoder()
    assert encoder.encode_image([]).shape == (0, 32)
    assert encoder.encode_text([]).shape == (0, 32)


def test_a_flipped_byte_is_found(copied):
    file = copied / "image.fp32.onnx"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"image\.fp32\.onnx differs from what was exported"):
        Bundle.open(copied)


def test_a_missing_file_is_found(copied):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(FormatError, match=r"tokenizer\.json is missing"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"version": 99}, "upgrade edgeclip"), ({"embed_dim": -1}, "embed_dim"), ({"recommended": "fp8"}, "recommended")],
)
def test_a_manifest_with_faults_is_refused(copied, change, complaint):
    manifest = json.loads((copied / "bundle.json").read_text())
    (copied / "bundle.json").write_text(json.dumps(sealed(manifest | change)))
    with pytest.raises(FormatError, match=complaint):
        Bundle.open(copied)


def test_a_path_out_of_the_folder_is_refused(copied):
    manifest = json.loads((copied / "bundle.json").read_text())
    manifest["text"]["file"] = "../../etc/passwd"
    (copied / "bundle.json").write_text(json.dumps(sealed(manifest)))
    with pytest.raises(FormatError, match=r"text\.file"):
        Bundle.open(copied)


def test_what_is_no_bundle_says_so(tmp_path):
    with pytest.raises(EdgeclipError, match="is not a bundle"):
        Bundle.open(tmp_path)


def test_a_broken_graph_is_a_finding(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises(EdgeclipError, match="cannot open it"):
        Onnxruntime().open(tmp_path / "x.onnx")
    assert "cannot open it" in try_graph(tmp_path / "x.onnx", np.zeros((1, 3, 4, 4), np.float32)).problem


def test_an_unknown_provider_lists_those_that_exist(bundle):
    with pytest.raises(EdgeclipError, match="CPUExecutionProvider"):
        Onnxruntime().open(bundle.path / "image.fp32.onnx", provider="NoSuchProvider")


def test_a_provider_that_gives_way_is_said(bundle, monkeypatch, capsys):
    class Session:
        providers = ("CPUExecutionProvider",)

    monkeypatch.setattr(Onnxruntime, "open", lambda *graph, **settings: Session())
    monkeypatch.setattr(Onnxruntime, "providers", lambda own: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert bundle.encoder("fp32", provider="CUDAExecutionProvider").image_session
    assert (
        "CUDAExecutionProvider could not be used here; CPUExecutionProvider takes its place" in capsys.readouterr().err
    )


def test_contenders_take_turns():
    order = []
    samples = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0, warmup=0, burst=2
    )
    assert order == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    assert len(samples["a"].ms) == 4
    assert samples["a"].percentile(0) <= samples["a"].p50 <= samples["a"].p90 <= samples["a"].p99


@pytest.mark.parametrize("name", ["bundle", "teacher"])
def test_a_picture_its_file_and_a_list_of_both_are_embedded_alike(name, request, images_dir):
    encoder = request.getfixturevalue(name)
    encoder = encoder.encoder("fp32") if name == "bundle" else encoder
    file = images_dir / "00.png"
    expected = encoder.encode_image([Image.open(file)])
    for given in (file, str(file), Image.open(file), [file], (str(file),)):
        assert np.array_equal(encoder.encode_image(given), expected)
    assert len(encoder.encode_image([file, Image.open(file)])) == 2
    with pytest.raises(EdgeclipError, match="no such image"):
        encoder.encode_image(images_dir / "absent.png")
