"""Make edgeclip/towers/towers.csv: what each of timm's towers costs at each image size, counted by torch.

    python benchmarks/make_tower_table.py

Run it when timm, the families or the counting change. Minutes on one core.
"""

from __future__ import annotations

import csv
import io

import torch

from edgeclip.base.console import progress_bar, say
from edgeclip.base.files import write_text
from edgeclip.models.build import build_tower
from edgeclip.profiling.schema import KERNELS, MEASURES, Workload
from edgeclip.towers.operators import count
from edgeclip.towers.timmtowers import FAMILIES, FIXED, IMAGE_SIZES, TABLE, WORK, timm_vision_cfg


def main() -> None:
    """Count them all."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIXED, *WORK])
    with progress_bar("towers", sum(map(len, FAMILIES.values()))) as bar:
        for family, names in FAMILIES.items():
            for name in names:
                bar.note(name)
                loads = count(build_tower(timm_vision_cfg(name, max(IMAGE_SIZES))), IMAGE_SIZES, family)
                writer.writerows(line(name, size, load) for size, load in zip(IMAGE_SIZES, loads, strict=True))
                bar.advance()
    write_text(TABLE, out.getvalue())
    say(f"wrote {TABLE}")


def line(name: str, size: int, load: Workload) -> list[object]:
    """One line; six digits are far finer than any measurement."""
    works = [load.kernels.get(kernel) for kernel in KERNELS]
    numbers = [f"{getattr(work, measure):.6g}" if work else "" for work in works for measure in MEASURES]
    return [name, load.family, size, f"{load.params_m:.6g}", f"{load.peak_melems:.6g}", *numbers]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
