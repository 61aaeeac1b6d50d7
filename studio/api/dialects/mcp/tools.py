"""The tools that assistants are offered."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from studio import __version__
from studio.api.dialects.fit_request import fit_to_model, measure_source
from studio.api.dialects.mcp import tool_fields as fields
from studio.api.dialects.mcp.tool_arguments import EditArguments, GenerationArguments, ToolContext, take_as_object
from studio.api.dialects.mcp.tool_jobs import ToolJobs, describe_failure, find_user
from studio.api.image_bodies import store_image
from studio.api.responses import PREFIX, resolve_asset_file
from studio.api.schemas import SocialBody
from studio.api.social_packs import build_social_request, require_social_parts
from studio.core.errors import StudioError
from studio.core.finish import FaceRestoration, Upscale
from studio.core.model import Model, Quality
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.upscale_modes import UpscaleMode, build_upscale_request, choose_upscale_model
from studio.core.user import User
from studio.engine.studio import Studio
from studio.library.entries import AssetEntry

_INSTRUCTIONS = (
    "Easel makes and edits images. A result has a small preview, the id of each image and the address of its file; ids"
    " can be given to other tools. A job that takes longer than a minute is answered with its job_id: call get_job"
    " until it has ended. Models that cost money need confirm_spend, after the user agreed."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_LISTED = 50  # entries of a list
Query = Annotated[str, Field(description="Words to look for.", max_length=200)]
Limit = Annotated[int, Field(description="Number of results.", ge=1, le=_LISTED)]


def build_mcp_server(studio: Studio) -> MCPServer[Any]:
    """The server with its tools and the images as resources."""
    server: MCPServer[Any] = MCPServer(
        "easel", title="Easel", instructions=_INSTRUCTIONS, version=__version__, log_level="ERROR"
    )
    jobs = ToolJobs(studio)
    _add_generation_tool(server, studio, jobs)
    _add_edit_tool(server, studio, jobs)
    _add_finishing_tools(server, studio, jobs)
    _add_job_tools(server, studio, jobs)
    _add_listing_tools(server, studio, jobs)
    _add_resources(server, studio)
    return server


def _add_generation_tool(server: MCPServer[Any], studio: Studio, jobs: ToolJobs) -> None:
    @server.tool(title="Generate image", annotations=_MAKES)
    @take_as_object(GenerationArguments)
    async def generate_image(ctx: ToolContext, wanted: GenerationArguments) -> CallToolResult:
        """Make images from a prompt."""

        def build(user: User) -> GenerationRequest:
            request = wanted.build_request()
            sized = request.replace(width=wanted.width, height=wanted.height, aspect=wanted.aspect_ratio)
            return _fit(studio, sized, user)

        return await jobs.run(ctx, build, confirm_spend=wanted.confirm_spend)


def _add_edit_tool(server: MCPServer[Any], studio: Studio, jobs: ToolJobs) -> None:
    @server.tool(title="Edit image", annotations=_MAKES)
    @take_as_object(EditArguments)
    async def edit_image(ctx: ToolContext, wanted: EditArguments) -> CallToolResult:
        """Change an image by a prompt: the whole of it, or the white parts of a mask."""

        def build(user: User) -> GenerationRequest:
            drawing = studio.engine.model(wanted.model)
            task = Task.EDIT if Task.EDIT in drawing.tasks else Task.IMG2IMG
            request = wanted.build_request().replace(
                task=Task.INPAINT if wanted.mask else task,
                source=store_image(wanted.image, studio.engine, user).hash,
                mask=store_image(wanted.mask, studio.engine, user).hash if wanted.mask else None,
                strength=wanted.strength,
            )
            return _fit(studio, request, user)

        return await jobs.run(ctx, build, confirm_spend=wanted.confirm_spend)


def _add_finishing_tools(server: MCPServer[Any], studio: Studio, jobs: ToolJobs) -> None:
    @server.tool(title="Upscale image", annotations=_MAKES)
    async def upscale_image(
        ctx: ToolContext,
        image: fields.Image,
        scale: Annotated[float, Field(description="Times the size.", ge=1, le=8)] = 2.0,
        restore_faces: Annotated[bool, Field(description="Restore faces too.")] = False,
    ) -> CallToolResult:
        """Enlarge an image with a local upscaler, and restore faces where asked for."""

        def build(user: User) -> GenerationRequest:
            models = [model for model in studio.engine.models() if not model.paid]
            model = choose_upscale_model(UpscaleMode.FAST, Quality.STANDARD, models) or studio.engine.model(
                "", Task.UPSCALE
            )
            wanted = build_upscale_request(UpscaleMode.FAST, Quality.STANDARD, model, models)
            steps = (GenerationRequest(task=Task.RESTORE_FACES, faces=FaceRestoration()),) if restore_faces else ()
            source = store_image(image, studio.engine, user).hash
            return wanted.replace(upscale=Upscale(scale=scale), source=source, then=steps)

        return await jobs.run(ctx, build)

    @server.tool(title="Make social formats", annotations=_MAKES)
    async def make_social_formats(
        ctx: ToolContext,
        image: fields.Image,
        platforms: Annotated[
            list[str], Field(description='Platforms to make all formats of, such as "instagram".', max_length=20)
        ] = [],  # noqa: B006 - the protocol's default; it is not changed
        formats: Annotated[
            list[str], Field(description='Single formats, such as "youtube.thumbnail_hd".', max_length=50)
        ] = [],  # noqa: B006
    ) -> CallToolResult:
        """Cut an image into the formats of social platforms."""

        def build(user: User) -> GenerationRequest:
            return build_social_request(studio, SocialBody(platforms=platforms, formats=formats), [image], user)

        return await jobs.run(ctx, build)


def _add_job_tools(server: MCPServer[Any], studio: Studio, jobs: ToolJobs) -> None:
    @server.tool(title="Get job", annotations=_READS)
    async def get_job(ctx: ToolContext, job_id: fields.JobId) -> CallToolResult:
        """Where a job stands, with its images so far."""
        try:
            job = studio.engine.job(job_id, find_user(ctx))
        except StudioError as error:
            return describe_failure(error)
        return await jobs.describe(job, jobs.find_address(ctx))

    @server.tool(title="Cancel job", annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True))
    async def cancel_job(ctx: ToolContext, job_id: fields.JobId) -> CallToolResult:
        """Stop a job; its finished images stay."""
        try:
            user = find_user(ctx)
            studio.engine.cancel(job_id, user)
            job = studio.engine.job(job_id, user)
        except StudioError as error:
            return describe_failure(error)
        facts = {"job_id": job.id, "status": job.snapshot.status.value}
        return CallToolResult(content=[TextContent(text=f"Job {job.id} is being stopped.")], structured_content=facts)

    @server.tool(title="Estimate cost", annotations=_READS)
    async def estimate_cost(
        ctx: ToolContext, prompt: fields.Prompt, model: fields.Model = "", count: fields.Count = 1
    ) -> CallToolResult:
        """What making images would cost in US dollars; 0 for local models. Nothing is made."""
        request = GenerationRequest(prompt=prompt, model=model, count=count)
        try:
            user = find_user(ctx)
            named = studio.engine.resolve_request(request, user)
            cost = studio.engine.estimate(request, user)
        except StudioError as error:
            return describe_failure(error)
        text = "unknown until billed" if cost is None else f"${cost:.3f}"
        return CallToolResult(
            content=[TextContent(text=f"{named.model}: {text} for {count} image(s).")],
            structured_content={"model": named.model, "amount": cost, "currency": "USD"},
        )


def _add_listing_tools(server: MCPServer[Any], studio: Studio, jobs: ToolJobs) -> None:
    @server.tool(title="List models", annotations=_READS)
    async def list_models(ctx: ToolContext) -> CallToolResult:
        """The models that draw and edit, with their usual sizes and whether they cost money."""
        found = [_describe_model(model) for model in studio.engine.models() if _is_listed(model)]
        lines = [
            f"{one['id']}: {one['title']}{' (costs money)' if one['paid'] else ''}, {', '.join(one['tasks'])}"
            for one in found
        ]
        return CallToolResult(
            content=[TextContent(text="\n".join(lines) or "No model is installed.")],
            structured_content={"models": found},
        )

    @server.tool(title="Search templates", annotations=_READS)
    async def search_templates(ctx: ToolContext, query: Query = "", limit: Limit = 20) -> CallToolResult:
        """Prompt templates for social posts, each with the platform format that it is made for."""
        try:
            library = require_social_parts(studio).templates.of(find_user(ctx).name)
        except StudioError as error:
            return describe_failure(error)
        found = library.search(query, limit) if query.strip() else library.templates()[:limit]
        listed = [
            {"id": one.id, "name": one.name, "format": one.format, "purpose": one.purpose, "prompt": one.frame}
            for one in found
        ]
        text = "\n".join(f"{one['id']}: {one['name']} ({one['format']}): {one['prompt']}" for one in listed)
        return CallToolResult(
            content=[TextContent(text=text or "No template fits.")], structured_content={"templates": listed}
        )

    @server.tool(title="Search library", annotations=_READS)
    async def search_library(ctx: ToolContext, query: Query = "", limit: Limit = 20) -> CallToolResult:
        """The user's own images, newest first, by a query of the library: words of prompt, title, tags or notes, and
        filters such as model:NAME, rating:>=4, is:favourite or date:2026-11."""
        try:
            user = find_user(ctx)
            search = studio.engine.asset_library.list_assets
            page = await anyio.to_thread.run_sync(lambda: search(query, user.name, limit=limit))
        except StudioError as error:
            return describe_failure(error)
        address = jobs.find_address(ctx)
        listed = [_describe_entry(entry, address) for entry in page.assets]
        text = "\n".join(f"{one['id']}: {one['prompt'][:200]} {one['url']}" for one in listed)
        return CallToolResult(
            content=[TextContent(text=text or "No image fits.")],
            structured_content={"images": listed, "total": page.total},
        )


def _describe_entry(entry: AssetEntry, address: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "url": f"{address}{PREFIX}/images/{entry.id}",
        "width": entry.width,
        "height": entry.height,
        "seed": entry.seed,
        "prompt": entry.prompt,
        "model": entry.model,
        "tags": list(entry.tags),
        "rating": entry.rating,
    }


def _add_resources(server: MCPServer[Any], studio: Studio) -> None:
    @server.resource("easel://images/{image_id}", title="Image", mime_type="image/png")
    async def read_image(image_id: str, ctx: ToolContext) -> bytes:
        """The file of one of the user's images."""
        asset = studio.engine.asset(image_id, find_user(ctx))
        return resolve_asset_file(asset, studio.engine.file_roots).read_bytes()


def _fit(studio: Studio, request: GenerationRequest, user: User) -> GenerationRequest:
    """`request` of `user` without what its model does not have."""
    model = studio.engine.model(request.model, request.task)
    return fit_to_model(request, model, source=measure_source(request, studio.engine, user))[0]


def _is_listed(model: Model) -> bool:
    return not model.problem and bool({Task.TXT2IMG, Task.EDIT, Task.IMG2IMG} & model.tasks)


def _describe_model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "title": model.title,
        "tasks": sorted(task.value for task in model.tasks),
        "sizes": [f"{width}x{height}" for width, height in model.sizes.liked[:6]],
        "paid": model.paid,
    }
