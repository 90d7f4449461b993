import pytest

from edgeclip.demo import pace
from edgeclip.distill.config import DistillConfig


@pytest.mark.parametrize(("seconds", "epochs"), [(0.001, 60), (0.25, 40), (100.0, pace.FEWEST)])
def test_epochs_are_what_the_time_allows(spec, monkeypatch, seconds, epochs):
    monkeypatch.setattr("edgeclip.distill.pace.step_seconds", lambda config, spec: seconds)
    config = DistillConfig(epochs=60, batch_size=100)
    assert pace.paced(config, spec, images=1000).epochs == epochs
