"""Compare the samplers with k-diffusion's and AUTOMATIC1111's own on the embedded model's UNet, and print a table.

Every sampler of AUTOMATIC1111 1.10.1 on every schedule that it has, at 10, 20 and 30 steps and at Stable Diffusion's
noise levels: the relative difference of the final latents from what the reference makes of the same noise. Needs torch
and diffusers as the studio does, and on the path k-diffusion with what it imports (pip install --no-deps --target
FOLDER k-diffusion==0.1.1.post1 torchdiffeq). Restart, DDIM, DDIM CFG++, PLMS and UniPC are not in k-diffusion: they are
compared where the argument is a checkout of AUTOMATIC1111. What has no reference or no counterpart counts as missed.

Run: PYTHONPATH=FOLDER python -m tools.measure_samplers [CHECKOUT] [SAMPLER …]
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.foreign_infotexts import name_noise_source
from studio.pipelines.run.cfg_plus_plus import SCALE_SHARE
from studio.pipelines.run.samplers import make_scheduler
from tools.record_k_diffusion import FULL_RANGE, NAMES, ONE_LEVEL_MORE, load_sampling

EMBEDDED = Path(__file__).resolve().parents[1] / "models" / "embedded"
STEPS = (10, 20, 30)
SEED = 5
SHAPE = (1, 4, 8, 8)
BAR = 1e-3
SCHEDULES = (
    "Automatic",
    "Uniform",
    "Karras",
    "Exponential",
    "Polyexponential",
    "SGM Uniform",
    "KL Optimal",
    "Align Your Steps",
    "Simple",
    "Normal",
    "DDIM",
    "Beta",
)
AUTOMATIC = {
    **dict.fromkeys(("DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "Restart"), "Karras"),
    **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), "Exponential"),
}
OVER_TIMESTEPS = ("DDIM", "PLMS", "UniPC", "DDIM CFG++")
SAMPLERS = (*NAMES, "Restart", *OVER_TIMESTEPS, "LCM")
GUIDANCE = 7.0  # of what is guided by parts of it
AYS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)


class Network:
    """The embedded UNet as k-diffusion wraps one: latents and a noise level in, latents without noise out."""

    def __init__(self) -> None:
        """Load the UNet, and compute its levels."""
        import torch
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        self.unet: Any = UNet2DConditionModel.from_pretrained(EMBEDDED / "unet", local_files_only=True)
        own: Any = DDIMScheduler.from_pretrained(EMBEDDED / "scheduler", local_files_only=True)
        scheduler: Any = DDIMScheduler.from_config(own.config, beta_end=0.012, timestep_spacing="leading")
        self.config = dict(scheduler.config)
        self.alphas_cumprod = scheduler.alphas_cumprod
        self.trained = ((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5
        width = self.unet.config.cross_attention_dim
        self.text, self.negative = torch.randn((2, 1, 77, width), generator=torch.Generator().manual_seed(3))
        self.kept: dict[tuple[Any, ...], Any] = {}
        self.inner_model = SimpleNamespace(inner_model=SimpleNamespace(alphas_cumprod=self.alphas_cumprod))

    def answer(self, scaled: Any, timestep: Any, text: Any = None) -> Any:
        """Return the UNet's own answer."""
        text = self.text if text is None else text
        return self.unet(scaled, timestep, encoder_hidden_states=text, return_dict=False)[0]

    def __call__(self, x: Any, sigma: Any) -> Any:
        """Return the prediction without noise."""
        level = sigma.flatten()[0]
        spread = (level**2 + 1) ** 0.5
        return x / spread**2 - self.answer(x / spread, self.find_timestep(level)) * level / spread

    def predict_noise(self, x: Any, timestep: Any, text: Any = None) -> Any:
        """Return the noise in latents of unit spread, as AUTOMATIC1111's samplers over timesteps ask for it."""
        place = timestep.flatten()[0].clamp(0, len(self.trained) - 1)
        logs, part = self.trained.log(), place.frac()
        level = ((1 - part) * logs[place.floor().long()] + part * logs[place.ceil().long()]).exp()
        return (self.answer(x, place, text) + level * x) / (level**2 + 1) ** 0.5

    def find_timestep(self, level: Any) -> Any:
        """Return the timestep of a level, interpolated in the logarithm."""
        logs = self.trained.log()
        low = int((logs <= level.log()).sum().clamp(1, len(logs) - 1)) - 1
        share = ((level.log() - logs[low]) / (logs[low + 1] - logs[low])).clamp(0, 1)
        return low + share


