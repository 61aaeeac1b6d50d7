"""Samplers and schedules under the names users know, each mapped to a scheduler and its flags by a table.

Names and meanings are AUTOMATIC1111's. A schedule says where on the noise scale the steps lie; the sampler says how one
step is made. The samplers of k-diffusion and ComfyUI run their formulas over noise levels (`level_scheduler`), so that
a recipe gives the same image here; the others are diffusers' classes. `Automatic` is what AUTOMATIC1111 takes for the
sampler, except that a checkpoint trained for trailing timesteps keeps those, and that LCM takes those of its paper.
AUTOMATIC1111 runs DDIM, PLMS and UniPC over steps of their own whatever the schedule: here they do on Automatic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from studio.core.errors import InvalidRequest
from studio.pipelines.run.formula_table import ADAPTIVE_FORMULAS, DISTILLED_FORMULAS, FORMULAS, TIMESTEP_FORMULAS
from studio.pipelines.run.noise_levels import FLOW_LEVELS, SCHEDULES

# What a schedule is in diffusers' words. Full-range noise scales ("linspace") are what k-diffusion's formulas start
# from.
_SPACINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "Uniform": {"timestep_spacing": "linspace"},
        "Normal": {"timestep_spacing": "linspace"},
        "SGM Uniform": {"timestep_spacing": "trailing"},
        "Simple": {"timestep_spacing": "trailing"},
        "DDIM": {"timestep_spacing": "leading"},
    }
)
_SIGMAS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "Karras": {"use_karras_sigmas": True, "timestep_spacing": "linspace"},
        "Exponential": {"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
        "Beta": {"use_beta_sigmas": True, "timestep_spacing": "linspace"},
    }
)
_FLAGS = MappingProxyType({**_SPACINGS, **_SIGMAS})

_FULL = (*_SPACINGS, *_SIGMAS)

# Latents are not clipped; an offset of 1 (it acts on "leading" alone) is what Stable Diffusion was trained with, and
# the
# pipelines warn about any other.
_COMMON_CONFIG = MappingProxyType({"clip_sample": False, "steps_offset": 1})

# What of a checkpoint's scheduler belongs to the checkpoint and not to the way it is sampled.
_TRAINED_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "original_inference_steps",
    "timestep_scaling",
    "set_alpha_to_one",
)
_OTHER_KEYS = ("original_inference_steps", "timestep_scaling", "set_alpha_to_one")  # of LCM and DDIM alone
_TRAINED_FLOW_KEYS = (
    "num_train_timesteps",
    "shift",
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "shift_terminal",
    "time_shift_type",
    "invert_sigmas",
)


@dataclass(frozen=True)
class _Sampler:
    """One row: the diffusers class, its flags, the schedules it takes, the one that Automatic means, and whether those
    schedules come from diffusers' Euler because the class has no flags for them (`borrows`)."""

    scheduler: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    schedules: tuple[str, ...] = _FULL
    automatic: str = "Uniform"
    borrows: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        return ("Automatic", *self.schedules, *(name for name in self.borrows if name not in self.schedules))


# A level scheduler walks k-diffusion's own formula; what AUTOMATIC1111 takes for Automatic where it is not Uniform.
_LEVELS = "LevelScheduler"
_AUTOMATIC = MappingProxyType(
    {
        "DPM2": "Karras",
        "DPM2 a": "Karras",
        "DPM++ 2S a": "Karras",
        "DPM++ 2M": "Karras",
        "DPM++ SDE": "Karras",
        "DPM++ 2M SDE": "Exponential",
        "DPM++ 2M SDE Heun": "Exponential",
        "DPM++ 3M SDE": "Exponential",
        "Restart": "Karras",
    }
)

