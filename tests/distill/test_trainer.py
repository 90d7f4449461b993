import pytest

from edgeclip.distill.config import DistillConfig
from edgeclip.distill.trainer import learning_rate


def test_the_learning_rate_warms_up_and_falls():
    config = DistillConfig(epochs=10, lr=1.0, min_lr=0.1, warmup_epochs=2)
    rates = [learning_rate(step, config, 10) for step in range(100)]
    assert rates[0] < rates[10] < rates[19] <= 1.0
    assert rates[20] == 1.0
    assert rates[99] == pytest.approx(0.1, abs=0.01)
