"""AUTOMATIC1111's options, each user's own. There they are one for everybody, and one caller would change what another
does."""

from __future__ import annotations

import json
import logging
import threading
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
        "enable_prompt_comments": True,
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
        "grid_zip_filename_pattern": "",
        "font": "",
        "save_images_before_face_restoration": False,
        "save_images_before_highres_fix": False,
        "save_images_before_color_correction": False,
        "save_mask": False,
        "save_mask_composite": False,
        "use_upscaler_name_as_suffix": False,
        "save_selected_only": True,
        "temp_dir": "",
        "clean_temp_dir_at_start": False,
        "save_incomplete_images": False,
        "outdir_init_images": "outputs/init-images",
        "use_save_to_dirs_for_ui": False,
        "directories_filename_pattern": "[date]",
        "directories_max_prompt_words": 8,
        "auto_launch_browser": "Local",
        "show_warnings": False,
        "show_gradio_deprecation_warnings": True,
        "samples_log_stdout": False,
        "multiple_tqdm": True,
        "print_hypernet_extra": False,
        "list_hidden_files": True,
        "disable_mmap_load_safetensors": False,
        "hide_ldm_prints": True,
        "unload_models_when_training": False,
        "pin_memory": False,
        "save_optimizer_state": False,
        "save_training_settings_to_txt": True,
        "dataset_filename_word_regex": "",
        "dataset_filename_join_string": " ",
        "training_image_repeats_per_epoch": 1,
        "training_write_csv_every": 500,
        "training_xattention_optimizations": False,
        "training_enable_tensorboard": False,
        "training_tensorboard_save_images": False,
        "training_tensorboard_flush_every": 120,
        "sd_checkpoints_keep_in_cpu": True,
        "sdxl_crop_top": 0,
        "sdxl_crop_left": 0,
        "sdxl_refiner_low_aesthetic_score": 2.5,
        "sdxl_refiner_high_aesthetic_score": 6.0,
        "auto_vae_precision": True,
        "sd_vae_encode_method": "Full",
        "sd_vae_decode_method": "Full",
        "img2img_editor_height": 720,
        "img2img_sketch_default_brush_color": "#ffffff",
        "img2img_inpaint_mask_brush_color": "#ffffff",
        "img2img_inpaint_sketch_default_brush_color": "#ffffff",
        "cross_attention_optimization": "Automatic",
        "pad_cond_uncond": False,
        "persistent_cond_cache": True,
        "batch_cond_uncond": True,
        "use_old_emphasis_implementation": False,
        "use_old_karras_scheduler_sigmas": False,
        "no_dpmpp_sde_batch_determinism": False,
        "use_old_hires_fix_width_height": False,
        "hires_fix_use_firstpass_conds": False,
        "use_old_scheduling": False,
        "interrogate_keep_models_in_memory": False,
        "interrogate_return_ranks": False,
        "interrogate_clip_num_beams": 1,
        "interrogate_clip_min_length": 24,
        "interrogate_clip_max_length": 48,
        "interrogate_clip_dict_limit": 1500.0,
        "interrogate_clip_skip_categories": [],
        "interrogate_deepbooru_score_threshold": 0.5,
        "deepbooru_sort_alpha": True,
        "deepbooru_use_spaces": True,
        "deepbooru_escape": True,
        "deepbooru_filter_tags": "",
        "extra_networks_show_hidden_directories": True,
        "extra_networks_hidden_models": "When searched",
        "extra_networks_card_width": 0,
        "extra_networks_card_height": 0,
        "extra_networks_card_text_scale": 1.0,
        "extra_networks_card_show_desc": True,
        "extra_networks_add_text_separator": " ",
        "ui_extra_networks_tab_reorder": "",
        "textual_inversion_print_at_load": False,
        "textual_inversion_add_hashes_to_infotext": True,
        "localization": "None",
        "gradio_theme": "Default",
        "gradio_themes_cache": True,
        "gallery_height": "",
        "do_not_show_images": False,
        "js_modal_lightbox": True,
        "js_modal_lightbox_initially_zoomed": True,
        "js_modal_lightbox_gamepad": False,
        "js_modal_lightbox_gamepad_repeat": 250,
        "show_progress_in_title": True,
        "samplers_in_dropdown": True,
        "dimensions_and_batch_together": True,
        "keyedit_precision_attention": 0.1,
        "keyedit_precision_extra": 0.05,
        "keyedit_delimiters": ".,\\/!?%^*;:{}=`~() ",
        "keyedit_move": True,
        "quicksettings_list": ["sd_model_checkpoint"],
        "ui_tab_order": [],
        "hidden_tabs": [],
        "ui_reorder_list": [],
        "hires_fix_show_sampler": False,
        "hires_fix_show_prompts": False,
        "disable_token_counters": False,
        "infotext_styles": "Apply if any",
        "live_preview_allow_lowvram_full": False,
        "live_preview_fast_interrupt": False,
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
