"""Reports side by side: what got worse is marked, on one machine."""

import json

import pytest

from edgeclip.report.compare import compare
from edgeclip.report.render import comparison_markdown
from edgeclip.report.schema import Reference

from ..test_cli import run
from .test_report import make, row, rows


def regressed(*reports, **limits):
    found = compare(reports, **{"worse_percent": 10, "lost_points": 0.5, **limits})
    return {(line.stage, line.metric): line.regressed for line in found if line.regressed}


def test_a_report_is_no_worse_than_itself():
    assert regressed(make(), make()) == {}


def test_slower_and_less_accurate_is_marked():
    slower = [*rows()[:3], row("exported int8", 0.54, 1.5)]
    found = regressed(make(), make(chain=slower), make())
    assert found == {("exported int8", name): [1] for name in ("top-1, %", "p50, ms", "p90, ms")}
    assert regressed(make(), make(chain=slower), worse_percent=80, lost_points=3) == {}


def test_latency_is_judged_on_one_machine_alone_accuracy_on_any():
    other = make(chain=[*rows()[:3], row("exported int8", 0.54, 1.5)]).model_copy(update={"device": {"cpu": "another"}})
    assert regressed(make(), other) == {("exported int8", "top-1, %"): [1]}


def test_a_machine_that_was_slower_altogether_is_no_regression():
    def paced(report, ms):
        return report.model_copy(update={"reference": Reference(graph="r", p50_ms=ms, drift=0.0)})

    slow = make(chain=[row(r.stage, r.top1, 2 * r.timing.p50_ms, recommended=r.recommended) for r in rows()])
    assert regressed(paced(make(), 3.0), paced(slow, 6.0)) == {}
    assert ("teacher", "p50, ms") in regressed(paced(make(), 3.0), paced(slow, 3.0))


def test_a_stage_that_failed_or_is_gone():
    crashed = [*rows()[:3], row("exported int8", 0.56, 0.9, failed="signal 11")]
    assert regressed(make(), make(chain=crashed)) == {("exported int8", "measured"): [1]}
    assert regressed(make(), make(chain=rows()[:3])) == {("exported int8", "measured"): [1]}


def test_the_command_tells_by_its_exit_code(tmp_path):
    for name, chain in (("a", rows()), ("b", [*rows()[:3], row("exported int8", 0.5, 0.9)])):
        make(chain=chain, name="<b>|x").save(tmp_path / name / "report.json")
    run("compare", tmp_path / "a", tmp_path / "a/report.json")
    result = run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.md", "--json", expect=3)
    worse = [line for line in json.loads(result.stdout) if line["regressed"]]
    assert [(line["stage"], line["metric"]) for line in worse] == [("exported int8", "top-1, %")]
    assert "50.0 WORSE" in (tmp_path / "c.md").read_text()
    assert "<b>" not in (tmp_path / "c.md").read_text()
    assert "WORSE" in run("compare", tmp_path / "a", tmp_path / "b", expect=3).stdout


@pytest.mark.parametrize(("names", "complaint"), [(["a"], "one report alone"), (["a", "absent"], "no such file")])
def test_what_cannot_be_compared(names, complaint, tmp_path):
    make().save(tmp_path / "a/report.json")
    assert complaint in run("compare", *(tmp_path / name for name in names), expect=2).stderr


def test_markdown_says_first_whether_anything_got_worse():
    reports = [make(), make()]
    text = comparison_markdown(reports, compare(reports, worse_percent=10, lost_points=0.5))
    assert text.startswith("# nothing got worse")
