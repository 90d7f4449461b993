"""Sentences are kept where images vote for them: capped, and once each."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.data.sentences import distinct
from edgeclip.data.squares import Images
from edgeclip.distillation.grounding import Grounded, _said_twice, _vote, check_out, ground, select_sentences
from edgeclip.distillation.teachers import as_teacher
from edgeclip.images.sources import open_source

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class Colours:
    """An encoder that knows three colours by name and by sight; what it does not know lies off all images."""

    embed_dim, image_size = 4, 8

    def encode_image(self, images):
        seen = np.float32([[*np.asarray(i.convert("RGB"), np.float32).mean(axis=(0, 1)), 1] for i in images])
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    def encode_text(self, texts):
        read = np.float32([[*(255.0 * text.count(c) for c in COLOURS), 1 + 2 * ("thing" in text)] for text in texts])
        return read / np.linalg.norm(read, axis=1, keepdims=True)


@pytest.fixture
def pictures(tmp_path):
    """Six images: red and blue in three shades each."""
    for number in range(6):
        shade = tuple((200 + 10 * number) * channel for channel in COLOURS["red" if number < 3 else "blue"])
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), shade).save(tmp_path / f"images/{number}.png")
    teacher = as_teacher("colours", Colours())
    return teacher, Images(open_source(str(tmp_path / "images"), tmp_path), teacher.preprocess)


def test_what_the_images_show_is_kept(pictures, tmp_path):
    teacher, images = pictures
    corpus = distinct(["green", "red", "a tax return", "some thing", "blue", "red"], tmp_path / "c")
    found, summary = ground(teacher, images, corpus, tmp_path / "store", neighbours=1, cap=8)
    assert [corpus[row] for row in found.kept] == ["red", "blue"]
    assert (summary.candidates, summary.kept, summary.voted_for) == (5, 2, 2)
    first = next(found.records(corpus, images))
    assert first["votes"] == 3
    assert first["image"] in {"0.png", "1.png", "2.png"}


def test_an_image_that_cannot_be_read_is_named_and_does_not_vote(pictures, tmp_path, capsys):
    teacher, _ = pictures
    (tmp_path / "images/5.png").write_bytes(b"cut short")
    for number in range(6, 20):
        shutil.copy(tmp_path / "images/0.png", tmp_path / f"images/{number}.png")
    images = Images(open_source(str(tmp_path / "images"), tmp_path), teacher.preprocess)
    corpus = distinct(["red", "blue"], tmp_path / "c")
    found, summary = ground(teacher, images, corpus, tmp_path / "store", neighbours=1, cap=99)
    assert (summary.images, summary.unreadable, found.votes.tolist()) == (20, 1, [17, 2])
    assert "images: 1 unreadable image(s) skipped: 5.png" in capsys.readouterr().err


def test_what_is_said_twice_stays_once(pictures, tmp_path):
    teacher, images = pictures
    corpus = distinct(["red", "red red", "a red thing", "blue"], tmp_path / "c")
    found, summary = ground(teacher, images, corpus, tmp_path / "store", neighbours=3, cap=8)
    assert summary.said_twice >= 1
    assert sum("red" in corpus[row] for row in found.kept) == 1


def test_of_two_alike_the_better_one_stays():
    """Three sentences that say the same: most votes first, then the higher cosine, whatever their order."""

    class Same:
        def __getitem__(self, rows):
            return torch.ones(len(rows), 1)

    nearest, accepted = np.array([[0, 1, 2], [2, 1, 0]]), np.ones((2, 3), bool)
    for votes, score, kept in (
        ([1, 9, 1], [0.9, 0.1, 0.9], 1),
        ([5, 5, 5], [0.1, 0.2, 0.9], 2),
        ([9, 5, 5], [0.1, 0.9, 0.9], 0),
    ):
        found = Grounded(np.array(votes), np.float32(score), np.zeros(3, int), np.empty(0, int), 0)
        dropped = _said_twice(found, Same(), nearest, accepted, 0.95)
        assert np.flatnonzero(~dropped).tolist() == [kept]


def test_a_full_sentence_sends_the_image_to_its_next():
    scores = np.float32([[0.9, 0.5], [0.8, 0.6], [0.7, 0.1]])
    nearest = np.array([[0, 1], [0, 1], [0, 2]])
    accepted = _vote(scores, nearest, sentences=3, neighbours=1, cap=1)
    assert accepted.tolist() == [[True, False], [False, True], [False, True]]


def test_the_command_writes_sentences_and_reasons(tiny, images_dir, texts_file, tmp_path):
    out = tmp_path / "kept.jsonl"
    summary = select_sentences(str(images_dir), texts_file, tiny, out, neighbours=2, cap=4, store=tmp_path / "store")
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(kept) == summary.kept == json.loads((tmp_path / "kept.summary.json").read_text())["kept"] > 0
    assert set(kept[0]) == {"text", "votes", "score", "image"}
    assert all(record["votes"] <= 4 for record in kept)
    with pytest.raises(EdgeclipError, match=r"must end in \.jsonl"):
        check_out(tmp_path / "kept.txt")
    with pytest.raises(EdgeclipError, match="add --force"):
        check_out(out)
    check_out(out, force=True)
    (tmp_path / "mine.jsonl").write_text("{}")
    with pytest.raises(EdgeclipError, match="edgeclip did not write it"):
        check_out(tmp_path / "mine.jsonl", force=True)
