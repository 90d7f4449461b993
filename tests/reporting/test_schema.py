"""The page that documents report.json names every field of it."""

import re
from pathlib import Path

from edgeclip.reporting import schema
from edgeclip.reporting.schema import Report

PAGE = (Path(__file__).parents[2] / "docs/report.md").read_text(encoding="utf-8")


def test_every_field_is_documented():
    parts = [part for part in vars(schema).values() if isinstance(part, type) and hasattr(part, "model_fields")]
    fields = {name for part in parts if part.__module__ == schema.__name__ for name in part.model_fields}
    assert len(fields) > 60
    assert fields <= set(re.findall(r"`([a-z0-9_]+)`", PAGE))


def test_the_version_is_the_one_documented():
    assert f"format version {Report.VERSION}" in PAGE
