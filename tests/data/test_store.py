import os

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.data import store as module
from edgeclip.data.store import FeatureStore, StoreDocument, feature_store


def document(mark="a", **changes):
    return StoreDocument(fingerprint={"teacher": mark}, **{"rows": 5, "views": 3, "dim": 2, **changes})


def numbered(rows):
    """[n, 3 views, 2]: row and view."""
    return np.float32([[[row, view] for view in range(3)] for row in rows]), []


def test_rows_and_views_in_any_order(tmp_path):
    store = feature_store(tmp_path, "test", document(), numbered)
    assert store.view(2, [4, 0]).tolist() == [[4, 2], [0, 2]]
    assert store[[3]].tolist() == [[3, 0]]
    with pytest.raises(IndexError, match="row 5 of 5"):
        store[[5]]
    half = feature_store(tmp_path / "half", "test", document(dtype="float16"), numbered)
    assert half.view(1, [4]).tolist() == [[4, 1]]
    assert half.view(1, [4]).dtype == torch.float32


def test_a_store_is_reused_refused_or_mended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)
    calls = []

    def embed(rows):
        calls.append(list(rows))
        return numbered(rows)

    first = feature_store(tmp_path, "test", document(), embed)
    shard = tmp_path / "part-00001.safetensors"
    assert calls == [[0, 1], [2, 3], [4]]
    shard.unlink()  # as if it had been interrupted before this one
    again = feature_store(tmp_path, "test", document(), embed)
    assert calls[3:] == [[2, 3]]
    assert torch.equal(first[range(5)], again[range(5)])
    for other, why in (
        (document("b"), "differs in teacher"),
        (document(rows=6), "differs in rows"),
        (document(views=2), "views"),
    ):
        with pytest.raises(FormatError, match=why):
            feature_store(tmp_path, "test", other, embed)


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:-3] + bytes([c[-3] ^ 1]) + c[-2:], lambda c: b""])
def test_a_damaged_shard_is_found_told_and_made_again(damage, tmp_path, capsys):
    feature_store(tmp_path, "test", document(), numbered)
    shard = tmp_path / "part-00000.safetensors"
    shard.write_bytes(damage(shard.read_bytes()))
    store = FeatureStore(tmp_path, document())
    with pytest.raises(FormatError, match="missing or altered"):
        store.check(0)
    mended = feature_store(tmp_path, "test", document(), numbered)
    assert f"{shard} is missing or altered: it is made again" in capsys.readouterr().err
    assert mended.view(2, [4, 0]).tolist() == [[4, 2], [0, 2]]


def test_a_teacher_that_gives_nan_is_refused(tmp_path):
    with pytest.raises(FormatError, match="NaN"):
        feature_store(tmp_path, "x", document(rows=1), lambda rows: (np.full((1, 3, 2), np.nan, np.float32), []))


def test_nan_that_came_into_a_store_is_refused(tmp_path):
    feature_store(tmp_path, "x", document(rows=1), numbered)
    values = np.full((1, 3, 2), np.nan, np.float32)
    notes = {"sha256": module._digest(values), "broken": "[]"}
    save_file({"embeds": values}, tmp_path / "part-00000.safetensors", notes)
    with pytest.raises(FormatError, match="holds NaN"):
        feature_store(tmp_path, "x", document(rows=1), numbered)


def test_rows_that_cannot_be_read_are_remembered(tmp_path):
    def embed(rows):
        return np.zeros((len(rows), 3, 2), np.float32), [row for row in rows if row in (7, 70)]

    assert feature_store(tmp_path, "x", document(rows=100), embed).broken == [7, 70]
    assert feature_store(tmp_path, "x", document(rows=100), numbered).broken == [7, 70]
    with pytest.raises(EdgeclipError, match=r"over 5% of its images cannot be read \(1, 2\)"):
        feature_store(tmp_path / "few", "x", document(rows=8), lambda rows: (np.zeros((8, 3, 2)), [1, 2]))


def test_shards_cover_every_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)
    store = module.FeatureStore(tmp_path, document())
    assert [list(store.span(shard)) for shard in store.shards] == [[0, 1], [2, 3], [4]]
    assert len(store) == 5
    assert [store.file(shard).name for shard in store.shards] == [f"part-0000{n}.safetensors" for n in range(3)]
    monkeypatch.setattr(module, "MANY", 5)
    monkeypatch.setattr(module, "MANY_ROWS", 4)
    large = module.FeatureStore(tmp_path, document())
    assert [len(large.span(shard)) for shard in large.shards] == [4, 1]
    assert module.FeatureStore(tmp_path, document()).shard_rows == 4
    assert module.FeatureStore(tmp_path, document(rows=4)).shard_rows == 2


