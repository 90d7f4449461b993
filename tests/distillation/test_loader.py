"""What a step is fed: the student's pixels and the teacher's embeddings are of one and the same view."""

import copy
import shutil

import numpy as np
import pytest
import torch

from edgeclip.base.errors import FormatError
from edgeclip.data.sentences import distinct, read_sentences
from edgeclip.data.squares import Images
from edgeclip.data.views import Views
from edgeclip.distillation.batches import Loader
from edgeclip.distillation.targets import find_targets
from edgeclip.distillation.teachers import as_teacher
from edgeclip.images.sources import open_source


@pytest.fixture
def inputs(tiny, images_dir, texts_file, config, tmp_path):
    pictures = Images(open_source(str(images_dir), tmp_path), tiny.preprocess)
    return tiny, pictures, distinct(read_sentences(texts_file), tmp_path / "sentences.bin"), config


def targets(inputs, folder, **changes):
    tiny, pictures, sentences, config = inputs
    config = config.model_copy(update=changes)
    views = Views(config.augment, config.seed)
    return config, views, find_targets(folder, config, [tiny], pictures, sentences, views)


def test_the_student_sees_the_view_that_the_teacher_saw(inputs, teacher, tmp_path):
    tiny, pictures, sentences, _ = inputs
    config, views, found = targets(inputs, tmp_path / "store")
    loader = Loader(config, pictures, sentences, found, views, tiny.preprocess, None)
    batches = [loader(step) for step in range(2 * loader.pictures.batches)]
    for step, batch in enumerate(batches):
        seen = torch.from_numpy(teacher.encode_pixels(batch.pixels.numpy()))
        assert torch.allclose(seen, batch.teachers[0].images, atol=1e-5), f"step {step} shows another view"
        read = teacher.encode_text([sentences[row] for row in loader.phrases[step]])
        assert np.allclose(read, batch.teachers[0].texts, atol=1e-5)
        assert batch.tokens is None
    first, second = ({tuple(row.tolist()) for b in part for row in b.teachers[0].images} for part in halves(batches))
    assert not first & second, "the second epoch shows another view"


def halves(batches):
    return batches[: len(batches) // 2], batches[len(batches) // 2 :]


def test_tokens_are_of_the_sentences_of_the_step(inputs, tmp_path):
    tiny, pictures, sentences, _ = inputs
    config, views, found = targets(inputs, tmp_path / "store")
    loader = Loader(config, pictures, sentences, found, views, tiny.preprocess, tiny.text.tokenizer)
    expected = tiny.text.tokenizer([sentences[row] for row in loader.phrases[3]])
    assert torch.equal(loader(3).tokens, torch.as_tensor(expected))


def test_runs_of_the_same_share_a_store_of_the_cache(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    _, _, first = targets(inputs, None)
    assert first.folder.parent == tmp_path / "cache/stores"
    monkeypatch.setattr(type(inputs[0]), "encode_squares", lambda *_: pytest.fail("computed again"))
    _, _, again = targets(inputs, None, lr=0.1)
    assert again.folder == first.folder, "of the learning rate it does not depend"


def test_runs_of_something_else_have_a_store_of_their_own(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    changes = [{}, {"seed": 1}, {"views": 1}, {"store_dtype": "float16"}]
    found = [targets(inputs, None, **change)[2] for change in changes]
    assert len({one.folder for one in found}) == len(changes)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seed", lambda config: {"seed": 1}),
        ("augment", lambda c: {"augment": c.augment.model_copy(update={"flip": False})}),
    ],
)
def test_embeddings_of_other_views_are_not_taken_for_these(name, change, inputs, tmp_path):
    targets(inputs, tmp_path / "store")
    with pytest.raises(FormatError, match=f"differs in {name}"):
        targets(inputs, tmp_path / "store", **change(inputs[3]))


def test_embeddings_of_other_images_are_not_taken_for_these(inputs, images_dir, tmp_path):
    tiny, _, sentences, config = inputs
    targets(inputs, tmp_path / "store")
    shutil.copytree(images_dir, tmp_path / "others")
    (tmp_path / "others/00.png").rename(tmp_path / "others/99.png")
    others = Images(open_source(str(tmp_path / "others"), tmp_path), tiny.preprocess)
    with pytest.raises(FormatError, match="differs in images"):
        targets((tiny, others, sentences, config), tmp_path / "store")


def test_embeddings_of_another_teacher_are_not_taken_for_these(inputs, teacher, tmp_path):
    _, pictures, sentences, config = inputs
    targets(inputs, tmp_path / "store")
    other = copy.copy(as_teacher("tiny", teacher))
    other.fingerprint = "f" * 64
    with pytest.raises(FormatError, match="differs in teacher"):
        targets((other, pictures, sentences, config), tmp_path / "store")