_TABLE: Mapping[str, _Sampler] = MappingProxyType(
    {
        **{
            name: _Sampler(_LEVELS, schedules=SCHEDULES, automatic=_AUTOMATIC.get(name, "Uniform"))
            for name in (*FORMULAS, *ADAPTIVE_FORMULAS)
        },
        "SA-Solver": _Sampler("SASolverScheduler", {"final_sigmas_type": "zero"}),
        "DDIM": _Sampler("DDIMScheduler", schedules=tuple(_SPACINGS), automatic="DDIM"),
        "DDIM CFG++": _Sampler(_LEVELS, schedules=()),
        "DDPM": _Sampler(
            "DDPMScheduler", {"variance_type": "fixed_small"}, schedules=tuple(_SPACINGS), automatic="DDIM"
        ),
        "PLMS": _Sampler("PNDMScheduler", {"skip_prk_steps": True}, schedules=tuple(_SPACINGS), automatic="DDIM"),
        "LCM": _Sampler("LCMScheduler", schedules=SCHEDULES),
        "TCD": _Sampler("TCDScheduler", schedules=()),
    }
)

_SOLVER = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "final_sigmas_type": "zero"}
# Simple is what flow models are sampled with anyway; SGM Uniform is within a hundredth of it.
_FLOW_SCHEDULES = ("Simple", "SGM Uniform", *_SIGMAS, *FLOW_LEVELS)
_TABLE_FLOW: Mapping[str, _Sampler] = MappingProxyType(
    {
        "Euler": _Sampler("FlowMatchEulerDiscreteScheduler", schedules=_FLOW_SCHEDULES),
        "DPM++ 2M": _Sampler(
            "DPMSolverMultistepScheduler", {"solver_order": 2, **_SOLVER}, (), borrows=_FLOW_SCHEDULES
        ),
        "UniPC": _Sampler("UniPCMultistepScheduler", _SOLVER, (), borrows=_FLOW_SCHEDULES),
    }
)

DIFFUSION_SAMPLERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: row.names() for name, row in _TABLE.items()}
)
"""Sampler -> schedules of families that denoise over a beta schedule: Stable Diffusion 1, 2, XL and their kin."""

FLOW_SAMPLERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: row.names() for name, row in _TABLE_FLOW.items()}
)
"""Sampler -> schedules of flow-matching families: Stable Diffusion 3, FLUX, Qwen-Image, Z-Image and their kin."""


def is_flow(config: Mapping[str, Any]) -> bool:
    """Whether a scheduler config belongs to a flow-matching checkpoint."""
    return str(config.get("_class_name", "")).startswith("FlowMatch") or bool(config.get("use_flow_sigmas"))


def make_scheduler(sampler: str, schedule: str, config: Mapping[str, Any], *, xl: bool = False) -> Any:
    """A fresh diffusers scheduler. `config` is the checkpoint's own scheduler config, whose betas, prediction type and
    shift are kept. `xl` picks Align Your Steps' table for Stable Diffusion XL.

    Raises:
        InvalidRequest: a combination that the table does not have; the hint lists those it has.
    """
    flow = is_flow(config)
    table = _TABLE_FLOW if flow else _TABLE
    row = _find_row(table, sampler, schedule)
    if flow:
        return _build_flow_scheduler(row, schedule, config)
    trained = {key: config[key] for key in _TRAINED_KEYS if config.get(key) is not None}
    over_levels = row.scheduler == _LEVELS or (sampler in DISTILLED_FORMULAS and schedule != "Automatic")
    if schedule == "Automatic" and sampler not in DISTILLED_FORMULAS:
        trailing = config.get("timestep_spacing") == "trailing" and "SGM Uniform" in row.schedules
        over_timesteps = sampler in TIMESTEP_FORMULAS and not trailing
        over_levels = over_levels or over_timesteps
        schedule = "SGM Uniform" if trailing else schedule if over_timesteps else row.automatic
    if over_levels:
        return _build_level_scheduler({**trained, "sampler": sampler, "schedule": schedule, "xl": xl})
    return _build_scheduler(row.scheduler, {**trained, **_COMMON_CONFIG, **row.flags, **_FLAGS.get(schedule, {})})


def _find_row(table: Mapping[str, _Sampler], sampler: str, schedule: str) -> _Sampler:
    row = table.get(sampler)
    if row is None:
        raise InvalidRequest(
            f"There is no sampler {sampler!r} for this model.", hint="It has: " + ", ".join(table) + "."
        )
    if schedule not in row.names():
        raise InvalidRequest(
            f"The sampler {sampler} has no schedule {schedule!r}.", hint="It has: " + ", ".join(row.names()) + "."
        )
    return row


