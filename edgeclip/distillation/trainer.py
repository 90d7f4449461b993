"""The training loop: one student, cached targets, exact to the bit when it is interrupted and resumed."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save
from torch import Tensor

from ..base.console import progress_bar, say
from ..base.errors import EdgeclipError, FormatError
from ..base.files import write_bytes
from ..base.interrupts import held_interrupts
from ..data.processes import processes
from .batches import Batch, prefetch
from .checkpoint import newest_checkpoint, on_cpu, random_states, set_random_states, under, write_checkpoint
from .config import DistillConfig
from .metrics import Metrics
from .objectives import Embeddings, objective
from .optimizer import ema_update, learning_rate, parameter_groups, refuse_no_compiler
from .run import Run
from .student import Towers

LOG_EVERY = 10  # steps
MOST_SKIPPED = 10  # steps in a row that were not taken
Judge = Callable[[Towers], float]


class Trainer:
    """Trains the student's towers. Every step is a function of the weights, the settings and its own number alone."""

    def __init__(
        self,
        towers: Towers,
        config: DistillConfig,
        run: Run,
        steps_per_epoch: int,
        *,
        logit_scale: float,
        judge: Judge | None = None,
    ) -> None:
        """``judge`` gives the student's zero-shot top-1; every ``judge_epochs`` it decides which are the best."""
        self.config, self.run, self._logit_scale, self._judge_with = config, run, logit_scale, judge
        self.steps_per_epoch, self.steps = steps_per_epoch, steps_per_epoch * config.epochs
        AcceleratorState._reset_state()  # else a process that trained in one precision cannot train in another
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=processes().device.type == "cpu",
            log_with=None if config.tracker == "none" else config.tracker,
            project_dir=run.path,
        )
        if config.compile:
            refuse_no_compiler(self.accelerator.device)
            towers.compile()
        optimizer = torch.optim.AdamW(parameter_groups(towers, config.weight_decay), lr=config.lr, betas=config.betas)
        self.towers, self.optimizer = self.accelerator.prepare(towers, optimizer)
        self.average = copy.deepcopy(towers).requires_grad_(False) if config.ema else None
        self.step, self._saved = 0, time.monotonic()
        self._metrics = Metrics(run.path / "metrics.jsonl")
        self.best_top1, self._skipped = -1.0, 0
        if config.tracker != "none":
            self.accelerator.init_trackers("edgeclip", config={"student": run.document.spec.name})

    def train(self, batch_of: Callable[[int], Batch]) -> None:
        """Run the steps that are left. An interruption leaves a checkpoint behind and goes on upwards."""
        self.towers.train()
        try:
            with held_interrupts() as stop_here, progress_bar("distil", self.steps, done=self.step) as bar:
                for batch, step in self._batches(batch_of):
                    losses = self.train_step(batch, step)
                    self.step = step + 1
                    bar.advance()
                    if not self._skipped and (step % LOG_EVERY == 0 or self.step == self.steps):
                        self._log(step, losses)
                        epoch = -(-self.step // self.steps_per_epoch)
                        loss = sum(losses.values())
                        bar.note(f"epoch {epoch} of {self.config.epochs}, loss {loss:.4f}{self._standing}")
                    if self._judge_with and self._is_due():
                        self._judge(self._judge_with)
                    if time.monotonic() - self._saved > self.config.checkpoint_seconds:
                        self.save()
                    stop_here()
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        self.accelerator.end_training()

    def _batches(self, batch_of: Callable[[int], Batch]) -> Iterator[tuple[Batch, int]]:
        """The batches of the steps that are left.

        On a CPU one after another: beside a step, a batch in the making would take the cores that its threads wait for
        each other on, which costs a fifth of the speed where making it costs a twentieth.
        """
        if self.accelerator.device.type == "cpu":
            return ((batch_of(step), step) for step in range(self.step, self.steps))
        return prefetch(batch_of, self.step, self.steps)

    def train_step(self, batch: Batch, step: int) -> dict[str, float]:
        """One step of the optimizer, and of the average; the loss's terms by name.

        Where a term or the gradient is not finite the step is not taken, which is said.

        Raises:
            EdgeclipError: so many in a row were not taken that the training has diverged.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config, self.steps_per_epoch)
        batch = batch.to(self.accelerator.device)
        self.optimizer.zero_grad()
        micro = self.config.micro_batch
        whole = micro is None or micro >= max(len(batch.pixels), 0 if batch.tokens is None else len(batch.tokens))
        before = [buffer.clone() for buffer in self.towers.buffers()]  # a batch norm's
        losses = self._forward_backward(batch, step) if whole else self._in_parts(batch, step, micro or 0)
        norm = float(self.accelerator.clip_grad_norm_(self.towers.parameters(), self.config.grad_clip))
        wrong = next((name for name, value in losses.items() if not math.isfinite(value)), None)
        scaled = self.accelerator.scaler is not None  # it leaves out by itself what is not finite, and must be asked
        if scaled or (wrong is None and math.isfinite(norm)):
            self.optimizer.step()
        self._count_skipped(step, wrong or ("" if math.isfinite(norm) else "gradient"))
        if self._skipped:
            for buffer, value in zip(self.towers.buffers(), before, strict=True):
                buffer.copy_(value)
        elif self.average is not None:
            ema_update(self.average, self.accelerator.unwrap_model(self.towers), self.config.ema, step)
        return losses

    def _forward_backward(self, batch: Batch, step: int) -> dict[str, float]:
        """The whole share at once."""
        with self.accelerator.autocast():
            images, texts = self.towers(batch.pixels, batch.tokens)
        losses, total = self._loss(images, texts, batch, step)
        self.accelerator.backward(self.accelerator.num_processes * total)
        return losses

    def _in_parts(self, batch: Batch, step: int, micro: int) -> dict[str, float]:
        """A few rows at a time, to the gradient of the whole batch's loss (Gao et al. 2021, arXiv 2101.06983).

        First every embedding, without a graph; then the loss's gradient at the embeddings; then each part again, with
        that gradient sent back through it.
        """
        parts = list(self._parts(batch, micro))
        with torch.no_grad(), self.accelerator.autocast():
            embeds = [self.towers(pixels, tokens) for pixels, tokens in parts]
        images = torch.cat([pictures for pictures, _ in embeds]).requires_grad_()
        texts = None if batch.tokens is None else torch.cat([words for _, words in embeds]).requires_grad_()  # type: ignore[misc]
        losses, total = self._loss(images, texts, batch, step)
        (self.accelerator.num_processes * total).backward()
        image_grads = iter(images.grad.split([len(pixels) for pixels, _ in parts]))  # type: ignore[union-attr]
        counts = [0 if words is None else len(words) for _, words in embeds]
        text_grads = None if texts is None else iter(texts.grad.split(counts))  # type: ignore[union-attr]
        for number, (pixels, tokens) in enumerate(parts):
            last = number + 1 == len(parts)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.towers):
                with self.accelerator.autocast():
                    seen, read = self.towers(pixels, tokens)
                sent = (seen * next(image_grads)).sum()
                if text_grads is not None:
                    sent = sent + (read * next(text_grads)).sum()
                self.accelerator.backward(sent)
        return losses

    @staticmethod
    def _parts(batch: Batch, micro: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Equally many parts of pixels and of tokens, none larger than ``micro``."""
        count = -(-max(len(batch.pixels), 0 if batch.tokens is None else len(batch.tokens)) // micro)
        pixels = batch.pixels.tensor_split(count)
        tokens = [None] * count if batch.tokens is None else batch.tokens.tensor_split(count)
        yield from zip(pixels, tokens, strict=True)

    def _loss(self, images: Tensor, texts: Tensor | None, batch: Batch, step: int) -> tuple[dict[str, float], Tensor]:
        """The terms as numbers, and their sum."""
        embeddings = Embeddings(self._of_all(images), batch.teachers[0].texts if texts is None else self._of_all(texts))
        terms = objective(embeddings, batch.teachers, self.config.weights.model_dump(), logit_scale=self._logit_scale)
        losses = {name: float(value.detach()) for name, value in terms.items()}
        return losses, torch.stack(list(terms.values())).sum()

    def _count_skipped(self, step: int, wrong: str) -> None:
        """Tell of a step that was not taken, and of what was not finite; stop after too many in a row."""
        self._skipped = self._skipped + 1 if wrong else 0
        if not wrong:
            return
        scaled = self.accelerator.scaler is not None and wrong == "gradient"  # the scaler finds its scale so
        if not scaled or self._skipped > 1:
            say(f"step {step}: {wrong} is NaN or infinite, step skipped")
        if self.accelerator.is_main_process:
            self._metrics.append({"step": step, "skipped": wrong})
        if self._skipped >= MOST_SKIPPED:
            hint = "start again with a lower lr and another --out: the teacher's embeddings are reused"
            raise EdgeclipError(f"step {step}: the {wrong} was not finite {MOST_SKIPPED} times in a row: {hint}")

    def _of_all(self, embeds: Tensor) -> Tensor:
        """The embeddings of every process, in order, so that the loss is the global batch's.

        Only a process's own share carries a gradient. DDP then takes the mean over processes where the sum is wanted,
        so the loss is multiplied by their number before it goes backwards.
        """
        state = self.accelerator
        if state.num_processes == 1:
            return embeds
        shares = list(state.gather(embeds.detach()).chunk(state.num_processes))
        shares[state.process_index] = embeds
        return torch.cat(shares)

    @property
    def student(self) -> Towers:
        """The towers that become the student: the averaged ones where there are such."""
        return self.average if self.average is not None else self.accelerator.unwrap_model(self.towers)

    def _is_due(self) -> bool:
        every = max(1, round(self.steps_per_epoch * self.config.judge_epochs))
        return self.step % every == 0 or self.step == self.steps

    def _judge(self, judge: Judge) -> None:
        """Zero-shot top-1 of the student as it is; the best one so far is kept beside the checkpoint."""
        if self.accelerator.is_main_process:
            top1 = judge(self.student)
            self.towers.train()
            self._metrics.append({"step": self.step - 1, "top1": top1})
            self.accelerator.log({"top1": top1}, step=self.step - 1)
            if top1 > self.best_top1:
                self.best_top1 = top1
                write_bytes(self.run.best, save(on_cpu(self.student.state_dict()), metadata={"step": str(self.step)}))
        self.accelerator.wait_for_everyone()

    @property
    def _standing(self) -> str:
        return f", best top-1 {self.best_top1:.1%}" if self.best_top1 >= 0 else ""

    def _log(self, step: int, losses: dict[str, float]) -> None:
        rate = learning_rate(step, self.config, self.steps_per_epoch)
        epoch = step / self.steps_per_epoch
        row = {"epoch": round(epoch, 3), "lr": rate, "loss": sum(losses.values()), **losses}
        if self.accelerator.is_main_process:
            self._metrics.append({"step": step, **row})
        self.accelerator.log(row, step=step)

    def save(self) -> None:
        """Write the metrics, then the checkpoint, atomically: a resume cuts the metrics back to its step."""
        self._saved = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        self._metrics.flush()
        towers = self.accelerator.unwrap_model(self.towers)
        tensors = {f"towers.{name}": value for name, value in towers.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for row, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{row}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors |= random_states()
        if not all(bool(value.isfinite().all()) for value in towers.state_dict().values() if value.is_floating_point()):
            raise EdgeclipError(f"step {self.step}: a weight is not finite: the last good checkpoint is kept")
        notes = {"step": str(self.step), "best_top1": repr(self.best_top1)}
        if self.accelerator.scaler is not None:
            notes["scaler"] = json.dumps(self.accelerator.scaler.state_dict())
        write_checkpoint(self.run.checkpoint, tensors, notes)

    def load(self) -> None:
        """Continue from the run's checkpoint, or from the one before where the last one is damaged.

        Raises:
            FormatError: both are damaged, or of another student.
        """
        tensors, notes = newest_checkpoint(self.run.checkpoint)
        try:
            self.accelerator.unwrap_model(self.towers).load_state_dict(under("towers.", tensors))
            if self.average is not None:
                self.average.load_state_dict(under("average.", tensors))
            state: dict[int, dict[str, Any]] = {}
            for name, value in under("optimizer.", tensors).items():
                row, _, key = name.partition(".")
                state.setdefault(int(row), {})[key] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
            set_random_states(tensors)
            self.step = int(notes["step"])
            self.best_top1 = float(notes["best_top1"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(json.loads(notes["scaler"]))
        except (KeyError, ValueError, RuntimeError) as error:
            raise FormatError(f"{self.run.checkpoint}: of another student, or edgeclip: start a new run") from error
        if self.accelerator.is_main_process:
            self._metrics.cut(self.step)
