"""Figures, manifests and a teacher's config."""

import copy
import json
import shutil

import pytest

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError
from edgeclip.base.seal import sealed
from edgeclip.measurement.schema import Figures
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.plain import read_plain

from ..base.test_documents import documents
from ..test_cli import run
from .test_replies import MACHINE
from .told import one_line


def figures(bundle):
    return next(one for one in documents(bundle) if isinstance(one, Figures)).as_data()


def edited(data, **changes):
    row = {**data["rows"][0], **changes.pop("row", {})}
    timing = changes.pop("timing", None)
    if timing:
        row["timing"] = {**row["timing"], **timing}
    return {**data, "rows": [row], **changes}


FAULTS = {
    "p50 above p90": {"timing": {"p50_ms": 2.0, "raw_ms": []}},
    "p90 above p95": {"timing": {"p90_ms": 2.0, "raw_ms": []}},
    "p95 above p99": {"timing": {"p95_ms": 2.0, "raw_ms": []}},
    "p99 above max": {"timing": {"p99_ms": 2.0, "raw_ms": []}},
    "other samples": {"timing": {"raw_ms": [2.0]}},
    "more samples": {"timing": {"samples": 2}},
    "faster": {"timing": dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"), 0.5)},
    "better": {"row": {"right": "0", "answers": [0], "top1": 1.0}},
    "worse": {"row": {"right": "1", "answers": [0], "top1": 0.0}},
    "outside its interval": {"row": {"right": "1", "answers": [0], "top1": 1.0, "top1_interval": [0.1, 0.2]}},
    "answers of others": {"row": {"right": "10", "answers": [0], "top1": 0.5}},
    "no answers": {"row": {"right": "", "answers": [], "top1": 0.5}},
    "letters": {"row": {"right": "yes", "answers": [0, 0, 0], "top1": 0.5}},
    "more than the data set": {"row": {"right": "11111", "answers": [0] * 5, "top1": 1.0}},
    "a class that there is none": {"row": {"right": "1", "answers": [7], "top1": 1.0}},
    "nothing verified": {"verified": []},
    "a machine without a name": {"device": {"cores": 4}},
    "a machine without cores": {"device": {**MACHINE, "cores": 0}},
    "another best": {"recommended": "int8"},
    "no rows": {"rows": []},
    "no engine": {"threads": 2},
    "chance beyond one": {
        "dataset": {"name": "d", "sha256": "0", "images": 4, "classes": 2, "templates": [], "chance": 2}
    },
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("how", ["sealed again", "as it is"])
def test_figures_that_contradict_themselves(name, how, bundle, tmp_path):
    data = figures(bundle)
    changes = copy.deepcopy(FAULTS[name])
    found = {**data, **changes} if "rows" in changes else edited(data, **changes)
    if name == "no engine":
        del found["runtime"]
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(sealed(found) if how == "sealed again" else found))
    with pytest.raises(EdgeclipError) as error:
        read_document(file, Figures)
    one_line(error)


def test_figures_as_they_were_written_are_read(bundle, tmp_path):
    (tmp_path / "figures.json").write_text(json.dumps(figures(bundle)))
    assert read_document(tmp_path / "figures.json", Figures)


MANIFESTS = {
    "size 10^6": lambda own: own["preprocess"].update(size=10**6),
    "size 0": lambda own: own["preprocess"].update(size=0),
    "scale 1e308": lambda own: own.update(logit_scale=1e308),
    "scale negative": lambda own: own.update(logit_scale=-1.0),
    "width 10^9": lambda own: own.update(embed_dim=10**9),
    "width negative": lambda own: own.update(embed_dim=-1),
    "std 0": lambda own: own["preprocess"].update(std=[0, 0, 0]),
    "mean of two": lambda own: own["preprocess"].update(mean=[0.5, 0.5]),
    "no variants": lambda own: own.update(variants=[]),
    "variants a table": lambda own: own.update(variants={}),
    "a target that is none": lambda own: own.update(target=3),
    "no runtime": lambda own: own["target"].pop("runtime"),
    "golden elsewhere": lambda own: own["golden"].update(file="../../etc/passwd"),
    "golden a folder": lambda own: own["golden"].update(file="."),
    "preprocess a list": lambda own: own.update(preprocess=[]),
    "fallback another": lambda own: own.update(fallback="int4"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_none(name, bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "b")
    file = tmp_path / "b/bundle.json"
    own = json.loads(file.read_text())
    MANIFESTS[name](own)
    file.chmod(0o644)
    file.write_text(json.dumps(sealed(own)))
    for opened in (Bundle.open, read_plain):
        with pytest.raises(EdgeclipError) as error:
            opened(tmp_path / "b")
        one_line(error)


CONFIGS = [
    "[]",
    "3",
    '"x"',
    "null",
    "{",
    "{}",
    '{"model_cfg": []}',
    '{"model_cfg": {}}',
    '{"model_cfg": {"embed_dim": "x"}}',
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_teachers_config_that_is_none(config, teacher_dir, tmp_path):
    shutil.copytree(teacher_dir, tmp_path / "t")
    (tmp_path / "t/open_clip_config.json").write_text(config)
    told = run("eval", f"local-dir:{tmp_path / 't'}", "--dataset", tmp_path, expect=2).stderr
    assert told.count("\n") == 1


def test_there_are_enough_of_them():
    assert 2 * len(FAULTS) + 2 * len(MANIFESTS) + len(CONFIGS) > 80