def _build_flow_scheduler(row: _Sampler, schedule: str, config: Mapping[str, Any]) -> Any:
    trained = {key: config[key] for key in _TRAINED_FLOW_KEYS if config.get(key) is not None}
    flags = {key: value for key, value in _FLAGS.get(schedule, {}).items() if key != "timestep_spacing"}
    euler = _build_scheduler("FlowMatchEulerDiscreteScheduler", {**trained, **flags})
    if schedule in FLOW_LEVELS:
        _give_flow_levels(euler, FLOW_LEVELS[schedule])
    if row.scheduler == "FlowMatchEulerDiscreteScheduler":
        return euler
    scheduler = _build_scheduler(row.scheduler, {"num_train_timesteps": euler.config.num_train_timesteps, **row.flags})
    # The pipelines ask their scheduler's config for the shift, and img2img asks it to add noise the flow way.
    scheduler.register_to_config(**{key: value for key, value in trained.items() if key != "num_train_timesteps"})
    scheduler.scale_noise = lambda sample, timestep, noise: scheduler.add_noise(sample, noise, timestep)

    def set_flow_steps(count: int | None, device: Any, **given: Any) -> tuple[Any, Any]:
        euler.set_timesteps(count, device, **given)
        return euler.sigmas, euler.timesteps

    _borrow_sigmas(scheduler, set_flow_steps)
    return scheduler


def _give_flow_levels(scheduler: Any, compute: Callable[[int], list[float]]) -> None:
    """Let `scheduler` take the levels that `compute` gives for a number of steps, whatever its shift."""
    own = scheduler.set_timesteps

    def set_timesteps(num_inference_steps: Any = None, device: Any = None, **given: Any) -> None:
        import torch

        own(num_inference_steps, device, **given)
        levels = torch.tensor(compute(len(scheduler.timesteps)), dtype=torch.float32)
        scheduler.sigmas = levels.to(scheduler.sigmas.device)
        timesteps = levels[:-1] * scheduler.config.num_train_timesteps
        scheduler.timesteps = timesteps.to(scheduler.timesteps.device)

    scheduler.set_timesteps = set_timesteps


def _build_level_scheduler(config: Mapping[str, Any]) -> Any:
    from studio.pipelines.run.adaptive_scheduler import AdaptiveScheduler
    from studio.pipelines.run.lcm_scheduler import LcmScheduler
    from studio.pipelines.run.level_scheduler import LevelScheduler

    kinds = {**dict.fromkeys(ADAPTIVE_FORMULAS, AdaptiveScheduler), **dict.fromkeys(DISTILLED_FORMULAS, LcmScheduler)}
    kind = kinds.get(config["sampler"], LevelScheduler)
    return kind(**{key: value for key, value in config.items() if key not in _OTHER_KEYS})


def _build_scheduler(class_name: str, config: Mapping[str, Any]) -> Any:
    import inspect

    import diffusers

    cls = getattr(diffusers, class_name)
    known = inspect.signature(cls.__init__).parameters
    return cls(**{key: value for key, value in config.items() if key in known})


def _borrow_sigmas(scheduler: Any, steps: Callable[..., tuple[Any, Any]]) -> None:
    """Let `scheduler` take its noise levels and timesteps from `steps` whenever a pipeline sets them."""
    own = scheduler.set_timesteps

    def set_timesteps(num_inference_steps: Any = None, device: Any = None, sigmas: Any = None, mu: Any = None) -> None:
        given = {key: value for key, value in (("sigmas", sigmas), ("mu", mu)) if value is not None}
        levels, timesteps = steps(num_inference_steps, device, **given)
        unipc = type(scheduler).__name__ == "UniPCMultistepScheduler"
        own(
            len(timesteps), device=device, **({"mu": mu} if unipc and mu is not None else {})
        )  # it insists on hearing mu
        scheduler.sigmas, scheduler.timesteps = levels.to("cpu"), timesteps

    scheduler.set_timesteps = set_timesteps