def test_rows_of_several_shards_come_in_the_order_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)
    store = feature_store(tmp_path, "test", document(), numbered)
    assert store.view(1, [4, 1, 3, 0, 4]).tolist() == [[4, 1], [1, 1], [3, 1], [0, 1], [4, 1]]
    for row in (-1, 5):
        with pytest.raises(IndexError, match=f"row {row} of 5"):
            store.view(0, [row])


def test_the_teacher_is_given_a_few_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    asked = []

    def embed(rows):
        asked.append(list(rows))
        return numbered(rows)[0], [row for row in rows if row == 4]

    store = feature_store(tmp_path, "test", document(rows=40), embed)
    assert asked[:2] == [[0, 1, 2], [3, 4, 5]]
    assert [row for rows in asked for row in rows] == list(range(40))
    assert store.broken == [4]


def test_every_change_is_named(tmp_path):
    feature_store(tmp_path, "test", document(), numbered)
    for change, why in (
        ({"rows": 6}, "rows:"),
        ({"views": 2}, "views:"),
        ({"dim": 3}, "dim:"),
        ({"dtype": "float16"}, "dtype:"),
        ({"mark": "b", "rows": 6}, "teacher, rows:"),
    ):
        with pytest.raises(FormatError, match=f"differs in {why} remove it to make it again"):
            feature_store(tmp_path, "test", document(**change), numbered)


def test_a_store_is_as_large_as_its_numbers(tmp_path):
    feature_store(tmp_path / "a", "test", document(rows=900), numbered)
    feature_store(tmp_path / "b", "test", document(rows=900, dtype="float16"), numbered)
    sizes = [(tmp_path / name / "part-00000.safetensors").stat().st_size for name in "ab"]
    numbers = 900 * 3 * 2
    assert 4 * numbers <= sizes[0] < 4 * numbers + 1000
    assert 2 * numbers <= sizes[1] < 2 * numbers + 1000


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        (np.zeros((5, 2, 2), np.float32), {}),
        (np.zeros((5, 3, 2), np.float16), {}),
        (np.zeros((5, 3, 2), np.float32), None),
    ],
)
def test_a_shard_of_another_kind_is_refused(values, notes, tmp_path):
    feature_store(tmp_path, "test", document(), numbered)
    good = {"sha256": module._digest(values), "broken": "[]"}
    save_file({"embeds": values}, tmp_path / "part-00000.safetensors", {**good, **notes} if notes is not None else None)
    with pytest.raises(FormatError, match=r"part-00000.safetensors is of another kind: remove it"):
        feature_store(tmp_path, "test", document(), numbered)


def test_just_five_per_cent_may_be_unreadable(tmp_path):
    def embed(rows):
        return np.zeros((len(rows), 3, 2), np.float32), [row for row in rows if row < 5]

    assert feature_store(tmp_path / "a", "x", document(rows=100), embed).broken == [0, 1, 2, 3, 4]
    with pytest.raises(EdgeclipError, match=r"over 5% of its images cannot be read \(0, 1, 2, 3, 4\)"):
        feature_store(tmp_path / "b", "x", document(rows=99), embed)


class Pictures:
    """A folder of files as a source."""

    def __init__(self, folder):
        self.files = sorted(folder.iterdir())

    def key(self, row):
        return self.files[row].name

    def read(self, row):
        return self.files[row].read_bytes()

    def stamp(self, rows):
        return str([self.files[row].stat().st_mtime_ns for row in rows])


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 2)
    (tmp_path / "images").mkdir()
    for number in range(5):
        (tmp_path / f"images/{number}.png").write_bytes(bytes([number]))
    return tmp_path / "images"


def test_other_images_under_the_same_names_are_refused(pictures, tmp_path):
    feature_store(tmp_path / "store", "x", document(), numbered, Pictures(pictures))
    (pictures / "3.png").write_bytes(b"another")
    with pytest.raises(FormatError, match=r"part-00001.* is of other images than are there now \(2.png to 3.png\)"):
        feature_store(tmp_path / "store", "x", document(), numbered, Pictures(pictures))


def test_the_same_images_with_other_times_are_the_same(pictures, tmp_path):
    feature_store(tmp_path / "store", "x", document(), numbered, Pictures(pictures))
    for file in pictures.iterdir():
        os.utime(file, (1, 1))
    again = feature_store(
        tmp_path / "store", "x", document(), lambda rows: pytest.fail("computed anew"), Pictures(pictures)
    )
    assert again.view(2, [4]).tolist() == [[4, 2]]


def test_what_did_not_change_is_not_read_again(pictures, tmp_path, monkeypatch):
    feature_store(tmp_path / "store", "x", document(), numbered, Pictures(pictures))
    monkeypatch.setattr(Pictures, "read", lambda self, row: pytest.fail("read again"))
    feature_store(tmp_path / "store", "x", document(), numbered, Pictures(pictures))
