import pytest

from edgeclip.chain.demo import pace
from edgeclip.distillation.config import DistillConfig


@pytest.mark.parametrize(("seconds", "epochs"), [(0.001, 60), (0.4, 45), (100.0, pace.FEWEST)])
def test_epochs_are_what_the_time_allows(spec, monkeypatch, seconds, epochs):
    monkeypatch.setattr("edgeclip.distillation.pace.step_seconds", lambda config, spec: seconds)
    config = DistillConfig(epochs=60, batch_size=100)
    assert pace.paced(config, spec, images=1000).epochs == epochs


def test_the_time_is_told_first_and_a_slow_machine_is_named(monkeypatch):
    config = DistillConfig(epochs=60, batch_size=100)

    def told(seconds):
        monkeypatch.setattr("edgeclip.distillation.pace.step_seconds", lambda config, spec: seconds)
        return pace.foretold(config, images=1000)

    quick = pace.STEP_SECONDS
    minutes = (1.2 * quick * 10 * 60 + pace.PROBE_SECONDS + pace.OTHER_SECONDS) / 60
    assert told(quick) == f"the demo takes about {minutes:.0f} min on this machine"
    epochs = max(pace.FEWEST, int(pace.SECONDS / (40 * quick)))
    minutes = (1.2 * 4 * quick * 10 * epochs + pace.PROBE_SECONDS + 4 * pace.OTHER_SECONDS) / 60
    slow = "which is slow or busy: two idle cores are 4.0 times as fast"
    assert told(4 * quick) == f"the demo takes about {minutes:.0f} min on this machine, {slow}"
