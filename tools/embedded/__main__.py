"""Command line: python -m tools.embedded STAGE [--minutes N]."""

from __future__ import annotations

import argparse
import os

STAGES = ("fetch", "render", "vae", "decoder", "text", "cache", "unet", "judge", "eval", "export")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded", description="Make the embedded model, by stages.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long this call trains (default 10)")
    parser.add_argument("--plan", type=float, help="minutes of the whole UNet run, over all calls (default --minutes)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the UNet together (default 1)")
    return parser.parse_args()


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
        from .unet import Run, train

        train(
            Run(minutes, arguments.plan or minutes, arguments.workers, max(1, arguments.threads // arguments.workers))
        )
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
