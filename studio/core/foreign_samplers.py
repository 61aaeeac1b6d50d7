"""Samplers and schedules by the names that other programs have for them."""

from __future__ import annotations

from typing import Any

COMFYUI_SAMPLERS = {  # by the names of ComfyUI, which Fooocus and SwarmUI have too
    "euler": "Euler",
    "euler_cfg_pp": "Euler CFG++",
    "euler_ancestral": "Euler a",
    "euler_ancestral_cfg_pp": "Euler a CFG++",
    "heun": "Heun",
    "heunpp2": "HeunPP2",
    "lms": "LMS",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2s_ancestral_cfg_pp": "DPM++ 2S a CFG++",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_cfg_pp": "DPM++ 2M CFG++",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "ddim": "Euler",  # which these two are there, over any schedule
    "ddpm": "Euler a",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC bh2",
    "ipndm": "IPNDM",
    "ipndm_v": "IPNDM_V",
    "res_multistep": "RES multistep",
    "res_multistep_cfg_pp": "RES multistep CFG++",
    "res_multistep_ancestral": "RES multistep a",
    "res_multistep_ancestral_cfg_pp": "RES multistep a CFG++",
    "gradient_estimation": "Gradient estimation",
    "gradient_estimation_cfg_pp": "Gradient estimation CFG++",
    "er_sde": "ER SDE",
    "seeds_2": "SEEDS-2",
    "seeds_3": "SEEDS-3",
    "exp_heun_2_x0": "Exp Heun 2 x0",
    "exp_heun_2_x0_sde": "Exp Heun 2 x0 SDE",
    "deis": "DEIS",
    "sa_solver": "SA-Solver",
    "lcm": "LCM",
}
SAMPLERS = {  # by the names of InvokeAI, NovelAI, Easy Diffusion, SD.Next and others too, without "k_"
    **COMFYUI_SAMPLERS,
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "euler_a": "Euler a",
    "euler a": "Euler a",
    "euler ancestral": "Euler a",
    "euler flowmatch": "Euler",
    "euler edm": "Euler",
    "dpm2": "DPM2",
    "dpm2_a": "DPM2 a",
    "dpm2 a": "DPM2 a",
    "kdpm2": "DPM2",
    "kdpm2 a": "DPM2 a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpmpp2m": "DPM++ 2M",
    "dpm++2m": "DPM++ 2M",
    "dpm++ 2m edm": "DPM++ 2M",
    "dpm sde": "DPM++ SDE",
    "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_2s_a": "DPM++ 2S a",
    "dpm++2s_a": "DPM++ 2S a",
    "ddim_v3": "DDIM",
    "ddim_cfgpp": "DDIM CFG++",
    "ddim cfg++": "DDIM CFG++",
    "unipc": "UniPC",
    "unipc_tu": "UniPC",
    "unipc_snr": "UniPC",
    "ddim_trailing": "DDIM",
    "sa solver": "SA-Solver",
    "tcd": "TCD",
    "pndm": "PLMS",
    "plms": "PLMS",
}
COMFYUI_SCHEDULES = {
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "beta": "Beta",
    "normal": "Normal",
    "ddim_uniform": "DDIM",
    "kl_optimal": "KL Optimal",
    "linear_quadratic": "Linear Quadratic",
    "bong_tangent": "Bong Tangent",
}
SCHEDULES = {
    **COMFYUI_SCHEDULES,
    "polyexponential": "Polyexponential",
    "align_your_steps": "Align Your Steps",
    "turbo": "Turbo",
    "discrete": "Normal",
    "ays": "Align Your Steps",
    "gits": "Align Your Steps GITS",
}
_OURS = {name.lower(): name for name in dict.fromkeys(SAMPLERS.values())}
_SUFFIXES = {  # a schedule behind a sampler's name, after a space or an underline
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm uniform": "SGM Uniform",
    "sgm_uniform": "SGM Uniform",
    "ays": "Align Your Steps",
    "simple": "Simple",
    "beta": "Beta",
    "normal": "Normal",
    "discrete": "Normal",
}
_MAX_LENGTH = 300  # characters of a name


def name_sampling(sampler: Any, schedule: Any = None) -> dict[str, str]:
    """What an infotext says of a sampler and a schedule that another program calls so, as "Sampler" and "Schedule
    type". A sampler that we do not have keeps its foreign name; a name of ours, in capitals or not, means itself."""
    name = str(sampler or "")[:_MAX_LENGTH].strip().lower()
    kind = SCHEDULES.get(str(schedule or "").strip().lower(), "")
    plain = name.removeprefix("k_")
    if plain not in SAMPLERS and plain not in _OURS:
        plain, behind = _split_schedule(plain)
        kind = kind or behind
    is_comfyui = str(sampler) in COMFYUI_SAMPLERS and str(schedule) in COMFYUI_SCHEDULES
    known = COMFYUI_SAMPLERS if is_comfyui else SAMPLERS
    found = known.get(plain) or _OURS.get(plain) or name
    return {**({"Sampler": found} if found else {}), **({"Schedule type": kind} if kind else {})}


def _split_schedule(name: str) -> tuple[str, str]:
    """The sampler without the schedule in its name, and the schedule; InvokeAI says Karras with "_k"."""
    if name.endswith("_k"):
        return name.removesuffix("_k"), "Karras"
    for suffix, schedule in _SUFFIXES.items():
        for divider in (" ", "_"):
            plain = name.removesuffix(divider + suffix)
            if plain != name and (plain in SAMPLERS or plain in _OURS):
                return plain, schedule
    return name, ""
