"""The bodies of AUTOMATIC1111's routes: names and defaults are its own, unknown fields are passed over."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from studio.core.field_spec import RANDOM_SEED

MAX_DETECT_IMAGES = 16  # of one request for control maps
MAX_INIT_IMAGES = 500


class LenientModel(BaseModel):
    """A body of which unknown fields are passed over, as clients send their own."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())


class _GenerationBody(LenientModel):
    prompt: str | None = ""
    negative_prompt: str | None = ""
    styles: list[str] | None = None
    seed: int | None = RANDOM_SEED
    subseed: int | None = RANDOM_SEED
    subseed_strength: float | None = 0
    seed_resize_from_h: int | None = -1
    seed_resize_from_w: int | None = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int | None = Field(default=1, ge=1)
    n_iter: int | None = Field(default=1, ge=1)
    steps: int | None = Field(default=50, ge=1)
    cfg_scale: float | None = 7.0
    width: int | None = Field(default=512, ge=8)
    height: int | None = Field(default=512, ge=8)
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool | None = False
    do_not_save_grid: bool | None = False
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool | None = False
    firstpass_image: str | None = None
    comments: dict[str, Any] | None = None
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    force_task_id: str | None = None
    infotext: str | None = None


class Txt2ImgBody(_GenerationBody):
    """POST txt2img."""

    enable_hr: bool | None = False
    firstphase_width: int | None = 0
    firstphase_height: int | None = 0
    hr_scale: float | None = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int | None = 0
    hr_resize_x: int | None = 0
    hr_resize_y: int | None = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = ""
    hr_negative_prompt: str | None = ""
    hr_cfg: float | None = None
    sampler_index: str | None = "Euler"
    model: str | None = Field(default=None, exclude=True)  # SillyTavern's stable-diffusion.cpp mode names it here


class Img2ImgBody(_GenerationBody):
    """POST img2img."""

    init_images: list[str] | None = Field(default=None, max_length=MAX_INIT_IMAGES)
    resize_mode: int | None = 0
    denoising_strength: float | None = 0.75
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur_x: int | None = 4
    mask_blur_y: int | None = 4
    mask_blur: int | None = None
    mask_round: bool | None = True
    inpainting_fill: int | None = 0
    inpaint_full_res: bool | None = True
    inpaint_full_res_padding: int | None = 0
    inpainting_mask_invert: int | None = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    sampler_index: str | None = "Euler"
    include_init_images: bool = Field(default=False, exclude=True)


class ExtrasFields(LenientModel):
    """What both routes of the extras tab take."""

    resize_mode: int = Field(default=0, ge=0, le=1)
    show_extras_results: bool = True
    gfpgan_visibility: float = Field(default=0, ge=0, le=1)
    codeformer_visibility: float = Field(default=0, ge=0, le=1)
    codeformer_weight: float = Field(default=0, ge=0, le=1)
    upscaling_resize: float = Field(default=2, gt=0)
    upscaling_resize_w: int = Field(default=512, ge=1)
    upscaling_resize_h: int = Field(default=512, ge=1)
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = Field(default=0, ge=0, le=1)
    upscale_first: bool = False


class ExtrasSingleBody(ExtrasFields):
    """POST extra-single-image."""

    image: str = ""


class ImageFile(LenientModel):
    """One file of a batch."""

    data: str
    name: str = ""


class ExtrasBatchBody(ExtrasFields):
    """POST extra-batch-images."""

    imageList: list[ImageFile] = Field(max_length=500)  # noqa: N815 - its name on the wire


class PngInfoBody(LenientModel):
    """POST png-info."""

    image: str


class InterrogateBody(LenientModel):
    """POST interrogate."""

    image: str = ""
    model: str = "clip"


class ProgressBody(LenientModel):
    """POST /internal/progress."""

    id_task: str | None = None
    id_live_preview: int | None = -1
    live_preview: bool | None = True


class DetectBody(LenientModel):
    """POST /controlnet/detect."""

    controlnet_module: str = "none"
    controlnet_input_images: list[str] = Field(default_factory=list, max_length=MAX_DETECT_IMAGES)
    controlnet_images: list[str] = Field(default_factory=list, max_length=MAX_DETECT_IMAGES)  # as webuiapi calls them
    controlnet_processor_res: int = 512
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    controlnet_masks: list[str] = []
    low_vram: bool = False
