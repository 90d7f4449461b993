"""The page that documents report.json names every field of it."""

import re
from pathlib import Path

from edgeclip.measurement import schema as figures
from edgeclip.reporting import schema
from edgeclip.reporting.schema import Report

PAGE = (Path(__file__).parents[2] / "docs/report.md").read_text(encoding="utf-8")


def test_every_field_is_documented():
    parts = [part for module in (schema, figures) for part in vars(module).values() if hasattr(part, "model_fields")]
    own = [part for part in parts if part.__module__ in (schema.__name__, figures.__name__)]
    fields = {name for part in own if part is not figures.Verification for name in part.model_fields}
    assert len(fields) > 60
    assert fields <= set(re.findall(r"`([a-z0-9_]+)`", PAGE))


def test_the_version_is_the_one_documented():
    assert f"format version {Report.VERSION}" in PAGE


def test_the_hint_of_an_older_report_is_read():
    facts = {"name": "n", "limit": 1.0, "unit": "u"}
    assert schema.Criterion.model_validate({**facts, "mend": "see its row"}).hint == "see its row"
