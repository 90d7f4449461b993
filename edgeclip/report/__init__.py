"""Measured numbers in; JSON, a table, Markdown and one HTML file out. It knows results, not how they were made."""
