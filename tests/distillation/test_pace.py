"""What a run will take is said before it begins."""

import pytest

from edgeclip.distillation import pace
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pace import Forecast, forecast, lasting, step_seconds


def test_a_step_is_timed(spec):
    assert 0 < step_seconds(DistillConfig(batch_size=4), spec) < 60
    assert 0 < step_seconds(DistillConfig(batch_size=400), spec, rows=4) < 60


def test_steps_and_views_are_counted(spec, monkeypatch, teacher):
    monkeypatch.setattr(pace, "step_seconds", lambda config, spec, rows: 0.01 * rows)
    monkeypatch.setattr(pace, "_timed", lambda call: 0.32)
    found = forecast(DistillConfig(epochs=100, batch_size=100, views=4), spec, [teacher], images=1000, sentences=500)
    assert found.training == pytest.approx(pace.OVERHEAD * 1000 * 100 * 0.01)  # steps, images a step, seconds an image
    assert found.teachers == pytest.approx(4000 / 32 * 0.32 + 500 / 32 * 0.32)


def test_a_text_tower_of_the_students_own_takes_its_time_too(spec, monkeypatch, tiny):
    monkeypatch.setattr(pace, "step_seconds", lambda config, spec, rows: 0.01 * rows)
    config = DistillConfig(epochs=100, batch_size=100, text_tower="student")
    assert 0 < pace.text_step_seconds(config, spec, tiny, rows=4) < 60
    monkeypatch.setattr(pace, "text_step_seconds", lambda config, spec, teacher, rows: 0.05 * rows)
    monkeypatch.setattr(pace, "_timed", lambda call: 0.32)
    few, many = (forecast(config, spec, [tiny], images=1000, sentences=count) for count in (70, 500))
    assert few.text == pytest.approx(pace.OVERHEAD * 1000 * 70 * 0.05), "of 70 sentences a step sees all, and no more"
    assert many.text == pytest.approx(pace.OVERHEAD * 1000 * 100 * 0.05)
    assert many.training == pytest.approx(pace.OVERHEAD * 1000 * 100 * 0.01 + many.text)
    assert "1 h 40 min of it for the text tower (a text_shape in the settings makes it smaller)" in many.told


def test_what_is_stored_takes_no_time(spec, monkeypatch):
    monkeypatch.setattr(pace, "step_seconds", lambda config, spec, rows: 1.0)
    stored = object.__new__(pace.StoredTeacher)
    assert forecast(DistillConfig(), spec, [stored], images=10_000, sentences=500).teachers == 0


def test_a_little_is_not_worth_timing(spec, teacher):
    assert forecast(DistillConfig(epochs=1), spec, [teacher], images=100, sentences=100) is None


def test_it_says_what_would_make_it_shorter():
    told = Forecast(teachers=360, training=4740, epochs=100).told
    assert told == (
        "this takes about 85 min: 6 min for the teacher, once, 79 min for 100 epochs; 25 epochs would take 20 min"
    )
    assert "would take" not in Forecast(teachers=1, training=1, epochs=1).told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "1 s"), (40, "40 s"), (720, "12 min"), (4800, "80 min"), (7500, "2 h 05 min")]
)
def test_times_are_told_as_people_say_them(seconds, told):
    assert lasting(seconds) == told
