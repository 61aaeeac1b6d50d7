"""Compare the samplers with k-diffusion's and AUTOMATIC1111's own on the embedded model's UNet.

Every sampler of AUTOMATIC1111 1.10.1 on every schedule that it has, at 10, 20 and 30 steps and at Stable Diffusion's
noise levels: the relative difference of the final latents from what the reference makes of the same noise. Needs torch
and diffusers as the studio does, and on the path k-diffusion with what it imports (pip install --no-deps --target
FOLDER k-diffusion==0.1.1.post1 torchdiffeq). Restart, DDIM, DDIM CFG++, PLMS and UniPC are not in k-diffusion: they are
compared where there is a checkout of AUTOMATIC1111; LCM with its published formula. What has no reference or no
counterpart counts as missed.

Every difference is added to the file of results as soon as it is known; what is in there is not measured again. With
--docs the table of docs/samplers.md is written from it.

Run: PYTHONPATH=FOLDER python -m tools.measure_samplers RESULTS [--checkout FOLDER] [--docs] [SAMPLER …]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.foreign_infotexts import name_noise_source
from studio.pipelines.run.samplers import make_scheduler
from tools.provider_tables import replace_tables
from tools.record_k_diffusion import FULL_RANGE, NAMES, ONE_LEVEL_MORE, load_sampling

PAGE = Path(__file__).resolve().parents[1] / "docs" / "samplers.md"
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
LCM_STRIDE = 20  # of the timesteps that LCM knows
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
        self.distilled = self.trained[LCM_STRIDE - 1 :: LCM_STRIDE]
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
        trained = self.network.distilled if sampler == "LCM" else self.network.trained
        levels = make_levels(self.sampling, kind, steps + more, trained)
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
        if sampler == "LCM":
            return self._run_lcm(x, levels, draw)
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

    def _run_lcm(self, x: Any, levels: Any, draw: Any) -> Any:
        """Consistency sampling: the prediction by the boundary condition of its paper, with a data spread of a half and
        timesteps counted tenfold, and fresh noise up to the next level."""
        network = self.network
        for now, then in itertools.pairwise(levels):
            place = (now.log() - network.distilled.log()).abs().argmin()
            timestep = (place + 1) * LCM_STRIDE - 1
            spread = (now**2 + 1) ** 0.5
            clean = x / spread**2 - network.answer(x / spread, timestep) * now / spread
            time = timestep * 10.0
            kept = 0.25 / (time**2 + 0.25)
            x = time / (time**2 + 0.25) ** 0.5 * clean + kept * x
            if then > 0:
                x = x + then * draw()
        return x

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
            answer = scheduler.unguided + GUIDANCE * scheduler.guidance_share * (answer - scheduler.unguided)
        latents = scheduler.step(answer, timestep, latents, generator=source, return_dict=False)[0]
    network.kept[key] = latents
    return latents


def measure(network: Network, reference: Reference, sampler: str, schedule: str, steps: int) -> float | None:
    """Return the relative difference, None where one of the two is missing."""
    expected = reference.run(sampler, schedule, steps)
    if expected is None:
        return None
    try:
        made = run_ours(network, sampler, schedule, steps)
    except InvalidRequest:
        return None
    return float((made - expected).norm() / expected.norm())


Results = dict[tuple[str, str, int], float | None]


def read_results(path: Path) -> Results:
    """Return the differences that are known."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["sampler"], row["schedule"], row["steps"]): row["difference"] for row in rows}


def measure_all(path: Path, checkout: Path | None, samplers: Sequence[str]) -> None:
    """Add the differences that are missing to the file."""
    import torch

    known = read_results(path)
    combinations = [(sampler, schedule, steps) for sampler in samplers for schedule in SCHEDULES for steps in STEPS]
    wanted = [one for one in combinations if one not in known]
    if not wanted:
        return
    network = Network()
    reference = Reference(network, checkout)
    with torch.inference_mode(), path.open("a", encoding="utf-8") as file:
        for sampler, schedule, steps in wanted:
            difference = measure(network, reference, sampler, schedule, steps)
            row = {"sampler": sampler, "schedule": schedule, "steps": steps, "difference": difference}
            file.write(json.dumps(row) + "\n")
            file.flush()


def render_table(results: Results, samplers: Sequence[str]) -> str:
    """Return a row for each sampler, the largest difference of its three numbers of steps in each cell."""
    rows = ["| | " + " | ".join(SCHEDULES) + " |", "|---|" + "---|" * len(SCHEDULES)]
    for sampler in samplers:
        found = [find_largest(results, sampler, schedule) for schedule in SCHEDULES]
        cells = ["–" if one is None else f"{one:.0e}" for one in found]
        rows.append(f"| {sampler} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def find_largest(results: Mapping[tuple[str, str, int], float | None], sampler: str, schedule: str) -> float | None:
    """Return the largest difference of a combination, None unless all its numbers of steps were compared."""
    found = [results.get((sampler, schedule, steps)) for steps in STEPS]
    known = [one for one in found if one is not None and math.isfinite(one)]
    return max(known) if len(known) == len(STEPS) else None


def summarize(results: Results, samplers: Sequence[str]) -> str:
    """Return how many combinations are within the bar."""
    found = [find_largest(results, sampler, schedule) for sampler in samplers for schedule in SCHEDULES]
    within = sum(one is not None and one <= BAR for one in found)
    steps = ", ".join(map(str, STEPS[:-1])) + f" and {STEPS[-1]}"
    return f"{within} of {len(found)} combinations ({within / len(found):.1%}) are within {BAR:g} at {steps} steps."


def main() -> None:
    """Measure, print the table and, if asked for, write it into the docs."""
    parser = argparse.ArgumentParser(description="Compare the samplers with k-diffusion's and AUTOMATIC1111's own.")
    parser.add_argument("results", type=Path, help="a file of results, which is continued")
    parser.add_argument("--checkout", type=Path, help="the folder of AUTOMATIC1111")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/samplers.md")
    parser.add_argument("samplers", nargs="*", default=SAMPLERS, metavar="SAMPLER")
    given = parser.parse_intermixed_args()
    measure_all(given.results, given.checkout, given.samplers)
    results = read_results(given.results)
    table, summary = render_table(results, given.samplers), summarize(results, given.samplers)
    print(f"{table}\n\n{summary}")
    if given.docs:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replace_tables(text, {"samplers": lambda: f"{table}\n\n{summary}"}), encoding="utf-8")


if __name__ == "__main__":
    main()
