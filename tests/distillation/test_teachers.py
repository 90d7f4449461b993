"""A teacher is an open_clip model, anything that encodes, or the store that it left behind."""

import numpy as np
import pytest
import torch

from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.loading import load_encoder
from edgeclip.data.training import TrainingData
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.teachers import PluginTeacher, StoredTeacher, as_teacher


class Colours:
    """Encodes an image's mean colour and a text's letters: an Encoder of somebody's own, of another width."""

    embed_dim = 4
    image_size = 32

    def encode_image(self, images):
        means = np.float32([[*np.asarray(image.convert("RGB")).mean(axis=(0, 1)), 99] for image in images])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def encode_text(self, texts):
        counts = np.float32([[text.count(letter) for letter in "aeo"] + [1] for text in texts])
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def stored(spec, tiny, config, images_dir, texts_file, tmp_path_factory):
    """A run, and the store it left."""
    folder = tmp_path_factory.mktemp("stored")
    run = distill(
        spec, [tiny], TrainingData(images_dir, texts_file, store=folder / "store"), folder / "run", config=config
    )
    return run, folder / "store"


def test_a_store_alone_teaches_the_same(stored, spec, config, images_dir, texts_file, tmp_path):
    run, store = stored
    teacher = StoredTeacher(store / "tiny")
    again = distill(spec, [teacher], TrainingData(images_dir, texts_file), tmp_path / "run", config=config)
    one, two = (torch.cat([p.flatten() for p in r.encoder().model.parameters()]) for r in (run, again))
    assert torch.equal(one, two)
    assert not (tmp_path / "run/store/tiny").exists(), "what was stored was computed again"


def test_a_store_that_lacks_something_says_so(stored, spec, config, images_dir, tmp_path):
    _, store = stored
    (tmp_path / "other.txt").write_text("".join(f"another sentence {number}\n" for number in range(16)))
    with pytest.raises(EdgeclipError, match="differs in sentences"):
        distill(
            spec,
            [StoredTeacher(store)],
            TrainingData(images_dir, tmp_path / "other.txt"),
            tmp_path / "run",
            config=config,
        )
    with pytest.raises(EdgeclipError, match="name the folder of one teacher's store"):
        StoredTeacher(tmp_path)
    with pytest.raises(EdgeclipError, match="lacks some images"):
        StoredTeacher(store).encode_squares(torch.zeros(1, 3, 32, 32))


def test_a_plug_in_teaches_a_student_with_a_text_tower_of_its_own(spec, config, images_dir, texts_file, tmp_path):
    teacher = as_teacher("colours", Colours())
    with pytest.raises(EdgeclipError, match="set text_tower to student"):
        distill(spec, [teacher], TrainingData(images_dir, texts_file), tmp_path / "no", config=config)
    shape = {"width": 16, "layers": 1, "heads": 2}
    own = config.model_copy(update={"text_tower": "student"})
    own = type(own).model_validate({**own.model_dump(), "text_shape": shape})
    run = distill(spec, [teacher], TrainingData(images_dir, texts_file), tmp_path / "run", config=own)
    student = run.encoder()
    assert student.embed_dim == 4
    assert student.encode_text(["a cat"]).shape == (1, 4)


def test_two_teachers_of_different_width(spec, tiny, config, images_dir, texts_file, tmp_path):
    both = [tiny, as_teacher("colours", Colours())]
    store = tmp_path / "store"
    run = distill(spec, both, TrainingData(images_dir, texts_file, store=store), tmp_path / "run", config=config)
    assert run.document.more_teachers == ["colours"]
    assert run.encoder().embed_dim == tiny.embed_dim, "the student lives in the first teacher's space"
    assert {path.name for path in store.iterdir()} == {"tiny", "colours", "sentences"}


def test_plug_ins_are_told_apart_by_what_they_do():
    class Other(Colours):
        def encode_text(self, texts):
            return super().encode_text([text.upper() for text in texts])

    one, same, other = (PluginTeacher("x", encoder()).fingerprint for encoder in (Colours, Colours, Other))
    assert one == same != other


def test_what_a_plug_in_must_not_do():
    class Wide(Colours):
        embed_dim = 5

    class Long(Colours):
        def encode_text(self, texts):
            return 2 * super().encode_text(texts)

    with pytest.raises(EdgeclipError, match=r"shape \[3, 4\], not \[3, 5\]"):
        PluginTeacher("wide", Wide())
    with pytest.raises(EdgeclipError, match="not L2-normalised"):
        PluginTeacher("long", Long())


def test_a_plug_in_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_teachers.py").write_text(
        "class T:\n embed_dim = 2\n encode_image = encode_text = lambda self, x: x\ndef nothing(): return 3\n"
    )
    assert load_encoder("my_teachers:T").embed_dim == 2
    for name, complaint in (
        ("my_teachers:nothing", "gave a int, no Encoder"),
        ("my_teachers:absent", "has no absent"),
        ("no_such_module:make", "neither a model of open_clip's nor a module"),
    ):
        with pytest.raises(EdgeclipError, match=complaint):
            load_encoder(name)
