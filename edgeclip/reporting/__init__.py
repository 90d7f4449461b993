"""Measured numbers in; JSON, a table, Markdown and one HTML file out. It knows results, not how they were made."""

from .build import Subject, build_report
from .render import write_report

__all__ = ["Subject", "build_report", "write_report"]
