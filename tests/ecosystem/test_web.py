"""examples/web in a headless Chromium: the int8 bundle answers as it does in Python, and nothing is uploaded."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeclip.runtime.preprocess import Preprocessor

sync_api = pytest.importorskip("playwright.sync_api")
WEB = Path(__file__).parents[2] / "examples/web"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
LABELS = [
    "a red thing",
    "green & blue",
    "a Striped, LARGE thing",
    "it’s “plain”",
    "small " * 20,
    "Ünïcode ☃",
    "5 dots",
    "",
]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: apt-get install npm"),
]

IMAGE = """async (name) => {
    const picture = await (await fetch(`/bundle/pictures/${name}`)).blob();
    return [...await bundle.encodeImage(picture)];
}"""
TOKENS = "(text) => bundle.tokenIds(text)"
TEXT = "async (text) => [...await bundle.encodeText(text)]"


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A copy of the example with its packages installed, as its README says."""
    folder = tmp_path_factory.mktemp("web")
    for file in WEB.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install onnxruntime-web here: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module")
def served(web, bundle, pictures, tmp_path_factory):
    """The address of a server with the tiny bundle and the pictures beside it."""
    copy = tmp_path_factory.mktemp("served") / "bundle"
    shutil.copytree(bundle.path, copy)
    shutil.copytree(pictures, copy / "pictures")
    process = subprocess.Popen(["node", "serve.mjs", str(copy), "0"], cwd=web, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait()
    process.stdout.close()


def cut_out():
    """A disk that fades out, as PNG."""
    across, down = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 64))
    alpha = np.clip(2 - 2 * np.hypot(across, down), 0, 1) * 255
    pixels = np.dstack([*np.broadcast_to(np.float64([200, 60, 90])[:, None, None], (3, *alpha.shape)), alpha])
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8), "RGBA").save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Fifty pictures of several sizes, larger and smaller than the tower's input, upright and lying."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(50):
        width, height = [(32, 32), (45, 64), (200, 120), (33, 31), (20, 24)][number % 5]
        rough = draw.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    (folder / "cut-out.png").write_bytes(cut_out())
    exif = Image.Exif()
    rough = draw.integers(0, 256, (3, 3, 3)).astype(np.uint8)
    lying = Image.fromarray(rough).resize((90, 60), Image.Resampling.BICUBIC)
    for exif[0x0112] in range(2, 9):  # every way to lie
        for kind in ("jpg", "png", "webp"):
            lying.save(folder / f"lying-{exif[0x0112]}.{kind}", exif=exif, quality=98)
    return folder


@pytest.fixture(scope="module")
def page(served):
    """The example, open, with int8; remembers where it went on the network."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.asked = []
        page.on("request", lambda request: page.asked.append((request.method, request.url)))
        page.goto(f"{served}?precision=int8")
        page.wait_for_function("document.querySelector('#status').textContent.startsWith('ready')", timeout=60_000)
        yield page
        browser.close()


def test_fifty_images_get_the_answers_of_python(page, bundle, pictures):
    encoder = bundle.encoder("int8")
    files = sorted(pictures.glob("[0-9]*.png"))
    there = np.float32([page.evaluate(IMAGE, file.name) for file in files])
    texts = np.float32([page.evaluate(TEXT, label) for label in LABELS])
    here = encoder.encode_image([Image.open(io.BytesIO(file.read_bytes())) for file in files])
    assert (there * here).sum(axis=1).min() > 0.999
    assert np.abs(texts - encoder.encode_text(LABELS)).max() < 1e-4
    answers = (there @ texts.T).argmax(axis=1)
    assert (answers == (here @ encoder.encode_text(LABELS).T).argmax(axis=1)).sum() == 50
    assert len(set(answers)) > 1


DECODED = """async ([name, changes]) => {
    const { decode, preprocess } = await import("/pixels.js");
    const picture = await (await fetch(`/bundle/pictures/${name}`)).blob();
    return [...preprocess(await decode(picture, changes), { ...bundle.manifest.preprocess, ...changes })];
}"""


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_a_photo_is_turned_where_the_bundle_says_so_alone(exif, kind, page, bundle, pictures):
    for file in sorted(pictures.glob(f"lying-*.{kind}")):
        seen = {}
        for way in ("apply", "ignore"):
            settings = bundle.manifest.preprocess.model_copy(update={"exif": way})
            seen[way] = Preprocessor(settings)([Image.open(io.BytesIO(file.read_bytes()))])[0]
        found = np.float32(page.evaluate(DECODED, [file.name, {"exif": exif}])).reshape(seen[exif].shape)
        assert np.abs(found - seen[exif]).mean() < 0.05, file.name
        assert np.abs(seen["apply"] - seen["ignore"]).mean() > 0.2, "turned it is another picture"


def test_a_transparent_picture_lies_on_the_bundles_ground(page, bundle):
    seen = Preprocessor(bundle.manifest.preprocess.model_copy(update={"ground": "40c0ff"}))
    with Image.open(io.BytesIO(cut_out())) as picture:
        expected = seen([picture])[0]
    found = np.float32(page.evaluate(DECODED, ["cut-out.png", {"ground": "40c0ff"}])).reshape(expected.shape)
    assert np.abs(found - expected).mean() < 0.05


def test_tokens_are_pythons(page, bundle):
    encoder = bundle.encoder("int8")
    assert [page.evaluate(TOKENS, label) for label in LABELS] == encoder.tokenizer(LABELS).tolist()


def test_a_visitor_gets_an_answer_and_nothing_leaves_the_page(page, served, pictures):
    page.fill("#labels", "a red thing\ngreen & <b>blue</b>")
    page.set_input_files("#picture", pictures / "02.png")
    page.wait_for_selector("#answers li >> nth=1")
    shown = page.locator("#answers li").all_inner_texts()
    assert page.locator("#answers b").count() == 0
    assert sum(float(text.split()[-2]) for text in shown) == pytest.approx(100, abs=0.2)
    assert {method for method, _ in page.asked} == {"GET"}
    assert all(url.startswith((served, "blob:", "data:")) for _, url in page.asked)


def test_a_bundle_that_is_not_there_is_said(web, tmp_path, page):
    process = subprocess.Popen(["node", "serve.mjs", str(tmp_path), "0"], cwd=web, stdout=subprocess.PIPE, text=True)
    try:
        other = page.context.browser.new_page()
        address = process.stdout.readline().strip()
        other.goto(address)
        other.wait_for_function("document.querySelector('#status').textContent.includes('cannot be opened')")
        assert other.request.get(f"{address}bundle/..%2F..%2Fetc/passwd").status == 404
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_the_lock_file_is_of_the_package_file():
    wanted = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert json.loads((WEB / "package-lock.json").read_text())["packages"][""]["dependencies"] == wanted
