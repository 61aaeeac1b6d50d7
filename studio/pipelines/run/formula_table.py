"""The table of samplers that run a formula, by the names users know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from studio.pipelines.run import cfg_formulas as cfg
from studio.pipelines.run import comfyui_formulas as comfyui
from studio.pipelines.run import sampler_formulas as k
from studio.pipelines.run import seeds_formulas as seeds
from studio.pipelines.run.unipc_formula import sample_unipc, sample_unipc_bh2


@dataclass(frozen=True)
class SamplerFormula:
    """A formula and the calls that each of its steps makes, 0 where steps differ; `brownian` asks for noise that
    depends on the levels and the seed alone; `drop_level` counts one level more and leaves out the last but one. With
    `second_order` prompt editing counts two calls a step or more, as A1111 does for these. `full_range` takes all
    levels of the checkpoint whatever the schedule, which then says only how strong the first noise is. With `resume` an
    image that is drawn over takes that formula, from the level before its first call on. With `needs_unguided` it is
    one of `cfg_formulas`, and the CFG scale is multiplied by `scale_share`. `to_last` says that its timesteps are even
    and end at the lowest one, where other samplers over timesteps end at the second lowest.
    """

    formula: k.Formula
    calls: int = 1
    brownian: bool = False
    drop_level: bool = False
    second_order: bool = False
    full_range: bool = False
    resume: k.Formula | None = None
    needs_unguided: bool = False
    scale_share: float = 1.0
    to_last: bool = False


FORMULAS: Mapping[str, SamplerFormula] = MappingProxyType(
    {
        "Euler": SamplerFormula(k.sample_euler),
        "Euler a": SamplerFormula(k.sample_euler_ancestral),
        "Heun": SamplerFormula(k.sample_heun, calls=2, second_order=True),
        "LMS": SamplerFormula(k.sample_lms),
        "DPM2": SamplerFormula(k.sample_dpm2, calls=2, second_order=True, drop_level=True),
        "DPM2 a": SamplerFormula(k.sample_dpm2_ancestral, calls=2, second_order=True, drop_level=True),
        "DPM++ 2S a": SamplerFormula(k.sample_dpmpp_2s_ancestral, calls=2, second_order=True),
        "DPM++ 2M": SamplerFormula(k.sample_dpmpp_2m),
        "DPM++ SDE": SamplerFormula(k.sample_dpmpp_sde, calls=2, second_order=True, brownian=True),
        "DPM++ 2M SDE": SamplerFormula(k.sample_dpmpp_2m_sde, brownian=True),
        "DPM++ 2M SDE Heun": SamplerFormula(k.sample_dpmpp_2m_sde_heun, brownian=True),
        "DPM++ 3M SDE": SamplerFormula(k.sample_dpmpp_3m_sde, brownian=True, drop_level=True),
        "DPM fast": SamplerFormula(k.sample_dpm_fast, calls=0, full_range=True),
        "Restart": SamplerFormula(k.sample_restart, calls=0, second_order=True),
        "HeunPP2": SamplerFormula(comfyui.sample_heunpp2, calls=0),
        "IPNDM": SamplerFormula(comfyui.sample_ipndm),
        "IPNDM_V": SamplerFormula(comfyui.sample_ipndm_v),
        "DEIS": SamplerFormula(comfyui.sample_deis),
        "UniPC": SamplerFormula(sample_unipc, drop_level=True),
        "UniPC bh2": SamplerFormula(sample_unipc_bh2, drop_level=True),
        "ER SDE": SamplerFormula(comfyui.sample_er_sde),
        "SEEDS-2": SamplerFormula(seeds.sample_seeds_2, calls=2, second_order=True),
        "SEEDS-3": SamplerFormula(seeds.sample_seeds_3, calls=3, second_order=True),
        "Exp Heun 2 x0": SamplerFormula(seeds.sample_exp_heun, calls=2, second_order=True),
        "Exp Heun 2 x0 SDE": SamplerFormula(seeds.sample_exp_heun_sde, calls=2, second_order=True),
        "RES multistep": SamplerFormula(cfg.sample_res_multistep),
        "RES multistep a": SamplerFormula(cfg.sample_res_multistep_ancestral),
        "Gradient estimation": SamplerFormula(cfg.sample_gradient_estimation),
        "Euler CFG++": SamplerFormula(cfg.sample_euler_cfg, needs_unguided=True),
        "Euler a CFG++": SamplerFormula(cfg.sample_euler_ancestral_cfg, needs_unguided=True),
        "DPM++ 2S a CFG++": SamplerFormula(
            cfg.sample_dpmpp_2s_ancestral_cfg, calls=2, second_order=True, needs_unguided=True
        ),
        "DPM++ 2M CFG++": SamplerFormula(cfg.sample_dpmpp_2m_cfg, needs_unguided=True),
        "RES multistep CFG++": SamplerFormula(cfg.sample_res_multistep_cfg, needs_unguided=True),
        "RES multistep a CFG++": SamplerFormula(cfg.sample_res_multistep_ancestral_cfg, needs_unguided=True),
        "Gradient estimation CFG++": SamplerFormula(cfg.sample_gradient_estimation_cfg, needs_unguided=True),
    }
)
"""Sampler -> its formula."""

ADAPTIVE_FORMULAS: Mapping[str, SamplerFormula] = MappingProxyType(
    {"DPM adaptive": SamplerFormula(k.sample_dpm_adaptive)}
)
"""Samplers that choose their own steps by what the model answers: all images of a batch take the same ones."""

DISTILLED_FORMULAS: Mapping[str, SamplerFormula] = MappingProxyType({"LCM": SamplerFormula(comfyui.sample_lcm)})
"""Samplers for checkpoints that were distilled at some of the timesteps alone."""

TIMESTEP_FORMULAS: Mapping[str, SamplerFormula] = MappingProxyType(
    {
        "DDIM": SamplerFormula(k.sample_euler),
        "DDIM CFG++": SamplerFormula(cfg.sample_euler_cfg, needs_unguided=True, scale_share=1 / 12.5),
        "PLMS": SamplerFormula(k.sample_plms, resume=k.resume_plms),
        "UniPC": SamplerFormula(sample_unipc, to_last=True),
    }
)
"""Samplers that AUTOMATIC1111 runs over timesteps of their own, whatever the schedule, from unit noise and to latents
of unit spread. It multiplies the scale of CFG++ by its share: 12.5 there is 1."""

UNGUIDED_SAMPLERS = tuple(name for name, row in {**FORMULAS, **TIMESTEP_FORMULAS}.items() if row.needs_unguided)
"""Samplers that read the prediction without the prompt (CFG++)."""


def get_formula(sampler: str, *, over_timesteps: bool = False) -> SamplerFormula:
    """The formula of a sampler, `over_timesteps` that of AUTOMATIC1111's own steps.

    Raises:
        KeyError: a sampler that has none.
    """
    if over_timesteps:
        return TIMESTEP_FORMULAS[sampler]
    return {**FORMULAS, **ADAPTIVE_FORMULAS, **DISTILLED_FORMULAS}[sampler]
