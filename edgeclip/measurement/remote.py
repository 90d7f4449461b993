"""Measure on a device that is reached from here: check it, copy what changed, run, follow, bring the results back.

What is copied is named by its hash, so it is copied once, goes on where a cut connection left it, and is checked. The
job runs in a session of its own, so it outlives the connection; the same job asked for again is found and followed.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.files import sha256, write_bytes
from ..base.scratch import scratch_folder
from ..runtime.bundle import MANIFEST, Bundle
from ..runtime.golden import PREPROCESSED, TOKENS, PartCheck
from ..runtime.target import Precision
from ..runtime.towerjob import AS_TARGET, RuntimeOptions, TowerJob
from ..runtime.turns import OPEN_SECONDS, Contender
from .addresses import parse_address
from .bench import Plan, Step
from .job import FINISHED, judge_bundle
from .links import LARGEST, join
from .replies import (
    Benched,
    Event,
    Given,
    JobStarted,
    Kept,
    Ran,
    State,
    read_reply,
    refuse_others,
    result_of,
)
from .results import BenchResult, GoldenOutputs
from .runnerfile import NAME, runner_source
from .session import RESERVE, Session, last_line

WAIT_SECONDS = 2.0  # that the device may take to answer whether there is news
HUNG_SECONDS = 2 * OPEN_SECONDS  # without any news, where each of a job's processes ends itself when it hangs
SILENCE_SECONDS = 15.0  # without news, before the job is asked whether it lives
WIDEST = 4 * 8192  # bytes of an embedding


@contextmanager
def open_remote(address: str) -> Iterator[RemoteDevice]:
    """Connect to a device and check that it can measure.

    Raises:
        EdgeclipError: the address cannot be read, or the device cannot be reached or used; the text says why.
    """
    device = RemoteDevice(address, parse_address(address).folder)
    try:
        device.look()
        yield device
    finally:
        device.close()


class RemoteDevice(Session):
    """A :class:`~edgeclip.measurement.devices.MeasuringDevice` at the other end of a connection."""

    local = False

    def bench(
        self, plan: Plan, out: Path, *, beside: Mapping[str, Contender] | None = None, on_step: Step | None = None
    ) -> BenchResult:
        """As :class:`~.devices.MeasuringDevice`; ``beside`` must be empty: no model of this process runs there."""
        if beside:
            raise ValueError("what runs in this process cannot take turns on another machine")
        with scratch_folder() as scratch:
            files: dict[str, Path] = {}
            towers = {name: _sent(job, files) for name, job in plan.towers.items()}
            reference = _sent(plan.reference, files) if plan.reference else None
            settings = replace(plan, towers=towers, reference=reference)
            if plan.images:
                files["images.zip"] = _packed(plan.images, Path(scratch) / "images.zip")
                settings = replace(settings, images=_members(plan.images), archive="images.zip")
            wanted = [f"{number}.npy" for number in range(len(towers))] if plan.images else []
            job = {"kind": "bench", "bench": asdict(settings)}
            answer = self._job(job, files, out, wanted, on_step, RESERVE + WIDEST * len(plan.images))
            reply = read_reply(self.name, "what it measured", answer, Benched)
            refuse_others(self.name, reply, plan)
            return result_of(reply)

    def verify(
        self, bundle: Path, options: RuntimeOptions = AS_TARGET, *, on_step: Step | None = None
    ) -> list[PartCheck]:
        """As :class:`~edgeclip.measurement.devices.MeasuringDevice`."""
        names = [MANIFEST, *(artefact.file for artefact in Bundle.open(bundle, verify=False).artefacts)]
        files = {name: bundle / name for name in names}
        with scratch_folder() as out:
            plan = {"kind": "verify", "options": asdict(options)}
            wanted = [f"{name}.npy" for name in (TOKENS, PREPROCESSED, "text", *get_args(Precision))]
            answer = self._job(plan, files, out, wanted, on_step)
            reply = read_reply(self.name, "what it gives", answer, Given)
            return judge_bundle(bundle, GoldenOutputs(**reply.model_dump()), out)

    def edgeclip(self, words: list[str], wanted: str, out: Path, *, within: float, on_step: Step | None = None) -> None:
        """Run a command of the edgeclip that is installed there, and bring the file ``wanted`` to ``out``.

        One that takes longer than ``within`` seconds hangs, and is ended.

        Raises:
            EdgeclipError: none is installed there, or the command failed; its last words are given.
        """
        if not self._edgeclip:
            raise EdgeclipError(f"{self.name}: no edgeclip there, which this needs: python3 -m pip install edgeclip")
        with scratch_folder() as scratch:
            answer = self._job(
                {"kind": "edgeclip", "words": words, "within": within}, {}, Path(scratch), [wanted], on_step
            )
            reply = read_reply(self.name, "how it ended", answer, Ran)
            if reply.status:
                raise EdgeclipError(f"{self.name}: {reply.why.removeprefix('edgeclip: ')}")
            write_bytes(out, (Path(scratch) / wanted).read_bytes())

    def _job(
        self,
        plan: dict[str, Any],
        files: Mapping[str, Path],
        out: Path,
        wanted: list[str],
        on_step: Step | None,
        largest: int = LARGEST,
    ) -> bytes:
        """Copy, start, follow, fetch, clean up: the result as it came, and the files ``wanted`` of it in ``out``."""
        tell = on_step or (lambda text, done, steps: None)
        hashes = {name: sha256(path) for name, path in files.items()}
        self._copy({hashes[name]: path for name, path in files.items()}, tell)
        plan["files"] = {name: join(self._base, "blobs", digest) for name, digest in hashes.items()}
        text, runner = json.dumps(plan, sort_keys=True), runner_source()
        identity = hashlib.sha256((text + runner).encode()).hexdigest()[:16]
        folder = join(self._base, "jobs", identity)
        self._left_behind = (
            f"; {folder} and the copied files stay on the device: run the same command again to continue"
        )
        for name, content in (("plan.json", text), (NAME, runner)):
            self._write(join(folder, name), content)
        self._follow(folder, tell)
        result = self._read(join(folder, "result.json"))
        for name in wanted:
            if outputs := self._read(join(folder, name), most=largest):
                (out / name).write_bytes(outputs)
        kept = self._clean(folder)
        self._left_behind = ""
        say(f"{self.name}: {kept / 1e6:.1f} MB stay in {self._base} for the next time")
        return result

    def _follow(self, folder: str, tell: Step) -> None:
        """Start the job, or find it running; pass its events on until it has finished."""
        runner, heard, quiet, news_at = join(folder, NAME), 0, 0.0, time.monotonic()
        while (state := self._state(runner, folder)).state == "running":
            quiet = 0.0
            if time.monotonic() - news_at > HUNG_SECONDS:
                raise EdgeclipError(
                    f"{self.name}: no news of the measurement for {HUNG_SECONDS / 60:.0f} minutes: it hangs"
                    f"{self._left_behind}"
                )
            while quiet < SILENCE_SECONDS:
                news = self._read(join(folder, "events.jsonl"), heard, wait=WAIT_SECONDS)
                lines, heard = news[: news.rfind(b"\n") + 1].splitlines(), heard + news.rfind(b"\n") + 1
                events = [read_reply(self.name, "what it is doing", line, Event) for line in lines]
                for event in events:
                    tell(event.text, int(event.done), max(1, int(event.steps)))
                quiet, news_at = (0.0, time.monotonic()) if lines else (quiet + WAIT_SECONDS, news_at)
                if events and events[-1].text == FINISHED:
                    break
        if state.state == "died":
            self._clean(folder)
            raise EdgeclipError(f"{self.name}: the measurement died there ({state.why:.500})")

    def _state(self, runner: str, folder: str) -> State:
        started = self._ask(JobStarted, "job", "the measurement", runner=runner, folder=folder)
        if started.status:
            raise EdgeclipError(f"{self.name}: the runner fails there ({last_line(started.complaint)})")
        return read_reply(self.name, "the measurement", started.out, State)

    def _clean(self, folder: str) -> int:
        """Remove a job; how many bytes of what was copied stay there."""
        return self._ask(Kept, "clean", "its files", folder=folder, blobs=join(self._base, "blobs")).kept


def _sent(job: TowerJob, files: dict[str, Path]) -> TowerJob:
    """A worker's job with its graph by name; the graph, and the weights beside it, join ``files``.

    Two bundles may both have an ``image.fp32.onnx``: a graph's name there starts with its number.
    """
    graph = Path(job.graph)
    name = f"{len(files)}-{graph.name}"
    files[name] = graph
    if job.weights:
        files[Path(job.weights).name] = Path(job.weights)  # the graph asks for them by this name
    return replace(job, graph=name)


def _members(images: list[str]) -> list[str]:
    """What images are called in the archive: by number, whatever their names are."""
    return [f"{number:07d}{Path(image).suffix}" for number, image in enumerate(images)]


def _packed(images: list[str], archive: Path) -> Path:
    """The images in one zip file, not compressed again; the same images give the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for image, member in zip(images, _members(images), strict=True):
            packed.writestr(zipfile.ZipInfo(member), Path(image).read_bytes())
    return archive
