"""The commands: help with an example in each, one JSON document on stdout, one line and exit 2 for a mistake."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgeclip
from edgeclip.cli import main

ROOT = Path(__file__).parents[1]
RESTLESS = "timing was too noisy"  # what profile may answer beside other work, and no fault of its own


def run(*arguments, expect=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert expect is None or result.exit_code == expect, result.output
    return result


def commands(group=main, before=()):
    """Every command as the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


ENDING = """
import os, signal, sys, time
from edgeclip import __main__, cli
from edgeclip.base.interrupts import heeded

def command(**_):
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    {end}

cli.main = command
__main__.main()
"""
PUT_AWAY = """try:
        raise KeyboardInterrupt
    finally:
        time.sleep(1)
        print("put away", file=sys.stderr)"""


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        ("raise RecursionError", 130, "edgeclip: interrupted\n"),  # what numpy's import makes of it
        ("sys.exit(2)", 130, ""),
        ("sys.exit(0)", 0, ""),  # it gave what it had
        ("time.sleep(60)", 130, "edgeclip: interrupted\n"),  # it forgot: as hasattr() does, and an import's callbacks
        ("heeded(); time.sleep(1)", 0, ""),
        (PUT_AWAY, 130, "put away\nedgeclip: interrupted\n"),
    ],
)
def test_an_interrupted_command_ends_as_such_whatever_broke(end, status, told):
    code = ENDING.format(signal="SIGINT", end=end)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=heeds_interrupts)
    assert (done.returncode, done.stderr) == (status, told)


