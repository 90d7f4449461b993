"""The single-file runner's commands. It needs Python 3.10, onnxruntime, numpy and Pillow; JSON goes to stdout.

python run.py classify cat.jpg --labels "a cat,a dog"
python run.py measure --seconds 20
python run.py verify
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..base.decode import UnreadableImage, read_image
from ..base.errors import EdgeclipError
from ..base.scratch import clear_scratch, scratch_folder
from ..base.visible import visible
from ..runtime.engines.registry import find_engine
from ..runtime.labels import LabelScorer, read_labels
from ..runtime.phrases import Phrases
from ..runtime.plain import chosen, read_plain, readable
from ..runtime.towerjob import RuntimeOptions, TowerJob, tower_job
from ..runtime.worker import Tower, work
from .bench import Plan, bench
from .job import plain_tokenizer, run_job, verified, verify_bundle

RUNNER = [sys.executable, sys.argv[0], "worker"]  # how this very file starts a worker of its own


def classify(options: argparse.Namespace) -> dict[str, Any]:
    """The likeliest labels of each image."""
    manifest = read_plain(options.bundle)
    scorer = _scorer(options, manifest)
    tower = Tower(tower_job(options.bundle, manifest, options.precision, _runtime(options)))
    answers = [_answer(file, scorer, tower) for file in options.images]
    if all("problem" in answer for answer in answers):
        raise EdgeclipError(answers[0]["problem"])
    return {"images": answers}


def _answer(file: str, scorer: LabelScorer, tower: Tower) -> dict[str, Any]:
    try:
        return {"image": file, "labels": scorer.best(tower.encode([read_image(Path(file))]))[0]}
    except UnreadableImage as error:
        return {"image": file, "problem": str(error)}


def _scorer(options: argparse.Namespace, manifest: dict[str, Any]) -> LabelScorer:
    """The labels' embeddings. The text tower is gone before the image tower is opened: never both in memory."""
    phrases = Phrases(options.bundle, manifest["phrases"]) if manifest.get("phrases") else None
    if phrases:
        labels = read_labels(options.labels, _say) if options.labels else phrases.labels
        return LabelScorer(labels, phrases, manifest["logit_scale"], manifest.get("logit_bias"))
    if not options.labels:
        raise EdgeclipError('labels are missing: --labels "a cat,a dog", or a text file with one label per line')
    tokenize = plain_tokenizer(options.bundle, manifest)
    text = find_engine().open(options.bundle / manifest["text"]["file"], threads=options.threads)
    scale, bias = manifest["logit_scale"], manifest.get("logit_bias")
    return LabelScorer(read_labels(options.labels, _say), lambda part: text.run(tokenize(part)), scale, bias)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Latency, throughput, memory and hot spots of every variant, each in a process of its own."""
    manifest = read_plain(options.bundle)
    wanted = options.precision or readable(manifest, options.engine)[0]
    if not wanted:
        raise EdgeclipError("the bundle holds no variant that this engine reads: name another with --engine")
    plan = Plan(
        towers={p: tower_job(options.bundle, manifest, p, _runtime(options)) for p in wanted},
        focus=chosen(manifest) if chosen(manifest) in wanted else wanted[0],
        seconds=options.seconds,
        sustained=options.sustained,
    )
    with scratch_folder() as out:
        return asdict(bench(plan, command=RUNNER, out=Path(out), on_step=_tell))


def verify(options: argparse.Namespace) -> dict[str, Any]:
    """Is every file whole, and does this device give what was recorded?"""
    checks = verify_bundle(options.bundle, RUNNER, _runtime(options))
    return {"verified": verified(checks), "findings": [asdict(check) for check in checks]}


def _runtime(options: argparse.Namespace) -> RuntimeOptions:
    return RuntimeOptions(options.engine, options.provider, options.threads)


def _say(text: str) -> None:
    sys.stderr.write(f"run.py: {visible(text)}\n")


def _tell(text: str, done: int, steps: int) -> None:
    sys.stderr.write(f"\r\x1b[K[{done}/{steps}] {text}" if sys.stderr.isatty() else "")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run this bundle with onnxruntime, numpy and Pillow alone.")
    here = Path(sys.argv[0]).absolute().parent  # not resolved: in a hub's cache each file is a link
    parser.add_argument("--bundle", type=Path, default=here, help="default: the folder of this file")
    parser.add_argument("--threads", type=int, help="CPU threads; default: all cores")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("--engine", help="what runs the image tower; default: that of the bundle's target")
    runs.add_argument("--provider", help="of the engine; default: the target's")
    command = commands.add_parser("classify", parents=[runs], help="say which label fits each image")
    command.add_argument("images", nargs="+")
    command.add_argument(
        "--labels", help='"a cat,a dog", or a text file; default: those of a bundle without text tower'
    )
    command.add_argument("--precision", help="default: the recommended one")
    command = commands.add_parser("measure", parents=[runs], help="time every variant")
    command.add_argument("--precision", action="append", help="again and again; default: all")
    command.add_argument("--seconds", type=float, default=20)
    command.add_argument("--sustained", type=float, default=0, help="seconds without a break")
    commands.add_parser("verify", parents=[runs], help="compare this device with the recorded answers")
    commands.add_parser("worker").add_argument("job")
    commands.add_parser("job").add_argument("folder", type=Path)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Status 0; 2 for what the user can mend; 3 where a check failed."""
    options = _parser().parse_args(arguments)
    clear_scratch()
    try:
        if options.command == "worker":
            work(TowerJob(**json.loads(options.job)))
            return 0
        if options.command == "job":
            run_job(options.folder, RUNNER)
            return 0
        result = {"classify": classify, "measure": measure, "verify": verify}[options.command](options)
    except EdgeclipError as error:
        _say(str(error))
        return error.exit_code
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if result.get("verified", True) else 3


if __name__ == "__main__":
    sys.exit(main())
