"""Four results that are worth nothing: none passes, each is named, in every view."""

import numpy as np
import pytest

from edgeclip.comparison.embeddings import nearer
from edgeclip.evaluation.intervals import wilson
from edgeclip.reporting.page import html
from edgeclip.reporting.render import markdown
from edgeclip.reporting.sanity import CHANCE, headline, sanity

from .test_criteria import answered
from .test_report import dataset_of, make, row, rows


@pytest.mark.parametrize(
    ("right", "chance", "met"),
    [("1", 1.0, None), ("111", 0.5, None), ("1" * 30, 0.5, True), ("10" * 500, 0.5, None), ("1000" * 500, 0.5, None)],
)
def test_no_bundle_passes_at_chance(right, chance, met):
    """One picture, one class, three pictures; and thousands that it does not tell apart."""
    chosen = answered("exported fp32", right)
    (*_, found) = sanity([chosen], chosen, dataset_of(chance=chance))
    assert (found.kind, found.met) == ("chance", met)
    low, high = wilson(chosen.top1, len(right))
    assert found.interval == pytest.approx((100 * low, 100 * high))


def test_a_variant_without_accuracy_is_not_above_chance():
    blind = answered("exported fp32", "1" * 50).model_copy(update={"top1": None, "right": None})
    (*_, found) = sanity([blind], blind, dataset_of())
    assert (found.kind, found.met, found.measured) == ("chance", None, None)


def test_answers_that_have_collapsed_are_said():
    """Half of the images are of one of ten classes: who answers it for nearly all is well above 1 in 10."""
    predictions = [0] * 190 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]
    chosen = answered("exported fp32", "10" * 100).model_copy(update={"answers": predictions})
    facts = dataset_of(effective_classes=10.0)
    (line,) = [one for one in sanity([chosen], chosen, facts) if one.kind == "answers"]
    assert line.met is None and line.limit == pytest.approx(1 + 9 / 4) and 1 < line.measured < 2
    assert "one label takes 190 of 200 answers" in line.notes[0]
    even = chosen.model_copy(update={"answers": list(range(10)) * 20})
    assert not [one for one in sanity([even], even, facts) if one.kind == "answers"]


def chain(**changes):
    """A good chain, but for what a trap changes of a stage."""
    found = rows()
    for number, stage in enumerate(("teacher", "student", "exported")):
        found[number] = found[number].model_copy(update=changes.get(stage, {}))
    return found


def found_kinds(chain, chosen=None, **asked):
    """Without labels: that nothing is known of chance comes first."""
    chance, *others = sanity(chain, chosen or chain[2], None, **asked)
    assert (chance.kind, chance.measured, chance.met) == ("chance", None, None)
    assert chance.hint == "show labelled images: --dataset D"
    return [one.kind for one in others]


def guesses(share):
    right = "1" * round(1000 * share) + "0" * round(1000 * (1 - share))
    return {"right": right, "top1": share, "top1_interval": wilson(share, 1000)}


