"""Metrics, probes and retrieval, against scikit-learn and CLIP_benchmark on the same embeddings."""

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.logistic import fit
from edgeclip.evaluation.metrics import (
    average_precision_11,
    calibration_error,
    interval,
    mcnemar,
    mean_average_precision,
    mean_per_class,
    recall_per_class,
    roc_auc,
)
from edgeclip.evaluation.probe import few_shot, linear_probe, sweep
from edgeclip.evaluation.retrieval import ranks, retrieve
from edgeclip.images.datasets import open_dataset

from .test_zeroshot import ColourEncoder

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
CLASSES = 8


@pytest.fixture(scope="module")
def clusters():
    """Normalised embeddings of eight classes that overlap: train and test."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(CLASSES, 32))

    def sample(count):
        labels = draw.integers(0, CLASSES, count)
        rows = centres[labels] + 2.5 * draw.normal(size=(count, 32))
        return Embedded((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels, [])

    return sample(600), sample(2000)


def test_metrics_are_scikit_learns():
    draw = np.random.default_rng(0)
    labels, guesses = draw.integers(0, 6, 500), draw.integers(0, 7, 500)
    assert mean_per_class(guesses == labels, labels) == pytest.approx(
        sklearn_metrics.recall_score(labels, guesses, labels=range(6), average="macro"), abs=1e-12
    )
    scores, positive = draw.integers(0, 40, 500) / 40, draw.random(500) < 0.3  # with ties
    assert roc_auc(scores, positive) == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))
    precision, recall, _ = sklearn_metrics.precision_recall_curve(positive, scores)
    eleven = np.mean([precision[recall >= level].max() for level in np.linspace(0, 1, 11)])
    assert average_precision_11(scores, positive) == pytest.approx(eleven)


def test_average_precision_is_clip_benchmarks():
    peer = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")
    import torch

    draw = np.random.default_rng(0)
    scores, labels = draw.random((300, 7)), draw.random((300, 7)) < 0.2
    labels[:, 3] = False  # nothing to be found
    theirs = peer.average_precision_per_class(torch.from_numpy(scores), torch.from_numpy(labels)).mean().item()
    assert mean_average_precision(scores, labels) == pytest.approx(theirs, abs=1e-6)


def test_calibration_error_is_the_mean_gap_of_fifteen_bins():
    draw = np.random.default_rng(0)
    confidence = draw.random(2000)
    right = draw.random(2000) < confidence**2
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        expected += inside.sum() / 2000 * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(confidence, right) == pytest.approx(expected)
    assert calibration_error(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 5), (3, 12), (12, 3), (400, 480), (1, 0)])
def test_mcnemars_is_the_exact_binomial_test(lost, gained):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected)


def test_classes_without_an_image_do_not_count():
    right, labels = np.array([True, False, True]), np.array([0, 0, 2])
    assert recall_per_class(right, labels, 4).tolist()[:1] == [0.5]
    assert np.isnan(recall_per_class(right, labels, 4)[[1, 3]]).all()
    assert mean_per_class(right, labels) == 0.75


def test_the_interval_covers_as_often_as_it_says():
    draw, covered = np.random.default_rng(0), 0
    for seed in range(200):
        low, high = interval(lambda x: float(x.mean()), draw.random(150) < 0.7, resamples=200, seed=seed)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
def test_logistic_regression_is_scikit_learns(clusters, strength):
    from sklearn.linear_model import LogisticRegression

    train, test = clusters
    theirs = LogisticRegression(C=strength, max_iter=5000, tol=1e-6).fit(train.image_embeds, train.labels)
    ours = fit(train.image_embeds, train.labels, CLASSES, strength=strength)
    agree = (ours.predict(test.image_embeds) == theirs.predict(test.image_embeds)).mean()
    assert agree > 0.997
    accuracy = (ours.predict(test.image_embeds) == test.labels).mean()
    assert abs(accuracy - theirs.score(test.image_embeds, test.labels)) < 0.003


def test_a_probe_chooses_its_penalty_and_is_as_good_as_scikit_learns(clusters):
    from sklearn.linear_model import LogisticRegression

    train, test = clusters
    probe = linear_probe(train, test, CLASSES)
    best = LogisticRegression(C=probe.strength, max_iter=5000).fit(train.image_embeds, train.labels)
    assert abs(probe.top1 - best.score(test.image_embeds, test.labels)) < 0.003
    assert probe.tried[probe.strength] == max(probe.tried.values())
    assert probe.top1 == (probe.predictions == probe.labels).mean()


def test_a_probe_never_looks_at_the_test_split_to_choose(clusters):
    """What is told of the test split is turned around: what is chosen stays, and what comes of it changes."""
    train, test = clusters
    turned = Embedded(test.image_embeds, (test.labels + 1) % CLASSES, [])
    one, other = linear_probe(train, test, CLASSES), linear_probe(train, turned, CLASSES)
    assert (one.strength, one.tried) == (other.strength, other.tried)
    assert (one.predictions == other.predictions).all() and other.top1 < one.top1
    asked = []

    def noted(some, val, classes):
        asked.append(val.image_embeds)
        return sweep(some, val, classes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeclip.evaluation.probe.sweep", noted)
        few_shot(train, test, CLASSES, 4)
        linear_probe(train, test, CLASSES)
    own = {row.tobytes() for row in train.image_embeds}
    assert len(asked) == 4 and all(row.tobytes() in own for rows in asked for row in rows)


def test_a_sweep_that_starts_warm_ends_where_a_cold_one_does(clusters):
    train, test = clusters
    strength, tried, _ = sweep(train, test, CLASSES)
    cold = fit(train.image_embeds, train.labels, CLASSES, strength=strength)
    assert abs((cold.predict(test.image_embeds) == test.labels).mean() - tried[strength]) < 0.005


def test_more_shots_are_better(clusters):
    train, test = clusters
    found = [few_shot(train, test, CLASSES, shots) for shots in (1, 4, 16)]
    assert found[0].top1 < found[1].top1 < found[2].top1
    assert all(len(set(f.draws)) > 1 and f.spread > 0 for f in found)


def test_probes_need_one_class_an_image(clusters):
    several = Embedded(clusters[0].image_embeds, np.ones((600, 2), bool), [])
    with pytest.raises(EdgeclipError, match="one class an image"):
        few_shot(several, several, 2, 1)


@pytest.mark.filterwarnings("ignore:This DataLoader")
def test_retrieval_is_clip_benchmarks():
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    draw = np.random.default_rng(0)
    owner = draw.permutation(np.repeat(np.arange(40), 3))
    images = draw.normal(size=(40, 16)).astype(np.float32)
    texts = (images[owner] + 1.5 * draw.normal(size=(120, 16))).astype(np.float32)
    found = ranks(images, texts, owner).recall()
    scores = torch.from_numpy(texts @ images.T)
    pairs = torch.zeros_like(scores, dtype=bool)
    pairs[torch.arange(120), torch.from_numpy(owner)] = True
    for k in (1, 5, 10):
        assert found[f"image_recall@{k}"] == pytest.approx(
            float((peer.recall_at_k(scores, pairs, k) > 0).float().mean())
        )
        theirs = peer.recall_at_k(scores.T, pairs.T, k) > 0
        assert found[f"text_recall@{k}"] == pytest.approx(float(theirs.float().mean()))


def test_captions_beside_images(tmp_path):
    for colour in ("red", "lime"):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{colour}.png")
    (tmp_path / "captions.tsv").write_text("red.png\ta red one\nred.png\tmore red\nlime.png\ta lime\n")
    found = retrieve(ColourEncoder(), open_dataset(tmp_path))
    assert found.recall()["image_recall@1"] == found.recall()["text_recall@1"] == 1.0
    assert (len(found.image_ranks), len(found.text_ranks)) == (3, 2)
    (tmp_path / "captions.tsv").write_text("../secret.png\tx\n")
    with pytest.raises(EdgeclipError, match="leaves the folder"):
        open_dataset(tmp_path)
