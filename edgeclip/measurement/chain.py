"""A chain of encoders and a dataset in, the report's rows out: latency in turns, accuracy from the embeddings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from ..base.pictures import say_skipped
from ..base.scratch import scratch_folder
from ..device.facts import describe_device
from ..encoder import PixelEncoder
from ..evaluation import evaluate
from ..evaluation.embed import Embedded
from ..evaluation.zeroshot import class_embeddings, classify
from ..images.labelled import BytesExample, FileExample
from ..runtime.engines.registry import DEFAULT
from ..runtime.golden import probe_image
from ..runtime.onnxencoder import OnnxEncoder
from ..runtime.target import Conditions, Device, Runtime
from ..runtime.towerjob import TowerJob
from ..runtime.turns import Call
from .bench import Plan
from .devices import MeasuringDevice, ThisMachine, device_steps, embeddings
from .reference import reference_name, write_reference
from .results import BenchResult, TowerResult
from .rows import accuracy_columns, device_columns, make_row, timing
from .schema import Reference, Row

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..evaluation.zeroshot import ZeroShot
    from ..images.labelled import Dataset


Example = tuple[Path, Any]  # an image's file, and its label


@dataclass(frozen=True)
class Stage:
    """One link of the chain from the teacher to the artefact on the device."""

    name: str
    encoder: Encoder  # one that only encodes has accuracy, and neither latency nor size
    compared_to: str | None = None  # the stage that its embeddings and answers are held against
    focus: bool = False  # the one that is used: its energy and its pace in the long run are measured, too
    on_host: bool = False  # stays here where the device is another one


@dataclass
class Measured:
    """What :func:`run_chain` found."""

    rows: list[Row]
    rule: str
    reference: Reference | None
    before: Conditions
    after: Conditions
    machine: Device
    dataset: str = ""  # sha256 of what accuracy is of
    runtime: Runtime | None = None  # what executed the towers; None where none ran
    labels: list[int] = field(default_factory=list)  # of the images that could be read, where each is of one class


@dataclass
class _Chain:
    """The stages by where they run, and what is known of them so far."""

    stages: Sequence[Stage]
    machine: MeasuringDevice
    classnames: Sequence[str] = ()
    accuracy: dict[str, ZeroShot] = field(default_factory=dict)

    @property
    def labels(self) -> list[int]:
        """See :class:`Measured`."""
        first = next(iter(self.accuracy.values()), None)
        return first.labels.tolist() if first is not None and first.labels.ndim == 1 else []

    def is_tower(self, stage: Stage) -> bool:
        """Is it measured in a process of its own, on the device?"""
        return isinstance(stage.encoder, OnnxEncoder) and (self.machine.local or not stage.on_host)


def run_chain(
    stages: Sequence[Stage], dataset: Dataset | None, machine: MeasuringDevice, *, seconds: float, sustained: float = 0
) -> Measured:
    """Measure every stage on ``dataset``, and all that run on the device in turns on one image.

    Exported towers are measured at ``machine``, each in a process of its own, and their accuracy is that of the
    embeddings which came back. Torch models stay here: on another machine they have no latency.

    Raises:
        EdgeclipError: the device cannot be reached.
    """
    chain = _Chain(stages, machine, dataset.classnames if dataset else ())
    towers = {s.name: s.encoder.job for s in stages if chain.is_tower(s) and isinstance(s.encoder, OnnxEncoder)}
    focus = next(stage for stage in stages if stage.focus)
    with scratch_folder() as scratch:
        examples = list(_on_disk(dataset, Path(scratch))) if dataset else []
        job = towers[focus.name]
        plan = Plan(
            towers=towers,
            focus=focus.name,
            reference=write_reference(Path(scratch), job),
            images=[str(path) for path, _ in examples],
            seconds=seconds,
            sustained=sustained,
        )
        results = _bench(chain, plan, Path(scratch))
        if dataset:
            _judge_or_note(chain, dataset, examples, results, embeddings(results, plan, Path(scratch)))
        content = _hashed(dataset, examples) if dataset else ""
    return Measured(
        rows=[_row(chain, stage, results.rows.get(stage.name, TowerResult())) for stage in stages],
        reference=_reference(results.reference),
        dataset=content,
        labels=chain.labels,
        runtime=_runtime(job, results),
        rule=results.rule,
        before=Conditions(**asdict(results.before)),
        after=Conditions(**asdict(results.after)),
        machine=Device(**asdict(results.machine)),
    )


def _runtime(job: TowerJob, result: BenchResult) -> Runtime:
    """What the towers were to run in, with the version that the device told."""
    opened = next((row.opened for row in result.rows.values() if row.opened), None)
    return Runtime(
        name=job.engine or DEFAULT,
        version=opened.version if opened else "unknown: no variant could be opened",
        provider=(opened.asked_provider if opened else job.provider) or "its usual one",
        threads=job.threads or result.machine.cores,
    )


def accuracy_here(stages: Sequence[Stage], dataset: Dataset) -> Measured:
    """The accuracy of every stage on this machine; nothing is timed.

    Raises:
        EdgeclipError: too many of the dataset's images cannot be read.
    """
    chain = _Chain(stages, ThisMachine(), dataset.classnames)
    for stage in stages:
        chain.accuracy[stage.name] = evaluate(stage.encoder, dataset, title=f"zero-shot, {stage.name}")
    with scratch_folder() as scratch:
        content = _hashed(dataset, list(_on_disk(dataset, Path(scratch))))
    return Measured(
        rows=[_row(chain, stage, TowerResult()).model_copy(update={"where": "host"}) for stage in stages],
        rule="not timed",
        reference=None,
        before=Conditions(),
        after=Conditions(),
        machine=describe_device(),
        dataset=content,
        labels=chain.labels,
    )


def _judge_or_note(
    chain: _Chain,
    dataset: Dataset,
    examples: Sequence[Example],
    results: BenchResult,
    embeds: dict[str, tuple[NDArray[np.float32], list[int]]],
) -> None:
    """The accuracy of every stage; where that fails, what was timed for minutes stays, and each row says why."""
    try:
        _judge(chain, dataset, examples, embeds)
    except EdgeclipError as error:
        chain.accuracy.clear()
        for row in results.rows.values():
            row.failed = row.failed or f"accuracy not measured: {error}"


def _judge(
    chain: _Chain,
    dataset: Dataset,
    examples: Sequence[Example],
    embeds: dict[str, tuple[NDArray[np.float32], list[int]]],
) -> None:
    """The accuracy of every stage: of towers by what the device made of the images, of the others here."""
    for stage in chain.stages:
        if stage.name in embeds:
            chain.accuracy[stage.name] = _judged(stage, dataset, examples, *embeds[stage.name])
        elif not chain.is_tower(stage):
            chain.accuracy[stage.name] = evaluate(stage.encoder, dataset, title=f"zero-shot, {stage.name}")


def _hashed(dataset: Dataset, examples: Sequence[Example]) -> str:
    """What accuracy depends on: classes, templates, and each image with its label."""
    digest = hashlib.sha256(json.dumps([dataset.classnames, dataset.templates]).encode())
    for path, label in examples:
        digest.update(np.asarray(label).tobytes() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _bench(chain: _Chain, plan: Plan, out: Path) -> BenchResult:
    beside = {}
    if chain.machine.local:
        image = probe_image()
        for stage in chain.stages:
            if not chain.is_tower(stage) and isinstance(encoder := stage.encoder, PixelEncoder):
                pixels = encoder.preprocess([image])
                beside[stage.name] = Call(lambda e=encoder, p=pixels: e.encode_pixels(p))  # type: ignore[misc]
    with device_steps(f"measure on {chain.machine.name}") as tell:
        return chain.machine.bench(plan, out, beside=beside, on_step=tell)


def _on_disk(dataset: Dataset, scratch: Path) -> Iterator[Example]:
    """Every image as a file, which is what a device is handed, with its label; what lies in archives is written out."""
    for number, example in enumerate(dataset.source):
        if isinstance(example, FileExample):
            yield example.path, example.label
            continue
        path = scratch / f"image-{number:06d}"
        if isinstance(example, BytesExample):
            path.write_bytes(example.content)
        else:
            example.decode().save(path, "PNG")
        yield path, example.label


def _judged(
    stage: Stage, dataset: Dataset, examples: Sequence[Example], embeds: NDArray[np.float32], broken: list[int]
) -> ZeroShot:
    """What the device made of the images ``[N, D]``, held against the stage's class embeddings."""
    dataset.broken = []
    for row in broken:
        dataset.note_broken(examples[row][0].name)
    say_skipped(dataset.broken, dataset.name)
    good = np.delete(np.arange(len(examples)), broken)
    labels = np.asarray([label for _, label in examples], bool if dataset.several else np.int64)
    assert isinstance(stage.encoder, OnnxEncoder)  # what a device embedded with
    classes = class_embeddings(stage.encoder, dataset.classnames, dataset.templates)
    keys = [examples[row][0].name for row in good.tolist()]
    return classify(Embedded(embeds[good], labels[good], [], keys), classes, scale=stage.encoder.logit_scale)


def _row(chain: _Chain, stage: Stage, result: TowerResult) -> Row:
    accuracy = chain.accuracy.get(stage.name)
    other = chain.accuracy.get(stage.compared_to) if stage.compared_to else None
    return make_row(
        stage.name,
        accuracy_columns(accuracy, other, chain.classnames) if accuracy else {},
        device_columns(result),
        where="device" if chain.machine.local or chain.is_tower(stage) else "host",
        compared_to=stage.compared_to,
        size_bytes=stage.encoder.image_bytes if isinstance(stage.encoder, PixelEncoder) else 0,
        runtime=stage.encoder.runtime if isinstance(stage.encoder, PixelEncoder) else "of its own",
    )


def _reference(result: TowerResult | None) -> Reference | None:
    """The machine's pace, and how it changed between the first and the last third of the turns."""
    latency = timing(result) if result else None
    if latency is None:
        return None
    third = max(1, len(latency.turns) // 3)
    first, last = (float(np.median([ms for _, ms in part])) for part in (latency.turns[:third], latency.turns[-third:]))
    return Reference(graph=reference_name(), p50_ms=latency.p50_ms, drift=last / first - 1, turns=latency.turns)
