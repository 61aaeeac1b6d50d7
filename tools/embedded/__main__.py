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
    "scenes",
    "export",
    "control",
    "lora",
    "steer",
    "upscaler",
    "upscaler-eval",
)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded", description="Make the embedded model, by stages.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long this call trains (default 10)")
    parser.add_argument("--plan", type=float, help="minutes of the whole UNet run, over all calls (default --minutes)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the UNet together (default 1)")
    return parser.parse_args()


def build_run(arguments: argparse.Namespace) -> Run:
    """Return the training call that the command line asks for."""
    from .trainer import Run

    workers = arguments.workers
    return Run(arguments.minutes, arguments.plan or arguments.minutes, workers, max(1, arguments.threads // workers))


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage; each imports only what it needs."""
    minutes = arguments.minutes
    if arguments.stage == "fetch":
        from .fetch import fetch_packages

        fetch_packages()
    elif arguments.stage == "render":
        from .render import render_images

        render_images()
    elif arguments.stage in ("vae", "decoder"):
        from .vae import train_vae

        train_vae(minutes, decoder_only=arguments.stage == "decoder")
    elif arguments.stage == "text":
        from .text import distil_text_encoder

        distil_text_encoder(minutes)
    elif arguments.stage == "cache":
        from .cache import write_cache

        write_cache()
    elif arguments.stage == "unet":
        from .trainer import train_module
        from .unet import prepare_unet

        train_module(build_run(arguments), prepare_unet)
    elif arguments.stage == "control":
        from .control import ensure_pairs, export_control, prepare_control
        from .trainer import train_module

        ensure_pairs()
        train_module(build_run(arguments), prepare_control)
        export_control()
    elif arguments.stage == "lora":
        from .lora import ensure_images, export_lora
        from .lora import prepare_lora as prepare_lora
        from .trainer import train_module

        ensure_images()
        train_module(build_run(arguments), prepare_lora)
        export_lora()
    elif arguments.stage == "judge":
        from .judge import train_judge

        train_judge(minutes)
    elif arguments.stage == "upscaler":
        from .upscaler import train_upscaler

        train_upscaler(minutes)
    elif arguments.stage == "export":
        from .export import export_model

        export_model()
    else:
        measure_stage(arguments.stage)


def measure_stage(stage: str) -> None:
    """Run one of the stages that measure what others made."""
    if stage == "steer":
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