def test_a_bug_keeps_its_traceback():
    code = ENDING.format(signal="SIGCONT", end="raise RecursionError('deep')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "deep" in done.stderr


def heeds_interrupts():
    """A process started in a shell's background ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_a_help_with_an_example(words):
    text = run(*words, "--help").output
    assert f"edgeclip {' '.join(words)}" in text.partition("Options:")[0].partition("Example:")[2], "no example"
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["profiles", "raspbery-pi-5"], "did you mean raspberry-pi-5?"),
        (["select", "--profile", "no-such-device"], "no-such-device"),
        (["select", "--profile", "raspberry-pi-5", "--latency-ms", "0.0001"], "fastest"),
        (["export", "ViT-B-23:openai", "--out", "x", "--calibration", "."], "did you mean ViT-B-32"),
        (["eval", "runs/no-such-run", "--dataset", "."], "no such bundle or run"),
        (["classify", "no-such-bundle", "a.png", "--labels", "a,b"], "is not a bundle"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, expect=2)
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def _snapshot(folder):
    return {one.relative_to(folder): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


WRITERS = {
    "profile": ["profile", "mine", "--out"],
    "select": ["select", "--profile", "raspberry-pi-5", "--out"],
    "plot": ["select", "--profile", "raspberry-pi-5", "--plot"],
    "eval": ["eval", "demo", "--out"],
    "export": ["export", "demo", "--calibration", ".", "--out"],
    "report": ["report", "b", "--profile", "raspberry-pi-5", "--dataset", ".", "--out"],
    "measure": ["measure", "b", "--out"],
    "compare": ["compare", "a", "b", "--out"],
    "retention": ["retention", "a", "b", "--dataset", ".", "--out"],
    "demo": ["demo", "--out"],
    "distill": ["distill", "--profile", "raspberry-pi-5", "--teacher", "demo", "--images", "mine", "--texts"],
}
WRITERS["distill"] += ["mine/texts.txt", "--latency-ms", "20", "--out"]


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_no_command_writes_over_what_edgeclip_did_not_make(words, force, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("a.txt", "report.json", "bundle.json", "data", "a.png"):
        (tmp_path / "mine" / name).write_text('{"format": "of my own"}')
    (tmp_path / "mine/texts.txt").write_text("\n".join(f"{number} cats" for number in range(16)))
    before = _snapshot(tmp_path)
    force = force if words[0] not in ("demo", "distill") else []
    for out in ("mine", "mine/report.json"):
        result = run(*words, out, *force, expect=2)
        assert f"{out} " in result.stderr
        assert result.stderr.count("\n") == 1
        assert "choose another" in result.stderr or "must name a file" in result.stderr
    assert _snapshot(tmp_path) == before


def test_on_a_terminal_what_takes_long_to_load_is_said(tmp_path):
    pty = pytest.importorskip("pty")
    import threading

    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "edgeclip", "export", "demo", "--out", str(tmp_path / "x")]
    process = subprocess.Popen(command, stderr=secondary, stdout=subprocess.DEVNULL)
    os.close(secondary)
    told = []
    reader = threading.Thread(target=lambda: told.extend(iter(lambda: _read(primary), b"")))
    reader.start()
    assert process.wait(timeout=120) == 2
    reader.join()
    os.close(primary)
    shown = b"".join(told).decode()
    assert shown.startswith("loading torch …\r\x1b[K")
    assert "--calibration" in shown


def _read(primary):
    try:
        return os.read(primary, 4096)
    except OSError:  # the other end is closed
        return b""


def test_a_missing_extra_names_the_command(tmp_path):
    hidden = "import sys; sys.modules['torch'] = None; from edgeclip.cli import main; main()"
    command = [sys.executable, "-c", hidden, "export", "demo", "--out", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'edgeclip[distill]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_and_profiles_print_one_document():
    assert {"edgeclip", "python", "device", "providers", "parts"} == set(json.loads(run("doctor", "--json").stdout))
    listed = json.loads(run("profiles", "--json").stdout)
    assert {p["provenance"] for p in listed} == {"measured", "estimated"}
    for p in listed:
        assert json.loads(run("profiles", p["name"], "--json").stdout) == p


def test_profiles_says_what_was_only_estimated():
    table = run("profiles").output
    assert re.search(r"raspberry-pi-5.*estimated", table)


def test_select_prints_specs_and_writes_the_first(tmp_path):
    out, plot = tmp_path / "student.json", tmp_path / "front.svg"
    command = ["select", "--profile", "raspberry-pi-5", "--latency-ms", 30, "--json"]
    result = run(*command, "--out", out, "--plot", plot)
    specs = json.loads(result.stdout)
    assert "is estimated" in result.stderr
    assert plot.read_text().startswith("<svg")
    assert specs[0] == json.loads(out.read_text())
    assert all(spec["predicted_ms"] <= 30 for spec in specs)


def test_the_commands_of_the_readme_parse():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    commands = [line.partition("#")[0].split() for line in lines if line.startswith("edgeclip ")]
    assert len(commands) >= 6
    for words in commands:
        known = {flag for parameter in main.commands[words[1]].params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_the_functions_of_the_package_docstring_are_functions():
    names = re.findall(r"edgeclip\.(\w+)\(", edgeclip.__doc__)
    assert len(names) == 8
    assert all(callable(getattr(edgeclip, name)) for name in names)


def test_the_make_targets_of_the_readme_exist():
    targets = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_a_folder_called_demo_hides_no_teacher(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert edgeclip.load("demo").embed_dim > 0
    with pytest.raises(edgeclip.base.errors.EdgeclipError, match="is not a bundle or run"):
        edgeclip.load(Path("demo"))


def test_the_readmes_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert len(targets) > 3
    assert not [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]


def test_help_lists_every_command_once_by_its_stage():
    from edgeclip.cli import STAGES

    named = [name for names in STAGES.values() for name in names]
    assert sorted(named) == sorted(main.commands) and len(named) == len(set(named))
    told = run("--help").output
    places = [told.index(f"{stage}:\n") for stage in STAGES]
    assert places == sorted(places)
    assert told.index("\n  init ") < told.index("\n  profile "), "what a newcomer looks for stands first"
    assert "..." not in told[places[0] :], "no sentence is cut"


def test_the_package_lists_what_it_has():
    assert "load" in dir(edgeclip)


@pytest.mark.parametrize(("given", "expected"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_torchs_threads_wait_asleep_unless_told_otherwise(given, expected):
    lines = ["import os, sys", "from edgeclip.__main__ import main", "sys.argv = ['edgeclip', '--version']"]
    lines += ["try:", "    main()", "except SystemExit:", "    pass", "print(os.environ['GOMP_SPINCOUNT'])"]
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected
