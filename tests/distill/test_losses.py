import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeclip.distill.losses import objective


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def kl(teacher, student, t):
    p, q = log_softmax(teacher / t), log_softmax(student / t)
    return (np.exp(p) * (p - q)).sum() / len(p)


def reference(s, t, x):
    """DIME-FM's terms in float64, written out."""

    def sim(a, b):
        return 100 * a @ b.T

    return {
        "vl": kl(sim(t, x), sim(s, x), 1) + kl(sim(x, t), sim(x, s), 1),
        "pvl": 2 * kl(sim(t, t), sim(s, t), 3),
        "udist": 2 * kl(sim(t, t), sim(s, s), 7),
        "embed": ((s - t) ** 2).sum(axis=1).mean(),
    }


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(n, 16, generator=generator), dim=1) for n in (12, 12, 9)]


def test_terms_agree_with_a_float64_reference(embeddings):
    weights = {"vl": 0.7, "pvl": 0.3, "udist": 0.1, "embed": 2.0}
    found = objective(*embeddings, weights)
    expected = reference(*(e.double().numpy() for e in embeddings))
    for name, weight in weights.items():
        assert found[name].item() == pytest.approx(weight * expected[name], rel=1e-5), name


def test_only_what_has_a_weight_is_computed(embeddings):
    assert set(objective(*embeddings, {"vl": 0.7, "pvl": 0.3, "udist": 0.0, "embed": 0.0})) == {"vl", "pvl"}


def test_a_perfect_student_has_no_loss(embeddings):
    _, teacher, text = embeddings
    terms = objective(teacher, teacher, text, {"vl": 1, "pvl": 1, "udist": 1, "embed": 1})
    assert all(abs(value.item()) < 1e-5 for value in terms.values())


def test_terms_are_fp32_under_autocast(embeddings):
    expected = objective(*embeddings, {"vl": 1.0})["vl"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert objective(*embeddings, {"vl": 1.0})["vl"].item() == expected.item()
