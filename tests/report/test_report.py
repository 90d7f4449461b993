"""One set of rows, three views; nothing from outside becomes markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.documents import read_document
from edgeclip.report import report, write_report
from edgeclip.report.page import html
from edgeclip.report.render import markdown
from edgeclip.report.schema import Report, Row, Timing


def row(stage, top1, ms, **more):
    cuts = {"p50_ms": ms, "p90_ms": 1.1 * ms, "p95_ms": 1.2 * ms, "p99_ms": 1.3 * ms, "max_ms": 1.3 * ms}
    raw, turns = [ms, 1.1 * ms, 1.3 * ms], [(0.2, ms), (0.4, 1.1 * ms), (0.6, ms)]
    timing = Timing(**cuts, spread=0.1, samples=3, raw_ms=raw, turns=turns)
    return Row(stage=stage, top1=top1, top5=0.9, size_bytes=10**6, timing=timing, runtime="test", **more)


def rows(**fp32):
    facts = {"cosine_mean": 1.0, "compared_to": "student fp32", "recommended": True, "predicted_ms": 1.2, **fp32}
    return [
        row("teacher", 0.6, 10.0),
        row("student fp32", 0.57, 2.0, cosine_mean=0.7, compared_to="teacher"),
        row("exported fp32", 0.57, 1.0, **facts),
        row("exported int8", 0.56, 0.9, cosine_mean=0.999, compared_to="exported fp32"),
    ]


def make(name="tiny", budget=None, commands=("edgeclip report x",), chain=None):
    facts = {"dataset": {"images": 4, "classes": 2}, "profile": {"name": name}, "device": {"cpu": name}}
    budget = {"latency_ms": 1.5} if budget is None else budget
    return report(chain or rows(), name=name, budget=budget, commands=commands, software={"onnx": name}, **facts)


def test_a_budget_that_is_met():
    found = make()
    assert found.passed
    assert found.advice == []
    assert {line.name: line.measured for line in found.budget}["speed against the teacher"] == 10


@pytest.mark.parametrize(
    ("budget", "chain", "missed"),
    [
        ({"latency_ms": 1.0}, None, "latency, p90 of one image"),
        ({"size_mb": 0.5}, None, "size of the image tower"),
        ({"accuracy_drop": 1.0}, None, "top-1 lost to the teacher"),
        ({}, rows(cosine_mean=0.999), "exported fp32 equals the student"),
        ({}, [row("teacher", 0.9, 10.0), *rows()[1:]], "top-1 kept of the teacher's"),
        ({}, [row("teacher", 0.6, 3.0), *rows()[1:]], "speed against the teacher"),
    ],
)
def test_a_line_that_is_missed_fails_the_report_and_gets_advice(budget, chain, missed):
    found = make(budget=budget, chain=chain)
    assert not found.passed
    assert [line.name for line in found.budget if not line.met] == [missed]
    assert len(found.advice) == 1


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
