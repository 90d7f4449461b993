"""One byte that was changed, and still parses, is found."""

import json
import random
import re

import pytest

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError
from edgeclip.base.seal import is_whole, seal_of, sealed
from edgeclip.data.store import StoreDocument
from edgeclip.distillation.run import RunDocument
from edgeclip.measurement.schema import Figures
from edgeclip.reporting.schema import Report
from edgeclip.runtime.manifest import Manifest
from edgeclip.runtime.plain import read_plain

from ..test_cli import run
from .test_documents import documents

KINDS = (Manifest, RunDocument, StoreDocument, Figures, Report)


@pytest.mark.parametrize("kind", KINDS)
def test_any_change_that_still_parses_is_refused(kind, bundle, tmp_path):
    document = next(one for one in documents(bundle) if type(one) is kind)
    file = tmp_path / "document.json"
    document.save(file)
    assert read_document(file, kind) == document
    text = file.read_text()
    places = [found.start() for found in re.finditer(r"[0-9a-z]", text)]
    draw, refused = random.Random(0), 0
    for place in draw.sample(places, 60):
        other = "7" if text[place] != "7" else "3"
        file.write_text(text[:place] + other + text[place + 1 :])
        try:
            same = json.loads(file.read_text()) == json.loads(text)
        except ValueError:
            continue
        if same:  # the last digit of a number that is no other number by it
            continue
        with pytest.raises(EdgeclipError):
            read_document(file, kind)
        refused += 1
    assert refused > 20


def test_spaces_and_order_are_no_change(bundle, tmp_path):
    document = bundle.manifest
    data = document.as_data()
    (tmp_path / "m.json").write_text(json.dumps(dict(reversed(data.items())), indent=7))
    assert read_document(tmp_path / "m.json", Manifest) == document


def test_what_was_written_before_there_were_seals_is_read(bundle, tmp_path):
    old = {key: value for key, value in bundle.manifest.as_data().items() if key != "seal"} | {"version": 3}
    old["variants"] = [{**one, "engine": "onnxruntime"} for one in old["variants"]]
    (tmp_path / "m.json").write_text(json.dumps(old))
    assert read_document(tmp_path / "m.json", Manifest).variants == bundle.manifest.variants
    (tmp_path / "m.json").write_text(json.dumps(old | {"version": 4}))
    with pytest.raises(EdgeclipError, match="altered after edgeclip wrote it"):
        read_document(tmp_path / "m.json", Manifest)


def test_verify_says_so(bundle, tmp_path):
    import shutil

    shutil.copytree(bundle.path, tmp_path / "b")
    file = tmp_path / "b/bundle.json"
    file.chmod(0o644)
    file.write_text(file.read_text().replace('"logit_scale": ', '"logit_scale": 1'))
    told = run("verify", tmp_path / "b", expect=2).stderr
    assert "bundle.json: it was altered after edgeclip wrote it: copy it again, or make it again" in told
    with pytest.raises(EdgeclipError, match="it was altered after edgeclip wrote it: copy the bundle again"):
        read_plain(tmp_path / "b")


def test_a_seal_is_of_all_but_itself():
    document = sealed({"a": 1.5, "b": ["\udcff", None]})
    assert is_whole(document)
    assert is_whole(json.loads(json.dumps(document)))
    assert not is_whole({**document, "a": 2.5})
    assert not is_whole({"a": 1.5})
    assert seal_of({"a": 1}) != seal_of({"a": 2})
