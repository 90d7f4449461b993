"""The played TensorRT has the signatures of the real one: of the package that is installed, and of the 10.x stubs."""

import ast
import inspect
import re
import sysconfig
from pathlib import Path

import pytest

from .playedtrt import CLASSES

METHODS = [
    (one, name)
    for one in CLASSES
    for name, value in vars(one).items()
    if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_"))
]
OURS = {"Builder", "OnnxParser", "Runtime"}  # classes that we make ourselves
WANTED = [(one, name) for one, name in METHODS if name != "__init__" or one.__name__ in OURS]


def played(one, name):
    return [parameter for parameter in inspect.signature(getattr(one, name)).parameters if parameter != "self"]


def takes(words, parameters):
    """Whether a call with these words is one of a function with these parameters: (name, has a default)."""
    return words == [name for name, _ in parameters[: len(words)]] and all(has for _, has in parameters[len(words) :])


@pytest.mark.tensorrt
@pytest.mark.parametrize(("one", "name"), WANTED, ids=lambda value: getattr(value, "__name__", value))
def test_the_installed_package_has_the_signature(one, name):
    real = pytest.importorskip("tensorrt_rtx")
    told = getattr(getattr(real, one.__name__), name).__doc__
    lines = [line for line in told.splitlines() if re.match(rf"\s*(\d+\. )?{name}\(self", line)]
    overloads = [re.findall(r", (\w+): ([^,)]*)", line) for line in lines]
    assert any(takes(played(one, name), [(word, "=" in rest) for word, rest in each]) for each in overloads), told


def stub_methods():
    """Class -> method -> parameters of every overload, in the stubs of TensorRT 10.13."""
    folder = Path(sysconfig.get_path("purelib")) / "tensorrt_bindings"
    if not folder.is_dir():
        pytest.skip("no tensorrt-stubs here: make types brings them")
    text = (folder / "tensorrt.pyi").read_text(encoding="utf-8")
    text = text.replace(" in: list", " inputs: list").replace(", channel_axis: int)", ", channel_axis: int = 0)")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            methods = found.setdefault(node.name, {})
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    names = [one.arg for one in inner.args.args[1:]]
                    without = len(names) - len(inner.args.defaults)
                    parameters = [(name, place >= without) for place, name in enumerate(names)]
                    methods.setdefault(inner.name, []).append(parameters)
    return found


def test_the_stubs_of_10_have_the_signatures():
    stubs = stub_methods()
    for one, name in WANTED:
        offered = stubs[one.__name__][name]
        assert any(takes(played(one, name), parameters) for parameters in offered), (one.__name__, name, offered)
