"""One set of rows, three views; nothing from outside becomes markup."""

from dataclasses import fields
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.base.documents import read_document
from edgeclip.evaluation.intervals import paired_interval, wilson
from edgeclip.measurement.schema import Finding, Judged, Reference, Row, Timing
from edgeclip.reporting import Subject, build_report, write_report
from edgeclip.reporting.criteria import DROP, LATENCY, VERIFIED, at_most
from edgeclip.reporting.page import html
from edgeclip.reporting.render import markdown
from edgeclip.reporting.sanity import CHANCE
from edgeclip.reporting.schema import ALWAYS, ProfileFacts, Report
from edgeclip.runtime.target import Device

MACHINE = Device(machine="aarch64", system="Debian", cpu="a board", cores=4, memory_gb=4.0)
PARTS = ("tokenizer", "image tower fp32", "image tower int8")
VERIFIED_PARTS = [Finding(part=part, ok=True, detail="as it was") for part in PARTS]


def row(stage, top1, ms, **more):
    cuts = {"p50_ms": ms, "p90_ms": 1.1 * ms, "p95_ms": 1.2 * ms, "p99_ms": 1.3 * ms, "max_ms": 1.3 * ms}
    raw = [*[ms] * 90, *[1.1 * ms] * 5, *[1.2 * ms] * 4, *[1.3 * ms] * 2]  # the n-th of 101 is the n-th percentile
    turns = [(0.2, ms), (0.4, 1.1 * ms), (0.6, ms)]
    timing = Timing(**cuts, spread=0.1, samples=101, raw_ms=raw, turns=turns)
    if top1 is not None and "right" not in more:
        more["right"] = "1" * round(1000 * top1) + "0" * round(1000 * (1 - top1))
    return Row(stage=stage, top1=top1, top5=0.9, size_bytes=10**6, timing=timing, runtime="test", **more)


def rows(**fp32):
    facts = {"cosine_mean": 1.0, "compared_to": "student fp32", "recommended": True, "predicted_ms": 1.2, **fp32}
    return [
        row("teacher", 0.6, 10.0),
        row("student fp32", 0.57, 2.0, cosine_mean=0.7, compared_to="teacher"),
        row("exported fp32", 0.57, 1.0, **facts),
        row("exported int8", 0.56, 0.9, cosine_mean=0.999, compared_to="exported fp32"),
    ]


def dataset_of(**facts):
    """What accuracy is of."""
    return Judged(
        **{"name": "d", "sha256": "0", "images": 1000, "classes": 10, "chance": 0.1, "templates": [], **facts}
    )


def make(name="tiny", budget=None, commands=("edgeclip report x",), chain=None, **more):
    facts = {
        "name": name,
        "dataset": dataset_of(name=name),
        "profile": ProfileFacts(name=name),
        "software": {"onnx": name},
    }
    facts |= {"device": MACHINE.model_copy(update={"cpu": name})}
    facts |= {field.name: more.pop(field.name) for field in fields(Subject) if field.name in more}
    budget = {"latency_ms": 1.5} if budget is None else budget
    report = build_report(chain or rows(), Subject(**facts), budget, **{"verified": VERIFIED_PARTS, **more})
    return report.model_copy(update={"commands": list(commands)})


def test_a_budget_that_is_met():
    found = make(budget={"latency_ms": 1.5, "size_mb": 2, "accuracy_drop": 5})
    assert (found.verdict, found.exit_code, found.advice, found.cautions) == ("met", 0, [], [])
    assert [line.name for line in found.criteria] == [LATENCY, "size of the image tower", DROP, VERIFIED, CHANCE]


@pytest.mark.parametrize(
    ("budget", "missed"),
    [({"latency_ms": 1.0}, LATENCY), ({"size_mb": 0.5}, "size of the image tower"), ({"accuracy_drop": 1.0}, DROP)],
)
def test_what_is_missed_fails_the_report_and_gets_advice(budget, missed):
    found = make(budget=budget)
    assert (found.verdict, found.exit_code) == ("missed", 3)
    assert [line.name for line in found.criteria if line.met is False] == [missed]
    assert len(found.advice) == 1


@pytest.mark.parametrize(
    ("budget", "chain", "hint"),
    [
        ({"accuracy_drop": 1.0}, rows()[1:], "--teacher"),
        ({"latency_ms": 1.0}, [*rows()[:2], rows()[2].model_copy(update={"timing": None})], "see its row"),
        ({"memory_mb": 100}, None, "Linux and macOS"),
    ],
)
def test_what_was_asked_for_and_not_measured_is_unknown(budget, chain, hint):
    found = make(budget=budget, chain=chain)
    assert (found.verdict, found.exit_code) == ("unknown", 4)
    assert [line.met for line in found.criteria if line.kind not in ALWAYS] == [None]
    assert "not measured" in found.advice[0]
    assert hint in found.advice[0]
    assert "NOT MEASURED" in markdown(found)
    assert make(budget={**budget, "size_mb": 0.5}, chain=chain).verdict == "missed", "what is missed is missed"


def test_nothing_asked_for_is_no_pass():
    found = make(budget={})
    assert (found.verdict, found.exit_code) == ("unknown", 4)
    assert [line.met for line in found.criteria] == [True, True], "what is asked of any bundle is no pass by itself"
    assert "no limit is set" in markdown(found)


def test_figures_of_another_device_do_not_count():
    budget = {"latency_ms": 100, "memory_mb": 1e6, "size_mb": 2}
    chain = [*rows()[:2], rows()[2].model_copy(update={"peak_memory_mb": 50.0})]
    assert make(budget=budget, chain=chain).verdict == "met"
    found = make(budget=budget, chain=chain, withheld="it is a toaster")
    assert [line.met for line in found.criteria] == [None, True, None, True, True]
    assert "toaster" in found.advice[0]


