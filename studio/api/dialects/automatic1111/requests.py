"""From the bodies of txt2img and img2img to the studio's request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image

from studio.api.dialects.automatic1111 import images, names, options
from studio.api.dialects.automatic1111.adetailer import ADETAILER_SCRIPT, ADetailerUse, read_adetailer
from studio.api.dialects.automatic1111.bodies import Img2ImgBody, Txt2ImgBody
from studio.api.dialects.automatic1111.control_units import BuiltUnit, build_control_units
from studio.api.dialects.automatic1111.errors import InitImageMissing, ScriptNotFound
from studio.api.dialects.automatic1111.regional_prompter import REGIONS_SCRIPT, read_regional_prompter
from studio.api.dialects.fit_request import fit_to_model, measure_source
from studio.core.errors import InvalidRequest
from studio.core.field_spec import RANDOM_SEED, FieldSpec
from studio.core.fields import INPAINT_FIELDS, REQUEST_FIELDS
from studio.core.finish import FaceRestoration, OutputOptions
from studio.core.infotext import parse_infotext
from studio.core.lora_tags import split_tags
from studio.core.model import Model
from studio.core.model_ids import RESTORER_PREFIX
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_choices import MaskedContent, NoiseSource, Resize
from studio.core.request_parts import Hires, Inpaint
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio
from studio.prompting.comments import strip_request_comments
from studio.prompting.styles import apply_styles, load_styles

# Always-on scripts of AUTOMATIC1111 itself, which have no counterpart here and are passed over.
_BUILT_IN_SCRIPTS = frozenset(
    {"api payload", "comments", "extra options", "hypertile", "refiner", "sampler", "seed", "soft inpainting"}
)
_CONTROL_SCRIPT = "controlnet"
_RESIZES = (Resize.STRETCH, Resize.CROP, Resize.FILL, Resize.LATENT)
_FILLS = (MaskedContent.FILL, MaskedContent.ORIGINAL, MaskedContent.NOISE, MaskedContent.NOTHING)
_RESTORERS = {"gfpgan": "GFPGANv1.4", "codeformer": "codeformer"}
Body = Txt2ImgBody | Img2ImgBody


@dataclass(frozen=True, kw_only=True)
class BuiltRequest:
    """A request and what its caller should know. `body` is the caller's, with what an infotext filled in; `units` are
    those of the ControlNet extension."""

    request: GenerationRequest
    body: Body
    units: tuple[BuiltUnit, ...] = ()
    notes: tuple[str, ...] = ()


class RequestBuilder:
    """Builds the requests of one caller. Decodes images: call it in a thread."""

    def __init__(self, studio: Studio, user: User, user_options: Mapping[str, Any]) -> None:
        self._studio = studio
        self._user = user
        self._options = dict(user_options)
        self._notes: list[str] = []
        self._units: tuple[BuiltUnit, ...] = ()
        self._adetailer = ADetailerUse()
        self._region_arguments: Any = []

    @property
    def _settings(self) -> Settings:
        return self._studio.settings.current

    def build_txt2img(self, body: Txt2ImgBody) -> BuiltRequest:
        """The request of POST txt2img.

        Raises:
            StudioError: a sampler, script, checkpoint or image that is none, with AUTOMATIC1111's status.
        """
        body = fill_from_infotext(body)
        request = self._build_common(body, Task.TXT2IMG).replace(strength=None)
        if body.enable_hr:
            request = _add_hires(request, body, self._list_models())
            request = _merge_tokens_in_hires(request, self._choose_options(body))
        return self._finish(request, body)

    def build_img2img(self, body: Img2ImgBody) -> BuiltRequest:
        """The request of POST img2img; raises as `build_txt2img`, and InitImageMissing."""
        body = fill_from_infotext(body)
        if not body.init_images:
            raise InitImageMissing(
                "Init image not found", details={"kind": "HTTPException", "detail": "Init image not found"}
            )
        files = [images.read_image_bytes(text, self._settings) for text in body.init_images]
        sources = images.open_files(files, self._settings)
        mask = images.read_image(body.mask, self._settings) if body.mask else None
        mode = body.resize_mode or 0
        request = self._build_common(body, Task.IMG2IMG).replace(
            strength=0.75 if body.denoising_strength is None else body.denoising_strength,
            resize=_RESIZES[mode] if 0 <= mode < len(_RESIZES) else Resize.STRETCH,
        )
        if mask is not None:
            request, sources = self._add_mask(request, body, sources, mask)
        kept = [
            self._studio.engine.keep_version(source, data, self._user).hash
            for source, data in zip(sources, files, strict=True)
        ]
        request = request.replace(
            source=kept[0] if len(kept) == 1 else None, batch=() if len(kept) == 1 else tuple(kept)
        )
        if len(kept) > 1:
            request = request.replace(count=body.n_iter or 1)
        return self._finish(request, body)

    def _build_common(self, body: Body, task: Task) -> GenerationRequest:
        overrides = body.override_settings or {}
        chosen = self._choose_options(body)
        models = self._list_models()
        sampler, schedule = self._read_sampler(body, models)
        known = load_styles()
        applied = [name for name in body.styles or [] if name in known]
        prompt, negative = apply_styles(body.prompt or "", body.negative_prompt or "", applied, known)
        if body.disable_extra_networks:
            prompt = split_tags(prompt)[0].strip()
        size = (body.width or 512), (body.height or 512)
        seed, subseed = _read_seed(body.seed), _read_seed(body.subseed)
        batch_size, iterations = body.batch_size or 1, body.n_iter or 1
        return GenerationRequest(
            task=task,
            model=self._read_checkpoint(body, overrides, models),
            prompt=prompt,
            negative_prompt=negative,
            width=size[0],
            height=size[1],
            count=batch_size * iterations,
            batch_size=batch_size,
            seed=seed,
            variation_seed=subseed if body.subseed_strength else None,
            variation_strength=body.subseed_strength or 0.0,
            **_read_noise(body, chosen),
            steps=body.steps or 50,
            guidance=7.0 if body.cfg_scale is None else body.cfg_scale,
            sampler=sampler,
            schedule=None if schedule == "Automatic" else schedule,
            clip_skip=self._read_clip_skip(chosen),
            vae=self._read_vae(chosen),
            tiling=bool(body.tiling),
            token_merging_ratio=_read_token_merging(chosen, task),
            **self._read_refiner(body),
            control=tuple(one.unit for one in self._read_scripts(body)),
            then=self._build_face_step(body, chosen),
            file=_read_file_format(chosen),
        )

    def _choose_options(self, body: Body) -> dict[str, Any]:
        """The caller's options with what the body puts in their place."""
        overrides = body.override_settings or {}
        return {**self._options, **{name: value for name, value in overrides.items() if value is not None}}

    def _list_models(self) -> Sequence[Model]:
        return self._studio.engine.models()

    def _read_sampler(self, body: Body, models: Sequence[Model]) -> tuple[str | None, str]:
        name = body.sampler_name or body.sampler_index
        if not name:
            return None, names.parse_schedule(body.scheduler, models)
        sampler, schedule = names.parse_sampler(name, body.scheduler, names.list_checkpoints(models))
        return sampler or None, schedule

    def _read_checkpoint(self, body: Body, overrides: Mapping[str, Any], models: Sequence[Model]) -> str:
        """The id of the model: of the request, else of the user's options, else the default. A name that is not known
        is passed over, as there."""
        weights = self._studio.store.weights()
        wanted = getattr(body, "model", None), overrides.get(options.CHECKPOINT), self._options.get(options.CHECKPOINT)
        for name in filter(None, wanted):
            found = names.find_checkpoint(str(name), models, weights)
            if found is not None:
                return found
            self._notes.append(f"The checkpoint {str(name)[:100]} was not found; the default is used.")
        return ""

    def _read_refiner(self, body: Body) -> dict[str, Any]:
        """The refiner of the body's own fields, else of the script: on, checkpoint, switch."""
        name, switch = body.refiner_checkpoint, body.refiner_switch_at
        script = next((one for key, one in body.alwayson_scripts.items() if key.strip().lower() == "refiner"), None)
        if not name and isinstance(script, dict):
            given = cast("dict[str, Any]", script).get("args")
            arguments = cast("list[Any]", given) if isinstance(given, list) else []
            if len(arguments) >= 3 and arguments[0] is True:
                name, switch = str(arguments[1]), arguments[2] if isinstance(arguments[2], int | float) else None
        if not name or name == "None":
            return {}
        found = names.find_checkpoint(name, self._list_models(), self._studio.store.weights())
        if found is None:
            self._notes.append(f"The refiner {name[:100]} was not found; the image was not refined.")
            return {}
        return {"refiner": found, "refiner_switch": 0.8 if switch is None else float(switch)}

    def _read_clip_skip(self, chosen: Mapping[str, Any]) -> int | None:
        value = chosen.get(options.CLIP_SKIP)
        return value if isinstance(value, int) and value > 1 else None

    def _read_vae(self, chosen: Mapping[str, Any]) -> str | None:
        value = chosen.get(options.VAE)
        if not isinstance(value, str) or value in ("", "Automatic", "None"):
            return None
        known = {weight.name: weight for weight in self._studio.store.weights() if weight.kind == "VAE"}
        found = next((name for name, weight in known.items() if value in (name, weight.path.name)), None)
        if found is None:
            self._notes.append(f"The VAE {value[:100]} was not found; the model's own is used.")
        return found

    def _read_scripts(self, body: Body) -> tuple[BuiltUnit, ...]:
        for name, content in body.alwayson_scripts.items():
            lowered = name.strip().lower()
            given = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
            if lowered == _CONTROL_SCRIPT:
                self._units = build_control_units(given.get("args", []), self._studio, self._user)
            elif lowered == REGIONS_SCRIPT:
                self._region_arguments = given.get("args", [])
            elif lowered == ADETAILER_SCRIPT:
                self._adetailer = read_adetailer(given.get("args", []), self._list_models())
            elif lowered not in _BUILT_IN_SCRIPTS:
                detail = f"always on script {name[:100]} not found"
                raise ScriptNotFound(detail, details={"kind": "HTTPException", "detail": detail})
        return self._units

    def _build_face_step(self, body: Body, chosen: Mapping[str, Any]) -> tuple[GenerationRequest, ...]:
        if not body.restore_faces:
            return ()
        wanted = _RESTORERS.get(str(chosen.get(options.FACE_MODEL, "")).lower(), "codeformer")
        usable = [model.id for model in self._studio.engine.models(Task.RESTORE_FACES) if not model.problem]
        found = next((one for one in (RESTORER_PREFIX + wanted, *usable) if one in usable), None)
        if found is None:
            self._notes.append("Faces were not restored: no face restorer is installed.")
            return ()
        weight = chosen.get("code_former_weight")
        fidelity = float(weight) if isinstance(weight, int | float) else 0.5
        return (GenerationRequest(task=Task.RESTORE_FACES, model=found, faces=FaceRestoration(fidelity=fidelity)),)

    def _add_mask(
        self, request: GenerationRequest, body: Img2ImgBody, sources: list[Image.Image], mask: Image.Image
    ) -> tuple[GenerationRequest, list[Image.Image]]:
        """The request with its mask, and the sources: in the wanted size where the whole of them is redrawn. A mask
        with nothing in it is left out, as there."""
        mode = body.resize_mode or 0
        if not body.inpaint_full_res and request.width and request.height:
            images.check_pixels(request.width * request.height * len(sources), self._settings)
            sources = [images.resize_image(source, (request.width, request.height), mode) for source in sources]
        fitted = images.prepare_mask(mask, sources[0].size, mode)
        invert = bool(body.inpainting_mask_invert)
        low, high = fitted.getextrema()
        if (low == 255) if invert else (high == 0):
            self._notes.append("The mask is empty; the whole image was redrawn.")
            return request, sources
        if any(source.size != sources[0].size for source in sources):
            images.check_pixels(sources[0].width * sources[0].height * len(sources), self._settings)
            sources = [images.resize_image(source, sources[0].size, mode) for source in sources]
        blur = body.mask_blur
        if blur is None:
            blur = max(body.mask_blur_x or 0, body.mask_blur_y or 0)
        fill = body.inpainting_fill or 0
        inpaint = Inpaint(
            mask_blur=blur,
            fill=_FILLS[fill] if 0 <= fill < len(_FILLS) else MaskedContent.ORIGINAL,
            only_masked=bool(body.inpaint_full_res),
            padding=body.inpaint_full_res_padding or 0,
            invert=invert,
        )
        kept = self._studio.engine.keep_image(fitted, self._user)
        return request.replace(task=Task.INPAINT, mask=kept.hash, inpaint=inpaint), sources

    def _finish(self, request: GenerationRequest, body: Body) -> BuiltRequest:
        model = self._studio.engine.model(request.model, request.task)
        request = self._add_detailers(request, body)
        request = request.replace(**read_regional_prompter(self._region_arguments, request.prompt, self._keep_image))
        if self._choose_options(body).get("enable_prompt_comments"):
            request = strip_request_comments(request)
        made_here = _read_image_made_here(body) if request.task is Task.TXT2IMG else None
        if made_here is not None:
            own = {name: getattr(made_here, name) for name in ("compose", "scenery", "enlarge", "enlarged_size")}
            request = request.replace(**own)
        request = request.replace(model=model.id)
        source = measure_source(request, self._studio.engine, self._user)
        fitted, notes = fit_to_model(request, model, source=source, is_own=made_here is not None)
        notes = (*self._notes, *self._adetailer.notes, *notes)
        return BuiltRequest(request=fitted, body=body, units=self._units, notes=notes)

    def _keep_image(self, text: str) -> tuple[str, Image.Image]:
        data = images.read_image_bytes(text, self._settings)
        kept = self._studio.engine.keep_image(data, self._user)
        return kept.hash, images.open_file(data, self._settings)

    def _add_detailers(self, request: GenerationRequest, body: Body) -> GenerationRequest:
        """The request with what ADetailer is asked for, else with what the infotext says; of an image it may be asked
        to leave the rest as it is."""
        detailers = self._adetailer.detailers
        if not detailers and body.infotext and ADETAILER_SCRIPT not in map(str.lower, body.alwayson_scripts):
            detailers = parse_infotext(body.infotext).request.detailers
        if detailers and self._adetailer.skips_image and request.task is Task.IMG2IMG:
            return request.replace(detailers=detailers, task=Task.DETAIL, strength=None, resize=Resize.CROP, control=())
        return request.replace(detailers=detailers)


