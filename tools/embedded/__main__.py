"""Command line: python -m tools.embedded STAGE [--minutes N]."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trainer import Run

STAGES = (
    "adopt",
    "fetch",
    "render",
    "vae",
    "decoder",
    "text",
    "cache",
    "unet",
    "judge",
    "practise",
    "eval",
    "scenes",
    "export",
    "export-vae",
    "control",
    "lora",
    "steer",
    "upscaler",
    "upscaler-eval",
)
PLANNED = ("decoder", "unet", "control", "lora")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded", description="Make the embedded model, by stages.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long this call trains (default 10)")
    parser.add_argument("--plan", type=float, help="minutes of the whole run, over all calls (default --minutes)")
    parser.add_argument("--rate", type=float, help="highest learning rate of the planned stages (default: their own)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that train together (default 1)")
    return parser.parse_args()


def build_run(arguments: argparse.Namespace) -> Run:
    """Return the training call that the command line asks for."""
    from .trainer import Run

    workers, minutes = arguments.workers, arguments.minutes
    threads = max(1, arguments.threads // workers)
    return Run(minutes, arguments.plan or minutes, workers, threads, arguments.rate)


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage; each imports only what it needs."""
    minutes = arguments.minutes
    if arguments.stage == "adopt":
        from .adopt import adopt_model

        adopt_model()
    elif arguments.stage == "fetch":
        from .fetch import fetch_packages

        fetch_packages()
    elif arguments.stage == "render":
        from .render import render_images

        render_images()
    elif arguments.stage == "vae":
        from .vae import train_vae

        train_vae(minutes)
    elif arguments.stage == "text":
        from .text import distil_text_encoder

        distil_text_encoder(minutes)
    elif arguments.stage == "cache":
        from .cache import write_cache

        write_cache()
    elif arguments.stage == "judge":
        from .judge import train_judge

        train_judge(minutes)
    elif arguments.stage == "upscaler":
        from .upscaler import train_upscaler

        train_upscaler(minutes)
    elif arguments.stage in PLANNED:
        run_planned_stage(arguments.stage, build_run(arguments))
    else:
        run_closing_stage(arguments.stage)


def run_planned_stage(stage: str, run: Run) -> None:
    """Run one of the stages that go on from call to call by a plan."""
    from .trainer import train_module

    if stage == "decoder":
        from .decoder import finish_decoder, prepare_decoder

        train_module(run, prepare_decoder)
        finish_decoder()
    elif stage == "unet":
        from .unet import prepare_unet

        train_module(run, prepare_unet)
    elif stage == "control":
        from .control import ensure_pairs, export_control, prepare_control

        ensure_pairs()
        train_module(run, prepare_control)
        export_control()
    else:
        from .lora import ensure_images, export_lora
        from .lora import prepare_lora as prepare_lora

        ensure_images()
        train_module(run, prepare_lora)
        export_lora()


def run_closing_stage(stage: str) -> None:
    """Run one of the stages that export or measure what others made."""
    if stage == "export":
        from .export import export_model

        export_model()
    elif stage == "export-vae":
        from .export import export_vae

        export_vae()
    elif stage == "practise":
        from .practice import practise

        practise()
    elif stage == "steer":
        from .steer import measure_steering

        measure_steering()
    elif stage == "upscaler-eval":
        from .upscaler_evaluation import measure_upscaler

        measure_upscaler()
    elif stage == "scenes":
        from .scenes import measure_scenes

        measure_scenes()
    else:
        from .evaluate import evaluate_model

        evaluate_model()


def main() -> None:
    """Run the stage that the command line names."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = parse_arguments()
    import torch

    torch.set_num_threads(arguments.threads)
    run_stage(arguments)


if __name__ == "__main__":
    main()
