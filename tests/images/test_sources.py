"""Images from folders, tars, URLs and Hugging Face datasets: the same pictures, whichever way they come."""

import functools
import http.server
import io
import shutil
import tarfile
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeclip.base.decode import UnreadableImage, read_image
from edgeclip.base.errors import EdgeclipError
from edgeclip.data.squares import Images
from edgeclip.images.sources import find_images, open_source
from edgeclip.runtime.manifest import Preprocess

SQUARE = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def shards(images_dir, tmp_path_factory):
    """The forty images in two shards of the WebDataset kind, and a third without any."""
    folder = tmp_path_factory.mktemp("shards")
    files = sorted(images_dir.iterdir())
    for number, part in enumerate((files[:25], files[25:], [])):
        with tarfile.open(folder / f"train-{number:03d}.tar", "w") as tar:
            for file in part:
                tar.add(file, file.name)
                caption = tarfile.TarInfo(f"{file.stem}.txt")
                caption.size = 5
                tar.addfile(caption, io.BytesIO(b"words"))
    return folder


def pixels_of(source):
    images = Images(source, SQUARE)
    return images[list(range(len(images)))]


def test_tars_hold_the_same_images_as_a_folder(images_dir, shards, tmp_path, capsys):
    folder = open_source(str(images_dir), tmp_path)
    tars = open_source(f"{shards}/train-{{000..002}}.tar", tmp_path)
    assert "1 shard(s) without an image: train-002.tar" in capsys.readouterr().err
    assert len(tars) == len(folder) == 40
    assert tars.key(25) == "train-001.tar/25.png"
    assert (pixels_of(tars) == pixels_of(folder)).all()
    again = open_source(f"{shards}/*.tar", tmp_path)  # its index is there now
    assert (again.digest, again.read(39)) == (tars.digest, tars.read(39))
    for index in (tmp_path / "index").iterdir():
        index.write_bytes(index.read_bytes()[:-40])
    mended = open_source(f"{shards}/*.tar", tmp_path)
    assert (mended.digest, mended.read(39)) == (tars.digest, tars.read(39))
    assert "train-000.tar is indexed again" in capsys.readouterr().err


def test_shards_from_a_url_are_fetched_once(shards, tmp_path):
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *arguments):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(shards)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        for _ in range(2):
            assert len(open_source(f"{url}/train-00{{0,1}}.tar", tmp_path)) == 40
        assert asked == ["/train-000.tar", "/train-001.tar"]
        with pytest.raises(EdgeclipError, match=r"train-009\.tar: the server has no such shard"):
            open_source(f"{url}/train-009.tar", tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert not [path for path in (tmp_path / "shards").iterdir() if path.name.startswith(".")]


@pytest.mark.slow  # its libraries take half a minute to import
def test_a_hugging_face_dataset(images_dir, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = [str(path) for path in sorted(images_dir.iterdir())]
    made = datasets.Dataset.from_dict({"n": list(range(40)), "picture": files})
    made.cast_column("picture", datasets.Image()).save_to_disk(tmp_path / "saved")
    source = open_source(f"hf:{tmp_path / 'saved'}", tmp_path)
    assert (pixels_of(source) == pixels_of(open_source(str(images_dir), tmp_path))).all()
    made.save_to_disk(tmp_path / "plain")
    with pytest.raises(EdgeclipError, match="no column of images, only n, picture"):
        open_source(f"hf:{tmp_path / 'plain'}", tmp_path)
    with pytest.raises(EdgeclipError, match="cannot be opened"):
        open_source("hf:nobody/nothing", tmp_path)


def test_hidden_files_are_no_images(images_dir, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(images_dir, folder)
    for name in ("._00.png", ".hidden.png", ".cache/x.png", "__MACOSX/._01.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(folder, arcname=".")
    assert len(open_source(str(folder), tmp_path)) == 40
    assert len(open_source(str(tmp_path / "photos.tar"), tmp_path)) == 40


def test_linked_folders_are_followed_and_loops_are_not(images_dir, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/photos").symlink_to(images_dir, target_is_directory=True)
    (tmp_path / "a/again").symlink_to(images_dir, target_is_directory=True)
    (tmp_path / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/gone").symlink_to(tmp_path / "absent")
    found = [str(file.relative_to(tmp_path)) for file in find_images(tmp_path)]
    assert found == [f"a/{name}/{n:02d}.png" for name in ("again",) for n in range(40)], "a folder counts once"


def test_what_is_not_there(tmp_path):
    with pytest.raises(EdgeclipError, match="no such folder"):
        find_images(tmp_path / "absent")
    with pytest.raises(EdgeclipError, match="no image files found"):
        find_images(tmp_path)
    with pytest.raises(EdgeclipError, match="no such shard"):
        open_source(f"{tmp_path}/a-{{0..9}}.tar", tmp_path)
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(EdgeclipError, match="not a tar archive"):
        open_source(f"{tmp_path}/a.tar", tmp_path)
    with tarfile.open(tmp_path / "b.tar", "w"):
        pass
    with pytest.raises(EdgeclipError, match=r"no images in 1 shard"):
        open_source(f"{tmp_path}/b.tar", tmp_path)


@pytest.mark.parametrize("harm", ["none", "cut", "flipped"])
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_jpeg_that_fits_is_read_as_pillow_reads_it(harm, data, tmp_path):
    draw = np.random.default_rng(data.draw(st.integers(0, 1 << 16)))
    subsampling, progressive = data.draw(st.integers(0, 2)), data.draw(st.booleans())
    file = io.BytesIO()
    picture = Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).resize((32, 32))
    picture.save(file, "JPEG", quality=data.draw(st.integers(20, 95)), subsampling=subsampling, progressive=progressive)
    content = bytearray(file.getvalue())
    if harm == "cut":
        content = content[: data.draw(st.integers(4, len(content)))]
    if harm == "flipped":
        content[data.draw(st.integers(4, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "a.jpg").write_bytes(content)
    images = Images(open_source(str(tmp_path), tmp_path), SQUARE)
    pixels, broken = images.decode([0])
    try:
        expected = np.asarray(images._square(read_image(tmp_path / "a.jpg")))
    except UnreadableImage:
        assert broken == [0]
    else:
        assert broken == []
        assert np.array_equal(pixels[0].permute(1, 2, 0), expected)
    if harm == "none":
        assert images._decoded(bytes(content), np.empty((32, 32, 3), np.uint8)), "Pillow read it"


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_images_that_cannot_be_read_are_told(images_dir, tmp_path, monkeypatch, limit):
    monkeypatch.setattr("edgeclip.data.squares.MEMORY_LIMIT", limit)
    for file in images_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "05.png").write_bytes(b"\x89PNG nothing")
    images = Images(open_source(str(tmp_path), tmp_path / "cache"), SQUARE)
    pixels, broken = images.decode([4, 5, 6])
    assert broken == [5]
    assert pixels.shape == (3, 3, 32, 32)
    assert (pixels[1] == 0).all()
    with Image.open(tmp_path / "06.png") as image:
        assert np.array_equal(pixels[2].permute(1, 2, 0), np.asarray(images._square(image)))
    with pytest.raises(EdgeclipError, match=r"05\.png cannot be read"):
        images[[5]]
