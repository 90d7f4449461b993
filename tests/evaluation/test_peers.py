"""The field's own evaluators on the same files: benchmarks/exactness.py, asserted."""

import importlib.util
import shutil
from pathlib import Path

import pytest

pytest.importorskip("clip_benchmark", reason="pip install clip-benchmark")
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:WebDataset"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*shards:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true"),
]


@pytest.fixture(scope="module")
def exactness():
    script = Path(__file__).parents[2] / "benchmarks/exactness.py"
    spec = importlib.util.spec_from_file_location("exactness", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def emoji(exactness, tmp_path_factory):
    """Sixty of the demo's held-out emoji as folders and as shards: the benchmark takes all of them."""
    from edgeclip.chain.demo.openmoji import write_dataset
    from edgeclip.images.datasets import open_dataset

    folder = tmp_path_factory.mktemp("emoji")
    write_dataset(folder / "data")
    for row, emoji in enumerate(sorted(path for path in (folder / "data/heldout").iterdir() if path.is_dir())):
        if row % 11:
            shutil.rmtree(emoji)
    exactness.export_shards(open_dataset(folder / "data/heldout"), folder / "shards")
    return folder / "data/heldout", folder / "shards"


def test_the_demos_teacher_gets_the_same_numbers_everywhere(exactness, emoji):
    from edgeclip.chain.loading import demo_teacher

    found = exactness.compare("demo", demo_teacher(), *emoji)
    assert found["edgeclip"]["folders"]["top1"] > 0.5
    assert found["same_features_points"] == 0
    assert found["end_to_end_points"] <= 0.1