def make_levels(sampling: Any, schedule: str, count: int, trained: Any) -> Any:
    """Return AUTOMATIC1111's levels for `count` steps."""
    import numpy as np
    import torch
    from scipy import stats

    low, high, top = trained[0].item(), trained[-1].item(), len(trained) - 1

    def read_levels(timesteps: Any) -> Any:
        logs, below, above = trained.log(), timesteps.floor().long(), timesteps.ceil().long()
        return ((1 - timesteps.frac()) * logs[below] + timesteps.frac() * logs[above]).exp()

    def append_zero(levels: Any) -> Any:
        return torch.cat([torch.as_tensor(levels, dtype=torch.float32), torch.zeros(1)])

    def interpolate_table() -> Any:
        places = np.linspace(0, 1, len(AYS))
        return np.exp(np.interp(np.linspace(0, 1, count), places, np.log(AYS[::-1])))[::-1].copy()

    parts = torch.arange(count + 1) / count
    made: dict[str, Callable[[], Any]] = {
        "Karras": lambda: sampling.get_sigmas_karras(count, low, high),
        "Exponential": lambda: sampling.get_sigmas_exponential(count, low, high),
        "Polyexponential": lambda: sampling.get_sigmas_polyexponential(count, low, high),
        "Uniform": lambda: append_zero(read_levels(torch.linspace(top, 0, count))),
        "Normal": lambda: append_zero(read_levels(torch.linspace(top, 0, count))),
        "SGM Uniform": lambda: append_zero(read_levels(torch.linspace(top, 0, count + 1)[:-1])),
        "KL Optimal": lambda: torch.tan(
            parts * torch.arctan(torch.tensor(low)) + (1 - parts) * torch.arctan(torch.tensor(high))
        ),
        "Align Your Steps": lambda: append_zero(interpolate_table()),
        "Simple": lambda: append_zero([trained[-(1 + int(i * len(trained) / count))] for i in range(count)]),
        "DDIM": lambda: append_zero(trained[1 :: max(len(trained) // count, 1)].flip(0)),
        "Beta": lambda: append_zero(
            [low + float(stats.beta.ppf(part, 0.6, 0.6)) * (high - low) for part in 1 - np.linspace(0, 1, count)]
        ),
    }
    return made[schedule]()


class Reference:
    """What AUTOMATIC1111 does: its levels, k-diffusion's samplers and, from a checkout, its own."""

    def __init__(self, network: Network, checkout: Path | None) -> None:
        """Load the samplers."""
        self.network, self.sampling, self.own = network, load_sampling(), {}
        self.kept: dict[tuple[Any, ...], Any] = {}
        if checkout is None:
            return
        extra = _load_module(checkout / "modules" / "sd_samplers_extra.py", self.sampling)
        timesteps = _load_module(checkout / "modules" / "sd_samplers_timesteps_impl.py", self.sampling)
        self.own = {"Restart": extra.restart_sampler, "DDIM": timesteps.ddim, "PLMS": timesteps.plms}
        self.own |= {"DDIM CFG++": timesteps.ddim_cfgpp, "UniPC": timesteps.unipc}

    def run(self, sampler: str, schedule: str, steps: int) -> Any:
        """Return the final latents, or None where there is no reference."""
        import torch

        source = torch.Generator().manual_seed(SEED)

        def draw(*_: Any) -> Any:
            return torch.randn(SHAPE, generator=source)

        if sampler in OVER_TIMESTEPS:
            return self._run_over_timesteps(sampler, steps, draw()) if sampler in self.own else None
        kind = AUTOMATIC.get(sampler, "Uniform") if schedule == "Automatic" else schedule
        more = sampler in ONE_LEVEL_MORE
        levels = make_levels(self.sampling, kind, steps + more, self.network.trained)
        if more:
            levels = torch.cat([levels[:-2], levels[-1:]])
        key = (sampler, steps, *levels.tolist())
        if key not in self.kept:  # schedules that are the same
            self.kept[key] = self._run_levels(sampler, steps, levels, draw)
        return self.kept[key]

    def _run_levels(self, sampler: str, steps: int, levels: Any, draw: Callable[..., Any]) -> Any:
        x = draw() * levels[0]
        if sampler == "Restart":
            found = self.own.get(sampler)
            return None if found is None else self._run_restart(found, x, levels, draw)
        if sampler not in NAMES:
            return None
        function = getattr(self.sampling, f"sample_{NAMES[sampler]}")
        extra: dict[str, Any] = {"disable": True}
        if "SDE" in sampler:
            least = levels[levels > 0].min()
            extra["noise_sampler"] = self.sampling.BrownianTreeNoiseSampler(x, least, levels.max(), seed=[SEED])
        elif sampler.endswith(" a") or sampler in FULL_RANGE:
            extra["noise_sampler"] = draw
        if sampler == "DPM++ 2M SDE Heun":
            extra["solver_type"] = "heun"
        ends = self.network.trained[0].item(), self.network.trained[-1].item()
        if sampler == "DPM fast":
            return function(self.network, x, *ends, steps, eta=1.0, **extra)
        if sampler == "DPM adaptive":
            return function(self.network, x, *ends, eta=1.0, **extra)
        return function(self.network, x, levels, **extra)

    def _run_restart(self, function: Any, x: Any, levels: Any, draw: Any) -> Any:
        import torch

        own = torch.randn_like
        torch.randn_like = draw  # type: ignore[assignment]
        try:
            return function(self.network, x, levels, disable=True)
        finally:
            torch.randn_like = own

    def _run_over_timesteps(self, sampler: str, steps: int, x: Any) -> Any:
        import torch

        timesteps = torch.clip(torch.tensor(list(range(0, 1000, 1000 // steps))) + 1, 0, 999)
        network, guided = self.network, sampler == "DDIM CFG++"

        class Model:
            inner_model = network.inner_model
            cond_scale_miltiplier = 1.0  # its own spelling
            last_noise_uncond: Any = None

            def __call__(self, latents: Any, timestep: Any) -> Any:
                noise = network.predict_noise(latents, timestep)
                if not guided:
                    return noise
                self.last_noise_uncond = network.predict_noise(latents, timestep, network.negative)
                change = noise - self.last_noise_uncond
                return self.last_noise_uncond + GUIDANCE * self.cond_scale_miltiplier * change

        return self.own[sampler](Model(), x, timesteps, disable=True, callback=lambda _: None)


def _load_module(path: Path, sampling: Any) -> Any:
    """Return one of AUTOMATIC1111's modules without the rest of it."""
    package = path.parents[0] / "models" / "diffusion" / "uni_pc" / "uni_pc.py"
    names = ("modules", "modules.shared", "modules.models", "modules.models.diffusion")
    made = {name: sys.modules.setdefault(name, types.ModuleType(name)) for name in names}
    unipc = sys.modules.setdefault("modules.models.diffusion.uni_pc", types.ModuleType("uni_pc"))
    vars(unipc)["uni_pc"] = _run_module(package)
    vars(made["modules"])["shared"] = made["modules.shared"]
    vars(made["modules.shared"])["opts"] = SimpleNamespace(
        uni_pc_variant="bh1", uni_pc_skip_type="time_uniform", uni_pc_order=3, uni_pc_lower_order_final=True
    )
    sys.modules["k_diffusion"].sampling = sampling  # type: ignore[attr-defined]
    return _run_module(path)


def _run_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_ours(network: Network, sampler: str, schedule: str, steps: int) -> Any:
    """Return the final latents of the scheduler that a recipe of AUTOMATIC1111 is given here.

    Raises:
        InvalidRequest: the studio does not have the combination.
    """
    import torch

    recipe = name_noise_source({"Sampler": sampler, "Schedule type": schedule, "Seed": "5", "Version": "v1.10.1"})
    scheduler = make_scheduler(sampler, recipe.get("Schedule type", "Automatic"), network.config)
    scheduler.set_timesteps(steps)
    scheduler.noise_sampler_seed = [SEED]
    key = (sampler, float(scheduler.init_noise_sigma), *scheduler.timesteps.tolist(), *scheduler.sigmas.tolist())
    if key in network.kept:
        return network.kept[key]
    source = torch.Generator().manual_seed(SEED)
    latents = torch.randn(SHAPE, generator=source) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        if getattr(scheduler, "is_finished", False):
            break
        scaled = scheduler.scale_model_input(latents, timestep)
        answer = network.answer(scaled, timestep)
        if getattr(scheduler, "needs_unguided", False):
            scheduler.unguided = network.answer(scaled, timestep, network.negative)
            answer = scheduler.unguided + GUIDANCE * SCALE_SHARE * (answer - scheduler.unguided)
        extra = {"generator": source} if sampler not in ("PLMS", "UniPC") or hasattr(scheduler, "clean") else {}
        latents = scheduler.step(answer, timestep, latents, return_dict=False, **extra)[0]
    network.kept[key] = latents
    return latents


def main(checkout: Path | None, samplers: Sequence[str]) -> None:
    """Print a row for each sampler, and the share of all combinations within the bar."""
    import torch

    network = Network()
    reference = Reference(network, checkout)
    within, total = defaultdict(int), 0
    print("| sampler | " + " | ".join(SCHEDULES) + " |\n|---|" + "---|" * len(SCHEDULES))
    with torch.inference_mode():
        for sampler in samplers:
            cells = []
            for schedule in SCHEDULES:
                cell = max(measure(network, reference, sampler, schedule, steps) for steps in STEPS)
                cells.append("–" if cell == float("inf") else f"{cell:.0e}")
                within[sampler] += cell <= BAR
                total += 1
            print(f"| {sampler} | " + " | ".join(cells) + " |", flush=True)
    found = sum(within.values())
    print(f"{found} of {total} combinations within {BAR} at {STEPS} steps ({found / total:.1%})")


def measure(network: Network, reference: Reference, sampler: str, schedule: str, steps: int) -> float:
    """Return the relative difference, infinite where one of the two is missing."""
    expected = reference.run(sampler, schedule, steps)
    if expected is None:
        return float("inf")
    try:
        made = run_ours(network, sampler, schedule, steps)
    except InvalidRequest:
        return float("inf")
    return float((made - expected).norm() / expected.norm())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, sys.argv[2:] or SAMPLERS)
