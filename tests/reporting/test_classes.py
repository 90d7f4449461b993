"""The recommended variant, class by class: counts that add up, and what was taken for what."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.measurement.schema import Picture
from edgeclip.reporting.classes import by_class, class_table, truth_plot
from edgeclip.reporting.page import html
from edgeclip.reporting.sheet import sheet

from .test_report import dataset_of, make, rows

NAMES = ["cat", "dog", "bird"]


def judged(labels, answers, names=NAMES, fp32=None):
    chain = [row.model_copy(update={"right": None, "top1": None}) for row in rows()]
    chain[2] = chain[2].model_copy(update={"answers": fp32 or answers, "recommended": False})
    chain[3] = chain[3].model_copy(update={"answers": answers, "recommended": True})
    dataset = dataset_of(images=len(labels), classes=len(names), names=names, labels=labels)
    return make(chain=chain, dataset=dataset)


def chosen(report):
    return next(row for row in report.rows if row.recommended)


def test_every_class_is_counted():
    report = judged([0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 0, 2])
    cat, dog, bird = by_class(report, chosen(report))
    assert (cat.name, cat.images, cat.right, cat.share, cat.answers, cat.taken_for) == (
        "cat",
        3,
        1,
        1 / 3,
        2,
        "dog (2)",
    )
    assert (dog.right, dog.taken_for, bird.right, bird.taken_for) == (1, "cat (1)", 1, "")


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), min_size=1, max_size=200))
def test_counts_add_up_whatever_the_answers(pairs):
    labels, answers = [label for label, _ in pairs], [answer for _, answer in pairs]
    report = judged(labels, answers, [f"class {n}" for n in range(20)])
    found = by_class(report, chosen(report))
    assert sum(one.images for one in found) == len(pairs)
    assert sum(one.right for one in found) == sum(label == answer for label, answer in pairs)
    plot = truth_plot(report)
    assert bool(plot) == (max(one.images for one in found) > 1)
    told = re.search(r"(\d+) of (\d+) images are right", plot or "0 of 0 images are right")
    assert not plot or [int(n) for n in told.groups()] == [sum(one.right for one in found), len(pairs)]


def test_a_table_in_each_order_and_names_stay_text():
    report = judged([0, 0, 1], [0, 1, 1], ["<b>cat</b>", "dog", "bird"])
    table = class_table(report)
    assert "<b>" not in table and "&lt;b&gt;cat" in table
    assert table.count("<table>") == 3 and table.count('type="radio"') == 3


def test_rare_classes_stand_together_where_there_are_many():
    names = [f"class {n}" for n in range(40)]
    labels = [n for n in range(40) for _ in range(3)]
    answers = [label if number % 3 else (label + 1) % 40 for number, label in enumerate(labels)]
    plot = truth_plot(judged(labels, answers, names))
    assert plot.count("all others") == 2
    assert len(set(re.findall(r"class \d+", plot))) == 13


@pytest.mark.parametrize("changes", [{"labels": []}, {"names": []}, {"labels": [0, 1]}])
def test_where_the_classes_are_not_known_nothing_is_drawn(changes):
    report = judged([0, 0, 1], [0, 1, 1])
    report = report.model_copy(update={"dataset": report.dataset.model_copy(update=changes)})
    assert by_class(report, chosen(report)) == []
    assert truth_plot(report) == "" and "was not recorded" in class_table(report)
    assert "<html" in html(report)


def test_classes_of_one_image_have_no_plot():
    assert truth_plot(judged([0, 1, 2], [0, 1, 1])) == ""


def test_pictures_stand_where_they_belong():
    report = judged([0, 0, 1, 2], [0, 1, 1, 0], fp32=[0, 1, 0, 0])
    pictures = [Picture(image=number, key=f'{number}".png', jpeg="AAAA") for number in range(4)]
    told = sheet(report.model_copy(update={"pictures": pictures}))
    wrong, changed = told.index("<h3>Wrong"), told.index("<h3>Changed by exported int8")
    assert wrong < told.index("cat, taken for dog") < changed
    assert changed < told.index("<figcaption>dog; cat in fp32") < told.index("<h3>Right")
    assert told.index("<h3>Right") < told.index("<figcaption>cat<")
    assert 'alt="0&quot;.png"' in told


def test_pictures_of_other_images_are_not_shown():
    report = judged([0, 0, 1, 2], [0, 1, 1, 0])
    assert sheet(report.model_copy(update={"pictures": [Picture(image=4, key="x", jpeg="AAAA")]})) == ""
    with pytest.raises(ValueError):
        Picture(image=0, key="x", jpeg='"><script>')
