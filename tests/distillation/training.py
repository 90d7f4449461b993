"""A student small enough to train in a moment, and batches for it."""

import torch
import torch.nn.functional as F
from torch import nn

from edgeclip.distillation.batches import Batch
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.objectives import Embeddings
from edgeclip.distillation.run import Run
from edgeclip.distillation.student import Towers
from edgeclip.distillation.trainer import Trainer

WIDTH, ROWS = 8, 6


class Visual(nn.Module):
    """Pixels to embeddings, with one of each kind of parameter that weight decay tells apart."""

    def __init__(self):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(3, 4))
        self.head = nn.Linear(12, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, pixels):
        return self.norm(self.head((pixels[:, :, 0, :] + self.positional_embedding).flatten(1)))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(16, WIDTH)

    def forward(self, tokens):
        return self.table(tokens).mean(dim=1)


def rows(count, seed):
    return F.normalize(torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=1)


def batch_of(step, texts=False):
    draw = torch.Generator().manual_seed(100 + step)
    tokens = torch.randint(0, 16, (ROWS, 3), generator=draw) if texts else None
    pixels = torch.randn(ROWS, 3, 4, 4, generator=draw)
    return Batch(pixels, tokens, [Embeddings(rows(ROWS, step), rows(ROWS, 50 + step))])


def trainer(folder, judge=None, texts=False, **settings):
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    given = {"epochs": 3, "warmup_epochs": 0, "tracker": "none", "checkpoint_seconds": 1e6, **settings}
    towers = Towers(Visual(), Text() if texts else None)
    return Trainer(towers, DistillConfig(**given), Run(folder, None), 2, logit_scale=10.0, judge=judge)


def weights(towers):
    return {name: value.clone() for name, value in towers.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
