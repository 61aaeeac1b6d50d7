"""From OpenAI's fields to the studio's request."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageChops

from studio.api.dialects.fit_request import fit_to_model
from studio.api.dialects.openai_images.fields import MAX_COUNT, MAX_PARTIALS, ImageFields, make_field_error
from studio.core.annotate import read_mask
from studio.core.errors import InvalidRequest, UnknownModel
from studio.core.feature import Feature
from studio.core.fields import MAX_PROMPT_CHARS
from studio.core.finish import OutputOptions
from studio.core.image_gate import ImageLimits, open_image
from studio.core.model import Model
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_parts import Reference
from studio.core.task import Task
from studio.core.user import User
from studio.engine.storage.inputs import KeptImage
from studio.engine.studio import Studio

VARIATION_STRENGTH = 0.6
EDIT_STRENGTH = 0.75
_FORMATS = ("png", "jpeg", "webp", "gif", "svg")
_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd")
_BACKGROUNDS = ("auto", "opaque", "transparent")
_FOREIGN_MODELS = ("dall-e", "gpt-image", "chatgpt-image")  # what OpenAI's own models are called


@dataclass(frozen=True, kw_only=True)
class ImageOrder:
    """A request, how its images are answered, and what the caller should know. `partials` is the number of previews
    that a stream sends for an image."""

    request: GenerationRequest
    model: Model
    output_format: str
    quality: str
    background: str
    as_url: bool
    stream: bool
    partials: int
    prompt: str
    notes: tuple[str, ...]


def build_generation(fields: ImageFields, studio: Studio) -> ImageOrder:
    """The order of POST /v1/images/generations.

    Raises:
        InvalidRequest: a field that is none, named in the details. UnknownModel: no such model.
    """
    if not _read_prompt(fields):
        raise make_field_error("prompt", "is missing")
    return _build_order(fields, studio, Task.TXT2IMG, GenerationRequest())


def build_edit(fields: ImageFields, studio: Studio, user: User) -> ImageOrder:
    """The order of POST /v1/images/edits: by instruction where the model can, else image to image; a mask makes it
    inpainting. Raises as `build_generation`, and BadImage."""
    if not _read_prompt(fields):
        raise make_field_error("prompt", "is missing")
    files = fields.files.get("image", [])
    if not files:
        raise make_field_error("image", "is missing")
    kept = [studio.engine.keep_image(data, user) for data in files]
    masks = fields.files.get("mask") or fields.files.get("mask_image")
    model, _ = find_model(fields.get_text("model"), studio, Task.INPAINT if masks else Task.EDIT, Task.IMG2IMG)
    base = GenerationRequest(source=kept[0].hash)
    notes: list[str] = []
    if masks:
        mask = read_edit_mask(masks[0], studio)
        base = base.replace(mask=studio.engine.keep_image(mask, user).hash)
    if len(kept) > 1:
        if Feature.REFERENCE in model.features:
            base = base.replace(references=tuple(Reference(image=one.hash) for one in kept[1:]))
        else:
            notes.append(f"{model.title} takes one image; the others were not used.")
    strength = fields.get_number("strength", "denoising_strength")
    if strength is None and Feature.STRENGTH in model.features:
        strength = EDIT_STRENGTH
    task = Task.INPAINT if masks else Task.EDIT if Task.EDIT in model.tasks else Task.IMG2IMG
    return _build_order(fields, studio, task, base.replace(strength=strength), tuple(notes), kept=kept[0])


def build_variation(fields: ImageFields, studio: Studio, user: User) -> ImageOrder:
    """The order of POST /v1/images/variations: the image redrawn, by the prompt that made it where it tells one; raises
    as `build_edit`."""
    files = fields.files.get("image", [])
    if not files:
        raise make_field_error("image", "is missing")
    kept = studio.engine.keep_image(files[0], user)
    prompt = kept.history[-1].prompt if kept.history else ""
    fields.values.setdefault("prompt", prompt)
    strength = fields.get_number("strength", "denoising_strength")
    base = GenerationRequest(source=kept.hash, strength=VARIATION_STRENGTH if strength is None else strength)
    return _build_order(fields, studio, Task.IMG2IMG, base, kept=kept)


def find_model(name: str, studio: Studio, *tasks: Task) -> tuple[Model, tuple[str, ...]]:
    """The model of that id, and what is to be said of it. OpenAI's own names, which clients send unasked, and no name
    at all mean the default model, or the first that does one of `tasks`.

    Raises:
        UnknownModel: no such model, or none that can be used.
    """
    usable = [model for model in studio.engine.models() if not model.problem]
    found = next((model for model in usable if model.id == name), None)
    if found is not None:
        return found, ()
    if name and not name.startswith(_FOREIGN_MODELS):
        return studio.engine.model(name), ()
    default = studio.engine.model("")
    notes = (f"The model {name} is not here; {default.title} was used.",) if name else ()
    if any(task in default.tasks for task in tasks) and not default.problem:
        return default, notes
    for task in tasks:
        first = next((model for model in usable if task in model.tasks and not model.paid), None)
        if first is not None:
            return first, notes
    raise UnknownModel("No installed model can do this.", hint="GET /v1/models lists the models.")


def read_edit_mask(data: bytes, studio: Studio) -> Image.Image:
    """A mask as the studio has it, white where something is to change: of a file with transparent parts these, of any
    other the light ones."""
    image = open_image(data, limits=ImageLimits.of(studio.settings.current))
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            return ImageChops.invert(alpha)
    return read_mask(image)


def _read_prompt(fields: ImageFields) -> str:
    prompt = fields.get_text("prompt").strip()
    if len(prompt) > MAX_PROMPT_CHARS:
        raise make_field_error("prompt", f"is longer than {MAX_PROMPT_CHARS} characters")
    return prompt


def _build_order(
    fields: ImageFields,
    studio: Studio,
    task: Task,
    base: GenerationRequest,
    notes: tuple[str, ...] = (),
    *,
    kept: KeptImage | None = None,
) -> ImageOrder:
    """The order of a body; `kept` is the image that it works on."""
    output_format = fields.get_choice("output_format", _FORMATS, "png")
    if output_format in ("gif", "svg"):
        raise make_field_error("output_format", "must be png, jpeg or webp here")
    background = fields.get_choice("background", _BACKGROUNDS, "auto")
    if background == "transparent" and output_format == "jpeg":
        raise make_field_error("background", "cannot be transparent in a jpeg")
    count = _read_limited(fields, "n", 1, MAX_COUNT, 1)
    partials = _read_limited(fields, "partial_images", 0, MAX_PARTIALS, 0)
    fallback = (task, Task.IMG2IMG) if task is Task.EDIT else (task,)
    model, model_notes = find_model(fields.get_text("model"), studio, *fallback)
    compression = fields.get_whole("output_compression")
    if compression is not None and not 0 <= compression <= 100:
        raise make_field_error("output_compression", "is not from 0 to 100")
    size = fields.get_size()
    seed = fields.get_whole("seed")
    request = base.replace(
        task=task,
        model=model.id,
        prompt=_read_prompt(fields),
        negative_prompt=fields.get_text("negative_prompt"),
        width=size[0] if size else None,
        height=size[1] if size else None,
        count=count,
        seed=None if seed is None or seed < 0 else seed % (MAX_SEED + 1),
        steps=fields.get_whole("num_inference_steps", "steps"),
        guidance=fields.get_number("guidance_scale", "cfg_scale", "true_cfg_scale"),
        sampler=fields.get_text("sampler", "sampler_name") or None,
        schedule=fields.get_text("schedule", "scheduler") or None,
        file=OutputOptions(format=output_format, quality=None if compression is None else max(1, compression)),
    )
    fitted, fit_notes = fit_to_model(request, model, source=(kept.width, kept.height) if kept else None)
    if background == "transparent":
        fitted = fitted.replace(then=(GenerationRequest(task=Task.REMOVE_BACKGROUND),))
    quality = fields.get_choice("quality", _QUALITIES, "auto")
    return ImageOrder(
        request=fitted,
        model=model,
        output_format=output_format,
        quality="medium" if quality == "auto" else quality,
        background="transparent" if background == "transparent" else "opaque",
        as_url=fields.get_choice("response_format", ("b64_json", "url"), "b64_json") == "url",
        stream=fields.get_flag("stream"),
        partials=partials,
        prompt=fitted.prompt,
        notes=(*notes, *model_notes, *fit_notes),
    )


def _read_limited(fields: ImageFields, name: str, low: int, high: int, default: int) -> int:
    value = fields.get_whole(name)
    if value is not None and not low <= value <= high:
        raise make_field_error(name, f"is not from {low} to {high}")
    return default if value is None else value


def convert_preview(data: bytes, output_format: str) -> bytes:
    """A preview, which is a JPEG, in the format that was asked for."""
    if output_format == "jpeg":
        return data
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.save(out, output_format.upper())
    except OSError as error:
        raise InvalidRequest("A preview could not be read.", hint="") from error
    return out.getvalue()
