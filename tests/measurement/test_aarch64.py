"""The bundle on aarch64, emulated by qemu-user: Debian's Python and the aarch64 wheel of onnxruntime.

`make aarch64` puts the device into build/aarch64 and runs this.
"""

import json
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "build/aarch64"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (FOLDER / "ready").exists(), reason="no emulated device here: make aarch64"),
]


def there(*words):
    done = subprocess.run([str(FOLDER / "device"), *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_another_machine():
    assert there("-c", "import platform; print(platform.machine())").strip() == "aarch64"


def test_the_bundle_gives_there_what_was_recorded_here(bundle):
    told = json.loads(there(bundle.path / "run.py", "verify"))
    assert told["verified"], told
    assert len(told["findings"]) == 6


def test_it_classifies_there_as_here(bundle, images_dir):
    image = sorted(images_dir.iterdir())[0]
    told = json.loads(
        there(bundle.path / "run.py", "classify", image, "--labels", "red,green,blue", "--precision", "fp32")
    )
    from PIL import Image

    encoder = bundle.encoder("fp32")
    expected = dict(
        zip(
            ["red", "green", "blue"],
            bundle.classify([Image.open(image)], ["red", "green", "blue"], encoder)[0],
            strict=True,
        )
    )
    assert dict(told["images"][0]["labels"]) == pytest.approx(expected, abs=1e-3)
