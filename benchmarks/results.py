"""Where benchmarks put what they find: JSON with the machine in it, and a plot beside it."""

from __future__ import annotations

import datetime
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeclip.device.facts import conditions, describe_device

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("edgeclip", "torch", "open_clip_torch", "onnxruntime", "accelerate")


def save(name: str, found: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``."""
    facts = {
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": describe_device().model_dump(exclude_none=True),
        "conditions": vars(conditions()),
        "software": {package: metadata.version(package) for package in PACKAGES},
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({**facts, **found}, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return path
