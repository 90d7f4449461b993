"""The whole chain on one made-up batch, before the work of hours begins: what cannot work is found in seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.scratch import scratch_folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..distillation.config import DistillConfig
    from ..distillation.student import Towers
    from ..distillation.teachers import Teacher
    from ..towers.spec import StudentSpec

SLOWER = 1.2  # beyond what two timings of one tower differ by
TEXTS = ("a photo of a cat", "two dogs in the rain", "Ünïcode & <markup>, 12 of it", "x")


def rehearse(spec: StudentSpec, teachers: Sequence[Teacher], config: DistillConfig) -> None:
    """One batch from teachers to student to loss and back, and both of the student's towers to ONNX.

    Raises:
        EdgeclipError: a step failed; the text names the step and the cause.
    """
    from ..distillation.student import build_student

    start = time.monotonic()
    for teacher in teachers:
        teacher.check()
    taught = [_embeddings(teacher) for teacher in teachers]
    with _step(f"student {spec.name} cannot be built"):
        model, model_cfg, towers, tokenizer = build_student(spec, teachers, config)
    with _step(f"student {spec.name} cannot be trained"):
        _learn(spec, towers, tokenizer, taught, teachers, config)
    for doubt in no_gain(towers.visual, teachers[0], spec.image_size):
        say(f"caution: {doubt}; a smaller --latency-ms, --memory-mb or --size-mb asks for a smaller student")
    with _step(f"student {spec.name} cannot be exported"):
        _export(spec, model, int(model_cfg["text_cfg"].get("context_length", 77)))
    say(f"dry run passed in {time.monotonic() - start:.0f} s: teacher, student, loss and export work together")


def no_gain(student: nn.Module, teacher: Teacher, image_size: int) -> list[str]:
    """Where the student's image tower is larger or slower than its teacher's, which is then the better choice."""
    from ..distillation.teachers import OpenClipTeacher

    if not isinstance(teacher, OpenClipTeacher):
        return []  # nobody knows what its image tower is
    doubts = []
    mine, other = (sum(p.numel() for p in tower.parameters()) / 1e6 for tower in (student, teacher.image_tower))
    if mine > other:
        doubts.append(f"the student is larger than its teacher: {mine:.1f} and {other:.1f} M parameters")
    took = [_seconds(student, image_size), _seconds(teacher.image_tower, teacher.image_size)]
    if took[0] > SLOWER * took[1]:
        doubts.append(f"the student is {took[0] / took[1]:.1f} times as slow as its teacher, untrained, in torch")
    return doubts


def _seconds(tower: nn.Module, size: int) -> float:
    """Of one forward pass of four images, the fastest of a few."""
    import torch

    device, training = next(tower.parameters()).device, tower.training
    pixels, seconds = torch.zeros(4, 3, size, size, device=device), []
    tower.eval()
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            tower(pixels).cpu()
            seconds.append(time.perf_counter() - start)
    tower.train(training)
    return min(seconds)


def _embeddings(teacher: Teacher) -> tuple[Tensor, Tensor]:
    """The teacher's, of noise and of a few texts; random ones where it is not at hand."""
    import torch
    import torch.nn.functional as F

    from ..distillation.teachers import StoredTeacher

    noise = torch.Generator().manual_seed(0)
    if isinstance(teacher, StoredTeacher):
        made = F.normalize(torch.randn(2, len(TEXTS), teacher.embed_dim, generator=noise), dim=-1)
        return made[0], made[1]
    pixels = torch.randint(0, 256, (len(TEXTS), 3, teacher.image_size, teacher.image_size), generator=noise).float()
    with _step(f"teacher {teacher.name} does not work"):
        return torch.from_numpy(teacher.encode_squares(pixels)), torch.from_numpy(teacher.encode_text(TEXTS))


def _learn(
    spec: StudentSpec,
    towers: Towers,
    tokenizer: Any,
    taught: Sequence[tuple[Tensor, Tensor]],
    teachers: Sequence[Teacher],
    config: DistillConfig,
) -> None:
    import torch

    from ..distillation.objectives import Embeddings, objective

    towers.train()
    pixels = torch.randn(len(TEXTS), 3, spec.image_size, spec.image_size)
    tokens = torch.as_tensor(tokenizer(list(TEXTS))) if towers.text else None
    images, texts = towers(pixels, tokens)
    others = [Embeddings(*pair) for pair in taught]
    embeddings = Embeddings(images, others[0].texts if texts is None else texts)
    terms = objective(embeddings, others, config.weights.model_dump(), logit_scale=teachers[0].logit_scale)
    loss: torch.Tensor = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(loss):
        raise EdgeclipError(f"its loss on a batch of noise is {loss.item()}")
    loss.backward()
    towers.zero_grad()


def _export(spec: StudentSpec, model: Any, context_length: int) -> None:
    import torch

    from ..exporting.graphs import IMAGE_OUTPUT, TEXT_OUTPUT
    from ..exporting.towers import export_image_tower, export_text_tower
    from ..exporting.validate import BATCHES, check_tower

    model.eval()
    with scratch_folder() as scratch, torch.inference_mode():
        image, text = Path(scratch) / "image.onnx", Path(scratch) / "text.onnx"
        export_image_tower(model, image, image_size=spec.image_size)
        pixels = torch.randn(max(BATCHES), 3, spec.image_size, spec.image_size).numpy()
        check_tower(image, pixels, lambda rows: _embed(model.encode_image, rows), IMAGE_OUTPUT)
        export_text_tower(model, text, context_length=context_length)
        ids = torch.ones(max(BATCHES), context_length, dtype=torch.int64).numpy()
        check_tower(text, ids, lambda rows: _embed(model.encode_text, rows), TEXT_OUTPUT)


def _embed(encode: Any, rows: Any) -> Any:
    import torch

    return encode(torch.from_numpy(rows), normalize=True).float().numpy()


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Whatever a library trips over here is told as the step's failure: nothing of the user's is at work yet."""
    try:
        yield
    except EdgeclipError as error:
        raise EdgeclipError(f"{what}: {error}") from error
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EdgeclipError(f"{what}: {type(error).__name__}: {reason}") from error
