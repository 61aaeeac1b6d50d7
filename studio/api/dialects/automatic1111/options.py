"""AUTOMATIC1111's options, each user's own, and the jobs that each user has submitted through this API. There both are
one for everybody, and one caller would stop and change what another does."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest

CHECKPOINT = "sd_model_checkpoint"
VAE = "sd_vae"
CLIP_SKIP = "CLIP_stop_at_last_layers"
FACE_MODEL = "face_restoration_model"
FORMAT = "samples_format"
_MAX_CHARS = 20_000  # of one user's options as JSON
_MAX_USERS = 1000
_KEPT_JOBS = 100  # jobs of one user that are remembered

# The options that clients read, with the defaults of 1.10.1; what the studio has of its own is filled in.
DEFAULT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "samples_save": True,
        "samples_format": "png",
        "samples_filename_pattern": "",
        "save_images_add_number": True,
        "grid_save": True,
        "grid_format": "png",
        "grid_extended_filename": False,
        "grid_only_if_multiple": True,
        "grid_prevent_empty_spots": False,
        "grid_text_active_color": "#000000",
        "grid_text_inactive_color": "#999999",
        "grid_background_color": "#ffffff",
        "n_rows": -1,
        "return_grid": True,
        "return_mask": False,
        "return_mask_composite": False,
        "enable_pnginfo": True,
        "save_txt": False,
        "jpeg_quality": 80,
        "webp_lossless": False,
        "export_for_4chan": True,
        "img_downscale_threshold": 4.0,
        "target_side_length": 4000.0,
        "img_max_size_mp": 200.0,
        "use_original_name_batch": True,
        "save_init_img": False,
        "outdir_samples": "",
        "outdir_txt2img_samples": "outputs/txt2img-images",
        "outdir_img2img_samples": "outputs/img2img-images",
        "outdir_extras_samples": "outputs/extras-images",
        "outdir_grids": "",
        "outdir_txt2img_grids": "outputs/txt2img-grids",
        "outdir_img2img_grids": "outputs/img2img-grids",
        "outdir_save": "log/images",
        "save_to_dirs": True,
        "grid_save_to_dirs": True,
        "ESRGAN_tile": 192,
        "ESRGAN_tile_overlap": 8,
        "realesrgan_enabled_models": ["R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B"],
        "upscaler_for_img2img": None,
        "face_restoration": False,
        "face_restoration_model": "CodeFormer",
        "code_former_weight": 0.5,
        "face_restoration_unload": False,
        "api_enable_requests": False,
        "api_forbid_local_requests": True,
        "api_useragent": "",
        "memmon_poll_rate": 8,
        "sd_model_checkpoint": None,
        "sd_checkpoint_hash": "",
        "sd_checkpoints_limit": 1,
        "sd_checkpoint_cache": 0,
        "sd_unet": "Automatic",
        "enable_quantization": False,
        "emphasis": "Original",
        "enable_emphasis": True,
        "enable_batch_seeds": True,
        "comma_padding_backtrack": 20,
        "CLIP_stop_at_last_layers": 1,
        "upcast_attn": False,
        "randn_source": "CPU",
        "tiling": False,
        "sd_vae": "Automatic",
        "sd_vae_checkpoint_cache": 0,
        "sd_vae_as_default": True,
        "sd_vae_overrides_per_model_preferences": True,
        "inpainting_mask_weight": 1.0,
        "initial_noise_multiplier": 1.0,
        "img2img_extra_noise": 0.0,
        "img2img_color_correction": False,
        "img2img_fix_steps": False,
        "img2img_background_color": "#ffffff",
        "s_min_uncond": 0.0,
        "token_merging_ratio": 0.0,
        "token_merging_ratio_img2img": 0.0,
        "token_merging_ratio_hr": 0.0,
        "sd_hypernetwork": "None",
        "sd_lora": "None",
        "lora_preferred_name": "Alias from file",
        "extra_networks_default_multiplier": 1.0,
        "show_progressbar": True,
        "live_previews_enable": True,
        "live_previews_image_format": "jpeg",
        "show_progress_grid": True,
        "show_progress_every_n_steps": 10,
        "show_progress_type": "Approx NN",
        "live_preview_content": "Prompt",
        "live_preview_refresh_period": 1000,
        "hide_samplers": [],
        "eta_ddim": 0.0,
        "eta_ancestral": 1.0,
        "ddim_discretize": "uniform",
        "s_churn": 0.0,
        "s_tmin": 0.0,
        "s_tmax": 0.0,
        "s_noise": 1.0,
        "sigma_min": 0.0,
        "sigma_max": 0.0,
        "rho": 0.0,
        "eta_noise_seed_delta": 0,
        "always_discard_next_to_last_sigma": False,
        "sgm_noise_multiplier": False,
        "uni_pc_variant": "bh1",
        "uni_pc_order": 3,
        "send_seed": True,
        "send_size": True,
        "add_model_hash_to_info": True,
        "add_model_name_to_info": True,
        "add_vae_name_to_info": True,
        "add_user_name_to_info": False,
        "add_version_to_infotext": True,
        "disable_weights_auto_swap": True,
        "disabled_extensions": [],
        "disable_all_extensions": "none",
        "restore_config_state_file": "",
    }
)

_log = logging.getLogger(__name__)


class UserOptions:
    """The options that users have changed, kept in one private file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._changed: dict[str, dict[str, Any]] | None = None

    def get(self, user: str) -> dict[str, Any]:
        """All options of `user`."""
        with self._lock:
            return {**DEFAULT_OPTIONS, **self._read().get(user, {})}

    def change(self, user: str, values: Mapping[str, Any]) -> None:
        """Set some of the user's options; names that AUTOMATIC1111 does not have are passed over.

        Raises:
            InvalidRequest: the values are too long. StorageFailed: the file cannot be written.
        """
        with self._lock:
            everybody = dict(self._read())
            own = {**everybody.get(user, {}), **{name: values[name] for name in values if name in DEFAULT_OPTIONS}}
            own = {name: value for name, value in own.items() if value != DEFAULT_OPTIONS[name]}
            if len(json.dumps(own)) > _MAX_CHARS or (user not in everybody and len(everybody) >= _MAX_USERS):
                raise InvalidRequest("The options are too long.", hint="Send only those that change.")
            if own != everybody.get(user, {}):
                self._write({**everybody, user: own})

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._changed is None:
            self._changed = _load_options(self._file)
        return self._changed

    def _write(self, everybody: dict[str, dict[str, Any]]) -> None:
        with translate_os_errors("the options"):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(self._file, json.dumps(everybody, indent=1).encode(), 0o600)
        self._changed = everybody


def _load_options(file: Path) -> dict[str, dict[str, Any]]:
    try:
        data: Any = json.loads(file.read_bytes())
        users = cast("dict[str, dict[str, Any]]", data)
        return {
            str(user): {name: value for name, value in options.items() if name in DEFAULT_OPTIONS}
            for user, options in users.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        _log.warning("%s cannot be read; the defaults are used", file.name)
        return {}


class UserJobs:
    """The ids of the jobs that each user submitted through an API, the newest last, with the task id that the caller
    gave. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, deque[tuple[str, str]]] = OrderedDict()

    def add(self, user: str, job_id: str, task_id: str = "") -> None:
        """Remember a job of `user`."""
        with self._lock:
            self._jobs.setdefault(user, deque(maxlen=_KEPT_JOBS)).append((job_id, task_id))
            self._jobs.move_to_end(user)
            while len(self._jobs) > _MAX_USERS:
                self._jobs.popitem(last=False)

    def list(self, user: str) -> list[tuple[str, str]]:
        """(job id, task id) of the user's jobs, the newest last."""
        with self._lock:
            return list(self._jobs.get(user, ()))
