"""A sheet of pictures: what each shows, and what it was taken for."""

from __future__ import annotations

from ..base.visible import escape
from ..measurement.schema import Picture, Row
from .classes import answered
from .schema import Report


def sheet(report: Report) -> str:
    """The pictures of a report in groups; empty where there are none."""
    chosen = next(row for row in report.rows if row.recommended)
    pairs = answered(report, chosen)
    last = max((shown.image for shown in report.pictures), default=len(pairs))
    if report.dataset is None or last >= len(pairs):
        return ""
    names, fp32 = report.dataset.names, _held_against(report, chosen)
    before = fp32.answers if fp32 else chosen.answers

    def told(picture: Picture) -> str:
        label, answer = pairs[picture.image]
        words = names[label] if label == answer else f"{names[label]}, taken for {names[answer]}"
        return words if before[picture.image] == answer else f"{words}; {names[before[picture.image]]} in fp32"

    groups: dict[str, list[Picture]] = {"Wrong": [], f"Changed by {chosen.stage}": [], "Right": []}
    changed = f"Changed by {chosen.stage}"
    for shown in report.pictures:
        label, answer = pairs[shown.image]
        groups[changed if before[shown.image] != answer else "Right" if label == answer else "Wrong"].append(shown)
    return "".join(
        f'<h3>{escape(name)}</h3><div class="sheet">{"".join(_figure(shown, told(shown)) for shown in group)}</div>'
        for name, group in groups.items()
        if group
    )


def _held_against(report: Report, chosen: Row) -> Row | None:
    """The same student in fp32, where it gave as many answers."""
    fp32 = next((row for row in report.rows if row.stage == "exported fp32" and row is not chosen), None)
    return fp32 if fp32 and len(fp32.answers) == len(chosen.answers) else None


def _figure(picture: Picture, caption: str) -> str:
    return (
        f'<figure><img src="data:image/jpeg;base64,{picture.jpeg}" alt="{escape(picture.key)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
