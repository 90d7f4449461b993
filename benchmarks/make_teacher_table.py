"""Make edgeclip/models/teachers.csv: what open_clip's own tables say of its pretrained models.

    git clone https://github.com/mlfoundations/open_clip && python benchmarks/make_teacher_table.py open_clip

From ``docs/openclip_results.csv`` (zero-shot, 38 sets) and ``docs/model_profile.csv`` (image towers) there.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from edgeclip.base.console import say
from edgeclip.base.files import write_text

TABLE = Path(__file__).parents[1] / "edgeclip/models/teachers.csv"


def main() -> None:
    """Join the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    docs = parser.parse_args().clone / "docs"
    with (docs / "model_profile.csv").open(encoding="utf-8") as file:
        towers = {row["model"]: row["image_mparams"] for row in csv.DictReader(file)}
    with (docs / "openclip_results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["teacher", "params_m", "image_params_m", "imagenet", "mean_of_38"])
    for row in sorted(rows, key=lambda row: (row["name"], row["pretrained"])):
        scores = row["ImageNet 1k"], row["Average perf. on 38 datasets"]
        name = f"{row['name']}:{row['pretrained']}"
        writer.writerow([name, row["params (M)"], towers.get(row["name"], ""), *scores])
    write_text(TABLE, out.getvalue())
    say(f"wrote {TABLE}: {len(rows)} teachers")


if __name__ == "__main__":
    main()