def answered(stage, right, **more):
    top1 = right.count("1") / len(right)
    return row(stage, top1, 1.0, right=right, top1_interval=wilson(top1, len(right)), **more)


@pytest.mark.parametrize(
    ("teacher", "student", "told"),
    [
        ("1" * 90 + "0" * 10, "1" * 88 + "0" * 12, "too few images to tell"),
        ("1" * 900 + "0" * 100, "1" * 899 + "0" * 101, None),
        ("10" * 50, "10" * 50, "not clearly above chance"),
    ],
)
def test_a_drop_says_how_sure_it_is(teacher, student, told):
    chain = [answered("teacher", teacher), answered("exported fp32", student, recommended=True)]
    line, *_ = make(budget={"accuracy_drop": 3.0}, chain=chain, dataset=dataset_of(chance=0.5, classes=2)).criteria
    low, high = line.interval
    assert low <= line.measured <= high
    assert line.met is (None if told else True)
    assert any(told in note for note in line.notes) if told else line.notes == []


def test_what_was_not_verified_and_what_is_not_what_was_exported():
    found = make(verified=[])
    assert (found.verdict, found.exit_code) == ("unknown", 4)
    assert f"{VERIFIED}: not measured; edgeclip verify BUNDLE" in found.advice[0]
    others = [part for part in VERIFIED_PARTS if part.part != "image tower fp32"]
    assert make(verified=others).verdict == "unknown", "what is recommended was not looked at"
    wrong = [*VERIFIED_PARTS, Finding(part="preprocessing", ok=False, detail="off by 9 of 255")]
    found = make(verified=wrong)
    assert (found.verdict, found.exit_code) == ("missed", 3)
    assert [line.kind for line in found.criteria if line.met is False] == ["verified"]
    unchecked = [*VERIFIED_PARTS, Finding(part="image tower", detail="not checked: no such engine")]
    assert make(verified=unchecked).verdict == "met"


def test_a_variant_that_failed_is_missed_whichever_is_recommended():
    found = make(chain=[*rows()[:3], row("exported int8", None, 1.0, failed="signal 11")])
    assert (found.verdict, found.exit_code) == ("missed", 3)
    assert [line.kind for line in found.criteria if line.met is False] == ["ran"]


@pytest.mark.parametrize("kind", ["missed", "unknown"])
def test_no_advice_hangs_on_the_words_of_a_title(kind):
    """A promise of the caller's own may be called anything."""
    measured = 5.0 if kind == "missed" else None
    odd = at_most("promise", "latency top-1 loses speed", 1.0, measured, "x", "do this")
    assert make(more=[odd]).verdict == kind
    (told,) = make(more=[odd]).advice
    assert "budget" not in told and "variant" not in told


def test_the_paired_interval_covers_as_often_as_it_says():
    draw, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        before = draw.random(200) < 0.6
        after = np.where(draw.random(200) < 0.1, draw.random(200) < 0.5, before)  # 10 % of the answers are guessed anew
        pair = ("".join("01"[int(x)] for x in answers) for answers in (before, after))
        low, high = paired_interval(*pair)
        covered += low <= 100 * 0.1 * (0.6 - 0.5) <= high
    assert 930 <= covered <= 975


def test_pairs_need_answers_to_the_same_images():
    assert paired_interval("10", "101") is None
    assert paired_interval(None, "10") is None
    same = paired_interval("1" * 50, "1" * 50)
    assert same[0] < 0 < same[1], "that nothing changed on fifty images does not prove that nothing does"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"drift": 0.0, "profile_ms": 2.0}, "2.0 times as fast as for its profile"),
        ({"drift": 0.3}, "speed changed by +30%"),
        ({"drift": 0.0, "profile_ms": 0.5}, "2.0 times as slow"),
        ({"drift": 0.1, "profile_ms": 0.9}, None),
    ],
)
def test_a_machine_that_was_not_itself_is_told_of_first(reference, told):
    found = make(reference=Reference(graph="g", p50_ms=1.0, **reference))
    assert found.verdict == "met"
    assert any(told in words for words in found.cautions) if told else found.cautions == []
    if told:
        assert markdown(found).index("caution") < markdown(found).index("criterion")
        assert told in tags(html(found)).text


def test_calls_that_differ_widely_are_told_of():
    slow = rows()[2].timing.model_copy(update={"p99_ms": 2.5, "max_ms": 2.5, "raw_ms": []})
    found = make(chain=[*rows()[:2], rows()[2].model_copy(update={"timing": slow})])
    assert "p99 is 2.5 times p50" in found.cautions[0]


def test_json_is_the_truth_and_reads_back(tmp_path):
    found = make()
    write_report(found, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
    assert read_document(tmp_path / "report.json", Report) == found


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def tags(page):
    parser = Tags()
    parser.feed(page)
    return parser


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_name_stays_text(name):
    plain = tags(html(make()))
    hostile = tags(html(make(name=name, commands=[name])))
    assert hostile.tags == plain.tags


def test_markup_in_a_name_is_shown_not_run():
    name = "<script>alert(1)</script> ${x} | **bold**"
    page = tags(html(make(name=name)))
    assert "script" not in page.tags
    assert name in page.text
    assert "\\<script\\>" in markdown(make(name=name))


def test_the_page_needs_nothing_else():
    page = html(make())
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert page.count("<svg") == 4
    assert "passed: all" in page
