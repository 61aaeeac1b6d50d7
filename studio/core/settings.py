"""Every setting of the studio, frozen: default, range, choices and help text together, so that page, file, environment
and flags all read them from here."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_name

AUTOMATIC_PRECISIONS = ("auto", "float8")
"""Precisions with which the device and the model decide in what format is computed."""
BROWSER_LANGUAGE, ENGLISH = "browser", "en"
LANGUAGES = (ENGLISH, "de", "fr", "es", "pt", "zh-CN", "ja", "ko")
"""The languages of the page; those but English have a catalog in studio/tabs/languages/."""


class SettingLimits(TypedDict, total=False):
    """The limits of a value and when a change takes effect: numbers have `low` and `high`, words their `choices`.
    What is not `on_page` is not in the form of all settings: it has a panel of its own, or is set by file, environment
    or flag alone. What is `per_user` may differ between users."""

    low: float
    high: float
    choices: tuple[str, ...]
    restart: bool
    on_page: bool
    per_user: bool


def setting_field(default: Any, help_text: str, *, group: str, **limits: Unpack[SettingLimits]) -> Any:
    """A field of Settings with its help, the group that it is shown in, and its limits."""
    unlimited: dict[str, Any] = {"low": None, "high": None, "choices": (), "restart": False}
    shown: dict[str, Any] = {"on_page": True, "per_user": False}
    return dataclasses.field(
        default=default, metadata={"help": help_text, "group": group, **unlimited, **shown, **limits}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the studio. A job keeps the settings that it was submitted with."""

    models_dir: Path = setting_field(
        Path("models"), "Folder for checkpoints, LoRAs, VAEs and embeddings.", group="Paths", restart=True
    )
    outputs_dir: Path = setting_field(
        Path("outputs"), "Folder for images, the library and the queue.", group="Paths", restart=True
    )
    logs_dir: Path = setting_field(
        Path("outputs/logs"), "Folder for the application, generation and access logs.", group="Paths", restart=True
    )

    default_model: str = setting_field("embedded", "Model selected when the page opens.", group="Models")
    fallback_model: str = setting_field(
        "", "Model to use if a job's model is missing, broken or out of memory. Empty: none.", group="Models"
    )
    prompt_comments: bool = setting_field(
        False, "Leave out of prompts what stands between a # and the end of its line.", group="Models"
    )
    device: str = setting_field(
        "auto", "Device for local models.", group="Models", choices=("auto", "cuda", "mps", "cpu")
    )
    precision: str = setting_field(
        "auto",
        "Number format of weights. Automatic uses bfloat16 or float16 on a GPU and float32 on a CPU. float8 keeps"
        " weights in 8 bits and computes as automatic does: less memory, slightly other images, no LoRAs.",
        group="Models",
        choices=("auto", "float32", "float16", "bfloat16", "float8"),
    )
    memory_budget_gb: float = setting_field(
        0.0,
        "Memory limit for loaded models, in GiB. 0 keeps 10 % of the device free.",
        group="Models",
        low=0,
        high=4096,
    )
    accelerator: str = setting_field(
        "auto",
        "Runs models faster at the same image. Automatic uses OpenVINO on a CPU where it measures a gain. For GPUs:"
        " compile lets torch compile a model's blocks, graphs records small models as CUDA graphs.",
        group="Models",
        choices=("auto", "openvino", "compile", "graphs", "none"),
    )
    fused_projections: bool = setting_field(
        False,
        "Compute query, key and value of attention as one product, for GPUs. Takes some more memory; not with LoRAs.",
        group="Models",
    )
    attention: str = setting_field(
        "auto",
        "Attention implementation that is tried first. Automatic leaves the choice to torch.",
        group="Models",
        choices=("auto", "cudnn", "flash", "efficient", "math"),
    )
    channels_last: bool = setting_field(
        False,
        "Keep the weights of the VAE with all channels of a pixel side by side, for GPUs.",
        group="Models",
    )
    offload: str = setting_field(
        "models",
        "What waits in system memory where GPU memory is short: whole models, or single layers, which need less GPU"
        " memory and are copied while others compute.",
        group="Models",
        choices=("models", "layers"),
    )
    step_cache: float = setting_field(
        0.0,
        "Skips blocks of transformer models that change less than this between steps. Changes images; 0: off.",
        group="Models",
        low=0,
        high=1,
    )
    warm_up: bool = setting_field(
        True,
        "Load the default model in the background after the start, so that the first image does not wait for it.",
        group="Models",
        restart=True,
    )
    keep_memory: bool = setting_field(
        True,
        "Reuse freed memory between layers and images, which is faster on a CPU. It is given back when the studio is"
        " idle.",
        group="Models",
        restart=True,
    )
    offline: bool = setting_field(False, "Never contact the Hugging Face Hub, not even for downloads.", group="Models")

    previews: bool = setting_field(True, "Show previews while generating.", group="Previews")
    preview_interval: float = setting_field(0.5, "Seconds between previews.", group="Previews", low=0.1, high=60)
    preview_side: int = setting_field(384, "Longest side of a preview, in px.", group="Previews", low=64, high=1024)

    output_format: str = setting_field(
        "png", "File type of saved images.", group="Output", choices=("png", "jpeg", "webp", "avif")
    )
    output_quality: int = setting_field(
        92, "Quality of JPEG, WebP and AVIF files. 100 makes WebP lossless.", group="Output", low=1, high=100
    )
    filename_pattern: str = setting_field(
        "{date}/{number}-{seed}-{prompt}",
        "File name pattern for saved images. Fields: {date} {time} {number} {seed} {model} {prompt} {job}"
        " {index} {width} {height} {sampler} {steps}.",
        group="Output",
    )
    embed_recipe: bool = setting_field(True, "Write the full recipe into each image.", group="Output")

    sign: str = setting_field(
        "off",
        "Sign saved images with Content Credentials (C2PA): how they were made, and that nobody changed them since. All"
        " images of this installation carry the same certificate.",
        group="Provenance",
        choices=("off", "on"),
    )
    marking: str = setting_field(
        "choice",
        "Whether files of images that models made may hold no marker of that: by choice, or always with one.",
        group="Provenance",
        choices=("choice", "always"),
    )
    mark: str = setting_field(
        "off",
        "Hide a mark in the pixels of images that models made, by which Image info finds them in the library. Survives"
        " JPEG, resizing and darkening, not cropping.",
        group="Provenance",
        choices=("off", "id"),
    )
    claim_training: str = setting_field(
        "none",
        "What signed images say about training models with them.",
        group="Provenance",
        choices=("none", "allow", "forbid"),
    )

    import_folders: str = setting_field(
        "",
        "Output folders of other programs whose images the library shows, separated by |. With logins write"
        " NAME=FOLDER.",
        group="Library",
        restart=True,
        on_page=False,
    )
    image_days: int = setting_field(
        0,
        "Days after which images that are no favourites go to the trash. 0: never.",
        group="Library",
        low=0,
        high=36_500,
    )
    input_days: int = setting_field(
        30,
        "Days after which images that were brought and that nothing uses any more are deleted.",
        group="Library",
        low=1,
        high=3650,
    )
    trash_days: int = setting_field(
        30, "Days after which images in the trash are deleted. 0: never.", group="Library", low=0, high=3650
    )

    compatible_url: str = setting_field(
        "",
        "Address of an OpenAI-compatible image server, including /v1, or several, separated by commas. Empty: none.",
        group="Providers",
    )
    compatible_model: str = setting_field(
        "",
        "Model of your own server that is asked for when none is chosen, as the server names it. Empty: the server"
        " chooses.",
        group="Providers",
    )
    comfyui_url: str = setting_field(
        "", "Address of your ComfyUI server, for example http://127.0.0.1:8188. Empty: none.", group="Providers"
    )
    comfyui_checkpoint: str = setting_field(
        "",
        "Checkpoint file for ComfyUI, as named there. Empty: the first available.",
        group="Providers",
    )

    comfyui_graph: Path | None = setting_field(
        None,
        "File of a custom ComfyUI graph, exported with “Export (API)”; nodes titled easel:prompt, easel:seed,"
        " easel:size and easel:image are filled.",
        group="Providers",
    )

    chat_url: str = setting_field(
        "",
        "Address of an OpenAI-compatible chat server for prompts, including /v1, for example http://127.0.0.1:11434/v1."
        " Empty: none.",
        group="Providers",
        on_page=False,
    )
    chat_model: str = setting_field(
        "", "Model of the chat server. Empty: the server chooses.", group="Providers", on_page=False
    )
    chat_seconds: float = setting_field(
        45.0, "Seconds that the chat server has for an answer.", group="Providers", low=1, high=600
    )

    chat_price_sent: float = setting_field(
        -1.0,
        "US dollars per million tokens that are sent to the chat server. -1: unknown.",
        group="Money",
        low=-1,
        high=1e6,
    )
    chat_price_received: float = setting_field(
        -1.0,
        "US dollars per million tokens of the chat server's answers. -1: unknown; with a budget, a chat server that"
        " may cost money is then not asked.",
        group="Money",
        low=-1,
        high=1e6,
    )
    cluster: str = setting_field(
        "",
        "Addresses of other Easel studios that generate for this one, separated by commas, for example"
        " http://10.0.0.2:7860; or a Ray cluster: ray://10.0.0.2:10001?replicas=4, or ray?replicas=2 on this machine.",
        group="Cluster",
        restart=True,
        on_page=False,
    )
    replica: bool = setting_field(
        False,
        "Generate for other Easel studios, between this one's own jobs. Where there are users, they need a token.",
        group="Cluster",
        restart=True,
        on_page=False,
    )

    budget_day: float = setting_field(
        0.0,
        "Daily budget per user for paid models, in US dollars. 0: no limit.",
        group="Money",
        low=0,
        high=1e6,
        per_user=True,
    )
    budget_month: float = setting_field(
        0.0,
        "Monthly budget per user for paid models, in US dollars. 0: no limit.",
        group="Money",
        low=0,
        high=1e6,
        per_user=True,
    )

    theme: str = setting_field(
        "system", "Light, dark, or the browser's preference.", group="Page", choices=("system", "light", "dark")
    )
    interface_language: str = setting_field(
        BROWSER_LANGUAGE,
        "Language of the page: the one that a browser asks for, or one for everybody.",
        group="Page",
        choices=(BROWSER_LANGUAGE, *LANGUAGES),
    )
    page_closed: str = setting_field(
        "stop",
        "What to do with a local job if its page stays closed for a minute.",
        group="Page",
        choices=("stop", "finish"),
    )

    host: str = setting_field(
        "127.0.0.1",
        "Address to listen on. Addresses other than localhost need user accounts.",
        group="Server",
        restart=True,
    )
    port: int = setting_field(7860, "Port to listen on.", group="Server", low=0, high=65535, restart=True)
    share: bool = setting_field(False, "Open a public Gradio link. Needs user accounts.", group="Server", restart=True)
    auth_file: Path | None = setting_field(
        None, "File with user names and hashed passwords, created with --add-user.", group="Server", restart=True
    )
    allowed_hosts: str = setting_field(
        "", "Additional host names of this server, separated by commas.", group="Server", restart=True
    )
    allowed_origins: str = setting_field(
        "", "Origins allowed to call the HTTP API from a browser, separated by commas.", group="Server", restart=True
    )
    root_path: str = setting_field("", "Path prefix behind a reverse proxy.", group="Server", restart=True)
    trusted_proxies: str = setting_field(
        "",
        "Addresses or networks of reverse proxies, separated by commas, whose X-Forwarded headers are believed. Empty:"
        " nobody's, or with a path prefix everybody's.",
        group="Server",
        restart=True,
    )
    frame_ancestors: str = setting_field(
        "",
        "Sites that may show the studio in a frame, separated by commas, for example https://huggingface.co. Empty:"
        " none.",
        group="Server",
        restart=True,
        on_page=False,
    )
    guests: bool = setting_field(
        False,
        "Let visitors in without a login, with the embedded model, few images an hour, and deletion after an hour.",
        group="Server",
        restart=True,
        on_page=False,
    )
    max_upload_mb: int = setting_field(
        32, "Maximum upload size, in MiB.", group="Server", low=1, high=1024, restart=True
    )
    max_megapixels: int = setting_field(64, "Maximum image size, in megapixels.", group="Server", low=1, high=400)
    batch_jobs: int = setting_field(
        1,
        "Images of waiting jobs of one user that are made at once when only their seeds differ. Faster for small images"
        " and on GPUs; needs the memory of a batch, and the first image comes with the last.",
        group="Models",
        low=1,
        high=16,
    )
    queue_limit: int = setting_field(200, "Maximum number of queued jobs.", group="Server", low=1, high=10_000)
    queue_limit_per_user: int = setting_field(
        50, "Maximum number of queued jobs per user.", group="Server", low=1, high=10_000, per_user=True
    )
    images_per_day: int = setting_field(
        0, "Images that each user may make in a day. 0: no limit.", group="Server", low=0, high=1_000_000, per_user=True
    )
    disk_gb_per_user: float = setting_field(
        0.0,
        "Disk space for each user's images, the trash included; as much for images they bring. In GiB, 0: no limit.",
        group="Server",
        low=0,
        high=1e6,
        per_user=True,
    )
    session_limit: int = setting_field(
        150, "Number of browser sessions kept in memory.", group="Server", low=10, high=10_000, restart=True
    )

    api_automatic1111: bool = setting_field(
        True,
        "Offer AUTOMATIC1111's API and that of its ControlNet extension, below /sdapi and /controlnet.",
        group="APIs",
    )
    api_openai: bool = setting_field(True, "Offer OpenAI's images API below /v1.", group="APIs")
    api_mcp: bool = setting_field(True, "Offer tools for assistants (MCP) at /mcp.", group="APIs")
    api_comfyui: bool = setting_field(True, "Offer ComfyUI's protocol for its usual graphs.", group="APIs")
    api_aliases: bool = setting_field(
        True, "Offer the short routes /generate, /jobs, /derivatives and /analyze-context.", group="APIs"
    )
    image_hosts: str = setting_field(
        "",
        "Hosts from which images named by address in API requests are fetched, separated by commas. Empty: none.",
        group="APIs",
    )
    webhook_hosts: str = setting_field(
        "",
        "Hosts that may be notified when a job ends, separated by commas; with a port where it is not the usual one."
        " Empty: none.",
        group="APIs",
    )

    moderation: str = setting_field(
        "off",
        "What happens to prompts and images that the filters object to. Warn says so; blur blurs the image until an"
        " administrator releases it; block refuses the request too.",
        group="Moderation",
        choices=("off", "warn", "blur", "block"),
        per_user=True,
    )
    moderation_limit: float = setting_field(
        0.8,
        "How sure the image filter has to be, from 0 to 1. Lower finds more and errs more.",
        group="Moderation",
        low=0.05,
        high=1,
    )
    moderation_openai: bool = setting_field(
        False,
        "Also send prompts and images to OpenAI's moderation service, with the key that is set for OpenAI. They leave"
        " this computer.",
        group="Moderation",
    )

    log_level: str = setting_field(
        "info", "Detail of the application log.", group="Logs", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting_field(
        "text",
        "Form of the application and access logs: lines of text, or one JSON object per line.",
        group="Logs",
        choices=("text", "json"),
        restart=True,
    )
    log_console: bool = setting_field(
        False, "Write the application log to the console too.", group="Logs", restart=True
    )
    metrics: bool = setting_field(
        False, "Serve metrics for Prometheus at /metrics, with user accounts to administrators only.", group="Logs"
    )
    log_days: int = setting_field(
        0,
        "Days after which lines of all logs are deleted, at most half as long again. 0: when the files are full.",
        group="Logs",
        low=0,
        high=3650,
    )
    log_prompts: bool = setting_field(
        False, "Write prompts to the generation log even if the studio has several users.", group="Logs"
    )

    def __post_init__(self) -> None:
        """Check every field against its range and choices.

        Raises:
            InvalidRequest: the first value that does not fit, with what would.
        """
        for f in dataclasses.fields(self):
            _check_setting(f, getattr(self, f.name))

    @classmethod
    def list_user_limits(cls) -> tuple[dataclasses.Field[Any], ...]:
        """The settings that may differ between users."""
        return tuple(f for f in dataclasses.fields(cls) if f.metadata["per_user"])

    @property
    def is_shared(self) -> bool:
        """Whether anybody beyond this machine can reach the studio."""
        return self.share or self.host not in ("127.0.0.1", "localhost", "::1")

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The settings that differ from their default, JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    def apply_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with `values`, which may be text as a file, the environment or a form field gives it.

        Raises:
            InvalidRequest: an unknown name, a wrong type, or a value out of range.
        """
        hints = typing.get_type_hints(type(self))
        unknown = sorted(set(values) - set(hints))
        if unknown:
            raise InvalidRequest(f"Unknown setting {unknown[0]!r}.", hint="Known settings: " + ", ".join(hints) + ".")
        return self.replace(**{name: _coerce_value(name, hints[name], value) for name, value in values.items()})


def _coerce_value(name: str, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.UnionType):
        if value in (None, ""):
            return None
        kind = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    try:
        if kind is bool and isinstance(value, str):
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[value.lower()]
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return kind(value)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidRequest(f"The setting {name} cannot be {value!r}.", hint=f"It is a {kind.__name__}.") from error


def _check_setting(f: dataclasses.Field[Any], value: Any) -> None:
    meta = f.metadata
    if meta["choices"] and value not in meta["choices"]:
        raise InvalidRequest(
            f"The setting {f.name} cannot be {value!r}.", hint="Choose one of: " + ", ".join(meta["choices"]) + "."
        )
    if meta["low"] is not None and not meta["low"] <= value <= meta["high"]:
        raise InvalidRequest(
            f"The setting {f.name} is {value}.", hint=f"Choose a value from {meta['low']} to {meta['high']}."
        )
    if isinstance(value, str | Path):
        check_name(str(value), f"The setting {f.name}")