def _read_noise(body: Body, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The noise fields. 0 and -1 as a size to resize from mean none."""
    width, height = body.seed_resize_from_w or 0, body.seed_resize_from_h or 0
    delta = chosen.get("eta_noise_seed_delta")
    return {
        "noise_source": NoiseSource.CPU if chosen.get("randn_source") == "CPU" else NoiseSource.NV,
        "noise_seed_delta": delta if isinstance(delta, int) else 0,
        "seed_resize": f"{width}x{height}" if width > 0 and height > 0 else "",
    }


def _read_seed(value: int | None) -> int | None:
    if value is None or value <= RANDOM_SEED:
        return None
    return value % (MAX_SEED + 1)


def _read_file_format(chosen: Mapping[str, Any]) -> OutputOptions:
    kind = str(chosen.get(options.FORMAT, "png")).lower().replace("jpg", "jpeg")
    return OutputOptions(format=kind if kind in ("png", "jpeg", "webp", "avif") else "png")


def _add_hires(request: GenerationRequest, body: Txt2ImgBody, models: Sequence[Model]) -> GenerationRequest:
    """The second pass. The old way of asking for it gives the size of the first pass beside that of the result."""
    width, height = body.hr_resize_x or 0, body.hr_resize_y or 0
    if body.firstphase_width or body.firstphase_height:
        width, height = request.width or 512, request.height or 512
        request = request.replace(
            width=(body.firstphase_width or width) // 8 * 8, height=(body.firstphase_height or height) // 8 * 8
        )
    if bool(width) != bool(height) and request.width and request.height:
        ratio = request.width / request.height
        width, height = (width or round(height * ratio)), (height or round(width / ratio))
    upscaler = body.hr_upscaler or names.LATENT_MODES[0]
    if upscaler not in names.LATENT_MODES:
        found = names.find_upscaler(upscaler, models)
        if found is None and upscaler != names.NONE:
            text = f"could not find upscaler named {upscaler[:100]}"
            raise InvalidRequest(text, hint="GET /sdapi/v1/upscalers lists them.", details={"kind": "Exception"})
        upscaler = found or "Lanczos"
    sampler, schedule = None, None
    if body.hr_sampler_name and body.hr_sampler_name != "Use same sampler":
        sampler, schedule = names.parse_sampler(body.hr_sampler_name, body.hr_scheduler, models)
    elif body.hr_scheduler and body.hr_scheduler != "Use same scheduler":
        schedule = names.parse_schedule(body.hr_scheduler, models)
    return request.replace(
        hires=Hires(
            upscaler=upscaler,
            scale=body.hr_scale or 2.0,
            width=width // 8 * 8 or None,
            height=height // 8 * 8 or None,
            steps=body.hr_second_pass_steps or None,
            strength=0.75 if body.denoising_strength is None else body.denoising_strength,
            guidance=body.hr_cfg or None,
            prompt=body.hr_prompt or "",
            negative_prompt=body.hr_negative_prompt or "",
            sampler=sampler,
            schedule=None if schedule == "Automatic" else schedule,
            model=_read_hires_model(body, models),
        )
    )


def _read_token_merging(chosen: Mapping[str, Any], task: Task) -> float:
    """The option for image to image wins there, where it is not 0."""
    own = chosen.get("token_merging_ratio_img2img") if task is Task.IMG2IMG else 0
    ratio = own or chosen.get("token_merging_ratio")
    return float(ratio) if isinstance(ratio, int | float) else 0.0


def _merge_tokens_in_hires(request: GenerationRequest, chosen: Mapping[str, Any]) -> GenerationRequest:
    ratio = chosen.get("token_merging_ratio_hr")
    if request.hires is None or not isinstance(ratio, int | float) or not ratio:
        return request
    return request.replace(hires=dataclasses.replace(request.hires, token_merging_ratio=float(ratio)))


def _read_hires_model(body: Txt2ImgBody, models: Sequence[Model]) -> str | None:
    name = body.hr_checkpoint_name
    if not name or name == "Use same checkpoint":
        return None
    return names.find_checkpoint(name, models, ())


def fill_from_infotext(body: Any) -> Any:
    """`body` with the fields that it leaves out taken from its `infotext`, where it has one."""
    if not body.infotext:
        return body
    found = parse_infotext(body.infotext).request
    values: dict[str, Any] = {}
    for spec in (*REQUEST_FIELDS, *INPAINT_FIELDS):
        value = getattr(found, spec.name, None)
        if _is_fillable(spec, body) and spec.is_set(value):
            values[spec.a1111] = value
    if found.hires is not None and "enable_hr" not in body.model_fields_set and hasattr(body, "enable_hr"):
        values |= {"enable_hr": True, **_read_hires_values(found.hires, body)}
    return body.model_copy(update=values)


def _read_image_made_here(body: Any) -> GenerationRequest | None:
    """What the `infotext` of an image of this studio says; None for other texts, and where the size is another."""
    if not body.infotext:
        return None
    found = parse_infotext(body.infotext)
    is_own = found.unknown.get("Version", "").startswith("Easel ")
    same_size = (found.request.width, found.request.height) == (body.width, body.height)
    return found.request if is_own and same_size else None


def _is_fillable(spec: FieldSpec, body: Any) -> bool:
    fields: dict[str, Any] = body.__class__.model_fields
    known = spec.a1111 in fields and spec.name not in ("count", "batch_size")
    given = body.model_fields_set
    return bool(spec.a1111) and known and spec.a1111 not in given


def _read_hires_values(hires: Hires, body: Any) -> dict[str, Any]:
    values = {spec.a1111: getattr(hires, spec.name) for spec in Hires.FIELDS if spec.a1111}
    given = body.model_fields_set
    return {name: value for name, value in values.items() if value not in (None, "") and name not in given}
