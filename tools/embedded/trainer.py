"""The resumable training loop that the UNet, the ControlNet and the LoRA share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.multiprocessing.spawn import spawn

from .parallel import RENDEZVOUS_FILE, average_weights, join_workers, leave_workers
from .paths import STATE
from .training import Ema, get_device

SAVE_SECONDS = 240
MEETING_STEPS = 16
"""Steps that workers make on their own before their weights are averaged: on busy cores waiting for another is long."""


@dataclass(frozen=True)
class Recipe:
    """The training state and its schedule: the state is kept in .train/NAME.pt, `warmup` counts optimiser steps."""

    name: str
    rate: float
    batch: int = 32
    warmup: int = 200
    ema_limit: float = 0.998


@dataclass
class Progress:
    """How far the training is: optimiser steps, images seen and seconds spent, over all calls."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One call: minutes to train now, minutes of the whole plan, processes and threads in each, and the highest
    learning rate where it is not the recipe's."""

    minutes: float
    plan: float
    workers: int = 1
    threads: int = 1
    rate: float | None = None


def compute_rate(recipe: Recipe, progress: Progress, plan: float) -> float:
    """Return the learning rate: warm-up, constant for 60 % of the planned minutes, then linear to 3 %.

    The constant part is what makes the run resumable with a longer plan.
    """
    share = progress.seconds / 60 / plan
    fall = 1.0 if share < 0.6 else max(0.03, (1 - share) / 0.4)
    return recipe.rate * min(1.0, (progress.step + 1) / recipe.warmup) * fall


def load_averaged_weights(module: torch.nn.Module, name: str) -> Progress:
    """Give the module the averaged weights of .train/NAME.pt; returns how far it is trained."""
    state = torch.load(STATE / f"{name}.pt", map_location="cpu", weights_only=True)
    module.load_state_dict(state["ema"])
    return Progress(**state["progress"])


class Trainer:
    """A module with its optimiser, running average and progress; every worker holds an equal one."""

    def __init__(self, module: torch.nn.Module, recipe: Recipe) -> None:
        self.module, self.recipe, self.file = module, recipe, STATE / f"{recipe.name}.pt"
        self.optimizer = torch.optim.AdamW(
            module.parameters(), recipe.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.ema, self.progress = Ema(module, recipe.ema_limit), Progress()
        if self.file.exists():
            self.load()

    def load(self) -> None:
        """Take up the saved state."""
        state = torch.load(self.file, map_location=get_device(), weights_only=True)
        self.module.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.values, self.progress = state["ema"], Progress(**state["progress"])

    def save(self) -> None:
        """Write the whole state aside and rename it into place."""
        aside = self.file.with_suffix(".new")
        state = {
            "weights": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.values,
            "progress": vars(self.progress),
        }
        torch.save(state, aside)
        os.replace(aside, self.file)

    def step(self, loss: torch.Tensor, seconds: float, run: Run) -> float:
        """Make one optimiser step from this worker's loss and elapsed seconds, and meet the other workers now and then;
        returns the loss."""
        recipe = self.recipe if run.rate is None else replace(self.recipe, rate=run.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = compute_rate(recipe, self.progress, run.plan)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.samples += self.recipe.batch * run.workers
        self.progress.seconds += seconds
        if self.has_met():
            self.progress.seconds = average_weights(self.module, self.progress.seconds, run.workers)
        return loss.item()

    def has_met(self) -> bool:
        """Return whether the last step was one after which all workers hold the same weights and progress."""
        return self.progress.step % MEETING_STEPS == 0


def run_training(trainer: Trainer, loss_of_batch: Callable[[], torch.Tensor], run: Run, rank: int) -> None:
    """Train for the run's minutes; the first worker also keeps the running average, the log and the saved state."""
    torch.manual_seed(int(time.time()) + rank)
    progress, begun, name = trainer.progress, replace(trainer.progress), trainer.recipe.name
    last = saved = time.monotonic()
    mean = 0.0
    while progress.seconds - begun.seconds < run.minutes * 60 or not trainer.has_met():
        now = time.monotonic()
        loss = trainer.step(loss_of_batch(), now - last, run)
        last = now
        done = progress.step - begun.step
        mean = loss if done == 1 else 0.99 * mean + 0.01 * loss
        if rank > 0:
            continue
        if trainer.has_met():
            trainer.ema.update(trainer.module, progress.step, MEETING_STEPS)
        if done % 100 == 0:
            rate = (progress.samples - begun.samples) / (progress.seconds - begun.seconds)
            print(
                f"{name} {progress.step} {progress.seconds / 60:.1f} min loss {mean:.4f} {rate:.1f} img/s", flush=True
            )
        if now - saved > SAVE_SECONDS and trainer.has_met():
            trainer.save()
            saved = now
    if rank == 0:
        trainer.save()
        print(f"state saved: {progress}")


def run_worker(rank: int, run: Run, prepare: Callable[[], tuple[Trainer, Callable[[], torch.Tensor]]]) -> None:
    """Train as one of the workers what `prepare` makes: the trainer, and the loss of a fresh batch."""
    torch.set_num_threads(run.threads)
    join_workers(rank, run.workers)
    torch.manual_seed(0)
    run_training(*prepare(), run, rank)
    leave_workers(run.workers)


def train_module(run: Run, prepare: Callable[[], tuple[Trainer, Callable[[], torch.Tensor]]]) -> None:
    """Train in as many processes as the run says; the saved state carries on from call to call.

    Args:
        run: This call's minutes, plan, workers and threads.
        prepare: A function at the top of a module, which every worker calls.
    """
    if run.workers == 1:
        run_worker(0, run, prepare)
    else:
        RENDEZVOUS_FILE.unlink(missing_ok=True)
        spawn(run_worker, (run, prepare), nprocs=run.workers)
