"""Reports side by side: what got worse is marked and named; what does not compare is refused."""

import json

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement.schema import Finding, Reference
from edgeclip.reporting.compare import compare, comparison_cells
from edgeclip.reporting.render import comparison_markdown
from edgeclip.reporting.schema import ProfileFacts
from edgeclip.runtime.target import Runtime

from ..test_cli import run
from .test_report import MACHINE, dataset_of, make, row, rows

LIMITS = {"worse_percent": 10, "lost_points": 0.5}
RUNTIME = Runtime(version="1", threads=2)


def regressed(*reports, **limits):
    found = compare(reports, **{**LIMITS, **limits})
    return {(line.stage, line.metric): line.regressed for line in found if line.regressed}


def changed(**columns):
    """The report with other values in int8's row."""
    return make(chain=[*rows()[:3], rows()[3].model_copy(update=columns)])


def test_a_report_is_no_worse_than_itself():
    assert regressed(make(), make()) == {}


def test_slower_and_less_accurate_is_marked():
    slower = [*rows()[:3], row("exported int8", 0.54, 1.5)]
    found = regressed(make(), make(chain=slower), make())
    assert found == {("exported int8", name): [1] for name in ("top-1, %", "p50, ms", "p90, ms")}
    assert regressed(make(), make(chain=slower), worse_percent=80, lost_points=3) == {}


BASE = {"mean_per_class": 0.5, "flip_rate": 0.1, "calibration_error": 0.1, "peak_memory_mb": 100.0, "energy_mj": 5.0}


@pytest.mark.parametrize(
    ("columns", "metric"),
    [
        ({"mean_per_class": 0.49}, "mean per class, %"),
        ({"flip_rate": 0.11}, "answers that flip, %"),
        ({"calibration_error": 0.11}, "calibration error, %"),
        ({"peak_memory_mb": 120.0}, "peak memory, MB"),
        ({"energy_mj": 6.0}, "energy, mJ"),
        ({"energy_mj": None}, "energy, mJ"),
        ({"peak_memory_mb": None}, "peak memory, MB"),
        ({"calibration_error": None}, "calibration error, %"),
        ({"load_ms": None}, "load, ms"),
        ({"size_bytes": 1_200_000}, "size, MB"),
        ({"failed": "signal 11"}, "measured"),
    ],
)
def test_every_figure_that_is_worse_or_gone_is_seen(columns, metric):
    base = {**BASE, "load_ms": 3.0}
    found = regressed(changed(**base), changed(**{**base, **columns}))
    assert {key for key in found if key[0] != "report"} == {("exported int8", metric)}
    assert regressed(changed(**base), changed(**base)) == {}


def test_a_criterion_that_was_met_and_is_not():
    memory = {"latency_ms": 1.5, "memory_mb": 150}
    base = make(budget=memory, chain=[*rows()[:2], rows()[2].model_copy(update={"peak_memory_mb": 140.0}), rows()[3]])
    more = make(budget=memory, chain=[*rows()[:2], rows()[2].model_copy(update={"peak_memory_mb": 151.0}), rows()[3]])
    told = {("report", "verdict"): [1], ("report", "peak memory"): [1]}
    assert regressed(base, more) == told, "eight per cent more is within the limit, and beyond the budget"
    gone = make(budget={"latency_ms": 1.5}, chain=base.rows)
    assert regressed(base, gone) == {("report", "peak memory"): [1]}, "what is no longer asked for is no longer met"


def test_another_recommended_variant():
    other = [*rows()[:2], rows()[2].model_copy(update={"recommended": False})]
    other.append(rows()[3].model_copy(update={"recommended": True}))
    assert regressed(make(), make(chain=other)) == {("report", "recommended"): [1]}


def test_verification_that_was_lost():
    wrong = [Finding(part="tokenizer", ok=False, detail="other tokens")]
    unchecked = [Finding(part="tokenizer", detail="not checked")]
    for verified in (wrong, unchecked, []):
        assert regressed(make(), make(verified=verified))[("report", "parts verified")] == [1]


def test_another_device_runtime_or_data_set_is_refused_unless_asked_for():
    base = make(runtime=RUNTIME)
    worse = [*rows()[:3], row("exported int8", 0.54, 1.5)]
    for update, told in (
        ({"device": MACHINE.model_copy(update={"cpu": "another"})}, "its cpu is another"),
        ({"runtime": RUNTIME.model_copy(update={"threads": 4})}, "with 4 threads, the first on onnxruntime"),
        ({"runtime": RUNTIME.model_copy(update={"provider": "CUDA"})}, "it ran on onnxruntime on CUDA"),
    ):
        other = make(chain=worse, runtime=RUNTIME).model_copy(update=update)
        with pytest.raises(EdgeclipError, match=told):
            compare([base, other], **LIMITS)
        assert regressed(base, other, other_device=True) == {("exported int8", "top-1, %"): [1]}
    newer = make(runtime=RUNTIME.model_copy(update={"version": "2"}))
    assert regressed(base, newer) == {}, "another version is what people compare"
    other = make(chain=worse, dataset=dataset_of(name="b", sha256="2", images=8, classes=8), runtime=RUNTIME)
    with pytest.raises(EdgeclipError, match=r"10 classes\) and b \(8 images, 8 classes\) do not compare"):
        compare([base, other], **LIMITS)
    found = regressed(base, other, other_dataset=True)
    assert {name for _, name in found} == {"p50, ms", "p90, ms"}


def paced(report, ms):
    return report.model_copy(update={"reference": Reference(graph="r", p50_ms=ms, drift=0.0)})


