"""What the tests of distillation share: one short setting, and a teacher as distillation sees it."""

import pytest

from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.teachers import as_teacher


@pytest.fixture(scope="session")
def config():
    return DistillConfig(epochs=3, batch_size=10, views=2, ema=0.9, checkpoint_seconds=0, tracker="none")


@pytest.fixture(scope="session")
def tiny(teacher):
    """The tiny open_clip model as a teacher."""
    return as_teacher("tiny", teacher)
