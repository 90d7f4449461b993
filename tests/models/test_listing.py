"""The teachers that there are: edgeclip's own and three to begin with first; what nobody published is left open."""

import csv
from importlib.resources import files

import open_clip

from edgeclip import load
from edgeclip.models.listing import FIRST, list_teachers


def test_those_to_begin_with_come_first_and_all_are_there():
    found = list_teachers()
    assert [one.name for one in found[:4]] == ["demo", *FIRST]
    assert len(found) == 1 + len(open_clip.list_pretrained()) == len({one.name for one in found})
    assert all(one.remark for one in found[:4]) and not any(one.remark for one in found[4:])


def test_what_the_demos_teacher_is_said_to_be_it_is():
    demo, teacher = list_teachers("DEMO")[0], load("demo")
    assert (demo.image_size, demo.embed_dim) == (teacher.image_size, teacher.embed_dim)


def test_figures_are_those_of_open_clips_tables():
    (one,) = list_teachers("ViT-B-16:openai")
    assert (one.imagenet, one.mean_of_38, one.params_m, one.image_params_m) == (0.6834, 0.5626, 149.62, 86.19)
    (unpublished,) = list_teachers("ViT-B-32:commonpool_s_s13m_b4k")
    assert unpublished.imagenet is None or 0 < unpublished.imagenet < 0.1


def test_every_line_of_the_table_is_a_teacher_and_a_fraction():
    rows = list(csv.DictReader((files("edgeclip.models") / "teachers.csv").read_text().splitlines()))
    known = {f"{model}:{tag}" for model, tag in open_clip.list_pretrained()}
    assert sum(row["teacher"] in known for row in rows) > 100
    assert all(0 < float(row["imagenet"]) < 1 and float(row["params_m"]) > 1 for row in rows)
