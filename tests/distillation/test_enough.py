"""Few images are told of by what they were worth where that was measured."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

from edgeclip.distillation.enough import RETAINED, few_images

MEASURED = Path(__file__).parents[2] / "benchmarks/results/demo_epochs.json"


def test_fewer_images_than_were_enough_are_told_with_what_they_were_worth():
    told = few_images(722)
    assert told.startswith("722 images are few: the demo's student retains ")
    assert f"{100 * RETAINED[300]:.0f} % with 300, " in told
    assert f"Give {max(RETAINED):,} or more" in told
    assert few_images(max(RETAINED) - 1)
    assert few_images(max(RETAINED)) == ""


def test_what_is_told_was_measured():
    found = json.loads(MEASURED.read_text())
    rows = defaultdict(list)
    most = max(row["epochs"] for row in found["rows"] if row["images"] == max(RETAINED))
    for row in found["rows"]:
        if row["images"] < max(RETAINED) or row["epochs"] == most:
            rows[row["images"]].append(row["kept"])
    assert {images: mean(kept) for images, kept in rows.items()} == pytest.approx(RETAINED, abs=0.005)
    assert RETAINED[max(RETAINED)] >= 0.9
