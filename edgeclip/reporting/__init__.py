"""Measured numbers in; JSON, a table, Markdown and one HTML file out. It knows results, not how they were made."""

from .build import report
from .render import write_report

__all__ = ["report", "write_report"]
