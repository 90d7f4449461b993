"""How large is each install? The files of every package that an extra brings, as they lie in this environment.

    python benchmarks/install_sizes.py

An extra whose packages are not all installed here has no size. The same wheels are smaller on other systems: torch for
Linux on x86-64 brings CUDA.
"""

from __future__ import annotations

from importlib import metadata

import results
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "edgeclip"


def closure(extra: str | None) -> dict[str, set[str]]:
    """The distributions that ``edgeclip[extra]`` needs, and their extras; a package that is not there ends it.

    Raises:
        PackageNotFoundError: it names the package.
    """
    found: dict[str, set[str]] = {}
    open_ones = [(ROOT, extra)]
    while open_ones:
        name, own = open_ones.pop()
        seen = found.setdefault(canonicalize_name(name), set())
        if (own or "") in seen:
            continue
        seen.add(own or "")
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": own or ""}):
                open_ones += [(needed.name, one) for one in (None, *needed.extras)]
    return found


def megabytes(names: set[str]) -> float:
    """Of their files on disk, those of edgeclip itself left out."""
    files = (file for name in names - {ROOT} for file in metadata.files(name) or [])
    paths = {file.locate() for file in files if not str(file).endswith(".pyc")}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    """Count and write."""
    rows: dict[str, float | None] = {}
    extras = metadata.metadata(ROOT).get_all("Provides-Extra") or []
    for extra in [None, *(one for one in extras if one not in ("dev", "docs"))]:
        try:
            rows[extra or ""] = round(megabytes(set(closure(extra))), 1)
        except metadata.PackageNotFoundError as error:
            rows[extra or ""] = None
            print(f"{extra}: {error.name} is not installed here")
    largest = {name: round(megabytes({name}), 1) for name in closure("distill")}
    top = dict(sorted(largest.items(), key=lambda pair: -pair[1])[:8])
    for name, size in rows.items():
        print(f"edgeclip{f'[{name}]' if name else ''}: {size} MB")
    print("largest of distill:", top)
    results.save("install_sizes", {"megabytes": rows, "largest_of_distill": top})


if __name__ == "__main__":
    main()
