import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeclip.distillation.objectives import Embeddings, objective
from edgeclip.distillation.presets import PRESETS, TERMS


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def kl(teachers, student, t):
    p = np.mean([np.exp(log_softmax(one / t)) for one in teachers], axis=0)
    return (p * (np.log(p) - log_softmax(student / t))).sum() / len(p)


def cross_entropy(teachers, student):
    return -(np.mean([np.exp(log_softmax(one)) for one in teachers], axis=0) * log_softmax(student)).sum() / len(
        student
    )


def reference(s, own_x, teachers):
    """The terms in float64, written out."""

    def sim(a, b):
        return 100 * a @ b.T

    t, x = teachers[0]
    within = [sim(i, i) for i, _ in teachers]
    return {
        "vl": kl([sim(i, y) for i, y in teachers], sim(s, own_x), 1)
        + kl([sim(y, i) for i, y in teachers], sim(own_x, s), 1),
        "pvl": 2 * kl(within, sim(s, t), 3),
        "udist": 2 * kl(within, sim(s, s), 7),
        "embed": ((s - t) ** 2).sum(axis=1).mean() + ((own_x - x) ** 2).sum(axis=1).mean(),
        "soft": (
            cross_entropy([20 * i @ y.T for i, y in teachers], 20 * s @ own_x.T)
            + cross_entropy([20 * y @ i.T for i, y in teachers], 20 * own_x @ s.T)
        )
        / 2,
    }


def rows(count, width, seed):
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture
def teacher():
    return Embeddings(rows(12, 16, 0), rows(9, 16, 1))


@pytest.fixture
def other():
    """A second teacher, of another width."""
    return Embeddings(rows(12, 24, 2), rows(9, 24, 3))


@pytest.fixture
def student(teacher):
    """With the teacher's text tower."""
    return Embeddings(rows(12, 16, 4), teacher.texts)


@pytest.mark.parametrize("case", ["the teacher's text tower", "its own text tower", "two teachers"])
def test_terms_agree_with_a_float64_reference(case, student, teacher, other):
    teachers = [teacher, other] if case == "two teachers" else [teacher]
    if case == "its own text tower":
        student = Embeddings(student.images, rows(9, 16, 5))
    weights = {"vl": 0.7, "pvl": 0.3, "udist": 0.1, "embed": 2.0, "soft": 1.5}
    found = objective(student, teachers, weights, logit_scale=20.0)
    pairs = [(t.images.double().numpy(), t.texts.double().numpy()) for t in teachers]
    expected = reference(student.images.double().numpy(), student.texts.double().numpy(), pairs)
    assert set(found) == set(TERMS)
    for name, weight in weights.items():
        assert found[name].item() == pytest.approx(weight * expected[name], rel=1e-6, abs=1e-6), name


def test_only_what_has_a_weight_is_computed(student, teacher):
    assert set(objective(student, [teacher], {"vl": 0.7, "pvl": 0.3, "udist": 0.0, "embed": 0.0})) == {"vl", "pvl"}


def test_a_perfect_student_has_no_loss(teacher):
    terms = objective(teacher, [teacher], {"vl": 1, "pvl": 1, "udist": 1, "embed": 1})
    assert all(abs(value.item()) < 1e-5 for value in terms.values())


def test_terms_are_fp32_under_autocast(student, teacher):
    expected = objective(student, [teacher], {"vl": 1.0})["vl"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert objective(student, [teacher], {"vl": 1.0})["vl"].item() == expected.item()


def test_every_preset_names_terms():
    assert all(weights and set(weights) <= set(TERMS) for weights in PRESETS.values())
