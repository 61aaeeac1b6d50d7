"""A ComfyUI server of one's own: graphs are queued, followed over its WebSocket, and their images fetched; Stop
interrupts it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.annotate import flatten_on_white
from studio.core.errors import (
    InvalidRequest,
    NotConfigured,
    StudioError,
)
from studio.core.model import Feature, Model, Sampling, Sizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import comfyui_graphs as graphs
from studio.providers.common.comfyui_connection import TITLE, make_graph_error, run_graph
from studio.providers.common.request_shapes import encode_for_upload
from studio.providers.common.service_errors import find_message, make_answer_error, make_status_error, read_json

_FLUX_FILES = {
    "unet": ("UNETLoader", "unet_name", "flux"),
    "clip": ("DualCLIPLoader", "clip_name2", "clip_l"),
    "t5": ("DualCLIPLoader", "clip_name1", "t5"),
    "vae": ("VAELoader", "vae_name", "ae"),
}
_SIZES = Sizes(liked=((512, 512), (1024, 1024)), multiple=8, smallest=64, largest=4096, max_pixels=4096 * 4096)


def draw_comfyui_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One graph per seed, each followed to its end."""
    image = _upload_source(order, wire)
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        graph, left_out = _build_graph(order, wire, seed.seed, image)
        for notice in left_out if number == 0 else ():
            order.context.add_notice(notice)
        entry = run_graph(graph, order, wire)
        drawn.append(RenderedImage(image=_fetch_image(entry, wire), seed=seed.seed))
    return drawn


def map_comfyui_error(answer: HttpResponse) -> StudioError:
    """Translate an error response; a graph that it refuses names the node."""
    message = find_message(answer, "error.message", "error")
    try:
        nodes = answer.json().get("node_errors") or {}
        details = [
            error.get("details") or error.get("message", "")
            for node in nodes.values()
            for error in node.get("errors", [])
        ]
    except (ValueError, AttributeError):
        details = []
    return make_status_error(TITLE, answer, "; ".join(filter(None, [message, *map(str, details)])))


def check_comfyui(wire: ProviderClient) -> str:
    """Its version and its checkpoints."""
    answer = wire.send(HttpRequest(method="GET", path="/system_stats", paid=False, seconds=20))
    version = str(read_json(TITLE, answer).get("system", {}).get("comfyui_version", "of unknown version"))
    found = _list_choices(wire, "CheckpointLoaderSimple", "ckpt_name")
    return f"ComfyUI {version} answers with {len(found)} checkpoints."


def _build_graph(
    order: RenderRequest, wire: ProviderClient, seed: int, image: str
) -> tuple[graphs.Graph, tuple[str, ...]]:
    """The graph, and sentences on what of the request has no place in it."""
    request, settings = order.request, order.context.settings
    if order.model == "graph":
        return graphs.fill_graph(_read_own_graph(settings.comfyui_graph), request, seed, image)
    if order.model == "flux":
        files = {name: _find_file(wire, *place) for name, place in _FLUX_FILES.items()}
        return graphs.build_flux_graph(request, files, seed, image), ()
    checkpoint = settings.comfyui_checkpoint or next(
        iter(_list_choices(wire, "CheckpointLoaderSimple", "ckpt_name")), ""
    )
    if not checkpoint:
        raise NotConfigured(
            "This ComfyUI has no checkpoint.", hint="Put a checkpoint into its models/checkpoints folder."
        )
    return graphs.build_checkpoint_graph(request, checkpoint, seed, image), ()


def _read_own_graph(path: Any) -> Mapping[str, Any]:
    if path is None:
        raise NotConfigured(
            "No ComfyUI graph is set.", hint="Export one with “Export (API)” and set its file in Configurations."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            "The file of the ComfyUI graph cannot be read.", hint="Export it again with “Export (API)”."
        ) from error
    if not isinstance(found, dict):
        raise InvalidRequest("The ComfyUI graph is not in API format.", hint="Export it with “Export (API)”.")
    return found


