"""The single-file runner: the modules that it needs, one after another in one file, as they stand in the package.

So a device runs what the package runs. Starting at ``standalone.py``, every module is preceded by those it imports
from edgeclip; those imports and what is for type checkers alone are left out, nothing else is changed.
"""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

from .. import __version__

NAME = "run.py"
ENTRY = ("measurement", "standalone.py")
HEADER = '''#!/usr/bin/env python3
"""Runs this bundle: Python 3.10 or newer, onnxruntime, numpy and Pillow, nothing else.

    python run.py classify cat.jpg --labels "a cat,a dog"
    python run.py measure
    python run.py verify

Made by edgeclip {version} of its own modules, one after another. Licence: Apache-2.0.
"""

from __future__ import annotations

'''


def runner_source() -> str:
    """The file's text.

    Raises:
        ValueError: two modules use one name at their top level, or import in a way that one file cannot.
    """
    root = Path(str(files("edgeclip")))
    parts: dict[Path, str] = {}
    owners: dict[str, Path] = {}
    imports: dict[str, set[str]] = {}
    _add(root.joinpath(*ENTRY), parts, owners, imports)
    return HEADER.format(version=__version__) + _written(imports) + "\n\n" + "".join(parts.values()).rstrip() + "\n"


def _add(module: Path, parts: dict[Path, str], owners: dict[str, Path], imports: dict[str, set[str]]) -> None:
    """Append ``module`` to ``parts``, what it needs before it."""
    text = module.read_text(encoding="utf-8")
    tree = ast.parse(text)
    dropped: set[int] = set()
    entry = module.parts[-2:] == ENTRY
    parts[module] = ""  # a place in the order for a cycle to be found by
    for node in tree.body:
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if isinstance(node, ast.ImportFrom) and node.level:
            dropped |= set(lines)
            needed = module.parents[node.level - 1].joinpath(*(node.module or "").split(".")).with_suffix(".py")
            if not needed.is_file() or any(alias.asname for alias in node.names):
                raise ValueError(f"{module}:{node.lineno}: one file cannot import so")
            if needed not in parts:
                _add(needed, parts, owners, imports)
                parts[module] = parts.pop(module)  # behind what it needs
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            dropped |= set(lines)
            for alias in node.names:
                imports.setdefault(getattr(node, "module", "") or "", set()).add(ast.unparse(alias))
        elif _is_docstring(node, tree) or _is_if(node, "TYPE_CHECKING") or (_is_if(node, "__name__") and not entry):
            dropped |= set(lines)
        for name in _names(node):
            if owners.setdefault(name, module) != module:
                raise ValueError(f"{name} is a name of {owners[name].name} and of {module.name}: one file needs two")
    for inner in ast.walk(tree):
        if isinstance(inner, ast.ImportFrom) and inner.level and inner.lineno not in dropped:
            raise ValueError(f"{module}:{inner.lineno}: one file cannot import within a function")
    kept = [line for number, line in enumerate(text.splitlines(), 1) if number not in dropped]
    title = f"# --- edgeclip/{module.parent.name}/{module.name} ---\n\n".replace("edgeclip/edgeclip", "edgeclip")
    parts[module] = title + "\n".join(kept).strip() + "\n\n\n"


def _names(node: ast.stmt) -> list[str]:
    """What a statement at the top level calls by a name of our own."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _is_docstring(node: ast.stmt, tree: ast.Module) -> bool:
    return node is tree.body[0] and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_if(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.test))


def _written(imports: dict[str, set[str]]) -> str:
    """Import statements: modules first, then the names of each module."""
    lines = [f"import {name}\n" for name in sorted(imports.get("", ()))]
    for module in sorted(filter(None, imports)):
        lines.append(f"from {module} import {', '.join(sorted(imports[module]))}\n")
    return "".join(line for line in lines if "__future__" not in line)
