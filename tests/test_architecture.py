"""What may know what: the arrows of the pipeline run one way, and start-up stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = {"base", "encoder", "__version__"}
MAY_KNOW = {
    "base": {"__version__"},
    "runtime": BASE,
    "device": BASE | {"runtime"},
    "profiling": BASE | {"device", "runtime"},
    "towers": BASE | {"profiling", "runtime"},
    "selection": BASE | {"towers", "profiling", "device", "runtime"},
    "models": BASE | {"towers", "runtime"},
    "images": BASE,
    "data": BASE | {"images", "runtime"},
    "distillation": BASE | {"data", "images", "models", "towers", "runtime"},
    "evaluation": BASE | {"images"},
    "comparison": BASE | {"evaluation"},
    "reporting": BASE | {"measurement", "comparison", "evaluation", "runtime"},
    "measurement": BASE | {"comparison", "evaluation", "images", "profiling", "device", "runtime"},
    "exporting": BASE | {"measurement", "evaluation", "images", "data", "models", "towers", "device", "runtime"},
    "chain": BASE
    | {"exporting", "measurement", "reporting", "comparison", "evaluation", "distillation", "data", "images", "models"}
    | {"selection", "towers", "profiling", "device", "runtime"},
    "ecosystem": BASE | {"reporting", "distillation", "runtime"},
    "api": BASE
    | {"chain", "ecosystem", "exporting", "measurement", "reporting", "comparison", "evaluation", "distillation"}
    | {"data", "images", "models", "selection", "towers", "profiling", "device", "runtime"},
    "cli": {"api", "reporting", "base", "__version__"},
    "profiles": set(),
}
PLACES = {"exporting": ROOT / "export", "profiles": ROOT / "profiles"}
FOLDERS = {room: PLACES.get(room, ROOT / "edgeclip" / room) for room in MAY_KNOW}


def rooms_imported_by(module: Path, room: str) -> set[str]:
    """The rooms of edgeclip named by a module's import statements, relative or absolute; in cli, not those of types."""
    package = ["edgeclip", room, *module.relative_to(FOLDERS[room]).parts[:-1]]
    found, tree = set(), ast.parse(module.read_text(encoding="utf-8"))
    of_types = {node for block in ast.walk(tree) if is_for_types(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if room == "cli" and node in of_types:
            continue
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            full = [*start, *(node.module.split(".") if node.module else [])]
            names = [full] if len(full) > 1 else [[*full, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "edgeclip" and len(name) > 1}
    return found - {room}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("room", MAY_KNOW)
def test_no_arrow_runs_back(room):
    modules = list(FOLDERS[room].rglob("*.py"))
    assert modules, f"{room} has moved: update this test"
    for module in modules:
        assert rooms_imported_by(module, room) <= MAY_KNOW[room], module


def test_no_room_is_known_by_one_that_it_knows():
    def reached(room, seen=()):
        for other in MAY_KNOW.get(room, ()):
            assert other not in seen, f"{' -> '.join(seen)} -> {other} is a circle"
            reached(other, (*seen, other))

    for room in MAY_KNOW:
        reached(room, (room,))


def test_only_engines_call_an_engine():
    """onnxruntime's quantiser and graph tools are tools; its sessions belong to engines/."""
    tools = ("onnxruntime.quantization", "onnxruntime.transformers")
    for room, folder in FOLDERS.items():
        for module in folder.rglob("*.py"):
            if "engines" in module.parts:
                continue
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in names:
                    engine = name.split(".")[0] in ("onnxruntime", "tensorrt", "openvino")
                    assert not engine or name.startswith(tools) or (room == "exporting" and "tensorrt" in name), module


def test_the_check_can_fail(tmp_path, monkeypatch):
    monkeypatch.setitem(FOLDERS, "runtime", tmp_path)
    (tmp_path / "sly.py").write_text("from ..distillation.run import Run\nimport edgeclip.exporting.fp16\n")
    assert rooms_imported_by(tmp_path / "sly.py", "runtime") == {"distillation", "exporting"}


@pytest.mark.parametrize(
    "statement",
    [
        "import edgeclip, edgeclip.cli",
        "import edgeclip.runtime.bundle, edgeclip.profiling.probe, edgeclip.profiling.costmodel, edgeclip.selection",
        "import edgeclip.evaluation.zeroshot, edgeclip.reporting.render, edgeclip.measurement.chain",
        "from edgeclip.api import bundle, device, project, proof, student",
    ],
)
def test_what_a_device_imports_brings_no_torch(statement):
    heavy = "{'torch', 'open_clip', 'onnx', 'timm', 'transformers', 'accelerate'} & set(sys.modules)"
    code = f"import sys; {statement}; found = {heavy}; assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from edgeclip.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "found = {'torch', 'onnxruntime', 'numpy', 'pydantic', 'rich', 'PIL'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_modules_and_functions_stay_small():
    python = [p for folder in ("edgeclip", "export", "profiles") for p in (ROOT / folder).rglob("*.py")]
    for module in python:
        text = module.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, f"{module} wants splitting"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 75, f"{module}: {node.name} is over a screen"


MOST_ROOMS, MOST_LINES, MOST_PARAMETERS, MOST_OF_A_FUNCTION = 20, 300, 8, 55


def python_files():
    return [(room, file) for room, folder in FOLDERS.items() for file in folder.rglob("*.py")]


def functions(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_readme_lists_the_rooms():
    listed = re.findall(r"^      (\w+)/ ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.parent.name for path in (ROOT / "edgeclip").glob("*/__init__.py"))


def test_the_house_is_small_enough_to_be_read():
    assert len(FOLDERS) <= MOST_ROOMS
    assert {path.parent for path in (ROOT / "edgeclip").glob("*/__init__.py")} <= set(FOLDERS.values())
    long = [(file, count) for _, file in python_files() if (count := len(file.read_text().splitlines())) > MOST_LINES]
    assert not long


def test_functions_are_under_a_screen_and_take_few_parameters():
    """But for those of the command line: click gives a parameter for each option."""
    for room, file in python_files():
        for node in functions(file):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [one.arg for one in arguments if one.arg not in ("self", "cls")]
            assert room == "cli" or len(named) <= MOST_PARAMETERS, (file, node.name, len(named))
            words = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.body[0].lineno + 1 - words <= MOST_OF_A_FUNCTION, (file, node.name)


SAYS_NOTHING = {"found", "own", "told", "asked"}


def test_names_say_what_they_hold():
    for _, file in python_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
            assert name not in SAYS_NOTHING or isinstance(getattr(node, "ctx", None), ast.Load), (file, node.lineno)
