"""Write tests/data/k_diffusion.json: what k-diffusion's own samplers make of a small formula in place of a model.

Needs, in an environment of its own: pip install --no-deps k-diffusion==0.1.1.post1 torchdiffeq torchsde trampoline, and
torch, scipy, tqdm, packaging. Run with the repository root on the path: python -m tools.record_k_diffusion
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

STEPS = (10, 20)
SCHEDULES = ("Karras", "Exponential", "Uniform")
SEEDS = (5, 6)
SHAPE = (4, 2, 2)
TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "k_diffusion.json"
NAMES = {
    "Euler": "euler",
    "Euler a": "euler_ancestral",
    "Heun": "heun",
    "LMS": "lms",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
    "DPM fast": "dpm_fast",
    "DPM adaptive": "dpm_adaptive",
}
FULL_RANGE = ("DPM fast", "DPM adaptive")
ONE_LEVEL_MORE = ("DPM2", "DPM2 a", "DPM++ 3M SDE")


def predict_clean(x: Any, sigma: Any) -> Any:
    """Return what stands in for a model's prediction without noise: smooth, and another at every level."""
    import torch

    level = torch.as_tensor(sigma).reshape(-1, *[1] * (x.ndim - 1)) if torch.as_tensor(sigma).ndim else sigma
    return x / (1 + level**2) + 0.5 * torch.sin(x + 1) / (1 + level)


def load_sampling() -> Any:
    """Return k_diffusion.sampling alone: the package itself imports models that nothing here needs."""
    from importlib.metadata import distribution

    folder = Path(str(distribution("k-diffusion").locate_file("k_diffusion")))
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    sys.modules["k_diffusion"] = package
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    package.utils = utils  # type: ignore[attr-defined]
    sys.modules["k_diffusion.utils"] = utils
    import k_diffusion.sampling as sampling  # pyright: ignore[reportMissingImports]

    return sampling


def make_levels(sampling: Any, schedule: str, count: int, trained: Any) -> Any:
    """Return k-diffusion's levels, a 0 at the end, for Stable Diffusion 1.5's own levels."""
    low, high = trained[0].item(), trained[-1].item()
    if schedule == "Karras":
        return sampling.get_sigmas_karras(count, low, high)
    if schedule == "Exponential":
        return sampling.get_sigmas_exponential(count, low, high)
    import torch

    timesteps = torch.linspace(len(trained) - 1, 0, count)
    logs, below, above = trained.log(), timesteps.floor().long(), timesteps.ceil().long()
    levels = ((1 - timesteps.frac()) * logs[below] + timesteps.frac() * logs[above]).exp()
    return sampling.append_zero(levels)


def run_sampler(sampling: Any, name: str, levels: Any, trained: Any) -> list[list[float]]:
    """Return the final latents of both seeds, each flat."""
    import torch

    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]

    def draw(*_: Any) -> Any:
        return torch.stack([torch.randn(SHAPE, generator=source) for source in sources])

    x = draw() * levels[0]
    extra: dict[str, Any] = {"disable": True}
    if "SDE" in name:
        positive = levels[levels > 0].min()
        extra["noise_sampler"] = sampling.BrownianTreeNoiseSampler(x, positive, levels.max(), seed=list(SEEDS))
    elif name.endswith(" a") or name in FULL_RANGE:
        extra["noise_sampler"] = draw
    if name == "DPM++ 2M SDE Heun":
        extra["solver_type"] = "heun"
    function = getattr(sampling, f"sample_{NAMES[name]}")
    if name in FULL_RANGE:
        steps = [len(levels) - 1] if name == "DPM fast" else []
        last = function(predict_clean, x, trained[0].item(), levels[0].item(), *steps, eta=1.0, **extra)
    else:
        last = function(predict_clean, x, levels, **extra)
    return [part.flatten().tolist() for part in last]


def main() -> None:
    """Record every sampler on every schedule."""
    import torch

    sampling = load_sampling()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    trained = ((1 - alphas) / alphas) ** 0.5
    rows = []
    for name in NAMES:
        for schedule in SCHEDULES[:1] if name in FULL_RANGE else SCHEDULES:
            for steps in STEPS:
                levels = make_levels(sampling, schedule, steps + (name in ONE_LEVEL_MORE), trained)
                if name in ONE_LEVEL_MORE:
                    levels = torch.cat([levels[:-2], levels[-1:]])
                latents = run_sampler(sampling, name, levels, trained)
                rows.append({"sampler": name, "schedule": schedule, "steps": steps, "latents": latents})
    body = {"source": "k-diffusion 0.1.1.post1", "seeds": SEEDS, "shape": SHAPE, "rows": rows}
    TARGET.write_text(json.dumps(body) + "\n", encoding="utf-8")
    print(f"{len(rows)} rows in {TARGET}")


if __name__ == "__main__":
    main()
