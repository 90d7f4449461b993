"""Profiles: shipped, saved, refused; and what is said of a restless machine."""

import pytest

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.profiling.costmodel import predict_ms
from edgeclip.profiling.schema import Conditions, Profile
from edgeclip.profiling.store import list_profiles, load_profile
from edgeclip.profiling.verdict import judge
from edgeclip.towers.vit import vit_workload

VIT = vit_workload({"image_size": 64, "patch_size": 16, "width": 128, "layers": 4})


@pytest.fixture
def shipped():
    return load_profile("x86-avx2-2core")


def test_shipped_profiles_say_what_they_are():
    found = {p.name: p for p in list_profiles()}
    measured = {name for name, p in found.items() if p.provenance == "measured"}
    assert "x86-avx2-2core" in measured
    assert {"raspberry-pi-5", "jetson-orin-nano", "jetson-agx-orin", "pixel-4-cpu"} <= found.keys() - measured
    assert all(found[name].latency for name in measured)
    assert all(p.sources and not p.latency for name, p in found.items() if name not in measured)
    assert all(predict_ms(p, VIT, precision) > 0 for p in found.values() for precision in p.precisions)
    assert {precision for name in ("jetson-orin-nano",) for precision in found[name].precisions} == {"fp16", "int8"}


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(EdgeclipError, match="did you mean raspberry-pi-5"):
        load_profile("rasberry-pi-5")
    with pytest.raises(EdgeclipError, match="no such file"):
        load_profile("absent.toml")


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (lambda text, row: text.replace(f"p50_ms = {row.p50_ms}", "p50_ms = -1.0", 1), "latency.0.p50_ms"),
        (lambda text, row: text.replace(f"relative = {row.relative}\n", "", 1), "latency.0.relative"),
        (lambda text, row: text.replace(f"composed = {row.composed}", "composed = nan", 1), "latency.0.composed"),
    ],
    ids=["negative", "missing", "not a possible value"],
)
def test_faults_are_named_together(edit, where, shipped, tmp_path):
    path = tmp_path / "edited.toml"
    shipped.save(path)
    text = path.read_text().replace("cores = 2", "cores = 0", 1)
    path.write_text(edit(text, shipped.latency[0]))
    with pytest.raises(FormatError, match="2 fault") as caught:
        load_profile(path)
    assert all(name in str(caught.value) for name in ("device.cores", where))


def test_a_profile_cannot_call_itself_measured_with_an_empty_table(tmp_path):
    honest = load_profile("raspberry-pi-5")
    path = tmp_path / "p.toml"
    honest.model_copy(update={"provenance": "measured"}).save(path)
    with pytest.raises(FormatError, match="latency table is empty"):
        read_document(path, Profile)


def test_a_precision_the_profile_does_not_speak_for(shipped):
    with pytest.raises(EdgeclipError, match="has no data for fp16, only for fp32 and int8"):
        predict_ms(shipped, VIT, "fp16")


QUIET = Conditions(load=0.1)


def verdict(profile, beside, before=QUIET, after=QUIET):
    rows = [row.model_copy(update={"spread": 0.05}) for row in profile.latency]
    calm = profile.reference.model_copy(update={"drift": 0.05})
    return judge(profile.device, before, after, calm, rows, beside)


def test_a_machine_that_slows_down_in_the_middle_is_flagged(shipped):
    assert verdict(shipped, [3.0] * 9) == ([], [])
    flags, notes = verdict(shipped, [3.0] * 5 + [4.5] * 4)
    assert flags == ["throttled"]
    assert "1.50 times" in notes[0]
    hot = Conditions(clock_mhz=1500, temperature_c=84)
    flags, notes = verdict(shipped, [3.0] * 9, Conditions(clock_mhz=2400), hot)
    assert flags == ["throttled"]
    assert "84 degrees" in " ".join(notes)


def test_other_work_and_clock_governors_are_told(shipped):
    flags, notes = verdict(shipped, [3.0] * 9, Conditions(load=1.9, governor="ondemand"))
    assert flags == ["busy"]
    assert any("ondemand" in note for note in notes)
