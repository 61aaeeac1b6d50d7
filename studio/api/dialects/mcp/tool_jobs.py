"""What all tools share: who calls, what a job costs, waiting with progress, and results that assistants can show."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from PIL import Image

from studio.api.responses import CONTENT_TYPES, FILE_IS_GONE, PREFIX, find_asset_files
from studio.core.annotate import flatten_on_white
from studio.core.errors import Forbidden, NotFound, StudioError
from studio.core.events import Snapshot
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

WAIT_SECONDS = 50.0  # clients give up after a minute, whatever the progress
MAX_INLINE_SIDE = 1024  # px of an image in a result
MAX_INLINE_BYTES = 700_000  # bytes of all images in a result; base64 makes 933,000 characters of them
_QUALITIES = (85, 70, 50, 30)
_POLL_SECONDS = 1.0
_PROGRESS_TOTAL = 100.0


class ToolJobs:
    """Runs the jobs of tools."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._waiting = anyio.CapacityLimiter(64)

    async def run(
        self,
        context: Context[Any, Any],
        build: Callable[[User], GenerationRequest],
        *,
        confirm_spend: bool = False,
    ) -> CallToolResult:
        """Submit what `build` makes and wait for it, up to WAIT_SECONDS; then the result says that it is still
        running. A call that is given up stops its job."""
        try:
            user = find_user(context)
            job = await anyio.to_thread.run_sync(lambda: self._submit(build(user), user, confirm_spend=confirm_spend))
        except StudioError as error:
            return describe_failure(error)
        try:
            await self._wait(context, job)
        except anyio.get_cancelled_exc_class():
            self._studio.engine.cancel(job.id, user)
            raise
        return await self.describe(job, self.find_address(context))

    def _submit(self, request: GenerationRequest, user: User, *, confirm_spend: bool) -> Job:
        engine = self._studio.engine
        named = engine.resolve_request(request, user)
        if engine.model(named.model, request.task).paid and not confirm_spend:
            cost = engine.estimate(request, user)
            price = "an unknown amount" if cost is None else f"about ${cost:.3f}"
            raise Forbidden(
                f"{named.model} costs money: {price} for this request.",
                hint="Ask the user; if they agree, call again with confirm_spend set to true.",
            )
        return engine.submit(request, user if confirm_spend else user.without(Right.SPEND))

    async def _wait(self, context: Context[Any, Any], job: Job) -> None:
        """Wait for the end of the job, reporting progress, whose numbers have to grow."""
        end, told, now = time.monotonic() + WAIT_SECONDS, 0.0, job.snapshot
        while not now.status.is_final and time.monotonic() < end:
            version = now.version
            now = await anyio.to_thread.run_sync(
                job.wait, version, _POLL_SECONDS, limiter=self._waiting, abandon_on_cancel=True
            )
            progress = now.progress * _PROGRESS_TOTAL
            if progress > told:
                told = progress
                await context.report_progress(progress, _PROGRESS_TOTAL, _describe_step(now))

    async def describe(self, job: Job, address: str) -> CallToolResult:
        """Where the job stands, with its images small enough for every client and addresses of the files."""
        now = job.snapshot
        if now.error is not None and not now.assets:
            return describe_failure(now.error, job_id=job.id)
        blocks = await anyio.to_thread.run_sync(self._build_blocks, now.assets, address)
        facts = {
            "job_id": job.id,
            "status": now.status.value,
            "progress": round(now.progress, 3),
            "model": job.model.id,
            "images": [describe_image(asset, address) for asset in now.assets],
            "notices": list(now.notices),
        }
        if not now.status.is_final:
            text = f"Still running ({now.progress:.0%}). Call get_job with job_id {job.id} for the result."
        else:
            ids = ", ".join(f"{asset.id} (seed {asset.seed})" for asset in now.assets) or "none"
            text = f"Job {job.id} {now.status.value}. Images: {ids}."
        notes = " ".join(now.notices)
        return CallToolResult(content=[TextContent(text=f"{text} {notes}".strip()), *blocks], structured_content=facts)

    def _build_blocks(self, assets: tuple[Asset, ...], address: str) -> list[ContentBlock]:
        """An image and a link for every asset whose file is there."""
        try:
            files = find_asset_files(assets, self._studio.engine.file_roots)
        except NotFound:
            return [TextContent(text=FILE_IS_GONE)] if assets else []
        share = MAX_INLINE_BYTES // max(1, len(files))
        blocks: list[ContentBlock] = []
        for asset in assets:
            if asset.id not in files:
                continue
            small = encode_small_image(files[asset.id].read_bytes(), share)
            blocks.append(ImageContent(data=base64.b64encode(small).decode(), mime_type="image/jpeg"))
            blocks.append(
                ResourceLink(
                    uri=f"{address}{PREFIX}/images/{asset.id}",
                    name=asset.path.name,
                    mime_type=CONTENT_TYPES[asset.path.suffix.lower()],
                    description=f"The full image, {asset.width}×{asset.height} px.",
                )
            )
        return blocks

    def find_address(self, context: Context[Any, Any]) -> str:
        """The address that the caller reaches the studio at."""
        request: Any = context.request_context.request
        root = self._studio.settings.current.root_path.rstrip("/")
        return f"{request.url.scheme}://{request.headers['host']}{root}"


def find_user(context: Context[Any, Any]) -> User:
    """Who calls the tool, as the login gate found for this very request.

    Raises:
        Forbidden: nobody was found.
    """
    request = context.request_context.request
    user = request.scope.get("user") if request is not None else None
    if not isinstance(user, User):
        raise Forbidden("Please log in.", hint="Send a token made on Configurations.")
    return user


def describe_failure(error: StudioError, *, job_id: str = "") -> CallToolResult:
    """An error as a result, so that the assistant reads what happened and what to do."""
    facts = {"error": error.message, "code": error.code, "hint": error.hint, "job_id": job_id or None}
    return CallToolResult(
        content=[TextContent(text=f"{error.title}: {error.message} {error.hint}".strip())],
        structured_content=facts,
        is_error=True,
    )


def describe_image(asset: Asset, address: str) -> dict[str, Any]:
    """What is told of one image."""
    return {
        "id": asset.id,
        "url": f"{address}{PREFIX}/images/{asset.id}",
        "width": asset.width,
        "height": asset.height,
        "seed": asset.seed,
        "label": asset.label,
        "prompt": asset.drawn.prompt,
    }


def encode_small_image(data: bytes, most_bytes: int) -> bytes:
    """A JPEG of the image file `data`, its longer side at most MAX_INLINE_SIDE px, of at most `most_bytes` where any
    quality gets that small."""
    with Image.open(io.BytesIO(data)) as image:
        small = flatten_on_white(image.convert("RGBA"))
    small.thumbnail((MAX_INLINE_SIDE, MAX_INLINE_SIDE), Image.Resampling.LANCZOS)
    found = b""
    for quality in _QUALITIES:
        out = io.BytesIO()
        small.save(out, "JPEG", quality=quality)
        found = out.getvalue()
        if len(found) <= most_bytes:
            break
    return found


def _describe_step(now: Snapshot) -> str:
    if now.loading and not now.step:
        return now.loading
    return f"Step {now.step} of {now.steps}, image {now.image} of {now.images}"
