"""A tiny but real teacher, and images and sentences for it."""

import os
import tempfile

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("unhurried", deadline=None)  # how long an example takes says more of the machine than of it
settings.load_profile("unhurried")


def pytest_configure(config):
    """Where there is a GPU, `-m gpu` alone sees it: what other tests expect to the bit is a CPU's."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


# A file is one worker's: the longest begin, so that no worker is left alone with one at the end.
LONGEST = ("chain/demo/test_pipeline", "chain/test_whole", "measurement/test_runtimes", "measurement/test_remote")
LONGEST += ("measurement/test_ssh", "api/test_python", "distillation/test_run", "chain/test_project")


def pytest_collection_modifyitems(items):
    """Put them first."""
    first = {f"tests/{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.nodeid.partition("::")[0], len(first)))


WORDS = ("red", "green", "blue", "round", "square", "small", "large", "striped", "plain", "bright")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What is kept for other runs is kept for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def scratch():
    """What a command that a test kills leaves in the place for scratch is cleared, and told, by no other test."""
    place = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
    with place as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def few_samples(monkeypatch):
    """Latency of this process's own measurements from few samples, for tests that ask for no figure of it."""
    from edgeclip.measurement import bench
    from edgeclip.runtime import turns

    monkeypatch.setattr(turns, "SAMPLES", 64)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.05)
    for name in ("BATCH_SECONDS", "END_TO_END_SECONDS", "ENERGY_SECONDS"):
        monkeypatch.setattr(bench, name, 0.02)


@pytest.fixture(scope="session")
def teacher_dir(tmp_path_factory):
    """An open_clip model of 32 px in hub layout, random weights."""
    import open_clip
    import torch

    from edgeclip.models.openclip import save_hub_layout

    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
    model = open_clip.model.CustomTextCLIP(32, dict(vision), dict(text))
    folder = tmp_path_factory.mktemp("teacher")
    preprocess = {"size": 32, "mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
    save_hub_layout(model, config, preprocess, folder)
    return folder


@pytest.fixture(scope="session")
def teacher(teacher_dir):
    from edgeclip import load

    return load(f"local-dir:{teacher_dir}")


@pytest.fixture(scope="session")
def images_dir(tmp_path_factory):
    """Forty images of noise on colour, of several sizes."""
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for number in range(40):
        noise = draw.integers(0, 80, (36 + number % 5, 40, 3)) + draw.integers(0, 170, 3)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def labelled_dir(teacher, images_dir, tmp_path_factory):
    """Those of the forty images that the teacher tells apart best, in two folders named by its answers.

    What it was never taught it cannot know; so that it is right, what it says is what is true here.
    """
    import itertools
    import shutil

    from edgeclip.evaluation.zeroshot import class_embeddings
    from edgeclip.images.labelled import TEMPLATES

    names = [f"{a} {b}" for a, b in itertools.combinations(WORDS, 2)]
    files = sorted(images_dir.iterdir())
    scores = teacher.encode_image([Image.open(file) for file in files]) @ class_embeddings(teacher, names, TEMPLATES).T
    best: tuple = (0.0,)
    for one, other in itertools.combinations(range(len(names)), 2):
        margin = scores[:, one] - scores[:, other]
        order = np.argsort(margin)
        sure = min(-margin[order[11]], margin[order[-12]])
        if sure > best[0]:
            best = (sure, {names[one]: order[-12:], names[other]: order[:12]})
    folder = tmp_path_factory.mktemp("labelled")
    for name, rows in best[1].items():
        (folder / name).mkdir()
        for row in rows:
            shutil.copy(files[row], folder / name)
    return folder


@pytest.fixture(scope="session")
def texts_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "sentences.txt"
    path.write_text("\n".join(f"a {a} {b} thing" for a in WORDS for b in WORDS if a != b))
    return path


@pytest.fixture(scope="session")
def spec():
    from edgeclip.towers.spec import StudentSpec
    from edgeclip.towers.vit import vit_workload

    config = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "mlp_ratio": 2.0, "head_width": 32}
    return StudentSpec(name="tiny", vision_cfg=config, workload=vit_workload(config))


@pytest.fixture(scope="session")
def bundle(teacher, images_dir, tmp_path_factory):
    """The teacher, exported in every precision."""
    from edgeclip.exporting import export
    from edgeclip.exporting.plan import ExportPlan

    out, files = tmp_path_factory.mktemp("bundles") / "tiny", sorted(images_dir.iterdir())
    plan = ExportPlan(precisions=("fp16", "int8"))
    return export(teacher, out, source="local", calibration=files, plan=plan)
