"""The wheel holds the three folders under one name, its data, and nothing at the top level but edgeclip."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel_names(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: the list of source files is unknown")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return set(zipfile.ZipFile(next(out.glob("*.whl"))).namelist())


def test_the_folders_are_mapped(wheel_names):
    rooms = {f"edgeclip/{room}/__init__.py" for room in ("cli", "exporting", "profiles")}
    assert rooms <= wheel_names
    assert {"edgeclip/runtime/bundle.py", "edgeclip/py.typed"} <= wheel_names


def test_the_data_travels(wheel_names):
    assert not any("teacher/" in name for name in wheel_names), "15 MB that no device needs"
    assert "edgeclip/profiling/kit/kit.zip" in wheel_names
    assert any(name.startswith("edgeclip/profiles/") and name.endswith(".toml") for name in wheel_names)
    assert "edgeclip/reporting/page.html" in wheel_names


def test_nothing_else_is_installed(wheel_names):
    top = {name.split("/")[0] for name in wheel_names if ".dist-info" not in name}
    assert top == {"edgeclip"}
    assert not any("tests" in name or "benchmarks" in name for name in wheel_names)


def test_a_checkout_cannot_be_imported_twice():
    code = "import sys; sys.path.insert(0, '.'); import export"
    tried = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert tried.returncode != 0
    assert "imported as edgeclip.exporting" in tried.stderr
