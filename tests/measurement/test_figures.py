"""What a device measures of a bundle, and what a workstation makes of it."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file, save_file

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError
from edgeclip.base.files import sha256
from edgeclip.base.seal import sealed
from edgeclip.cli.tables import figures_table
from edgeclip.device.facts import describe_device
from edgeclip.images.datasets import open_dataset
from edgeclip.measurement import measure
from edgeclip.measurement.chain import Stage, accuracy_here, run_chain
from edgeclip.measurement.config import MeasureConfig
from edgeclip.measurement.devices import ThisMachine
from edgeclip.measurement.schema import Figures
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.cells import CHAIN_COLUMNS, chain_cells
from edgeclip.reporting.sanity import sanity
from edgeclip.reporting.schema import Report
from edgeclip.runtime.bundle import Bundle

from ..test_cli import run


@pytest.fixture(scope="module")
def dataset(labelled_dir):
    return labelled_dir


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """Of this machine, said to be measured."""
    file = tmp_path_factory.mktemp("profiles") / "here.toml"
    load_profile("x86-avx2-2core").model_copy(update={"device": describe_device(), "name": "here"}).save(file)
    return file


@pytest.fixture(scope="module")
def figures(bundle, dataset, tmp_path_factory):
    file = tmp_path_factory.mktemp("figures") / "figures.json"
    run("measure", bundle.path, "--dataset", dataset, "--out", file, "--seconds", 1)
    return file


def rewritten(bundle, out, name, write):
    """A copy of the bundle with a file of another content, and a manifest that vouches for it."""
    shutil.copytree(bundle.path, out)
    for file in (out / name, out / "bundle.json"):
        file.chmod(0o644)
    write(out / name)
    manifest = json.loads((out / "bundle.json").read_text())
    entry = next(e for e in (manifest["golden"], *manifest["variants"]) if e["file"] == name)
    entry |= {"sha256": sha256(out / name), "bytes": (out / name).stat().st_size}
    (out / "bundle.json").write_text(json.dumps(sealed(manifest)))
    return out


def test_figures_say_of_what_and_where_they_are(bundle, figures):
    found = read_document(figures, Figures)
    assert found.bundle == Bundle.open(bundle.path).sha256 == sha256(bundle.path / "bundle.json")
    assert found.device == describe_device()
    assert (found.dataset.images, found.dataset.classes, len(found.dataset.sha256)) == (24, 2, 64)
    assert (found.dataset.chance, found.dataset.copies) == (0.5, 0)
    assert [row.stage for row in found.rows] == ["exported fp32", "exported fp16", "exported int8"]
    assert all(len(row.answers) == len(row.right) == 24 and row.timing and row.peak_memory_mb for row in found.rows)
    assert found.reference.p50_ms > 0
    parts = ["tokenizer", "preprocessing", "text tower", *(f"image tower {p}" for p in ("fp32", "fp16", "int8"))]
    assert [one.part for one in found.verified] == parts
    assert found.wrong == []
    assert [row.stage for row in found.rows if row.recommended] == [f"exported {found.recommended}"]


def test_the_hash_of_a_data_set_is_of_its_content(bundle, dataset, figures, tmp_path):
    def hashed(folder):
        return accuracy_here([Stage("fp32", bundle.encoder("fp32"))], open_dataset(folder)).dataset

    shutil.copytree(dataset, tmp_path / "same")
    before = read_document(figures, Figures).dataset.sha256
    assert hashed(tmp_path / "same") == before
    one = next((tmp_path / "same").rglob("*.png"))
    Image.new("RGB", (32, 32), "blue").save(one)
    assert hashed(tmp_path / "same") != before
    (tmp_path / "same/templates.txt").write_text("a drawing of a {}\n")
    assert hashed(dataset) == before != hashed(tmp_path / "same")


@pytest.mark.usefixtures("few_samples")
def test_of_one_variant_alone_nobody_knows_the_best(bundle):
    found = measure(bundle.path, config=MeasureConfig(precisions=["int8"], seconds=0.1))
    assert [row.stage for row in found.rows] == ["exported int8"]
    assert (found.recommended, found.dataset) == (None, None)


@pytest.mark.usefixtures("few_samples")
def test_what_is_not_what_was_recorded_has_failed(bundle, tmp_path, capsys):
    def other_way(file):
        tensors = load_file(file)
        save_file({**tensors, "image_embeds": np.ascontiguousarray(-tensors["image_embeds"])}, file)

    folder = rewritten(bundle, tmp_path / "b", "golden.safetensors", other_way)
    found = measure(folder, config=MeasureConfig(seconds=0.1))
    assert [one.part for one in found.wrong][-3:] == [f"image tower {p}" for p in ("fp32", "fp16", "int8")]
    assert all("does not reproduce what was recorded" in row.failed for row in found.rows)
    assert "cosine -" in found.wrong[-1].detail
    assert found.recommended is None
    console = Console(file=io.StringIO(), width=400)
    console.print(figures_table(found))
    assert "image tower int8 differs from what was recorded at export: worst cosine -" in console.file.getvalue()


def test_a_device_measures_and_a_workstation_adds_the_teacher(bundle, teacher_dir, dataset, profile, figures, tmp_path):
    command = ["report", bundle.path, "--profile", profile, "--dataset", dataset, "--out", tmp_path / "r"]
    command += ["--figures", figures, "--teacher", f"local-dir:{teacher_dir}"]
    run(*command, "--latency-ms", 1000, "--accuracy-drop", 100)
    report = read_document(tmp_path / "r/report.json", Report)
    measured = read_document(figures, Figures)
    assert [row.stage for row in report.rows] == ["teacher", "exported fp32, host", *(r.stage for r in measured.rows)]
    assert [row.where for row in report.rows] == ["host", "host", "device", "device", "device"]
    assert all(row.timing is None for row in report.rows[:2])
    assert report.rows[2].timing == measured.rows[0].timing, "nothing was timed anew"
    assert report.rows[2].compared_to == "exported fp32, host"
    assert report.rows[2].agreement == 1.0
    assert report.bundle == measured.bundle
    assert report.verdict == "met"


def test_figures_of_another_bundle_are_refused(bundle, dataset, profile, figures, tmp_path):
    def same(file):
        file.write_bytes(file.read_bytes())

    other = rewritten(bundle, tmp_path / "b", "golden.safetensors", same)
    (other / "bundle.json").write_text((other / "bundle.json").read_text() + "\n")
    command = ["report", other, "--profile", profile, "--dataset", dataset, "--out", tmp_path / "r"]
    told = run(*command, "--figures", figures, expect=2).stderr
    assert "another bundle" in told and "measure this one on the device" in told, "before anything is measured here"
    assert not (tmp_path / "r").exists()


def test_figures_of_another_data_set_are_refused(bundle, dataset, teacher_dir, profile, figures, tmp_path):
    shutil.copytree(dataset, tmp_path / "other")
    next((tmp_path / "other").rglob("*.png")).unlink()
    command = ["report", bundle.path, "--profile", profile, "--dataset", tmp_path / "other", "--out", tmp_path / "r"]
    command += ["--teacher", f"local-dir:{teacher_dir}", "--figures", figures]
    assert "another data set" in run(*command, expect=2).stderr


def test_figures_of_another_device_than_the_profile_are_refused(bundle, dataset, figures, tmp_path):
    another = describe_device().model_copy(update={"cpu": "another"})
    load_profile("x86-avx2-2core").model_copy(update={"device": another}).save(tmp_path / "other.toml")
    command = ["report", bundle.path, "--profile", tmp_path / "other.toml", "--dataset", dataset]
    assert "another device" in run(*command, "--figures", figures, "--out", tmp_path / "r", expect=2).stderr


class OnlyEncodes:
    """A user's own teacher, as ``module:factory`` brings it: nobody knows what is in it."""

    def __init__(self, encoder):
        self.embed_dim, self.encode_image, self.encode_text = (
            encoder.embed_dim,
            encoder.encode_image,
            encoder.encode_text,
        )


