"""Write tests/data/comfyui_samplers.json: what ComfyUI's own samplers make of a small formula in place of a model.

Needs a checkout of ComfyUI, of which comfy/k_diffusion and comfy/extra_samplers/uni_pc.py are read, and torch, scipy,
torchsde, tqdm. Run with the repository root on the path: python -m tools.record_comfyui CHECKOUT
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tools.record_k_diffusion import SEEDS, SHAPE, predict_clean

STEPS = (4, 10)
SCHEDULES = ("Karras", "Uniform")
TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "comfyui_samplers.json"
NAMES = {
    "HeunPP2": "sample_heunpp2",
    "IPNDM": "sample_ipndm",
    "IPNDM_V": "sample_ipndm_v",
    "DEIS": "sample_deis",
    "ER SDE": "sample_er_sde",
    "SEEDS-2": "sample_seeds_2",
    "SEEDS-3": "sample_seeds_3",
    "Exp Heun 2 x0": "sample_exp_heun_2_x0",
    "Exp Heun 2 x0 SDE": "sample_exp_heun_2_x0_sde",
    "RES multistep": "sample_res_multistep",
    "RES multistep a": "sample_res_multistep_ancestral",
    "Gradient estimation": "sample_gradient_estimation",
    "Euler CFG++": "sample_euler_cfg_pp",
    "Euler a CFG++": "sample_euler_ancestral_cfg_pp",
    "DPM++ 2S a CFG++": "sample_dpmpp_2s_ancestral_cfg_pp",
    "DPM++ 2M CFG++": "sample_dpmpp_2m_cfg_pp",
    "RES multistep CFG++": "sample_res_multistep_cfg_pp",
    "RES multistep a CFG++": "sample_res_multistep_ancestral_cfg_pp",
    "Gradient estimation CFG++": "sample_gradient_estimation_cfg_pp",
    "UniPC": "bh1",
    "UniPC bh2": "bh2",
}


def predict_unguided(x: Any, sigma: Any) -> Any:
    """Return what stands in for the prediction without the prompt."""
    import torch

    level = torch.as_tensor(sigma).reshape(-1, *[1] * (x.ndim - 1)) if torch.as_tensor(sigma).ndim else sigma
    return x / (1 + level**2) + 0.4 * torch.cos(x) / (1 + level)


class Model:
    """What ComfyUI's samplers call: it tells the function that a sampler leaves in the options both predictions."""

    def __init__(self) -> None:
        """Stand for a model whose levels are those of its noise."""
        patcher = SimpleNamespace(get_model_object=lambda name: SimpleNamespace())
        self.inner_model = SimpleNamespace(model_patcher=patcher)

    def __call__(self, x: Any, sigma: Any, **options: Any) -> Any:
        """Return the prediction without noise."""
        clean = predict_clean(x, sigma)
        listener = options.get("model_options", {}).get("listener")
        if listener is not None:
            listener({"denoised": clean, "uncond_denoised": predict_unguided(x, sigma)})
        return clean


def load_samplers(checkout: Path) -> tuple[Any, Any]:
    """Return comfy.k_diffusion.sampling and comfy.extra_samplers.uni_pc without the rest of ComfyUI."""

    def leave_listener(options: dict[str, Any], listener: Any, **_: Any) -> dict[str, Any]:
        return {**options, "listener": listener}

    from tqdm.auto import trange

    parts: dict[str, dict[str, Any]] = {
        "comfy": {"__path__": [str(checkout / "comfy")]},
        "comfy.model_patcher": {"set_model_options_post_cfg_function": leave_listener},
        "comfy.model_sampling": {"CONST": type("CONST", (), {})},
        "comfy.utils": {"model_trange": trange},
        "comfy.memory_management": {},
    }
    for name, contents in parts.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module
        if "." in name:
            setattr(sys.modules["comfy"], name.split(".")[1], module)
    return importlib.import_module("comfy.k_diffusion.sampling"), importlib.import_module("comfy.extra_samplers.uni_pc")


def make_levels(schedule: str, count: int) -> Any:
    """Return ComfyUI's levels, a 0 at the end, for Stable Diffusion 1.5."""
    import torch

    from studio.pipelines.run.noise_levels import compute_levels
    from studio.pipelines.run.samplers import make_scheduler

    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    trained = make_scheduler("Euler", "Uniform", config)._trained
    return torch.tensor(compute_levels(schedule, count, trained))


def run_sampler(sampling: Any, uni_pc: Any, name: str, levels: Any) -> list[list[float]]:
    """Return the final latents of both seeds, each flat."""
    import torch

    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]

    def draw(*_: Any) -> Any:
        return torch.stack([torch.randn(SHAPE, generator=source) for source in sources])

    x = draw() * levels[0]
    if name.startswith("UniPC"):
        last = uni_pc.sample_unipc(Model(), x, levels, extra_args={}, disable=True, variant=NAMES[name])
    else:
        function = getattr(sampling, NAMES[name])
        has_noise = "noise_sampler" in inspect.signature(function).parameters
        last = function(
            Model(), x, levels, extra_args={}, disable=True, **({"noise_sampler": draw} if has_noise else {})
        )
    return [part.flatten().tolist() for part in last]


def main(checkout: Path) -> None:
    """Record every sampler on every schedule."""
    import torch

    sampling, uni_pc = load_samplers(checkout)
    rows = []
    with torch.no_grad():
        for name in NAMES:
            for schedule in SCHEDULES:
                for steps in STEPS:
                    levels = make_levels(schedule, steps + name.startswith("UniPC"))
                    if name.startswith("UniPC"):  # of which it discards the last but one
                        levels = torch.cat([levels[:-2], levels[-1:]])
                    latents = run_sampler(sampling, uni_pc, name, levels)
                    rows.append({"sampler": name, "schedule": schedule, "steps": steps, "latents": latents})
    body = {"source": "ComfyUI", "seeds": SEEDS, "shape": SHAPE, "rows": rows}
    TARGET.write_text(json.dumps(body) + "\n", encoding="utf-8")
    print(f"{len(rows)} rows in {TARGET}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
