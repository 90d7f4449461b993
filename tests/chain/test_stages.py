"""What a changed setting makes again: it, and what comes after it, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.stages import (
    DEPENDS,
    GONE,
    STAGES,
    Made,
    StageMade,
    changes,
    own_settings,
    plan,
    refuse_others,
    set_aside,
)
from edgeclip.cli.project import STAGES as OFFERED
from edgeclip.distillation.config import DistillConfig

SETTINGS = {
    "profile": "here",
    "device": "a board, 4 cores",
    "teacher": "T",
    "images": "images",
    "images.content": "722 files (1)",
    "texts": "t.txt",
    "dataset": "testset",
    "budget.latency_ms": 20.0,
    "budget.accuracy_drop": 5.0,
    "distill.epochs": 100,
    "distill.weights.vl": 1.0,
}


def made(whole=STAGES, settings=SETTINGS):
    entries = {stage: StageMade(by=own_settings(stage, settings), whole=stage in whole, seconds=7) for stage in STAGES}
    return Made(stages=entries)


def does(found):
    return [one.does for one in found]


def test_the_command_offers_every_stage():
    assert OFFERED == STAGES


def test_nothing_is_there_and_all_is_made():
    assert does(plan(Made(), SETTINGS)) == ["make"] * 5


def test_what_has_not_changed_is_kept():
    found = plan(made(), SETTINGS)
    assert does(found) == ["there"] * 5
    assert {one.seconds for one in found} == {7}


@pytest.mark.parametrize(
    ("changed", "value", "first"),
    [
        ("device", "another", "profile"),
        ("budget.latency_ms", 3.0, "select"),
        ("budget.size_mb", 9.0, "select"),
        ("teacher", "U", "select"),
        ("distill.epochs", 30, "distill"),
        ("images.content", "723 files (2)", "distill"),
        ("budget.accuracy_drop", 1.0, "report"),
        ("dataset", "other", "report"),
    ],
)
def test_a_changed_setting_is_named_and_what_depends_on_it_made_again(changed, value, first):
    found = plan(made(), {**SETTINGS, changed: value})
    kept = STAGES.index(first)
    assert does(found) == ["there"] * kept + ["make again"] * (5 - kept)
    assert found[kept].why.startswith(f"{changed} ")
    assert [one.why for one in found[kept + 1 :] if one.stage not in ("select", "distill")] == [
        f"after {first}" for stage in STAGES[kept + 1 :] if stage not in ("select", "distill")
    ]


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.one_of(st.none(), st.integers(), st.text()), min_size=1))
def test_whatever_changes_nothing_before_it_does(new):
    now = {**SETTINGS, **new}
    found = plan(made(), now)
    differs = [stage for stage in STAGES if own_settings(stage, now) != own_settings(stage, SETTINGS)]
    first = STAGES.index(differs[0]) if differs else len(STAGES)
    assert does(found) == ["there"] * first + ["make again"] * (5 - first)


def test_what_was_interrupted_is_gone_on_with_unless_its_settings_changed():
    cut = made(whole=("profile", "select"))
    assert does(plan(cut, SETTINGS))[2] == "go on"
    assert does(plan(cut, {**SETTINGS, "distill.epochs": 3}))[2] == "make again"


def test_what_is_not_there_any_more_is_made_again():
    found = plan(made(), SETTINGS, gone={"export"})
    assert does(found) == ["there"] * 3 + ["make again"] * 2
    assert [one.why for one in found[3:]] == [GONE, "after export"]
    assert does(plan(Made(), SETTINGS, gone=set(STAGES))) == ["make"] * 5
    assert does(plan(made(whole=()), SETTINGS, gone=set(STAGES))) == ["go on"] * 5, "it never was"


def test_a_stage_is_made_again_on_request_with_those_after_it():
    found = plan(made(), SETTINGS, "export")
    assert does(found) == ["there"] * 3 + ["make again"] * 2
    assert found[3].why == "--again"


def test_changes_are_told_old_and_new():
    assert changes({"a": 20.0, "b": 1}, {"a": 3.0, "c": "x"}) == "a 20 -> 3, b 1 -> none, c none -> x"
    assert changes({"a": 1}, {"a": 1}) == ""


def test_every_setting_of_training_counts():
    settings = {f"distill.{name}": 1 for name in DistillConfig.model_fields}
    assert own_settings("distill", settings) == settings
    assert not any(own_settings(stage, settings) for stage in DEPENDS if stage != "distill")


def test_a_stage_that_fails_is_not_whole(tmp_path):
    record = Made()
    with pytest.raises(RuntimeError), record.making(tmp_path, "profile", SETTINGS):
        raise RuntimeError
    assert not Made.of(tmp_path).stages["profile"].whole
    with record.making(tmp_path, "profile", SETTINGS):
        pass
    assert Made.of(tmp_path).stages["profile"].whole


def test_a_call_that_is_cut_between_two_stages_leaves_none_of_the_old_ones(tmp_path):
    """Selected anew, and killed before the training: the run is still of the student before."""
    record, new = made(), {**SETTINGS, "budget.latency_ms": 3.0}
    with record.making(tmp_path, "select", new):
        pass
    found = plan(Made.of(tmp_path), new)
    assert does(found) == ["there"] * 2 + ["make again"] * 3
    assert found[2].why == "after select"
    for stage in STAGES[2:]:
        with record.making(tmp_path, stage, new):
            pass
    assert does(plan(Made.of(tmp_path), new)) == ["there"] * 5


def test_files_of_the_users_are_never_replaced(tmp_path):
    record, config = Made(), DistillConfig(epochs=3)
    record.write(tmp_path, "distill.toml", config)
    refuse_others(tmp_path, Made.of(tmp_path))
    (tmp_path / "distill.toml").write_text("epochs = 4\n")
    with pytest.raises(EdgeclipError, match=r"distill\.toml is not as edgeclip wrote it"):
        refuse_others(tmp_path, Made.of(tmp_path))
    (tmp_path / "distill.toml").unlink()
    (tmp_path / "student.json").mkdir()
    with pytest.raises(EdgeclipError, match=r"student\.json is not as edgeclip wrote it"):
        refuse_others(tmp_path, Made.of(tmp_path))


def test_a_file_that_was_being_replaced_when_the_command_was_killed_is_still_ours(tmp_path):
    record = Made()
    for epochs in (3, 4):
        record.write(tmp_path, "distill.toml", DistillConfig(epochs=epochs))
    before = DistillConfig(epochs=3).as_text(".toml")
    (tmp_path / "distill.toml").write_text(before)  # the record comes first
    refuse_others(tmp_path, Made.of(tmp_path))


def test_what_is_in_the_way_is_kept_under_the_next_free_name(tmp_path):
    assert set_aside(tmp_path / "run") is None
    for number in (1, 2):
        (tmp_path / "run").mkdir()
        (tmp_path / "run/x").write_text(str(number))
        kept = set_aside(tmp_path / "run")
        assert (kept.name, (kept / "x").read_text()) == (f"run-{number}", str(number))