TRAPS = {
    "a teacher at chance": (
        chain(teacher=guesses(0.1)),
        "the teacher itself is not clearly above chance (10.0% of 1000",
    ),
    "labels that were shuffled": (chain(teacher=guesses(0.1), exported=guesses(0.1)), "cannot distinguish its answers"),
    "a collapsed student": (chain(exported={"answers": [3] * 940 + [4] * 60}), "one label takes 940 of 1000 answers"),
    "a student that learnt nothing": (chain(student={"nearer": (-0.01, 0.02)}), "no nearer to the teacher's"),
    "a student larger than its teacher": (
        chain(exported={"size_bytes": 147 * 10**6}),
        "larger than its teacher (147.0",
    ),
    "a student slower than its teacher": (
        chain(exported={"timing": row("x", None, 48.0).timing}),
        "slower than its teacher (48 ms, 10 ms at p50)",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_no_trap_passes_and_each_is_named(name):
    found, told = TRAPS[name]
    dataset = dataset_of(effective_classes=10.0)
    facts = {"chain": found, "dataset": dataset, "student": {"name": "tiny"}}
    report = make(budget={"latency_ms": 99.0}, **facts)
    assert (report.verdict, report.exit_code) == ("unknown", 4)
    assert told in headline(report.criteria)
    assert make(budget={"latency_ms": 1e-3}, **facts).exit_code == 3, "what is missed is missed"
    for view in (markdown(report), html(report)):
        assert "This result is worth nothing as it stands" in view
        assert "passed: all" not in view


def test_a_good_result_has_nothing_on_top():
    report = make()
    assert headline(report.criteria) == ""
    assert "worth nothing" not in markdown(report) + html(report)
    assert [one.name for one in sanity(rows(), rows()[2], report.dataset)] == [CHANCE]


def test_each_is_told_whole():
    """Limit, figure, unit, interval and what to do about it: a reader acts on all of them."""
    slow = {"size_bytes": 3 * 10**6, "timing": row("x", None, 48.0).timing, "answers": [3] * 940 + [4] * 60}
    found = chain(teacher=guesses(0.12), student={"nearer": (-0.01, 0.05)}, exported={**slow, **guesses(0.13)})
    chance, teacher, answers, nearer_, smaller, faster = sanity(
        found, found[2], dataset_of(chance=0.12, effective_classes=10.0)
    )
    less = "ask for less: a smaller --latency-ms, --memory-mb or --size-mb"
    assert (chance.limit, chance.measured, chance.unit, chance.met) == (12.0, 13.0, "%", None)
    assert chance.hint.startswith("train it longer, or on more; or show more labelled images: --few-images")
    assert (teacher.limit, teacher.measured, teacher.unit, teacher.met) == (12.0, 12.0, "%", None)
    assert teacher.interval is None
    assert teacher.hint == "take a teacher that knows these classes, or show more labelled images"
    assert (answers.limit, answers.unit, answers.met) == (3.25, "classes", None)
    assert answers.measured == pytest.approx(np.exp(-(0.94 * np.log(0.94) + 0.06 * np.log(0.06))))
    assert answers.hint == "train it longer, or on more kinds of images"
    assert (nearer_.limit, nearer_.measured, nearer_.unit, nearer_.interval) == (0.0, 0.02, "cosine", (-0.01, 0.05))
    assert nearer_.hint == "train it longer, or on more"
    told = "its embeddings are no nearer to the teacher's of the same image than to those of other images"
    assert nearer_.notes == [told]
    assert (smaller.limit, smaller.measured, smaller.unit, smaller.hint) == (1.0, 3.0, "MB", less)
    assert (faster.limit, faster.measured, faster.unit, faster.hint) == (10.0, 48.0, "ms", less)
    words = headline([chance, teacher, answers, nearer_, smaller, faster])
    assert words.startswith("This result is worth nothing as it stands: 1000 images cannot distinguish")
    assert words.count("; ") == 5
    assert headline([chance.model_copy(update={"kind": "latency"})]) == "", "that is for the table"


def test_a_few_images_may_be_accepted_but_not_a_teacher_below_chance():
    few = {"right": "11100", "top1": 0.6}
    found = chain(teacher=few, exported=few)
    asked = dataset_of(chance=0.5)
    assert [one.met for one in sanity(found, found[2], asked)] == [None, None]
    assert [one.met for one in sanity(found, found[2], asked, few_images=True)] == [True]
    found = chain(teacher={"right": "10", "top1": 0.5}, exported=few)
    assert [one.kind for one in sanity(found, found[2], asked, few_images=True)] == ["chance", "teacher"]


@pytest.mark.parametrize(("interval", "told"), [((0.0, 0.1), True), ((0.001, 0.1), False), ((0.5, 1.0), False)])
def test_an_interval_that_touches_zero_tells_nothing(interval, told):
    found = chain(student={"nearer": interval})
    assert found_kinds(found) == ["nearer"] * told


def test_what_was_not_measured_has_its_place():
    blind = chain(exported={"top1": None, "right": None})
    (chance,) = sanity(blind, blind[2], dataset_of(chance=0.25))
    assert (chance.limit, chance.measured, chance.unit) == (25.0, None, "%")
    assert chance.hint == "the variant has no accuracy: see its row"
    assert found_kinds(blind[1:], blind[2]) == [], "no teacher, no labels"


@pytest.mark.parametrize(("times", "told"), [(1.0, False), (1.05, False), (1.2, True)])
def test_a_student_as_large_and_as_slow_as_its_teacher_is_within_what_two_measurements_differ_by(times, told):
    slow = row("x", None, 10.0 * times).timing
    found = chain(exported={"size_bytes": round(times * 10**6), "timing": slow})
    assert found_kinds(found) == ["gain", "gain"] * told
    assert found_kinds(found, student=False) == [], "a teacher that was exported"


def test_without_labels_nothing_passes_and_nothing_is_worthless():
    report = make(budget={"latency_ms": 99.0}, dataset=None)
    assert (report.verdict, headline(report.criteria)) == ("unknown", "")
    for view in (markdown(report), html(report)):
        assert "NOT MEASURED" in view and "chance 1" not in view


def test_accuracy_never_stands_alone():
    for view in (markdown(make()), html(make())):
        assert "1000 images in 10 classes" in view
        assert "chance" in view and "10.0%" in view


def test_chance_has_its_row_in_the_chain():
    (line,) = [one for one in markdown(make()).splitlines() if one.startswith("| chance |")]
    assert line.startswith("| chance | 10.0% | - |")
    assert "| chance |" not in markdown(make(dataset=None))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_student_that_learnt_is_nearer_to_its_teacher_than_one_that_did_not():
    noise = np.random.default_rng(0)
    cone = noise.standard_normal(64)  # all embeddings of a CLIP lie in one direction: a cosine alone says little
    teacher = unit(cone + 0.5 * noise.standard_normal((200, 64)))
    blind = unit(cone + 0.5 * noise.standard_normal((200, 64)))
    taught = unit(teacher + 0.1 * noise.standard_normal((200, 64)))
    assert (blind * teacher).sum(axis=1).mean() > 0.7
    low, high = nearer(blind, teacher)
    assert low < 0 < high
    assert nearer(taught, teacher)[0] > 0.05
    assert nearer(teacher, teacher)[0] > 0.1
    assert nearer(teacher[:1], teacher[:1]) is None


def test_the_interval_holds_as_often_as_it_says():
    noise, holds = np.random.default_rng(1), 0
    for _ in range(400):
        low, high = nearer(unit(noise.standard_normal((50, 16))), unit(noise.standard_normal((50, 16))))
        holds += low <= 0 <= high
    assert 0.91 < holds / 400 < 0.98