def test_a_teacher_that_only_encodes_has_accuracy_and_no_latency(bundle, dataset):
    fp32 = bundle.encoder("fp32")
    chain = [Stage("teacher", OnlyEncodes(fp32)), Stage("exported fp32", fp32, compared_to="teacher", focus=True)]
    measured = run_chain(chain, open_dataset(dataset), ThisMachine(), seconds=0.1)
    teacher, exported = measured.rows
    assert (teacher.top1, teacher.answers) == (exported.top1, exported.answers)
    assert (teacher.timing, teacher.size_bytes, teacher.where) == (None, 0, "device")
    assert exported.timing and exported.cosine_mean == pytest.approx(1, abs=1e-6)
    assert chain_cells(teacher)[CHAIN_COLUMNS.index("MB")] == "-"
    assert sanity(measured.rows, exported, None)[1:] == [], "nothing is larger than what nobody can weigh"


def test_latency_is_kept_where_accuracy_fails_after_it(bundle, dataset, monkeypatch):
    def fails(*labels):
        raise EdgeclipError("the text tower is another's")

    monkeypatch.setattr("edgeclip.measurement.chain.class_embeddings", fails)
    measured = measure(bundle.path, dataset, config=MeasureConfig(seconds=0.1, precisions=("fp32",)))
    (row,) = measured.rows
    assert row.timing and row.top1 is None
    assert row.failed == "accuracy not measured: the text tower is another's"
