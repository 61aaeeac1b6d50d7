"""Command line: python -m tools.embedded STAGE [--minutes N]."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trainer import Run

STAGES = (
    "fetch",
    "render",
    "vae",
    "decoder",
    "text",
    "cache",
    "unet",
    "judge",
    "eval",
    "export",
    "control",
    "lora",
    "steer",
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded", description="Make the embedded model, by stages.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long this call trains (default 10)")
    parser.add_argument("--plan", type=float, help="minutes of the whole UNet run, over all calls (default --minutes)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the UNet together (default 1)")
    return parser.parse_args()


def run_of(arguments: argparse.Namespace) -> Run:
    """Return the training call that the command line asks for."""
    from .trainer import Run

    workers = arguments.workers
    return Run(arguments.minutes, arguments.plan or arguments.minutes, workers, max(1, arguments.threads // workers))


def run(arguments: argparse.Namespace) -> None:
    """Run one stage; each imports only what it needs."""
    minutes = arguments.minutes
    if arguments.stage == "fetch":
        from .fetch import fetch

        fetch()
    elif arguments.stage == "render":
        from .render import render

        render()
    elif arguments.stage in ("vae", "decoder"):
        from .vae import train

        train(minutes, decoder_only=arguments.stage == "decoder")
    elif arguments.stage == "text":
        from .text import distil

        distil(minutes)
    elif arguments.stage == "cache":
        from .cache import cache

        cache()
    elif arguments.stage == "unet":
        from .trainer import train as train_module
        from .unet import prepare

        train_module(run_of(arguments), prepare)
    elif arguments.stage == "control":
        from .control import ensure_pairs, export_control, prepare
        from .trainer import train as train_module

        ensure_pairs()
        train_module(run_of(arguments), prepare)
        export_control()
    elif arguments.stage == "lora":
        from .lora import ensure_pictures, export_lora
        from .lora import prepare as prepare_lora
        from .trainer import train as train_module

        ensure_pictures()
        train_module(run_of(arguments), prepare_lora)
        export_lora()
    elif arguments.stage == "steer":
        from .steer import steer

        steer()
    elif arguments.stage == "judge":
        from .judge import train_judge

        train_judge(minutes)
    elif arguments.stage == "eval":
        from .evaluate import evaluate

        evaluate()
    else:
        from .export import export

        export()


def main() -> None:
    """Run the stage that the command line names."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = parse()
    import torch

    torch.set_num_threads(arguments.threads)
    run(arguments)


if __name__ == "__main__":
    main()
