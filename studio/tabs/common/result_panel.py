"""The result side as HTML: progress, the image as it forms, the finished images, their recipe.

Images are addresses of the HTTP API, never bytes. Every word that comes from a user, a file or a model is escaped here.
studio/assets/js/result answers the clicks inside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html import escape

from studio.core.errors import StudioError
from studio.core.events import Snapshot, Status
from studio.core.model import Feature, Look, Model
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.tabs.common.languages import translate_message

IMAGE_URL = "api/image-studio/images/{id}"
THUMBNAIL_URL = "page/thumbs/{id}"
SOURCE_URL = "page/pictures/{hash}"
ZIP_LINK = '<a class="mini" data-act="zip" href="api/image-studio/jobs/{id}/zip" download>All as zip</a>'
_LOADING_MODEL = "Loading "  # how the status of a job begins while its model is loaded
_FIRST_USE = "The first use loads the model. It then stays in memory for the next images."
_MOST_LOADED = 0.95  # of the bar, since loading may take longer than before
PREVIEW_URL = "page/previews/{id}?v={version}"


def render_result(snapshot: Snapshot, job_id: str, *, waited: float | None = None, before: Sequence[Asset] = ()) -> str:
    """The result side for a job as it stands at `snapshot`, `waited` seconds after it was sent. The images `before` it
    stay until it has one of its own."""
    assets, canvas = snapshot.assets, _render_canvas(snapshot, job_id)
    if before and not (assets or snapshot.preview or snapshot.status.is_final):
        assets = before
        canvas = _render_kept_image(before[0], snapshot)
    return _render_frame(
        snapshot.status,
        job_id,
        _render_progress(snapshot, waited),
        canvas,
        _render_filmstrip(assets, current=snapshot.status.is_final or assets is before),
        _render_notices(snapshot),
        (
            _render_recipe(snapshot.assets[0], job_id if len(snapshot.assets) > 1 else "")
            if snapshot.status.is_final and snapshot.assets
            else ""
        ),
    )


def render_ended_result(snapshot: Snapshot, last: Snapshot, last_id: str) -> str:
    """The result side for a job that ended with nothing: what became of it, and the images of the job before it."""
    return _render_frame(
        snapshot.status,
        last_id,
        _render_progress(snapshot),
        _render_failure(snapshot.error) if snapshot.error is not None else "",
        _render_canvas(last, last_id),
        _render_filmstrip(last.assets, current=True),
        _render_notices(snapshot),
        _render_recipe(last.assets[0], last_id if len(last.assets) > 1 else ""),
    )


def render_images(assets: Sequence[Asset]) -> str:
    """The result side for images of any job, the first one shown."""
    return _render_frame(
        Status.FINISHED,
        "",
        '<div class="progress"><div class="progress-head"><p class="status" role="status" aria-live="polite">'
        "From the library</p></div></div>",
        f'<div class="canvas">{_render_image(assets[0])}</div>',
        _render_filmstrip(assets, current=True),
        _render_recipe(assets[0], ""),
    )


def render_empty_result(examples: Sequence[str], *, greeting: str = "Describe an image and press Generate.") -> str:
    """The result side before the first image; `examples` are prompts to click on."""
    chips = "".join(
        f'<button type="button" class="chip" data-prompt="{_escape_attribute(text)}">{escape(text)}</button>'
        for text in examples
    )
    examples = f'<p class="result-hint">Example prompts</p><div class="chips">{chips}</div>' if chips else ""
    canvas = (
        '<div class="canvas canvas-empty"><div class="welcome"><div class="mark"'
        f' aria-hidden="true"></div><p>{escape(greeting)}</p>{examples}</div></div>'
    )
    return _render_frame("empty", "", "", canvas)


def format_status(snapshot: Snapshot) -> str:
    """The state of the job in one line."""
    match snapshot.status:
        case Status.QUEUED:
            place = f"{_format_count(snapshot.ahead, 'job')} ahead of yours" if snapshot.ahead else "Next in line"
            is_short = snapshot.eta is not None and snapshot.eta < 1  # what has not begun is not "almost done"
            return _join(place, "" if is_short else _format_eta(snapshot.eta))
        case Status.LOADING:
            left = (snapshot.loading_seconds or 0) - _time_loading(snapshot)
            return _join(snapshot.loading or "Getting ready", _format_eta(left) if left > 0 else "")
        case Status.RUNNING:
            image = f"Image {snapshot.image} of {snapshot.images}" if snapshot.images > 1 else ""
            return _join(image, f"Step {snapshot.step} of {snapshot.steps}", _format_eta(snapshot.eta))
        case Status.FINISHED:
            took = f"{snapshot.seconds:.1f} s" if snapshot.seconds is not None else ""
            return _join(_format_count(len(snapshot.assets), "image"), took)
        case Status.FAILED:
            return "Failed"
        case Status.CANCELLED:
            return _join("Stopped", f"{_format_count(len(snapshot.assets), 'image')} kept" if snapshot.assets else "")


_LOOK_NOTES = {Look.ANY: "", Look.PHOTO: "Made for photos.", Look.ANIME: "Made for anime and drawings."}


def render_model_note(model: Model) -> str:
    """One line below the model list: why it cannot be used, or what it is and passes over."""
    carrier = f'data-model="{escape(model.id)}"'  # tells the page's scripts which model is chosen
    if model.problem:
        state = "Locked" if model.locked else "Cannot be used"
        return f'<p class="note note-bad" {carrier}><strong>{state}:</strong> {escape(model.problem)}</p>'
    text = " ".join(part for part in (model.note, _LOOK_NOTES[model.look], _describe_ignored(model)) if part)
    return f'<p class="note" {carrier}>{escape(text)}</p>'


def _describe_ignored(model: Model) -> str:
    """The fields of a request that the model ignores, in its own words, and what everybody would expect of one that
    draws and it lacks."""
    if not any(task.is_generative for task in model.tasks):
        return model.ignores
    lacks = [feature for feature in (Feature.SEED, Feature.NEGATIVE_PROMPT) if feature not in model.features]
    untold = [f"no {feature.label}" for feature in lacks if feature not in model.ignores.lower()]
    takes = f"Takes {' and '.join(untold)}." if untold else ""
    return f"{model.ignores} {takes}".strip()


def describe_history(asset: Asset) -> list[str]:
    """How the image came about, step by step from the first to the last, each in one line."""
    return describe_steps((*asset.history, asset.request))


def describe_steps(requests: Sequence[GenerationRequest]) -> list[str]:
    """`requests`, each made from what the one before it made, and what follows each, in a line a step."""
    steps = [_describe_step(one) for request in requests for one in (request, *request.then)]
    return ["Uploaded image", *steps] if requests[0].source else steps


def _describe_step(request: GenerationRequest) -> str:
    prompt = " ".join(request.prompt.split())
    prompt = f"“{prompt[:80]}…”" if len(prompt) > 80 else f"“{prompt}”" if prompt else ""
    return _join(
        request.task.value.replace("_", " ").capitalize(),
        request.model,
        prompt,
        f"strength {request.strength:g}" if request.strength is not None else "",
        f"seed {request.seed}" if request.seed is not None else "",
    )


def _render_frame(status: str, job_id: str, *parts: str) -> str:
    return (
        f'<section class="result" data-status="{status}" data-job="{_escape_attribute(job_id)}"'
        f' aria-label="Result">{"".join(parts)}</section>'
    )


def _render_progress(snapshot: Snapshot, waited: float | None = None) -> str:
    share = snapshot.progress
    is_waiting = snapshot.status in (Status.QUEUED, Status.LOADING)
    if snapshot.status is Status.LOADING and snapshot.loading_seconds:
        share = min(_MOST_LOADED, _time_loading(snapshot) / snapshot.loading_seconds)
        is_waiting = False
    percent = round(share * 100)
    waiting = " bar-waiting" if is_waiting else ""
    # beside the status, which screen readers read whenever it changes
    elapsed = f'<span class="elapsed" aria-hidden="true">{waited:.0f} s</span>' if waited is not None else ""
    return (
        '<div class="progress"><div class="progress-head"><p class="status" role="status"'
        f' aria-live="polite">{escape(format_status(snapshot))}</p>{elapsed}</div><div class="bar{waiting}"'
        ' role="progressbar"'
        f' aria-label="Progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"><span'
        f' style="width:{percent}%"></span></div></div>'
    )


def _render_canvas(snapshot: Snapshot, job_id: str) -> str:
    if snapshot.status is Status.FAILED and snapshot.error is not None:
        body = _render_failure(snapshot.error)
    elif snapshot.preview is not None:
        address = PREVIEW_URL.format(id=job_id, version=f"{snapshot.image}-{snapshot.step}")
        body = f'<img class="shown forming" src="{_escape_attribute(address)}" alt="Preview of the image as it forms">'
    elif snapshot.assets:
        body = _render_image(snapshot.assets[0] if snapshot.status.is_final else snapshot.assets[-1])
    elif snapshot.status.is_final:
        body = '<div class="welcome"><p>No image was generated.</p></div>'
    else:
        body = f'<div class="shimmer" aria-hidden="true"></div>{_render_loading_note(snapshot)}'
    return f'<div class="canvas">{body}</div>'


def _render_kept_image(asset: Asset, snapshot: Snapshot) -> str:
    """The image of the job before, while the new one has none."""
    return f'<div class="canvas canvas-kept">{_render_image(asset)}{_render_loading_note(snapshot)}</div>'


def _render_loading_note(snapshot: Snapshot) -> str:
    is_loading = snapshot.status is Status.LOADING and snapshot.loading.startswith(_LOADING_MODEL)
    return f'<p class="canvas-note">{_FIRST_USE}</p>' if is_loading else ""


def _time_loading(snapshot: Snapshot) -> float:
    """Seconds since what is being loaded was begun."""
    return time.monotonic() - snapshot.loading_since


def _render_failure(error: StudioError) -> str:
    return f'<div class="failure" role="alert"><h3>{escape(error.message)}</h3><p>{escape(error.hint)}</p></div>'


def _render_image(asset: Asset) -> str:
    address = _escape_attribute(IMAGE_URL.format(id=asset.id))
    return (
        f'<img class="shown" src="{address}" alt="{_escape_attribute(_format_alt(asset))}" width="{asset.width}"'
        f' height="{asset.height}" tabindex="0" role="button" title="Enlarge">'
    )


def _render_filmstrip(assets: Sequence[Asset], *, current: bool) -> str:
    if not assets:
        return ""
    frames = "".join(_render_thumbnail(asset, current=current and index == 0) for index, asset in enumerate(assets))
    alone = " film-single" if len(assets) == 1 else ""
    return f'<div class="film{alone}" role="group" aria-label="Images of this job">{frames}</div>'


def _render_thumbnail(asset: Asset, *, current: bool) -> str:
    data = {
        "id": asset.id,
        "src": IMAGE_URL.format(id=asset.id),
        "name": asset.path.name,
        "alt": _format_alt(asset),
        "width": str(asset.width),
        "height": str(asset.height),
        "seed": _format_seed(asset),
        "model": asset.request.model,
        "infotext": asset.infotext,
        "label": asset.label,
        "recipe": json.dumps(asset.request.to_json(), indent=2, ensure_ascii=False),
        "notes": " ".join(map(translate_message, asset.notes)),
        "before": SOURCE_URL.format(hash=asset.request.source) if asset.request.source else "",
        "chain": json.dumps([translate_message(step) for step in describe_history(asset)], ensure_ascii=False),
    }
    attributes = " ".join(f'data-{name}="{_escape_attribute(value)}"' for name, value in data.items())
    thumb = _escape_attribute(THUMBNAIL_URL.format(id=asset.id))
    return (
        f'<button type="button" class="frame" aria-pressed="{"true" if current else "false"}" {attributes}>'
        f'<img src="{thumb}" alt="Image {asset.index + 1}, seed {asset.seed}" loading="lazy"></button>'
    )


def _render_notices(snapshot: Snapshot) -> str:
    notices = [text for text in snapshot.notices if text != "Stopped"]
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in notices)}</ul>' if notices else ""


def _render_recipe(asset: Asset, many: str) -> str:
    """Facts and recipe of the shown image; `many` is the job whose images a zip holds, empty for a single one."""
    size = f"{asset.width} × {asset.height}"
    source = _escape_attribute(IMAGE_URL.format(id=asset.id))
    steps, seed = describe_history(asset), _format_seed(asset)
    return (
        '<div class="recipe"><div class="recipe-head">'
        f'<span class="facts"><span data-fact="size">{size}</span><span'
        f' data-fact="seed">{f"Seed {seed}" if seed else ""}</span>'
        f'<span data-fact="model">{escape(asset.request.model)}</span></span>{render_marks(asset)}'
        '<span class="recipe-actions">'
        '<button type="button" class="mini" data-act="upscale" title="Make it twice as large (X)">Upscale 2×</button>'
        '<button type="button" class="mini" data-act="compare"'
        f' aria-pressed="false"{"" if asset.request.source else " hidden"}>Before / after</button>'
        f'<a class="mini" data-act="download" href="{source}" title="Download (D)"'
        f' download="{_escape_attribute(asset.path.name)}">Download</a>'
        f"{ZIP_LINK.format(id=_escape_attribute(many)) if many else ''}"
        '<button type="button" class="mini" data-act="copy">Copy recipe</button>'
        '<button type="button" class="mini" data-act="trash" title="Move to trash (Delete)">Move to trash</button>'
        "</span></div>"
        '<details class="recipe-body"><summary>Recipe</summary>'
        '<ol class="chain" aria-label="How the image came'
        f' about"{"" if len(steps) > 1 else " hidden"}>{"".join(f"<li>{escape(step)}</li>" for step in steps)}</ol>'
        '<div class="segments" role="group" aria-label="Recipe format">'
        '<button type="button" class="segment" data-view="infotext" aria-pressed="true">Infotext</button>'
        '<button type="button" class="segment" data-view="recipe" aria-pressed="false">JSON</button></div>'
        f'<pre tabindex="0" data-text>{escape(asset.infotext)}</pre></details></div>'
    )


def render_marks(asset: Asset) -> str:
    """The place for favourite, rating and the way to the library; studio/assets/js/result/result_marks.js fills it."""
    return f'<span class="result-marks" data-id="{_escape_attribute(asset.id)}"></span>'


def _format_seed(asset: Asset) -> str:
    """The seed that draws the image again, "" where its model takes none."""
    return "" if asset.request.seed is None else str(asset.seed)


def _format_alt(asset: Asset) -> str:
    prompt = " ".join(asset.drawn.prompt.split())
    return f"Generated image: {prompt[:200]}" if prompt else "Generated image"


def _format_eta(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1:
        return "almost done"
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left"


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _join(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _escape_attribute(value: str) -> str:
    """`value` fit for a quoted attribute; line breaks are kept as entities."""
    return escape(value, quote=True).replace("\n", "&#10;").replace("\r", "&#13;").replace("`", "&#96;")
