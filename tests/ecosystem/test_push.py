"""`edgeclip push` against a stand-in of the hub: what it uploads is read back by stock open_clip and by onnxruntime."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import edgeclip
from edgeclip.data.training import TrainingData
from edgeclip.ecosystem.card import Facts, card, data_facts
from edgeclip.ecosystem.layout import write_layout
from edgeclip.reporting.schema import Report
from edgeclip.runtime.bundle import Bundle

from ..reporting.test_report import make
from ..test_cli import run
from .hub import TOKEN, serve

pytest.importorskip("huggingface_hub")
HOSTILE = '# taken\n<script>alert("x")</script> | `$(rm -rf /)`'


@pytest.fixture(scope="module")
def trained(spec, teacher, images_dir, texts_file, tmp_path_factory):
    """A finished run and its bundle."""
    from edgeclip.distillation.config import DistillConfig
    from edgeclip.distillation.pipeline import distill
    from edgeclip.distillation.teachers import as_teacher
    from edgeclip.exporting import export
    from edgeclip.exporting.plan import ExportPlan

    folder = tmp_path_factory.mktemp("trained")
    config = DistillConfig(epochs=1, batch_size=20, views=1, tracker="none")
    made = distill(
        spec, [as_teacher("tiny", teacher)], TrainingData(images_dir, texts_file), folder / "run", config=config
    )
    facts = {"source": str(made.path), "spec": spec, "plan": ExportPlan(precisions=("int8",))}
    export(made.encoder(), folder / "bundle", calibration=sorted(images_dir.iterdir()), **facts)
    make(name=HOSTILE).save(folder / "report.json")
    return folder


@pytest.fixture
def hub(tmp_path):
    """A hub, and the environment in which programs find it."""
    with serve() as served:
        environment = {"HF_ENDPOINT": served.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        yield served, {**os.environ, **environment, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": TOKEN}


def in_a_process(environment, *arguments):
    """huggingface_hub reads its settings when it is imported, so each program has a process of its own."""
    return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_what_is_pushed_is_what_others_read(hub, trained, images_dir):
    served, environment = hub
    command = ["-m", "edgeclip", "push", trained / "run", "me/tiny", "--bundle", trained / "bundle", "--json"]
    command += ["--report", trained / "report.json", "--licence", "cc-by-sa-4.0"]
    done = in_a_process(environment, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"repo": "me/tiny", "address": f"{served.address}/me/tiny"}
    assert served.commits == ["Pushed by edgeclip"]
    files = served.files["me/tiny"]
    assert {"README.md", "config.json", "open_clip_config.json", "tokenizer.json", "bundle/bundle.json"} <= set(files)
    assert {"onnx/model.onnx", "onnx/vision_model_quantized.onnx", "onnx/text_model.onnx", "report/report.html"} <= set(
        files
    )
    image = sorted(images_dir.iterdir())[0]
    read = (
        "import sys, json, open_clip, torch; from PIL import Image\n"
        "model, _, transform = open_clip.create_model_and_transforms('hf-hub:me/tiny')\n"
        "with torch.no_grad(): found = model.eval().encode_image(transform(Image.open(sys.argv[1]))[None])\n"
        "print(json.dumps(torch.nn.functional.normalize(found)[0].tolist()))"
    )
    done = in_a_process(environment, "-c", read, image)
    assert done.returncode == 0, done.stderr
    ours = edgeclip.load(trained / "run").encode_image([Image.open(image)])[0]
    assert np.abs(np.float32(json.loads(done.stdout.splitlines()[-1])) - ours).max() < 1e-6


def test_a_hub_that_refuses_and_one_that_is_not_there(hub, tmp_path):
    _, environment = hub
    (tmp_path / "model").mkdir()
    (tmp_path / "model/README.md").write_text("# me")
    call = (
        "import sys; from pathlib import Path; from edgeclip.ecosystem.hub import upload\n"
        "from edgeclip.base.errors import EdgeclipError\n"
        "try: upload(Path(sys.argv[1]), 'me/x')\n"
        "except EdgeclipError as error: print(error)"
    )
    done = in_a_process({**environment, "HF_TOKEN": "hf_strangers"}, "-c", call, tmp_path / "model")
    assert "log in with" in done.stdout, done.stderr
    nowhere = {**environment, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = in_a_process(nowhere, "-c", call, tmp_path / "model")
    assert "cannot be reached" in done.stdout, done.stderr


def test_mistakes_before_anything_is_sent(trained, bundle, tmp_path):
    assert "use USER/NAME" in run("push", trained / "run", "no repo!", expect=2).stderr
    assert "is not a run" in run("push", tmp_path, "me/x", expect=2).stderr
    other = run("push", trained / "run", "me/x", "--bundle", bundle.path, expect=2).stderr
    assert "exported from another student" in other


def test_a_data_set_on_a_hub(hub, tmp_path):
    from ..images.test_layouts import png, write_tar

    served, environment = hub
    write_tar(tmp_path / "0.tar", [("a.png", png("red")), ("a.cls", b"0")])
    served.files["me/wds_one"] = {
        "test/nshards.txt": b"1",
        "test/0.tar": (tmp_path / "0.tar").read_bytes(),
        "classnames.txt": b"red\n",
    }
    read = "from edgeclip.images.datasets import open_dataset as o; d = o('{}'); print(d.name, len(d), len([*d]))"
    for where in ("hub:me/wds_one", "https://huggingface.co/datasets/me/wds_one/tree/main"):
        done = in_a_process(environment, "-c", read.format(where))
        assert done.stdout == "wds_one 1 1\n", done.stderr
    done = in_a_process(environment, "-c", read.format("hub:me/absent"))
    assert "no such data set" in done.stderr


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_graph_of_both_towers_answers_as_the_bundle(trained, images_dir, tmp_path, precision):
    bundle = Bundle.open(trained / "bundle")
    write_layout(bundle, tmp_path)
    suffix = {"fp32": "", "int8": "_quantized"}[precision]
    session = onnxruntime.InferenceSession(tmp_path / f"onnx/model{suffix}.onnx")
    encoder = bundle.encoder(precision)
    images, texts = [Image.open(path) for path in sorted(images_dir.iterdir())[:3]], ["a red thing", "blue"]
    ids = encoder.tokenizer(texts)
    short = ids[:, : int((ids != bundle.manifest.tokenizer.pad_id).sum(axis=1).max()) + 1]  # as a tool would pad them
    assert short.shape[1] < ids.shape[1]
    names = [output.name for output in session.get_outputs()]
    fed = {"pixel_values": encoder.preprocess(images), "input_ids": short}
    found = dict(zip(names, session.run(None, fed), strict=True))
    assert np.abs(found["image_embeds"] - encoder.encode_image(images)).max() < 1e-5
    assert np.abs(found["text_embeds"] - encoder.encode_text(texts)).max() < 1e-5
    logits = encoder.logit_scale * encoder.encode_image(images) @ encoder.encode_text(texts).T
    assert np.allclose(found["logits_per_image"], logits, atol=1e-3)
    assert np.array_equal(found["logits_per_text"], found["logits_per_image"].T)


def test_the_card_says_what_was_done_and_nothing_takes_it_over(trained, tmp_path):
    from edgeclip.distillation.run import Run

    document = Run.open(trained / "run").document
    document = document.model_copy(update={"teacher": HOSTILE, "texts": f"/home/somebody/private/{HOSTILE}"})
    told = card(Facts("me/tiny", document, "mit", HOSTILE, "CC BY-SA 4.0", report=make(name=HOSTILE)))
    head, rest = told.split("---\n", 2)[1:]
    assert 'license: "mit"' in head
    assert "# taken" not in rest.splitlines()
    outside = re.sub(r"```.*?```|`[^`\n]*`", "", rest, flags=re.S)  # code shows markup, it does not run it
    assert "<script" not in outside.replace("\\<", "")
    for part in ("epochs", "not paired", "CC BY-SA 4.0", "top-1", "arxiv.org/abs/2303.18232"):
        assert part in rest
    assert "/home/somebody" not in told
    assert str(tmp_path.parent) not in told


def test_credit_and_licence_come_from_beside_the_images(tmp_path):
    (tmp_path / "train").mkdir()
    assert data_facts(tmp_path / "train") == {}
    (tmp_path / "dataset.json").write_text('{"credit": "somebody", "licence": "CC0"}')
    assert data_facts(tmp_path / "train") == {"data_credit": "somebody", "data_licence": "CC0"}
    (tmp_path / "dataset.json").write_text("[]")
    assert data_facts(tmp_path / "train") == {}


def test_the_report_that_is_pushed_is_read_before_anything_is_sent(trained, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    stderr = run("push", trained / "run", "me/x", "--report", tmp_path / "report.json", expect=2).stderr
    assert Report.FORMAT in stderr


CLASSIFY = """
import { env, pipeline } from "@huggingface/transformers";
const [models, labels, ...files] = process.argv.slice(2);
Object.assign(env, { allowRemoteModels: false, localModelPath: models });
const classify = await pipeline("zero-shot-image-classification", "layout");
const found = [];
for (const file of files) found.push(await classify(file, JSON.parse(labels), { hypothesis_template: "{}" }));
console.log(JSON.stringify(found.map((answers) => answers[0].label)));
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: apt-get install npm")
def test_transformers_js_answers_as_the_bundle(trained, tmp_path):
    bundle = Bundle.open(trained / "bundle")
    write_layout(bundle, tmp_path / "models/layout")
    (tmp_path / "classify.mjs").write_text(CLASSIFY)
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "@huggingface/transformers@4"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("npm cannot install @huggingface/transformers here")
    size, files, draw = bundle.manifest.preprocess.size, [], np.random.default_rng(0)
    for number in range(10):
        rough = Image.fromarray(draw.integers(0, 256, (4, 4, 3)).astype(np.uint8))
        files.append(tmp_path / f"{number}.png")
        rough.resize((size, size)).save(files[-1])  # as large as the input: its resize is not Pillow's
    labels = ["a red thing", "it’s “green”", "Blue", "something striped and bright and large"]
    command = ["node", "classify.mjs", str(tmp_path / "models") + "/", json.dumps(labels), *map(str, files)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    odds = bundle.classify([Image.open(file) for file in files], labels)
    assert json.loads(done.stdout) == [labels[best] for best in odds.argmax(axis=1)]


def test_a_folder_shows_what_would_be_uploaded_and_no_hub_is_asked(trained, tmp_path):
    words = ["push", trained / "run", "me/tiny", "--bundle", trained / "bundle", "--report", trained / "report.json"]
    told = json.loads(run(*words, "--to", tmp_path / "model", "--json").stdout)
    assert told == {"repo": "me/tiny", "folder": str(tmp_path / "model")}
    assert (tmp_path / "model/README.md").read_text().startswith("---\nlicense")
    assert (tmp_path / "model/bundle/bundle.json").is_file() and (
        tmp_path / "model/onnx/model_quantized.onnx"
    ).is_file()
    run(*words, "--to", tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/x").write_text("mine")
    assert "which edgeclip did not put there" in run(*words, "--to", tmp_path / "mine", expect=2).stderr


def test_pictures_are_not_for_everybody(trained, tmp_path):
    from edgeclip.base.documents import read_document
    from edgeclip.ecosystem.push import write_model
    from edgeclip.measurement.schema import Picture

    private = tmp_path / "report.json"
    make().model_copy(update={"pictures": [Picture(image=0, key="me.jpg", jpeg="AAAA")]}).save(private)
    write_model(trained / "run", "me/tiny", tmp_path / "model", report=private)
    assert read_document(tmp_path / "model/report/report.json", Report).pictures == []
    assert not any("me.jpg" in file.read_text() for file in (tmp_path / "model/report").iterdir())