def _list_choices(wire: ProviderClient, node: str, field: str) -> list[str]:
    """The choices of a loader node, as the server lists them: [[names]], or ["COMBO", {"options": names}]."""
    info = read_json(TITLE, wire.send(HttpRequest(method="GET", path=f"/object_info/{node}", paid=False, seconds=30)))
    try:
        inputs = info[node]["input"]
        declared = inputs["required"].get(field) or inputs.get("optional", {})[field]
        found = declared[1]["options"] if declared[0] == "COMBO" else declared[0]
    except (KeyError, IndexError, TypeError, AttributeError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _find_file(wire: ProviderClient, node: str, field: str, word: str) -> str:
    found = next((name for name in _list_choices(wire, node, field) if word in name.lower()), "")
    if not found:
        raise NotConfigured(
            f"This ComfyUI has no file with “{word}” for {node}.",
            hint="FLUX needs its unet, clip_l, t5xxl and ae files in ComfyUI.",
        )
    return found


def _upload_source(order: RenderRequest, wire: ProviderClient) -> str:
    """The server's name of the source, "" when there is none."""
    if order.request.source is None:
        return ""
    data, kind = encode_for_upload(flatten_on_white(order.images[order.request.source]))
    name = f"easel-{order.request.source[:16]}.{kind.rpartition('/')[2]}"
    call = HttpRequest(
        method="POST",
        path="/upload/image",
        form={"overwrite": "true"},
        files=(("image", (name, data, kind)),),
        paid=False,
        seconds=60,
    )
    found = read_json(TITLE, wire.send(call))
    return "/".join(filter(None, (str(found.get("subfolder", "")), str(found.get("name", name)))))


def _fetch_image(entry: Mapping[str, Any], wire: ProviderClient) -> Any:
    """The image that the graph gave: the first that was saved, else the first that was shown only."""
    _raise_if_failed(entry)
    found = entry.get("outputs")
    nodes = [node for node in found.values() if isinstance(node, dict)] if isinstance(found, dict) else []
    images = [one for node in nodes for one in node.get("images") or () if isinstance(one, dict) and "filename" in one]
    images.sort(key=lambda one: one.get("type", "output") != "output")
    if not images:
        raise make_answer_error(TITLE, _describe_no_image(entry, nodes))
    query = {name: str(images[0].get(name, "")) for name in ("filename", "subfolder", "type")}
    return wire.decode_image(
        wire.send(HttpRequest(method="GET", path="/view", query=query, paid=False, seconds=60)).body
    )


def _raise_if_failed(entry: Mapping[str, Any]) -> None:
    """Raises ProviderError for a graph that ended in an error, which only the history may show."""
    status = entry.get("status")
    if not isinstance(status, dict) or status.get("status_str") != "error":
        return
    for kind, data in _list_messages(status):
        if kind in ("execution_error", "execution_interrupted"):
            raise make_graph_error(kind, data)
    raise make_graph_error("execution_error", {})


def _list_messages(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The server's messages about a graph, as (kind, data)."""
    found = status.get("messages")
    pairs = [one for one in found if isinstance(one, list) and len(one) == 2] if isinstance(found, list) else []
    return [(str(kind), data if isinstance(data, dict) else {}) for kind, data in pairs]


def _describe_no_image(entry: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> str:
    other = sorted({str(name) for node in nodes for name in node if name not in ("images", "animated")})
    if other:
        return f"no image: the graph gave {', '.join(other)}"
    status = entry.get("status")
    messages = dict(_list_messages(status)) if isinstance(status, dict) else {}
    if messages.get("execution_cached", {}).get("nodes"):
        return "no image: it took the graph from its cache. Change the seed or the prompt"
    return "no image: the graph has no SaveImage or PreviewImage node, or it was not run"


def _list_cloud_models() -> Sequence[CloudModel]:
    names = {"checkpoint": "ComfyUI checkpoint", "flux": "ComfyUI FLUX", "graph": "ComfyUI, your own graph"}
    return [
        CloudModel(name=name, model=_build_comfyui_model(name, title), price=lambda request, sizes: 0.0)
        for name, title in names.items()
    ]


def _build_comfyui_model(name: str, title: str) -> Model:
    features = {
        Feature.SEED,
        Feature.NEGATIVE_PROMPT,
        Feature.STEPS,
        Feature.GUIDANCE,
        Feature.SAMPLER,
        Feature.STRENGTH,
    }
    if name == "flux":
        features -= {Feature.NEGATIVE_PROMPT}
    if name == "graph":
        features = {Feature.SEED, Feature.NEGATIVE_PROMPT, Feature.STRENGTH}
    combinations = {sampler: tuple(graphs.SCHEDULES) for sampler in graphs.SAMPLERS}
    return Model(
        id=f"comfyui/{name}",
        title=title,
        family="comfyui",
        lane="comfyui",
        tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
        features=frozenset(features),
        sampling=Sampling(combinations=combinations),
        sizes=_SIZES,
        max_count=50,
        max_batch=1,
        ignores="LoRAs, and A1111 prompt syntax that ComfyUI does not read.",
    )


PROVIDER = ProviderSpec(
    id="comfyui",
    title=TITLE,
    keys=("COMFYUI_API_KEY",),
    key_optional=True,
    free=True,
    site="your own server",
    base_url="",
    base_env="COMFYUI_BASE_URL",
    models=_list_cloud_models,
    draw=draw_comfyui_images,
    check=check_comfyui,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_comfyui_error,
)
