"""What one machine makes of a bundle: verified first, then latency, memory and accuracy, as one document."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.console import say
from ..base.errors import EdgeclipError
from ..runtime.engines.registry import find_engine
from ..runtime.plain import asked_runtime, readable
from .config import MeasureConfig

if TYPE_CHECKING:
    from ..images.labelled import Dataset
    from ..runtime.bundle import Bundle
    from ..runtime.towerjob import RuntimeOptions
    from .chain import Measured, Stage
    from .schema import Figures, Finding, Row

EXPORTED = "exported "  # and the precision: the stage of a variant


def measure(
    bundle: Path,
    dataset: Path | str | None = None,
    *,
    device: str | None = None,
    config: MeasureConfig | None = None,
    before: Sequence[Stage] = (),
) -> Figures:
    """Measure a bundle's variants here or on a device, each in a process of its own, in turns with a reference graph.

    Args:
        bundle: its folder or archive.
        dataset: labelled images, as :func:`~edgeclip.images.datasets.open_dataset` reads them; without them there is
            no accuracy.
        device: address of another machine; this one when None.
        config: which variants, in what, for how long; the defaults when None.
        before: stages of the chain that come before the variants, measured beside them.

    Raises:
        EdgeclipError: no bundle, no such variant, no such engine or provider here, no data set, or the device cannot
            be reached.
    """
    from ..evaluation.copies import without_copies
    from ..images.datasets import open_dataset
    from ..runtime.bundle import Bundle
    from .chain import run_chain
    from .devices import device_steps, open_device
    from .schema import Finding

    opened = Bundle.open(bundle)
    data = without_copies(open_dataset(dataset)) if dataset is not None else None
    config = config or MeasureConfig()
    options = options_of(opened, config, here=device is None)
    stages = [*before, *_variants(opened, config.precisions, before, options)]
    with open_device(device) as machine:
        with device_steps(f"verify on {machine.name}") as tell:
            checks = machine.verify(opened.path, options, on_step=tell)
        verified = [Finding(**asdict(check)) for check in checks]
        measured = run_chain(stages, data, machine, seconds=config.seconds, sustained=config.sustained)
    rows = [_judged(row, verified) for row in measured.rows]
    complete = not config.precisions or {*config.precisions} >= {v.precision for v in opened.manifest.variants}
    best = _best(opened, rows) if complete else None
    rows = [row.model_copy(update={"recommended": row.stage == f"{EXPORTED}{best}"}) for row in rows]
    return figures_of(opened, replace(measured, rows=rows), data, verified=verified, recommended=best)


def options_of(bundle: Bundle, config: MeasureConfig, *, here: bool) -> RuntimeOptions:
    """What was asked for, else the target's.

    Raises:
        EdgeclipError: this machine is to run them (``here``), and has not got them.
    """
    from ..runtime.cores import usable_cores
    from ..runtime.towerjob import RuntimeOptions

    runtime = bundle.manifest.target.runtime
    engine, provider = asked_runtime({"target": bundle.manifest.target.model_dump()}, config.engine, config.provider)
    if here:  # before a process is started for each variant
        find_engine(engine, provider)
    threads = config.threads or (min(runtime.threads, usable_cores()) if here else runtime.threads)
    return RuntimeOptions(engine, provider, threads)


def figures_of(
    bundle: Bundle,
    measured: Measured,
    data: Dataset | None,
    *,
    verified: Sequence[Finding] = (),
    recommended: str | None = None,
) -> Figures:
    """The document of what was measured; ``verified`` and ``recommended`` as there."""
    from ..evaluation.chance import chance_level, effective_classes
    from .schema import Figures, Judged

    judged = None
    if data:
        labels = np.asarray([example.label for example in data.source])
        judged = Judged(
            name=data.name,
            sha256=measured.dataset,
            images=len(data),
            classes=len(data.classnames),
            templates=list(data.templates),
            chance=chance_level(labels, len(data.classnames)),
            effective_classes=None if data.several else effective_classes(labels),
            copies=data.copies,
            names=list(data.classnames),
            labels=measured.labels,
        )
    return Figures(
        name=bundle.manifest.name,
        bundle=bundle.sha256,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        device=measured.machine,
        runtime=measured.runtime,
        dataset=judged,
        rows=measured.rows,
        rule=measured.rule,
        reference=measured.reference,
        before=measured.before,
        after=measured.after,
        verified=list(verified),
        recommended=recommended,
    )


def _variants(
    bundle: Bundle, precisions: Sequence[str], before: Sequence[Stage], options: RuntimeOptions
) -> list[Stage]:
    """A stage a variant: fp32 is compared with what came before it, the others with fp32."""
    from .chain import Stage

    manifest = bundle.manifest
    wanted = list(precisions)
    if not wanted:
        wanted, left_out = readable(manifest.model_dump(mode="json"), options.engine)
        for reason in left_out:
            say(f"skipped: {reason}")
        if not wanted:
            raise EdgeclipError(f"{bundle.path} holds no variant that {options.engine} reads: {left_out[0]}")
    stages: list[Stage] = []
    for precision in wanted:
        earlier = [*before, *stages]
        plain = next((stage.name for stage in stages if stage.name == f"{EXPORTED}fp32"), None)
        compared = plain or (earlier[-1].name if before else None)
        encoder = bundle.encoder(precision, **asdict(options))
        focus = precision == (manifest.chosen if manifest.chosen in wanted else wanted[0])
        stages.append(Stage(f"{EXPORTED}{precision}", encoder, compared_to=compared, focus=focus))
    return stages


def _judged(row: Row, verified: Sequence[Finding]) -> Row:
    """A variant that does not give what was recorded has failed, however fast it is."""
    part = f"image tower {row.stage.removeprefix(EXPORTED)}"
    wrong = next((finding for finding in verified if finding.part == part and finding.ok is False), None)
    if row.failed or wrong is None:
        return row
    say(f"{row.stage} does not reproduce what was recorded at export: {wrong.detail}")
    return row.model_copy(update={"failed": f"it does not reproduce what was recorded: {wrong.detail}"})


def _best(bundle: Bundle, rows: Sequence[Row]) -> str | None:
    """The fastest faithful variant by these rows; None where fp32 or all others were not timed to the end."""
    from ..runtime.choice import recommend

    by_stage = {row.stage: row for row in rows}
    fp32 = by_stage.get(f"{EXPORTED}fp32")
    if fp32 is None or fp32.timing is None or fp32.failed:
        return None
    options = {}
    for variant in bundle.manifest.variants:
        row = by_stage.get(f"{EXPORTED}{variant.precision}")
        if row and variant.faithful and row.timing and not row.failed:
            options[variant.precision] = (fp32.timing.p50_ms / row.timing.p50_ms, variant.fidelity.cosine_mean)
    return recommend(options) or "fp32"