def test_a_machine_that_was_slower_altogether_is_its_own_regression():
    slow = make(chain=[row(r.stage, r.top1, 2 * r.timing.p50_ms, recommended=r.recommended) for r in rows()])
    slow = slow.model_copy(update={"criteria": make().criteria, "verdict": "met"})
    assert regressed(paced(make(), 3.0), paced(slow, 6.0)) == {("report", "reference graph, p50 ms"): [1]}
    assert ("teacher", "p50, ms") in regressed(paced(make(), 3.0), paced(slow, 3.0))
    assert regressed(paced(make(), 3.0), make()) == {("report", "reference graph, p50 ms"): [1]}, "it is gone"


def test_a_stage_that_failed_or_is_gone():
    crashed = [*rows()[:3], row("exported int8", 0.56, 0.9, failed="signal 11")]
    found = regressed(make(), make(chain=crashed))
    assert found == {("exported int8", "measured"): [1], ("report", "verdict"): [1]}
    assert regressed(make(), make(chain=rows()[:3])) == {("exported int8", "measured"): [1]}
    fails = [*rows(), row("exported fp16", None, 1.0, failed="signal 11")]
    assert regressed(make(), make(chain=fails))[("exported fp16", "measured")] == [1], "a new row that fails"
    assert regressed(make(), make(chain=[*rows(), row("exported fp16", 0.5, 1.0)])) == {}


def test_the_command_tells_by_its_exit_code(tmp_path):
    for name, chain in (("a", rows()), ("b", [*rows()[:3], row("exported int8", 0.5, 0.9)])):
        make(chain=chain, name="<b>|x").save(tmp_path / name / "report.json")
    run("compare", tmp_path / "a", tmp_path / "a/report.json")
    result = run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.md", "--json", expect=3)
    worse = [line for line in json.loads(result.stdout) if line["regressed"]]
    assert [(line["stage"], line["metric"]) for line in worse] == [("exported int8", "top-1, %")]
    assert "worse: exported int8: top-1, %: 56.0 | 50.0 WORSE" in result.stderr
    assert "50.0 WORSE" in (tmp_path / "c.md").read_text()
    assert "<b>" not in (tmp_path / "c.md").read_text()
    assert "WORSE" in run("compare", tmp_path / "a", tmp_path / "b", expect=3).stdout
    make(dataset=dataset_of(name="other", sha256="x"), name="<b>|x").save(tmp_path / "c/report.json")
    assert "--other-dataset" in run("compare", tmp_path / "a", tmp_path / "c", expect=2).stderr


@pytest.mark.parametrize(
    ("names", "complaint"), [(["a"], "compare needs two or more reports"), (["a", "absent"], "no such file")]
)
def test_what_cannot_be_compared(names, complaint, tmp_path):
    make().save(tmp_path / "a/report.json")
    assert complaint in run("compare", *(tmp_path / name for name in names), expect=2).stderr


def test_markdown_says_first_whether_anything_got_worse():
    reports = [make(), make()]
    text = comparison_markdown(reports, compare(reports, **LIMITS))
    assert text.startswith("# nothing got worse")


def lines(*reports, **limits):
    return {(one.stage, one.metric): one for one in compare(reports, **{**LIMITS, **limits})}


@pytest.mark.parametrize(("ms", "worse"), [(3.29, False), (3.31, True), (2.0, False), (2.8, False)])
def test_a_machine_is_slower_beyond_the_limit_alone(ms, worse):
    line = lines(paced(make(), 3.0), paced(make(), ms), other_device=False)[("report", "reference graph, p50 ms")]
    assert (line.values, line.digits, line.regressed) == ([3.0, ms], 3, [1] if worse else [])


def test_every_line_is_told_whole():
    bare = make(dataset=None, runtime=RUNTIME)
    other = bare.model_copy(
        update={"runtime": Runtime(version="1", threads=4), "dataset": dataset_of(name="b", images=7)}
    )
    found = lines(bare, other, other_device=True, other_dataset=True)
    device, data = found[("report", "device")], found[("report", "data set")]
    here = "onnxruntime on CPUExecutionProvider with {} threads"
    assert (device.values, device.digits, device.regressed) == ([here.format(2), here.format(4)], 0, [])
    assert data.values == ["no images", "b (7 images, 10 classes)"]
    assert ("report", "device") not in lines(bare, bare)
    verified = found[("report", "parts verified")]
    assert (verified.values, verified.digits, verified.regressed) == (["3 of 3", "3 of 3"], 0, [])
    ran = found[("teacher", "measured")]
    assert (ran.values, ran.digits) == (["yes", "yes"], 0)
    older = bare.model_copy(update={"runtime": None, "profile": ProfileFacts(name="p", threads=3)})
    assert lines(older, bare, other_device=True)[("report", "device")].values == ["3 threads", here.format(2)]


def test_what_differs_of_a_machine_is_named_with_both():
    board = make(device=MACHINE.model_copy(update={"cpu": "a board"}))
    with pytest.raises(
        EdgeclipError, match=r"its cpu is tiny, the first's a board: only reports of one device compare"
    ):
        compare([board, make()], **LIMITS)


def test_cells_show_what_is_not_there():
    gone = make(chain=rows()[:3])
    cells = {tuple(comparison_cells(one)[:2]): comparison_cells(one)[2:] for one in compare([make(), gone], **LIMITS)}
    assert cells[("exported int8", "p50, ms")][1].startswith("-")
    assert cells[("exported int8", "p50, ms")][0] == "0.900"
